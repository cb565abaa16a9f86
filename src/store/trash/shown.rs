//! What the store shows of files: none that is in the trash.

use crate::hash::BlobHash;
use crate::index::{Alike, Content};
use crate::record::{FileId, FileRecord, Order, PAGE_BYTES};
use crate::store::{Store, StoreError, TrashTotals};

/// How many files are read together where some are in the trash.
const READ: usize = 256;
/// How many earlier files of one name are looked at.
const MOST_EARLIER: usize = 64;

impl Store {
    /// Whether a file is in the trash.
    pub fn is_trashed(&self, id: FileId) -> bool {
        self.trash.as_ref().is_some_and(|it| it.has(id))
    }

    /// How much is in the trash.
    pub fn trash_totals(&self) -> TrashTotals {
        self.trash
            .as_ref()
            .map_or_else(TrashTotals::default, |it| it.totals())
    }

    fn has_trash(&self) -> bool {
        self.trash_totals().files > 0
    }

    /// What is known of a content that files have which are not in the trash.
    pub(in crate::store) async fn locate_shown(
        &self,
        hash: &BlobHash,
    ) -> Result<Option<Content>, StoreError> {
        let content = self.index.locate(hash).await?;
        let trashed = self.trash.as_ref().map_or(0, |it| it.users(hash));
        Ok(content.filter(|it| trashed == 0 || it.users > trashed))
    }

    pub(in crate::store) async fn page_shown(
        &self,
        from: Option<FileId>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<FileRecord>, StoreError> {
        let has_trash = self.has_trash();
        let (mut from, mut shown, mut bytes) = (from, Vec::new(), 0);
        loop {
            let read = if has_trash { limit.max(READ) } else { limit };
            let page = match order {
                Order::OldestFirst => self.index.page(from, read).await?,
                Order::NewestFirst => self.index.page_back(from, read).await?,
            };
            let Some(last) = page.last() else {
                return Ok(shown);
            };
            from = Some(last.id);
            if !has_trash {
                return Ok(page);
            }
            for record in page {
                if shown.len() >= limit || bytes >= PAGE_BYTES {
                    return Ok(shown);
                }
                if !self.is_trashed(record.id) {
                    bytes += record.file.text_bytes();
                    shown.push(record);
                }
            }
            if shown.len() >= limit || bytes >= PAGE_BYTES {
                return Ok(shown);
            }
        }
    }

    pub(in crate::store) async fn newest_shown(
        &self,
        name: &str,
    ) -> Result<Option<FileRecord>, StoreError> {
        let mut newest = self.index.newest_named(name).await?;
        while let Some(record) = &newest {
            if !self.is_trashed(record.id) {
                break;
            }
            newest = self.index.named_before(name, record.id).await?;
        }
        Ok(newest)
    }

    /// See [`Store::earlier`].
    pub(in crate::store) async fn earlier_shown(
        &self,
        all: &[Alike<'_>],
    ) -> Result<Vec<Option<FileId>>, StoreError> {
        let mut found = self.index.earlier(all).await?;
        for (first, alike) in found.iter_mut().zip(all) {
            if first.is_some_and(|it| self.is_trashed(it)) {
                *first = self.earlier_untrashed(alike).await?;
            }
        }
        Ok(found)
    }

    /// The first one is in the trash: of those before this one the earliest that is not.
    async fn earlier_untrashed(&self, alike: &Alike<'_>) -> Result<Option<FileId>, StoreError> {
        let (mut earliest, mut before) = (None, alike.than);
        for _ in 0..MOST_EARLIER {
            let Some(record) = self.index.named_before(alike.name, before).await? else {
                break;
            };
            before = record.id;
            if record.file.hash == alike.hash && !self.is_trashed(record.id) {
                earliest = Some(record.id);
            }
        }
        Ok(earliest)
    }
}
