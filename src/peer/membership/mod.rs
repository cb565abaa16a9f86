//! Networks that have members: who is one is said by a certificate that the network's key has
//! signed, of the key that the member's node has anyway.
//!
//! A network is its ed25519 key. A certificate is one line of text, so that it can be sent in a
//! mail, and goes as it is from node to node: a version, the network's key, the member's, what the
//! member may do, until when, and the signature. Nobody keeps a list of members that has to be
//! asked: whoever is shown a certificate checks it.

mod certificate;
mod channel;
mod connecting;
pub mod file;
mod keys;
mod raw_keys;
mod roll;
#[cfg(test)]
mod tests;

pub use certificate::{Certificate, EXCHANGE, InvalidKey, MAX_BYTES, PublicKey, Refusal};
pub use channel::{Channel, ChannelError, Member, NoMember};
pub(super) use connecting::ToMembers;
pub use keys::{NetworkKey, NetworkKeyError};
pub use roll::{Roll, RollError};
