//! What an owner signs of a file of which other members are to hold copies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::hash::BlobHash;
use crate::peer::directory::NetworkFile;
use crate::peer::heard;
use crate::peer::identity::Identity;
use crate::peer::signature::{Forged, Proof, Signable, Trust};
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};
use crate::record::{MAX_CONTENT_TYPE_BYTES, MAX_NAME_BYTES};

/// What the order for copies is signed for.
const ORDER: &str = "larder 2026-11 copies of a file";
/// What its end is signed for.
const END: &str = "larder 2026-11 end of copies of a file";
/// The longest id or time, in bytes.
const MAX_ID_BYTES: usize = 128;

/// Of which file something is a copy: that with this id at this owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CopyKey {
    /// Whose file it is.
    pub owner: PeerId,
    /// Its id there.
    pub file: FileId,
}

/// A text that is no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is the id of a peer and that of a file, with a point between them")]
pub struct InvalidCopyKey;

impl fmt::Display for CopyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.owner, self.file)
    }
}

impl FromStr for CopyKey {
    type Err = InvalidCopyKey;

    fn from_str(text: &str) -> Result<Self, InvalidCopyKey> {
        let (owner, file) = text.split_once('.').ok_or(InvalidCopyKey)?;
        Ok(Self {
            owner: owner.parse().map_err(|_| InvalidCopyKey)?,
            file: file.parse().map_err(|_| InvalidCopyKey)?,
        })
    }
}

/// A file of which copies are to be held, as its owner has signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CopiedFile {
    /// The peer whose file it is.
    pub owner: String,
    /// The file's id there.
    pub file_id: String,
    /// The file's name.
    pub original_name: String,
    /// The length of the content, in bytes.
    pub size: u64,
    /// The hash of the content, 64 lowercase hex digits.
    pub hash: String,
    /// The content type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// When it was uploaded.
    pub uploaded_at: String,
    /// On how many members it is to be, its owner among them.
    pub copies: u8,
    /// When the owner has said so, in microseconds since the Unix epoch by its own clock.
    pub told_at: u64,
    /// Of a file that is there again after its owner had removed it: a later moment than that of
    /// the removal, so that whoever remembers that follows this. 0 of one that never was removed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u64,
    /// The owner's signature.
    #[serde(flatten)]
    pub proof: Proof,
}

/// The same, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFile {
    /// Which.
    pub key: CopyKey,
    /// What it is called.
    pub file: NetworkFile,
    /// The hash of its content.
    pub hash: BlobHash,
    /// On how many members it is to be, its owner among them.
    pub copies: u8,
}

/// What an owner says of a file of which copies are to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// On how many members it is to be, its owner among them.
    pub copies: u8,
    /// See [`CopiedFile::since`].
    pub since: u64,
    /// See [`CopiedFile::told_at`].
    pub at: u64,
}

/// That an owner has removed a file, so that all copies of it are to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawal {
    /// The peer whose file it was.
    pub owner: String,
    /// The file's id there.
    pub file_id: String,
    /// When the owner has removed it, in microseconds since the Unix epoch by its own clock, and no
    /// earlier than it was there. It ends what the owner has signed of the file until then.
    pub told_at: u64,
    /// The owner's signature.
    #[serde(flatten)]
    pub proof: Proof,
}

/// Why nothing is taken of what an owner is said to have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// It has not the form of one.
    #[error("it is no file of which copies are held")]
    Form,
    /// Its owner has not signed it.
    #[error(transparent)]
    Forged(#[from] Forged),
}

impl CopiedFile {
    /// What a node says of its own file.
    pub fn of(identity: &Identity, record: &FileRecord, order: Order) -> Self {
        let (file, Order { copies, since, at }) = (&record.file, order);
        let mut told = Self {
            owner: identity.peer_id().to_string(),
            file_id: record.id.to_string(),
            original_name: file.name.clone(),
            size: file.size,
            hash: file.hash.to_string(),
            content_type: file.content_type.clone(),
            uploaded_at: record.uploaded_at.to_string(),
            copies,
            told_at: at,
            since,
            proof: Proof::default(),
        };
        told.proof = identity.sign(&told.signable());
        told
    }

    fn signable(&self) -> Signable {
        // What was signed of most files has no such part.
        let since = (self.since > 0).then(|| self.since.to_string());
        let told = Signable::new(ORDER)
            .field(&self.owner)
            .field(&self.file_id)
            .field(&self.original_name)
            .field(&self.size.to_string())
            .field(&self.hash)
            .optional(self.content_type.as_deref())
            .field(&self.uploaded_at)
            .field(&self.copies.to_string())
            .field(&self.told_at.to_string());
        match since {
            Some(since) => told.field(&since),
            None => told,
        }
    }

    /// Checks every part, and that the owner has signed it.
    pub fn check(&self) -> Result<SharedFile, NotSigned> {
        let shared = self.read()?;
        verify(&self.proof, shared.key.owner, &self.signable())?;
        Ok(shared)
    }

    /// Checks every part but the signature, where whoever tells it is believed.
    pub fn read(&self) -> Result<SharedFile, NotSigned> {
        let content_type = self.content_type.as_deref().unwrap_or_default();
        let is_short = self.original_name.len() <= MAX_NAME_BYTES
            && content_type.len() <= MAX_CONTENT_TYPE_BYTES
            && self.uploaded_at.len() <= MAX_ID_BYTES;
        let key = key_of(&self.owner, &self.file_id);
        let hash = self.hash.parse().ok();
        let (Some(key), Some(hash), true, 1..) = (key, hash, is_short, self.copies) else {
            return Err(NotSigned::Form);
        };
        let file = NetworkFile {
            id: key.file,
            name: heard::name(self.original_name.clone()),
            size: self.size,
            hash: Some(hash),
            content_type: heard::content_type(self.content_type.clone()),
            uploaded_at: heard::time(self.uploaded_at.clone()),
        };
        Ok(SharedFile {
            key,
            file,
            hash,
            copies: self.copies,
        })
    }
}

