//! Many announcements in one message, of which the whole is signed once: what one costs both sides
//! is then a small part of a request and of a signature.
//!
//! ```text
//! "larder\x02\n"   8 bytes
//! peer             16 bytes
//! public key       32 bytes
//! signature        64 bytes, of the hash of what follows
//! holdings         0, or 1 and what the peer holds since the last of them: files, version and
//!                  the version before the first (numbers), signature (64 bytes)
//! for each file, in the order in which they are told:
//!     told_at      number, in microseconds since the one before it was told, or since 1970
//!     the file, or the id of one that is no longer held, as in a compact listing
//! ```

use super::announcement::NotTaken;
use super::compact::{Bytes, Entries, Entry, Malformed, Writer, number};
use super::directory::NetworkFile;
use super::holdings::Holdings;
use super::identity::Identity;
use super::listing;
use super::signature::{Forged, Proof, Signable, from_hex, to_hex};
use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};

/// The content type of such a message.
pub const TYPE: &str = "application/vnd.larder.announcements";
/// How many announcements are sent in one.
pub const MOST: usize = 256;
/// The longest message, in bytes, so that whoever sends many at once takes no more memory than
/// with single announcements.
pub const MAX_BYTES: usize = 64 << 10;
/// What stands before the files, and what of a file does not depend on its texts, in bytes at most.
const HEAD: usize = 256;
const FIXED: usize = 128;

const MAGIC: [u8; 8] = *b"larder\x02\n";
/// What a message is signed for.
const PURPOSE: &str = "larder 2026-11 announcements";

/// What is told of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The peer holds it.
    Held(NetworkFile),
    /// It no longer does.
    Withdrawn(FileId),
}

/// A message whose signature was checked, and each part of it.
#[derive(Debug)]
pub struct Batch {
    /// Who tells it.
    pub peer: PeerId,
    /// What it holds since the last of them, if it told so: who has heard of all before the first
    /// need not ask it.
    pub holdings: Option<Holdings>,
    /// When by its own clock, in microseconds, and what.
    pub told: Vec<(u64, Told)>,
}

/// Writes a message.
#[derive(Debug)]
pub(super) struct BatchWriter {
    text: Vec<u8>,
    writer: Writer,
    last: u64,
}

/// How many of these files one message has room for: not none.
pub(super) fn fitting<'a>(records: impl Iterator<Item = &'a FileRecord>) -> usize {
    let mut left = MAX_BYTES - HEAD;
    let fits = records.take(MOST).take_while(|record| {
        let content_type = record.file.content_type.as_ref().map_or(0, String::len);
        let after = left.checked_sub(FIXED + record.file.name.len() + content_type);
        left = after.unwrap_or(0);
        after.is_some()
    });
    fits.count().max(1)
}

impl BatchWriter {
    /// A message without any file, of a peer that holds so much since the last one.
    pub(super) fn begin(holdings: Option<&Holdings>) -> Self {
        let mut text = Vec::new();
        number(&mut text, u64::from(holdings.is_some()));
        if let Some(holdings) = holdings {
            for told in [holdings.files, holdings.version, holdings.follows] {
                number(&mut text, told);
            }
            let signature = from_hex::<64>(&holdings.signature);
            text.extend_from_slice(&signature.unwrap_or([0; 64]));
        }
        Self {
            text,
            writer: Writer::default(),
            last: 0,
        }
    }

    /// Adds what is told of a file at a moment that is later than those before it.
    pub(super) fn add(&mut self, record: &FileRecord, withdrawn: bool, at: u64) {
        number(&mut self.text, at.saturating_sub(self.last));
        self.last = at;
        if withdrawn {
            Writer::removed(&mut self.text, record.id);
        } else {
            let content_type = record.file.content_type.as_deref();
            self.writer.file(&mut self.text, record, content_type);
        }
    }

    /// The whole, signed.
    pub(super) fn end(self, identity: &Identity) -> Vec<u8> {
        let proof = identity.sign(&signable(&self.text));
        let key = proof.public_key.as_deref().and_then(from_hex::<32>);
        let signature = proof.signature.as_deref().and_then(from_hex::<64>);
        let mut message = MAGIC.to_vec();
        message.extend_from_slice(identity.peer_id().as_bytes());
        message.extend_from_slice(&key.unwrap_or([0; 32]));
        message.extend_from_slice(&signature.unwrap_or([0; 64]));
        message.extend_from_slice(&self.text);
        message
    }
}

fn signable(text: &[u8]) -> Signable {
    Signable::new(PURPOSE).field(&BlobHash::of(text).to_string())
}

impl Batch {
    /// Reads one, and checks who has signed it before anything else.
    pub fn read(message: &[u8]) -> Result<Self, NotTaken> {
        let mut bytes = Bytes(message);
        if bytes.array()? != MAGIC {
            return Err(Malformed.into());
        }
        let peer = PeerId::from_bytes(bytes.array()?);
        let (key, signature) = (bytes.array::<32>()?, bytes.array::<64>()?);
        if !peer.belongs_to_a_key() {
            return Err(Forged::Id.into());
        }
        let proof = Proof {
            public_key: Some(to_hex(&key)),
            signature: Some(to_hex(&signature)),
        };
        proof.verify(peer, &signable(bytes.0))?;
        let holdings = holdings(&mut bytes)?;
        if let Some(holdings) = &holdings {
            holdings.check(peer, proof.public_key.as_deref())?;
        }
        Ok(Self {
            peer,
            holdings,
            told: read_all(bytes)?,
        })
    }
}

