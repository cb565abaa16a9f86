//! Where a node is reached: the start of every URL it hands out.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use url::Position::{AfterHost, BeforePath};
use url::{Host, Url};

use crate::text_form::serde_as_text;

/// The port on which a node listens that is told of no other.
pub const NODE_PORT: u16 = 5004;

/// An `http` or `https` address, with a path prefix where a proxy adds one.
///
/// The text form has no slash at its end, so that a path can be put behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl(Url);

/// A text that is no base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an http:// or https:// URL of a host with at most a port and a path")]
pub struct InvalidBaseUrl;

/// A text that names no peer or server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host with its port, such as 10.0.0.5:5004 or [fd00::5]:5004, or an http:// or https:// URL"
)]
pub struct InvalidPeerAddress;

impl BaseUrl {
    /// Scheme, host and port, as a browser sends them in `Origin`.
    pub fn origin(&self) -> url::Origin {
        self.0.origin()
    }

    /// The host: a domain in lower case or an IP address.
    pub fn host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    /// Whether the host is a name that has to be looked up, and no address or `localhost`.
    pub fn has_name(&self) -> bool {
        matches!(self.host(), Some(Host::Domain(name)) if name != "localhost")
    }

    /// Whether this machine itself is there, by an address of loopback or a name that means one
    /// (RFC 6761, section 6.3), however it is written.
    pub fn is_loopback(&self) -> bool {
        match self.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => IpAddr::from(ip).to_canonical().is_loopback(),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
            None => false,
        }
    }

    /// Whether it is reached over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The same host and port, over TLS.
    #[must_use]
    pub fn over_tls(&self) -> Self {
        let (port, mut url) = (self.port(), self.0.clone());
        // Both hold for any address of the web: neither scheme is without a host or a port.
        if url.set_scheme("https").is_ok() && url.set_port(port).is_ok() {
            return Self(url);
        }
        self.clone()
    }

    /// Whether there is a path behind host and port.
    pub fn has_path(&self) -> bool {
        self.0.path() != "/"
    }

    /// The port, the usual one of the scheme if none is given.
    pub fn port(&self) -> Option<u16> {
        self.0.port_or_known_default()
    }

    /// The text form with the port, also where that is the usual one of the scheme.
    pub fn with_port(&self) -> String {
        let port = self.port().map_or_else(String::new, |it| format!(":{it}"));
        let (host, path) = (&self.0[..AfterHost], &self.0[BeforePath..]);
        format!("{host}{port}{}", path.trim_end_matches('/'))
    }
}

impl BaseUrl {
    /// The address of a node as people write it: `http://` may be left out, and of one of this
    /// machine all but the port. A host alone is a node at the usual port of nodes; one with a path
    /// is a proxy, at that of the web.
    pub fn written(text: &str) -> Result<Self, InvalidBaseUrl> {
        let text = text.trim();
        let port = text.strip_prefix(':').unwrap_or(text);
        if !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit()) {
            return format!("http://localhost:{port}").parse();
        }
        if text.contains("://") {
            return text.parse();
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return format!("http://[{text}]:{NODE_PORT}").parse();
        }
        let mut written: Self = format!("http://{text}").parse()?;
        if !has_port(text) && !written.has_path() {
            let set = written.0.set_port(Some(NODE_PORT));
            set.map_err(|()| InvalidBaseUrl)?;
        }
        Ok(written)
    }
}

impl BaseUrl {
    /// The address of a peer or server as people write it: `http://` may be left out where there
    /// is a port. A host alone is refused, since the port of the web is hardly ever meant.
    pub fn of_peer(text: &str) -> Result<Self, InvalidPeerAddress> {
        let text = text.trim();
        let is_told = text.contains("://") || has_port(text);
        let url = is_told.then(|| Self::written(text).ok()).flatten();
        url.ok_or(InvalidPeerAddress)
    }
}

/// Whether what stands before the first slash ends with a port, or is one.
fn has_port(text: &str) -> bool {
    let place = text.split('/').next().unwrap_or_default();
    let (host, port) = place.rsplit_once(':').unwrap_or(("", place));
    // Of an IPv6 address without brackets nobody can tell where the port begins.
    let is_host = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
    is_host && !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit())
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text).map_err(|_| InvalidBaseUrl)?;
        let web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        (web && plain).then_some(Self(url)).ok_or(InvalidBaseUrl)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

