//! A file on its way from the node: when the connection breaks or the node is restarted, it goes
//! on where it stopped.

use std::fs;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use blake3::Hasher;
use indicatif::ProgressBar;
use reqwest::{Method, Response, StatusCode, header};
use tokio::io::{AsyncWrite, AsyncWriteExt, stdout};
use tokio::time::timeout;

use super::again::Again;
use super::api::Api;
use super::failure::Failure;
use super::landing::Landing;
use super::listed::File;
use super::output;
use crate::blocking;
use crate::hash::BlobHash;

/// How long the first pause is of a download that breaks off.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long nothing is said while no answer begins: a holder that is down is waited for much
/// longer, and whoever waits shall know for what.
const QUIET: Duration = Duration::from_secs(4);

/// A download, and where its bytes go.
struct Download<'a> {
    api: &'a Api,
    file: &'a File,
    bar: &'a ProgressBar,
    to: To,
}

enum To {
    File(Landing),
    Output(Output),
}

/// What nothing is taken back from: what was written is hashed.
struct Output {
    /// None for standard output.
    stream: Option<Arc<fs::File>>,
    hasher: Box<Hasher>,
    /// How many bytes were written.
    written: u64,
}

/// Downloads to `target`, by a partial file beside it which an earlier download may have begun
/// and a later one can go on with.
pub(super) async fn to_file(
    api: &Api,
    file: &File,
    target: &Path,
    replace: bool,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut may_begin_anew = true;
    loop {
        let content = file.hash.as_deref().unwrap_or(&file.id);
        let landing = Landing::open(target, content)?;
        may_begin_anew &= landing.length() > 0;
        let to = To::File(landing);
        let mut download = Download { api, file, bar, to };
        let came = download.run().await;
        let To::File(landing) = download.to else {
            return came;
        };
        let (landing, came) = match came {
            Ok(()) => published(file, landing, replace).await,
            Err(failure) => (landing, Err(failure)),
        };
        match came {
            Ok(()) => return Ok(()),
            Err(Failure::WrongBytes(..)) if may_begin_anew => {
                landing.discard();
                may_begin_anew = false;
                let name = output::plain(&file.original_name);
                let text = format!("{name} begins anew: what was here of it is damaged");
                bar.suspend(|| output::say(&text));
            }
            Err(failure) => {
                leave(landing, &failure, bar);
                return Err(failure);
            }
        }
    }
}

/// Gives what has come its name, if that is right.
async fn published(file: &File, landing: Landing, replace: bool) -> (Landing, Result<(), Failure>) {
    let (size, hash, name) = (file.size, file.hash(), file.original_name.clone());
    blocking::run(move || {
        let published = landing.publish(size, hash, &name, replace);
        (landing, published)
    })
    .await
}

/// Leaves what has come to the next command, and tells where it is; or removes it, where that
/// would fail for the same reason.
fn leave(landing: Landing, failure: &Failure, bar: &ProgressBar) {
    if failure.is_of_target() {
        landing.discard();
        return;
    }
    let bytes = landing.length();
    if let Some(path) = landing.leave() {
        let path = output::plain(&path.to_string_lossy());
        let size = output::size(bytes);
        let text = format!("{size} have come and are in {path}; the same command goes on");
        bar.suspend(|| output::say(&text));
    }
}

/// Downloads to standard output, or to another pipe or device.
pub(super) async fn to_output(
    api: &Api,
    file: &File,
    stream: Option<Arc<fs::File>>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let to = To::Output(Output {
        stream,
        hasher: Box::default(),
        written: 0,
    });
    let mut download = Download { api, file, bar, to };
    download.run().await?;
    match (&download.to, file.hash()) {
        (To::Output(out), Some(hash)) if BlobHash::from(out.hasher.finalize()) != hash => {
            Err(download.wrong())
        }
        _ => Ok(()),
    }
}

