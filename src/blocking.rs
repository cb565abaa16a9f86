//! Work that blocks, off the threads that serve everybody: the only way there.
//!
//! Work that has begun runs to its end, also where nobody waits for it any more: so what may take
//! long, such as reading a whole content, asks now and then whether it is [`Wanted`]. A panic in
//! it goes on in whoever waits, as if the work had been done there.

// Elsewhere these would be a second way, with an ending of its own.
#![allow(clippy::disallowed_methods)]

use std::io::{self, Read};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Whether somebody waits for long work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted(Arc<AtomicBool>);

/// What waits for long work; dropped, it does no more.
struct Waiting(Wanted);

impl Drop for Waiting {
    fn drop(&mut self) {
        let Wanted(given_up) = &self.0;
        given_up.store(true, Ordering::Relaxed);
    }
}

impl Wanted {
    /// Fails once nobody waits any more.
    pub(crate) fn check(&self) -> io::Result<()> {
        let Self(given_up) = self;
        if given_up.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        Ok(())
    }

    /// The same reader, which fails once nobody waits any more.
    pub(crate) fn reading<R: Read>(&self, reader: R) -> impl Read {
        WantedRead(self, reader)
    }
}

struct WantedRead<'a, R>(&'a Wanted, R);

impl<R: Read> Read for WantedRead<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.check()?;
        self.1.read(buffer)
    }
}

/// Does `work`, which may take long, on a thread where it may block. It is told when this is
/// dropped, as where its client has left or the runtime ends: nothing has to wait for it then.
pub(crate) async fn run_while_wanted<T: Send + 'static>(
    work: impl FnOnce(&Wanted) -> T + Send + 'static,
) -> T {
    let waiting = Waiting(Wanted::default());
    let wanted = waiting.0.clone();
    run(move || work(&wanted)).await
}

/// The same for work whose end others need, too: it goes on without whoever waits, as long as the
/// runtime does.
pub(crate) async fn run_for_others<T: Send + 'static>(
    work: impl FnOnce(&Wanted) -> T + Send + 'static,
) -> T {
    Running(tokio::spawn(run_while_wanted(work))).await
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

    /// Work that ends only when it is told so, and tells then.
    fn endless(begun: mpsc::Sender<()>, ended: mpsc::Sender<()>) -> impl FnOnce(&Wanted) + Send {
        move |wanted| {
            begun.send(()).unwrap();
            let mut endless = wanted.reading(io::repeat(7));
            io::copy(&mut endless, &mut io::sink()).unwrap_err();
            ended.send(()).unwrap();
        }
    }

    #[tokio::test]
    async fn long_work_ends_once_nobody_waits() {
        let ((begun, has_begun), (ended, has_ended)) = (mpsc::channel(), mpsc::channel());
        let waiting = tokio::spawn(run_while_wanted(endless(begun, ended)));
        run(move || has_begun.recv().unwrap()).await;
        waiting.abort();
        run(move || has_ended.recv().unwrap()).await;
    }

    #[test]
    fn long_work_for_others_goes_on_without_whoever_waits_and_ends_with_the_runtime() {
        let ((begun, has_begun), (ended, has_ended)) = (mpsc::channel(), mpsc::channel());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let waiting = tokio::spawn(run_for_others(endless(begun, ended)));
            run(move || has_begun.recv().unwrap()).await;
            waiting.abort();
            waiting.await.unwrap_err();
            assert_eq!(has_ended.try_recv(), Err(mpsc::TryRecvError::Empty));
        });
        drop(runtime);
        has_ended.try_recv().unwrap();
    }

    #[test]
    fn what_nobody_waits_for_is_done_here_without_a_runtime() {
        let (sender, received) = mpsc::channel();
        detach(move || sender.send(thread::current().id()).unwrap());
        assert_eq!(received.try_recv(), Ok(thread::current().id()));
    }
}
