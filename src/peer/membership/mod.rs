//! Networks that have members: who is one is said by a certificate that the network's key has
//! signed, of the key that the member's node has anyway.
//!
//! A network is its ed25519 key. A certificate is one line of text, so that it can be sent in a
//! mail, and goes as it is from node to node: a version, the network's key, the member's, what the
//! member may do, until when, and the signature. Nobody keeps a list of members that has to be
//! asked: whoever is shown a certificate checks it. Of those who are members no longer before their
//! certificates end, members tell each other: a revocation is signed, too, and for ever.

use std::path::PathBuf;
use std::sync::Arc;

mod admin;
mod certificate;
mod channel;
mod connecting;
pub mod file;
mod keys;
mod member;
mod no_member;
mod raw_keys;
mod revocation;
mod roll;
mod standing;
mod tags;
#[cfg(test)]
mod tests;
mod written;

pub use admin::Admin;
pub use certificate::{Certificate, EXCHANGE, InvalidKey, MAX_BYTES, PublicKey, Refusal, rights};
pub use channel::{Channel, ChannelError, Handshakes};
pub(super) use connecting::ToMembers;
pub use keys::{NetworkKey, NetworkKeyError};
pub use member::Member;
pub use no_member::NoMember;
pub use revocation::{MAX_REVOKED, Revocation, Revoked};
pub use roll::{Entry, Roll};
pub use standing::{SOON, Standing};
pub use written::{RollError, add_revocation, revocations};

/// What a node is a member of a network by.
#[derive(Debug, Clone)]
pub struct Joined {
    /// What the network's key says of it.
    pub certificate: Certificate,
    /// The file that holds it, if there is one.
    pub file: Option<PathBuf>,
    /// The key of the network, where this node has it.
    pub admin: Option<Arc<Admin>>,
}
