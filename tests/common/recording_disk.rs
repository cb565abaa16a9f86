//! A disk that writes down every operation.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use larder::disk::{Disk, DiskDir, DiskFile, RealDisk};

use super::power_cut::{FileNumber, Operation, Simulated};

/// The machine's disk below one directory, recorded.
pub(crate) struct RecordingDisk {
    root: PathBuf,
    recording: Arc<Mutex<Recording>>,
}

/// Called before each operation.
type Before = Box<dyn FnMut() + Send>;

struct Recording {
    now: Simulated,
    operations: Vec<Operation>,
    before: Before,
}

impl RecordingDisk {
    /// Records what happens below `root`, where `start` is.
    pub(crate) fn new(root: &Path, start: Simulated, before: Before) -> Arc<Self> {
        let recording = Recording {
            now: start,
            operations: Vec::new(),
            before,
        };
        Arc::new(Self {
            root: root.to_owned(),
            recording: Arc::new(Mutex::new(recording)),
        })
    }

    /// How many operations there were so far.
    pub(crate) fn count(&self) -> usize {
        self.recording.lock().unwrap().operations.len()
    }

    /// All operations so far.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        self.recording.lock().unwrap().operations.clone()
    }

    /// What the file system is now.
    pub(crate) fn now(&self) -> Simulated {
        self.recording.lock().unwrap().now.clone()
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().to_owned()
    }

    fn record(&self, operation: Operation, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.recording.lock().unwrap().record(operation, run)
    }

    fn file(&self, number: FileNumber, real: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(RecordedFile {
            recording: Arc::clone(&self.recording),
            number,
            real,
        })
    }
}

impl Recording {
    /// Runs an operation; the order in the record is the order in which they ran.
    fn record<T>(
        &mut self,
        operation: Operation,
        run: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        (self.before)();
        let done = run()?;
        self.now.apply(&operation);
        self.operations.push(operation);
        Ok(done)
    }
}

impl Disk for RecordingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut recording = self.recording.lock().unwrap();
        let path_inside = self.relative(path);
        let number = recording.now.next_number();
        let create = Operation::Create(path_inside, number);
        let real = recording.record(create, || RealDisk.create(path))?;
        Ok(self.file(number, real))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let real = RealDisk.open(path)?;
        let recording = self.recording.lock().unwrap();
        Ok(self.file(recording.now.number_of(&self.relative(path)), real))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let create = Operation::CreateDir(self.relative(path));
        self.record(create, || RealDisk.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = Operation::Rename(self.relative(from), self.relative(to));
        self.record(rename, || RealDisk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let link = Operation::Link(self.relative(from), self.relative(to));
        self.record(link, || RealDisk.link(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let remove = Operation::Remove(self.relative(path));
        self.record(remove, || RealDisk.remove_file(path))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        Ok(Box::new(RecordedDir {
            recording: Arc::clone(&self.recording),
            path: self.relative(path),
        }))
    }
}

struct RecordedDir {
    recording: Arc<Mutex<Recording>>,
    path: PathBuf,
}

impl RecordedDir {
    // The simulation alone decides what survives, so that nothing need be synced.
    fn record(&self, operation: Operation) -> io::Result<()> {
        self.recording.lock().unwrap().record(operation, || Ok(()))
    }
}

impl DiskDir for RecordedDir {
    fn sync(&self) -> io::Result<()> {
        self.record(Operation::SyncDir(self.path.clone()))
    }

    fn sync_file_system(&self) -> io::Result<()> {
        self.record(Operation::SyncFileSystem)
    }
}

struct RecordedFile {
    recording: Arc<Mutex<Recording>>,
    number: FileNumber,
    real: Box<dyn DiskFile>,
}

impl RecordedFile {
    fn record(&self, operation: Operation, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.recording.lock().unwrap().record(operation, run)
    }
}

impl DiskFile for RecordedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = Operation::Write(self.number, offset, bytes.to_owned());
        self.record(write, || self.real.write_all_at(bytes, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let set_len = Operation::SetLen(self.number, len);
        self.record(set_len, || self.real.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.record(Operation::Sync(self.number), || Ok(()))
    }

    fn check_at(&self, path: &Path, len: u64) -> io::Result<()> {
        self.real.check_at(path, len)
    }

    fn begin_sync(&self, _bytes: Range<u64>) {
        // It promises nothing.
    }
}
