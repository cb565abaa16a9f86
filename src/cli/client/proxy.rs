//! Which proxy stands between a command and its node.
//!
//! The environment names one as for curl: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`,
//! and all but the first in capitals, too. `HTTP_PROXY` counts for nothing: to what a web server
//! starts (CGI) it is a header that anybody sends. An empty one is none. A node of this machine is
//! never asked through a proxy: that would learn the token and could not reach the node anyway.

use std::net::{IpAddr, ToSocketAddrs};

use axum::http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use url::Host;

use crate::base_url::BaseUrl;

/// The proxy that is asked for a node.
pub(super) struct Between(Intercept);

impl Between {
    /// The proxy that the environment names for this node. Blocks, where a name has to be looked
    /// up.
    pub(super) fn of(node: &BaseUrl) -> Option<Self> {
        let named = |name: &str| std::env::var(name).ok();
        let proxy = named_for(node, named)?;
        (!is_here(node)).then_some(Self(proxy))
    }

    /// Its scheme, host and port, without the password that it may have.
    pub(super) fn told(&self) -> String {
        let uri = self.0.uri();
        let port = uri.port().map(|it| format!(":{it}")).unwrap_or_default();
        let scheme = uri.scheme_str().unwrap_or("http");
        format!("{scheme}://{}{port}", uri.host().unwrap_or_default())
    }

    /// The same for the client that asks.
    pub(super) fn for_client(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(self.told())?;
        Ok(match self.0.basic_auth() {
            Some(password) => proxy.custom_http_auth(password.clone()),
            None => proxy,
        })
    }
}

/// The proxy that variables of these values name for a node.
fn named_for(node: &BaseUrl, named: impl Fn(&str) -> Option<String>) -> Option<Intercept> {
    let uri: Uri = node.to_string().parse().ok()?;
    let first = |names: &[&str]| {
        let values = names.iter().filter_map(|it| named(it));
        values.into_iter().find(|it| !it.is_empty())
    };
    let of_scheme = match uri.scheme_str() {
        Some("https") => first(&["https_proxy", "HTTPS_PROXY"]),
        _ => first(&["http_proxy"]),
    };
    let proxy = of_scheme.or_else(|| first(&["all_proxy", "ALL_PROXY"]))?;
    let excepted = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    Matcher::builder()
        .all(proxy)
        .no(excepted)
        .build()
        .intercept(&uri)
}

/// Whether a node is on this machine: its address is a loopback one, or its name means only such.
fn is_here(node: &BaseUrl) -> bool {
    match node.host() {
        Some(Host::Ipv4(ip)) => is_loopback(ip.into()),
        Some(Host::Ipv6(ip)) => is_loopback(ip.into()),
        Some(Host::Domain(name)) => is_localhost(name) || means_loopback(name, node.port()),
        None => false,
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    // The unspecified address leads to this machine, too.
    ip.is_loopback() || ip.is_unspecified()
}

/// Whether a name is for this machine alone (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether this system knows a name as one of its own.
fn means_loopback(name: &str, port: Option<u16>) -> bool {
    let found = (name, port.unwrap_or(0)).to_socket_addrs();
    let mut found = found.into_iter().flatten().peekable();
    found.peek().is_some() && found.all(|it| is_loopback(it.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_count_as_for_curl() {
        const PLAIN: &str = "http://h.example";
        const OVER_TLS: &str = "https://h.example";
        const THERE: Option<&str> = Some("http://p:1/");
        for (variables, node, proxy) in [
            (&[("http_proxy", "http://p:1")][..], PLAIN, THERE),
            (&[("http_proxy", "p:1")], PLAIN, THERE),
            (&[("HTTP_PROXY", "http://p:1")], PLAIN, None),
            (&[("http_proxy", "http://p:1")], OVER_TLS, None),
            (&[("https_proxy", "http://p:1")], OVER_TLS, THERE),
            (&[("HTTPS_PROXY", "http://p:1")], OVER_TLS, THERE),
            (&[("HTTPS_PROXY", "http://p:1")], PLAIN, None),
            (
                &[("ALL_PROXY", "http://p:1"), ("HTTP_PROXY", "http://q:1")],
                PLAIN,
                THERE,
            ),
            (
                &[
                    ("http_proxy", ""),
                    ("all_proxy", ""),
                    ("ALL_PROXY", "http://p:1"),
                ],
                PLAIN,
                THERE,
            ),
            (&[("http_proxy", "")], PLAIN, None),
            (
                &[("all_proxy", "http://p:1"), ("NO_PROXY", "example")],
                PLAIN,
                None,
            ),
            (
                &[
                    ("all_proxy", "http://p:1"),
                    ("no_proxy", ""),
                    ("NO_PROXY", "*"),
                ],
                PLAIN,
                None,
            ),
        ] {
            let named = |name: &str| {
                let found = variables.iter().find(|it| it.0 == name)?;
                Some(found.1.to_owned())
            };
            let found = named_for(&node.parse().unwrap(), named);
            let found = found.map(|it| it.uri().to_string());
            assert_eq!(found.as_deref(), proxy, "{variables:?} {node}");
        }
    }

    #[test]
    fn a_node_of_this_machine_is_known_however_it_is_written() {
        for (node, here) in [
            ("http://localhost:5004", true),
            ("http://LOCALHOST./", true),
            ("http://larder.localhost", true),
            ("https://127.0.0.1:5004", true),
            ("http://127.9.8.7", true),
            ("http://127.1", true),
            ("http://0x7f000001", true),
            ("http://[::1]:5004", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://0.0.0.0:5004", true),
            ("http://[::]:5004", true),
            ("http://192.0.2.1", false),
            ("http://[2001:db8::1]", false),
            ("http://localhost.example.invalid", false),
            ("http://notlocalhost.invalid", false),
        ] {
            assert_eq!(is_here(&node.parse().unwrap()), here, "{node}");
        }
    }
}
