//! Bodies that nobody wants any more.
//!
//! A node that refuses an upload half-way and closes the connection makes the
//! system reset it, and the client may lose the refusal before it has read it.
//! So the rest of a body is received and thrown away for a while.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

/// How long an unwanted body is received.
const LIMIT: Duration = Duration::from_secs(10);

/// Makes the body of a request linger when its handler drops it before its end.
pub(super) fn linger(request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    let waits = request.headers().contains_key(header::EXPECT);
    request.map(|body| {
        Body::new(Lingering {
            body,
            unasked: waits,
            ended: false,
        })
    })
}

struct Lingering {
    body: Body,
    /// The client waits to be asked for the body (RFC 9110, section 10.1.1).
    unasked: bool,
    ended: bool,
}

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.unasked = false;
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.unasked || self.ended || self.body.is_end_stream() {
            return;
        }
        let mut body = std::mem::take(&mut self.body);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(LIMIT, async move {
                while let Some(Ok(_)) = body.frame().await {}
            }));
        }
    }
}
