//! A file on its way to the node, by tus 1.0.0: when the connection breaks, the node is
//! restarted or this process is killed, it goes on where it stopped.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use blake3::Hasher;
use bytes::Bytes;
use futures_util::stream;
use indicatif::ProgressBar;
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, RequestBuilder, StatusCode, header};
use serde::Serialize;

use super::api::Api;
use super::begun::Begun;
use super::failure::Failure;
use super::running::run_blocking;

/// How often an upload that breaks off without a new byte is tried again.
const TRIES: u32 = 8;
/// How long the first pause is; each after it is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How much is read at once, in bytes.
const PIECE: usize = 256 << 10;
const TUS: &str = "/api/p2p/tus";

/// A file that the node has.
#[derive(Serialize)]
pub(super) struct Sent {
    pub(super) file_id: String,
    pub(super) original_name: String,
    size: u64,
    hash: String,
}

/// Sends the file at `path`.
pub(super) async fn send(
    api: &Api,
    path: &Path,
    name: &str,
    description: &str,
    bar: &ProgressBar,
) -> Result<Sent, Failure> {
    let about = Failure::of_file(path, path.metadata())?;
    let mut sending = Sending {
        api,
        path,
        bar,
        size: about.len(),
        begun: Begun::of(api.node(), path, &about),
        hasher: Arc::default(),
        hashed: 0,
    };
    bar.set_length(sending.size);
    let upload = sending.begin(name, description).await?;
    let headers = sending.send_all(&upload).await?;
    sending.begun.forget();
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let (id, hash) = (text("larder-file-id"), text("larder-file-hash"));
    let own = lock(&sending.hasher).finalize().to_hex();
    if hash != Some(own.as_str()) {
        return Err(Failure::Changed(path.to_owned()));
    }
    Ok(Sent {
        file_id: id.unwrap_or_default().to_owned(),
        original_name: name.to_owned(),
        size: sending.size,
        hash: own.to_string(),
    })
}

/// A file under way.
struct Sending<'a> {
    api: &'a Api,
    path: &'a Path,
    bar: &'a ProgressBar,
    size: u64,
    begun: Begun,
    /// Takes the file's bytes in their order,
    hasher: Arc<Mutex<Hasher>>,
    /// of which so many were given to it before the request under way.
    hashed: u64,
}

impl Sending<'_> {
    /// The upload at the node: one that was begun before, or a new one.
    async fn begin(&self, name: &str, description: &str) -> Result<String, Failure> {
        if let Some(upload) = self.begun.recall()
            && self.is_known(&upload).await?
        {
            return Ok(upload);
        }
        let (name, description) = (encoded(name), encoded(description));
        let metadata = format!("filename {name},description {description}");
        let request = self.request(Method::POST, TUS);
        let request = request.header("Upload-Length", self.size);
        let answer = self
            .api
            .send(request.header("Upload-Metadata", metadata))
            .await?;
        let location = answer.headers().get(header::LOCATION);
        let id = location.and_then(|it| it.to_str().ok()?.rsplit('/').next());
        let upload = format!("{TUS}/{}", id.unwrap_or_default());
        self.begun.remember(&upload);
        Ok(upload)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.api.request(method, path);
        request.header("Tus-Resumable", "1.0.0")
    }

    async fn is_known(&self, upload: &str) -> Result<bool, Failure> {
        match self.look(upload).await {
            Ok(_) => Ok(true),
            Err(Failure::Refused(StatusCode::NOT_FOUND, _)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn look(&self, upload: &str) -> Result<HeaderMap, Failure> {
        let answer = self.api.send(self.request(Method::HEAD, upload)).await?;
        Ok(answer.headers().clone())
    }

    /// Sends what is missing, over as many requests as it takes; what the node says at the end.
    async fn send_all(&mut self, upload: &str) -> Result<HeaderMap, Failure> {
        let (mut tries, mut pause, mut farthest) = (0, FIRST_PAUSE, 0);
        loop {
            let failure = match self.send_rest(upload).await {
                Ok(headers) => return Ok(headers),
                Err(failure) => failure,
            };
            if self.hashed > farthest {
                (tries, pause, farthest) = (0, FIRST_PAUSE, self.hashed);
            }
            // Another request of this upload may not have ended yet, which is told by 409.
            let conflict = matches!(failure, Failure::Refused(StatusCode::CONFLICT, _));
            if tries == TRIES || !(failure.may_pass() || conflict) {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            (tries, pause) = (tries + 1, (pause * 2).min(LONGEST_PAUSE));
        }
    }

    async fn send_rest(&mut self, upload: &str) -> Result<HeaderMap, Failure> {
        let headers = self.look(upload).await?;
        let offset = headers
            .get("upload-offset")
            .and_then(|it| it.to_str().ok()?.parse().ok());
        let offset: u64 = offset.unwrap_or(0);
        self.bar.set_position(offset);
        let file = Failure::of_file(self.path, self.hash_until(offset).await)?;
        if headers.contains_key("larder-file-id") {
            return Ok(headers);
        }
        let request = self.request(Method::PATCH, upload);
        let request = request
            .header("Upload-Offset", offset)
            .header(header::CONTENT_TYPE, "application/offset+octet-stream")
            .header(header::CONTENT_LENGTH, self.size - offset)
            .body(self.body(file, self.size - offset));
        Ok(self.api.send(request).await?.headers().clone())
    }

    /// Has the hasher take the file up to `offset`, where the file is read next.
    async fn hash_until(&mut self, offset: u64) -> io::Result<File> {
        let (path, hasher) = (self.path.to_owned(), Arc::clone(&self.hasher));
        self.hashed = offset;
        run_blocking(move || {
            let mut file = File::open(path)?;
            let mut hasher = lock(&hasher);
            // What was sent and did not arrive is taken once more.
            hasher.reset();
            hasher.update_reader((&mut file).take(offset))?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        })
        .await
    }

    /// The next `length` bytes of a file, hashed as they go.
    fn body(&self, file: File, length: u64) -> Body {
        let (hasher, bar) = (Arc::clone(&self.hasher), self.bar.clone());
        let pieces = stream::try_unfold((file, length), move |(mut file, left)| {
            let (hasher, bar) = (Arc::clone(&hasher), bar.clone());
            async move {
                let read = move || {
                    let mut piece = Vec::with_capacity(PIECE);
                    (&mut file)
                        .take(left.min(PIECE as u64))
                        .read_to_end(&mut piece)?;
                    lock(&hasher).update(&piece);
                    io::Result::Ok((piece, file))
                };
                let (piece, file) = run_blocking(read).await?;
                bar.inc(piece.len() as u64);
                let left = left - piece.len() as u64;
                Ok::<_, io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), (file, left))))
            }
        });
        Body::wrap_stream(pieces)
    }
}

fn encoded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn lock(hasher: &Mutex<Hasher>) -> std::sync::MutexGuard<'_, Hasher> {
    hasher.lock().unwrap_or_else(PoisonError::into_inner)
}
