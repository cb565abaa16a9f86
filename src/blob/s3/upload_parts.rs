//! An upload in parts that is gone on with: whole parts go to the bucket as they come, and what is
//! behind the last of them at the end of each request.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use uuid::Uuid;

use super::gathering::{Gathered, Gathering};
use super::multipart::UNDER_WAY;
use super::task::Task;
use super::upload_whole::UploadWhole;
use super::uploading::Uploading;
use crate::blob::{BlobError, Limit, Partial, Proven, Received, Receiving};
use crate::blocking;
use crate::upload_rows::UploadPart;

/// An upload that is gone on with. Nothing of it counts before it is noted in the ledger, and that
/// is saved.
pub(super) struct UploadParts {
    uploading: Arc<Uploading>,
    upload: Uuid,
    limit: Limit,
    gathering: Gathering,
    /// Those that are in the bucket, without their trees, and the one that is to grow.
    parts: Vec<UploadPart>,
    tail: Option<UploadPart>,
    /// Those on their way, the first first.
    coming: VecDeque<(UploadPart, Task<Result<(), BlobError>>)>,
    /// What is in the bucket, and noted.
    proven: Proven,
    /// What is needed no more once that is saved.
    replaced: Vec<Path>,
}

impl UploadParts {
    /// Goes on behind these parts, and the one that is to grow, of which `gathered` has the bytes.
    pub(super) fn new(
        uploading: Arc<Uploading>,
        (upload, limit): (Uuid, Limit),
        (mut parts, tail): (Vec<UploadPart>, Option<UploadPart>),
        proven: Proven,
        gathered: Gathered,
    ) -> Self {
        for part in &mut parts {
            part.tree = Vec::new();
        }
        let dir = uploading.dir.clone();
        Self {
            uploading,
            upload,
            limit,
            gathering: Gathering::behind(proven.len, gathered, dir),
            parts,
            tail,
            coming: VecDeque::new(),
            proven,
            replaced: Vec::new(),
        }
    }

