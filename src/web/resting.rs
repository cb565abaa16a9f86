//! Connections that wait for their next request: what serves HTTP on one is given up meanwhile,
//! with its buffers, and made again once something comes. Clients hold thousands of them.
//!
//! The HTTP library does not say whether it is between two requests, so that is known by what has
//! gone in and out: all of the last request was read, none runs, its answer has gone out, and no
//! byte of the next one has come.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1::{Builder, Connection, Parts};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::counted::Connections;
use super::presence::Socket;
use super::seats::Seat;
use crate::metrics::Gauge;

/// How long nothing has to come until it is given up: longer than between two requests of whoever
/// is at it, and so short that few have buffers at one time of many who come one after the other,
/// since what the allocator gets back in between goes to the next.
const REST_AFTER: Duration = Duration::from_millis(100);

/// What part of its time a head has at least that comes after a rest.
const LEAST_PART: u32 = 4;

/// Whether the body of the last request was not read to its end: what comes next is part of that
/// then, and is not to be taken for a request.
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

/// The body of a request, of which it is noted whether it was read to its end.
pub(super) struct Followed {
    body: Incoming,
    unread: Unread,
}

impl Unread {
    /// The same body, followed.
    pub(super) fn follow(&self, body: Incoming) -> Followed {
        self.0.store(!body.is_end_stream(), Ordering::Relaxed);
        Followed {
            body,
            unread: self.clone(),
        }
    }
}

impl Body for Followed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let is_at_its_end = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            _ => false,
        };
        if is_at_its_end {
            self.unread.0.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose first bytes were read already.
struct Rewound<S> {
    before: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let some = self.before.len().min(buf.remaining());
        buf.put_slice(&self.before.split_to(some));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What tells how it stands with a connection.
pub(super) struct Signs {
    pub(super) socket: Socket,
    pub(super) seat: Arc<Seat>,
    pub(super) unread: Unread,
    /// Where those are counted that rest.
    pub(super) connections: Arc<Connections>,
    /// Told at the shutdown: then the request that runs is the last one.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Signs {
    /// Whether it is between two requests, and nothing has come or gone for a while.
    fn is_at_rest(&self) -> bool {
        !self.unread.0.load(Ordering::Relaxed) && self.seat.is_at_rest(REST_AFTER)
    }
}

/// A connection that rests, and is counted as long as it does.
struct Resting<'a>(&'a Gauge);

impl<'a> Resting<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.begin();
        Self(gauge)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Serves HTTP on a connection until that ends, by what `builder` makes for it. The head of each
/// request has `head_timeout` to come, from the end of the answer before, and a quarter of that at
/// least from its own beginning.
pub(super) async fn serve<S, H, B>(
    builder: impl Fn(Duration) -> Builder,
    (stream, mut service): (S, H),
    signs: Signs,
    head_timeout: Duration,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = B>,
    H::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let before = Bytes::new();
    let (mut io, mut left, mut may_rest) = (Rewound { before, stream }, head_timeout, true);
    loop {
        let connection = builder(left).serve_connection(TokioIo::new(io), service);
        let mut connection = Box::new(connection);
        if let Some(ended) = until_at_rest(&mut connection, &signs, may_rest).await {
            return ended;
        }
        let before;
        (io, service, before) = taken_apart(connection);
        let end = Instant::now() + head_timeout.saturating_sub(REST_AFTER);
        // Part of the next head, where that came with the request before, is served as it was.
        may_rest = before.is_empty();
        io.before = before;
        if may_rest {
            let comes = poll_fn(|cx| signs.socket.poll_readable(cx));
            let _resting = Resting::begin(&signs.connections.resting);
            if timeout_at(end, comes).await.is_err() {
                return Ok(());
            }
        }
        let rest = end.saturating_duration_since(Instant::now());
        left = rest.max(head_timeout / LEAST_PART);
    }
}

/// What is left of a connection when what serves it is given up: what it goes over, what answers,
/// and what was read of the next request.
#[expect(
    clippy::boxed_local,
    reason = "its memory is to be free before the rest"
)]
fn taken_apart<S, H, B>(
    connection: Box<Connection<TokioIo<Rewound<S>>, H>>,
) -> (Rewound<S>, H, Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = B>,
    H::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let parts: Parts<_, H> = connection.into_parts();
    let before = match parts.read_buf {
        // An empty one has its memory still.
        empty if empty.is_empty() => Bytes::new(),
        begun => begun,
    };
    (parts.io.into_inner(), parts.service, before)
}

/// Serves until the connection ends, and how; None once it is at rest, where it may be.
async fn until_at_rest<S, H, B>(
    connection: &mut Connection<TokioIo<Rewound<S>>, H>,
    signs: &Signs,
    may_rest: bool,
) -> Option<hyper::Result<()>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = B>,
    H::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut stopping = signs.stopping.clone();
    let mut stopped = pin!(stopping.wait_for(|it| *it));
    let mut look = pin!(sleep(REST_AFTER));
    let mut is_last = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut *connection => return Some(ended),
            _ = &mut stopped, if !is_last => {
                is_last = true;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            () = &mut look, if may_rest => {
                if signs.is_at_rest() && !is_last {
                    return None;
                }
                look.as_mut().reset(Instant::now() + REST_AFTER);
            }
        }
    }
}
