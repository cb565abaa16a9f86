//! A disk that remembers how the last writes went, whatever made them fail.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskDir, DiskFile, is_full, is_shortage, repeat};

/// How writing to one storage directory goes.
#[derive(Debug, Default)]
pub struct Writes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failure: Option<Failure>,
    succeeded: Option<Instant>,
}

/// The last thing that failed.
#[derive(Debug)]
pub struct Failure {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl Failure {
    fn again(&self) -> Self {
        Self {
            action: self.action,
            path: self.path.clone(),
            error: repeat(&self.error),
        }
    }
}

impl Writes {
    /// Something failed. The log tells of the first failure after a success only.
    pub fn fail(&self, action: &'static str, path: &Path, error: &io::Error) {
        let failure = Failure {
            action,
            path: path.to_owned(),
            error: repeat(error),
        };
        if self.lock().failure.replace(failure).is_some() {
            return;
        }
        let path = path.display();
        if is_full(error) || is_shortage(error) {
            tracing::warn!(action, %path, %error, "writing fails for want of room or files");
        } else {
            tracing::error!(action, %path, %error, "the storage directory cannot be written");
        }
    }

    /// Something was written whole, and is as durable as it should be.
    pub fn succeed(&self) {
        let mut state = self.lock();
        state.succeeded = Some(Instant::now());
        if state.failure.take().is_some() {
            tracing::info!("the storage directory can be written again");
        }
    }

    /// What failed since something was last written whole.
    pub fn failure(&self) -> Option<Failure> {
        self.lock().failure.as_ref().map(Failure::again)
    }

    /// Whether something was written whole within the last `time`, and nothing failed since.
    pub fn succeeded_within(&self, time: Duration) -> bool {
        let state = self.lock();
        state.failure.is_none() && state.succeeded.is_some_and(|it| it.elapsed() < time)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on how something went.
    fn noted<T>(&self, action: &'static str, path: &Path, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            // Whoever asks for these knows what to make of them.
            let expected = matches!(
                (action, error.kind()),
                ("create" | "link", io::ErrorKind::AlreadyExists)
                    | ("open", io::ErrorKind::NotFound)
            );
            if !expected {
                self.fail(action, path, error);
            }
        })
    }
}

/// Another disk, watched.
pub struct WatchedDisk {
    disk: Arc<dyn Disk>,
    writes: Arc<Writes>,
}

struct WatchedFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    writes: Arc<Writes>,
}

struct WatchedDir {
    dir: Box<dyn DiskDir>,
    path: PathBuf,
    writes: Arc<Writes>,
}

impl WatchedDisk {
    /// Watches `disk`.
    pub fn new(disk: Arc<dyn Disk>, writes: Arc<Writes>) -> Self {
        Self { disk, writes }
    }

    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(WatchedFile {
            file,
            path: path.to_owned(),
            writes: Arc::clone(&self.writes),
        })
    }
}

impl Disk for WatchedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let created = self.disk.create(path);
        Ok(self.file(path, self.writes.noted("create", path, created)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let opened = self.disk.open(path);
        Ok(self.file(path, self.writes.noted("open", path, opened)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let created = self.disk.create_dir(path);
        self.writes.noted("create", path, created)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let renamed = self.disk.rename(from, to);
        self.writes.noted("rename to", to, renamed)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let linked = self.disk.link(from, to);
        self.writes.noted("link", to, linked)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let removed = self.disk.remove_file(path);
        self.writes.noted("remove", path, removed)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        let dir = self.disk.open_dir(path);
        // Of a directory, the place that failed is in it.
        let inside = path.join(".");
        Ok(Box::new(WatchedDir {
            dir: self.writes.noted("open the directory", &inside, dir)?,
            path: inside,
            writes: Arc::clone(&self.writes),
        }))
    }
}

impl DiskFile for WatchedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.file.write_all_at(bytes, offset);
        self.writes.noted("write", &self.path, written)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let set = self.file.set_len(len);
        self.writes.noted("cut", &self.path, set)
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.file.sync();
        self.writes.noted("sync", &self.path, synced)
    }

    fn check_at(&self, path: &Path) -> io::Result<()> {
        let there = self.file.check_at(path);
        self.writes.noted("append to", path, there)
    }

    fn begin_sync(&self, bytes: Range<u64>) {
        self.file.begin_sync(bytes);
    }
}

impl DiskDir for WatchedDir {
    fn sync(&self) -> io::Result<()> {
        self.writes.noted("sync", &self.path, self.dir.sync())
    }

    fn sync_file_system(&self) -> io::Result<()> {
        let synced = self.dir.sync_file_system();
        self.writes.noted("sync", &self.path, synced)
    }
}
