//! Bodies that do as others do, while somebody watches them.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// What asking a body for its next frame came to.
pub(crate) type Polled = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// Who watches a body; dropped with it.
pub(crate) trait Watch: Send + Unpin + 'static {
    /// The body was asked for its next frame.
    fn polled(&mut self, _polled: &Polled) {}

    /// Nobody wants the rest of the body.
    fn dropped(&mut self, _body: &mut Body) {}
}

/// A body that is watched.
pub(crate) struct WatchedBody<W: Watch> {
    body: Body,
    watch: W,
}

impl<W: Watch> WatchedBody<W> {
    /// The same body, watched.
    pub(crate) fn of(body: Body, watch: W) -> Self {
        Self { body, watch }
    }
}

impl<W: Watch> http_body::Body for WatchedBody<W> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.watch.polled(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<W: Watch> Drop for WatchedBody<W> {
    fn drop(&mut self) {
        self.watch.dropped(&mut self.body);
    }
}