fn holdings(bytes: &mut Bytes<'_>) -> Result<Option<Holdings>, Malformed> {
    match bytes.number()? {
        0 => Ok(None),
        1 => Ok(Some(Holdings {
            files: bytes.number()?,
            version: bytes.number()?,
            follows: bytes.number()?,
            signature: to_hex(&bytes.array::<64>()?),
        })),
        _ => Err(Malformed),
    }
}

fn read_all(bytes: Bytes<'_>) -> Result<Vec<(u64, Told)>, Malformed> {
    let (mut told, mut at) = (Vec::new(), 0_u64);
    let mut entries = Entries::of(bytes.0);
    while !entries.bytes.0.is_empty() {
        at = at.checked_add(entries.bytes.number()?).ok_or(Malformed)?;
        let entry = entries.next()?.filter(|_| told.len() < MOST);
        told.push(match entry.ok_or(Malformed)? {
            Entry::File(file) => (at, Told::Held(listing::made_plain(file.told()))),
            Entry::Removed(id) => (at, Told::Withdrawn(id)),
        });
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::peer::announcement::tests::record;
    use crate::peer::holdings::Version;
    use crate::record::{MAX_CONTENT_TYPE_BYTES, MAX_NAME_BYTES};

    fn holdings(identity: &Identity) -> Holdings {
        let now = Version {
            files: 300,
            version: 75,
            follows: 60,
        };
        Holdings::of(identity, now)
    }

    fn message(identity: &Identity, holdings: Option<&Holdings>) -> Vec<u8> {
        let mut writer = BatchWriter::begin(holdings);
        writer.add(&record(), false, 70);
        writer.add(&record(), true, 75);
        writer.end(identity)
    }

    #[test]
    fn what_was_signed_is_read_and_no_byte_can_be_changed() {
        let identity = Identity::generate().unwrap();
        let holdings = holdings(&identity);
        let right = message(&identity, Some(&holdings));
        let batch = Batch::read(&right).unwrap();
        assert_eq!(batch.peer, identity.peer_id());
        assert_eq!(batch.holdings, Some(holdings));
        let held = Told::Held(NetworkFile::from(record()));
        let expected = [(70, held), (75, Told::Withdrawn(record().id))];
        assert_eq!(batch.told, expected);
        for at in 0..right.len() {
            let mut changed = right.clone();
            changed[at] ^= 1;
            assert!(Batch::read(&changed).is_err(), "{at}");
            assert!(Batch::read(&right[..at]).is_err(), "{at}");
        }
        let without = Batch::read(&message(&identity, None)).unwrap();
        assert_eq!((without.holdings, without.told.len()), (None, 2));
    }

    #[test]
    fn nobody_tells_what_others_have_signed() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let theirs = message(&one, Some(&holdings(&other)));
        let forged = Err(NotTaken::Forged(Forged::Signature));
        assert_eq!(Batch::read(&theirs).map(|_| ()), forged);
        // The id of one, and key and signature of the other.
        let mut named = message(&one, None);
        named[8..24].copy_from_slice(other.peer_id().as_bytes());
        assert!(matches!(Batch::read(&named), Err(NotTaken::Forged(_))));
    }

    #[test]
    fn more_than_may_be_sent_at_once_is_not_taken() {
        let identity = Identity::generate().unwrap();
        for (many, is_taken) in [(MOST, true), (MOST + 1, false)] {
            let mut writer = BatchWriter::begin(None);
            for at in 1..=many as u64 {
                writer.add(&record(), false, at);
            }
            assert_eq!(Batch::read(&writer.end(&identity)).is_ok(), is_taken);
        }
    }

    #[test]
    fn as_many_are_sent_at_once_as_there_is_room_for() {
        let identity = Identity::generate().unwrap();
        let short = vec![record(); MOST + 1];
        assert_eq!(fitting(short.iter()), MOST);
        let mut longest = record();
        longest.file.name = "x".repeat(MAX_NAME_BYTES);
        longest.file.content_type = Some("x".repeat(MAX_CONTENT_TYPE_BYTES));
        longest.file.size = u64::MAX;
        let long = vec![longest; MOST];
        let many = fitting(long.iter());
        assert!((10..MOST).contains(&many), "{many}");
        let mut writer = BatchWriter::begin(Some(&holdings(&identity)));
        for record in &long[..many] {
            writer.add(record, false, u64::MAX);
        }
        let message = writer.end(&identity);
        assert!(message.len() <= MAX_BYTES, "{}", message.len());
        assert!(Batch::read(&message).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_signed_makes_the_reader_panic(text: Vec<u8>) {
            let identity = Identity::generate().unwrap();
            let writer = BatchWriter { text, ..BatchWriter::begin(None) };
            let _ = Batch::read(&writer.end(&identity));
        }
    }
}
