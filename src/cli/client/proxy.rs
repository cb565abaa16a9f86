//! Which proxy stands between a command and its node.
//!
//! The environment names one as for curl (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`).
//! A node of this machine is never asked through it: the proxy would learn the token and could
//! not reach the node anyway.

use std::net::{IpAddr, ToSocketAddrs};

use axum::http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::Host;

use crate::base_url::BaseUrl;

/// The proxy that the environment names for this node, as scheme, host and port, without the
/// password that it may have. Blocks, where a name has to be looked up.
pub(super) fn between(node: &BaseUrl) -> Option<String> {
    let uri: Uri = node.to_string().parse().ok()?;
    let proxy = Matcher::from_env().intercept(&uri)?;
    if is_here(node) {
        return None;
    }
    let uri = proxy.uri();
    let port = uri.port().map(|it| format!(":{it}")).unwrap_or_default();
    let (scheme, host) = (uri.scheme_str().unwrap_or("http"), uri.host()?);
    Some(format!("{scheme}://{host}{port}"))
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
