//! A file on its way to the node, by tus 1.0.0: when the connection breaks, the node is
//! restarted or this process is killed, it goes on where it stopped.
//!
//! What was true once is looked at again before anything rests on it: an upload that was begun
//! before is only gone on with where the node knows it as one of this file, name and description;
//! one that has ended only counts where its file is there; and what has arrived is only told when
//! its hash is that of bytes which the file has had, all of them at the same time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use blake3::Hasher;
use bytes::Bytes;
use futures_util::stream;
use indicatif::ProgressBar;
use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, RequestBuilder, header};
use serde::{Deserialize, Serialize};

use super::again::Again;
use super::api::Api;
use super::begun::{Begun, Subject};
use super::ended::Ended;
use super::failure::Failure;
use super::output;
use super::source::Source;
use crate::blocking;
use crate::hash::BlobHash;
use crate::record::FileId;
use crate::resumable::UploadId;

/// How long the first pause is of an upload that breaks off.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// How often another upload is begun in the place of one that the node has forgotten.
const ANEW: u32 = 3;
/// How often a node that has all bytes of an upload, and says nothing, is asked whether it is well.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to make a file of them: over a bucket it moves all of them once more.
const END_WITHIN: Duration = Duration::from_mins(10);
/// Where uploads are created.
const TUS: &str = "/api/p2p/tus";

/// A file that the node has.
#[derive(Serialize)]
pub(super) struct Sent {
    pub(super) file_id: String,
    pub(super) original_name: String,
    size: u64,
    hash: String,
    /// Where others download it, as whoever sends it tells them.
    pub(super) download_url: String,
}

/// What the node says of a file that it holds.
#[derive(Deserialize)]
struct Record {
    file_id: String,
    original_name: String,
    #[serde(default)]
    description: String,
    hash: String,
}

#[derive(Deserialize)]
struct Records {
    files: Vec<Record>,
}

/// How far an upload is, as the node says.
struct Progress {
    offset: u64,
    /// What it has become.
    file: Option<(FileId, BlobHash)>,
}

/// What is sent.
pub(super) struct Outgoing<'a> {
    pub(super) path: &'a Path,
    /// What the node shall call it.
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    /// On how many members of the network it is to be, where that is said.
    pub(super) copies: Option<u8>,
}

impl Outgoing<'_> {
    /// What the node is told of it (tus 1.0.0, "Upload-Metadata").
    fn metadata(&self) -> String {
        let copies = self.copies.map(|it| it.to_string());
        let copies = copies.map(|it| format!(",copies {}", BASE64_STANDARD.encode(it)));
        format!(
            "filename {},description {}{}",
            BASE64_STANDARD.encode(self.name),
            BASE64_STANDARD.encode(self.description),
            copies.unwrap_or_default()
        )
    }
}

/// Sends a file, unless an earlier command has, and notes in `ended` that it is sent.
pub(super) async fn send(
    api: &Api,
    outgoing: Outgoing<'_>,
    ended: &Arc<Ended>,
    bar: &ProgressBar,
) -> Result<Sent, Failure> {
    let metadata = outgoing.metadata();
    let Outgoing {
        path,
        name,
        description,
        ..
    } = outgoing;
    let opened = path.to_owned();
    let source = blocking::run(move || Source::open(&opened)).await;
    let source = Failure::of_file(path, source)?;
    let key = Subject {
        node: api.node(),
        what: source.what(path),
        metadata: &metadata,
    }
    .key();
    bar.set_length(source.size());
    let mut sending = Sending {
        api,
        path,
        name,
        description,
        metadata: metadata.trim_end().to_owned(),
        bar,
        source,
        begun: Begun::of(&key),
        hasher: Arc::default(),
        hashed: 0,
        unread: Arc::default(),
        moved: Arc::new(Mutex::new(Instant::now())),
    };
    let (id, hash) = match sending.recall_sent(ended.recall(&key)).await? {
        Some(sent) => sent,
        None => sending.send().await?,
    };
    let ended = Arc::clone(ended);
    // In this order, so that one of both tells of it at every moment.
    blocking::run(move || ended.note(&key, id, hash)).await;
    sending.begun.forget();
    Ok(sending.sent(id, hash))
}

