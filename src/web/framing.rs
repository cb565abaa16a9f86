//! What every request has to say in one way, so that a proxy in front and this node never take it
//! for two different ones (RFC 9110, section 5.3; RFC 9112, sections 3.2 and 6.1).

use axum::body::Body;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};
use url::Host;

use super::code::Code;
use super::error_body::ErrorBody;

/// The fields of requests that stand in one line, beside `Host`.
const SINGLETONS: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ORIGIN,
    header::RANGE,
    HeaderName::from_static("upload-checksum"),
    HeaderName::from_static("upload-concat"),
    HeaderName::from_static("upload-length"),
    HeaderName::from_static("upload-metadata"),
    HeaderName::from_static("upload-offset"),
];

/// The refusal of a request that can be understood in several ways, or whose body cannot be read.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    let headers = request.headers();
    let (code, message) = if has_coding(headers) {
        let message = "the node knows no transfer coding but chunked";
        (Code::TransferCoded, message)
    } else if !has_one_host(request) {
        let message = "a request has one line Host, with a host and at most a port";
        (Code::BadRequest, message)
    } else if has_lines_too_many(headers) {
        let message = "a field that is no list stands in two lines of the head";
        (Code::BadRequest, message)
    } else {
        return None;
    };
    let body = ErrorBody::new(code, message).to_json();
    let mut refusal = Response::new(Body::from(body));
    *refusal.status_mut() = code.status();
    let headers = refusal.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(refusal)
}

/// Whether a field that is no list stands in two lines. Mostly every field stands in one.
fn has_lines_too_many(headers: &HeaderMap) -> bool {
    let lines_of = |name| headers.get_all(name).iter().count();
    headers.len() > headers.keys_len() && SINGLETONS.iter().any(|name| lines_of(name) > 1)
}

/// Whether a body is coded in another way than in chunks.
fn has_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    let is_chunked = |it: &HeaderValue| it.as_bytes().eq_ignore_ascii_case(b"chunked");
    first.is_some_and(|it| !is_chunked(it)) || codings.next().is_some()
}

/// Whether it says once for which host it is; those of HTTP/1.0 need not.
fn has_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_host),
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// Whether this is a host, perhaps with a port.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b".-_".contains(&it);
    let named = !name.is_empty() && name.bytes().all(is_plain);
    if named && port.bytes().all(|it| it.is_ascii_digit()) {
        return port.is_empty() || port.parse::<u16>().is_ok();
    }
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let port = text.strip_prefix(authority.host()).unwrap_or("@");
    let has_port = matches!(port, "" | ":") || authority.port_u16().is_some();
    has_port && !text.contains('@') && Host::parse(authority.host()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(lines: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::new(());
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        refusal(&request).map(|it| it.status().as_u16())
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_at_most_a_port() {
        for host in [
            "localhost",
            "localhost:5004",
            "localhost:",
            "my_nas.local",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:5004",
        ] {
            assert_eq!(status(&[("host", host)]), None, "{host}");
        }
        for host in [
            "",
            ":5004",
            "127.0.0.1/evil.example",
            "a@localhost",
            "localhost:99999",
            "localhost:x",
            "localhost:1:2",
            "localhost, evil.example",
            "not a host",
            "[::1",
            "a?b",
            "a#b",
            "a\\b",
        ] {
            assert_eq!(status(&[("host", host)]), Some(400), "{host}");
        }
        assert_eq!(status(&[]), Some(400));
        assert_eq!(status(&[("host", "a"), ("host", "a")]), Some(400));
    }

    #[test]
    fn what_is_no_list_stands_in_one_line() {
        for name in SINGLETONS {
            let line = (name.as_str(), "1");
            assert_eq!(status(&[("host", "a"), line]), None, "{name}");
            assert_eq!(status(&[("host", "a"), line, line]), Some(400), "{name}");
        }
    }

    #[test]
    fn a_body_comes_in_chunks_or_as_it_is() {
        for coding in ["chunked", "Chunked"] {
            let line = ("transfer-encoding", coding);
            assert_eq!(status(&[("host", "a"), line]), None, "{coding}");
        }
        for coding in ["gzip, chunked", "gzip", "identity", "chunked, chunked"] {
            let line = ("transfer-encoding", coding);
            assert_eq!(status(&[("host", "a"), line]), Some(501), "{coding}");
        }
        let twice = [("host", "a"), ("transfer-encoding", "chunked")];
        assert_eq!(status(&[twice[0], twice[1], twice[1]]), Some(501));
    }
}
