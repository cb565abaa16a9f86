//! Registrations: what a peer tells of itself, to a bootstrap server or to another peer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::address::Policy;
use super::holdings::Holdings;
use super::identity::Identity;
use super::signature::{Forged, Proof, Signable, Trust};
use crate::base_url::BaseUrl;
use crate::peer_id::PeerId;
use crate::record::Timestamp;

/// The longest registration taken, in bytes, with whatever other keys it has.
pub const MAX_BYTES: usize = 4096;
/// The longest address taken, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 512;
/// How far ahead of this machine a peer's clock may be, in milliseconds. Older peers
/// write their local time, which is up to 14 hours ahead of UTC.
const MAX_AHEAD_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// What a registration is signed for.
const PURPOSE: &str = "larder 2026-11 registration";
/// What a registration that says goodbye is signed for, which older nodes take for a forged one.
const LEAVING: &str = "larder 2026-11 goodbye";

/// A registration as it goes over the wire. Further keys are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Registration {
    /// The peer's id.
    pub peer_id: String,
    /// Where it is reached.
    pub address: String,
    /// When it told so; possibly empty.
    #[serde(default)]
    pub timestamp: String,
    /// Whether the peer says goodbye, since it stops.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// What makes the peer a member of a network, if it is one: signed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<String>,
    /// How much it holds, as it has signed apart from the rest; older peers do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdings: Option<Holdings>,
    /// The peer's signature, if it has a key.
    #[serde(flatten)]
    pub proof: Proof,
}

/// A registration whose every part was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The peer's id.
    pub id: PeerId,
    /// Where it is reached.
    pub address: BaseUrl,
    /// Whether it comes from the peer it names.
    pub trust: Trust,
    /// As it came, to be passed along.
    pub registration: Registration,
}

/// Why a registration is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Absurd {
    /// The id is none.
    #[error("peer_id must be a UUID")]
    PeerId,
    /// The address is none, or too long, or has a path: where a stranger says so, nothing
    /// but larder's own paths is asked for.
    #[error(
        "address must be http:// or https:// with a host and perhaps a port, \
         {MAX_ADDRESS_BYTES} bytes at most"
    )]
    Address,
    /// Nobody asks what is at this address, so it is not passed on either.
    #[error("address is one at which no other node can be reached")]
    Reserved,
    /// The time is none.
    #[error("timestamp must be written as 2026-01-21T10:00:00")]
    Timestamp,
    /// The time has not come yet.
    #[error("timestamp is in the future")]
    Future,
    /// Anybody could say goodbye for a peer that signs nothing.
    #[error("a goodbye must be signed")]
    UnsignedGoodbye,
    /// This node knows members of its network alone.
    #[error("it does not show that the peer is a member of this node's network")]
    NoMember,
    /// It is not from the peer it names.
    #[error(transparent)]
    Forged(#[from] Forged),
}

impl Registration {
    /// What a node tells of itself now.
    pub fn of_self(identity: &Identity, address: &BaseUrl) -> Self {
        Self::signed(identity, address, false)
    }

    /// What it tells when it stops.
    pub fn goodbye(identity: &Identity, address: &BaseUrl) -> Self {
        Self::signed(identity, address, true)
    }

    fn signed(identity: &Identity, address: &BaseUrl, leaving: bool) -> Self {
        let mut registration = Self {
            peer_id: identity.peer_id().to_string(),
            address: address.to_string(),
            timestamp: if leaving {
                // Later than a registration of the same second.
                Timestamp::now().to_text_with_millis()
            } else {
                Timestamp::now().to_string()
            },
            leaving,
            membership: None,
            holdings: None,
            proof: Proof::default(),
        };
        registration.proof = identity.sign(&registration.signable());
        registration
    }

    /// The same, which shows that the peer is a member of a network.
    #[must_use]
    pub fn with_membership(self, certificate: &str) -> Self {
        let membership = Some(certificate.to_owned());
        Self { membership, ..self }
    }

    /// The same, which tells how much the peer holds.
    #[must_use]
    pub fn with_holdings(self, holdings: Holdings) -> Self {
        let holdings = Some(holdings);
        Self { holdings, ..self }
    }

    fn signable(&self) -> Signable {
        Signable::new(if self.leaving { LEAVING } else { PURPOSE })
            .field(&self.peer_id)
            .field(&self.address)
            .field(&self.timestamp)
    }

    /// Checks every part.
    pub fn check(self) -> Result<Checked, Absurd> {
        let latest = Timestamp::now().0.saturating_add(MAX_AHEAD_MILLIS);
        self.check_until(Timestamp(latest))
    }

    /// The same for one that was checked before: this machine's clock may have been set back
    /// since, as where a battery is missing.
    pub(super) fn check_again(self) -> Result<Checked, Absurd> {
        self.check_until(Timestamp(i64::MAX))
    }

    fn check_until(self, latest: Timestamp) -> Result<Checked, Absurd> {
        let id: PeerId = self.peer_id.parse().map_err(|_| Absurd::PeerId)?;
        if self.address.len() > MAX_ADDRESS_BYTES {
            return Err(Absurd::Address);
        }
        let address: BaseUrl = self.address.parse().map_err(|_| Absurd::Address)?;
        // What a parser of URLs overlooks, such as a line break, would be passed on.
        if address.has_path() || !self.address.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Absurd::Address);
        }
        if !Policy::default().allows_url(&address) {
            return Err(Absurd::Reserved);
        }
        if !self.timestamp.is_empty() {
            let time: Timestamp = self.timestamp.parse().map_err(|_| Absurd::Timestamp)?;
            if time.0 > latest.0 {
                return Err(Absurd::Future);
            }
        }
        let trust = self.proof.verify(id, &self.signable())?;
        if let Some(holdings) = &self.holdings {
            holdings.check(id, self.proof.public_key.as_deref())?;
        }
        if self.leaving && trust == Trust::Unsigned {
            return Err(Absurd::UnsignedGoodbye);
        }
        Ok(Checked {
            id,
            address,
            trust,
            registration: self,
        })
    }
}

