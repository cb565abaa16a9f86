//! Work that blocks, off the threads that serve everybody: the only way there.
//!
//! Work that has begun runs to its end, also where nobody waits for it any more. A panic in
//! it goes on in whoever waits, as if the work had been done there.

// Elsewhere these would be a second way, with an ending of its own.
#![allow(clippy::disallowed_methods)]

use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

/// Work that has begun, and what will come of it. Dropped, it goes on.
pub(crate) struct Running<T>(JoinHandle<T>);

/// Does `work` on a thread where it may block, from when this is first polled.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    begin(work).await
}

/// Begins `work` on a thread where it may block, at once. Within a runtime only.
pub(crate) fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    Running(tokio::task::spawn_blocking(work))
}

/// Does `work` that nobody waits for on a thread where it may block; here and now where there
/// is no runtime.
pub(crate) fn detach(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}

impl<T> Future for Running<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        outcome(ready!(Pin::new(&mut self.0).poll(context)))
    }
}

/// What has come of a task, for whoever waits for it: its panic is theirs.
pub(crate) fn outcome<T>(ended: Result<T, JoinError>) -> Poll<T> {
    match ended {
        Ok(done) => Poll::Ready(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends before the task does. Whoever waits ends with it.
            Err(_) => Poll::Pending,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn what_comes_of_work_is_handed_on_from_another_thread() {
        let here = thread::current().id();
        let (there, value) = run(move || (thread::current().id(), 7)).await;
        assert_ne!(there, here);
        assert_eq!(value, 7);
    }

    #[tokio::test]
    async fn a_panic_goes_on_in_whoever_waits() {
        let waiting = tokio::spawn(run(|| -> u8 { panic!("of the work") }));
        let panic = waiting.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"of the work"));
    }

    #[tokio::test]
    async fn work_goes_on_where_nobody_waits() {
        let (sender, received) = mpsc::channel();
        let (go, told) = mpsc::channel();
        let waiting = tokio::spawn(run(move || {
            go.send(()).unwrap();
            sender.send(thread::current().id())
        }));
        run(move || told.recv().unwrap()).await;
        waiting.abort();
        run(move || received.recv().unwrap()).await;
    }

    #[test]
    fn what_nobody_waits_for_is_done_here_without_a_runtime() {
        let (sender, received) = mpsc::channel();
        detach(move || sender.send(thread::current().id()).unwrap());
        assert_eq!(received.try_recv(), Ok(thread::current().id()));
    }
}
