//! What a user uploaded: file ids, file records and their times.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::{NoContext, Uuid};

use crate::hash::BlobHash;
use crate::name_form;
use crate::text_form::serde_as_text;

/// The longest file name kept, in bytes.
pub const MAX_NAME_BYTES: usize = 4096;
/// The longest description kept, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 16 * 1024;
/// The longest content type kept, in bytes.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;
/// How long name, type and description of a file may be together, in bytes: so many that
/// the most changes written together fit into one batch of the journal.
const MAX_TEXT_BYTES: usize = MAX_NAME_BYTES + MAX_DESCRIPTION_BYTES + MAX_CONTENT_TYPE_BYTES;
/// How long the texts of all files are together that are read at once, in bytes: a page of files
/// ends with the one that makes it so long, however many were asked for.
pub const PAGE_BYTES: usize = 256 << 10;
/// The longest file extension that `saved_name` takes over, in bytes.
const MAX_EXTENSION_BYTES: usize = 16;

/// The id of an uploaded file: a UUID version 7 (RFC 9562, section 5.7).
///
/// Ids of one node grow in the order in which its index accepted the files, so
/// a listing by id is a listing by upload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(Uuid);

/// A text that is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a file id is a UUID")]
pub struct InvalidFileId;

/// The most that ids are apart, less one, where the clock does not tell them apart.
const STEP: u128 = u32::MAX as u128;

impl FileId {
    /// The id for a file accepted now, greater than `last`.
    pub fn next(last: Option<FileId>) -> Self {
        let now = since_epoch();
        // Without the counter of `Uuid::now_v7`, which panics at a time before 1970.
        let now = uuid::Timestamp::from_unix(NoContext, now.as_secs(), now.subsec_nanos());
        let fresh = Uuid::new_v7(now);
        match last {
            // The clock stood still or went back: count on in the random bits, by a step that
            // nobody else takes who goes on from the same id, as an index does that was set back.
            Some(FileId(last)) if fresh <= last => {
                let step = 1 + (fresh.as_u128() & STEP);
                Self(Uuid::from_u128(last.as_u128() + step))
            }
            _ => Self(fresh),
        }
    }

    /// The greatest id that is less than this one.
    pub fn before(self) -> Option<FileId> {
        let before = self.0.as_u128().checked_sub(1)?;
        Some(Self(Uuid::from_u128(before)))
    }

    /// The least id that is greater than this one.
    pub fn after(self) -> Option<FileId> {
        let after = self.0.as_u128().checked_add(1)?;
        Some(Self(Uuid::from_u128(after)))
    }

    /// The id with exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes; their order is the order of the ids.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for FileId {
    type Err = InvalidFileId;

    fn from_str(text: &str) -> Result<Self, InvalidFileId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidFileId)
    }
}

/// In which order files are listed, by their ids, which grow with the time of the upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// From the first one on.
    #[default]
    OldestFirst,
    /// From the last one back.
    NewestFirst,
}

/// A moment, in milliseconds since the Unix epoch (UTC).
///
/// Shown as the REST contract writes times: `2026-01-21T10:00:00`, UTC, whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// A text that is no time as the REST contract writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is written as 2026-01-21T10:00:00")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// The present moment.
    pub fn now() -> Self {
        Self(i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX))
    }
}

/// How long ago 1970 began; nothing where the clock says that it is yet to come.
fn since_epoch() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

impl Timestamp {
    /// The same as the system tells times; None of what was before 1970.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let since = Duration::from_millis(u64::try_from(self.0).ok()?);
        UNIX_EPOCH.checked_add(since)
    }

    /// As the contract writes it, with milliseconds.
    pub fn to_text_with_millis(self) -> String {
        format!("{self}.{:03}", self.0.rem_euclid(1000))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Reads what the contract writes, with fractions of a second as older peers add them.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        // Where white space may stand is not what the parser decides: such a text is passed on.
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidTimestamp);
        }
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
            .map(|time| Self(time.and_utc().timestamp_millis()))
            .map_err(|_| InvalidTimestamp)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = chrono::DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        write!(f, "{}", utc.format("%Y-%m-%dT%H:%M:%S"))
    }
}