impl Withdrawal {
    /// What a node says of a file that it removes.
    pub fn of(identity: &Identity, file: FileId, at: u64) -> Self {
        let mut told = Self {
            owner: identity.peer_id().to_string(),
            file_id: file.to_string(),
            told_at: at,
            proof: Proof::default(),
        };
        told.proof = identity.sign(&told.signable());
        told
    }

    /// Whether it ends what the owner has signed of the same file.
    pub fn ends(&self, copy: &CopiedFile) -> bool {
        copy.since <= self.told_at
    }

    /// From which moment on the file has to be there again, so that this does not end it.
    pub fn behind(&self) -> u64 {
        self.told_at.saturating_add(1)
    }

    fn signable(&self) -> Signable {
        Signable::new(END)
            .field(&self.owner)
            .field(&self.file_id)
            .field(&self.told_at.to_string())
    }

    /// Checks every part, and that the owner has signed it.
    pub fn check(&self) -> Result<CopyKey, NotSigned> {
        let key = key_of(&self.owner, &self.file_id).ok_or(NotSigned::Form)?;
        verify(&self.proof, key.owner, &self.signable())?;
        Ok(key)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn key_of(owner: &str, file: &str) -> Option<CopyKey> {
    Some(CopyKey {
        owner: owner.parse().ok()?,
        file: file.parse().ok()?,
    })
}

/// Only a peer with a key is an owner: of others anybody could say something.
fn verify(proof: &Proof, owner: PeerId, message: &Signable) -> Result<(), NotSigned> {
    match proof.verify(owner, message)? {
        Trust::Verified => Ok(()),
        Trust::Unsigned => Err(NotSigned::Forged(Forged::Incomplete)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peer::announcement::tests::record;

    fn identity() -> Identity {
        Identity::generate().unwrap()
    }

    fn file(identity: &Identity) -> CopiedFile {
        back(identity, 0)
    }

    /// The same of one that is back since then.
    fn back(identity: &Identity, since: u64) -> CopiedFile {
        let (copies, at) = (3, 7);
        CopiedFile::of(identity, &record(), Order { copies, since, at })
    }

    #[test]
    fn what_an_owner_has_signed_counts_and_no_part_can_be_changed() {
        let (owner, other) = (identity(), identity());
        let signed = file(&owner);
        let shared = signed.check().unwrap();
        assert_eq!((shared.key.owner, shared.copies), (owner.peer_id(), 3));
        let changed = |change: &dyn Fn(&mut CopiedFile)| {
            let mut changed = file(&owner);
            change(&mut changed);
            changed.check()
        };
        let all: [&dyn Fn(&mut CopiedFile); 8] = [
            &|it| it.copies = 4,
            &|it| it.size = 2,
            &|it| it.told_at = 8,
            &|it| it.since = 8,
            &|it| it.original_name = "b".to_owned(),
            &|it| it.hash = BlobHash::of(b"y").to_string(),
            &|it| it.owner = other.peer_id().to_string(),
            &|it| it.proof = Proof::default(),
        ];
        for change in all {
            assert!(matches!(changed(change), Err(NotSigned::Forged(_))));
        }
    }

    #[test]
    fn only_its_owner_ends_the_copies_of_a_file() {
        let (owner, other) = (identity(), identity());
        let ended = Withdrawal::of(&owner, FileId::from_bytes([1; 16]), 7);
        let key = ended.check().unwrap();
        assert_eq!(key, file(&owner).check().unwrap().key);
        let forged = Withdrawal {
            proof: Withdrawal::of(&other, key.file, 7).proof,
            ..ended.clone()
        };
        assert!(forged.check().is_err());
        let ordered = Withdrawal {
            proof: file(&owner).proof,
            ..ended
        };
        assert!(ordered.check().is_err(), "signed for something else");
    }

    #[test]
    fn a_removal_ends_all_that_was_there_by_then_and_nothing_that_is_back_since() {
        let owner = identity();
        let ended = Withdrawal::of(&owner, FileId::from_bytes([1; 16]), 70);
        for (since, is_ended) in [(0, true), (70, true), (ended.behind(), false)] {
            let told = back(&owner, since);
            assert!(told.check().is_ok());
            assert_eq!(ended.ends(&told), is_ended, "{since}");
        }
        // What an earlier larder has signed is read as it was, and says the same.
        let text = serde_json::to_string(&back(&owner, 0)).unwrap();
        assert!(!text.contains("since"), "{text}");
        let forged = CopiedFile {
            since: 0,
            ..back(&owner, 71)
        };
        assert!(forged.check().is_err());
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = file(&identity()).check().unwrap().key;
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    proptest! {
        #[test]
        fn no_text_is_a_key_by_chance(text in ".{0,90}") {
            prop_assert!(text.parse::<CopyKey>().is_err());
        }

        #[test]
        fn no_text_makes_the_check_panic(owner in ".{0,60}", hash in ".{0,80}") {
            let told = CopiedFile { owner, hash, ..file(&identity()) };
            prop_assert!(told.check().is_err());
        }
    }
}
