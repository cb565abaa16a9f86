//! What a network's key says of a member that is to be one no longer.
//!
//! A revocation is for ever, and so sets of them only grow: whoever brings an older one adds
//! nothing to it, and takes nothing away.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use ed25519_dalek::{Signature, VerifyingKey};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::certificate::{PublicKey, Refusal};
use crate::peer::signature::{Signable, from_hex, to_hex};

/// The most revocations of one network that a node remembers.
pub const MAX_REVOKED: usize = 4096;
/// The longest revocation, in bytes.
pub(super) const MAX_BYTES: usize = 320;
/// What a revocation begins with: its kind and version.
const KIND: &str = "larder-revoked-1";
/// What it is signed for.
const PURPOSE: &str = "larder 2026-11 revocation";

/// What a network's key says of a member that is to be one no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Of which network.
    pub network: PublicKey,
    /// Whose certificates count no longer, whenever they were made.
    pub member: PublicKey,
    pub(super) signature: [u8; 64],
}

impl Revocation {
    pub(super) fn signable(&self) -> Signable {
        Signable::new(PURPOSE)
            .field(&self.network.to_string())
            .field(&self.member.to_string())
    }

    /// Whether the key of `network` has signed it.
    pub fn check(&self, network: PublicKey) -> Result<(), Refusal> {
        if self.network != network {
            return Err(Refusal::Network);
        }
        let key = VerifyingKey::from_bytes(&network.0).map_err(|_| Refusal::Form)?;
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(self.signable().as_bytes(), &signature)
            .map_err(|_| Refusal::Signature)
    }
}

impl FromStr for Revocation {
    type Err = Refusal;

    /// Reads the form alone; whether it counts tells [`Revocation::check`].
    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.len() > MAX_BYTES {
            return Err(Refusal::Form);
        }
        let parts: Vec<_> = text.split('.').collect();
        let [KIND, network, member, signature] = parts[..] else {
            return Err(Refusal::Form);
        };
        let key = |it: &str| it.parse::<PublicKey>().map_err(|_| Refusal::Form);
        Ok(Self {
            network: key(network)?,
            member: key(member)?,
            signature: from_hex(signature).ok_or(Refusal::Form)?,
        })
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = to_hex(&self.signature);
        write!(f, "{KIND}.{}.{}.{signature}", self.network, self.member)
    }
}

/// Whom a network has revoked, as far as a node has heard.
#[derive(Debug)]
pub struct Revoked {
    network: PublicKey,
    all: RwLock<All>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct All {
    by_key: BTreeMap<[u8; 32], Revocation>,
    digest: String,
}

impl Revoked {
    /// Nobody, yet.
    pub fn new(network: PublicKey) -> Self {
        Self {
            network,
            all: RwLock::new(All {
                by_key: BTreeMap::new(),
                digest: digest([]),
            }),
            changed: watch::Sender::new(()),
        }
    }

    /// Whether this key makes nobody a member any more.
    pub fn has(&self, member: PublicKey) -> bool {
        self.all.read().by_key.contains_key(&member.0)
    }

    /// Adds those that were not known and that the network has signed. Of more than
    /// [`MAX_REVOKED`] the rest is left out.
    pub fn add(&self, told: impl IntoIterator<Item = Revocation>) {
        let mut news: Vec<_> = told.into_iter().collect();
        news.retain(|it| !self.has(it.member) && it.check(self.network).is_ok());
        if news.is_empty() {
            return;
        }
        let mut all = self.all.write();
        for it in news {
            if all.by_key.len() >= MAX_REVOKED {
                tracing::error!(most = MAX_REVOKED, "more were revoked than are remembered");
                break;
            }
            tracing::info!(member = %it.member, "a member of the network was revoked");
            all.by_key.insert(it.member.0, it);
        }
        all.digest = digest(all.by_key.keys());
        drop(all);
        self.changed.send_replace(());
    }

    /// All of them.
    pub fn all(&self) -> Vec<Revocation> {
        self.behind(None, MAX_REVOKED)
    }

    /// At most `limit` of them in the order of their keys, from the first behind `after`.
    pub fn behind(&self, after: Option<PublicKey>, limit: usize) -> Vec<Revocation> {
        let from = after.map_or(Bound::Unbounded, |it| Bound::Excluded(it.0));
        let all = self.all.read();
        let behind = all.by_key.range((from, Bound::Unbounded));
        behind.take(limit).map(|(_, it)| it.clone()).collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.all.read().by_key.len()
    }

    /// Whether nobody was revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// By which two nodes see whether they have heard of the same ones.
    pub(super) fn digest(&self) -> String {
        self.all.read().digest.clone()
    }

    /// Wakes whoever waits for more.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

fn digest<'a>(keys: impl IntoIterator<Item = &'a [u8; 32]>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("larder 2026-11 digest of revocations");
    for key in keys {
        hasher.update(key);
    }
    to_hex(hasher.finalize().as_bytes().split_at(16).0)
}
