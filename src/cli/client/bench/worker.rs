//! One connection's work: one request after the other, each as soon as the one before is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blake3::Hasher;
use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::content::Content;
use super::mix::{Mix, Operation};
use super::outcome::Outcome;
use super::over::Over;
use super::wire::{self, Line, NO_ANSWER, OTHER_ANSWER, Trouble, Wire};
use crate::hash::BlobHash;
use crate::record::FileId;

/// How long is waited after a request that came to nothing, so that a node that is not there is
/// not asked without a pause.
const AFTER_TROUBLE: Duration = Duration::from_millis(50);

/// What the forms have between their parts.
const BOUNDARY: &str = "larder-bench-7c1d0f";

/// A file that this run has uploaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    id: FileId,
    hash: BlobHash,
    size: u64,
}

/// What all connections have in common.
pub(super) struct Run {
    pub(super) wire: Wire,
    /// What the contents and names of this run begin with.
    pub(super) id: [u8; 16],
    pub(super) sizes: Vec<u64>,
    pub(super) mix: Mix,
    /// Whether contents are sent in forms.
    pub(super) in_forms: bool,
    /// How many contents were begun.
    pub(super) begun: AtomicU64,
    /// Whether anything more is to be asked, or waited for.
    pub(super) over: Arc<Over>,
}

/// What the node says of an upload.
#[derive(Deserialize)]
struct Uploaded {
    file: UploadedFile,
}

#[derive(Deserialize)]
struct UploadedFile {
    file_id: FileId,
    hash: BlobHash,
    size: u64,
}

/// What the node lists.
#[derive(Deserialize)]
struct Listed {
    files: Vec<IgnoredAny>,
}

/// A connection, and what came of it.
pub(super) struct Worker {
    run: Arc<Run>,
    line: Option<Line>,
    random: SplitMix64,
    /// What it has uploaded and not removed.
    pub(super) own: Vec<Kept>,
    /// Whether the node may have kept a file of which it could not tell.
    pub(super) has_unanswered: bool,
    pub(super) outcome: Outcome,
}

impl Worker {
    pub(super) fn new(run: Arc<Run>, number: u64) -> Self {
        let mut seed = [0; 8];
        seed.copy_from_slice(run.id.split_at(8).0);
        Self {
            run,
            line: None,
            random: SplitMix64(u64::from_le_bytes(seed) ^ number),
            own: Vec::new(),
            has_unanswered: false,
            outcome: Outcome::default(),
        }
    }

    /// Uploads until there are as many files as there are to be; the first failure ends it.
    pub(super) async fn fill(&mut self, files: u64) -> Result<(), Trouble> {
        let run = Arc::clone(&self.run);
        while !run.over.is_over() {
            let number = self.run.begun.fetch_add(1, Ordering::Relaxed);
            if number >= files {
                self.run.begun.fetch_sub(1, Ordering::Relaxed);
                break;
            }
            let uploading = self.perform(Operation::Put, number, &[]);
            if let Err(trouble) = uploading.await {
                run.over.end();
                return Err(trouble);
            }
        }
        Ok(())
    }

