//! Small blobs, many in one file.
//!
//! A small blob is appended to the last of the packs: files that are written to their end
//! and then never changed. One thread appends; it gathers all blobs that wait, writes them
//! together and syncs once for all. A table in memory tells where each blob is; a start
//! makes it from the packs' indexes, or where there is none from the packs themselves.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::super::BlobError;
use super::damage::Damage;
use crate::blocking;
use crate::hash::BlobHash;

mod active;
mod compaction;
mod dead;
mod entry;
mod index_file;
mod log;
mod mending;
mod open_packs;
mod options;
mod pack;
mod problems;
mod reading;
mod rereading;
mod scan;
mod start;
mod table;
mod usage;
mod writer;

pub use super::super::pack_format::MAX_PACK_BYTES;
pub(super) use options::Options;
pub(super) use problems::{are_any, problems};
pub(super) use reading::{Copies, InPacks};
pub(super) use rereading::ShortEntry;
pub use scan::Doubts;
pub(super) use start::NOTE;

use entry::prefix;
pub(super) use open_packs::OpenPacks;
pub use open_packs::usually_open;
pub use pack::is_pack;
use start::{Names, start};
use table::Table;
use writer::{Request, Writer};

/// How many requests may wait for the writing thread.
const QUEUE: usize = 1024;

