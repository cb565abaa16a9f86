//! Blob backends as a suite tries them: each content by its hash, and what befalls its bytes.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use larder::blob::local::{self, LONGEST_IN_PACKS, LocalBlobs, MAX_PACK_BYTES};
use larder::blob::memory::MemoryBlobs;
use larder::blob::{BlobBackend, BlobError, OpenBlob, Received};
use larder::disk::Durability;
use larder::hash::BlobHash;
use larder::health::{Findings, Health};
use larder::pack_rows::ENTRY_OVERHEAD;
use larder::place::Place;

use super::received;

/// A backend in which each content has a place, which is not always named for it.
pub(crate) struct ByHash {
    backend: Box<dyn BlobBackend>,
    place_of: fn(&BlobHash) -> Place,
    gathered: Mutex<Gathered>,
    /// Where it keeps what it has, if that is not within it.
    medium: Option<Box<dyn Medium>>,
    heard: Arc<Heard>,
}

/// Where those contents are that the backend has found places for.
#[derive(Default)]
struct Gathered {
    now: BTreeMap<BlobHash, Place>,
    /// Where they ever were.
    ever: BTreeMap<BlobHash, Vec<Place>>,
}

impl Gathered {
    /// Whether anything is needed where a content was.
    fn needs(&self, place: Place) -> bool {
        self.now.values().any(|it| it.object() == place.object())
    }
}

/// What a backend keeps its blobs on, of which something may befall them that it knows nothing of.
#[async_trait]
pub(crate) trait Medium: Send + Sync {
    /// Has the bytes that are kept of a content be `others`. Short ones stay as long as they were.
    async fn damage(&self, hash: &BlobHash, place: Place, others: &[u8]);

    /// Leaves what a crash may leave beside content that is gone, and tells of how many contents.
    async fn leave_beside(&self, hash: &BlobHash, place: Place) -> u64;

    /// Whether anything is there that stands beside a content.
    async fn has_beside(&self, hash: &BlobHash, place: Place) -> bool;
}

/// A storage directory.
struct StorageDir(PathBuf);

/// What a backend has reported.
#[derive(Default)]
struct Heard(Mutex<Vec<(Place, Health)>>);

impl Findings for Heard {
    fn found(&self, place: Place, health: Health) {
        self.0.lock().unwrap().push((place, health));
    }
}

impl Deref for ByHash {
    type Target = dyn BlobBackend;

    fn deref(&self) -> &Self::Target {
        &*self.backend
    }
}

impl ByHash {
    /// That in memory, which an index has keep each content in a place of its own.
    pub(crate) fn memory() -> Self {
        let place_of = |hash: &BlobHash| {
            let (first, _) = hash.as_bytes().split_first_chunk().unwrap();
            Place::numbered(!u128::from_be_bytes(*first))
        };
        let backend = Box::new(MemoryBlobs::default());
        Self::over(backend, place_of, None)
    }

    /// That of a storage directory.
    pub(crate) fn local(dir: &Path, durability: Durability) -> Self {
        let options = local::Options {
            durability,
            // So long that none is compacted, which would move what a test damages.
            pack_bytes: MAX_PACK_BYTES,
            ..local::Options::new(dir)
        };
        let backend = Box::new(LocalBlobs::open(options).unwrap());
        let medium = Box::new(StorageDir(dir.to_owned()));
        Self::over(backend, Place::of, Some(medium))
    }

    pub(crate) fn over(
        backend: Box<dyn BlobBackend>,
        place_of: fn(&BlobHash) -> Place,
        medium: Option<Box<dyn Medium>>,
    ) -> Self {
        let heard = Arc::default();
        Self {
            backend,
            place_of,
            gathered: Mutex::default(),
            medium,
            heard,
        }
    }

    /// Where a content is, or would be.
    fn place(&self, hash: &BlobHash) -> Place {
        let now = self.gathered.lock().unwrap().now.get(hash).copied();
        now.unwrap_or_else(|| (self.place_of)(hash))
    }

    /// What is listed of a content of so many bytes that shares what it is in with no other.
    pub(crate) fn stored(&self, hash: &BlobHash, bytes: u64) -> (Place, u64) {
        let place = self.place(hash);
        let heads = place.at().map_or(0, |at| u64::from(at) + ENTRY_OVERHEAD);
        (place.object(), heads + bytes)
    }

