//! One line in the log for every request, when its answer has been sent or given up.
//!
//! Those of failures stand out, some of each kind in a minute: of more, which whoever sends many
//! requests can bring about, the lines are those of any other request, and the next one that stands
//! out tells how many there were.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;

use parking_lot::Mutex;
use uuid::Uuid;

use super::code::Code;
use super::error::Cause;
use crate::peer::lines::Lines;
use crate::web::clients::ClientAddress;
use crate::web::watched_body::{Polled, Watch, WatchedBody};

/// The header that names a request, in the log and to the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id taken over from a client, in bytes.
const MAX_ID_BYTES: usize = 64;

/// The lines of failures, of each kind some in a minute: by their code, where they have one.
#[derive(Default)]
pub(crate) struct FailureLines(Mutex<BTreeMap<Option<Code>, Arc<Lines>>>);

impl FailureLines {
    /// How many lines of this kind were left out since the last one; None where this one is, too.
    fn next(&self, code: Option<Code>) -> Option<u64> {
        let lines = Arc::clone(self.0.lock().entry(code).or_default());
        let mut next = None;
        lines.tell(|left_out| next = Some(left_out.unwrap_or_default()));
        next
    }
}

/// Gives a request its id and logs how it was answered.
pub(crate) async fn log<Answering: Future<Output = Response>>(
    request: Request,
    failures: &Arc<FailureLines>,
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
        code: None,
        sent: 0,
        cause: None,
        failures: Arc::clone(failures),
    };
    let mut response = answer(request).await;
    response.headers_mut().insert(REQUEST_ID, id);
    line.status = Some(response.status());
    line.code = response.extensions_mut().remove();
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
    let id = Uuid::from_u64_pair(first, last).simple();
    // Digits and letters make a header value.
    HeaderValue::from_str(id.encode_lower(&mut Uuid::encode_buffer()))
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
    /// Which refusal it is.
    code: Option<Code>,
    /// The bytes of the answer's body that were handed to the connection.
    sent: u64,
    cause: Option<Cause>,
    failures: Arc<FailureLines>,
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
        let is_failure = self.status.is_some_and(|it| it.is_server_error());
        let stands_out = is_failure.then(|| self.failures.next(self.code)).flatten();
        let left_out = stands_out.filter(|it| *it > 0);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    %method, path, status, sent, micros, client, id, cause, left_out, "request"
                )
            };
        }
        match self.status.filter(|_| stands_out.is_some()) {
            Some(StatusCode::INTERNAL_SERVER_ERROR) => line!(error),
            // A peer's fault, or a lack of room or time: worth a look, but nothing is broken.
            Some(_) => line!(warn),
            None => line!(info),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_of_failure_leaves_the_others_their_lines() {
        let lines = FailureLines::default();
        let told = (0..100).filter_map(|_| lines.next(Some(Code::OverQuota)));
        let told: Vec<_> = told.collect();
        assert!((1..100).contains(&told.len()), "{told:?}");
        assert_eq!(lines.next(Some(Code::OverQuota)), None);
        for other in [Some(Code::Damaged), None] {
            assert_eq!(lines.next(other), Some(0));
        }
    }
}