/// A file under way.
struct Sending<'a> {
    api: &'a Api,
    path: &'a Path,
    name: &'a str,
    description: &'a str,
    /// Both, as the node is told them.
    metadata: String,
    bar: &'a ProgressBar,
    source: Source,
    begun: Begun,
    /// Takes the file's bytes in their order.
    hasher: Arc<Mutex<Hasher>>,
    /// How many bytes the hasher was given before the request under way.
    hashed: u64,
    /// Why the file could not be read on.
    unread: Arc<Mutex<Option<io::Error>>>,
    /// When the node last took something, or was asked whether it would.
    moved: Arc<Mutex<Instant>>,
}

impl Sending<'_> {
    /// What an earlier command has sent, if the file has these bytes still and is there still.
    async fn recall_sent(
        &mut self,
        sent: Option<(FileId, BlobHash)>,
    ) -> Result<Option<(FileId, BlobHash)>, Failure> {
        let Some((id, hash)) = sent else {
            return Ok(None);
        };
        let hashed = self.hash_until(self.source.size()).await;
        hashed.map_err(|error| self.unreadable(error))?;
        let own = BlobHash::from(self.hasher.lock().finalize());
        let is_there = own == hash && self.is_there(id, hash).await?;
        Ok(is_there.then_some((id, hash)))
    }

    async fn send(&mut self) -> Result<(FileId, BlobHash), Failure> {
        if let Some(sent) = self.recall().await? {
            return Ok(sent);
        }
        let (id, hash) = self.send_all().await?;
        let own = BlobHash::from(self.hasher.lock().finalize());
        let source = self.source.clone();
        let still_is = blocking::run(move || source.still_is(own)).await;
        let (has_arrived, still_is) = (hash == own, Failure::of_file(self.path, still_is)?);
        if has_arrived && still_is {
            return Ok((id, own));
        }
        self.begun.forget();
        // Nobody was told of it, and nobody shall take it for the file.
        let remove = self
            .api
            .request(Method::DELETE, &format!("/api/p2p/file/{id}"));
        let removed = self.api.send(remove).await;
        let is_left = removed.is_err_and(|failure| !failure.is_gone());
        let (path, id) = (self.path.to_owned(), id.to_string());
        Err(match (still_is, is_left) {
            (true, true) => Failure::ArrivedOtherAndLeft(path, id),
            (true, false) => Failure::ArrivedOther(path),
            (false, true) => Failure::ChangedAndLeft(path, id),
            (false, false) => Failure::Changed(path),
        })
    }

    fn sent(&self, id: FileId, hash: BlobHash) -> Sent {
        Sent {
            file_id: id.to_string(),
            original_name: self.name.to_owned(),
            size: self.source.size(),
            hash: hash.to_string(),
            download_url: String::new(),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.api.request(method, path);
        request.header("Tus-Resumable", "1.0.0")
    }

    /// Looks at what an earlier command has begun: what it has ended, if that is there still.
    async fn recall(&mut self) -> Result<Option<(FileId, BlobHash)>, Failure> {
        let Some(upload) = self.begun.recall() else {
            return Ok(None);
        };
        let progress = match self.look(upload).await {
            Ok(progress) => progress,
            Err(failure) if failure.is_gone() => None,
            Err(failure) => return Err(failure),
        };
        if let Some(Progress { file: None, .. }) = progress {
            return Ok(None);
        }
        let sent = self.recall_sent(progress.and_then(|it| it.file)).await?;
        if sent.is_none() {
            self.begun.disown();
        }
        Ok(sent)
    }

    /// Whether the node holds a file of this id, with this hash and what is told of it.
    async fn is_there(&self, id: FileId, hash: BlobHash) -> Result<bool, Failure> {
        let before = id.before().map(|it| it.to_string());
        let mut query = vec![("limit", "1")];
        query.extend(before.as_deref().map(|it| ("after", it)));
        let Records { files } = self.api.get("/api/p2p/files", &query).await?;
        Ok(files.first().is_some_and(|it| {
            it.file_id == id.to_string()
                && it.original_name == self.name
                && it.description == self.description
                && it.hash == hash.to_string()
        }))
    }

    /// What the node is told of the length when an upload begins. One of no bytes would be whole
    /// at once, a file of which nobody knows when that answer is lost: so only the request that
    /// ends it tells how long it is, when there is a note of it.
    fn length_at_first(&self) -> Option<u64> {
        Some(self.source.size()).filter(|size| *size > 0)
    }

    /// How far an upload is; nothing where it is not one of this file.
    async fn look(&self, upload: UploadId) -> Result<Option<Progress>, Failure> {
        let request = self.request(Method::HEAD, &format!("{TUS}/{upload}"));
        let answer = self.api.send(request).await?;
        let headers = answer.headers();
        let size = number(headers, "upload-length");
        let metadata = text(headers, "upload-metadata").unwrap_or_default();
        let progress = progress(headers)?;
        let is_as_long = size == Some(self.source.size()) || size == self.length_at_first();
        let is_own =
            is_as_long && metadata.trim() == self.metadata && progress.offset <= self.source.size();
        Ok(is_own.then_some(progress))
    }

    /// Begins a new upload.
    async fn create(&mut self) -> Result<UploadId, Failure> {
        let request = self.request(Method::POST, TUS);
        let request = match self.length_at_first() {
            Some(length) => request.header("Upload-Length", length),
            None => request.header("Upload-Defer-Length", 1),
        };
        let request = request.header("Upload-Metadata", &self.metadata);
        let answer = self.api.send(request).await?;
        let upload = text(answer.headers(), header::LOCATION.as_str());
        let upload = upload.and_then(|it| it.rsplit('/').next()?.parse().ok());
        let upload = upload.ok_or(Failure::Nonsense("it names no upload"))?;
        self.begun.remember(upload);
        Ok(upload)
    }

    /// Sends what is missing, over as many requests as it takes: which file it has become.
    async fn send_all(&mut self) -> Result<(FileId, BlobHash), Failure> {
        let (mut again, mut farthest) = (Again::new(self.api, self.bar, FIRST_PAUSE), 0);
        let (mut begun, mut anew) = (self.begun.recall(), 0);
        loop {
            let failure = match self.send_rest(&mut begun).await {
                Ok(file) => return Ok(file),
                Err(failure) => failure,
            };
            if self.hashed > farthest {
                farthest = self.hashed;
                again.advanced();
            }
            if let (Failure::Changed(_), Some(upload)) = (&failure, begun) {
                // What has come of it is of no use; if it stays, the node forgets it some time.
                let remove = self.request(Method::DELETE, &format!("{TUS}/{upload}"));
                let _ = self.api.send(remove).await;
                self.begun.forget();
            }
            if failure.is_gone() && anew < ANEW && begun.take().is_some() {
                // It has expired, or was removed: then another is begun.
                anew += 1;
            } else if !(failure.may_pass() || failure.is_taken_over()) {
                return Err(failure);
            }
            again.wait(failure).await?;
        }
    }

    async fn send_rest(
        &mut self,
        begun: &mut Option<UploadId>,
    ) -> Result<(FileId, BlobHash), Failure> {
        let upload = match *begun {
            Some(upload) => upload,
            None => *begun.insert(self.create().await?),
        };
        let other = Failure::Nonsense("the upload has become another");
        let progress = self.look(upload).await?.ok_or(other)?;
        output::begin_at(self.bar, progress.offset);
        let hashed = self.hash_until(progress.offset).await;
        hashed.map_err(|error| self.unreadable(error))?;
        if let Some(file) = progress.file {
            return Ok(file);
        }
        let left = self.source.size() - progress.offset;
        let request = self.request(Method::PATCH, &format!("{TUS}/{upload}"));
        let request = request
            .header("Upload-Offset", progress.offset)
            .header(header::CONTENT_TYPE, "application/offset+octet-stream")
            .header(header::CONTENT_LENGTH, left)
            .body(self.body(progress.offset));
        let request = match self.length_at_first() {
            Some(_) => request,
            None => request.header("Upload-Length", self.source.size()),
        };
        let moved = Arc::clone(&self.moved);
        let answer = tokio::select! {
            answer = self.api.send_while(request, || *moved.lock()) => answer,
            () = self.await_end() => Err(self.api.silent()),
        };
        let unread = self.unread.lock().take();
        if let Some(error) = unread {
            return Err(self.unreadable(error));
        }
        let file = self::progress(answer?.headers())?.file;
        file.ok_or(Failure::Vanished)
    }

    /// Has the node count as one that moves as long as it answers at all, once it has all bytes of
    /// the file. Returns after [`END_WITHIN`] of that.
    async fn await_end(&self) {
        let mut has_all: Option<Instant> = None;
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            if self.bar.position() < self.source.size() {
                continue;
            }
            if has_all.get_or_insert_with(Instant::now).elapsed() >= END_WITHIN {
                return;
            }
            let is_well = self.api.request(Method::GET, "/health");
            if self.api.send(is_well).await.is_ok() {
                *self.moved.lock() = Instant::now();
            }
        }
    }

    /// The failure for a file that cannot be read, or has become shorter.
    fn unreadable(&self, error: io::Error) -> Failure {
        let path = self.path.to_owned();
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::Changed(path),
            _ => Failure::File(path, error),
        }
    }

    /// Has the hasher take the file up to `offset`, anew.
    async fn hash_until(&mut self, offset: u64) -> io::Result<()> {
        // What was sent and did not arrive is taken once more, by another hasher: the body of a
        // request that has failed may still be read.
        self.hasher = Arc::default();
        self.unread = Arc::default();
        let (source, hasher) = (self.source.clone(), Arc::clone(&self.hasher));
        self.hashed = offset;
        blocking::run(move || source.hash_until(offset, &mut hasher.lock())).await
    }

    /// The bytes from `offset` on, hashed as they go. The last ones only go if nobody has written
    /// to the file meanwhile: without them the node has no file.
    fn body(&self, offset: u64) -> Body {
        let (source, unread) = (self.source.clone(), Arc::clone(&self.unread));
        let (hasher, bar) = (Arc::clone(&self.hasher), self.bar.clone());
        let moved = Arc::clone(&self.moved);
        *moved.lock() = Instant::now();
        let pieces = stream::try_unfold(offset, move |at| {
            *moved.lock() = Instant::now();
            let (source, unread) = (source.clone(), Arc::clone(&unread));
            let (hasher, bar) = (Arc::clone(&hasher), bar.clone());
            async move {
                if at == source.size() {
                    return Ok(None);
                }
                let read = blocking::run(move || {
                    let piece = source.read(at)?;
                    let end = at + piece.len() as u64;
                    if end == source.size() && !source.is_untouched()? {
                        let mut whole = hasher.lock().clone();
                        whole.update(&piece);
                        if !source.still_is(whole.finalize().into())? {
                            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                        }
                    }
                    hasher.lock().update(&piece);
                    Ok((piece, end))
                });
                match read.await {
                    Ok((piece, end)) => {
                        bar.inc(piece.len() as u64);
                        Ok(Some((Bytes::from(piece), end)))
                    }
                    Err(error) => {
                        let kind = error.kind();
                        *unread.lock() = Some(error);
                        Err(io::Error::from(kind))
                    }
                }
            }
        });
        Body::wrap_stream(pieces)
    }
}

fn progress(headers: &HeaderMap) -> Result<Progress, Failure> {
    let offset = number(headers, "upload-offset");
    let offset = offset.ok_or(Failure::Nonsense("it has no upload-offset"))?;
    let id = text(headers, "larder-file-id").and_then(|it| it.parse().ok());
    let hash = text(headers, "larder-file-hash").and_then(|it| it.parse().ok());
    let file = id.zip(hash);
    Ok(Progress { offset, file })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}
