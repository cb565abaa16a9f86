//! Partial content in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::super::groups::Groups;
use super::super::{
    Arrival, BlobError, Filling, FoundPartial, Limit, Partial, PartialId, Partials, Proven,
    Received, Receiving,
};
use super::blobs::Blobs;
use super::receiving::{Whole, failed_before};
use crate::hash::BlobHash;
use crate::pack_rows::Gathered;
use crate::place::Place;

/// The partial contents of one purpose.
pub(super) struct MemoryPartials {
    contents: Arc<Contents>,
    blobs: Arc<Blobs>,
}

/// What has come of each.
#[derive(Default)]
struct Contents(Mutex<BTreeMap<PartialId, Content>>);

/// What has come of one.
struct Content {
    bytes: Vec<u8>,
    /// Which of them are there, where they come in any order.
    groups: Option<Groups>,
    written: Instant,
}

/// One whose pieces come in any order.
struct Filled {
    id: PartialId,
    size: u64,
    contents: Arc<Contents>,
}

/// One that is gone on with.
struct Open {
    id: PartialId,
    hasher: blake3::Hasher,
    limit: Limit,
    has_failed: bool,
    contents: Arc<Contents>,
    blobs: Arc<Blobs>,
}

/// One that is complete, and no longer partial once it is kept.
struct Complete {
    id: PartialId,
    whole: Box<Whole>,
    contents: Arc<Contents>,
}

impl MemoryPartials {
    pub(super) fn new(blobs: Arc<Blobs>) -> Self {
        let contents = Arc::default();
        Self { contents, blobs }
    }
}

impl Contents {
    /// Does `work` with what has come of one, which is nothing at first.
    fn with<T>(&self, id: &PartialId, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.with_all(id, |content| work(&mut content.bytes))
    }

    fn with_all<T>(&self, id: &PartialId, work: impl FnOnce(&mut Content) -> T) -> T {
        let mut contents = self.0.lock();
        let content = contents.entry(id.clone()).or_insert_with(|| Content {
            bytes: Vec::new(),
            groups: None,
            written: Instant::now(),
        });
        content.written = Instant::now();
        work(content)
    }
}

impl Filled {
    /// Does `work` with what is there, and what is known of it.
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>, &mut Groups) -> T) -> T {
        self.contents.with_all(&self.id, |content| {
            let len = content.bytes.len() as u64;
            let groups = content.groups.take().filter(|it| it.end() <= len);
            let mut groups = groups.unwrap_or_else(|| Groups::up_to(self.size, len));
            let done = work(&mut content.bytes, &mut groups);
            content.groups = Some(groups);
            done
        })
    }
}

#[async_trait]
impl Filling for Filled {
    fn here(&self) -> u64 {
        self.with(|_, groups| groups.here())
    }

    fn missing(&self, range: Range<u64>) -> Option<Range<u64>> {
        self.with(|_, groups| groups.missing(range))
    }

    async fn fill(&self, offset: u64, pieces: Vec<Bytes>) -> Result<u64, BlobError> {
        let pieces = pieces.concat();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(pieces.len());
        Ok(self.with(|bytes, groups| {
            bytes.resize(bytes.len().max(end), 0);
            if let Some(there) = bytes.get_mut(start..end) {
                there.copy_from_slice(&pieces);
            }
            groups.set(offset..offset + pieces.len() as u64).0
        }))
    }
}

#[async_trait]
impl Partials for MemoryPartials {
    async fn prepare(&self) -> Result<Vec<FoundPartial>, BlobError> {
        let contents = self.contents.0.lock();
        let found = contents.iter().map(|(id, content)| FoundPartial {
            id: id.clone(),
            len: content.bytes.len() as u64,
            age: content.written.elapsed(),
        });
        Ok(found.collect())
    }

    async fn resume(
        &self,
        id: &PartialId,
        _size: u64,
        proven: Option<Proven>,
        limit: Limit,
    ) -> Result<Box<dyn Partial>, BlobError> {
        let mut hasher = blake3::Hasher::new();
        self.contents.with(id, |content| match proven {
            None => {
                hasher.update(content);
                Ok(())
            }
            Some(Proven { len, hash }) => {
                let begins = beginning(content, len).filter(|it| BlobHash::of(it) == hash);
                let begins = begins.ok_or_else(|| BlobError::other_hash(hash))?;
                hasher.update(begins);
                content.truncate(begins.len());
                Ok::<_, BlobError>(())
            }
        })?;
        Ok(Box::new(Open {
            id: id.clone(),
            hasher,
            limit,
            has_failed: false,
            contents: Arc::clone(&self.contents),
            blobs: Arc::clone(&self.blobs),
        }))
    }

