//! The bucket that several nodes share, as what it is to whoever reads all of it again: rows tell
//! what has to be there, so what is missing shows as well as what is damaged.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;

use crate::blob::s3::{Found, S3Blobs};
use crate::blob::{BlobBackend, BlobError, InOrder, Medium, Next, OpenBlob, Position, Salvage};
use crate::hash::BlobHash;
use crate::health::Health;
use crate::index::postgres::{ContentRow, PostgresIndex, unavailable};
use crate::index::{Content, IndexBackend};
use crate::place::Place;
use crate::unavailable::Unavailable;

/// Content of at most so many bytes is read in one turn.
const SHORT: u64 = 64 * 1024;

/// What the contents are in, and what is known of them.
#[derive(Clone)]
pub(super) struct SharedMedium {
    pub(super) index: Arc<PostgresIndex>,
    pub(super) blobs: Arc<S3Blobs>,
}

/// All contents that files need.
struct Rows {
    medium: SharedMedium,
    /// What was looked up and is still to be read.
    ahead: VecDeque<ContentRow>,
    /// The last place that was looked up.
    after: Option<Place>,
    position: Place,
}

impl SharedMedium {
    async fn locate(&self, hash: BlobHash) -> Option<Content> {
        self.index.locate(&hash).await.ok().flatten()
    }

    /// Reads a content that its row said is in a place, and tells how many bytes are whole; None
    /// where they are not, which is remembered, or where no file needs it any more.
    async fn check(&self, row: ContentRow) -> Result<Option<u64>, BlobError> {
        let mut row = row;
        loop {
            let found = self.blobs.reread(&row.hash, row.place).await?;
            if found == Found::Whole {
                return Ok(Some(row.size));
            }
            // It may have been removed, or written anew elsewhere, while it was looked for.
            let now = self.index.row(&row.hash).await.map_err(unavailable)?;
            match now {
                Some(now) if now.place != row.place => row = now,
                Some(_) if found == Found::Missing => {
                    self.blobs.note_missing(row.place).await?;
                    return Ok(None);
                }
                _ => return Ok(None),
            }
        }
    }
}

#[async_trait]
impl Medium for SharedMedium {
    fn in_order_from(&self, from: Position) -> Box<dyn InOrder> {
        Box::new(Rows {
            medium: self.clone(),
            ahead: VecDeque::new(),
            after: None,
            position: from.place,
        })
    }

    fn has_what_is_needed(&self) -> bool {
        true
    }

    async fn not_whole(
        &self,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Result<Vec<(BlobHash, Health)>, Unavailable> {
        let damaged = self.index.damaged(after, limit).await;
        let damaged = damaged.map_err(unavailable)?.into_iter();
        Ok(damaged.map(|it| (it, Health::Damaged)).collect())
    }

    async fn salvage(&self, hash: BlobHash, size: u64) -> Option<Box<dyn Salvage>> {
        let place = self.locate(hash).await?.place;
        self.blobs.salvage(hash, place, size).await
    }

    async fn open_in_part(&self, hash: BlobHash) -> Option<Arc<dyn OpenBlob>> {
        let place = self.locate(hash).await?.place;
        self.blobs.open_in_part(&hash, place).await
    }
}

impl Rows {
    /// Looks up what follows, unless something is ahead.
    async fn fill(&mut self) -> Result<(), BlobError> {
        if self.ahead.is_empty() {
            self.look_up().await?;
        }
        Ok(())
    }

    async fn look_up(&mut self) -> Result<(), BlobError> {
        let index = &self.medium.index;
        let rows = index.contents_by_place(self.position, self.after).await;
        let rows = rows.map_err(unavailable)?;
        self.after = rows.last().map(|it| it.place).or(self.after);
        self.ahead.extend(rows);
        Ok(())
    }

    /// The contents of a pack that follow.
    async fn of_pack(&mut self, pack: Place) -> Result<Vec<ContentRow>, BlobError> {
        let mut of_it = Vec::new();
        loop {
            while let Some(row) = self.ahead.pop_front_if(|it| it.place.object() == pack) {
                of_it.push(row);
            }
            if !self.ahead.is_empty() {
                return Ok(of_it);
            }
            self.look_up().await?;
            if self.ahead.is_empty() {
                return Ok(of_it);
            }
        }
    }

    /// Reads a pack, and once more by itself what is not whole in it.
    async fn read_pack(&mut self, pack: Place) -> Result<Next, BlobError> {
        let rows = self.of_pack(pack).await?;
        let places = rows.iter().map(|it| (it.hash, it.place)).collect();
        let are_whole = self.medium.blobs.reread_pack(pack, places).await?;
        let (mut whole, mut bytes) = (0, 0);
        for (row, is_whole) in rows.into_iter().zip(are_whole) {
            let size = if is_whole {
                Some(row.size)
            } else {
                self.medium.check(row).await?
            };
            whole += u64::from(size.is_some());
            bytes += size.unwrap_or_default();
        }
        Ok(Next::Short {
            whole,
            bytes,
            doubtful: Vec::new(),
        })
    }
}

#[async_trait]
impl InOrder for Rows {
    async fn next(&mut self, _most: u64) -> Result<Option<Next>, BlobError> {
        self.fill().await?;
        let Some(next) = self.ahead.front().copied() else {
            return Ok(None);
        };
        self.position = next.place.object();
        if next.place.at().is_some() {
            return Ok(Some(self.read_pack(self.position).await?));
        }
        self.ahead.pop_front();
        if next.size > SHORT {
            return Ok(Some(Next::Long(next.hash)));
        }
        let whole = self.medium.check(next).await?;
        Ok(Some(Next::Short {
            whole: u64::from(whole.is_some()),
            bytes: whole.unwrap_or_default(),
            doubtful: Vec::new(),
        }))
    }

    fn position(&self) -> Place {
        self.position
    }
}
