//! A disk that remembers how the last writes went, whatever made them fail.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use rustix::fs::OFlags;

use crate::disk::{Disk, DiskDir, DiskError, DiskFile, is_file_size_limit, lacks_links};

/// What was tried where a directory could not be made.
const MAKE_DIR: &str = "create the directory";
/// The most places whose failures are remembered; a storage directory has fewer directories.
const MAX_PLACES: usize = 1024;

/// How writing to one storage directory goes.
#[derive(Debug, Default)]
pub struct Writes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last failure in each directory since something could be written there.
    failures: BTreeMap<PathBuf, Failure>,
    /// How often something failed.
    failed: u64,
    /// When something was last written whole, wherever.
    succeeded: Option<Instant>,
    /// The directories in which each upload has files of its own.
    of_uploads: Vec<PathBuf>,
}

/// The last thing that failed in a directory.
#[derive(Debug)]
struct Failure {
    error: DiskError,
    /// How often something had failed before.
    number: u64,
}

impl Writes {
    /// Uploads have files of their own in `dir`. That one has become too long for a limit of
    /// the system says nothing of the others.
    pub fn add_place_of_uploads(&self, dir: PathBuf) {
        let mut state = self.0.lock();
        if !state.of_uploads.contains(&dir) {
            state.of_uploads.push(dir);
        }
    }

    /// The directories in which each upload has files of its own.
    pub fn places_of_uploads(&self) -> Vec<PathBuf> {
        self.0.lock().of_uploads.clone()
    }

    /// Something failed in the directory `place`. The log tells of the first failure there
    /// since something could be written.
    pub fn fail(&self, place: &Path, error: DiskError) {
        let mut state = self.0.lock();
        let of_one_upload = state.of_uploads.iter().any(|it| it == place);
        if of_one_upload && is_file_size_limit(&error.source) {
            return;
        }
        let failure = Failure {
            error: error.clone(),
            number: state.failed,
        };
        state.failed += 1;
        let first = state.failures.is_empty();
        if state.failures.len() < MAX_PLACES || state.failures.contains_key(place) {
            state.failures.insert(place.to_owned(), failure);
        }
        drop(state);
        if !first {
            return;
        }
        let is_shortage = error.is_shortage();
        let DiskError {
            action,
            path,
            source: error,
        } = error;
        let path = path.display();
        if is_shortage {
            tracing::warn!(action, %path, %error, "writing fails for want of room or files");
        } else {
            tracing::error!(action, %path, %error, "the storage directory cannot be written");
        }
    }

    /// Something was written whole, and is as durable as it should be. What failed elsewhere
    /// may fail still.
    pub fn succeed(&self) {
        self.0.lock().succeeded = Some(Instant::now());
    }

    /// When something was last written whole, wherever.
    pub fn succeeded(&self) -> Option<Instant> {
        self.0.lock().succeeded
    }

    /// How often something failed so far.
    pub fn failed(&self) -> u64 {
        self.0.lock().failed
    }

    /// Wherever something failed while that had happened fewer than `failed` times, something
    /// was written since.
    pub fn heal(&self, failed: u64) {
        let mut state = self.0.lock();
        let before = state.failures.len();
        state.failures.retain(|_, it| it.number >= failed);
        if before > 0 && state.failures.is_empty() {
            tracing::info!("the storage directory can be written again");
        }
    }

    /// The last failure of all places where nothing could be written since.
    pub fn failure(&self) -> Option<DiskError> {
        let state = self.0.lock();
        let last = state.failures.values().max_by_key(|it| it.number);
        last.map(|it| it.error.clone())
    }

    /// The directories in which something failed, and nothing could be written since.
    pub fn failed_places(&self) -> Vec<PathBuf> {
        self.0.lock().failures.keys().cloned().collect()
    }

    /// The directories that could not be made, of each place the last, while nothing could be
    /// written there since.
    pub fn unmade(&self) -> Vec<PathBuf> {
        let state = self.0.lock();
        let failures = state.failures.values().map(|it| &it.error);
        let unmade = failures.filter(|it| it.action == MAKE_DIR);
        unmade.map(|it| it.path.clone()).collect()
    }

    /// Passes on how something went with a name in a directory.
    fn noted<T>(&self, action: &'static str, path: &Path, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            // Whoever asks for these knows what to make of them.
            let expected = matches!(
                (action, error.kind()),
                ("create" | "link", io::ErrorKind::AlreadyExists)
                    | ("open", io::ErrorKind::NotFound)
            );
            if !(expected || (action == "link" && lacks_links(error))) {
                let place = path.parent().unwrap_or(path);
                self.fail(place, DiskError::new(action, path, repeat(error)));
            }
        })
    }

    /// Passes on how something went with a directory itself.
    fn noted_of_dir<T>(
        &self,
        action: &'static str,
        dir: &Path,
        result: io::Result<T>,
    ) -> io::Result<T> {
        result.inspect_err(|error| self.fail(dir, DiskError::new(action, dir, repeat(error))))
    }
}

/// The same error once more, as far as an error can be had twice: whoever uses the disk has
/// it, too.
fn repeat(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
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

    fn open_to_read(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        self.disk.open_to_read(path, flags)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let created = self.disk.create_dir(path);
        self.writes.noted(MAKE_DIR, path, created)
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

    fn check_place(&self, path: &Path) -> io::Result<()> {
        self.disk.check_place(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let names = self.disk.names(path);
        match &names {
            // Whoever looks there makes it when that is needed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => names,
            _ => self.writes.noted_of_dir("look through", path, names),
        }
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        let dir = self.disk.open_dir(path);
        Ok(Box::new(WatchedDir {
            dir: self.writes.noted_of_dir("open the directory", path, dir)?,
            path: path.to_owned(),
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

    fn check_at(&self, path: &Path, len: u64) -> io::Result<()> {
        let there = self.file.check_at(path, len);
        self.writes.noted("append to", path, there)
    }

    fn begin_sync(&self, bytes: Range<u64>) {
        self.file.begin_sync(bytes);
    }
}

impl DiskDir for WatchedDir {
    fn sync(&self) -> io::Result<()> {
        self.writes
            .noted_of_dir("sync", &self.path, self.dir.sync())
    }

    fn sync_file_system(&self) -> io::Result<()> {
        let synced = self.dir.sync_file_system();
        self.writes.noted_of_dir("sync", &self.path, synced)
    }
}
