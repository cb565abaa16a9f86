//! To whose share something counts.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A client, as far as one can be told from others. What counts to nobody's share has none: this
/// machine and gateways are many.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKey {
    /// Whoever bears the token of this name.
    Token(Arc<str>),
    /// Whoever comes from this address; of IPv6 the first of its /64.
    Address(IpAddr),
    /// All together of whom an older larder did not remember who they are.
    Forgotten,
}

/// What the text of a key begins with, of each kind.
const TOKEN: &str = "token ";
const ADDRESS: &str = "address ";

impl ClientKey {
    /// The key that [`Display`](fmt::Display) has written; [`ClientKey::Forgotten`] where that is
    /// none.
    pub fn remembered(text: &str) -> Self {
        if let Some(name) = text.strip_prefix(TOKEN) {
            return Self::Token(name.into());
        }
        let address = text.strip_prefix(ADDRESS).and_then(|it| it.parse().ok());
        address.map_or(Self::Forgotten, Self::Address)
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(name) => write!(f, "{TOKEN}{name}"),
            Self::Address(address) => write!(f, "{ADDRESS}{address}"),
            Self::Forgotten => f.write_str("forgotten"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let address = |text: &str| ClientKey::Address(text.parse().unwrap());
        let token = |name: &str| ClientKey::Token(name.into());
        for key in [
            token("alice"),
            token("address 192.0.2.1"),
            address("192.0.2.1"),
            address("2001:db8::"),
            ClientKey::Forgotten,
        ] {
            assert_eq!(ClientKey::remembered(&key.to_string()), key);
        }
        for text in ["", "alice", "address", "address nowhere"] {
            assert_eq!(ClientKey::remembered(text), ClientKey::Forgotten);
        }
    }
}
