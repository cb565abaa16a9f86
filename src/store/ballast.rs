//! Room on the disk that nobody else can take: a file that is removed when the store itself
//! needs room to go on, and empty ones, since a file system may also have no inode left.
//!
//! On a disk that is full the lookup database cannot even be opened, and a removal, which would
//! make room, cannot be written down. So a file takes some of the room while there is much, and
//! lends it where there is none. It is outside of [`Disk`], since nothing in
//! it has to last.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FallocateFlags;

use crate::disk::{Disk, FILE_MODE, RealDisk, is_shared};
use crate::stored_file;

/// The file, in the storage directory.
pub(super) const FILE: &str = "ballast";
/// The directory of the empty files, there.
const SPARE_DIR: &str = "spare-files";
/// How many empty files there are: a start makes a few.
const SPARE_FILES: u64 = 24;
/// How long it is, in bytes: opening the lookup database takes a megabyte or two.
pub(super) const BYTES: u64 = 8 << 20;
/// How much has to be free before a lookup database is made, in bytes: what is lent for a start is
/// left for removals.
pub(super) const BESIDE_DATABASE: u64 = BYTES + (2 << 20);
/// It grows by no more than one part of so many of the room that is free.
pub(super) const SHARE: u64 = 4;
/// What is less is not worth a change, in bytes.
const GRAIN: u64 = 64 << 10;
/// So much more than was lent is taken back: what the lookup database has given up meanwhile.
const BESIDE: u64 = 1 << 20;
/// The unit in which the system counts the room that a file takes, in bytes.
const SECTOR: u64 = 512;

/// The ballast of one storage directory.
pub(super) struct Ballast {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many use what was lent.
    borrowers: usize,
    /// What was lent and not taken back, in bytes.
    lent: u64,
    /// Whether files were, too.
    lent_files: bool,
}

/// Room that was lent; taken back on drop, as far as it is left, by whoever is the last.
/// The drop blocks.
pub struct Loan(Arc<Ballast>);

impl Drop for Loan {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.borrowers -= 1;
        if state.borrowers == 0 {
            self.0.take_back(&mut state);
        }
    }
}

impl Ballast {
    /// The ballast of a storage directory. Nothing is touched yet.
    pub(super) fn of(dir: &Path) -> Arc<Self> {
        Arc::new(Self {
            dir: dir.to_owned(),
            state: Mutex::default(),
        })
    }

    /// Lends all of it where little room is free, or few files can be made. Blocks.
    pub(super) fn lend_if_short(self: &Arc<Self>) -> Option<Loan> {
        let is_short = self.free().is_ok_and(|free| free < BYTES);
        (is_short || free_files(&self.dir) < SPARE_FILES).then(|| self.lend().0)
    }

    /// Lends all of it, and tells whether that has made any room. Blocks.
    pub(super) fn lend(self: &Arc<Self>) -> (Loan, bool) {
        let mut state = self.state.lock();
        state.borrowers += 1;
        let held = self.held();
        let removed = held > 0 && std::fs::remove_file(self.path()).is_ok();
        if removed {
            state.lent = held;
            tracing::debug!(bytes = held, "the disk is full; the store uses its ballast");
        }
        // A file that cannot be removed is lent another time.
        let spare = std::fs::remove_dir_all(self.dir.join(SPARE_DIR)).is_ok();
        state.lent_files |= spare;
        drop(state);
        (Loan(Arc::clone(self)), removed || spare)
    }

    /// Makes it as long as it should be where much room is free. Blocks.
    pub(super) fn keep(&self) {
        let state = self.state.lock();
        if state.borrowers > 0 {
            return;
        }
        let (held, Ok(free)) = (self.held(), self.free()) else {
            return;
        };
        self.grow(held, BYTES.min((held + free) / SHARE));
        if free_files(&self.dir) / SHARE > SPARE_FILES {
            self.spare_files();
        }
    }

