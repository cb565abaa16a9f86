//! Holdings: how much a peer holds, and since when, signed by itself and passed on by others.
//! Whoever has read a peer's files up to that version need not ask it again.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::identity::Identity;
use super::signature::{Forged, Proof, Signable, Trust};
use crate::peer_id::PeerId;

/// What holdings are signed for.
const PURPOSE: &str = "larder 2026-11 holdings";

/// What a peer with a key tells of its files, as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holdings {
    /// How many files it holds.
    pub files: u64,
    /// Differs with each change of them and with each start, and is larger than all before it: in
    /// microseconds since the Unix epoch by the peer's own clock, or of several nodes that are one
    /// peer the number of their changes.
    pub version: u64,
    /// The version before this one, where no more than what is told with it has changed since; 0
    /// where that is not so.
    pub follows: u64,
    /// The peer's signature, 128 lowercase hex digits.
    pub signature: String,
}

impl Holdings {
    /// What this node tells of its own.
    pub fn of(identity: &Identity, now: Version) -> Self {
        let proof = identity.sign(&signable(identity.peer_id(), now));
        Self {
            files: now.files,
            version: now.version,
            follows: now.follows,
            signature: proof.signature.unwrap_or_default(),
        }
    }

    /// Fails unless the peer whose public key this is has signed them.
    pub fn check(&self, peer: PeerId, public_key: Option<&str>) -> Result<(), Forged> {
        let proof = Proof {
            public_key: public_key.map(str::to_owned),
            signature: Some(self.signature.clone()),
        };
        let now = Version {
            files: self.files,
            version: self.version,
            follows: self.follows,
        };
        match proof.verify(peer, &signable(peer, now))? {
            Trust::Verified => Ok(()),
            Trust::Unsigned => Err(Forged::Incomplete),
        }
    }
}

fn signable(peer: PeerId, now: Version) -> Signable {
    Signable::new(PURPOSE)
        .field(&peer.to_string())
        .field(&now.files.to_string())
        .field(&now.version.to_string())
        .field(&now.follows.to_string())
}

/// How many files a node holds, and by which change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// How many.
    pub files: u64,
    /// See [`Holdings::version`].
    pub version: u64,
    /// See [`Holdings::follows`].
    pub follows: u64,
}

/// The version of this node's own files.
#[derive(Debug)]
pub struct OwnVersion(Mutex<Own>);

#[derive(Debug)]
struct Own {
    now: Version,
    /// When it changed last.
    at: Instant,
}

impl OwnVersion {
    /// That of a node that starts at this moment.
    pub fn starting_at(moment: u64) -> Self {
        let now = Version {
            version: moment,
            ..Version::default()
        };
        let at = Instant::now();
        Self(Mutex::new(Own { now, at }))
    }

    /// The present one.
    pub fn now(&self) -> Version {
        self.0.lock().now
    }

    /// The same, where it has changed within this time.
    pub fn changed_within(&self, time: Duration) -> Option<Version> {
        let own = self.0.lock();
        (own.at.elapsed() < time).then_some(own.now)
    }

    /// Notes how many files there are at the start, before anything changes.
    pub fn count(&self, files: u64) {
        self.0.lock().now.files = files;
    }

    /// Notes one change at a moment that is later than all before it; `files` are there since.
    pub fn change(&self, moment: u64, files: u64) -> Version {
        let mut own = self.0.lock();
        let before = own.now.version;
        own.note(Version {
            files,
            version: moment.max(before + 1),
            follows: before,
        });
        own.now
    }

    /// Notes that an earlier run has told a later version than there is now, as where the clock was
    /// set back meanwhile: nobody would take what is told now for news.
    pub fn rise_above(&self, version: u64) {
        let mut own = self.0.lock();
        if version > own.now.version {
            let files = own.now.files;
            own.note(Version {
                files,
                version: version.saturating_add(1),
                follows: 0,
            });
        }
    }

    /// Notes that changes were missed until this moment.
    pub fn jump(&self, moment: u64, files: u64) {
        let mut own = self.0.lock();
        let version = moment.max(own.now.version + 1);
        own.note(Version {
            files,
            version,
            follows: 0,
        });
    }
}

impl Own {
    fn note(&mut self, now: Version) {
        (self.now, self.at) = (now, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_peer_has_signed_of_itself_counts() {
        let (me, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let own = OwnVersion::starting_at(7);
        own.count(3);
        let holdings = Holdings::of(&me, own.change(9, 4));
        assert_eq!(
            (holdings.files, holdings.version, holdings.follows),
            (4, 9, 7)
        );
        let key = |of: &Identity| of.sign(&Signable::new("any")).public_key;
        let check = |it: &Holdings, of: &Identity| it.check(of.peer_id(), key(of).as_deref());
        assert_eq!(check(&holdings, &me), Ok(()));
        assert!(check(&holdings, &other).is_err());
        assert!(holdings.check(me.peer_id(), None).is_err());
        for changed in [
            Holdings {
                files: 5,
                ..holdings.clone()
            },
            Holdings {
                version: 10,
                ..holdings.clone()
            },
            Holdings {
                follows: 8,
                ..holdings.clone()
            },
        ] {
            assert_eq!(check(&changed, &me), Err(Forged::Signature));
        }
    }

    #[test]
    fn a_version_only_grows_whatever_the_clock_says() {
        let own = OwnVersion::starting_at(100);
        assert_eq!(own.change(50, 1).version, 101);
        own.jump(40, 2);
        assert_eq!((own.now().version, own.now().follows), (102, 0));
        own.jump(200, 2);
        assert_eq!(
            own.now(),
            Version {
                files: 2,
                version: 200,
                follows: 0
            }
        );
        assert_eq!(own.change(150, 3).follows, 200);
        own.rise_above(200);
        assert_eq!(own.now().version, 201);
        own.rise_above(300);
        assert_eq!((own.now().version, own.now().follows), (301, 0));
    }
}
