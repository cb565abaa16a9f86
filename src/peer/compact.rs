//! A listing in few bytes, for nodes: some 72 a file with a name of 20, where JSON takes 459.
//!
//! Who asks for it says so in `Accept` ([`TYPE`]); others get JSON. Numbers are as in LEB128, of
//! at most ten bytes; lengths stand before texts, which are UTF-8:
//!
//! ```text
//! "larder\x01\n"   8 bytes
//! peer             16 bytes
//! listed_at        number, in microseconds; 0 where it is not told
//! version          of the holdings, number; 0 where it is not told
//! for each file that is listed:
//!     1 + 4 * n    number: n bytes, 15 at most, of the id are those of the id before it
//!     id           the others
//!     hash         32 bytes
//!     size         number
//!     uploaded_at  number of seconds since 1970
//!     name         length, text
//!     type         number: 0 for none, 1 for the one that follows (length, text), 2 and more for
//!                  those that came before, of which 64 are remembered
//! for each file that was removed:
//!     2            and its id, 16 bytes
//! 0                the end
//! total_files      number
//! next             0, or 1 and the id behind which to go on, 16 bytes
//! ```
//!
//! What proves the answer to a challenge may stand behind that, as in JSON.

use super::challenge;
use super::directory::NetworkFile;
use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord, MAX_CONTENT_TYPE_BYTES, MAX_NAME_BYTES, Timestamp};

/// The content type of a compact listing.
pub const TYPE: &str = "application/vnd.larder.listing";
/// How long a page is at most, but for its last file, in bytes; then there is a next one.
pub const MAX_PAGE_BYTES: usize = 4 << 20;

const MAGIC: [u8; 8] = *b"larder\x01\n";
/// How many content types are remembered of a page.
const MAX_TYPES: usize = 64;
/// The last second that is written: of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

const END: u64 = 0;
const FILE: u64 = 1;
const REMOVED: u64 = 2;

/// A text that is no compact listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the listing is not written as it should be")]
pub struct Malformed;

/// Writes a page.
#[derive(Debug, Default)]
pub struct Writer {
    types: Vec<String>,
    last: [u8; 16],
}

impl Writer {
    /// The beginning of a page.
    pub fn begin(peer: PeerId, listed_at: Option<u64>, version: Option<u64>) -> Vec<u8> {
        let mut to = MAGIC.to_vec();
        to.extend_from_slice(peer.as_bytes());
        number(&mut to, listed_at.unwrap_or(0));
        number(&mut to, version.unwrap_or(0));
        to
    }

    /// Adds a file, which is sent as this type.
    pub fn file(&mut self, to: &mut Vec<u8>, record: &FileRecord, content_type: Option<&str>) {
        let (id, file) = (record.id.as_bytes(), &record.file);
        let same = id
            .iter()
            .zip(&self.last)
            .take_while(|(one, other)| one == other);
        let same = same.count().min(15);
        number(to, FILE + 4 * same as u64);
        to.extend_from_slice(id.split_at(same).1);
        self.last = *id;
        to.extend_from_slice(file.hash.as_bytes());
        number(to, file.size);
        let seconds = u64::try_from(record.uploaded_at.0 / 1000).unwrap_or(0);
        number(to, seconds.min(LAST_SECOND));
        text(to, &file.name);
        let known = |it: &str| self.types.iter().position(|known| known == it);
        match content_type.map(|it| (it, known(it))) {
            None => number(to, 0),
            Some((_, Some(at))) => number(to, 2 + at as u64),
            Some((new, None)) => {
                number(to, 1);
                text(to, new);
                if self.types.len() < MAX_TYPES {
                    self.types.push(new.to_owned());
                }
            }
        }
    }

    /// Adds a file that was removed.
    pub fn removed(to: &mut Vec<u8>, id: FileId) {
        number(to, REMOVED);
        to.extend_from_slice(id.as_bytes());
    }

    /// The end of a page.
    pub fn end(to: &mut Vec<u8>, total_files: u64, next: Option<FileId>) {
        number(to, END);
        number(to, total_files);
        number(to, u64::from(next.is_some()));
        if let Some(next) = next {
            to.extend_from_slice(next.as_bytes());
        }
    }
}

pub(super) fn number(to: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return to.push(low);
        }
        to.push(low | 0x80);
    }
}

