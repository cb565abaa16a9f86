//! The log: one line an event, to standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::log_queue::LogQueue;
use crate::config::{Format, Log};

/// How long the end waits for whoever reads the log.
const AT_THE_END: Duration = Duration::from_secs(2);

/// The queue of a server's log.
static QUEUE: OnceLock<Arc<LogQueue>> = OnceLock::new();

/// Logs as it is set from now on. Who writes to the log waits for who reads it, as with any
/// command.
pub(super) fn start(log: &Log) {
    init(log, stderr);
}

/// Logs as it is set from now on, and has nobody wait for who reads the log.
pub(super) fn start_for_server(log: &Log) {
    match queue() {
        Ok(queue) => start_in(log, QUEUE.get_or_init(|| queue)),
        // What is short now lets no server start, which has to be told.
        Err(_) => start(log),
    }
}

/// The queue of this process to standard error.
fn queue() -> io::Result<Arc<LogQueue>> {
    // Past the lock of standard error, which whoever writes there holds while it waits.
    let out = File::from(stderr().as_fd().try_clone_to_owned()?);
    LogQueue::start(out, |lines| {
        tracing::warn!(
            lines,
            "lines of the log are lost: nobody read it, or it could not be written"
        );
    })
}

fn start_in(log: &Log, queue: &'static LogQueue) {
    init(log, || Line(queue));
    panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let mut told = format!("thread '{}' {panic}\n", thread.name().unwrap_or_default());
        let stack = Backtrace::capture();
        if stack.status() == BacktraceStatus::Captured {
            told.push_str(&stack.to_string());
            told.push('\n');
        }
        queue.push(told.as_bytes());
    }));
}

fn init<W>(log: &Log, out: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(out);
    // A log that nobody reads any longer stops nothing; to tell of that would, on the same pipe.
    let lines = lines.log_internal_errors(false);
    let lines = match log.format() {
        Format::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(log.filter()))
        .init();
}

/// Says a line on standard output, which nobody has to read: a server goes on at once.
pub(super) fn say(line: &str) {
    let told = line.to_owned();
    let saying = thread::Builder::new().spawn(move || say_now(&told));
    if saying.is_err() {
        // For want of memory, as it may be, there is one thread less, and the server serves.
        say_now(line);
    }
}

fn say_now(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// Says why the process fails, where anybody reads that.
pub(super) fn say_last(error: &dyn Display) {
    let line = format!("larder: {error}\n");
    match QUEUE.get() {
        Some(queue) => queue.push(line.as_bytes()),
        None => drop(stderr().write_all(line.as_bytes())),
    }
}

/// Gives whoever reads the log a while for what is in it.
pub(super) fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(AT_THE_END);
    }
}

/// A line on its way to the queue.
struct Line<'a>(&'a LogQueue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