    async fn push(&mut self, mut piece: Bytes) -> Result<(), BlobError> {
        while !piece.is_empty() {
            self.gathering.take(&mut piece).await?;
            if self.gathering.is_full() {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Sends the part that is full.
    async fn send(&mut self) -> Result<(), BlobError> {
        let end = self.gathering.received();
        let tree = |it: &Gathered| it.hasher.values_from(end - it.part.len);
        let (part, tree) = self.gathering.next_part(tree).await?;
        let whole = self.part(end - part.len, part.len, tree)?;
        while !self.coming.is_empty() && self.under_way() + whole.size > UNDER_WAY {
            self.wait().await?;
        }
        let depot = Arc::clone(&self.uploading.depot);
        let key = self.uploading.key(self.upload, &whole);
        let put = Task::begin(async move {
            let (bytes, _room) = part.read(Arc::clone(&depot)).await?;
            depot.bucket.put(&key, bytes).await
        });
        self.coming.push_back((whole, put));
        Ok(())
    }

    /// A part that is written in the turn of now.
    fn part(&self, start: u64, size: u64, tree: Vec<u8>) -> Result<UploadPart, BlobError> {
        let turn = self.uploading.ledger.turn(self.upload);
        let epoch = turn.ok_or_else(|| taken_over(self.upload))?.epoch;
        Ok(UploadPart {
            start,
            size,
            epoch,
            tree,
        })
    }

    fn under_way(&self) -> u64 {
        self.coming.iter().map(|(part, _)| part.size).sum()
    }

    /// Up to where whole parts are in the bucket.
    fn parts_end(&self) -> u64 {
        self.parts.last().map_or(0, |it| it.start + it.size)
    }

    /// Waits until the first of those on their way is there, and has it count once it is saved.
    async fn wait(&mut self) -> Result<(), BlobError> {
        let Some((_, first)) = self.coming.front_mut() else {
            return Ok(());
        };
        let put = first.await;
        let Some((part, _)) = self.coming.pop_front() else {
            return Ok(());
        };
        put?;
        self.replace_tail(&part);
        self.uploading.ledger.note(self.upload, vec![part.clone()]);
        self.parts.push(UploadPart {
            tree: Vec::new(),
            ..part
        });
        Ok(())
    }

    /// What this part begins with is in another one no more.
    fn replace_tail(&mut self, by: &UploadPart) {
        let key = self.uploading.key(self.upload, by);
        let before = self.tail.take();
        let before = before.map(|it| self.uploading.key(self.upload, &it));
        self.replaced.extend(before.filter(|it| *it != key));
    }

    /// Has what is behind the last whole part be in the bucket, too.
    async fn put_tail(&mut self) -> Result<(), BlobError> {
        let len = self.gathering.received() - self.parts_end();
        let _room = self.uploading.depot.room_to_send(len).await;
        let read = self.gathering.look(|gathered| {
            let hash = gathered.hasher.clone().finish().hash();
            Ok((gathered.part.bytes()?, hash))
        });
        let (bytes, hash) = read.await?;
        let size = bytes.len() as u64;
        if size > 0 {
            let tail = self.part(self.gathering.received() - size, size, Vec::new())?;
            let depot = &self.uploading.depot;
            let key = self.uploading.key(self.upload, &tail);
            depot.bucket.put(&key, bytes).await?;
            self.replace_tail(&tail);
            self.uploading.ledger.note(self.upload, vec![tail.clone()]);
            self.tail = Some(tail);
        }
        let len = self.gathering.received();
        self.proven = Proven { len, hash };
        Ok(())
    }

    async fn whole(mut self) -> Result<Box<dyn Received>, BlobError> {
        self.sync().await?;
        let hasher = self.gathering.finish().await?.hasher;
        let turn = self.uploading.ledger.turn(self.upload);
        let turn = turn.ok_or_else(|| taken_over(self.upload))?;
        self.parts.extend(self.tail);
        Ok(Box::new(UploadWhole {
            uploading: self.uploading,
            turn,
            parts: self.parts,
            values: Arc::new(blocking::run(move || hasher.finish()).await),
        }))
    }
}

fn taken_over(upload: Uuid) -> BlobError {
    let source = std::io::Error::other("another node has taken it over");
    BlobError::io("go on with the upload", upload.to_string(), source)
}

#[async_trait]
impl Receiving for UploadParts {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.limit
            .check(self.gathering.received() + piece.len() as u64)?;
        self.push(piece).await
    }

    async fn finish(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        self.whole().await
    }
}

#[async_trait]
impl Partial for UploadParts {
    fn received(&self) -> u64 {
        self.gathering.received()
    }

    /// Only what is in the bucket counts for whoever goes on elsewhere.
    async fn written(&mut self) -> Result<Proven, BlobError> {
        while self.coming.front().is_some_and(|(_, put)| put.is_over()) {
            self.wait().await?;
        }
        let len = self.parts_end();
        if len > self.proven.len {
            let look = move |it: &Gathered| Ok(it.hasher.hash_of_first(len));
            let hash = self.gathering.look(look).await?;
            self.proven = hash.map_or(self.proven, |hash| Proven { len, hash });
        }
        Ok(self.proven)
    }

    async fn sync(&mut self) -> Result<Proven, BlobError> {
        self.gathering.write().await?;
        while !self.coming.is_empty() {
            self.wait().await?;
        }
        if self.proven.len < self.gathering.received() {
            self.put_tail().await?;
        }
        Ok(self.proven)
    }

    async fn noted(&mut self) {
        let (replaced, uploading) = (std::mem::take(&mut self.replaced), &self.uploading);
        if replaced.is_empty() {
            return;
        }
        let uploading = Arc::clone(uploading);
        // Nobody waits for that: no key is written to again, and what stays goes with the upload.
        tokio::spawn(async move {
            for key in replaced {
                if let Err(error) = uploading.depot.bucket.delete(&key).await {
                    tracing::debug!(%key, %error, "a part of an upload could not be removed");
                }
            }
        });
    }

    async fn give_up(self: Box<Self>) {
        // What is in the bucket of it goes with the upload.
    }

    async fn finish_copy(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        self.whole().await
    }
}
