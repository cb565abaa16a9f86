//! What a client is told whose request has a head that cannot be read: nobody is asked what to
//! answer, and the HTTP library answers with a status alone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::code::Code;
use super::error_body::ErrorBody;
use super::seats::Seat;

/// What those answers begin with, and what is said in place of them.
const REASONS: [(&[u8], Code, &str); 2] = [
    (
        b"HTTP/1.1 431 ",
        Code::HeadTooLarge,
        "the head of a request has at most 32 KiB and 100 fields",
    ),
    (
        b"HTTP/1.1 400 ",
        Code::BadRequest,
        "the head of the request is not as HTTP/1.1 has it (RFC 9112)",
    ),
];
/// How many bytes that have come are read at the end, so that the answer is not lost by closing
/// too early.
const MOST: usize = 1 << 20;

/// Whether a request has come on a connection since all that was written before it has gone out:
/// what is written now is of its answer, and otherwise of the HTTP library alone. By that, and not
/// by how it looks, its own answer is told from content that looks the same.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<AtomicBool>);

impl Asked {
    /// A request has come.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection whose refusals of heads say why.
pub(super) struct WithReasons<S> {
    stream: S,
    seat: Arc<Seat>,
    asked: Asked,
    /// What is written in place of an answer, and how much of it is.
    instead: Option<(String, usize)>,
    /// Whether it ends with that.
    refused: bool,
}

impl<S> WithReasons<S> {
    pub(super) fn over(stream: S, seat: Arc<Seat>, asked: Asked) -> Self {
        Self {
            stream,
            seat,
            asked,
            instead: None,
            refused: false,
        }
    }

    /// Whether something is written in place of these bytes.
    fn begin_instead(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_none() && !self.refused && !self.asked.0.load(Ordering::Relaxed) {
            let mut reasons = REASONS.iter();
            let reason = reasons.find(|(begin, ..)| bytes.starts_with(begin));
            self.instead = reason.map(|(_, code, message)| {
                let answer = ErrorBody::new(*code, *message).last_answer();
                (answer, 0)
            });
            self.refused = self.instead.is_some();
        }
        self.instead.is_some()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithReasons<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WithReasons<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.begin_instead(buf);
        let Some((answer, written)) = &mut this.instead else {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        };
        while let Some(rest) = answer.as_bytes().get(*written..)
            && !rest.is_empty()
        {
            let more = ready!(Pin::new(&mut this.stream).poll_write(cx, rest))?;
            if more == 0 {
                return Poll::Ready(Ok(0));
            }
            *written += more;
        }
        this.instead = None;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(first) = bufs.first()
            && self.begin_instead(first)
        {
            return self.poll_write(cx, first);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Called where nothing is left to be written.
        if !self.seat.is_busy() {
            self.asked.0.store(false, Ordering::Relaxed);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let (mut left, mut piece) = (MOST, [0; 4096]);
        while self.refused && left > 0 {
            let mut piece = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    left = left.saturating_sub(piece.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
