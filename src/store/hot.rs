//! Files that were asked for lately, in memory: most reads are of few files.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};

use crate::metrics::Counter;
use crate::record::{FileId, FileRecord};

/// How much memory the files may take, in bytes.
const CAPACITY: u64 = 36 << 20;
/// What a file takes beside its content and its texts, with what is made ready of it, in bytes.
const FILE_BYTES: usize = 1024;
/// How many files of a common size find room.
const USUAL_FILES: usize = 8192;

/// A file, ready to be sent.
#[derive(Clone)]
pub struct ReadyFile {
    /// The file.
    pub record: Arc<FileRecord>,
    /// Its content.
    pub content: ReadyContent,
    /// What is told of it.
    pub prepared: Arc<Prepared>,
}

/// What a surface has made ready of a file for its answers. It lives as long as the file is in
/// memory.
#[derive(Default)]
pub struct Prepared(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Prepared {
    /// What was made ready, or else what `make` makes. The surface that comes first keeps its own
    /// here; any other makes it each time.
    pub fn get_or_make<T: Any + Send + Sync, E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let kept = self.0.get().cloned();
        if let Some(Ok(kept)) = kept.map(Arc::downcast) {
            return Ok(kept);
        }
        let ready = Arc::new(make()?);
        let _ = self.0.set(Arc::<T>::clone(&ready));
        Ok(ready)
    }
}

/// The content of a file.
#[derive(Clone)]
pub enum ReadyContent {
    /// All of it, checked against its hash when it was read.
    Small(Bytes),
    /// To be opened with [`super::Store::open_file`].
    Stored,
}

/// Where a file can be put; that fails where it was removed meanwhile.
pub(super) type Vacancy<'a> = PlaceholderGuard<
    'a,
    FileId,
    ReadyFile,
    Weight,
    DefaultHashBuilder,
    DefaultLifecycle<FileId, ReadyFile>,
>;

/// How often files were asked for.
#[derive(Debug, Default)]
pub struct HotReads {
    /// The file was in memory.
    pub hits: Counter,
    /// It was not.
    pub misses: Counter,
}

/// Files by their ids.
pub(super) struct HotFiles {
    reads: HotReads,
    files: Cache<FileId, ReadyFile, Weight>,
}

/// Measures memory, in bytes.
#[derive(Clone)]
pub(super) struct Weight;

impl Weighter<FileId, ReadyFile> for Weight {
    fn weight(&self, _: &FileId, ready: &ReadyFile) -> u64 {
        let file = &ready.record.file;
        let content_type = file.content_type.as_ref().map_or(0, String::len);
        let content = match &ready.content {
            ReadyContent::Small(bytes) => bytes.len(),
            ReadyContent::Stored => 0,
        };
        let texts = file.name.len() + file.description.len() + content_type;
        // Those of the record, and what is told of them.
        (FILE_BYTES + 3 * texts + content) as u64
    }
}

impl HotFiles {
    pub(super) fn new() -> Self {
        Self {
            reads: HotReads::default(),
            files: Cache::with_weighter(USUAL_FILES, CAPACITY, Weight),
        }
    }

    /// A file that is here, or the right to put it here, which others wait for.
    pub(super) async fn get(&self, id: FileId) -> Result<ReadyFile, Vacancy<'_>> {
        let found = self.files.get_value_or_guard_async(&id).await;
        match &found {
            Ok(_) => self.reads.hits.count(),
            Err(_) => self.reads.misses.count(),
        }
        found
    }

    pub(super) fn reads(&self) -> &HotReads {
        &self.reads
    }

    /// Forgets a file that was removed, also one that is being read.
    pub(super) fn forget(&self, id: FileId) {
        self.files.remove(&id);
    }

    /// Forgets all files.
    pub(super) fn forget_all(&self) {
        self.files.clear();
    }
}
