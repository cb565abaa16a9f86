//! Signatures on what peers tell: ed25519 (RFC 8032) over a byte form that leaves no doubt.
//!
//! The byte form is the purpose of the message, then each field; all of them as their
//! length (8 bytes, little-endian) and their bytes. So nothing signed for one purpose
//! can be taken for another, and no two messages share a byte form.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::peer_id::PeerId;

/// Who vouches for a message: extra keys that older peers and servers pass along unread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proof {
    /// The sender's ed25519 public key, 64 lowercase hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The signature, 128 lowercase hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// How far a message can be trusted to come from the peer it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The key that the peer's id belongs to has signed it.
    Verified,
    /// It is from a peer without a key: anybody may have sent it.
    Unsigned,
}

/// Why a message is not from the peer it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// One of key and signature is missing.
    #[error("a signed message has both public_key and signature")]
    Incomplete,
    /// The key is no ed25519 key in lowercase hex.
    #[error("public_key is not 64 lowercase hex digits of an ed25519 key")]
    Key,
    /// The signature has the wrong form.
    #[error("signature is not 128 lowercase hex digits")]
    Form,
    /// The key made no such signature.
    #[error("the signature is not one of this message")]
    Signature,
    /// The id belongs to another key, or to a key that has not signed.
    #[error("the peer id belongs to another key")]
    Id,
}

/// The bytes that are signed for a message.
pub struct Signable(Vec<u8>);

impl Signable {
    /// Begins the byte form of a message for this purpose.
    pub fn new(purpose: &'static str) -> Self {
        Self(Vec::new()).field(purpose)
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds a field that may be absent, as a number of fields that follow.
    #[must_use]
    pub fn optional(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.field("1").field(text),
            None => self.field("0"),
        }
    }

    /// The bytes to sign.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Proof {
    /// Vouches for a message by `key`.
    pub fn of(key: &SigningKey, message: &Signable) -> Self {
        Self {
            public_key: Some(to_hex(key.verifying_key().as_bytes())),
            signature: Some(to_hex(&key.sign(message.as_bytes()).to_bytes())),
        }
    }

    /// Whether the message with these bytes comes from `peer`.
    pub fn verify(&self, peer: PeerId, message: &Signable) -> Result<Trust, Forged> {
        let (key, signature) = match (&self.public_key, &self.signature) {
            (Some(key), Some(signature)) => (key, signature),
            (None, None) if peer.belongs_to_a_key() => return Err(Forged::Id),
            (None, None) => return Ok(Trust::Unsigned),
            _ => return Err(Forged::Incomplete),
        };
        let key: [u8; 32] = from_hex(key).ok_or(Forged::Key)?;
        if PeerId::of_public_key(&key) != peer {
            return Err(Forged::Id);
        }
        let key = VerifyingKey::from_bytes(&key).map_err(|_| Forged::Key)?;
        let signature: [u8; 64] = from_hex(signature).ok_or(Forged::Form)?;
        key.verify_strict(message.as_bytes(), &Signature::from_bytes(&signature))
            .map_err(|_| Forged::Signature)?;
        Ok(Trust::Verified)
    }
}

/// Bytes as lowercase hex digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let pairs = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    pairs.map(digit).collect()
}

/// The bytes of exactly `N` pairs of lowercase hex digits.
pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; N];
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        *byte = u8::try_from(value(high)? << 4 | value(low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn id(seed: u8) -> PeerId {
        PeerId::of_public_key(key(seed).verifying_key().as_bytes())
    }

    fn message() -> Signable {
        Signable::new("test").field("a").optional(Some("b"))
    }

    #[test]
    fn the_byte_form_stays_as_it_is() {
        let bytes = Signable::new("p").field("").optional(None).0;
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0, b'p'];
        expected.extend([0; 8]);
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, b'0']);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_the_key_signed_is_verified() {
        let proof = Proof::of(&key(1), &message());
        assert_eq!(proof.verify(id(1), &message()), Ok(Trust::Verified));
    }

    #[test]
    fn what_another_signed_is_forged() {
        let proof = Proof::of(&key(1), &message());
        assert_eq!(proof.verify(id(2), &message()), Err(Forged::Id));
        let other = Signable::new("test").field("ab");
        assert_eq!(proof.verify(id(1), &other), Err(Forged::Signature));
        let swapped = Proof {
            signature: Proof::of(&key(2), &message()).signature,
            ..proof.clone()
        };
        assert_eq!(swapped.verify(id(1), &message()), Err(Forged::Signature));
        let upper = Proof {
            public_key: proof.public_key.map(|key| key.to_uppercase()),
            ..proof
        };
        assert_eq!(upper.verify(id(1), &message()), Err(Forged::Key));
    }

    #[test]
    fn only_ids_without_a_key_may_go_unsigned() {
        let old = "123e4567-e89b-42d3-a456-426614174000".parse().unwrap();
        let unsigned = Proof::default();
        assert_eq!(unsigned.verify(old, &message()), Ok(Trust::Unsigned));
        assert_eq!(unsigned.verify(id(1), &message()), Err(Forged::Id));
    }

    proptest! {
        #[test]
        fn any_other_proof_is_forged(key in ".{0,140}", signature in "[0-9a-f]{0,140}") {
            let proof = Proof { public_key: Some(key), signature: Some(signature) };
            prop_assert!(proof.verify(id(1), &message()).is_err());
        }

        #[test]
        fn hex_reads_what_it_wrote(bytes: [u8; 32]) {
            prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        }
    }
}
