//! Announcements: what a peer tells of one file it holds, or no longer holds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::compact::Malformed;
use super::directory::NetworkFile;
use super::heard;
use super::holdings::Holdings;
use super::identity::Identity;
use super::signature::{Forged, Proof, Signable, Trust};
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};
use crate::record::{MAX_CONTENT_TYPE_BYTES, MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES};

/// The longest id or time in an announcement, in bytes.
const MAX_ID_BYTES: usize = 128;
/// What an announcement is signed for.
const PURPOSE: &str = "larder 2026-11 announcement";
/// What it is signed for with the moment at which it was told, which the first form has not.
const PURPOSE_WITH_MOMENT: &str = "larder 2026-11 announcement at";

/// An announcement as it goes over the wire. Further keys are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Announcement {
    /// The file's id at the peer.
    pub file_id: String,
    /// The file's name.
    pub original_name: String,
    /// The length of the content, in bytes.
    pub size: u64,
    /// The peer that holds it.
    pub peer_id: String,
    /// When it was uploaded.
    pub uploaded_at: String,
    /// What its user wrote about it.
    #[serde(default)]
    pub description: String,
    /// The hash of the content, 64 lowercase hex digits.
    #[serde(default)]
    pub hash: Option<String>,
    /// The content type.
    #[serde(default)]
    pub content_type: Option<String>,
    /// Whether the peer no longer holds it.
    #[serde(default)]
    pub withdrawn: bool,
    /// When the peer told it, in microseconds since the Unix epoch by its own clock, later
    /// than all that it told before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<u64>,
    /// The peer's signature of all this with `told_at`, 128 lowercase hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_signature: Option<String>,
    /// What the peer holds since, signed apart from the rest: who has heard of all changes before
    /// this one need not ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdings: Option<Holdings>,
    /// The peer's signature of all but those two, if it has a key.
    #[serde(flatten)]
    pub proof: Proof,
}

/// An announcement whose every part was checked.
#[derive(Debug, PartialEq, Eq)]
pub struct CheckedAnnouncement {
    /// The peer that holds the file.
    pub peer: PeerId,
    /// The file.
    pub file: NetworkFile,
    /// Whether the peer no longer holds it.
    pub withdrawn: bool,
    /// Whether it comes from that peer.
    pub trust: Trust,
    /// When that peer told it, by its own clock; None where nobody vouches for a time, so
    /// that it may be an old announcement that somebody repeats.
    pub at: Option<u64>,
    /// What it holds since then, if it told so.
    pub holdings: Option<Holdings>,
}

/// Why an announcement is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// A text is missing or too long.
    #[error("{0} must have {1} to {2} bytes")]
    Length(&'static str, usize, usize),
    /// The hash is none.
    #[error("hash must be 64 lowercase hex digits")]
    Hash,
    /// It is not from the peer it names.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// Of many together, which are not written as they should be.
    #[error("it is not written as it should be")]
    Malformed,
    /// Its ids are no UUIDs, so nobody could ask for the file.
    #[error("peer_id and file_id must be UUIDs to be kept")]
    Ids,
}

impl From<Malformed> for NotTaken {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl Announcement {
    /// What a node tells at a moment of a file it holds, or has removed.
    pub fn of(identity: &Identity, record: &FileRecord, withdrawn: bool, at: u64) -> Self {
        let file = &record.file;
        let mut announcement = Self {
            file_id: record.id.to_string(),
            original_name: file.name.clone(),
            size: file.size,
            peer_id: identity.peer_id().to_string(),
            uploaded_at: record.uploaded_at.to_string(),
            description: file.description.clone(),
            hash: Some(file.hash.to_string()),
            content_type: file.content_type.clone(),
            withdrawn,
            told_at: Some(at),
            told_signature: None,
            holdings: None,
            proof: Proof::default(),
        };
        announcement.proof = identity.sign(&announcement.signable(PURPOSE));
        let with_moment = identity.sign(&announcement.signable_with_moment(at));
        announcement.told_signature = with_moment.signature;
        announcement
    }

    /// The same, which tells what the peer holds since.
    #[must_use]
    pub fn with_holdings(self, holdings: Holdings) -> Self {
        let holdings = Some(holdings);
        Self { holdings, ..self }
    }

    fn signable_with_moment(&self, at: u64) -> Signable {
        self.signable(PURPOSE_WITH_MOMENT).field(&at.to_string())
    }

    fn signable(&self, purpose: &'static str) -> Signable {
        Signable::new(purpose)
            .field(&self.file_id)
            .field(&self.original_name)
            .field(&self.size.to_string())
            .field(&self.peer_id)
            .field(&self.uploaded_at)
            .field(&self.description)
            .optional(self.hash.as_deref())
            .optional(self.content_type.as_deref())
            .field(if self.withdrawn { "withdrawn" } else { "held" })
    }

