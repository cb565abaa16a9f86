//! Reading files that the operator names: settings, tokens, certificates and keys.
//!
//! They may be pipes, as a shell makes them of what a command prints, so they are not looked at
//! before. But nothing is read without end, and nobody is waited for without end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long whoever writes to a pipe may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// What was read, and of which file.
#[derive(Debug)]
pub struct Given {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The file, read to the end of them.
    pub file: File,
}

impl Given {
    /// The bytes as a text.
    pub fn text(self) -> io::Result<String> {
        String::from_utf8(self.bytes).map_err(|_| {
            let told = "stream did not contain valid UTF-8";
            io::Error::new(io::ErrorKind::InvalidData, told)
        })
    }
}

/// All of a file of at most `max` bytes; a longer one is an error of the kind `InvalidData`, and a
/// pipe that is not written to its end in time one of the kind `TimedOut`. Blocks as long as that
/// takes.
pub fn read(path: &Path, max: u64) -> io::Result<Given> {
    let given = read_beginning(path, max.saturating_add(1))?;
    if given.bytes.len() as u64 > max {
        let told = format!("it is longer than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    }
    Ok(given)
}

/// The first `most` bytes of a file, or all; fails as [`read`] does else. Blocks.
pub fn read_beginning(path: &Path, most: u64) -> io::Result<Given> {
    let until = Instant::now() + PATIENCE;
    let unwaiting = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(unwaiting).open(path)?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut left = (&file).take(most);
    while left.limit() > 0 {
        wait(&file, until)?;
        match left.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Given { bytes, file })
}

/// Waits until there is something to read, or its end. Of a pipe that nobody has opened yet that
/// is not its end.
fn wait(file: &File, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut waiting = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut waiting, Some(&left)) {
        Ok(0) => {
            let seconds = PATIENCE.as_secs();
            let told = format!("nobody has written it to its end within {seconds} s");
            Err(io::Error::new(io::ErrorKind::TimedOut, told))
        }
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::thread;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "123456789").unwrap();
        assert_eq!(read(&path, 9).unwrap().text().unwrap(), "123456789");
        assert_eq!(read_beginning(&path, 4).unwrap().bytes, b"1234");
        let longer = read(&path, 8).unwrap_err();
        assert_eq!(longer.kind(), io::ErrorKind::InvalidData);
        let endless = read(Path::new("/dev/zero"), 1 << 20).unwrap_err();
        assert_eq!(endless.kind(), io::ErrorKind::InvalidData);
        let directory = read(dir.path(), 9).unwrap_err();
        assert_eq!(directory.kind(), io::ErrorKind::IsADirectory);
        let missing = read(&dir.path().join("missing"), 9).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_comes_by_a_pipe_in_pieces_is_read_to_its_end_and_nobody_is_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut pipe = OpenOptions::new().write(true).open(&path).unwrap();
                for piece in ["one ", "two ", "three"] {
                    pipe.write_all(piece.as_bytes()).unwrap();
                    thread::yield_now();
                }
            });
            let text = read(&path, 100).unwrap().text().unwrap();
            assert_eq!(text, "one two three");
        });
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        let late = wait(&file, Instant::now()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
