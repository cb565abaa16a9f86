//! Who a client is: the address that it comes from, or that a gateway in front tells of it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// What most gateways tell of the client.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where a request comes from; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The address of the client, as far as gateways that are trusted tell it.
    pub ip: IpAddr,
    /// Its port; None where a gateway told only the address.
    pub port: Option<u16>,
    /// To whose share it counts: the client's network, unless anybody may be behind the address.
    pub share: Option<IpAddr>,
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: address.ip().to_canonical(),
            port: Some(address.port()),
            share: None,
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// What stands for one client where shares are counted: an IPv4 address, or a /64 of IPv6,
/// which is what one customer gets.
pub fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// The gateways in front, which are many clients each and are believed what they tell of them.
#[derive(Debug, Clone, Default)]
pub struct Gateways(Vec<IpNet>);

impl Gateways {
    /// Those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Whose connections one from `ip` counts among; None for a gateway and for this machine,
    /// behind which there may be anybody.
    pub(super) fn holder(&self, ip: IpAddr) -> Option<IpAddr> {
        let ip = ip.to_canonical();
        (!ip.is_loopback() && !self.trusts(ip)).then(|| network_of(ip))
    }

    /// Who sent a request that came from `from`: the last address of `X-Forwarded-For`, or where
    /// there is none of `Forwarded` (RFC 7239), that is not a gateway's.
    pub(super) fn client(&self, from: SocketAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = self.last_told(from, headers);
        client.share = self.holder(client.ip);
        client
    }

    fn last_told(&self, from: SocketAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = ClientAddress::from(from);
        let listed = if headers.contains_key(FORWARDED_FOR) {
            FORWARDED_FOR
        } else {
            header::FORWARDED
        };
        let values: Vec<_> = headers.get_all(&listed).iter().collect();
        let elements = values.iter().rev().flat_map(|value| {
            let text = value.to_str().unwrap_or_default();
            text.rsplit(',')
        });
        for element in elements {
            if !self.trusts(client.ip) {
                break;
            }
            let node = if listed == header::FORWARDED {
                forwarded_for(element)
            } else {
                Some(element.trim())
            };
            match node.and_then(address) {
                Some(told) => client = told,
                // Nobody can tell who was before.
                None => break,
            }
        }
        client
    }
}

/// The value of `for` in an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let name = name.trim();
        name.eq_ignore_ascii_case("for")
            .then(|| value.trim().trim_matches('"'))
    })
}

/// An address, with or without a port.
fn address(text: &str) -> Option<ClientAddress> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.into());
    }
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse::<IpAddr>().ok()?;
    Some(ClientAddress {
        ip: ip.to_canonical(),
        port: None,
        share: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(from: &str, name: &'static str, values: &[&str]) -> String {
        let gateways = ["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().unwrap());
        let values = values
            .iter()
            .map(|it| (name.parse().unwrap(), it.parse().unwrap()));
        let headers: HeaderMap = values.collect();
        let from = format!("{from}:1").parse().unwrap();
        Gateways::new(gateways.to_vec())
            .client(from, &headers)
            .to_string()
    }

    #[test]
    fn a_gateway_is_believed_and_nobody_else() {
        const NAME: &str = "x-forwarded-for";
        for (from, values, expected) in [
            ("10.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.1:77"], "192.0.2.1:77"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]:77"], "[2001:db8::1]:77"),
            ("[fd00::1]", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("[::ffff:10.0.0.1]", &["192.0.2.1"], "192.0.2.1"),
            // What the client itself has written comes first.
            ("10.0.0.1", &["198.51.100.1, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.1", "192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["192.0.2.1, unknown"], "10.0.0.1:1"),
            ("10.0.0.1", &[""], "10.0.0.1:1"),
            ("10.0.0.1", &[], "10.0.0.1:1"),
            ("192.0.2.9", &["198.51.100.1"], "192.0.2.9:1"),
            ("127.0.0.1", &["198.51.100.1"], "127.0.0.1:1"),
        ] {
            assert_eq!(client(from, NAME, values), expected, "{from} {values:?}");
        }
    }

    #[test]
    fn a_gateway_may_tell_it_as_rfc_7239_has_it() {
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:77\";proto=https", "192.0.2.1:77"),
            ("proto=https; for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=198.51.100.1, for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1, for=10.0.0.2", "192.0.2.1"),
            ("for=_hidden", "10.0.0.1:1"),
            ("by=192.0.2.1", "10.0.0.1:1"),
        ] {
            assert_eq!(
                client("10.0.0.1", "forwarded", &[value]),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn gateways_and_this_machine_are_many_clients() {
        let gateways = Gateways::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for (ip, holder) in [
            ("127.0.0.1", None),
            ("::1", None),
            ("::ffff:127.0.0.1", None),
            ("10.1.2.3", None),
            ("192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1:2:3:4", Some("2001:db8::")),
        ] {
            let holder: Option<IpAddr> = holder.map(|it| it.parse().unwrap());
            assert_eq!(gateways.holder(ip.parse().unwrap()), holder, "{ip}");
        }
    }
}
