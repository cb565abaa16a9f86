//! Lines of the log on their way to whoever reads them, who may have stopped reading.
//!
//! Nobody who serves waits for a full pipe, a terminal that was stopped or a disk that hangs:
//! lines go into a queue of bounded length, and a thread of its own writes them. What finds no
//! place there is lost, which the log tells once lines get through again.

use std::cell::Cell;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How many bytes of lines may wait.
const MAX_BYTES: usize = 1 << 20;
/// How long to wait where whoever reads wants no writer to wait (`O_NONBLOCK`), which somebody
/// else may have set on the same pipe or terminal.
const AGAIN: Duration = Duration::from_millis(20);

/// Lines that wait to be written.
#[derive(Default)]
pub(super) struct LogQueue {
    waiting: Mutex<Waiting>,
    /// Something waits to be written.
    comes: Condvar,
    /// Everything is written.
    done: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Whether what was taken is not written yet.
    writing: bool,
    /// How many lines were lost since that was last told.
    lost: u64,
    /// Whether a line behind those that wait was lost, so that there is one gap and not many.
    gap: bool,
}

thread_local! {
    /// Whether this thread writes the lines: what it has to tell always has a place.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

impl LogQueue {
    /// A queue whose lines go to `out`, which may block; `tell_lost` logs how many lines were
    /// lost.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        tell_lost: fn(u64),
    ) -> io::Result<Arc<Self>> {
        let queue = Arc::<Self>::default();
        let writer = Arc::clone(&queue);
        let thread = thread::Builder::new().name("log".to_owned());
        thread.spawn(move || writer.write(out, tell_lost))?;
        Ok(queue)
    }

    /// Has a whole line written, or counts it as lost. Never waits for who reads.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        let has_room = !waiting.gap && waiting.lines.len() + line.len() <= MAX_BYTES;
        if has_room || WRITES.get() {
            waiting.lines.extend_from_slice(line);
            self.comes.notify_one();
        } else {
            waiting.gap = true;
            waiting.lost += 1;
        }
    }

    /// Waits until everything is written, but no longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut waiting = self.waiting.lock();
        while waiting.writing || !waiting.lines.is_empty() {
            if self.done.wait_until(&mut waiting, until).timed_out() {
                return;
            }
        }
    }

    /// Writes what comes, for ever.
    fn write(&self, mut out: impl Write, tell_lost: fn(u64)) {
        WRITES.set(true);
        loop {
            let (lines, mut lost) = self.take();
            let mut failed = 0;
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &lines) {
                let line = lines.get(start..=end).unwrap_or_default();
                failed += u64::from(write_whole(&mut out, line).is_err());
                start = end + 1;
            }
            lost += failed;
            if failed > 0 {
                // As on a full disk: to tell of it would fail alike.
                self.waiting.lock().lost += lost;
            } else if lost > 0 {
                tell_lost(lost);
            }
        }
    }

    /// Takes all lines that wait, once there are some, and how many were lost so far.
    fn take(&self) -> (Vec<u8>, u64) {
        let mut waiting = self.waiting.lock();
        while waiting.lines.is_empty() {
            waiting.writing = false;
            self.done.notify_all();
            self.comes.wait(&mut waiting);
        }
        waiting.writing = true;
        waiting.gap = false;
        (mem::take(&mut waiting.lines), mem::take(&mut waiting.lost))
    }
}

/// Writes all of a line, and waits as long as that takes.
fn write_whole(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
    let mut rest = line;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::sleep(AGAIN),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, pipe};
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Hands on what is written, and what was lost as a line.
    fn start(out: impl Write + Send + 'static) -> Arc<LogQueue> {
        LogQueue::start(out, |lost| LOST.lock().push(lost)).unwrap()
    }

    static LOST: Mutex<Vec<u64>> = Mutex::new(Vec::new());

    #[test]
    fn nobody_waits_for_a_reader_and_what_is_lost_is_counted() {
        let (read, write) = pipe().unwrap();
        let queue = start(write);
        let line = [&[b'x'; 999][..], b"\n"].concat();
        // The queue and what was taken of it before the pipe was full.
        let most = 2 * MAX_BYTES / 1000;
        let pushed = 2 * most + 100;
        for _ in 0..pushed {
            queue.push(&line);
        }
        let bytes = queue.waiting.lock().lines.capacity();
        assert!(bytes <= 2 * MAX_BYTES, "{bytes}");
        // Nobody reads, and nobody is waited for.
        queue.flush(Duration::from_millis(10));
        let (read_on, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(read).lines() {
                read_on.send(line.unwrap()).unwrap();
            }
        });
        // What is lost is told behind the last line, when nothing more comes to be read.
        let lost = || LOST.lock().iter().sum::<u64>();
        let mut written = 0;
        while written + lost() < pushed as u64 {
            if let Ok(line) = lines.recv_timeout(Duration::from_millis(10)) {
                assert_eq!(line.len(), 999);
                written += 1;
            }
        }
        assert!(lost() > 0);
        assert_eq!(written + lost(), pushed as u64);
        assert!(written <= most as u64 + 200, "{written}");
        queue.push(b"again\n");
        assert_eq!(lines.recv().unwrap(), "again");
        queue.flush(Duration::from_secs(30));
        assert!(!queue.waiting.lock().writing);
    }

    /// Refuses the first lines, as a full disk does.
    struct Full {
        refuses: usize,
        then: Sender<Vec<u8>>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.refuses > 0 {
                self.refuses -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.then.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_fails_goes_on_once_it_can() {
        static TOLD: Mutex<u64> = Mutex::new(0);
        let (then, written) = channel();
        let full = Full { refuses: 3, then };
        let queue = LogQueue::start(full, |lost| *TOLD.lock() += lost).unwrap();
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            queue.push(line.as_bytes());
            queue.flush(Duration::from_secs(30));
        }
        assert_eq!(written.recv().unwrap(), b"d\n");
        queue.flush(Duration::from_secs(30));
        assert_eq!(*TOLD.lock(), 3);
    }
}
