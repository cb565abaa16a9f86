//! Who may use the node from a browser.
//!
//! A page of any site can send requests to a node on localhost. Browsers tell the
//! page's origin, so that those of strangers can be refused before anything
//! happens; for the others the answers carry the CORS headers of the Fetch standard.
//! A page may also give its own domain the address 127.0.0.1 (DNS rebinding) and is
//! then of the node's origin for the browser; its domain in `Host` gives it away.
//!
//! And a page may have its browser fetch what the node has as a picture, a script, a frame or
//! whatever else: it reads nothing of that, but sees whether it was there. Browsers tell of such
//! requests where they come from (Fetch Metadata), unless the node is reached by plain HTTP from
//! another machine; there its answers have the browser keep them from the page all the same
//! (`Cross-Origin-Resource-Policy`), whatever they are.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use url::{Host, Origin, Url};

use super::error::ApiError;
use super::representation::VERIFIED;
use super::request_log::REQUEST_ID;
use crate::base_url::BaseUrl;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What a browser loads into a page of another site, though it is a document.
const FRAMES: [&str; 5] = ["embed", "fencedframe", "frame", "iframe", "object"];
/// How long a browser may remember the answer to a preflight request.
const PREFLIGHT_AGE: Duration = Duration::from_mins(10);

/// An origin that `--cors-origin` adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Every origin, `*`.
    Any,
    /// This one.
    One(Origin),
}

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an origin is * or http:// or https://, a host and at most a port")]
pub struct InvalidOrigin;

impl FromStr for AllowedOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let url: BaseUrl = text.parse().map_err(|_| InvalidOrigin)?;
        let origin = url.origin();
        let only_origin = origin.ascii_serialization() == url.to_string();
        only_origin
            .then_some(Self::One(origin))
            .ok_or(InvalidOrigin)
    }
}

/// Which hosts and origins requests may come with.
pub(crate) struct Guard {
    /// Where the node is reached.
    pub base_url: BaseUrl,
    /// Origins allowed beside the node's own and those of this machine.
    pub allowed: Vec<AllowedOrigin>,
    /// Whether clients speak TLS with it.
    pub over_tls: bool,
    /// Whether the node listens on loopback only, where every name in `Host`
    /// must mean this machine.
    pub on_loopback: bool,
}

/// The host, and perhaps the port, that the client means to talk to; None if it does not
/// tell.
fn host_of(request: &Request) -> Result<Option<&str>, ApiError> {
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.as_str()));
    }
    let host = request.headers().get(header::HOST);
    let host = host.map(|host| host.to_str().map_err(|_| ApiError::Host));
    host.transpose()
}

/// Whether a host is an IPv4 address or localhost, with or without a port: most are, and
/// need no closer look.
fn is_plain(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let named = name == "localhost" || name.parse::<Ipv4Addr>().is_ok();
    named && port.parse::<u16>().is_ok()
}

impl Guard {
    /// Refuses what no program sends and no page of an allowed origin.
    pub(crate) fn check(&self, request: &Request) -> Result<(), ApiError> {
        let origin = request.headers().get(header::ORIGIN);
        let host = host_of(request)?;
        if origin.is_none() && host.is_none_or(is_plain) {
            return self.check_embedding(request);
        }
        let target = host.map(|host| self.target_of(host)).transpose()?;
        if !target.as_ref().is_none_or(|it| self.takes_target(it)) {
            return Err(ApiError::Host);
        }
        let Some(origin) = origin else {
            return self.check_embedding(request);
        };
        let origin = origin.to_str().map_err(|_| ApiError::Origin)?;
        let is_vouched_for = is_same_site(request) || is_forwarded_from(request, origin);
        let is_behind_proxy = is_vouched_for && target.as_ref().is_some_and(is_no_name);
        (is_behind_proxy || self.takes_origin(origin, target.as_ref()))
            .then_some(())
            .ok_or(ApiError::Origin)
    }

