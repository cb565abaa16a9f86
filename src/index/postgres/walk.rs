//! Looking through all rows: whether what they name is there.

use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Failure;
use super::link::Values;
use super::rows::{self, digest, most, value};
use super::{FIRST, Options, PostgresIndex};
use crate::hash::BlobHash;
use crate::health::Health;
use crate::index::IndexError;
use crate::place::Place;
use crate::record::{FileId, Timestamp};

/// How many contents are looked at together.
const CONTENTS_AT_ONCE: i64 = 256;
/// How many files are.
const FILES_AT_ONCE: i64 = 4096;

/// The columns that [`ContentRow`] has.
macro_rules! columns {
    () => {
        "SELECT hash, blobs.place, blobs.size, EXISTS (SELECT FROM places \
         WHERE places.place = substr(blobs.place, 1, 32) AND state = 'l') AS is_live FROM blobs "
    };
}
const CONTENTS: &str = concat!(columns!(), "WHERE hash > $1 ORDER BY hash LIMIT $2");
const CONTENTS_BY_PLACE: &str = concat!(
    columns!(),
    "WHERE blobs.place >= $1 ORDER BY blobs.place LIMIT $2"
);
const DAMAGED: &str = "SELECT hash FROM blobs WHERE is_damaged AND hash > $1 \
     ORDER BY hash LIMIT $2";
const CONTENT: &str = concat!(columns!(), "WHERE hash = $1");
/// Only of what is still where it was looked at, and that may have become another content's.
const NOTE: &str = "UPDATE blobs SET is_damaged = told.is_damaged, \
     checked_at = CASE WHEN NOT told.is_damaged THEN $4::bigint END \
     FROM unnest($1::bytea[], $2::bytea[], $3::boolean[]) AS told(hash, place, is_damaged) \
     WHERE blobs.hash = told.hash AND substr(blobs.place, 1, 32) = told.place";
const KNOWN_UPLOADS: &str = "SELECT id FROM uploads WHERE id = ANY($1)";
const KNOWN: &str = "SELECT place FROM places WHERE place = ANY($1)";
/// With the last one that was looked at, behind which the next page begins.
const BEREFT: &str = "SELECT id, name, hash, is_lost, is_damaged FROM ( \
         SELECT id, name, hash, blobs.users IS NULL AS is_lost, \
         coalesce(blobs.is_damaged, false) AS is_damaged, \
         row_number() OVER (ORDER BY id) = $2 AS is_last FROM ( \
             SELECT id, name, hash FROM files WHERE id > $1 ORDER BY id LIMIT $2) AS page \
         LEFT JOIN blobs USING (hash)) AS looked \
     WHERE is_lost OR is_damaged OR is_last ORDER BY id";

/// A content that files need, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRow {
    /// Which one it is.
    pub hash: BlobHash,
    /// Where it is.
    pub place: Place,
    /// How long it is.
    pub size: u64,
    /// Whether its place is known as one that nobody may collect.
    pub is_live: bool,
}

/// A file whose content is not to be had.
#[derive(Debug)]
pub struct Bereft {
    /// The file.
    pub id: FileId,
    /// What it is called.
    pub name: String,
    /// Its content.
    pub hash: BlobHash,
    /// Whether that has no row at all, by which nobody would find it.
    pub is_lost: bool,
}

impl ContentRow {
    fn of(row: &Row) -> Result<Self, Failure> {
        Ok(Self {
            hash: BlobHash::from_bytes(digest(row, "hash")?),
            place: rows::place(row)?,
            size: rows::count(value(row, "size")?),
            is_live: value(row, "is_live")?,
        })
    }
}

impl PostgresIndex {
    /// Opens the index in a database where one is; fails where none is, and makes none.
    pub async fn open_existing(options: &Options) -> Result<Self, IndexError> {
        Self::open_or_make(options, false).await
    }

    /// The next contents that files need, in order, from the first behind `after`; none at the end.
    pub async fn contents(&self, after: Option<BlobHash>) -> Result<Vec<ContentRow>, IndexError> {
        // Before all hashes is what is shorter than any.
        let after = after.map(|it| it.as_bytes().to_vec()).unwrap_or_default();
        self.rows(CONTENTS, &[&after, &CONTENTS_AT_ONCE], ContentRow::of)
            .await
    }

