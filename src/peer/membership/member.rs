//! The other end of a connection between members: for how long it is one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::time::sleep;

use super::{Certificate, PublicKey, Revoked};

/// Of how many it is remembered until when they are members, some 60 bytes each.
const MOST: usize = 16_384;
/// How soon it is looked again at a clock that may have been set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A member at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Member {
    certificate: Arc<Certificate>,
    lasting: Arc<Lasting>,
}

/// Who is a member for how long: whoever was met, by the certificate that lasts longest of those
/// that it has shown, as it may be renewed while a connection stands.
#[derive(Debug)]
pub(super) struct Lasting {
    revoked: Arc<Revoked>,
    /// Until when, in seconds since 1970.
    ends: Mutex<HashMap<PublicKey, u64>>,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.certificate.member.peer_id(), f)
    }
}

impl Member {
    /// The one that has shown this certificate, which counts.
    pub(super) fn by(certificate: Certificate, lasting: &Arc<Lasting>) -> Self {
        lasting.note(&certificate);
        Self {
            certificate: Arc::new(certificate),
            lasting: Arc::clone(lasting),
        }
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether it is one at this moment: a connection may last longer than a certificate.
    pub fn is_valid_now(&self) -> bool {
        let Certificate {
            member, expires, ..
        } = *self.certificate;
        !self.lasting.left(member, expires).is_zero()
    }

    /// Returns once it is one no longer: at the end of its certificate, and as soon as this node
    /// hears that it was revoked.
    pub async fn ended(&self) {
        let Certificate {
            member, expires, ..
        } = *self.certificate;
        self.lasting.ended(member, expires).await;
    }
}

impl Lasting {
    pub(super) fn new(revoked: Arc<Revoked>) -> Self {
        Self {
            revoked,
            ends: Mutex::default(),
        }
    }

    fn note(&self, shown: &Certificate) {
        let mut ends = self.ends.lock();
        if ends.len() >= MOST && !ends.contains_key(&shown.member) {
            let now = SystemTime::now();
            ends.retain(|_, end| now < UNIX_EPOCH + Duration::from_secs(*end));
            if ends.len() >= MOST {
                return;
            }
        }
        let end = ends.entry(shown.member).or_insert(0);
        *end = shown.expires.max(*end);
    }

    /// Returns once whoever has this key, and was met, is a member no longer.
    pub(super) async fn of_met(&self, member: PublicKey) {
        let end = self.ends.lock().get(&member).copied();
        // Of more than are remembered only who is revoked is known.
        self.ended(member, end.unwrap_or(u32::MAX.into())).await;
    }

    /// For how long whoever has this key is a member by a certificate that ends then, or by a later
    /// one that it has shown since.
    fn left(&self, member: PublicKey, shown: u64) -> Duration {
        if self.revoked.has(member) {
            return Duration::ZERO;
        }
        let later = self.ends.lock().get(&member).copied();
        let end = UNIX_EPOCH + Duration::from_secs(later.unwrap_or(0).max(shown));
        end.duration_since(SystemTime::now()).unwrap_or_default()
    }

    async fn ended(&self, member: PublicKey, shown: u64) {
        let mut changed = self.revoked.watch();
        loop {
            let left = self.left(member, shown);
            if left.is_zero() {
                return;
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep(left.min(LOOK_AGAIN)) => {}
            }
        }
    }
}