impl Checked {
    /// When the peer registered, in whole seconds, or said goodbye, in milliseconds; the epoch if
    /// it does not say.
    pub fn registered_at(&self) -> Timestamp {
        self.registration.timestamp.parse().unwrap_or(Timestamp(0))
    }
}

/// Registrations for tests.
#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// Of a peer with this key, now.
    pub(crate) fn signed_by(identity: &Identity, address: &str) -> Registration {
        Registration::of_self(identity, &address.parse().unwrap())
    }

    /// Of a peer with this key, which is there in a second of an hour that has passed.
    pub(crate) fn signed_in_second(identity: &Identity, address: &str, second: u8) -> Registration {
        let mut registration = signed_by(identity, address);
        registration.timestamp = format!("2026-01-21T10:{:02}:{:02}", second / 60, second % 60);
        registration.proof = identity.sign(&registration.signable());
        registration
    }

    /// Of a peer with a key of its own, now.
    pub(crate) fn signed(address: &str) -> Registration {
        signed_by(&Identity::generate().unwrap(), address)
    }

    /// Of an older peer, always the same, which has no key.
    pub(crate) fn unsigned(timestamp: &str, address: &str) -> Registration {
        Registration {
            peer_id: "123e4567-e89b-42d3-a456-426614174000".to_owned(),
            address: address.to_owned(),
            timestamp: timestamp.to_owned(),
            leaving: false,
            membership: None,
            holdings: None,
            proof: Proof::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peer::holdings::Version;

    fn own() -> Registration {
        samples::signed("http://localhost:5004")
    }

    fn old() -> Registration {
        samples::unsigned("2026-01-21T10:00:00.123456", "http://localhost:5004")
    }

    #[test]
    fn a_node_vouches_for_itself_and_an_older_peer_goes_unsigned() {
        assert_eq!(own().check().unwrap().trust, Trust::Verified);
        assert_eq!(old().check().unwrap().trust, Trust::Unsigned);
    }

    /// One that tells of so many files, where its peer has signed other holdings.
    fn holding(files: u64, signed: u64) -> Registration {
        let identity = Identity::generate().unwrap();
        let version = Version {
            files: signed,
            ..Version::default()
        };
        let holdings = Holdings {
            files,
            ..Holdings::of(&identity, version)
        };
        samples::signed_by(&identity, "http://localhost:5004").with_holdings(holdings)
    }

    #[test]
    fn what_a_peer_holds_is_signed_apart_so_that_older_nodes_take_it_too() {
        let told = holding(2, 2);
        let without = Registration {
            holdings: None,
            ..told.clone()
        };
        assert_eq!(told.check().unwrap().trust, Trust::Verified);
        assert_eq!(without.check().unwrap().trust, Trust::Verified);
    }

    #[test]
    fn every_signed_part_counts() {
        let other = own();
        for changed in [
            Registration {
                address: "http://evil.example".to_owned(),
                ..own()
            },
            Registration {
                timestamp: "2026-01-21T10:00:00".to_owned(),
                ..own()
            },
            Registration {
                peer_id: other.peer_id,
                ..own()
            },
            Registration {
                proof: Proof::default(),
                ..own()
            },
            Registration {
                leaving: true,
                ..own()
            },
            holding(2, 1),
        ] {
            let checked = changed.clone().check();
            assert!(matches!(checked, Err(Absurd::Forged(_))), "{changed:?}");
        }
    }

    #[test]
    fn absurd_ones_are_refused() {
        let long = format!("http://{}", "x".repeat(MAX_ADDRESS_BYTES));
        for (registration, why) in [
            (
                Registration {
                    peer_id: String::new(),
                    ..old()
                },
                Absurd::PeerId,
            ),
            (
                Registration {
                    address: "ftp://host".to_owned(),
                    ..old()
                },
                Absurd::Address,
            ),
            (
                Registration {
                    address: long,
                    ..old()
                },
                Absurd::Address,
            ),
            (
                Registration {
                    address: "http://localhost:5004/reboot.cgi".to_owned(),
                    ..old()
                },
                Absurd::Address,
            ),
            (
                Registration {
                    timestamp: "soon".to_owned(),
                    ..old()
                },
                Absurd::Timestamp,
            ),
            (
                Registration {
                    timestamp: "2999-01-21T10:00:00".to_owned(),
                    ..old()
                },
                Absurd::Future,
            ),
        ] {
            assert_eq!(registration.check().unwrap_err(), why);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_check_panic(
            peer_id in ".{0,60}", address in ".{0,60}", timestamp in ".{0,40}",
        ) {
            let _ = Registration { peer_id, address, timestamp, ..old() }.check();
        }

        #[test]
        fn only_what_has_an_id_and_an_address_parses(bytes: Vec<u8>) {
            prop_assert!(serde_json::from_slice::<Registration>(&bytes).is_err());
        }
    }
}