    /// The next contents that files need, in the order of places, so that those of a pack are
    /// behind each other: the first behind `after`, or in `from` and behind it; none at the end.
    pub async fn contents_by_place(
        &self,
        from: Place,
        after: Option<Place>,
    ) -> Result<Vec<ContentRow>, IndexError> {
        let first = match after {
            // Nothing is between that and what is longer by the least byte.
            Some(after) => [after.written(), vec![0]].concat(),
            None => from.written(),
        };
        let values: Values<'_> = &[&first, &CONTENTS_AT_ONCE];
        self.rows(CONTENTS_BY_PLACE, values, ContentRow::of).await
    }

    /// At most so many contents that are known to be damaged, in order, the first behind `after`.
    pub async fn damaged(
        &self,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Result<Vec<BlobHash>, IndexError> {
        let after = after.map(|it| it.as_bytes().to_vec()).unwrap_or_default();
        let read = |row: &Row| Ok(BlobHash::from_bytes(digest(row, "hash")?));
        self.rows(DAMAGED, &[&after, &most(limit)], read).await
    }

    /// The row of a content; None where no file needs it.
    pub async fn row(&self, hash: &BlobHash) -> Result<Option<ContentRow>, IndexError> {
        let hash = &hash.as_bytes()[..];
        Ok(self.rows(CONTENT, &[&hash], ContentRow::of).await?.pop())
    }

    /// Has all know in what health contents were found. Ok means durable.
    pub async fn note_health(&self, found: &[(ContentRow, Health)]) -> Result<(), IndexError> {
        let hashes = found.iter().map(|(row, _)| &row.hash.as_bytes()[..]);
        let places = found.iter().map(|(row, _)| &row.place.as_bytes()[..]);
        let damaged = found.iter().map(|(_, it)| *it == Health::Damaged);
        let (hashes, places): (Vec<_>, Vec<_>) = (hashes.collect(), places.collect());
        let (damaged, now): (Vec<_>, _) = (damaged.collect(), Timestamp::now().0);
        let links = &self.shared.links;
        links
            .query(NOTE, &[&hashes, &places, &damaged, &now])
            .await
            .map(drop)
    }

    /// Which of these places no row knows.
    pub async fn unknown(&self, places: &[Place]) -> Result<Vec<Place>, IndexError> {
        let bytes: Vec<_> = places.iter().map(|it| &it.as_bytes()[..]).collect();
        let known = self.rows(KNOWN, &[&bytes], rows::place).await?;
        let unknown = places.iter().filter(|it| !known.contains(it));
        Ok(unknown.copied().collect())
    }

    /// The same of uploads in parts.
    pub async fn unknown_uploads(&self, uploads: &[Uuid]) -> Result<Vec<Uuid>, IndexError> {
        let known: Vec<Uuid> = self
            .rows(KNOWN_UPLOADS, &[&uploads], |row| value(row, "id"))
            .await?;
        let unknown = uploads.iter().filter(|it| !known.contains(it));
        Ok(unknown.copied().collect())
    }

    /// Looks through the next files, from the first behind `after`, for those whose content is not
    /// to be had, and tells behind which one to go on; None at the end.
    pub async fn bereft(
        &self,
        after: Option<FileId>,
    ) -> Result<(Vec<Bereft>, Option<FileId>), IndexError> {
        let after = rows::uuid(after.unwrap_or(FIRST));
        let looked = self
            .rows(BEREFT, &[&after, &FILES_AT_ONCE], |row| {
                let bereft = Bereft {
                    id: rows::id(value(row, "id")?),
                    name: rows::text(row, "name")?,
                    hash: BlobHash::from_bytes(digest(row, "hash")?),
                    is_lost: value(row, "is_lost")?,
                };
                Ok((value::<bool>(row, "is_damaged")?, bereft))
            })
            .await?;
        let last = looked.last().map(|(_, it)| it.id);
        let bereft = looked.into_iter();
        let bereft = bereft.filter(|(is_damaged, it)| *is_damaged || it.is_lost);
        Ok((bereft.map(|(_, it)| it).collect(), last))
    }
}