    pub(crate) async fn open(
        &self,
        hash: &BlobHash,
    ) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        self.backend.open(hash, self.place(hash)).await
    }

    pub(crate) async fn size(&self, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
        self.backend.size(self.place(hash)).await
    }

    pub(crate) async fn is_whole(&self, hash: &BlobHash) -> Result<bool, BlobError> {
        self.backend.is_whole(hash, self.place(hash)).await
    }

    pub(crate) async fn note_missing(&self, hash: &BlobHash) -> Result<(), BlobError> {
        self.backend.note_missing(self.place(hash)).await
    }

    pub(crate) async fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let place = self.place(hash);
        self.gathered.lock().unwrap().now.remove(hash);
        self.leave(place).await
    }

    /// Deletes what is in a place, with all that is there, unless more of it is needed.
    async fn leave(&self, place: Place) -> Result<(), BlobError> {
        if self.gathered.lock().unwrap().needs(place) {
            return Ok(());
        }
        self.backend.delete(place.object()).await
    }

    pub(crate) async fn received(&self, bytes: &[u8]) -> Result<Box<dyn Received>, BlobError> {
        received::received(&*self.backend, bytes).await
    }

    pub(crate) async fn keep_received(
        &self,
        content: Box<dyn Received>,
    ) -> Result<BlobHash, BlobError> {
        let hash = content.hash();
        if content.arrival().is_gathered {
            let place = content.gather().await?.place;
            let before = {
                let mut gathered = self.gathered.lock().unwrap();
                gathered.ever.entry(hash).or_default().push(place);
                gathered.now.insert(hash, place)
            };
            let before = before.unwrap_or_else(|| (self.place_of)(&hash));
            self.leave(before).await?;
        } else {
            content.keep((self.place_of)(&hash)).await?;
        }
        Ok(hash)
    }

    pub(crate) async fn keep(&self, bytes: &[u8]) -> Result<BlobHash, BlobError> {
        self.keep_received(self.received(bytes).await?).await
    }

    /// Listens to what the backend finds from now on.
    pub(crate) fn listen(&self) {
        let heard = Arc::clone(&self.heard);
        self.backend.report_to(heard);
    }

    /// What it has reported of a content since this was asked, each change of it once.
    pub(crate) fn heard(&self, hash: &BlobHash) -> Vec<Health> {
        let heard = std::mem::take(&mut *self.heard.0.lock().unwrap());
        let mut places = vec![(self.place_of)(hash)];
        if let Some(ever) = self.gathered.lock().unwrap().ever.get(hash) {
            places.extend(ever);
        }
        let mut of_place: Vec<_> = heard
            .into_iter()
            .filter_map(|(at, health)| places.contains(&at).then_some(health))
            .collect();
        of_place.dedup();
        of_place
    }

    /// Has the bytes that are kept of a content be `others`, as a medium changes them. Short ones
    /// stay as long as they were.
    pub(crate) async fn damage(&self, hash: &BlobHash, others: &[u8]) {
        let place = self.place(hash);
        if let Some(medium) = &self.medium {
            return medium.damage(hash, place, others).await;
        }
        // Whatever is kept in a place is what is read there.
        let others = self.received(others).await.unwrap();
        others.keep(place).await.unwrap();
    }

    /// Leaves what a crash may leave beside content that is gone, and tells of how many contents.
    pub(crate) async fn leave_beside(&self, hash: &BlobHash) -> u64 {
        match &self.medium {
            Some(medium) => medium.leave_beside(hash, self.place(hash)).await,
            None => 0,
        }
    }

    /// Whether anything is there that stands beside a content.
    pub(crate) async fn has_beside(&self, hash: &BlobHash) -> bool {
        match &self.medium {
            Some(medium) => medium.has_beside(hash, self.place(hash)).await,
            None => false,
        }
    }
}

#[async_trait]
impl Medium for StorageDir {
    async fn damage(&self, hash: &BlobHash, _: Place, others: &[u8]) {
        let file = in_shard(&self.0.join("blobs"), hash);
        if file.exists() {
            return fs::write(file, others).unwrap();
        }
        assert!(others.len() as u64 <= LONGEST_IN_PACKS);
        let (pack, mut entries, entry) = newest_entry(&self.0.join("packs"), hash);
        // Behind the hash and its checksum.
        let begin = entry + 32 + 4;
        entries[begin..begin + others.len()].copy_from_slice(others);
        fs::write(pack, entries).unwrap();
    }

    async fn leave_beside(&self, hash: &BlobHash, _: Place) -> u64 {
        let outboard = in_shard(&self.0.join("outboards"), hash);
        fs::create_dir_all(outboard.parent().unwrap()).unwrap();
        fs::write(outboard, [0; 64]).unwrap();
        1
    }

    async fn has_beside(&self, hash: &BlobHash, _: Place) -> bool {
        in_shard(&self.0.join("outboards"), hash).exists()
    }
}

fn in_shard(dir: &Path, hash: &BlobHash) -> PathBuf {
    let name = hash.to_string();
    dir.join(&name[..2]).join(name)
}

/// The last pack that has an entry of a content, all its bytes, and where the hash is in them.
fn newest_entry(packs: &Path, hash: &BlobHash) -> (PathBuf, Vec<u8>, usize) {
    let names = fs::read_dir(packs).unwrap().map(|it| it.unwrap().path());
    let packs = names.filter(|it| it.extension().is_some_and(|it| it == "pack"));
    let mut packs: Vec<_> = packs.collect();
    packs.sort();
    let found = packs.into_iter().rev().find_map(|pack| {
        let entries = fs::read(&pack).unwrap();
        let entry = memchr::memmem::rfind(&entries, hash.as_bytes())?;
        Some((pack, entries, entry))
    });
    found.expect("an entry")
}