    /// Refuses what a browser fetches for a page of another site, without leave; where it goes
    /// there itself, as by a link, the page is left.
    fn check_embedding(&self, request: &Request) -> Result<(), ApiError> {
        let site = request.headers().get(SEC_FETCH_SITE);
        let is_foreign = site.is_some_and(|it| it == "cross-site" || it == "same-site");
        (!is_foreign || is_visit(request) || self.embedding(request.headers()).is_some())
            .then_some(())
            .ok_or(ApiError::Origin)
    }

    /// Who may show what is answered to a request with these headers on pages of its own, beside
    /// this node; None where nobody may.
    pub(crate) fn embedding(&self, headers: &HeaderMap) -> Option<Embedder> {
        if self.allowed.contains(&AllowedOrigin::Any) {
            return Some(Embedder::Anybody);
        }
        // No page can have its browser tell of another page.
        let page = headers.get(header::REFERER)?.to_str().ok()?;
        let origin = page.parse::<Url>().ok()?.origin().ascii_serialization();
        self.takes_origin(&origin, None)
            .then_some(Embedder::Referer)
    }

    fn target_of(&self, host: &str) -> Result<BaseUrl, ApiError> {
        let scheme = if self.over_tls { "https" } else { "http" };
        let target = format!("{scheme}://{host}").parse();
        target.map_err(|_| ApiError::Host)
    }

    fn takes_target(&self, target: &BaseUrl) -> bool {
        match target.host() {
            Some(Host::Domain(_)) if self.on_loopback => {
                target.host() == self.base_url.host() || is_loopback(target)
            }
            _ => true,
        }
    }

    fn takes_origin(&self, origin: &str, target: Option<&BaseUrl>) -> bool {
        if self.allowed.contains(&AllowedOrigin::Any) {
            return true;
        }
        let Ok(page) = origin.parse::<BaseUrl>() else {
            return false;
        };
        is_loopback(&page)
            || page.origin() == self.base_url.origin()
            || self.allowed.contains(&AllowedOrigin::One(page.origin()))
            || target.is_some_and(|target| is_own(&page, target))
    }
}

/// Who may show something on a page of another site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Embedder {
    /// Every site.
    Anybody,
    /// The site of the page that `Referer` names, and others perhaps not.
    Referer,
}

/// Whether the browser goes to where the request goes, and shows that in place of the page; or
/// saves it.
fn is_visit(request: &Request) -> bool {
    let told = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let is_framed = |it: &[u8]| FRAMES.iter().any(|frame| frame.as_bytes() == it);
    request.method().is_safe()
        && told(SEC_FETCH_MODE) == Some(b"navigate")
        && !told(SEC_FETCH_DEST).is_some_and(is_framed)
}

/// Whether a page came from the address that the request goes to. Addresses only:
/// a name may have been rebound.
fn is_own(page: &BaseUrl, target: &BaseUrl) -> bool {
    !matches!(page.host(), Some(Host::Domain(_)))
        && page.host() == target.host()
        && page.port() == target.port()
}

/// Whether a browser says that the page came from where the request goes to (Fetch Metadata,
/// section 2.3), which no page can have it say. It says so to a name that was rebound, too.
fn is_same_site(request: &Request) -> bool {
    let site = request.headers().get(SEC_FETCH_SITE);
    site.is_some_and(|it| it == "same-origin")
}

/// Whether a proxy says that the request came for the host of the page. No page of another host can
/// have that sent: a browser asks before it sends such a header there, and is refused.
fn is_forwarded_from(request: &Request, origin: &str) -> bool {
    let forwarded = request.headers().get(FORWARDED_HOST);
    let host = origin.split_once("://").map(|(_, host)| host.as_bytes());
    forwarded.is_some_and(|it| Some(it.as_bytes()) == host)
}

/// Whether an address cannot have been rebound. Where a page of another host is of the same
/// origin, a proxy has put this address in the place of the name that the browser asked for.
fn is_no_name(target: &BaseUrl) -> bool {
    is_loopback(target) || !matches!(target.host(), Some(Host::Domain(_)))
}

