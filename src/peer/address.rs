//! Which addresses this node asks: what a stranger names must lead to a peer, not to
//! this machine's link or to a service that trusts whoever can reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::Host;

use crate::base_url::BaseUrl;

/// A text that is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network is written as 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork;

/// Ranges of IPv4 that hold no peer: those of the IANA special-purpose registry, and hosts by
/// which clouds tell a machine its secrets. Loopback, private ranges (RFC 1918) and the one
/// shared by the customers of a provider (RFC 6598), which overlay networks use, are not
/// among them: that is where the peers of one machine or one house are.
const RESERVED: &[IpNet] = &[
    v4(0, 0, 0, 0, 8),
    v4(100, 100, 100, 200, 32),
    v4(168, 63, 129, 16, 32),
    v4(169, 254, 0, 0, 16),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 31, 196, 0, 24),
    v4(192, 52, 193, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 175, 48, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    // Within the ranges of IPv6 below: Teredo and others of 2001::/23, documentation, 6to4,
    // AS112, and the hosts that tell secrets again.
    v6(0x2001, 0, 0, 0, 23),
    v6(0x2001, 0xdb8, 0, 0, 32),
    v6(0x2002, 0, 0, 0, 16),
    v6(0x2620, 0x4f, 0x8000, 0, 48),
    v6(0x3fff, 0, 0, 0, 20),
    v6(0xfd00, 0xec2, 0, 0, 32),
    v6(0xfd20, 0xce, 0, 0, 32),
];

/// The ranges of IPv6 that may hold a peer: loopback, global unicast and unique local. All
/// others are reserved, wrap an address of IPv4, or are none of a host.
const POSSIBLE: &[IpNet] = &[
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    v6(0x2000, 0, 0, 0, 3),
    v6(0xfc00, 0, 0, 0, 7),
];

/// Names by which clouds tell a machine its secrets, in lower case and without a dot at the
/// end. What they lead to differs, and some of it is an address that a peer may have.
const METADATA_NAMES: &[&str] = &[
    "api.metadata.cloud.ibm.com",
    "instance-data",
    "instance-data.ec2",
    "metadata",
    "metadata.azure.com",
    "metadata.goog",
    "metadata.google",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "metadata.tencentyun.com",
    "rancher-metadata",
];
/// The first labels of such names within a cloud's own domain, which is in `internal`.
const METADATA_LABELS: &[&str] = &["instance-data", "metadata", "rancher-metadata"];

/// Whether a name can be one of a host (RFC 1035, section 2.3.4).
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(|it| (1..=63).contains(&it.len()))
}

/// Whether a name is one by which a cloud tells a machine its secrets.
fn is_metadata(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below = |parent: &str| {
        let rest = name.strip_suffix(parent);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let internal = below("internal") && name.split('.').any(|it| METADATA_LABELS.contains(&it));
    internal || below("google.internal") || METADATA_NAMES.contains(&name.as_str())
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits))
}

const fn v6(a: u16, b: u16, c: u16, d: u16, bits: u8) -> IpNet {
    let first = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(first, bits))
}

/// Whether an address is in one of these ranges.
fn within(ranges: &[IpNet], ip: IpAddr) -> bool {
    ranges.iter().any(|it| it.contains(&ip))
}

/// Whether the last half of an address says that it wraps one of IPv4 (ISATAP, RFC 5214).
fn is_isatap(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if matches!(ip.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, ..]))
}

/// The range of addresses that a text means, such as `10.0.0.0/8`.
pub fn network(text: &str) -> Result<IpNet, InvalidNetwork> {
    text.parse().map_err(|_| InvalidNetwork)
}

/// What may be asked.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Only these ranges; all where there are none.
    pub networks: Vec<IpNet>,
}

impl Policy {
    /// Whether a peer may be at this address.
    pub fn allows(&self, ip: IpAddr) -> bool {
        // An IPv4 address in IPv6 clothes is what it is.
        let ip = ip.to_canonical();
        let possible = ip.is_ipv4() || within(POSSIBLE, ip) && !is_isatap(ip);
        let named = self.networks.is_empty() || within(&self.networks, ip);
        named && possible && !within(RESERVED, ip)
    }

    /// Whether a peer may be at this URL. Names are looked at once more when they are resolved.
    pub fn allows_url(&self, url: &BaseUrl) -> bool {
        let host = match url.host() {
            Some(Host::Ipv4(ip)) => self.allows(ip.into()),
            // Whoever writes an IPv4 address in IPv6 clothes wants it taken for another one.
            Some(Host::Ipv6(ip)) => ip.to_ipv4_mapped().is_none() && self.allows(ip.into()),
            Some(Host::Domain(name)) => is_name(name) && !is_metadata(name),
            None => false,
        };
        host && url.port() != Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_on_loopback_private_and_public_addresses() {
        let policy = Policy::default();
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.5",
            "8.8.8.8",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "2a00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(policy.allows(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn reserved_addresses_are_never_asked() {
        let policy = Policy::default();
        for ip in [
            "0.0.0.0",
            "169.254.169.254",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.251",
            "239.1.1.1",
            "255.255.255.255",
            "::",
            "::10.0.0.1",
            "fe80::1",
            "febf::1",
            "ff02::fb",
            "2001:db8::1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "::169.254.169.254",
            "2a00::5efe:a9fe:a9fe",
            "fd00::200:5efe:a9fe:a9fe",
            "100.100.100.200",
            "::ffff:100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
            "5f00::1",
            "100::1",
            "100:0:0:1::1",
            "4000::1",
            "2620:4f:8000::1",
            "3fff::1",
            "192.0.0.192",
            "192.31.196.1",
            "192.52.193.1",
            "192.175.48.1",
        ] {
            assert!(!policy.allows(ip.parse().unwrap()), "{ip}");
            let host = if ip.contains(':') {
                format!("[{ip}]")
            } else {
                ip.to_owned()
            };
            let url = format!("http://{host}:80").parse().unwrap();
            assert!(!policy.allows_url(&url), "{ip}");
        }
    }

    #[test]
    fn what_is_no_place_on_a_network_is_never_asked() {
        let policy = Policy::default();
        let label = "a".repeat(64);
        for (url, allowed) in [
            ("http://10.0.0.1:1", true),
            ("http://peer.example.", true),
            ("http://10.0.0.1:0", false),
            ("http://[fd00::1]:0", false),
            ("http://peer.example:0", false),
            ("http://[::ffff:10.0.0.1]:80", false),
            ("http://[::ffff:7f00:1]:80", false),
            ("http://.:80", false),
            ("http://peer..example", false),
            ("http://peer.example..", false),
            ("http://.example", false),
            (&format!("http://{label}.example"), false),
        ] {
            let parsed = url.parse();
            assert_eq!(
                parsed.is_ok_and(|it| policy.allows_url(&it)),
                allowed,
                "{url}"
            );
        }
    }

    #[test]
    fn named_networks_narrow() {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().unwrap());
        let policy = Policy {
            networks: networks.to_vec(),
        };
        for (ip, allowed) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("127.0.0.1", false),
            ("fd12::1", true),
            ("fc00::1", false),
        ] {
            assert_eq!(policy.allows(ip.parse().unwrap()), allowed, "{ip}");
        }
        let all = network("0.0.0.0/0").unwrap();
        assert!(within(&[all], "9.9.9.9".parse().unwrap()));
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "x/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(network(text), Err(InvalidNetwork), "{text}");
        }
    }
}
