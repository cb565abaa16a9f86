//! Connections, counted with what goes over them.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::presence::Socket;
use super::seats::Seat;
use crate::metrics::{Counter, Gauge};

/// What a server's connections were and are.
#[derive(Debug, Default)]
pub struct Connections {
    /// Open ones.
    pub open: Gauge,
    /// Those of them that wait for their next request, and hold no buffers.
    pub resting: Gauge,
    /// Accepted ones.
    pub accepted: Counter,
    /// Those that were turned away, since nobody gave way.
    pub refused: Counter,
    /// Bytes that came in, heads of requests and TLS included.
    pub received: Counter,
    /// Bytes that went out, heads of answers and TLS included.
    pub sent: Counter,
}

/// A connection that counts itself.
pub(super) struct Counted {
    socket: Socket,
    connections: Arc<Connections>,
    seat: Arc<Seat>,
}

impl Counted {
    pub(super) fn new(socket: Socket, connections: Arc<Connections>, seat: Arc<Seat>) -> Self {
        connections.accepted.count();
        connections.open.begin();
        Self {
            socket,
            connections,
            seat,
        }
    }

    /// Whether a client begins as HTTP does, and not as TLS. Waits for its first byte.
    pub(super) async fn begins_with_http(&self) -> bool {
        let first = poll_fn(|cx| self.socket.poll_first(cx)).await;
        first.is_some_and(|first| first.is_ascii_alphabetic())
    }

    /// Whether it begins as TLS does: with a record of a handshake. Waits for its first byte.
    pub(super) async fn begins_with_tls(&self) -> bool {
        poll_fn(|cx| self.socket.poll_first(cx)).await == Some(0x16)
    }

    fn count_sent(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.connections.sent.add(*bytes as u64);
        }
        self.seat.sent(written.is_pending());
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.open.end();
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.socket.lock()).poll_read(cx, buf);
        let received = buf.filled().len() - before;
        self.connections.received.add(received as u64);
        if received > 0 {
            self.seat.received(received);
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.socket.lock()).poll_write(cx, buf);
        self.count_sent(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.socket.lock()).poll_write_vectored(cx, bufs);
        self.count_sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket.lock()).poll_shutdown(cx)
    }
}