    async fn fill(
        &self,
        id: &PartialId,
        size: u64,
        limit: Limit,
    ) -> Result<Arc<dyn Filling>, BlobError> {
        limit.check(size)?;
        Ok(Arc::new(Filled {
            id: id.clone(),
            size,
            contents: Arc::clone(&self.contents),
        }))
    }

    async fn longest(
        &self,
        id: &PartialId,
        beginnings: Vec<Proven>,
    ) -> Result<Option<Proven>, BlobError> {
        let contents = self.contents.0.lock();
        let content = contents.get(id).map(|it| &*it.bytes).unwrap_or_default();
        let mut there = beginnings.into_iter().filter(|Proven { len, hash }| {
            beginning(content, *len).is_some_and(|it| BlobHash::of(it) == *hash)
        });
        Ok(there.next_back())
    }

    async fn cut(&self, id: &PartialId, counts: u64) -> Result<u64, BlobError> {
        let mut contents = self.contents.0.lock();
        Ok(contents.get_mut(id).map_or(0, |content| {
            let counts = usize::try_from(counts).unwrap_or(usize::MAX);
            content.bytes.truncate(counts);
            content.bytes.len() as u64
        }))
    }

    async fn read(&self, id: &PartialId, offset: u64, len: usize) -> Result<Bytes, BlobError> {
        let contents = self.contents.0.lock();
        let content = contents.get(id).map(|it| &*it.bytes).unwrap_or_default();
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| content.get(at..));
        let rest = rest.unwrap_or_default();
        let piece = rest.get(..len).unwrap_or(rest);
        Ok(Bytes::copy_from_slice(piece))
    }

    async fn rename(&self, from: &PartialId, to: &PartialId) -> Result<(), BlobError> {
        let mut contents = self.contents.0.lock();
        if let Some(content) = contents.remove(from) {
            contents.insert(to.clone(), content);
        }
        Ok(())
    }

    async fn remove(&self, id: &PartialId) -> Result<(), BlobError> {
        self.contents.0.lock().remove(id);
        Ok(())
    }
}

impl Open {
    fn check_sound(&self) -> Result<(), BlobError> {
        if self.has_failed {
            return Err(failed_before());
        }
        Ok(())
    }

    fn proven(&self) -> Result<Proven, BlobError> {
        self.check_sound()?;
        Ok(Proven {
            len: self.hasher.count(),
            hash: self.hasher.finalize().into(),
        })
    }

    fn whole(&self) -> Result<Whole, BlobError> {
        let Proven { hash, .. } = self.proven()?;
        let content = self.contents.with(&self.id, |content| content.clone());
        Ok(Whole {
            hash,
            content: Bytes::from(content),
            blobs: Arc::clone(&self.blobs),
        })
    }
}

#[async_trait]
impl Receiving for Open {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.check_sound()?;
        let checked = self.limit.check(self.received() + piece.len() as u64);
        self.has_failed = checked.is_err();
        checked?;
        self.hasher.update(&piece);
        self.contents
            .with(&self.id, |content| content.extend_from_slice(&piece));
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        let whole = Box::new(self.whole()?);
        let Self { id, contents, .. } = *self;
        Ok(Box::new(Complete {
            id,
            whole,
            contents,
        }))
    }
}

#[async_trait]
impl Partial for Open {
    fn received(&self) -> u64 {
        self.hasher.count()
    }

    async fn written(&mut self) -> Result<Proven, BlobError> {
        self.proven()
    }

    async fn sync(&mut self) -> Result<Proven, BlobError> {
        self.proven()
    }

    async fn finish_copy(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        Ok(Box::new(self.whole()?))
    }
}

#[async_trait]
impl Received for Complete {
    fn hash(&self) -> BlobHash {
        self.whole.hash()
    }

    fn size(&self) -> u64 {
        self.whole.size()
    }

    fn arrival(&self) -> Arrival {
        self.whole.arrival()
    }

    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError> {
        Err(BlobError::kept_alone(self.hash()))
    }

    async fn keep(self: Box<Self>, place: Place) -> Result<(), BlobError> {
        self.whole.keep(place).await?;
        self.contents.0.lock().remove(&self.id);
        Ok(())
    }
}

/// The first `len` bytes, if there are so many.
fn beginning(content: &[u8], len: u64) -> Option<&[u8]> {
    content.get(..usize::try_from(len).ok()?)
}
