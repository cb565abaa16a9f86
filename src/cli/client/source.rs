//! What is sent: the bytes of a file, as they are while it is read.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use blake3::Hasher;

use super::begun::What;
use crate::hash::BlobHash;

/// How much is read at once, in bytes. Of a file that is no longer it is looked whether it has
/// as many bytes as it says.
pub(super) const PIECE: usize = 256 << 10;
/// How exact the times of files are on the usual systems, and more.
const TICK: Duration = Duration::from_millis(20);

/// A file to send. Clones share it.
#[derive(Clone)]
pub(super) struct Source {
    file: Arc<File>,
    size: u64,
    /// How the file was before a byte was read; none for a copy that nobody else has.
    before: Option<Arc<Metadata>>,
    /// The hash of such a copy.
    copied: Option<BlobHash>,
}

impl Source {
    /// Opens the file at `path`. Where its size is not what it says, as in `/proc`, or it has
    /// none, as a pipe, it is read to its end first. Blocks.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    fn of(mut file: File) -> io::Result<Self> {
        let about = steady(&file)?;
        if !about.is_file() {
            return Self::copy(&mut file, &[]);
        }
        let size = about.len();
        if size <= PIECE as u64 {
            let mut start = Vec::new();
            (&file).take(PIECE as u64 + 1).read_to_end(&mut start)?;
            if start.len() as u64 != size {
                return Self::copy(&mut file, &start);
            }
        }
        Ok(Self {
            file: Arc::new(file),
            size,
            before: Some(Arc::new(about)),
            copied: None,
        })
    }

    /// What was read of a file and what follows, in a file of its own.
    fn copy(file: &mut File, start: &[u8]) -> io::Result<Self> {
        let mut copy = tempfile::tempfile()?;
        let size = io::copy(&mut start.chain(file), &mut copy)?;
        copy.rewind()?;
        let mut hasher = Hasher::new();
        hasher.update_reader(&copy)?;
        Ok(Self {
            file: Arc::new(copy),
            size,
            before: None,
            copied: Some(hasher.finalize().into()),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What is known of it before it is sent, by which it is known again.
    pub(super) fn what<'a>(&'a self, path: &'a Path) -> What<'a> {
        match (&self.before, self.copied) {
            (Some(before), _) => What::File(path, before),
            (None, hash) => What::Copy(hash.unwrap_or_else(|| BlobHash::of(&[]))),
        }
    }

    /// The bytes from `offset` on, at most a piece and at most up to the size; fails with
    /// `UnexpectedEof` where the file has become shorter. Blocks.
    pub(super) fn read(&self, offset: u64) -> io::Result<Vec<u8>> {
        let left = self.size.saturating_sub(offset).min(PIECE as u64);
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE)];
        self.file.read_exact_at(&mut piece, offset)?;
        Ok(piece)
    }

    /// Has `hasher` take the first `length` bytes. Blocks.
    pub(super) fn hash_until(&self, length: u64, hasher: &mut Hasher) -> io::Result<()> {
        let mut at = 0;
        while at < length {
            let mut piece = self.read(at)?;
            piece.truncate(usize::try_from(length - at).unwrap_or(PIECE));
            hasher.update(&piece);
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Whether nothing has been written to the file since it was opened. Blocks.
    pub(super) fn is_untouched(&self) -> io::Result<bool> {
        let Some(before) = &self.before else {
            return Ok(true);
        };
        Ok(stamp(before) == stamp(&self.file.metadata()?))
    }

    /// Whether the file still has the bytes of this hash: what has changed may be only its name
    /// or its mode. Blocks.
    pub(super) fn still_is(&self, hash: BlobHash) -> io::Result<bool> {
        if self.is_untouched()? {
            return Ok(true);
        }
        let mut hasher = Hasher::new();
        match self.hash_until(self.size, &mut hasher) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            done => done?,
        }
        let is_longer = self.file.metadata()?.len() != self.size;
        Ok(!is_longer && hash == hasher.finalize().into())
    }
}

/// What changes with every write, whatever anybody says that the time is.
fn stamp(about: &Metadata) -> (u64, i64, i64, i64, i64) {
    let written = (about.mtime(), about.mtime_nsec());
    let changed = (about.ctime(), about.ctime_nsec());
    (about.len(), written.0, written.1, changed.0, changed.1)
}

/// What a file is, so long after it was last changed that the next change has another time.
fn steady(file: &File) -> io::Result<Metadata> {
    let about = file.metadata()?;
    let changed = u64::try_from(about.ctime()).unwrap_or(0);
    let nanos = u32::try_from(about.ctime_nsec()).unwrap_or(0);
    let changed = SystemTime::UNIX_EPOCH + Duration::new(changed, nanos);
    if SystemTime::now()
        .duration_since(changed)
        .is_ok_and(|it| it > TICK)
    {
        return Ok(about);
    }
    std::thread::sleep(TICK);
    file.metadata()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn all(source: &Source) -> Vec<u8> {
        let mut all = Vec::new();
        while (all.len() as u64) < source.size() {
            all.extend(source.read(all.len() as u64).unwrap());
        }
        all
    }

    #[test]
    fn what_has_no_size_or_a_wrong_one_is_read_to_its_end() {
        let told = fs::read("/proc/self/cmdline").unwrap();
        let source = Source::open(Path::new("/proc/self/cmdline")).unwrap();
        assert_eq!(all(&source), told);
        assert_eq!(source.copied, Some(BlobHash::of(&told)));
        let (read, mut write) = io::pipe().unwrap();
        let long = vec![7; 3 * PIECE];
        let writing = std::thread::spawn(move || io::Write::write_all(&mut write, &long));
        let fd = std::os::fd::OwnedFd::from(read);
        let source = Source::of(fd.into()).unwrap();
        writing.join().unwrap().unwrap();
        assert_eq!(all(&source), vec![7; 3 * PIECE]);
    }

    #[test]
    fn every_change_of_the_bytes_is_seen_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes = vec![1; 2 * PIECE];
        let hash = BlobHash::of(&bytes);
        let opened = || {
            fs::write(&path, &bytes).unwrap();
            Source::open(&path).unwrap()
        };
        let set_back = |before: &Metadata| {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
        };
        let source = opened();
        let before = path.metadata().unwrap();
        set_back(&before);
        assert!(source.still_is(hash).unwrap(), "the same bytes");
        let source = opened();
        let before = path.metadata().unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all_at(b"x", 9)
            .unwrap();
        set_back(&before);
        assert!(
            !source.still_is(hash).unwrap(),
            "another byte, and the time set back"
        );
        for length in [0, 1, bytes.len() as u64 + 1] {
            let source = opened();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(length)
                .unwrap();
            assert!(!source.still_is(hash).unwrap(), "{length} bytes");
        }
        let source = opened();
        fs::write(dir.path().join("other"), "other").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert!(
            source.still_is(hash).unwrap(),
            "what was opened is still what it was"
        );
    }
}