/// The packs of one storage directory.
pub(super) struct Packs {
    pub(super) dir: PathBuf,
    table: Arc<Table>,
    damage: Arc<Damage>,
    doubts: Mutex<Doubts>,
    /// None only while it is dropped.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Packs {
    /// Opens the packs of a directory, which must exist, cuts off what a crash left
    /// half-written there, and starts the writing thread. Blocks.
    pub(super) fn open(options: Options) -> Result<Self, BlobError> {
        let (dir, damage) = (options.dir.clone(), Arc::clone(&options.damage));
        let (log, doubts) = start(options)?;
        let table = Arc::clone(&log.table);
        let (requests, received) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("packs".into());
        let thread = thread.spawn(move || Writer::new(log).run(received));
        let thread = thread.map_err(|e| BlobError::io("start a thread for", &dir, e))?;
        Ok(Self {
            dir,
            table,
            damage,
            doubts: Mutex::new(doubts),
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    /// What was in doubt when they were opened; nothing the second time.
    pub(super) fn take_doubts(&self) -> Doubts {
        std::mem::take(&mut self.doubts.lock())
    }

    /// Keeps a blob of at most [`MEMORY_LIMIT`](super::spool::MEMORY_LIMIT) bytes,
    /// as [`Received::keep`](super::super::Received::keep) says.
    pub(super) async fn put(&self, hash: BlobHash, bytes: Vec<u8>) -> Result<(), BlobError> {
        self.request(|answer| Request::Put {
            hash,
            bytes,
            answer,
        })
        .await
    }

    /// Deletes a blob; one that is absent is fine.
    pub(super) async fn delete(&self, hash: BlobHash) -> Result<(), BlobError> {
        self.request(|answer| Request::Delete { hash, answer })
            .await
    }

    /// Fails as [`Packs::put`] would fail now.
    pub(super) async fn try_to_write(&self) -> Result<(), BlobError> {
        self.request(|answer| Request::Try { answer }).await
    }

    /// What the packs hold of a blob; damage is remembered.
    pub(super) async fn content(
        &self,
        hash: BlobHash,
        copies: Copies,
    ) -> Result<InPacks, BlobError> {
        let found = self.table.find(prefix(&hash));
        if found.is_empty() {
            return Ok(InPacks::Absent);
        }
        if copies == Copies::All
            && !self.damage.is_unusable(&hash)
            && let Some(content) = reading::at_hand(&found, &hash)
        {
            return Ok(InPacks::Whole(content));
        }
        let (table, damage) = (Arc::clone(&self.table), Arc::clone(&self.damage));
        blocking::run(move || reading::content(&table, &damage, &hash, copies)).await
    }

    /// The size of a blob, in bytes; None if no pack holds it.
    pub(super) async fn size(&self, hash: BlobHash) -> Result<Option<u64>, BlobError> {
        if self.table.find(prefix(&hash)).is_empty() {
            return Ok(None);
        }
        let table = Arc::clone(&self.table);
        blocking::run(move || reading::size(&table, &hash)).await
    }

    /// The same, where it may block.
    #[cfg(feature = "node")]
    pub(super) fn size_now(&self, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
        reading::size(&self.table, hash)
    }

    /// The blobs whose hashes begin with this byte, with their sizes, in no order. Blocks.
    pub(super) fn in_shard(&self, shard: u8) -> Result<Vec<(BlobHash, u64)>, BlobError> {
        reading::in_shard(&self.table, shard)
    }

    /// The same, to be read, in the order in which they lie there. Touches no disk.
    pub(super) fn entries_in(&self, shard: u8) -> Vec<ShortEntry> {
        rereading::entries(self.table.in_shard(shard))
    }

    /// Every file that is neither a pack that can be read nor about one. Blocks.
    pub(super) fn strays(&self) -> Result<Vec<PathBuf>, BlobError> {
        let names = Names::read(&self.dir)?;
        let unreadable = self.unreadable_of(&names);
        let mut strays: Vec<_> = unreadable.into_iter().chain(names.others).collect();
        strays.sort_unstable();
        Ok(strays)
    }

    /// Every pack that cannot be read. Blocks.
    #[cfg(feature = "node")]
    pub(super) fn unreadable(&self) -> Result<Vec<PathBuf>, BlobError> {
        Ok(self.unreadable_of(&Names::read(&self.dir)?))
    }

    fn unreadable_of(&self, names: &Names) -> Vec<PathBuf> {
        let unreadable = names.packs.iter();
        let unreadable = unreadable.filter(|it| self.table.pack(**it).is_none());
        let paths = unreadable.map(|it| pack::path(&self.dir, *it, pack::EXTENSION));
        paths.collect()
    }

    async fn request(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), BlobError>>) -> Request,
    ) -> Result<(), BlobError> {
        let (answer, answered) = oneshot::channel();
        let gone = || {
            let source = std::io::Error::other("the writing thread has ended");
            BlobError::io("write to", &self.dir, source)
        };
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        let sent = requests.send(request(answer)).await;
        sent.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Packs {
    /// Waits for the writing thread, so that nobody writes behind the back of the next.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it was told when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal::Refusal;
    use super::super::spool;
    use super::*;
    use crate::disk::{Durability, RealDisk};

    fn open(dir: &std::path::Path) -> Packs {
        let spool = spool::Scratch {
            dir: dir.to_owned(),
            disk: Arc::new(RealDisk),
            reserve: 0,
            durability: Durability::Relaxed,
        };
        let refusal = Arc::new(Refusal::default());
        let damage = Damage::at(dir, Arc::new(RealDisk), Arc::clone(&refusal)).unwrap();
        let options = Options {
            dir: dir.to_owned(),
            small_files: None,
            spool,
            pack_bytes: 1 << 20,
            open: OpenPacks::at_most(usize::MAX),
            refusal,
            damage: Arc::new(damage),
        };
        Packs::open(options).unwrap()
    }

    /// Nobody can make such blobs today, but that must not be what holds the store together.
    #[tokio::test]
    async fn blobs_whose_hashes_begin_alike_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let packs = open(dir.path());
        let mut last = [7; 32];
        last[31] = 8;
        let hashes = [[7; 32], last].map(BlobHash::from_bytes);
        for (hash, bytes) in hashes.into_iter().zip(["one", "other"]) {
            assert_eq!(packs.size(hash).await.unwrap(), None);
            packs.put(hash, bytes.into()).await.unwrap();
        }
        for (hash, bytes) in hashes.into_iter().zip(["one", "other"]) {
            assert_eq!(packs.size(hash).await.unwrap(), Some(bytes.len() as u64));
        }
        packs.delete(hashes[0]).await.unwrap();
        assert_eq!(packs.size(hashes[0]).await.unwrap(), None);
        assert_eq!(packs.size(hashes[1]).await.unwrap(), Some(5));
    }

    /// Neither what is read without another thread nor what is read on one.
    #[tokio::test]
    async fn what_has_another_hash_is_not_given_out_also_where_it_is_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let packs = open(dir.path());
        let bytes = vec![7; 4096];
        let hash = BlobHash::of(&bytes);
        packs.put(hash, bytes.clone()).await.unwrap();
        let InPacks::Whole(found) = packs.content(hash, Copies::All).await.unwrap() else {
            panic!("it is not whole");
        };
        assert_eq!(found, bytes);
        let files = std::fs::read_dir(dir.path()).unwrap();
        let mut files = files.map(|it| it.unwrap().path());
        let path = files.find(|it| pack::is_pack(it)).unwrap();
        let mut pack = std::fs::read(&path).unwrap();
        *pack.last_mut().unwrap() ^= 1;
        std::fs::write(&path, pack).unwrap();
        assert!(reading::at_hand(&packs.table.find(prefix(&hash)), &hash).is_none());
        let found = packs.content(hash, Copies::All).await.unwrap();
        assert!(matches!(found, InPacks::Damaged));
        assert!(packs.damage.is_unusable(&hash));
    }
}
