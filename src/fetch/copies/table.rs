//! What a member holds for others, and remembers of it: a store of its own, so that copies are
//! durable, proven, limited, collected and mended as files are, and no files of the member's
//! listing.
//!
//! Each entry is a record of that store, found by its name, whose description is JSON:
//! - `copy <owner>.<file>`: a copy, with its content and what the owner has signed
//!   ([`CopiedFile`]);
//! - `gone <owner>.<file>`: that the owner has removed the file, as it has signed it
//!   ([`Withdrawal`]), without content;
//! - `wish <file>`: on how many members an own file is to be, where its uploader has said so;
//! - `nothing`: so that the content of those without any is there.
//!
//! The ids of the records grow, so that what is new is behind what others have read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::blob::Received;
use crate::hash::BlobHash;
use crate::peer::copies::{CopiedFile, CopyKey, Entry, Withdrawal};
use crate::record::{FileId, FileRecord};
use crate::store::{About, Store, StoreError, TakenRoom};

/// What the names of copies begin with.
const COPY: &str = "copy ";
/// The name of the entry by which content of no bytes is there.
const NOTHING: &str = "nothing";
/// What those of wishes begin with.
const WISH: &str = "wish ";
/// What those of removals begin with.
const GONE: &str = "gone ";

/// What a member holds for others.
pub(super) struct Table {
    pub(super) store: Store,
    /// How many copies are held.
    held: AtomicU64,
}

/// What an entry says.
pub(super) enum Word {
    /// A copy is held.
    Copy,
    /// On how many members this own file is to be.
    Wish(FileId),
    /// That an owner has removed this file of its own.
    Gone(CopyKey),
}

/// A copy that is held.
#[derive(Debug, Clone)]
pub(super) struct HeldCopy {
    /// By which it is removed.
    pub(super) entry: FileId,
    pub(super) hash: BlobHash,
    /// The length of the content, in bytes.
    pub(super) size: u64,
    /// What the owner has signed.
    pub(super) signed: CopiedFile,
}

/// Some entries, in the order in which they came.
pub(super) struct EntryPage {
    pub(super) entries: Vec<(FileId, Entry)>,
    /// The last that was looked at; None where there is none behind where the page begins.
    pub(super) last: Option<FileId>,
}

