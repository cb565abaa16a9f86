//! One line in the log for every request, when its answer has been sent or given up.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;

use super::error::Cause;
use crate::web::clients::ClientAddress;
use crate::web::watched_body::{Polled, Watch, WatchedBody};

/// The header that names a request, in the log and to the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id taken over from a client, in bytes.
const MAX_ID_BYTES: usize = 64;

/// Gives a request its id and logs how it was answered.
pub(crate) async fn log<Answering: Future<Output = Response>>(
    request: Request,
    answer: impl FnOnce(Request) -> Answering,
) -> Response {
    let id = request_id(&request);
    let mut line = Line {
        id: id.clone(),
        client: request.extensions().get().copied(),
        method: request.method().clone(),
        uri: request.uri().clone(),
        began: Instant::now(),
        status: None,
        sent: 0,
        cause: None,
    };
    let mut response = answer(request).await;
    response.headers_mut().insert(REQUEST_ID, id);
    line.status = Some(response.status());
    line.cause = response.extensions_mut().remove();
    response.map(|body| Body::new(WatchedBody::of(body, line)))
}

/// The id that the client gives, if it can stand in a log, or a new one.
fn request_id(request: &Request) -> HeaderValue {
    let sane = |id: &&HeaderValue| {
        (1..=MAX_ID_BYTES).contains(&id.len())
            && id
                .as_bytes()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    match request.headers().get(REQUEST_ID).filter(sane) {
        Some(id) => id.clone(),
        None => next_id(),
    }
}

/// An id that most likely no other request has, here or elsewhere. Nobody can guess the next
/// one from it, nor how many there were: it is a count under a key that this process alone has,
/// which takes no call of the system as a random number would.
fn next_id() -> HeaderValue {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [first, last] = [0_u8, 1].map(|half| KEY.hash_one((half, count)));
    // Digits, letters and hyphens make a header value.
    HeaderValue::try_from(format!("{first:016x}-{last:016x}"))
        .unwrap_or(HeaderValue::from_static("none"))
}

/// What the log will say; written on drop.
struct Line {
    id: HeaderValue,
    client: Option<ClientAddress>,
    method: Method,
    uri: Uri,
    began: Instant,
    /// None while there is no answer: the client may leave before.
    status: Option<StatusCode>,
    /// The bytes of the answer's body that were handed to the connection.
    sent: u64,
    cause: Option<Cause>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let id = self.id.to_str().unwrap_or_default();
        let client = self.client.map(tracing::field::display);
        let status = self.status.map(|it| it.as_u16());
        let cause = self.cause.as_ref().map(|it| it.0.as_str());
        let micros = self.began.elapsed().as_micros();
        let path = self.uri.path();
        let Self { method, sent, .. } = self;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(%method, path, status, sent, micros, client, id, cause, "request")
            };
        }
        match self.status {
            Some(StatusCode::INTERNAL_SERVER_ERROR) => line!(error),
            // A peer's fault, or a lack of room or time: worth a look, but nothing is broken.
            Some(status) if status.is_server_error() => line!(warn),
            _ => line!(info),
        }
    }
}

/// Counts what is sent of a body, and says in the log when it fails.
impl Watch for Line {
    fn polled(&mut self, polled: &Polled) {
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(Some(Err(error))) => self.cause = Some(Cause::of(error)),
            Poll::Ready(None) | Poll::Pending => {}
        }
    }
}
