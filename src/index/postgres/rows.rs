//! Values as rows have them.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::failure::Failure;
use crate::hash::BlobHash;
use crate::index::{Content, Totals};
use crate::name_form;
use crate::place::Place;
use crate::record::{FileId, FileRecord, NewFile, Timestamp};

/// The columns that [`record`] reads.
macro_rules! record_columns {
    () => {
        "id, uploaded_at, name, content_type, description, size, hash"
    };
}
/// The columns of which [`Heads`] are made.
macro_rules! heads_columns {
    () => {
        "last_id, changes, forgotten, files, bytes, blobs, blob_bytes"
    };
}
/// The columns that [`content`] reads.
macro_rules! content_columns {
    () => {
        "place, users, checked_at, is_damaged"
    };
}
pub(super) use {content_columns, heads_columns, record_columns};

/// The row of which there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heads {
    pub(super) last_id: FileId,
    pub(super) changes: i64,
    pub(super) forgotten: i64,
    pub(super) files: i64,
    pub(super) bytes: i64,
    pub(super) blobs: i64,
    pub(super) blob_bytes: i64,
}

impl Heads {
    pub(super) fn of(row: &Row) -> Result<Self, Failure> {
        Ok(Self {
            last_id: id(value(row, "last_id")?),
            changes: value(row, "changes")?,
            forgotten: value(row, "forgotten")?,
            files: value(row, "files")?,
            bytes: value(row, "bytes")?,
            blobs: value(row, "blobs")?,
            blob_bytes: value(row, "blob_bytes")?,
        })
    }

    /// The same but for what is damaged, which it does not tell.
    pub(super) fn totals(&self) -> Totals {
        Totals {
            files: count(self.files),
            bytes: count(self.bytes),
            blobs: count(self.blobs),
            blob_bytes: count(self.blob_bytes),
            ..Totals::default()
        }
    }
}

/// The value of a column.
pub(super) fn value<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, Failure> {
    row.try_get(column)
        .map_err(|error| unreadable(column, &error))
}

fn unreadable(column: &str, error: &dyn std::error::Error) -> Failure {
    Failure::Odd(format!("the column {column} cannot be read: {error}"))
}

/// 32 bytes, as hashes and places have.
pub(super) fn digest(row: &Row, column: &str) -> Result<[u8; 32], Failure> {
    let bytes: &[u8] = value(row, column)?;
    bytes.try_into().map_err(|error| unreadable(column, &error))
}

pub(super) fn place(row: &Row) -> Result<Place, Failure> {
    let bytes: &[u8] = value(row, "place")?;
    Place::read(bytes).ok_or_else(|| Failure::Odd("a place is none".to_owned()))
}

pub(super) fn text(row: &Row, column: &str) -> Result<String, Failure> {
    let bytes: &[u8] = value(row, column)?;
    String::from_utf8(bytes.to_vec()).map_err(|error| unreadable(column, &error))
}

pub(super) fn record(row: &Row) -> Result<FileRecord, Failure> {
    let content_type: Option<&[u8]> = value(row, "content_type")?;
    let content_type = content_type
        .map(|_| text(row, "content_type"))
        .transpose()?;
    Ok(FileRecord {
        id: id(value(row, "id")?),
        uploaded_at: Timestamp(value(row, "uploaded_at")?),
        file: NewFile {
            name: text(row, "name")?,
            content_type,
            description: text(row, "description")?,
            size: count(value(row, "size")?),
            hash: BlobHash::from_bytes(digest(row, "hash")?),
        },
    })
}

pub(super) fn content(row: &Row) -> Result<Content, Failure> {
    let checked_at: Option<i64> = value(row, "checked_at")?;
    Ok(Content {
        place: place(row)?,
        users: u32::try_from(value::<i64>(row, "users")?).unwrap_or(u32::MAX),
        checked_at: checked_at.map(Timestamp),
        is_damaged: value(row, "is_damaged")?,
        // What servers do not give is out of reach.
        is_unreadable: false,
    })
}

pub(super) fn id(id: Uuid) -> FileId {
    FileId::from_bytes(id.into_bytes())
}

pub(super) fn uuid(id: FileId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// A number that is never below zero.
pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number of bytes, of which there are no more in any place.
pub(super) fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// By what files of a name are found, however its letters were typed.
pub(super) fn name_key(name: &str) -> Uuid {
    let hash = BlobHash::of(name_form::composed(name).as_bytes());
    let (half, _) = hash.as_bytes().split_at(16);
    Uuid::from_slice(half).unwrap_or_default()
}

/// A limit as statements have it.
pub(super) fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A time that a statement gives in seconds.
pub(super) fn seconds(row: &Row, column: &str) -> Result<Duration, Failure> {
    let seconds: f64 = value(row, column)?;
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
