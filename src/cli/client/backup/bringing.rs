//! Contents on their way from the node into a directory of backups.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use reqwest::{Method, Response, StatusCode, header};
use serde::Deserialize;

use super::rate::Rate;
use crate::backup::{BackupError, Backups, Coming};
use crate::blob::Receiving;
use crate::cli::client::again::Again;
use crate::cli::client::api::Api;
use crate::cli::client::failure::Failure;
use crate::file_line::FileLine;
use crate::hash::BlobHash;

/// How long the first pause is where one breaks off.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What brings contents.
pub(super) struct Bringing<'a> {
    api: &'a Api,
    pub(super) backups: &'a Backups,
    pub(super) bar: &'a ProgressBar,
    rate: &'a Rate,
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
    pub(super) fn new(
        api: &'a Api,
        backups: &'a Backups,
        (bar, rate): (&'a ProgressBar, &'a Rate),
    ) -> Self {
        Self {
            api,
            backups,
            bar,
            rate,
        }
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
        bringing
            .buffer_unordered(self.rate.at_once())
            .try_collect()
            .await
    }

    async fn one(&self, hash: &BlobHash, size: u64) -> Result<Brought, Failure> {
        if self.backups.has(hash, size).await? {
            self.bar.inc(size);
            return Ok(Brought::There);
        }
        let came_not = match self.receive(hash, size).await {
            Ok(()) => return Ok(Brought::New),
            Err(failure) if failure.is_gone() => Brought::Gone,
            Err(failure) if is_nowhere(&failure) => Brought::Nowhere(failure.told()),
            Err(failure) if self.is_unreadable_alone(&failure).await => {
                Brought::Nowhere(failure.told())
            }
            Err(failure) => return Err(failure),
        };
        self.backups.give_up(hash).await?;
        Ok(came_not)
    }

    /// Brings a content, over as many requests as it takes, behind what an earlier run has got of
    /// it. Where that was not of it, or is not what came, it comes anew.
    async fn receive(&self, hash: &BlobHash, size: u64) -> Result<(), Failure> {
        let mut coming = self.backups.come(hash, size).await?;
        let began_at = coming.here;
        self.fill_all(hash, size, &mut coming).await?;
        let mut received = coming.receiving.finish().await.map_err(BackupError::from)?;
        if received.hash() != *hash && began_at > 0 {
            drop(received);
            let mut coming = self.backups.come_anew(hash, size).await?;
            self.fill_all(hash, size, &mut coming).await?;
            received = coming.receiving.finish().await.map_err(BackupError::from)?;
        }
        if received.hash() != *hash {
            drop(received);
            self.backups.give_up(hash).await?;
            return Err(wrong(hash));
        }
        Ok(self.backups.keep(received).await?)
    }

    async fn fill_all(
        &self,
        hash: &BlobHash,
        size: u64,
        coming: &mut Coming,
    ) -> Result<(), Failure> {
        let mut again = Again::new(self.api, self.bar, FIRST_PAUSE);
        let Coming { receiving, here } = coming;
        self.bar.inc(*here);
        while *here < size {
            let before = *here;
            match self.fill(hash, size, &mut **receiving, here).await {
                Ok(()) => {}
                Err(failure) if failure.may_pass() && !is_nowhere(&failure) => {
                    if *here > before {
                        again.advanced();
                    }
                    if is_unreadable(&failure) {
                        again.wait_briefly(failure).await?;
                    } else {
                        again.wait(failure).await?;
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
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
            self.rate.spent(len).await;
        }
        if *at < size {
            return Err(wrong(hash));
        }
        Ok(())
    }

    /// Whether the disk of the node does not give this content, and others it does: a backup of
    /// those is worth more than none.
    async fn is_unreadable_alone(&self, failure: &Failure) -> bool {
        if !is_unreadable(failure) {
            return false;
        }
        let health = self.api.get::<Health>("/health", &[]).await;
        health.is_ok_and(|it| it.empty.is_empty())
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

/// How a node is.
#[derive(Deserialize)]
struct Health {
    /// The places of contents that are empty and were not, as where a disk is not mounted.
    #[serde(default)]
    empty: Vec<String>,
}

fn wrong(hash: &BlobHash) -> Failure {
    Failure::WrongBytes(hash.to_string(), "nothing was kept of them")
}

/// Whether it is a content that the disk of the node does not give.
fn is_unreadable(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { code, .. } if code == "unreadable")
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