serde_as_text!(FileId, Timestamp);

/// What an upload tells about a file; the index adds the id and the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// The name the user gave, as it came; never used as a path.
    pub name: String,
    /// The content type the user gave, if any.
    pub content_type: Option<String>,
    /// What the user wrote about the file, possibly nothing.
    pub description: String,
    /// The length of the content, in bytes.
    pub size: u64,
    /// The hash of the content.
    pub hash: BlobHash,
}

impl NewFile {
    /// Whether this is its name, however the letters of both were typed.
    pub fn is_named(&self, name: &str) -> bool {
        name_form::is_same(&self.name, name)
    }

    /// Whether name, type and description are longer together than an index takes.
    pub(crate) fn is_too_long(&self) -> bool {
        self.text_bytes() > MAX_TEXT_BYTES
    }

    /// How long name, type and description are together, in bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        let content_type = self.content_type.as_ref().map_or(0, String::len);
        self.name.len() + self.description.len() + content_type
    }
}

/// A file that the node keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// The file's id.
    pub id: FileId,
    /// When the index accepted the file.
    pub uploaded_at: Timestamp,
    /// What the upload told.
    pub file: NewFile,
}

impl FileRecord {
    /// Whether these are all files of a page that was to have at most `limit`, so that there may be
    /// more behind it.
    pub fn fill_a_page(files: &[Self], limit: usize) -> bool {
        let texts = files.iter().map(|it| it.file.text_bytes());
        files.len() >= limit || texts.sum::<usize>() >= PAGE_BYTES
    }

    /// The name under which the older service kept the file: `<uuid>.<ext>`, or
    /// `<uuid>` where the name has no extension of up to 16 ASCII letters and digits.
    pub fn saved_name(&self) -> String {
        match self.file.name.rsplit_once('.') {
            Some((_, ext))
                if (1..=MAX_EXTENSION_BYTES).contains(&ext.len())
                    && ext.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                format!("{}.{ext}", self.id)
            }
            _ => self.id.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> FileRecord {
        FileRecord {
            id: FileId::from_bytes([1; 16]),
            uploaded_at: Timestamp(0),
            file: NewFile {
                name: name.to_owned(),
                content_type: None,
                description: String::new(),
                size: 0,
                hash: BlobHash::of(b""),
            },
        }
    }

    #[test]
    fn ids_grow_even_when_the_clock_does_not() {
        let future = FileId::from_bytes([
            0xff, 0xff, 0xff, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0xff,
        ]);
        let next = FileId::next(Some(future));
        assert!(next > future);
        assert!(FileId::next(Some(next)) > next);
        assert_eq!(next.0.get_version_num(), 7);
    }

    #[test]
    fn times_are_written_as_the_contract_writes_them() {
        // `date -u -d @1769000400` prints Wed Jan 21 13:00:00 UTC 2026.
        assert_eq!(
            Timestamp(1_769_000_400_999).to_string(),
            "2026-01-21T13:00:00"
        );
    }

    #[test]
    fn times_parse_with_and_without_fractions() {
        let time = Timestamp(1_769_000_400_000);
        assert_eq!("2026-01-21T13:00:00".parse(), Ok(time));
        assert_eq!(
            "2026-01-21T13:00:00.123456".parse(),
            Ok(Timestamp(time.0 + 123))
        );
        for text in [
            "\n2026-01-21T10:00:00",
            "2026-01-21T10:00:00 ",
            "",
            "now",
            "2026-01-21",
            "2026-13-21T13:00:00",
            "1769000400",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    #[test]
    fn only_a_plain_extension_reaches_the_saved_name() {
        let id = FileId::from_bytes([1; 16]).to_string();
        assert_eq!(record("file.pdf").saved_name(), format!("{id}.pdf"));
        assert_eq!(record("archive.tar.gz").saved_name(), format!("{id}.gz"));
        for name in [
            "README",
            "odd.",
            "../../etc/pass.w/d",
            "a.\n",
            "a.b\"c",
            "x.12345678901234567",
        ] {
            assert_eq!(record(name).saved_name(), id, "{name}");
        }
    }
}
