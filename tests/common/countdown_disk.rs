//! A disk whose Nth operation fails.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use larder::disk::{Disk, DiskDir, DiskFile, RealDisk};
use rustix::io::Errno;

/// The machine's disk until the countdown ends.
pub(crate) struct CountdownDisk {
    countdown: Arc<Mutex<Countdown>>,
}

/// What operations do after the one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Work,
    Fail,
    /// The one that fails does so by a panic.
    #[allow(dead_code)] // Not every test has it.
    Panic,
}

#[derive(Default)]
struct Countdown {
    /// Operations left, and what comes then; none while it is not armed.
    armed: Option<(u64, Fault)>,
    failed: Option<String>,
}

/// How operations fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) error: Errno,
    pub(crate) after: After,
}

impl CountdownDisk {
    /// A disk that works.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            countdown: Arc::default(),
        })
    }

    /// Has an operation fail after `working` more that work.
    pub(crate) fn arm(&self, working: u64, fault: Fault) {
        self.countdown.lock().unwrap().armed = Some((working, fault));
    }

    /// Has every operation work again, and tells which one failed first, if any did.
    pub(crate) fn disarm(&self) -> Option<String> {
        let mut countdown = self.countdown.lock().unwrap();
        countdown.armed = None;
        countdown.failed.take()
    }

    fn step(&self, what: &str, path: &Path) -> io::Result<()> {
        step(&self.countdown, what, path)
    }

    fn file(&self, path: &Path, real: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(CountdownFile {
            countdown: Arc::clone(&self.countdown),
            path: path.display().to_string(),
            real,
        })
    }
}

fn step(countdown: &Mutex<Countdown>, what: &str, path: impl AsRef<Path>) -> io::Result<()> {
    let mut countdown = countdown.lock().unwrap();
    // Only what opens a file can be short of them.
    let opens = ["create", "open", "open_dir"].contains(&what);
    match countdown.armed {
        Some((_, fault)) if fault.error == Errno::MFILE && !opens => Ok(()),
        None => Ok(()),
        Some((0, fault)) => {
            if fault.after != After::Fail {
                countdown.armed = None;
            }
            let operation = || format!("{what} {}", path.as_ref().display());
            countdown.failed.get_or_insert_with(operation);
            if fault.after == After::Panic {
                drop(countdown);
                panic!("a fault of the program");
            }
            Err(fault.error.into())
        }
        Some((working, fault)) => {
            countdown.armed = Some((working - 1, fault));
            Ok(())
        }
    }
}

impl Disk for CountdownDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step("create", path)?;
        Ok(self.file(path, RealDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step("open", path)?;
        Ok(self.file(path, RealDisk.open(path)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step("create_dir", path)?;
        RealDisk.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename to", to)?;
        RealDisk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("link to", to)?;
        RealDisk.link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step("remove_file", path)?;
        RealDisk.remove_file(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        self.step("open_dir", path)?;
        Ok(Box::new(CountdownDir {
            countdown: Arc::clone(&self.countdown),
            path: path.display().to_string(),
            real: RealDisk.open_dir(path)?,
        }))
    }
}

struct CountdownDir {
    countdown: Arc<Mutex<Countdown>>,
    path: String,
    real: Box<dyn DiskDir>,
}

impl DiskDir for CountdownDir {
    fn sync(&self) -> io::Result<()> {
        step(&self.countdown, "sync", &self.path)?;
        self.real.sync()
    }

    fn sync_file_system(&self) -> io::Result<()> {
        step(&self.countdown, "sync", &self.path)?;
        self.real.sync_file_system()
    }
}

struct CountdownFile {
    countdown: Arc<Mutex<Countdown>>,
    path: String,
    real: Box<dyn DiskFile>,
}

impl DiskFile for CountdownFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = step(&self.countdown, "write", &self.path) {
            // As on a disk that fills up in the middle.
            let (half, _) = bytes.split_at(bytes.len() / 2);
            self.real.write_all_at(half, offset)?;
            return Err(error);
        }
        self.real.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        step(&self.countdown, "set_len", &self.path)?;
        self.real.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        step(&self.countdown, "sync", &self.path)?;
        self.real.sync()
    }

    fn check_at(&self, path: &Path, len: u64) -> io::Result<()> {
        self.real.check_at(path, len)
    }

    fn begin_sync(&self, _bytes: Range<u64>) {
        // It promises nothing.
    }
}