    /// Checks every part.
    pub fn check(self) -> Result<CheckedAnnouncement, NotTaken> {
        self.check_lengths()?;
        let hash = self.hash.as_ref().map(|hash| hash.parse()).transpose();
        let hash = hash.map_err(|_| NotTaken::Hash)?;
        let peer: PeerId = self.peer_id.parse().map_err(|_| NotTaken::Ids)?;
        let id: FileId = self.file_id.parse().map_err(|_| NotTaken::Ids)?;
        let (trust, at) = self.verify(peer)?;
        if let Some(holdings) = &self.holdings {
            holdings.check(peer, self.proof.public_key.as_deref())?;
        }
        Ok(CheckedAnnouncement {
            peer,
            trust,
            at,
            holdings: self.holdings,
            withdrawn: self.withdrawn,
            file: NetworkFile {
                id,
                hash,
                name: heard::name(self.original_name),
                size: self.size,
                content_type: heard::content_type(self.content_type),
                uploaded_at: heard::time(self.uploaded_at),
            },
        })
    }

    fn verify(&self, peer: PeerId) -> Result<(Trust, Option<u64>), Forged> {
        let Some(at) = self.told_at else {
            let trust = self.proof.verify(peer, &self.signable(PURPOSE))?;
            return Ok((trust, None));
        };
        let proof = Proof {
            public_key: self.proof.public_key.clone(),
            signature: self.told_signature.clone(),
        };
        let trust = proof.verify(peer, &self.signable_with_moment(at))?;
        Ok((trust, Some(at).filter(|_| trust == Trust::Verified)))
    }

    fn check_lengths(&self) -> Result<(), NotTaken> {
        let content_type = self.content_type.as_deref().unwrap_or_default();
        for (key, text, least, most) in [
            ("file_id", self.file_id.as_str(), 1, MAX_ID_BYTES),
            ("peer_id", &self.peer_id, 1, MAX_ID_BYTES),
            ("uploaded_at", &self.uploaded_at, 1, MAX_ID_BYTES),
            ("original_name", &self.original_name, 1, MAX_NAME_BYTES),
            ("description", &self.description, 0, MAX_DESCRIPTION_BYTES),
            ("content_type", content_type, 0, MAX_CONTENT_TYPE_BYTES),
        ] {
            if !(least..=most).contains(&text.len()) {
                return Err(NotTaken::Length(key, least, most));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::BlobHash;
    use crate::peer::holdings::Version;
    use crate::record::{NewFile, Timestamp};

    /// A node's own file.
    pub(crate) fn record() -> FileRecord {
        FileRecord {
            id: FileId::from_bytes([1; 16]),
            uploaded_at: Timestamp(0),
            file: NewFile {
                name: "a".to_owned(),
                content_type: None,
                description: String::new(),
                size: 1,
                hash: BlobHash::of(b"x"),
            },
        }
    }

    /// A whole announcement of one.
    pub(crate) fn own(withdrawn: bool) -> Announcement {
        let identity = Identity::generate().unwrap();
        let version = Version {
            version: 7,
            ..Version::default()
        };
        let holdings = Holdings::of(&identity, version);
        Announcement::of(&identity, &record(), withdrawn, 7).with_holdings(holdings)
    }

    #[test]
    fn a_signed_announcement_is_taken_and_no_part_can_be_changed() {
        let told = own(false).check().unwrap();
        assert_eq!((told.trust, told.at), (Trust::Verified, Some(7)));
        for changed in [
            Announcement {
                withdrawn: true,
                ..own(false)
            },
            Announcement {
                size: 2,
                ..own(false)
            },
            Announcement {
                told_at: Some(8),
                ..own(false)
            },
            Announcement {
                told_signature: None,
                ..own(false)
            },
            Announcement {
                holdings: own(false).holdings,
                ..own(false)
            },
            Announcement {
                hash: None,
                ..own(false)
            },
            Announcement {
                original_name: "b".to_owned(),
                ..own(false)
            },
            Announcement {
                peer_id: own(false).peer_id,
                ..own(false)
            },
            Announcement {
                proof: Proof::default(),
                ..own(false)
            },
        ] {
            assert!(matches!(changed.check(), Err(NotTaken::Forged(_))));
        }
    }

    #[test]
    fn who_takes_the_moment_away_leaves_an_announcement_without_one() {
        let stripped = Announcement {
            told_at: None,
            ..own(true)
        };
        let told = stripped.check().unwrap();
        assert_eq!((told.trust, told.at), (Trust::Verified, None));
    }

    #[test]
    fn lengths_are_bounded() {
        let name = "x".repeat(MAX_NAME_BYTES + 1);
        let announcement = Announcement {
            original_name: name,
            ..own(false)
        };
        let refusal = NotTaken::Length("original_name", 1, MAX_NAME_BYTES);
        assert_eq!(announcement.check(), Err(refusal));
    }

    proptest! {
        #[test]
        fn nothing_random_is_an_announcement(bytes: Vec<u8>) {
            prop_assert!(serde_json::from_slice::<Announcement>(&bytes).is_err());
        }

        #[test]
        fn no_text_makes_the_check_panic(file_id in ".{0,60}", hash in ".{0,80}") {
            let hash = Some(hash);
            let announcement = Announcement { file_id, hash, ..own(false) };
            prop_assert!(announcement.check().is_err());
        }
    }
}
