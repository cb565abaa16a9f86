//! Contents on their way from the node into a directory of backups.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use reqwest::{Method, Response, StatusCode, header};

use crate::backup::{BackupError, Backups};
use crate::blob::Receiving;
use crate::cli::client::again::Again;
use crate::cli::client::api::Api;
use crate::cli::client::failure::Failure;
use crate::file_line::FileLine;
use crate::hash::BlobHash;

/// How many contents are on their way at once.
const AT_ONCE: usize = 16;
/// How long the first pause is where one breaks off.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What brings contents.
pub(super) struct Bringing<'a> {
    api: &'a Api,
    pub(super) backups: &'a Backups,
    pub(super) bar: &'a ProgressBar,
}

/// What has come of a content.
pub(super) enum Brought {
    /// It was there.
    There,
    /// It has come, and is durable.
    New,
    /// No file has it any more.
    Gone,
    /// Nobody has it whole, as this says.
    Nowhere(String),
}

impl<'a> Bringing<'a> {
    pub(super) fn new(api: &'a Api, backups: &'a Backups, bar: &'a ProgressBar) -> Self {
        Self { api, backups, bar }
    }

    /// Brings the contents of these files that are not there yet.
    pub(super) async fn all(
        &self,
        files: &[FileLine],
    ) -> Result<HashMap<BlobHash, Brought>, Failure> {
        let contents: BTreeMap<_, _> = files.iter().map(|it| (it.hash, it.size)).collect();
        let bringing = stream::iter(contents).map(async |(hash, size)| {
            let brought = self.one(&hash, size).await?;
            Ok::<_, Failure>((hash, brought))
        });
        bringing.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn one(&self, hash: &BlobHash, size: u64) -> Result<Brought, Failure> {
        if self.backups.has(hash, size).await? {
            self.bar.inc(size);
            return Ok(Brought::There);
        }
        match self.receive(hash, size).await {
            Ok(()) => Ok(Brought::New),
            Err(failure) if failure.is_gone() => Ok(Brought::Gone),
            Err(failure) if is_nowhere(&failure) => Ok(Brought::Nowhere(failure.told())),
            Err(failure) => Err(failure),
        }
    }

    /// Brings a content, over as many requests as it takes.
    async fn receive(&self, hash: &BlobHash, size: u64) -> Result<(), Failure> {
        let mut again = Again::new(self.api, self.bar, FIRST_PAUSE);
        let (mut receiving, mut at) = (self.backups.receive().await?, 0);
        loop {
            let before = at;
            match self.fill(hash, size, &mut *receiving, &mut at).await {
                Ok(()) => break,
                Err(failure) if failure.may_pass() && !is_nowhere(&failure) => {
                    if at > before {
                        again.advanced();
                    }
                    again.wait(failure).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
        let received = receiving.finish().await.map_err(BackupError::from)?;
        if received.hash() != *hash {
            return Err(wrong(hash));
        }
        Ok(self.backups.keep(received).await?)
    }

    /// Takes what one answer brings of the content, from its byte `at` on.
    async fn fill(
        &self,
        hash: &BlobHash,
        size: u64,
        receiving: &mut dyn Receiving,
        at: &mut u64,
    ) -> Result<(), Failure> {
        let answer = self.open(hash, *at).await?;
        if (answer.status() == StatusCode::PARTIAL_CONTENT) != (*at > 0) {
            return Err(Failure::Nonsense(
                "it sends other bytes than those asked for",
            ));
        }
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = self.api.piece(&mut pieces).await? {
            let len = piece.len() as u64;
            if *at + len > size {
                return Err(wrong(hash));
            }
            receiving.write(piece).await.map_err(BackupError::from)?;
            *at += len;
            self.bar.inc(len);
        }
        if *at < size {
            return Err(wrong(hash));
        }
        Ok(())
    }

    async fn open(&self, hash: &BlobHash, at: u64) -> Result<Response, Failure> {
        let path = format!("/api/p2p/blob/{hash}");
        let mut request = self.api.request(Method::GET, &path);
        if at > 0 {
            request = request
                .header(header::RANGE, format!("bytes={at}-"))
                .header(header::IF_RANGE, format!("\"{hash}\""));
        }
        self.api.send(request).await
    }
}

fn wrong(hash: &BlobHash) -> Failure {
    Failure::WrongBytes(hash.to_string(), "nothing was kept of them")
}

/// Whether it is the content that is not to be had, at the node and from its peers.
fn is_nowhere(failure: &Failure) -> bool {
    match failure {
        Failure::Refused { code, .. } => {
            ["damaged", "peer_failed", "peer_timeout"].contains(&code.as_str())
        }
        Failure::WrongBytes(..) => true,
        _ => false,
    }
}
