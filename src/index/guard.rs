//! sled, whose failures become errors of the index.

use std::any::Any;
use std::cell::Cell;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Once, mpsc};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::IndexError;
use crate::disk::{is_full, is_shortage};

/// The lookup database cannot be used.
pub(super) fn failed(error: impl Display) -> IndexError {
    IndexError::Lookup(error.to_string())
}

/// A database, of which every use passes the guard, its end too: where its last sync fails sled
/// panics.
pub(super) struct Database {
    db: Option<sled::Db>,
    dir: PathBuf,
}

impl Database {
    pub(super) fn open(config: &sled::Config, dir: &Path) -> Result<Self, IndexError> {
        check_threads(dir)?;
        let db = guard(|| config.open().map_err(|e| of_sled(dir, e)))?;
        Ok(Self {
            db: Some(db),
            dir: dir.to_owned(),
        })
    }

    /// Uses it for `work`.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&sled::Db) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let db = self.db.as_ref().ok_or(IndexError::Closed)?;
        guard(|| work(db))
    }

    /// Hands everything to the operating system and closes.
    pub(super) fn close(mut self) -> Result<(), IndexError> {
        self.with(|db| db.flush().map(drop).map_err(|e| of_sled(&self.dir, e)))?;
        self.end()
    }

    fn end(&mut self) -> Result<(), IndexError> {
        let db = self.db.take();
        guard(|| {
            drop(db);
            Ok(())
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            // The next start finds out whether it is whole.
            tracing::debug!(%error, dir = %self.dir.display(), "a lookup database ended badly");
        }
    }
}

/// Fails where not as many threads can be made as sled makes: it would wait for ever for work that
/// none of them does.
fn check_threads(dir: &Path) -> Result<(), IndexError> {
    let mut made = Vec::with_capacity(THREADS);
    for _ in 0..THREADS {
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::Builder::new().spawn(move || ended.recv().is_ok());
        let thread = thread.map_err(|e| IndexError::io("start a thread for", dir, e))?;
        made.push((end, thread));
    }
    for (end, thread) in made {
        drop(end);
        // It does nothing that could fail.
        let _ = thread.join();
    }
    Ok(())
}

thread_local! {
    /// Whether a guard stands around what this thread does.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Panics behind a guard that has not caught them yet.
static UNCAUGHT: Mutex<Vec<(ThreadId, Instant, String)>> = Mutex::new(Vec::new());
/// How many threads sled makes: one that flushes, and at least one for each kind of work.
const THREADS: usize = 6;
/// After a panic sled may wait for ever for its own threads, which could not be made.
const STUCK: Duration = Duration::from_secs(3);

/// What a panic of the lookup database said behind which it seems to wait for ever, for threads of
/// its own that could not be made: whoever waits for it has to end without it.
pub fn stuck() -> Option<String> {
    let uncaught = UNCAUGHT.lock();
    let stuck = uncaught.iter().find(|(_, at, _)| at.elapsed() >= STUCK);
    stuck.map(|(_, _, said)| said.clone())
}

/// sled panics on some damage instead of returning an error; here both are errors.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    tell_panics_once();
    let before = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    done.unwrap_or_else(|panic| {
        let here = thread::current().id();
        UNCAUGHT.lock().retain(|(thread, _, _)| *thread != here);
        Err(failed(format!("panic: {}", words_of(&*panic))))
    })
}

/// Has a panic behind a guard, which becomes an error, and one in a thread of sled told in one
/// line, without the stack. All others are told as before.
fn tell_panics_once() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if GUARDED.get() {
                note(panic);
            } else if panic
                .location()
                .is_some_and(|it| it.file().contains("/sled-"))
            {
                let cause = words_of(panic.payload());
                tracing::error!(cause, "a thread of the lookup database has ended");
            } else {
                others(panic);
            }
        }));
    });
}

fn note(panic: &PanicHookInfo<'_>) {
    let said = words_of(panic.payload()).to_owned();
    let here = (thread::current().id(), Instant::now(), said);
    UNCAUGHT.lock().push(here);
}

/// What a panic says.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("of unknown kind")
}

/// What sled met in `dir`; a shortage is told as that.
pub(super) fn of_sled(dir: &Path, error: sled::Error) -> IndexError {
    match error {
        sled::Error::Io(error) if is_full(&error) || is_shortage(&error) => {
            IndexError::io("use", dir, error)
        }
        error => failed(error),
    }
}

/// Whether the database is of no use any more: a shortage that the system has just told of,
/// with its number, passes by; but one that sled met before it tells of ever after. Of a want of
/// room that is always true: what was not written then sled does not write again.
pub(super) fn is_end(error: &IndexError) -> bool {
    match error {
        IndexError::Lookup(_) => true,
        IndexError::Disk(error) => error.is_full() || error.source.raw_os_error().is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its end waits until it is told.
    struct Waits(mpsc::Receiver<()>);

    impl Drop for Waits {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn a_panic_whose_end_waits_is_told_while_it_waits() {
        let (go, told) = mpsc::channel();
        let work = thread::spawn(|| {
            guard::<()>(|| {
                let _waits = Waits(told);
                panic!("no thread can be made")
            })
        });
        let began = Instant::now();
        while stuck().is_none() {
            assert!(began.elapsed() < STUCK * 10);
            thread::sleep(STUCK / 30);
        }
        assert!(began.elapsed() >= STUCK);
        assert_eq!(stuck().as_deref(), Some("no thread can be made"));
        go.send(()).unwrap();
        let error = work.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("no thread can be made"));
        assert_eq!(stuck(), None);
    }
}