impl Download<'_> {
    /// Fetches what is missing, over as many requests as it takes.
    async fn run(&mut self) -> Result<(), Failure> {
        let mut again = Again::new(self.api, self.bar, FIRST_PAUSE);
        loop {
            let before = self.length();
            let failure = match self.fill().await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if self.length() > before {
                again.advanced();
            }
            if !failure.may_pass() {
                return Err(failure.of_holders());
            }
            again.wait(failure).await.map_err(Failure::of_holders)?;
        }
    }

    /// How many bytes are there.
    fn length(&self) -> u64 {
        match &self.to {
            To::File(landing) => landing.length(),
            To::Output(out) => out.written,
        }
    }

    fn wrong(&self) -> Failure {
        let then = match &self.to {
            To::File(_) => "nothing was kept of them",
            To::Output(..) => "do not use them",
        };
        Failure::WrongBytes(self.file.original_name.clone(), then)
    }

    /// What writing came to.
    fn written(&self, result: io::Result<()>) -> Result<(), Failure> {
        match &self.to {
            To::File(landing) => Failure::of_file(landing.target(), result),
            To::Output(..) => Ok(result?),
        }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        let mut here = self.length();
        // Where nothing proves that it is the same file, or it cannot be, it begins anew.
        if matches!(self.to, To::File(_)) && (self.file.hash.is_none() || here > self.file.size) {
            here = 0;
        }
        if here == self.file.size && self.file.hash.is_some() {
            return Ok(());
        }
        let answer = match self.open(here).await {
            Err(Failure::Refused { status, .. })
                if status == StatusCode::RANGE_NOT_SATISFIABLE && here > 0 =>
            {
                here = 0;
                self.open(here).await?
            }
            answer => answer?,
        };
        let begins = match answer.status() {
            StatusCode::PARTIAL_CONTENT if here > 0 && begins_at(&answer, here) => here,
            StatusCode::PARTIAL_CONTENT => return Err(self.wrong()),
            _ => 0,
        };
        self.receive(answer, begins).await
    }

    /// The bytes of the file from `offset` on, or from its beginning where the node says so.
    async fn open(&self, offset: u64) -> Result<Response, Failure> {
        let file = self.file;
        let path = match (&file.hash, file.peers.first()) {
            (Some(hash), _) => format!("/api/p2p/blob/{hash}"),
            (None, Some(peer)) => format!("/api/p2p/download/{peer}/{}", file.id),
            (None, None) => format!("/api/p2p/file/{}", file.id),
        };
        let mut request = self.api.request(Method::GET, &path);
        if let (Some(hash), 1..) = (&file.hash, offset) {
            request = request
                .header(header::RANGE, format!("bytes={offset}-"))
                .header(header::IF_RANGE, format!("\"{hash}\""));
        }
        let mut sent = pin!(self.api.send(request));
        if let Ok(answer) = timeout(QUIET, &mut sent).await {
            return answer;
        }
        let name = output::plain(&self.file.original_name);
        let text = format!("{name}: no byte has come yet; the node looks for a holder");
        self.bar.suspend(|| output::say(&text));
        sent.await
    }

    /// Takes what an answer brings, whose first byte is the file's at `at`.
    async fn receive(&mut self, answer: Response, mut at: u64) -> Result<(), Failure> {
        let mut pieces = answer.bytes_stream();
        output::begin_at(self.bar, at);
        let mut out: Box<dyn AsyncWrite + Unpin> = match &self.to {
            To::File(landing) => Box::new(tokio::fs::File::from_std(landing.writer(at)?)),
            To::Output(out) => match &out.stream {
                None => Box::new(stdout()),
                Some(stream) => Box::new(tokio::fs::File::from_std(stream.try_clone()?)),
            },
        };
        let mut came = Ok(());
        loop {
            let piece = match self.api.piece(&mut pieces).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(failure) => {
                    came = Err(failure);
                    break;
                }
            };
            let end = at + piece.len() as u64;
            if end > self.file.size {
                return Err(self.wrong());
            }
            let mut new = &piece[..];
            if let To::Output(written) = &mut self.to {
                // What was written before is not written again.
                let again = written.written.saturating_sub(at).min(piece.len() as u64);
                new = new.split_at(usize::try_from(again).unwrap_or(usize::MAX)).1;
                written.hasher.update(new);
                written.written += new.len() as u64;
            }
            self.written(out.write_all(new).await)?;
            at = end;
            self.bar.set_position(at);
        }
        self.written(out.flush().await)?;
        came?;
        if at < self.file.size {
            return Err(self.wrong());
        }
        Ok(())
    }
}

/// Whether an answer says that its first byte is the one at `offset`.
fn begins_at(answer: &Response, offset: u64) -> bool {
    let range = answer.headers().get(header::CONTENT_RANGE);
    let range = range.and_then(|it| it.to_str().ok()?.strip_prefix("bytes "));
    let first = range.and_then(|it| it.split('-').next()?.parse().ok());
    first == Some(offset)
}
