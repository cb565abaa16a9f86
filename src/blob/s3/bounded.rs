//! How long an answer of the store may be, whatever it claims of itself: memory is taken for what
//! was asked for, and not for what a broken store or somebody on the way sends.

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use object_store::client::{HttpError, HttpErrorKind, HttpResponse, HttpResponseBody};
use reqwest::header::{HeaderMap, RANGE};
use reqwest::{Body, Response, StatusCode};

/// The longest answer that is no range of an object, in bytes: a page of a list, of a thousand
/// keys in XML.
const MOST: usize = 8 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many bytes a request with these headers asks for; None where that is all.
pub(super) fn range(asked: &HeaderMap) -> Option<usize> {
    let range = asked.get(RANGE)?.to_str().ok()?;
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

/// How long the answer may be to a request for so many bytes that has been answered so.
pub(super) fn most(range: Option<usize>, status: StatusCode) -> usize {
    let is_range = status == StatusCode::PARTIAL_CONTENT;
    range.filter(|_| is_range).unwrap_or(MOST)
}

/// The answer, which fails where it is longer, and at once where it says so itself: whoever reads
/// it would take as much memory.
pub(super) fn within(most: usize, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let failed = |cause: Failure| HttpError::new(HttpErrorKind::Unknown, Failed(cause));
    if answer.body().size_hint().lower() > most as u64 {
        return Err(failed("it is longer than what was asked for".into()));
    }
    Ok(answer.map(|body| HttpResponseBody::new(Limited::new(body, most).map_err(failed))))
}

/// The bytes of an answer that is no range of an object.
pub(super) async fn bytes(answer: Response) -> Result<Bytes, Failure> {
    let body = Limited::new(Body::from(answer), MOST);
    Ok(body.collect().await?.to_bytes())
}

/// Why an answer fails, as an error that has a size.
#[derive(Debug, thiserror::Error)]
#[error("an answer cannot be read: {0}")]
struct Failed(#[source] Failure);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_as_many_bytes_as_were_asked_for_and_all_else_a_bound() {
        let partial = StatusCode::PARTIAL_CONTENT;
        for (told, status, expected) in [
            ("bytes=0-0", partial, 1),
            ("bytes=10-19", partial, 10),
            ("bytes=10-19", StatusCode::OK, MOST),
            ("bytes=10-9", partial, MOST),
            ("bytes=10-", partial, MOST),
            ("bytes=0-99999999999999999999", partial, MOST),
        ] {
            let asked = HeaderMap::from_iter([(RANGE, told.parse().unwrap())]);
            assert_eq!(most(range(&asked), status), expected, "{told} {status}");
        }
        assert_eq!(most(range(&HeaderMap::new()), partial), MOST);
    }
}
