//! Which packs stay open: each is an open file, and a store may have more of them than files may
//! be open. Beyond a limit a pack is opened for each time that it is read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

/// How many packs stay open, as a rule: one in sixteen of the files that may be open, since others
/// are needed for what is done with them.
pub fn usually_open() -> usize {
    const PART: u64 = 16;
    const LEAST: usize = 8;
    let limit = getrlimit(Resource::Nofile).current;
    let part = limit.and_then(|limit| usize::try_from(limit / PART).ok());
    part.map_or(usize::MAX, |part| part.max(LEAST))
}

/// How many packs stay open.
#[derive(Debug)]
pub(crate) struct OpenPacks {
    most: usize,
    now: AtomicUsize,
}

/// The file of a pack that stays open.
pub(super) struct Kept {
    file: File,
    among: Arc<OpenPacks>,
}

/// The file of a pack while it is read.
pub(super) enum Lent<'a> {
    Kept(&'a File),
    Opened(File),
}

impl OpenPacks {
    pub(crate) fn at_most(most: usize) -> Arc<Self> {
        let now = AtomicUsize::new(0);
        Arc::new(Self { most, now })
    }

    /// The file to be kept open, where one more may be; else it is closed.
    pub(super) fn keep(self: &Arc<Self>, file: File) -> Option<Kept> {
        let kept = Kept {
            file,
            among: Arc::clone(self),
        };
        // Counted even where it is too many, until it is dropped here.
        let before = self.now.fetch_add(1, Ordering::Relaxed);
        (before < self.most).then_some(kept)
    }
}

impl Kept {
    pub(super) fn lend(&self) -> Lent<'_> {
        Lent::Kept(&self.file)
    }

    /// The same open file once more.
    pub(super) fn try_clone(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.among.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Lent<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        match self {
            Self::Kept(file) => file,
            Self::Opened(file) => file,
        }
    }
}

impl Read for Lent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&**self).read(buffer)
    }
}

impl Seek for Lent<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&**self).seek(to)
    }
}
