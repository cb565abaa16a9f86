//! Bodies that nobody wants any more.
//!
//! A node that refuses an upload half-way and closes the connection makes the
//! system reset it, and the client may lose the refusal before it has read it.
//! So the rest of a body is received and thrown away for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::web::watched_body::{Polled, Watch, WatchedBody};

/// How long an unwanted body is received.
const LIMIT: Duration = Duration::from_secs(10);

/// Answers a request whose body lingers when its handler drops it before its end. A client that
/// was never asked for the body may send it all the same or not, so that nobody knows where its
/// next request begins: it is told that the connection ends (RFC 9110, section 10.1.1).
pub(crate) async fn linger<A>(request: Request, answer: impl FnOnce(Request) -> A) -> Response
where
    A: Future<Output = Response>,
{
    if request.body().is_end_stream() {
        return answer(request).await;
    }
    let waits = request.headers().contains_key(header::EXPECT);
    let unasked = Arc::new(AtomicBool::new(waits));
    let lingering = Lingering {
        unasked: Arc::clone(&unasked),
        ended: false,
    };
    let request = request.map(|body| Body::new(WatchedBody::of(body, lingering)));
    let mut response = answer(request).await;
    if unasked.load(Ordering::Relaxed) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

struct Lingering {
    /// The client waits to be asked for the body.
    unasked: Arc<AtomicBool>,
    ended: bool,
}

impl Watch for Lingering {
    fn polled(&mut self, polled: &Polled) {
        self.unasked.store(false, Ordering::Relaxed);
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
    }

    fn dropped(&mut self, body: &mut Body) {
        if self.unasked.load(Ordering::Relaxed) || self.ended || body.is_end_stream() {
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
