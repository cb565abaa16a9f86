//! `larder get`: downloads a file of the network, and checks it against its hash.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use blake3::Hasher;
use futures_util::StreamExt;
use indicatif::ProgressBar;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::json;
use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::find::{File, Where};
use super::output;
use super::running::{run, run_blocking};

/// How often a download that breaks off without a new byte is tried again.
const TRIES: u32 = 6;
/// How long the first pause is; each after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The id, the hash or the name of a file of the network.
    file: String,

    /// Where to write it; - is standard output [default: its name, in this directory].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file that is there.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.get(api))
    }

    async fn get(&self, api: Api) -> Result<(), Failure> {
        let file = api.find_one(Where::Network, &self.file).await?;
        let bar = output::bar(&file.original_name, file.size);
        if self.output.as_deref() == Some(Path::new("-")) {
            let mut coming = Coming::new(&file, &bar);
            coming
                .receive(api.open(&file, 0).await?, &mut tokio::io::stdout())
                .await?;
            return coming.check();
        }
        let target = match &self.output {
            Some(path) => path.clone(),
            None => PathBuf::from(local_name(&file.original_name)),
        };
        if !self.force && fs::try_exists(&target).await.unwrap_or(true) {
            return Err(Failure::Exists(target));
        }
        download(&api, &file, &target, &bar).await?;
        bar.finish_and_clear();
        if self.connection.json {
            let path = target.to_string_lossy();
            return Ok(output::json(
                &json!({ "path": path, "size": file.size, "hash": file.hash }),
            )?);
        }
        let path = output::plain(&target.to_string_lossy());
        Ok(output::line(&format!(
            "{path}  {}",
            output::size(file.size)
        ))?)
    }
}

/// The name under which to save a file here. Names are anybody's: none leads elsewhere.
fn local_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    match output::plain(last).as_str() {
        "" | "." | ".." => "download".to_owned(),
        plain => plain.to_owned(),
    }
}

/// Bytes of a file on their way, hashed as they come.
struct Coming<'a> {
    file: &'a File,
    bar: &'a ProgressBar,
    hasher: Hasher,
    received: u64,
}

impl<'a> Coming<'a> {
    fn new(file: &'a File, bar: &'a ProgressBar) -> Self {
        Self {
            file,
            bar,
            hasher: Hasher::new(),
            received: 0,
        }
    }

    /// Takes what is in a partial file already.
    async fn resume(&mut self, partial: &Path, length: u64) -> Result<(), Failure> {
        let (path, mut hasher) = (partial.to_owned(), std::mem::take(&mut self.hasher));
        let hashing = move || {
            hasher.update_reader(std::fs::File::open(path)?)?;
            io::Result::Ok(hasher)
        };
        self.hasher = Failure::of_file(partial, run_blocking(hashing).await)?;
        self.received = length;
        self.bar.set_position(length);
        Ok(())
    }

    /// Writes what an answer brings to `out`.
    async fn receive(
        &mut self,
        answer: Response,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Failure> {
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(Failure::Cut)?;
            self.hasher.update(&piece);
            out.write_all(&piece).await?;
            self.received += piece.len() as u64;
            self.bar.set_position(self.received);
        }
        Ok(out.flush().await?)
    }

    /// Fails unless all of the file is there, and nothing else.
    fn check(&self) -> Result<(), Failure> {
        let hash = self.hasher.finalize().to_hex();
        let is_right = self
            .file
            .hash
            .as_deref()
            .is_none_or(|it| it == hash.as_str());
        if is_right && self.received == self.file.size {
            return Ok(());
        }
        Err(Failure::WrongBytes(self.file.original_name.clone()))
    }
}

impl Api {
    /// The bytes of a file from `offset` on, or from its beginning where the node says so.
    async fn open(&self, file: &File, offset: u64) -> Result<Response, Failure> {
        let path = match (&file.hash, file.peers.first()) {
            (Some(hash), _) => format!("/api/p2p/blob/{hash}"),
            (None, Some(peer)) => format!("/api/p2p/download/{peer}/{}", file.id),
            (None, None) => format!("/api/p2p/file/{}", file.id),
        };
        let mut request = self.request(Method::GET, &path);
        if let (Some(hash), 1..) = (&file.hash, offset) {
            request = request
                .header(header::RANGE, format!("bytes={offset}-"))
                .header(header::IF_RANGE, format!("\"{hash}\""));
        }
        self.send(request).await
    }
}

/// Downloads to a partial file beside `target`, which an earlier download may have begun and a
/// later one can go on with, and renames it when all of it is there and right.
async fn download(api: &Api, file: &File, target: &Path, bar: &ProgressBar) -> Result<(), Failure> {
    let partial = partial(file, target);
    let (mut tries, mut pause) = (0, FIRST_PAUSE);
    loop {
        let before = length(&partial).await;
        match fill(api, file, &partial, bar).await {
            Ok(()) => break,
            Err(failure) if failure.may_pass() && tries < TRIES => {
                if length(&partial).await > before {
                    (tries, pause) = (0, FIRST_PAUSE);
                }
                tokio::time::sleep(pause).await;
                (tries, pause) = (tries + 1, pause * 2);
            }
            Err(failure) => {
                if matches!(failure, Failure::WrongBytes(_)) {
                    Failure::of_file(&partial, fs::remove_file(&partial).await)?;
                }
                return Err(failure);
            }
        }
    }
    Failure::of_file(target, fs::rename(&partial, target).await)
}

/// Where a download stays until it is whole: by its hash, so that it goes on with nothing else.
fn partial(file: &File, target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let of = file.hash.as_deref().unwrap_or(&file.id);
    target.with_file_name(format!(".{name}.{}.part", of.get(..12).unwrap_or(of)))
}

async fn length(partial: &Path) -> u64 {
    fs::metadata(partial).await.map_or(0, |it| it.len())
}

/// Fetches what is missing of a partial file, and checks the whole.
async fn fill(api: &Api, file: &File, partial: &Path, bar: &ProgressBar) -> Result<(), Failure> {
    let mut coming = Coming::new(file, bar);
    let here = if file.hash.is_some() {
        length(partial).await
    } else {
        0
    };
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    let mut out = Failure::of_file(partial, options.open(partial).await)?;
    if here > 0 && here == file.size {
        coming.resume(partial, here).await?;
        return coming.check();
    }
    let answer = api.open(file, here).await?;
    if here > 0 && answer.status() == StatusCode::PARTIAL_CONTENT {
        coming.resume(partial, here).await?;
    } else {
        Failure::of_file(partial, out.set_len(0).await)?;
    }
    coming.receive(answer, &mut out).await?;
    coming.check()?;
    Failure::of_file(partial, out.sync_all().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for (name, saved) in [
            ("a.txt", "a.txt"),
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            (r"..\..\boot.ini", "boot.ini"),
            ("..", "download"),
            ("a/..", "download"),
            ("folder/", "download"),
            ("", "download"),
            ("a\0b\x1b[2J", "a\u{fffd}b\u{fffd}[2J"),
        ] {
            assert_eq!(local_name(name), saved, "{name:?}");
        }
    }
}
