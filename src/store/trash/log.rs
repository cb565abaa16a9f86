//! Where it is written down what is in the trash: one file, to whose end each change is appended.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Mutex as TurnMutex, oneshot};

use super::entry::{ENTRY, Entry, HEADER};
use super::marks::Marks;
use crate::append_file::AppendFile;
use crate::blocking;
use crate::disk::{Disk, DiskError, Durability};
use crate::index::IndexError;
use crate::store::layout::TRASH;
use crate::stored_file;

/// What a crash may leave of one that is written anew.
pub(in crate::store) const UNFINISHED: &str = "trash.unfinished";
/// How many entries are read and written at once.
const AT_ONCE: usize = 4096;
/// How many entries there are at least, and how many times more than files in the trash, before
/// they are written anew.
const LEAST_REWRITTEN: u64 = 4096;

/// Whoever waits until changes are written.
type Waiting = (Vec<Entry>, oneshot::Sender<Result<(), IndexError>>);
/// Says in the storage directory that there is a trash, which older larders know nothing of.
type Announce = Box<dyn Fn() -> Result<(), DiskError> + Send + Sync>;

/// What was read.
pub(super) struct Read {
    pub(super) marks: Marks,
    /// How far the trash's clock had come, in milliseconds.
    pub(super) clock: u64,
    /// How many entries are there.
    entries: u64,
    /// How many of them are damaged.
    pub(super) damaged: u64,
}

/// The file, and those who wait for it.
pub(super) struct Log {
    waiting: Mutex<Vec<Waiting>>,
    file: Arc<TurnMutex<LogFile>>,
    marks: Arc<Mutex<Marks>>,
    refused: Arc<Mutex<Option<String>>>,
}

struct LogFile {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    durability: Durability,
    announce: Announce,
    /// None before the first change.
    file: Option<AppendFile>,
    entries: u64,
    refused: Arc<Mutex<Option<String>>>,
}

/// Reads what is written down in a storage directory. Blocks.
pub(super) fn read(dir: &Path) -> Result<Option<Read>, DiskError> {
    let path = dir.join(TRASH);
    let failed = |e| DiskError::new("read", &path, e);
    let mut file = match stored_file::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut read = Read {
        marks: Marks::default(),
        clock: 0,
        entries: 0,
        damaged: 0,
    };
    let header = some(&mut file, HEADER.len()).map_err(failed)?;
    read.damaged += u64::from(header != HEADER && !header.is_empty());
    loop {
        let bytes = some(&mut file, AT_ONCE * ENTRY).map_err(failed)?;
        if bytes.is_empty() {
            return Ok(Some(read));
        }
        for bytes in bytes.chunks(ENTRY) {
            read.take(bytes);
        }
    }
}

/// So many bytes, or those that are left.
fn some(file: &mut impl io::Read, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut limited = io::Read::take(file, len as u64);
    io::Read::read_to_end(&mut limited, &mut bytes)?;
    Ok(bytes)
}

impl Read {
    fn take(&mut self, bytes: &[u8]) {
        if bytes.len() < ENTRY {
            // The end of one that a crash has cut off, which nobody was told of.
            return;
        }
        self.entries += 1;
        match Entry::decode(bytes) {
            Some(Entry::Clock(clock)) => self.clock = self.clock.max(clock),
            Some(entry) => self.marks.apply(&entry),
            None => self.damaged += 1,
        }
    }
}

