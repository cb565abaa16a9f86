//! Bodies that nobody wants any more.
//!
//! A node that refuses an upload half-way and closes the connection makes the
//! system reset it, and the client may lose the refusal before it has read it.
//! So the rest of a body is received and thrown away for a while.

use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::web::watched_body::{Polled, Watch, WatchedBody};

/// How long an unwanted body is received.
const LIMIT: Duration = Duration::from_secs(10);

/// Makes the body of a request linger when its handler drops it before its end.
pub(crate) fn linger(request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    let waits = request.headers().contains_key(header::EXPECT);
    let lingering = Lingering {
        unasked: waits,
        ended: false,
    };
    request.map(|body| Body::new(WatchedBody::of(body, lingering)))
}

struct Lingering {
    /// The client waits to be asked for the body (RFC 9110, section 10.1.1).
    unasked: bool,
    ended: bool,
}

impl Watch for Lingering {
    fn polled(&mut self, polled: &Polled) {
        self.unasked = false;
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
    }

    fn dropped(&mut self, body: &mut Body) {
        if self.unasked || self.ended || body.is_end_stream() {
            return;
        }
        let mut body = std::mem::take(body);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(LIMIT, async move {
                while let Some(Ok(_)) = body.frame().await {}
            }));
        }
    }
}
