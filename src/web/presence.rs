//! Whether a client is still there while its request runs.
//!
//! Nobody tells: a client that is gone has closed its side of the connection, and so has one that
//! only sends no more and waits for its answer. What is sent to the first one comes back, so that
//! the connection is reset. A request that only reads ends with that, and where its client has
//! closed its side and there was nothing to send for a while; whatever changes something is done
//! all the same.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::seats::Seat;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a client that has closed its side waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket of a connection, which whoever serves it shares with whoever looks.
#[derive(Clone)]
pub(super) struct Socket(Arc<Mutex<TcpStream>>);

/// What a client has done with its side of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Open,
    Closed,
    /// It takes nothing any more.
    Reset,
}

impl Socket {
    pub(super) fn of(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TcpStream> {
        self.0.lock()
    }

    /// The first byte that comes; None where none does.
    pub(super) fn poll_first(&self, cx: &mut Context<'_>) -> Poll<Option<u8>> {
        let mut first = [0];
        let mut buffer = ReadBuf::new(&mut first);
        let peeked = ready!(Pin::new(&mut *self.lock()).poll_peek(cx, &mut buffer));
        Poll::Ready(peeked.ok().and_then(|_| buffer.filled().first().copied()))
    }

    /// Returns once something has come, or the client has closed its side.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_read_ready(cx).map(drop)
    }

    fn side(&self) -> Side {
        let stream = self.lock();
        let interest = Interest::READABLE | Interest::WRITABLE;
        match stream.ready(interest).now_or_never() {
            Some(Ok(now)) if now.is_write_closed() => Side::Reset,
            Some(Ok(now)) if now.is_read_closed() => Side::Closed,
            _ => Side::Open,
        }
    }
}

/// Returns once the client of a request has left that only reads.
pub(super) async fn left(seat: &Seat, socket: &Socket) {
    loop {
        seat.reads().await;
        if leaves(seat, socket).await {
            return;
        }
    }
}

/// Whether the client leaves before its request is at its end.
async fn leaves(seat: &Seat, socket: &Socket) -> bool {
    // Since when it has closed its side, and when bytes had moved last before that was seen.
    let mut closed = None;
    while seat.is_reading() {
        sleep(LOOK_EVERY).await;
        match (socket.side(), closed) {
            (Side::Reset, _) => return true,
            (Side::Open, _) => {}
            (Side::Closed, None) => closed = Some((Instant::now(), seat.moved())),
            (Side::Closed, Some((since, moved))) => {
                // What has gone out since, or still has to, it takes, or the connection is reset.
                let is_told = moved != seat.moved() || seat.is_sending();
                if !is_told && since.elapsed() >= PATIENCE {
                    return true;
                }
            }
        }
    }
    false
}
