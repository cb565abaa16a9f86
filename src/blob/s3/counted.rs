//! Which request to the store is which, and what its answer counts as.

use object_store::client::HttpRequest;
use reqwest::{Method, StatusCode};

use crate::metrics::servers::{BucketRequests, Outcome, Requests};

/// What a request counts as.
pub(super) fn kind<'a>(requests: &'a BucketRequests, request: &HttpRequest) -> &'a Requests {
    let query = request.uri().query().unwrap_or_default();
    of(requests, request.method(), query)
}

fn of<'a>(all: &'a BucketRequests, method: &Method, query: &str) -> &'a Requests {
    let has = |name: &str| {
        let mut names = query.split('&').map(|it| it.split('=').next());
        names.any(|it| it == Some(name))
    };
    match *method {
        Method::PUT if has("partNumber") => &all.upload_part,
        Method::PUT => &all.put_object,
        Method::POST if has("uploads") => &all.create_multipart_upload,
        Method::POST => &all.complete_multipart_upload,
        Method::DELETE if has("uploadId") => &all.abort_multipart_upload,
        Method::DELETE => &all.delete_object,
        Method::HEAD => &all.head_object,
        _ if has("list-type") => &all.list_objects,
        _ => &all.get_object,
    }
}

/// What an answer counts as.
pub(super) fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::NOT_FOUND => Outcome::Missing,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Outcome::Unavailable,
        it if it.is_server_error() => Outcome::Unavailable,
        it if it.is_client_error() => Outcome::Refused,
        _ => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_to_try_again_is_none() {
        for (status, expected) in [
            (200, Outcome::Done),
            (206, Outcome::Done),
            (403, Outcome::Refused),
            (404, Outcome::Missing),
            (416, Outcome::Refused),
            (429, Outcome::Unavailable),
            (500, Outcome::Unavailable),
            (503, Outcome::Unavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(outcome(status), expected, "{status}");
        }
    }
}