impl Table {
    /// The entries in this store, of which [`Table::count_copies`] is to be told.
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            held: AtomicU64::new(0),
        }
    }

    /// So many copies were there at the start.
    pub(super) fn count_copies(&self, copies: u64) {
        self.held.fetch_add(copies, Ordering::Relaxed);
    }

    /// The copy of this file, if one is held.
    pub(super) async fn copy(&self, key: CopyKey) -> Result<Option<HeldCopy>, StoreError> {
        let record = self.store.newest_named(&copy_name(key)).await?;
        Ok(record.and_then(|it| held(&it)))
    }

    /// What the owner has said of its removal, if that is remembered.
    pub(super) async fn withdrawal(&self, key: CopyKey) -> Result<Option<Withdrawal>, StoreError> {
        let record = self.store.newest_named(&gone_name(key)).await?;
        Ok(record.and_then(|it| serde_json::from_str(&it.file.description).ok()))
    }

    /// Keeps content that has come as a copy of this file. Ok means durable.
    pub(super) async fn add(
        &self,
        content: Box<dyn Received>,
        (key, signed): (CopyKey, &CopiedFile),
        room: Arc<TakenRoom>,
    ) -> Result<FileRecord, StoreError> {
        let about = about(copy_name(key), signed);
        let added = self
            .store
            .ingest_arrived(content, about, Some(room))
            .await?;
        self.held.fetch_add(1, Ordering::Relaxed);
        Ok(added)
    }

    /// The same with the content of another copy; false where none has it, or it is not whole.
    pub(super) async fn add_held(
        &self,
        hash: BlobHash,
        (key, signed): (CopyKey, &CopiedFile),
    ) -> Result<bool, StoreError> {
        let about = about(copy_name(key), signed);
        let added = self.store.ingest_held(hash, about, None).await?;
        self.held
            .fetch_add(u64::from(added.is_some()), Ordering::Relaxed);
        Ok(added.is_some())
    }

    /// Remembers that an owner has removed a file, in the place of an earlier removal of it. Ok
    /// means durable. Returns whether there is one more then.
    pub(super) async fn withdraw(
        &self,
        key: CopyKey,
        signed: &Withdrawal,
    ) -> Result<bool, StoreError> {
        let name = gone_name(key);
        let old = self.store.newest_named(&name).await?;
        self.note(about(name, signed)).await?;
        match old {
            Some(old) => self.remove(old.id).await.map(|_| false),
            None => Ok(true),
        }
    }

    /// Forgets that an owner has removed a file, which is there again; how many entries said so.
    pub(super) async fn forget_removal(&self, key: CopyKey) -> Result<u64, StoreError> {
        self.remove_named(&gone_name(key)).await
    }

    /// Removes all entries of this name; how many that were, of which another one has removed none
    /// at the same time.
    async fn remove_named(&self, name: &str) -> Result<u64, StoreError> {
        let mut removed = 0;
        while let Some(record) = self.store.newest_named(name).await? {
            removed += u64::from(self.remove(record.id).await?);
        }
        Ok(removed)
    }

    /// Has the content of entries that have none be there, so that these need no room for it, and
    /// those gone for good that earlier builds have removed into a trash.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        self.store.empty_trash().await?;
        if self.store.holds(&BlobHash::of(b"")).await? {
            return Ok(());
        }
        self.note(about(NOTHING.to_owned(), &())).await
    }

    /// Adds an entry without content.
    async fn note(&self, about: About) -> Result<(), StoreError> {
        let nothing = BlobHash::of(b"");
        let held = self.store.ingest_held(nothing, about.clone(), None).await?;
        if held.is_some() {
            return Ok(());
        }
        let nothing = self.store.receive().await?.finish().await?;
        self.store.ingest(nothing, about).await.map(drop)
    }

    /// Writes down what an owner has signed anew of a file whose copy is held. Ok means durable.
    pub(super) async fn renew(
        &self,
        old: &HeldCopy,
        (key, signed): (CopyKey, &CopiedFile),
    ) -> Result<bool, StoreError> {
        let is_new = self.add_held(old.hash, (key, signed)).await?;
        if is_new {
            // The newest counts, so that a crash before this leaves one too many.
            self.remove_older(old.entry).await?;
        }
        Ok(is_new)
    }

    /// Removes an entry for good, as nobody brings one back from a trash; whether it was there.
    pub(super) async fn remove(&self, entry: FileId) -> Result<bool, StoreError> {
        let removed = self.store.remove_for_good(entry).await?;
        Ok(removed.is_some())
    }

    /// Writes down on how many members an own file is to be. Ok means durable.
    pub(super) async fn wish(&self, file: FileId, copies: u8) -> Result<(), StoreError> {
        let name = wish_name(file);
        let old = self.store.newest_named(&name).await?;
        self.note(about(name, &copies)).await?;
        match old {
            Some(old) => self.remove(old.id).await.map(drop),
            None => Ok(()),
        }
    }

    /// Forgets that.
    pub(super) async fn forget_wish(&self, file: FileId) -> Result<(), StoreError> {
        self.remove_named(&wish_name(file)).await.map(drop)
    }

    /// On how many it is to be, as was written down.
    pub(super) async fn wished(&self, file: FileId) -> Result<Option<u8>, StoreError> {
        let record = self.store.newest_named(&wish_name(file)).await?;
        Ok(record.and_then(|it| it.file.description.parse().ok()))
    }

    /// What is said of files among at most `limit` entries behind `after`, each with that by which
    /// it is removed, and where to go on if there are more.
    pub(super) async fn words(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<(Vec<(FileId, Word)>, Option<FileId>), StoreError> {
        let records = self.store.page(after, limit).await?;
        let has_more = FileRecord::fill_a_page(&records, limit);
        let next = records.last().map(|it| it.id).filter(|_| has_more);
        let word = |it: &FileRecord| Some((it.id, word(it)?));
        Ok((records.iter().filter_map(word).collect(), next))
    }

    /// Gives the copy of a file up; whether there was one.
    pub(super) async fn give_up(&self, key: CopyKey) -> Result<bool, StoreError> {
        let given_up = self.remove_named(&copy_name(key)).await?;
        self.held.fetch_sub(given_up, Ordering::Relaxed);
        Ok(given_up > 0)
    }

    /// Removes an entry of a copy, of which a newer one says the same.
    pub(super) async fn remove_older(&self, entry: FileId) -> Result<(), StoreError> {
        let removed = u64::from(self.remove(entry).await?);
        self.held.fetch_sub(removed, Ordering::Relaxed);
        Ok(())
    }

    /// How many copies are held, once all words were gone through.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// At most `limit` entries behind `after`.
    pub(super) async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<EntryPage, StoreError> {
        let records = self.store.page(after, limit).await?;
        let read = |it: &FileRecord| Some((it.id, entry(it)?));
        Ok(EntryPage {
            last: records.last().map(|it| it.id),
            entries: records.iter().filter_map(read).collect(),
        })
    }

    /// The same of copies alone, and where to go on if there are more.
    pub(super) async fn copies(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<(Vec<HeldCopy>, Option<FileId>), StoreError> {
        let records = self.store.page(after, limit).await?;
        let has_more = FileRecord::fill_a_page(&records, limit);
        let next = records.last().map(|it| it.id).filter(|_| has_more);
        Ok((records.iter().filter_map(held).collect(), next))
    }
}

fn copy_name(key: CopyKey) -> String {
    format!("{COPY}{key}")
}

fn gone_name(key: CopyKey) -> String {
    format!("{GONE}{key}")
}

fn wish_name(file: FileId) -> String {
    format!("{WISH}{file}")
}

fn about(name: String, signed: &impl serde::Serialize) -> About {
    About {
        name,
        content_type: None,
        // Values under names that are texts, which cannot fail to be written.
        description: serde_json::to_string(signed).unwrap_or_default(),
    }
}

fn held(record: &FileRecord) -> Option<HeldCopy> {
    record.file.name.strip_prefix(COPY)?;
    Some(HeldCopy {
        entry: record.id,
        hash: record.file.hash,
        size: record.file.size,
        signed: serde_json::from_str(&record.file.description).ok()?,
    })
}

fn word(record: &FileRecord) -> Option<Word> {
    let name = &record.file.name;
    if let Some(file) = name.strip_prefix(WISH) {
        return Some(Word::Wish(file.parse().ok()?));
    }
    if name.starts_with(COPY) {
        return Some(Word::Copy);
    }
    Some(Word::Gone(name.strip_prefix(GONE)?.parse().ok()?))
}

/// Whether a record of what a member holds is none of a copy, but says something of files.
pub fn is_note(record: &FileRecord) -> bool {
    !record.file.name.starts_with(COPY)
}

fn entry(record: &FileRecord) -> Option<Entry> {
    let told = &record.file.description;
    if record.file.name.starts_with(COPY) {
        return Some(Entry::Copy(serde_json::from_str(told).ok()?));
    }
    record.file.name.strip_prefix(GONE)?;
    Some(Entry::Withdrawn(serde_json::from_str(told).ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blob::memory::MemoryBlobs;
    use crate::index::memory::MemoryIndex;
    use crate::peer::copies::Order;
    use crate::peer::identity::Identity;

    #[tokio::test]
    async fn a_copy_that_two_give_up_at_once_is_one_less() {
        let blobs = Arc::new(MemoryBlobs::default());
        let table = Table::new(Store::new(blobs, Arc::new(MemoryIndex::default())));
        let identity = Identity::generate().unwrap();
        let content = table.store.receive().await.unwrap().finish().await.unwrap();
        let record = table.store.ingest(content, About::default()).await.unwrap();
        let order = Order {
            copies: 2,
            since: 0,
            at: 1,
        };
        let signed = CopiedFile::of(&identity, &record, order);
        let key = signed.read().unwrap().key;
        for _ in 0..2 {
            assert!(
                table
                    .add_held(record.file.hash, (key, &signed))
                    .await
                    .unwrap()
            );
        }
        assert_eq!(table.held(), 2);
        let both = tokio::join!(table.give_up(key), table.give_up(key));
        assert!(both.0.unwrap() || both.1.unwrap());
        assert_eq!(table.held(), 0);
        assert!(!table.give_up(key).await.unwrap());
        assert_eq!(table.held(), 0);
    }
}