fn text(to: &mut Vec<u8>, text: &str) {
    number(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

/// A page that was read to its end, so that each part of it is what it should be.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    peer: PeerId,
    listed_at: Option<u64>,
    version: Option<u64>,
    entries: &'a [u8],
    total_files: u64,
    next: Option<FileId>,
}

impl<'a> Page<'a> {
    /// Whether an answer begins as one.
    pub fn is_one(answer: &[u8]) -> bool {
        answer.starts_with(&MAGIC)
    }

    /// Reads one.
    pub fn read(answer: &'a [u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes(answer);
        if bytes.array()? != MAGIC {
            return Err(Malformed);
        }
        let peer = PeerId::from_bytes(bytes.array()?);
        let listed_at = Some(bytes.number()?).filter(|it| *it > 0);
        let version = Some(bytes.number()?).filter(|it| *it > 0);
        let mut entries = Entries::of(bytes.0);
        while entries.next()?.is_some() {}
        let mut end = entries.bytes;
        let page = Self {
            peer,
            listed_at,
            version,
            entries: bytes.0,
            total_files: end.number()?,
            next: match end.number()? {
                0 => None,
                1 => Some(FileId::from_bytes(end.array()?)),
                _ => return Err(Malformed),
            },
        };
        if end.0.is_empty() || challenge::is_end(end.0) {
            return Ok(page);
        }
        Err(Malformed)
    }

    pub(super) fn is_of(&self, peer: PeerId) -> bool {
        self.peer == peer
    }

    pub(super) fn listed_at(&self) -> Option<u64> {
        self.listed_at
    }

    pub(super) fn version(&self) -> Option<u64> {
        self.version
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut entries = Entries::of(self.entries);
        std::iter::from_fn(move || entries.next().ok().flatten())
    }

    /// The files on it.
    pub fn files(&self) -> impl Iterator<Item = NetworkFile> + use<'a> {
        self.entries().filter_map(|it| match it {
            Entry::File(file) => Some(file.told()),
            Entry::Removed(_) => None,
        })
    }

    /// Those that were removed.
    pub fn removed(&self) -> Vec<FileId> {
        let removed = self.entries().filter_map(|it| match it {
            Entry::Removed(id) => Some(id),
            Entry::File(_) => None,
        });
        removed.collect()
    }

    /// Where to go on.
    pub fn next(&self) -> Option<FileId> {
        self.next
    }

    /// How many files the peer holds.
    pub fn total_files(&self) -> u64 {
        self.total_files
    }
}

/// What stands on a page.
pub(super) enum Entry<'a> {
    File(Listed<'a>),
    Removed(FileId),
}

/// A file as it stands there.
pub(super) struct Listed<'a> {
    id: FileId,
    hash: BlobHash,
    size: u64,
    uploaded_at: Timestamp,
    name: &'a str,
    content_type: Option<&'a str>,
}

impl Listed<'_> {
    pub(super) fn told(&self) -> NetworkFile {
        NetworkFile {
            id: self.id,
            hash: Some(self.hash),
            name: self.name.to_owned(),
            size: self.size,
            content_type: self.content_type.map(str::to_owned),
            uploaded_at: self.uploaded_at.to_string(),
        }
    }
}

pub(super) struct Entries<'a> {
    pub(super) bytes: Bytes<'a>,
    types: Vec<&'a str>,
    last: [u8; 16],
}

impl<'a> Entries<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes: Bytes(bytes),
            types: Vec::new(),
            last: [0; 16],
        }
    }

    /// The next one; None at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, Malformed> {
        let kind = self.bytes.number()?;
        match kind {
            END => Ok(None),
            REMOVED => {
                let id = FileId::from_bytes(self.bytes.array()?);
                Ok(Some(Entry::Removed(id)))
            }
            kind if kind % 4 == FILE => {
                let same = usize::try_from(kind / 4).map_err(|_| Malformed)?;
                Ok(Some(Entry::File(self.file(same)?)))
            }
            _ => Err(Malformed),
        }
    }

    fn file(&mut self, same: usize) -> Result<Listed<'a>, Malformed> {
        let others = self.last.get_mut(same..).filter(|it| !it.is_empty());
        let others = others.ok_or(Malformed)?;
        others.copy_from_slice(self.bytes.take(others.len())?);
        Ok(Listed {
            id: FileId::from_bytes(self.last),
            hash: BlobHash::from_bytes(self.bytes.array()?),
            size: self.bytes.number()?,
            uploaded_at: self.bytes.time()?,
            name: self.bytes.text(MAX_NAME_BYTES)?,
            content_type: self.content_type()?,
        })
    }

    fn content_type(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.bytes.number()? {
            0 => Ok(None),
            1 => {
                let new = self.bytes.text(MAX_CONTENT_TYPE_BYTES)?;
                if self.types.len() < MAX_TYPES {
                    self.types.push(new);
                }
                Ok(Some(new))
            }
            known => {
                let at = usize::try_from(known - 2).map_err(|_| Malformed)?;
                Ok(Some(self.types.get(at).ok_or(Malformed)?))
            }
        }
    }
}

/// Bytes that are still to be read.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let part = u64::from(byte & 0x7f);
            // One number is written in one way, and none is cut.
            if part << shift >> shift != part || byte == 0 && shift > 0 {
                return Err(Malformed);
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn text(&mut self, most: usize) -> Result<&'a str, Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        if length > most {
            return Err(Malformed);
        }
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    fn time(&mut self) -> Result<Timestamp, Malformed> {
        let seconds = Some(self.number()?).filter(|it| *it <= LAST_SECOND);
        let seconds = seconds.and_then(|it| i64::try_from(it).ok());
        Ok(Timestamp(seconds.ok_or(Malformed)? * 1000))
    }
}

#[cfg(test)]
mod tests;
