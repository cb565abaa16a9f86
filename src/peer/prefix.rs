//! Where an address lies, more and less exactly: addresses are cheap within one prefix and
//! dear across many, so whatever strangers can fill is shared out by prefix.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use url::Host;

use crate::base_url::BaseUrl;

/// A set of addresses. Two equal keys are one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u8, u128);

/// The sets of addresses that one belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// A /16 of IPv4, a /48 of IPv6, or all names below one registered name.
    pub wide: Key,
    /// A /24, a /64, or one name.
    pub narrow: Key,
    /// Host and port: where one peer can be.
    pub exact: Key,
}

/// How many of a table lie in each set of addresses.
#[derive(Debug, Default)]
pub struct Crowds(HashMap<Key, usize>);

impl Prefix {
    /// Where a peer's address lies.
    pub fn of(address: &BaseUrl) -> Self {
        let exact = hashed(0, &address.origin().ascii_serialization());
        let (wide, narrow) = match address.host() {
            Some(Host::Ipv4(ip)) => of_ip(ip.into()),
            Some(Host::Ipv6(ip)) => of_ip(ip.into()),
            Some(Host::Domain("localhost")) => of_ip(Ipv4Addr::LOCALHOST.into()),
            Some(Host::Domain(name)) => of_name(name),
            None => (exact, exact),
        };
        Self {
            wide,
            narrow,
            exact,
        }
    }
}

/// The /24 or /64 that somebody asks from.
pub fn narrow_of(ip: IpAddr) -> Key {
    of_ip(ip).1
}

fn of_ip(ip: IpAddr) -> (Key, Key) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let bits = u128::from(ip.to_bits());
            (Key(1, bits >> 16), Key(2, bits >> 8))
        }
        IpAddr::V6(ip) => (Key(3, ip.to_bits() >> 80), Key(4, ip.to_bits() >> 64)),
    }
}

/// The registered name of a name, and the name itself.
pub(super) fn of_name(name: &str) -> (Key, Key) {
    (hashed(5, registered(name)), hashed(6, name))
}

/// The last two labels, below which names cost nothing. Of `example.co.uk` these are shared
/// with others, which makes the set larger than need be and no attack easier.
fn registered(name: &str) -> &str {
    let name = name.trim_end_matches('.');
    let labels = name.rsplitn(3, '.');
    match labels.collect::<Vec<_>>().as_slice() {
        [last, before, _] => {
            let length = before.len() + 1 + last.len();
            name.get(name.len() - length..).unwrap_or(name)
        }
        _ => name,
    }
}

/// Nobody finds two texts of one hash.
fn hashed(kind: u8, text: &str) -> Key {
    let mut first = [0; 16];
    first.copy_from_slice(blake3::hash(text.as_bytes()).as_bytes().split_at(16).0);
    Key(kind, u128::from_le_bytes(first))
}

impl Crowds {
    /// The crowds that these make up.
    pub fn of<'a>(all: impl IntoIterator<Item = &'a Prefix>) -> Self {
        let mut crowds = Self::default();
        for prefix in all {
            crowds.add(prefix);
        }
        crowds
    }

    /// Counts one in.
    pub fn add(&mut self, prefix: &Prefix) {
        for key in [prefix.wide, prefix.narrow, prefix.exact] {
            *self.0.entry(key).or_default() += 1;
        }
    }

    /// Counts one out.
    pub fn remove(&mut self, prefix: &Prefix) {
        for key in [prefix.wide, prefix.narrow, prefix.exact] {
            if let Some(count) = self.0.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.0.remove(&key);
                }
            }
        }
    }

    /// How many lie in this set.
    pub fn count(&self, key: Key) -> usize {
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// How many lie with this one: in its wide set, in its narrow one, at its place. Of two,
    /// the one in the larger crowd has the larger value.
    pub fn around(&self, prefix: &Prefix) -> (usize, usize, usize) {
        let Prefix {
            wide,
            narrow,
            exact,
        } = *prefix;
        (self.count(wide), self.count(narrow), self.count(exact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(address: &str) -> Prefix {
        Prefix::of(&address.parse().unwrap())
    }

    #[test]
    fn addresses_share_their_prefixes_and_names_what_is_registered() {
        for (one, other, wide, narrow, exact) in [
            ("http://10.1.2.3", "http://10.1.2.3:81", true, true, false),
            ("http://10.1.2.3", "http://10.1.2.4", true, true, false),
            ("http://10.1.2.3", "http://10.1.3.3", true, false, false),
            ("http://10.1.2.3", "http://10.2.2.3", false, false, false),
            (
                "http://[fd00:0:1::1]",
                "http://[fd00:0:1::2]",
                true,
                true,
                false,
            ),
            (
                "http://[fd00:0:1:1::1]",
                "http://[fd00:0:1:2::1]",
                true,
                false,
                false,
            ),
            (
                "http://[fd00:0:1::1]",
                "http://[fd00:0:2::1]",
                false,
                false,
                false,
            ),
            (
                "http://localhost:1",
                "http://127.0.0.1:2",
                true,
                true,
                false,
            ),
            (
                "http://a.b.example",
                "http://c.b.example",
                true,
                false,
                false,
            ),
            ("http://b.example", "http://A.b.example", true, false, false),
            ("http://a.example", "http://b.example", false, false, false),
            ("http://a.example", "http://a.example:80/", true, true, true),
        ] {
            let (one, other) = (prefix(one), prefix(other));
            assert_eq!(one.wide == other.wide, wide, "{one:?} {other:?}");
            assert_eq!(one.narrow == other.narrow, narrow, "{one:?} {other:?}");
            assert_eq!(one.exact == other.exact, exact, "{one:?} {other:?}");
        }
    }

    #[test]
    fn crowds_are_as_large_as_what_was_counted_in_and_not_out() {
        let all = ["http://10.1.2.3", "http://10.1.2.3:81", "http://10.1.9.9"].map(prefix);
        let mut crowds = Crowds::of(&all);
        assert_eq!(crowds.around(&all[0]), (3, 2, 1));
        crowds.remove(&all[1]);
        assert_eq!(crowds.around(&all[0]), (2, 1, 1));
        assert_eq!(crowds.around(&all[1]), (2, 1, 0));
    }
}
