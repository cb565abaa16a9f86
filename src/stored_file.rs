//! Opening files of the storage directory for reading, whatever may stand in their place.
//!
//! A named pipe there would keep whoever opens it waiting for ever, a device gives bytes without
//! end, and a file with a hole may seem to be longer than any memory. Everybody who reads a stored
//! file opens it here. A link is followed, since some keep a file elsewhere on purpose, but only
//! to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Read};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Advice, OFlags, SeekFrom, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// What seems to be older was written just now: it is the clock that was set.
const OLDEST: Duration = Duration::from_hours(365 * 24);

/// A multiple of what the page cache takes and gives up at once, in bytes.
const CACHED_AT_ONCE: u64 = 64 * 1024;

/// With these flags nothing is waited for, and nothing becomes the terminal of the process.
pub const UNWAITING: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

/// Opens a regular file for reading, without waiting for anybody. Whatever else is there is an
/// error of the kind `InvalidData`. Blocks no longer than the disk does.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().read(true))
}

/// Fills `buffer` with the bytes from `offset` on, if the page cache has all of them. Waits
/// for no disk.
pub fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let wanted = buffer.len();
    let into = &mut [IoSliceMut::new(buffer)];
    match preadv2(file, into, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) if read == wanted => Ok(()),
        // The end of the file, and systems that know no such call, too: whoever reads it from
        // the disk tells.
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Does `read` where the bytes of a range of the file come from its medium, and not from what the
/// page cache has of them; behind that the page cache has as much of it as before. What is not on
/// the medium yet, and what others have mapped, stays as it is. Blocks.
pub fn from_medium<T>(file: &File, range: Range<u64>, read: impl FnOnce() -> T) -> T {
    let was_cached = read_cached(file, &mut [0], range.start).is_ok();
    forget_cached(file, &range);
    let done = read();
    if !was_cached {
        forget_cached(file, &range);
    }
    done
}

fn forget_cached(file: &File, range: &Range<u64>) {
    let start = range.start / CACHED_AT_ONCE * CACHED_AT_ONCE;
    let len = range.end.next_multiple_of(CACHED_AT_ONCE) - start;
    // Where a file system knows of no such thing, what it gives is what there is to be had.
    let _ = fadvise(file, start, NonZeroU64::new(len), Advice::DontNeed);
}

/// Opens a regular file as `options` say, which have no flags of their own; fails as [`open`]
/// does. Blocks no longer than the disk does.
pub fn open_with(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = UNWAITING.bits().cast_signed();
    checked(options.custom_flags(flags).open(path))
}

/// What was opened with [`UNWAITING`], if that is a regular file; fails as [`open`] does. Blocks no
/// longer than the disk does.
pub fn checked(opened: io::Result<File>) -> io::Result<File> {
    let file = match opened {
        // A socket, or a pipe that nobody reads.
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return Err(no_file()),
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => return Err(no_file()),
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    Ok(file)
}

/// The content of a regular file of up to `max` bytes. Fails as [`open`] does, and with an error
/// of the kind `InvalidData` where the file is longer, of which no more is read. Blocks.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    whole(open(path)?, max)
}

/// The content of an open file of up to `max` bytes; fails as [`read`] does. Blocks.
pub fn whole(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let is_longer = file.metadata()?.len() > max
        || file.take(max.saturating_add(1)).read_to_end(&mut bytes)? as u64 > max;
    if is_longer {
        let told = format!("it is longer than the {max} bytes that it can have");
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    }
    Ok(bytes)
}

/// Up to `len` bytes of an open file from `offset` on, fewer where it ends. Blocks.
pub fn read_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The first place from `from` on that takes room on the disk; None where there is none. Blocks.
pub fn next_data(file: &File, from: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        // A file system that knows of no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(from)),
        Err(error) => Err(error.into()),
    }
}

/// How long ago something was last written. Where the clock was set so that this is in time to
/// come, or too far back, a file gets the present time, so that it neither seems old at once nor
/// new for ever, however often that is asked after a restart. Blocks.
pub fn age(path: &Path) -> io::Result<Duration> {
    let written = std::fs::metadata(path)?.modified()?;
    let now = SystemTime::now();
    match now.duration_since(written) {
        Ok(age) if age < OLDEST => return Ok(age),
        _ => tracing::warn!(path = %path.display(), "the clock was set; its age counts from now"),
    }
    match open(path) {
        // What is no file waits for nothing.
        Err(e) if is_no_file(&e) => {}
        file => file?.set_modified(now)?,
    }
    Ok(Duration::ZERO)
}

/// Whether an error of [`open`] says that no file is there.
pub fn is_no_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound};
    matches!(error.kind(), NotFound | InvalidData)
}

fn no_file() -> io::Error {
    let told = "something else than a file is in its place";
    io::Error::new(io::ErrorKind::InvalidData, told)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn nothing_but_a_file_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        symlink(at("pipe"), at("to a pipe")).unwrap();
        symlink("/dev/zero", at("endless")).unwrap();
        for name in ["pipe", "directory", "socket", "to a pipe", "endless"] {
            let refused = [
                open(&at(name)).map(drop),
                read(&at(name), 9).map(drop),
                open_with(&at(name), OpenOptions::new().write(true)).map(drop),
            ];
            for refused in refused {
                let error = refused.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}: {error}");
            }
        }
    }

    #[test]
    fn no_more_is_read_than_a_file_can_have() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"123456789").unwrap();
        assert_eq!(read(&path, 9).unwrap(), b"123456789");
        let longer = read(&path, 8).unwrap_err();
        assert_eq!(longer.kind(), io::ErrorKind::InvalidData);
        let hole = File::create(&path).unwrap();
        hole.set_len(1 << 40).unwrap();
        assert_eq!(read(&path, 9).unwrap_err().kind(), longer.kind());
        // What tells no length has none to be believed.
        assert!(read(Path::new("/proc/self/cmdline"), 1).is_err());
    }
}