/// Whether an address always means the machine itself (RFC 6761, section 6.3).
fn is_loopback(url: &BaseUrl) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The CORS headers for requests that the guard has let through, and the answers
/// to preflight requests. Pages may read these headers beside those of the protocol.
pub(crate) fn cors(also_exposed: impl IntoIterator<Item = HeaderName>) -> CorsLayer {
    let exposed = [
        header::ACCEPT_RANGES,
        header::CONTENT_DISPOSITION,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::ETAG,
        REQUEST_ID,
        VERIFIED,
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.into_iter().chain(also_exposed).collect::<Vec<_>>())
        .max_age(PREFLIGHT_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str], on_loopback: bool) -> Guard {
        Guard {
            base_url: "http://files.example:5004".parse().unwrap(),
            allowed: allowed.iter().map(|it| it.parse().unwrap()).collect(),
            over_tls: false,
            on_loopback,
        }
    }

    fn url(text: &str) -> BaseUrl {
        text.parse().unwrap()
    }

    /// A request with these lines in its head.
    fn request(method: Method, lines: &[(HeaderName, &str)]) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        *request.method_mut() = method;
        for (name, value) in lines {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn own_and_loopback_origins_are_allowed() {
        let guard = guard(&["https://app.example"], false);
        let target = url("http://192.168.1.5:5004");
        for origin in [
            "http://files.example:5004",
            "http://localhost",
            "https://localhost:3000",
            "http://app.localhost:3000",
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://[::1]:8080",
            "http://192.168.1.5:5004",
            "https://app.example",
            "https://app.example:443",
        ] {
            assert!(guard.takes_origin(origin, Some(&target)), "{origin}");
        }
    }

    #[test]
    fn other_origins_are_refused_unless_all_are_allowed() {
        let target = url("http://rebound.example:5004");
        for origin in [
            "null",
            "",
            "http://rebound.example:5004",
            "http://files.example",
            "https://files.example:5004",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://192.168.1.5:5004",
            "file://",
        ] {
            assert!(
                !guard(&[], false).takes_origin(origin, Some(&target)),
                "{origin}"
            );
            assert!(guard(&["*"], false).takes_origin(origin, None), "{origin}");
        }
    }

    #[test]
    fn a_page_is_allowed_that_a_proxy_says_the_request_came_for() {
        for (host, forwarded, taken) in [
            ("127.0.0.1:5004", "page.example:8443", true),
            ("127.0.0.1:5004", "page.example", false),
            ("127.0.0.1:5004", "files.example", false),
            ("rebound.example:5004", "page.example:8443", false),
        ] {
            let lines = [
                (header::HOST, host),
                (header::ORIGIN, "https://page.example:8443"),
                (FORWARDED_HOST, forwarded),
            ];
            let request = request(Method::POST, &lines);
            let checked = guard(&[], false).check(&request);
            assert_eq!(checked.is_ok(), taken, "{host}, {forwarded}");
        }
    }

    #[test]
    fn a_page_behind_a_proxy_that_puts_its_own_host_is_allowed_and_no_rebound_name() {
        let (same, other) = ("same-origin", "cross-site");
        for (host, site, taken) in [
            ("127.0.0.1:5004", same, true),
            ("localhost:5004", same, true),
            ("10.0.0.7:5004", same, true),
            ("127.0.0.1:5004", other, false),
            ("127.0.0.1:5004", "same-site", false),
            ("127.0.0.1:5004", "none", false),
            ("rebound.example:5004", same, false),
            ("page.example", same, false),
        ] {
            let lines = [
                (header::HOST, host),
                (header::ORIGIN, "https://page.example"),
                (SEC_FETCH_SITE, site),
            ];
            let request = request(Method::POST, &lines);
            let checked = guard(&[], false).check(&request);
            assert_eq!(checked.is_ok(), taken, "{host}, {site}");
        }
    }

    #[test]
    fn what_is_fetched_for_a_page_of_another_site_is_refused_and_who_goes_there_is_not() {
        for (site, mode, dest, taken) in [
            ("cross-site", "no-cors", "image", false),
            ("cross-site", "no-cors", "script", false),
            ("cross-site", "no-cors", "empty", false),
            ("cross-site", "no-cors", "video", false),
            ("cross-site", "cors", "font", false),
            ("cross-site", "navigate", "iframe", false),
            ("cross-site", "navigate", "embed", false),
            ("cross-site", "navigate", "object", false),
            ("same-site", "no-cors", "image", false),
            ("cross-site", "navigate", "document", true),
            ("cross-site", "navigate", "empty", true),
            ("same-site", "navigate", "document", true),
            ("same-origin", "no-cors", "image", true),
            ("same-origin", "navigate", "iframe", true),
            ("none", "navigate", "document", true),
        ] {
            for host in ["127.0.0.1:5004", "files.example:5004", "[::1]:5004"] {
                let lines = [
                    (header::HOST, host),
                    (SEC_FETCH_SITE, site),
                    (SEC_FETCH_MODE, mode),
                    (SEC_FETCH_DEST, dest),
                ];
                let request = request(Method::GET, &lines);
                let told = format!("{host}, {site}, {mode}, {dest}");
                assert_eq!(guard(&[], true).check(&request).is_ok(), taken, "{told}");
                assert!(guard(&["*"], true).check(&request).is_ok(), "{told}");
            }
        }
        let posted = [
            (header::HOST, "localhost"),
            (SEC_FETCH_SITE, "cross-site"),
            (SEC_FETCH_MODE, "navigate"),
        ];
        let posted = request(Method::POST, &posted);
        assert!(guard(&[], true).check(&posted).is_err());
    }

    #[test]
    fn a_site_that_is_named_may_embed_what_its_pages_fetch() {
        let guard = guard(&["https://wiki.example"], false);
        for (page, taken) in [
            ("https://wiki.example/", true),
            ("https://wiki.example/a/page?of=it", true),
            ("http://localhost:3000/", true),
            ("http://files.example:5004/", true),
            ("http://wiki.example/", false),
            ("https://wiki.example.evil.example/", false),
            ("https://evil.example/?https://wiki.example/", false),
            ("https://wiki.example@evil.example/", false),
            ("about:blank", false),
            ("", false),
        ] {
            let lines = [
                (header::HOST, "files.example:5004"),
                (header::REFERER, page),
                (SEC_FETCH_SITE, "cross-site"),
                (SEC_FETCH_MODE, "no-cors"),
            ];
            let request = request(Method::GET, &lines);
            assert_eq!(guard.check(&request).is_ok(), taken, "{page}");
            let embedder = taken.then_some(Embedder::Referer);
            assert_eq!(guard.embedding(request.headers()), embedder, "{page}");
        }
    }

    #[test]
    fn on_loopback_every_name_must_mean_this_machine() {
        for (target, taken) in [
            ("http://localhost:5004", true),
            ("http://a.localhost", true),
            ("http://files.example", true),
            ("http://127.0.0.1:5004", true),
            ("http://[::1]:5004", true),
            ("http://10.0.0.1", true),
            ("http://rebound.example:5004", false),
        ] {
            assert_eq!(
                guard(&[], true).takes_target(&url(target)),
                taken,
                "{target}"
            );
            assert!(guard(&[], false).takes_target(&url(target)), "{target}");
        }
    }

    #[test]
    fn a_host_without_a_port_means_that_of_the_scheme() {
        for (over_tls, own, other) in [
            (false, "http://192.168.1.5", "https://192.168.1.5"),
            (true, "https://192.168.1.5", "http://192.168.1.5"),
        ] {
            let guard = Guard {
                over_tls,
                ..guard(&[], false)
            };
            let target = guard.target_of("192.168.1.5").unwrap();
            assert!(guard.takes_origin(own, Some(&target)), "{own}");
            assert!(!guard.takes_origin(other, Some(&target)), "{other}");
        }
    }

    #[test]
    fn only_origins_can_be_allowed() {
        for text in [
            "",
            "null",
            "app.example",
            "https://app.example/path",
            "ftp://app.example",
        ] {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