    /// Takes back what was lent, as far as it is still free: uploads have no use for room that
    /// is less than what is to be left free.
    fn take_back(&self, state: &mut State) {
        if std::mem::take(&mut state.lent_files) {
            self.spare_files();
        }
        let lent = std::mem::take(&mut state.lent);
        if lent > 0
            && let Ok(free) = self.free()
        {
            self.grow(self.held(), (lent + BESIDE).min(BYTES).min(free));
        }
    }

    fn grow(&self, held: u64, to: u64) {
        if to < held.saturating_add(GRAIN) {
            return;
        }
        if let Err(error) = self.make(to) {
            tracing::debug!(%error, "there is no room for ballast");
            if held == 0 {
                // A part of it would only be in the way.
                let _ = std::fs::remove_file(self.path());
            }
        }
    }

    /// Makes the empty files, as many as can be made.
    fn spare_files(&self) {
        let dir = self.dir.join(SPARE_DIR);
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(FILE_MODE);
        let made = RealDisk.create_dir(&dir).and_then(|()| {
            (0..SPARE_FILES).try_for_each(|number| {
                match options.open(dir.join(number.to_string())) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
                    _ => Ok(()),
                }
            })
        });
        if let Err(error) = made {
            tracing::debug!(%error, "not all spare files can be made");
        }
    }

    fn make(&self, bytes: u64) -> io::Result<()> {
        // A tool that has found it to be like something else may have made one file of both.
        if is_shared(&self.path()) {
            std::fs::remove_file(self.path())?;
        }
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false);
        let file = stored_file::open_with(&self.path(), options.mode(FILE_MODE))?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => write_noise(&file, bytes),
            made => Ok(made?),
        }
    }

    /// How much room it takes, in bytes: a copy may be a hole that takes none.
    fn held(&self) -> u64 {
        let look = std::fs::symlink_metadata(self.path());
        look.map_or(0, |it| it.len().min(it.blocks() * SECTOR))
    }

    fn free(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.dir)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }
}

/// How many files can be made in a directory; as many as anybody likes where the file system does
/// not count them.
pub(super) fn free_files(dir: &Path) -> u64 {
    match rustix::fs::statvfs(dir) {
        Ok(space) if space.f_files > 0 => space.f_favail,
        _ => u64::MAX,
    }
}

/// Fills a file with bytes that no file system makes smaller.
fn write_noise(file: &File, bytes: u64) -> io::Result<()> {
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut buffer = vec![0; 1 << 16];
    let mut offset = 0;
    while offset < bytes {
        noise.fill(&mut buffer);
        let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX);
        let piece = buffer.get(..left).unwrap_or(&buffer);
        file.write_all_at(piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_takes_room_and_lends_it_until_the_last_borrower_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(dir.path());
        ballast.keep();
        assert_eq!(ballast.held(), BYTES);
        let (one, has_made_room) = ballast.lend();
        assert!(has_made_room);
        let (other, has_made_room) = ballast.lend();
        assert!(!has_made_room);
        drop(one);
        ballast.keep();
        assert_eq!(ballast.held(), 0);
        drop(other);
        assert_eq!(ballast.held(), BYTES);
    }

    #[test]
    fn a_hole_or_something_else_in_its_place_is_no_ballast() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(dir.path());
        File::create(ballast.path())
            .unwrap()
            .set_len(BYTES)
            .unwrap();
        assert_eq!(ballast.held(), 0);
        ballast.keep();
        assert_eq!(ballast.held(), BYTES);
        std::fs::remove_file(ballast.path()).unwrap();
        std::fs::create_dir(ballast.path()).unwrap();
        ballast.keep();
        // That gives up the spare files, which are no part of it.
        let _loan = ballast.lend();
        assert!(!ballast.lend().1);
        assert!(ballast.path().is_dir());
    }

    #[test]
    fn noise_takes_room_without_preallocation() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("file")).unwrap();
        write_noise(&file, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }
}
