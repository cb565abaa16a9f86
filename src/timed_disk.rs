//! A disk that measures how long syncs take.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::OFlags;

use crate::disk::{Disk, DiskDir, DiskFile};
use crate::metrics::Histogram;

/// How long syncs take, by what is synced. Failed ones count as well.
#[derive(Debug, Default)]
pub struct Syncs {
    /// Segments of the journal: one sync for all changes that wait.
    pub journal: Histogram,
    /// Packs: one sync for all small blobs that wait.
    pub packs: Histogram,
    /// Other files, most of them uploads.
    pub files: Histogram,
    /// Directories, and whole file systems.
    pub directories: Histogram,
}

/// Another disk, measured.
pub struct TimedDisk {
    disk: Arc<dyn Disk>,
    syncs: Arc<Syncs>,
}

struct TimedFile {
    file: Box<dyn DiskFile>,
    syncs: Arc<Syncs>,
    /// Which of them are this file's.
    own: fn(&Syncs) -> &Histogram,
}

struct TimedDir {
    dir: Box<dyn DiskDir>,
    syncs: Arc<Syncs>,
}

fn timed(histogram: &Histogram, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let began = Instant::now();
    let result = sync();
    histogram.observe(began.elapsed());
    result
}

impl TimedDisk {
    /// Measures `disk`.
    pub fn new(disk: Arc<dyn Disk>, syncs: Arc<Syncs>) -> Self {
        Self { disk, syncs }
    }

    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let directory = path.parent().and_then(Path::file_name);
        let own: fn(&Syncs) -> &Histogram = match directory.and_then(|it| it.to_str()) {
            Some("journal") => |it| &it.journal,
            Some("packs") => |it| &it.packs,
            _ => |it| &it.files,
        };
        let syncs = Arc::clone(&self.syncs);
        Box::new(TimedFile { file, syncs, own })
    }
}

impl Disk for TimedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn open_to_read(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        self.disk.open_to_read(path, flags)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.disk.link(file, name)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn check_place(&self, path: &Path) -> io::Result<()> {
        self.disk.check_place(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.disk.names(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        let dir = self.disk.open_dir(path)?;
        let syncs = Arc::clone(&self.syncs);
        Ok(Box::new(TimedDir { dir, syncs }))
    }
}

impl DiskDir for TimedDir {
    fn sync(&self) -> io::Result<()> {
        timed(&self.syncs.directories, || self.dir.sync())
    }

    fn sync_file_system(&self) -> io::Result<()> {
        timed(&self.syncs.directories, || self.dir.sync_file_system())
    }
}

impl DiskFile for TimedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        timed((self.own)(&self.syncs), || self.file.sync())
    }

    fn check_at(&self, path: &Path, len: u64) -> io::Result<()> {
        self.file.check_at(path, len)
    }

    fn begin_sync(&self, bytes: Range<u64>) {
        self.file.begin_sync(bytes);
    }
}