serde_as_text!(BaseUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_put_behind_the_text_form() {
        for (text, shown) in [
            ("http://localhost:5004", "http://localhost:5004"),
            ("http://localhost:5004/", "http://localhost:5004"),
            (
                "https://Example.com:443/larder/",
                "https://example.com/larder",
            ),
            ("http://[::1]:5004", "http://[::1]:5004"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for (text, address) in [
            ("localhost:5011", Some("http://localhost:5011")),
            ("127.0.0.1:5011", Some("http://127.0.0.1:5011")),
            ("[::1]:5011", Some("http://[::1]:5011")),
            ("localhost", Some("http://localhost:5004")),
            ("files.example", Some("http://files.example:5004")),
            ("files.example/", Some("http://files.example:5004")),
            ("[::1]", Some("http://[::1]:5004")),
            ("localhost:80", Some("http://localhost")),
            ("http://localhost", Some("http://localhost")),
            ("files.example/larder/", Some("http://files.example/larder")),
            ("https://files.example", Some("https://files.example")),
            ("5011", Some("http://localhost:5011")),
            (":5011", Some("http://localhost:5011")),
            ("99999", None),
            ("", None),
            (":", None),
            ("ftp://a", None),
            ("user@host:1", None),
        ] {
            let written = BaseUrl::written(text).map(|it| it.to_string()).ok();
            assert_eq!(written.as_deref(), address, "{text}");
        }
    }

    #[test]
    fn a_peer_is_named_with_its_port_or_by_a_url() {
        for (text, address) in [
            ("10.0.0.5:8000", Some("http://10.0.0.5:8000")),
            ("10.0.0.5:80", Some("http://10.0.0.5")),
            (" peer.example:5004 ", Some("http://peer.example:5004")),
            ("localhost:5004", Some("http://localhost:5004")),
            ("http:5004", Some("http://http:5004")),
            ("[::1]:8000", Some("http://[::1]:8000")),
            ("[fd00::5]:5004/", Some("http://[fd00::5]:5004")),
            (
                "peer.example:5004/larder",
                Some("http://peer.example:5004/larder"),
            ),
            ("5004", Some("http://localhost:5004")),
            (":5004", Some("http://localhost:5004")),
            ("http://peer.example", Some("http://peer.example")),
            (
                "https://peer.example/larder",
                Some("https://peer.example/larder"),
            ),
            ("HTTPS://peer.example", Some("https://peer.example")),
            ("peer.example", None),
            ("peer.example/larder", None),
            ("10.0.0.5", None),
            ("[fd00::5]", None),
            ("fd00::5", None),
            ("fd00::5:5004", None),
            ("fe80::1%eth0:5004", None),
            ("peer.example:", None),
            ("peer.example:port", None),
            ("peer.example:99999", None),
            ("peer.example:5004?a", None),
            ("user@peer.example:5004", None),
            ("http//peer.example:5004", None),
            ("//peer.example:5004", None),
            ("htp://peer.example:5004", None),
            ("http://", None),
            ("a b:5004", None),
            ("", None),
        ] {
            let peer = BaseUrl::of_peer(text).map(|it| it.to_string()).ok();
            assert_eq!(peer.as_deref(), address, "{text}");
        }
    }

    #[test]
    fn loopback_is_found_in_every_form() {
        for (text, is_loopback) in [
            ("http://127.0.0.1", true),
            ("http://127.0.0.1.:80", true),
            ("http://127.9.9.9", true),
            ("http://127.1", true),
            ("http://2130706433", true),
            ("http://0x7f.1", true),
            ("http://0177.0.0.1", true),
            ("http://[::1]", true),
            ("http://[0:0:0:0:0:0:0:1]:80", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://LocalHost", true),
            ("http://localhost.", true),
            ("http://any.localhost", true),
            ("http://%6cocalhost", true),
            ("http://128.0.0.1", false),
            ("http://[::2]", false),
            ("http://localhost.example", false),
            ("http://notlocalhost", false),
        ] {
            let url = text.parse::<BaseUrl>().unwrap();
            assert_eq!(url.is_loopback(), is_loopback, "{text}");
        }
    }

    #[test]
    fn the_port_is_told_where_nobody_has_written_it() {
        for (text, with_port) in [
            ("http://localhost", "http://localhost:80"),
            ("https://[::1]/a/", "https://[::1]:443/a"),
            ("http://localhost:5004/", "http://localhost:5004"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().with_port(), with_port);
        }
    }

    #[test]
    fn over_tls_host_and_port_stay_what_they_are() {
        for (text, over_tls) in [
            ("http://localhost:5004", "https://localhost:5004"),
            ("http://localhost", "https://localhost:80"),
            ("http://localhost:443", "https://localhost"),
            ("https://localhost", "https://localhost"),
            ("https://[::1]:5004/a", "https://[::1]:5004/a"),
        ] {
            let url = text.parse::<BaseUrl>().unwrap().over_tls();
            assert_eq!(url.to_string(), over_tls, "{text}");
        }
    }

    #[test]
    fn a_slash_alone_is_no_path() {
        for (text, has_path) in [
            ("http://host", false),
            ("http://host/", false),
            ("http://host/.", false),
            ("http://host/larder", true),
            ("http://host//", true),
            ("http://host/;", true),
        ] {
            assert_eq!(
                text.parse::<BaseUrl>().unwrap().has_path(),
                has_path,
                "{text}"
            );
        }
    }

    #[test]
    fn only_plain_web_addresses_parse() {
        for text in [
            "",
            "localhost:5004",
            "ftp://localhost",
            "file:///etc/passwd",
            "http://",
            "http://user@host",
            "http://:secret@host",
            "http://host?query",
            "http://host/#part",
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(InvalidBaseUrl), "{text}");
        }
    }
}
