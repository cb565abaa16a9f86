//! To whose share something counts.

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
}
