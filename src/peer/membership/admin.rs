//! The key of a network at a node: it renews those who come, and hears of who was revoked by
//! `larder network` while it runs.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;

use super::roll::Entry;
use super::written;
use super::{Certificate, NetworkKey, NetworkKeyError, PublicKey, Revoked, Roll, RollError};
use crate::blocking;

/// The key of a network, and its roll as it was read last.
pub struct Admin {
    path: PathBuf,
    key: NetworkKey,
    roll: RwLock<HashMap<PublicKey, Entry>>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({})", self.key.public())
    }
}

impl Admin {
    /// The key in the file at `path`. Blocks.
    pub fn read(path: &Path) -> Result<Self, NetworkKeyError> {
        Ok(Self {
            path: path.to_owned(),
            key: NetworkKey::read(path)?,
            roll: RwLock::default(),
        })
    }

    /// Of which network it is.
    pub fn network(&self) -> PublicKey {
        self.key.public()
    }

    /// The members on the roll, as it was read last.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.roll.read().values().cloned().collect()
    }

    /// One of them.
    pub(super) fn entry(&self, member: PublicKey) -> Option<Entry> {
        self.roll.read().get(&member).cloned()
    }

    /// Reads what is written beside the key again. Blocks.
    pub(in crate::peer) fn look(&self, revoked: &Revoked) -> Result<(), RollError> {
        revoked.add(written::revocations(&self.path)?);
        let roll = Roll::beside(&self.path)?;
        let members = roll.members().iter();
        *self.roll.write() = members
            .map(|it| (it.certificate.member, it.clone()))
            .collect();
        Ok(())
    }

    /// The certificate that whoever has proven the key of `shown` is to have in its place: one that
    /// it has not got yet, or a new one where half of the time is over. One that has expired makes
    /// no other, unless it is `own`, this node's.
    pub(super) async fn later(
        self: &Arc<Self>,
        shown: &Certificate,
        own: bool,
    ) -> Option<Certificate> {
        let (now, member) = (SystemTime::now(), shown.member);
        let known = self.entry(member)?;
        if !known.is_due(now) {
            return known.later_than(shown, now);
        }
        if !(own || known.certificate.is_valid_at(now)) {
            return None;
        }
        let admin = Arc::clone(self);
        let made = blocking::run(move || Roll::renew(&admin.path, &admin.key, member)).await;
        match made {
            Ok(Some(entry)) => {
                let expires = entry.certificate.expires_at();
                tracing::info!(%member, %expires, "a member of the network was renewed");
                let certificate = entry.certificate.clone();
                self.roll.write().insert(member, entry);
                Some(certificate)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::error!(%member, %error, "a member of the network is not renewed");
                None
            }
        }
    }
}