impl Log {
    /// Opens what was read, or what is still to be made. Blocks.
    pub(super) fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        durability: Durability,
        read: Option<Read>,
        announce: Announce,
    ) -> Result<Self, DiskError> {
        let refused = Arc::<Mutex<Option<String>>>::default();
        let mut file = LogFile {
            dir: dir.to_owned(),
            disk,
            durability,
            announce,
            file: None,
            entries: 0,
            refused: Arc::clone(&refused),
        };
        let mut marks = Marks::default();
        if let Some(read) = read {
            file.reopen(&read)?;
            marks = read.marks;
        }
        Ok(Self {
            waiting: Mutex::default(),
            file: Arc::new(TurnMutex::new(file)),
            marks: Arc::new(Mutex::new(marks)),
            refused,
        })
    }

    /// What is in the trash.
    pub(super) fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock()
    }

    /// Writes changes down. Ok means durable, within the durability that is set, and that they
    /// count. All that wait are written, and synced, together.
    pub(super) async fn write(&self, entries: Vec<Entry>) -> Result<(), IndexError> {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().push((entries, answer));
        let mut file = Arc::clone(&self.file).lock_owned().await;
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if !waiting.is_empty() {
            let marks = Arc::clone(&self.marks);
            blocking::run(move || {
                let entries = || waiting.iter().flat_map(|(entries, _)| entries);
                let bytes: Vec<u8> = entries().flat_map(Entry::encode).collect();
                let written = file.append(&bytes);
                if written.is_ok() {
                    // Within the turn, so that nobody writes all anew without them.
                    let mut marks = marks.lock();
                    entries().for_each(|it| marks.apply(it));
                }
                for (_, answer) in waiting {
                    // Who has gone does not want to know.
                    let _ = answer.send(written.clone());
                }
            })
            .await;
        }
        answered.await.unwrap_or(Err(IndexError::Closed))
    }

    /// Makes durable what was written.
    pub(super) async fn sync(&self) -> Result<(), IndexError> {
        let mut file = Arc::clone(&self.file).lock_owned().await;
        blocking::run(move || file.sync()).await
    }

    /// Writes all anew where most of what is there counts no more.
    pub(super) async fn compact(&self, clock: u64) -> Result<(), IndexError> {
        let mut file = Arc::clone(&self.file).lock_owned().await;
        // No change is written meanwhile, and what is in memory is what is written.
        let entries: Vec<_> = {
            let marks = self.marks.lock();
            let needed = marks.totals().files;
            if file.entries < LEAST_REWRITTEN || file.entries < 2 * needed {
                return Ok(());
            }
            let clock = std::iter::once(Entry::Clock(clock));
            clock.chain(marks.entries()).collect()
        };
        blocking::run(move || Ok(file.rewrite(&entries)?)).await
    }

    /// Why nothing more is written, if that is so.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refused.lock().clone()
    }
}

/// All calls block.
impl LogFile {
    fn path(&self) -> PathBuf {
        self.dir.join(TRASH)
    }

    fn reopen(&mut self, read: &Read) -> Result<(), DiskError> {
        let path = self.path();
        let file = self.disk.open(&path);
        let file = file.map_err(|e| DiskError::new("open", &path, e))?;
        // What a crash has cut off goes with the next entry.
        let end = HEADER.len() as u64 + read.entries * ENTRY as u64;
        file.write_all_at(HEADER, 0)
            .and_then(|()| file.set_len(end))
            .map_err(|e| DiskError::new("write", &path, e))?;
        self.entries = read.entries;
        self.file = Some(AppendFile::new(path, file, end));
        Ok(())
    }

    fn make(&mut self) -> Result<(), DiskError> {
        (self.announce)()?;
        self.rewrite(&[])
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        if let Some(reason) = self.refused.lock().clone() {
            return Err(IndexError::Refused(reason));
        }
        if self.file.is_none() {
            self.make()?;
        }
        if let Some(file) = &mut self.file {
            file.write(bytes)?;
            file.take(bytes.len() as u64);
        }
        self.entries += (bytes.len() / ENTRY) as u64;
        match self.durability {
            Durability::Always => self.sync(),
            Durability::Relaxed => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), IndexError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.sync().map_err(|error| {
            // The kernel may have dropped what was written: only a start finds out.
            let error = DiskError::new("sync", file.path(), error);
            *self.refused.lock() = Some(error.to_string());
            error.into()
        })
    }

    fn rewrite(&mut self, entries: &[Entry]) -> Result<(), DiskError> {
        let (path, unfinished) = (self.path(), self.dir.join(UNFINISHED));
        let failed = |action, e| DiskError::new(action, &unfinished, e);
        let dir = self.disk.open_dir(&self.dir);
        let dir = dir.map_err(|e| DiskError::new("open", &self.dir, e))?;
        let removed = self.disk.remove_file(&unfinished);
        removed.map_err(|e| failed("remove", e))?;
        let file = self.disk.create(&unfinished);
        let file = file.map_err(|e| failed("create", e))?;
        let written = file.write_all_at(HEADER, 0);
        written.map_err(|e| failed("write", e))?;
        let mut end = HEADER.len() as u64;
        for entries in entries.chunks(AT_ONCE) {
            let bytes: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
            let written = file.write_all_at(&bytes, end);
            written.map_err(|e| failed("write", e))?;
            end += bytes.len() as u64;
        }
        file.sync().map_err(|e| failed("sync", e))?;
        let renamed = self.disk.rename(&unfinished, &path);
        renamed.map_err(|e| failed("rename", e))?;
        self.entries = entries.len() as u64;
        self.file = Some(AppendFile::new(path, file, end));
        dir.sync().map_err(|error| {
            let error = DiskError::new("sync", &self.dir, error);
            *self.refused.lock() = Some(error.to_string());
            error
        })
    }
}
