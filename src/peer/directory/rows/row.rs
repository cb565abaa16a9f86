//! What one peer told of one file, in a hundred bytes and, if the name is long, its texts.

use chrono::NaiveDate;

use super::types::Types;
use crate::hash::BlobHash;
use crate::name_form;
use crate::peer::directory::told::NetworkFile;
use crate::record::{FileId, Timestamp};

/// How many bytes of texts lie in the row itself.
const SHORT: usize = 22;
/// What the allocator takes besides, and the least that it gives, in bytes.
const ALLOCATION: (usize, usize) = (8, 32);

/// What one peer told of one file.
#[derive(Debug)]
pub(in crate::peer::directory) struct Row {
    pub(super) id: FileId,
    hash: [u8; 32],
    size: u64,
    texts: Texts,
    /// When it was told, in the order of all.
    pub(super) order: u32,
    /// The time of the upload in seconds since 1970, where it can be written so.
    seconds: u32,
    /// The number of the peer.
    pub(super) number: u16,
    /// Which content type, or how long it is.
    content_type: u16,
    name_bytes: u16,
    /// In which reading of the peer it was told last.
    pub(super) reading: u8,
    flags: u8,
}

/// The name, then the content type and the time of the upload, where they are not kept shorter.
#[derive(Debug)]
enum Texts {
    Short(u8, [u8; SHORT]),
    Long(Box<str>),
}

const HAS_HASH: u8 = 1;
const IS_COPY: u8 = 2;
const HAS_KNOWN_TYPE: u8 = 4;
const HAS_TYPE: u8 = 8;
const HAS_TIME: u8 = 16;
/// The bits above are the rank.
const RANK: u32 = 5;

impl Texts {
    fn of(parts: [&str; 3]) -> Self {
        let text = parts.concat();
        let mut short = [0; SHORT];
        match (short.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short(length, short)
            }
            _ => Self::Long(text.into()),
        }
    }

    fn get(&self) -> &str {
        match self {
            Self::Short(length, bytes) => {
                let text = bytes.get(..usize::from(*length)).unwrap_or_default();
                std::str::from_utf8(text).unwrap_or_default()
            }
            Self::Long(text) => text,
        }
    }
}

impl Row {
    /// What `file` says, told by the peer with this number. None where its texts are longer than
    /// any that are heard.
    pub(super) fn new(file: &NetworkFile, types: &mut Types, number: u16) -> Option<Self> {
        let seconds = seconds(&file.uploaded_at);
        let name_bytes = u16::try_from(file.name.len()).ok()?;
        let told = file.content_type.as_deref();
        u16::try_from(told.map_or(0, str::len)).ok()?;
        let known = told.and_then(|it| types.number(it));
        let spelt = told.filter(|_| known.is_none());
        let time = seconds.map_or(file.uploaded_at.as_str(), |_| "");
        let flags = [
            (file.hash.is_some(), HAS_HASH),
            (known.is_some(), HAS_KNOWN_TYPE),
            (spelt.is_some(), HAS_TYPE),
            (seconds.is_some(), HAS_TIME),
        ];
        let flags = flags.iter().filter(|(is_so, _)| *is_so).map(|(_, it)| it);
        Some(Self {
            id: file.id,
            hash: file.hash.map_or([0; 32], |it| *it.as_bytes()),
            size: file.size,
            texts: Texts::of([&file.name, spelt.unwrap_or_default(), time]),
            order: 0,
            seconds: seconds.unwrap_or(0),
            number,
            content_type: match (known, spelt) {
                (Some(number), _) => number,
                (None, spelt) => u16::try_from(spelt.map_or(0, str::len)).ok()?,
            },
            name_bytes,
            reading: 0,
            flags: flags.sum(),
        })
    }

    /// The same, told so.
    pub(super) fn told(self, order: u32, reading: u8, rank: u8, is_copy: bool) -> Self {
        let mut row = Self {
            order,
            reading,
            flags: self.flags | if is_copy { IS_COPY } else { 0 },
            ..self
        };
        row.set_rank(rank);
        row
    }

    pub(super) fn hash(&self) -> Option<BlobHash> {
        self.has(HAS_HASH).then(|| BlobHash::from_bytes(self.hash))
    }

