//! The id of a node or peer.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::text_form::serde_as_text;

/// The id by which nodes know each other: a UUID.
///
/// Nodes of this implementation derive it from their public key, so that nobody
/// can take another's; older peers chose a random one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(Uuid);

/// A text that is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a peer id is a UUID")]
pub struct InvalidPeerId;

impl PeerId {
    /// The id that belongs to an ed25519 public key: a UUID version 8 (RFC 9562,
    /// section 5.8) over the first 16 bytes of the key's BLAKE3 hash in the
    /// derive-key mode with this crate's context.
    pub fn of_public_key(key: &[u8; 32]) -> Self {
        let digest = blake3::derive_key("larder 2026-11 peer id of an ed25519 public key", key);
        let mut first = [0; 16];
        first.copy_from_slice(digest.split_at(16).0);
        Self(Uuid::new_v8(first))
    }

    /// The id with exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// One that belongs to nobody, and of which nobody can tell that.
    pub fn random() -> Self {
        Self(Uuid::new_v8(*Uuid::new_v4().as_bytes()))
    }

    /// Its 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// Whether the id is of the kind that belongs to a key, so that only what the key
    /// signed may speak for it. Older peers choose ids of other kinds.
    pub fn belongs_to_a_key(&self) -> bool {
        self.0.get_version_num() == 8
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(text: &str) -> Result<Self, InvalidPeerId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidPeerId)
    }
}

serde_as_text!(PeerId);