    /// Asks by the mix, of `files` and of its own, until the run is over.
    pub(super) async fn measure(&mut self, files: &[Kept]) {
        let run = Arc::clone(&self.run);
        while !run.over.is_over() {
            let wanted = run.mix.pick(self.random.next());
            let operation = match wanted {
                Operation::Delete if self.own.is_empty() => Operation::Put,
                other => other,
            };
            let number = match operation {
                Operation::Put => run.begun.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            let began = Instant::now();
            let done = self.perform(operation, number, files).await;
            self.outcome.note(operation, began.elapsed(), &done);
            if done.is_err() {
                tokio::time::sleep(AFTER_TROUBLE).await;
            }
        }
    }

    /// Removes what is left of these, and tells how many could not be: all that are left where the
    /// node does not answer.
    pub(super) async fn clean(&mut self, files: Vec<Kept>) -> u64 {
        let (run, mut left) = (Arc::clone(&self.run), 0);
        let mut has_failed = false;
        for file in files {
            if has_failed || run.over.is_over() {
                left += 1;
                continue;
            }
            let mut removed = run.over.wait_for(Box::pin(self.remove(file))).await;
            if matches!(removed, Err(Trouble::Cut(word)) if word != NO_ANSWER) {
                // A kept connection ends when the server likes.
                removed = run.over.wait_for(Box::pin(self.remove(file))).await;
            }
            has_failed = matches!(removed, Err(Trouble::Cut(_)));
            left += u64::from(removed.is_err());
        }
        left
    }

    /// Asks one thing, for as long as it is waited for; what is uploaded has this number.
    async fn perform(
        &mut self,
        operation: Operation,
        number: u64,
        files: &[Kept],
    ) -> Result<u64, Trouble> {
        let run = Arc::clone(&self.run);
        let asked = Box::pin(async {
            match operation {
                Operation::Get => self.download(files).await,
                Operation::Put => self.upload(number).await,
                Operation::Delete => self.remove_last().await,
                Operation::List => self.list(files).await,
            }
        });
        let done = run.over.wait_for(asked).await;
        self.has_unanswered |= operation == Operation::Put && matches!(done, Err(Trouble::Cut(_)));
        done
    }

    async fn download(&mut self, files: &[Kept]) -> Result<u64, Trouble> {
        let count = files.len().max(1) as u64;
        let at = usize::try_from(self.random.next() % count).unwrap_or(0);
        let Some(file) = files.get(at) else {
            return Err(Trouble::Cut("nothing_to_get"));
        };
        let path = format!("/api/p2p/file/{}", file.id);
        let (mut answer, line) = self
            .ask(Method::GET, &path, None, Content::default())
            .await?;
        if answer.status() != StatusCode::OK {
            return Err(Trouble::Cut(OTHER_ANSWER));
        }
        let (mut hasher, mut size) = (Hasher::new(), 0);
        let end = wire::end_of(file.size);
        while let Some(piece) = wire::piece(&mut answer, end).await? {
            hasher.update(&piece);
            size += piece.len() as u64;
            if size > file.size {
                return Err(Trouble::Wrong);
            }
        }
        self.line = Some(line);
        if size != file.size || BlobHash::from(hasher.finalize()) != file.hash {
            return Err(Trouble::Wrong);
        }
        Ok(size)
    }

    async fn upload(&mut self, number: u64) -> Result<u64, Trouble> {
        let at = usize::try_from(self.random.next() % self.run.sizes.len().max(1) as u64);
        let size = self.run.sizes.get(at.unwrap_or(0)).copied().unwrap_or(0);
        let (mut content, hash) = Content::new(&self.run.id, number, size);
        let name = format!("{}/{number}", folder(&self.run.id));
        let (method, path, kind) = if self.run.in_forms {
            content = content.between(form_head(&name), form_tail());
            let kind = HeaderValue::from_static(FORM);
            (Method::POST, "/api/p2p/upload".to_owned(), Some(kind))
        } else {
            (Method::PUT, format!("/api/p2p/upload/{name}"), None)
        };
        let answer = self.whole(method, &path, kind.as_ref(), content).await?;
        let uploaded = serde_json::from_slice::<Uploaded>(&answer);
        let Uploaded { file } = uploaded.map_err(|_| Trouble::Cut(OTHER_ANSWER))?;
        self.own.push(Kept {
            id: file.file_id,
            hash: file.hash,
            size,
        });
        if hash.get() != Some(&file.hash) || file.size != size {
            return Err(Trouble::Wrong);
        }
        Ok(size)
    }

    async fn remove(&mut self, file: Kept) -> Result<(), Trouble> {
        let path = format!("/api/p2p/file/{}?force=1", file.id);
        let removed = self.whole(Method::DELETE, &path, None, Content::default());
        removed.await.map(drop)
    }

    async fn remove_last(&mut self) -> Result<u64, Trouble> {
        if let Some(file) = self.own.last() {
            self.remove(*file).await?;
            self.own.pop();
        }
        Ok(0)
    }

    /// Lists the newest files, of which there are some where this run has uploaded any to get.
    async fn list(&mut self, files: &[Kept]) -> Result<u64, Trouble> {
        let path = "/api/p2p/files?limit=100";
        let list = self
            .whole(Method::GET, path, None, Content::default())
            .await?;
        let told = serde_json::from_slice::<Listed>(&list);
        let told = told.map_err(|_| Trouble::Cut(OTHER_ANSWER))?;
        if told.files.is_empty() && !files.is_empty() {
            return Err(Trouble::Cut(OTHER_ANSWER));
        }
        Ok(list.len() as u64)
    }

    /// Sends a request and reads its answer, which is not long.
    async fn whole(
        &mut self,
        method: Method,
        path: &str,
        kind: Option<&HeaderValue>,
        body: Content,
    ) -> Result<Bytes, Trouble> {
        let (answer, line) = self.ask(method, path, kind, body).await?;
        let answer = wire::read(answer).await?;
        self.line = Some(line);
        Ok(answer)
    }

    /// Sends a request on the connection that there is, or a new one. Whoever has read all of the
    /// answer gives the connection back; it is given up where that fails.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        kind: Option<&HeaderValue>,
        body: Content,
    ) -> Result<(hyper::Response<hyper::body::Incoming>, Line), Trouble> {
        let request = self.run.wire.request(method, path, kind, body)?;
        let mut line = match self.line.take().filter(|it| !it.is_closed()) {
            Some(line) => line,
            None => self.run.wire.connect().await?,
        };
        match wire::ask(&mut line, request).await {
            Ok(answer) => Ok((answer, line)),
            Err(trouble) => {
                if matches!(trouble, Trouble::Refused(_)) {
                    self.line = Some(line);
                }
                Err(trouble)
            }
        }
    }
}

/// The folder in which the files of a run are.
pub(super) fn folder(id: &[u8; 16]) -> String {
    format!("larder-bench/{}", uuid::Uuid::from_bytes(*id).simple())
}

const FORM: &str = "multipart/form-data; boundary=larder-bench-7c1d0f";

fn form_head(name: &str) -> Bytes {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    head.into()
}

fn form_tail() -> Bytes {
    format!("\r\n--{BOUNDARY}--\r\n").into()
}

/// Numbers that look random: `SplitMix64` (Steele, Lea and Flood: "Fast splittable pseudorandom
/// number generators", 2014).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_paper() {
        // The first of the seed 1234567, as several public implementations test themselves by.
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }
}