    /// Whether it is a copy that the peer holds for another, and no file of its own.
    pub(super) fn is_copy(&self) -> bool {
        self.has(IS_COPY)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How far its peer is believed: less is more.
    pub(super) fn rank(&self) -> u8 {
        self.flags >> RANK
    }

    pub(super) fn set_rank(&mut self, rank: u8) {
        self.flags = self.flags & !(u8::MAX << RANK) | rank << RANK;
    }

    /// Name, content type and time, as far as they are spelt here.
    fn split(&self) -> (&str, &str, &str) {
        let texts = self.texts.get();
        let (name, rest) = texts
            .split_at_checked(self.name_bytes.into())
            .unwrap_or_default();
        let type_bytes = if self.has(HAS_TYPE) {
            self.content_type
        } else {
            0
        };
        let (content_type, time) = rest.split_at_checked(type_bytes.into()).unwrap_or_default();
        (name, content_type, time)
    }

    pub(super) fn name(&self) -> &str {
        self.split().0
    }

    /// Whether its name holds this text, folded.
    pub(in crate::peer::directory) fn has_name(&self, part: Option<&str>) -> bool {
        part.is_none_or(|part| name_form::holds(self.name(), part))
    }

    /// The number of its content type, where it has one.
    pub(super) fn known_type(&self) -> Option<u16> {
        self.has(HAS_KNOWN_TYPE).then_some(self.content_type)
    }

    fn content_type<'a>(&'a self, types: &'a Types) -> Option<&'a str> {
        match self.known_type() {
            Some(number) => types.get(number),
            None => self.has(HAS_TYPE).then(|| self.split().1),
        }
    }

    fn uploaded_at(&self) -> String {
        if self.has(HAS_TIME) {
            Timestamp(i64::from(self.seconds) * 1000).to_string()
        } else {
            self.split().2.to_owned()
        }
    }

    pub(super) fn file(&self, types: &Types) -> NetworkFile {
        NetworkFile {
            id: self.id,
            hash: self.hash(),
            name: self.name().to_owned(),
            size: self.size,
            content_type: self.content_type(types).map(str::to_owned),
            uploaded_at: self.uploaded_at(),
        }
    }

    /// Whether it says just what `file` does.
    pub(super) fn says(&self, file: &NetworkFile, is_copy: bool, types: &Types) -> bool {
        let is_same = self.id == file.id && self.size == file.size && self.hash() == file.hash;
        let time = match seconds(&file.uploaded_at) {
            Some(seconds) => self.has(HAS_TIME) && seconds == self.seconds,
            None => !self.has(HAS_TIME) && self.split().2 == file.uploaded_at,
        };
        let texts =
            self.name() == file.name && self.content_type(types) == file.content_type.as_deref();
        is_same && time && texts && self.is_copy() == is_copy
    }

    /// What its texts take besides the row, in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        let (beside, least) = ALLOCATION;
        match &self.texts {
            Texts::Short(..) => 0,
            // Allocations come in sixteens.
            Texts::Long(text) => (text.len() + beside).next_multiple_of(16).max(least),
        }
    }
}

/// A time in seconds since 1970, if it is written just as that is.
fn seconds(text: &str) -> Option<u32> {
    let digits = text.bytes().zip(b"0000-00-00T00:00:00");
    let is_plain = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == *form,
    };
    if text.len() != 19 || !digits.into_iter().all(is_plain) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let year = i32::try_from(number(0, 4)?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?;
    let time = day.and_hms_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?)?;
    u32::try_from(time.and_utc().timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_row_is_as_short_as_is_counted() {
        assert_eq!(size_of::<Row>(), 96);
    }

    /// Times that are kept in seconds, and others.
    const TIMES: &str = "|2026-01-21T10:00:00|2026-01-21T10:00:00\\.[0-9]{1,6}\
        |1969-12-31T23:59:59|2024-02-30T10:00:00";

    proptest! {
        #[test]
        fn it_says_what_was_told(
            id: u128, hash: Option<[u8; 32]>, size: u64, is_copy: bool, rank in 0..6_u8,
            name in ".{0,40}", content_type in proptest::option::of("[a-z/]{0,300}"),
            uploaded_at in TIMES,
        ) {
            let file = NetworkFile {
                id: FileId::from_bytes(id.to_be_bytes()),
                hash: hash.map(BlobHash::from_bytes),
                name,
                size,
                content_type,
                uploaded_at,
            };
            let mut types = Types::default();
            let row = Row::new(&file, &mut types, 7).unwrap().told(1, 2, rank, is_copy);
            prop_assert_eq!(row.file(&types), file.clone());
            prop_assert!(row.says(&file, is_copy, &types) && !row.says(&file, !is_copy, &types));
            prop_assert_eq!((row.is_copy(), row.rank()), (is_copy, rank));
            let other = NetworkFile { size: size ^ 1, ..file.clone() };
            prop_assert!(!row.says(&other, is_copy, &types));
            let other = NetworkFile { name: file.name.clone() + "x", ..file };
            prop_assert!(!row.says(&other, is_copy, &types));
        }
    }
}
