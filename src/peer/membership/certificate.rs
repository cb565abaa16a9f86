//! What a network's key says of a member, and whether it counts.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signature, VerifyingKey};

use crate::peer::signature::{Signable, from_hex, to_hex};
use crate::peer_id::PeerId;
use crate::record::Timestamp;

/// The longest certificate taken, in bytes.
pub const MAX_BYTES: usize = 512;
/// The longest text of rights taken, in bytes.
pub(super) const MAX_RIGHTS: usize = 128;
/// What a certificate begins with: its kind and version.
const KIND: &str = "larder-member-1";
/// What a certificate is signed for.
const PURPOSE: &str = "larder 2026-11 membership";
/// What a word begins with that says on how many members files are to be, where nothing else does.
const COPIES: &str = "copies=";
/// The right to list, fetch and tell, without which nobody is let in.
pub const EXCHANGE: &str = "exchange";

/// An ed25519 public key: of a node, or of a network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A text that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no key of a node: that is 64 lowercase hex digits, as `larder network key` prints them"
)]
pub struct InvalidKey;

impl PublicKey {
    /// The id of the peer with this key.
    pub fn peer_id(&self) -> PeerId {
        PeerId::of_public_key(&self.0)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = from_hex(text).ok_or(InvalidKey)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidKey)?;
        // Of such a key anybody can make signatures.
        (!key.is_weak()).then_some(Self(bytes)).ok_or(InvalidKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a network's key says of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Of which network.
    pub network: PublicKey,
    /// Whose.
    pub member: PublicKey,
    /// What the member may do, as words with commas between them. Words that are not known here
    /// are those of a later version, and mean nothing.
    pub rights: String,
    /// From when on it counts no longer, in seconds since 1970.
    pub expires: u64,
    pub(super) signature: [u8; 64],
}

/// Why a certificate does not make its bearer a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none, or one of a version that is not known here.
    #[error("it is not what `larder network` prints, or of a later larder")]
    Form,
    /// Another network has made it.
    #[error("it is of another network")]
    Network,
    /// The network's key has not signed it.
    #[error("the network's key has not signed it")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// It is of another key than its bearer's.
    #[error("it is of another member's key")]
    Member,
    /// It does not give the right to exchange anything.
    #[error("it does not give the right to exchange files")]
    Rights,
    /// The network's key has said that its bearer is no member any more.
    #[error("the network has revoked it")]
    Revoked,
}

impl Refusal {
    /// By what programs tell it from others; stays as it is.
    pub fn code(self) -> &'static str {
        match self {
            Self::Form => "no_certificate",
            Self::Network => "other_network",
            Self::Signature => "wrong_signature",
            Self::Expired => "expired",
            Self::Member => "other_member",
            Self::Rights => "no_right",
            Self::Revoked => "revoked",
        }
    }
}

impl Certificate {
    pub(super) fn signable(&self) -> Signable {
        Signable::new(PURPOSE)
            .field(&self.network.to_string())
            .field(&self.member.to_string())
            .field(&self.rights)
            .field(&self.expires.to_string())
    }

    /// Whether it makes whoever has proven to have the key `bearer` a member of `network` now.
    pub fn check(
        &self,
        network: PublicKey,
        bearer: PublicKey,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        if self.network != network {
            return Err(Refusal::Network);
        }
        if self.member != bearer {
            return Err(Refusal::Member);
        }
        self.check_itself(now)
    }

    /// Whether the network that it names has signed it, and it counts now.
    pub fn check_itself(&self, now: SystemTime) -> Result<(), Refusal> {
        let key = VerifyingKey::from_bytes(&self.network.0).map_err(|_| Refusal::Form)?;
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(self.signable().as_bytes(), &signature)
            .map_err(|_| Refusal::Signature)?;
        if !self.is_valid_at(now) {
            return Err(Refusal::Expired);
        }
        let mut rights = self.rights.split(',');
        rights
            .any(|it| it == EXCHANGE)
            .then_some(())
            .ok_or(Refusal::Rights)
    }

    /// On how many members files are to be in this network, where nothing else says so.
    pub fn copies(&self) -> Option<u8> {
        copies_in(&self.rights)
    }

    /// Whether its time is not over.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        now < UNIX_EPOCH + Duration::from_secs(self.expires)
    }

    /// How long it counts from then on.
    pub fn left_at(&self, now: SystemTime) -> Duration {
        let end = UNIX_EPOCH + Duration::from_secs(self.expires);
        end.duration_since(now).unwrap_or_default()
    }

    /// When it counts no longer, as people read it.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp(i64::try_from(self.expires.saturating_mul(1000)).unwrap_or(i64::MAX))
    }
}

/// The rights of a member that may exchange files, which are to be on so many members where nothing
/// else says so.
pub fn rights(copies: Option<u8>) -> String {
    match copies {
        Some(copies) => format!("{EXCHANGE},{COPIES}{copies}"),
        None => EXCHANGE.to_owned(),
    }
}

/// On how many members these rights have files be.
pub(super) fn copies_in(rights: &str) -> Option<u8> {
    let mut rights = rights.split(',');
    let copies = rights.find_map(|it| it.strip_prefix(COPIES)?.parse().ok());
    copies.filter(|it| *it > 0)
}

/// Whether this can stand in a certificate: a later version may know more words than this one.
pub(super) fn are_rights(text: &str) -> bool {
    let is_word = |it: &str| {
        let mut bytes = it.bytes();
        !it.is_empty() && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'=')
    };
    text.len() <= MAX_RIGHTS && text.split(',').all(is_word)
}

impl FromStr for Certificate {
    type Err = Refusal;

    /// Reads the form alone; whether it counts tells [`Certificate::check`].
    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.len() > MAX_BYTES {
            return Err(Refusal::Form);
        }
        let parts: Vec<_> = text.split('.').collect();
        let [KIND, network, member, rights, expires, signature] = parts[..] else {
            return Err(Refusal::Form);
        };
        let key = |it: &str| it.parse::<PublicKey>().map_err(|_| Refusal::Form);
        // A later time is none that a clock tells; and a number has one form.
        let seconds: u32 = expires.parse().map_err(|_| Refusal::Form)?;
        if !are_rights(rights) || seconds.to_string() != expires {
            return Err(Refusal::Form);
        }
        Ok(Self {
            network: key(network)?,
            member: key(member)?,
            rights: rights.to_owned(),
            expires: seconds.into(),
            signature: from_hex(signature).ok_or(Refusal::Form)?,
        })
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            network,
            member,
            rights,
            expires,
            signature,
        } = self;
        let signature = to_hex(signature);
        write!(
            f,
            "{KIND}.{network}.{member}.{rights}.{expires}.{signature}"
        )
    }
}
