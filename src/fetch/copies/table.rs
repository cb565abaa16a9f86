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

use crate::blob::Received;
use crate::hash::BlobHash;
use crate::peer::copies::{CopiedFile, CopyKey, Entry, Withdrawal};
use crate::peer_id::PeerId;
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
}

/// What an entry says that is no copy.
pub(super) enum Word {
    /// On how many members this own file is to be.
    Wish(FileId),
    /// That this owner has removed a file.
    Gone(PeerId),
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
        self.store.ingest_arrived(content, about, Some(room)).await
    }

    /// The same with the content of another copy; false where none has it, or it is not whole.
    pub(super) async fn add_held(
        &self,
        hash: BlobHash,
        (key, signed): (CopyKey, &CopiedFile),
    ) -> Result<bool, StoreError> {
        let about = about(copy_name(key), signed);
        let added = self.store.ingest_held(hash, about, None).await?;
        Ok(added.is_some())
    }

    /// Remembers that an owner has removed a file. Ok means durable.
    pub(super) async fn withdraw(
        &self,
        key: CopyKey,
        signed: &Withdrawal,
    ) -> Result<(), StoreError> {
        self.note(about(gone_name(key), signed)).await
    }

    /// Has the content of entries that have none be there, so that these need no room for it.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
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
            self.remove(old.entry).await?;
        }
        Ok(is_new)
    }

    /// Removes an entry.
    pub(super) async fn remove(&self, entry: FileId) -> Result<(), StoreError> {
        self.store.remove(entry).await.map(drop)
    }

    /// Writes down on how many members an own file is to be. Ok means durable.
    pub(super) async fn wish(&self, file: FileId, copies: u8) -> Result<(), StoreError> {
        let name = wish_name(file);
        let old = self.store.newest_named(&name).await?;
        self.note(about(name, &copies)).await?;
        match old {
            Some(old) => self.remove(old.id).await,
            None => Ok(()),
        }
    }

    /// Forgets that.
    pub(super) async fn forget_wish(&self, file: FileId) -> Result<(), StoreError> {
        let name = wish_name(file);
        while let Some(record) = self.store.newest_named(&name).await? {
            self.remove(record.id).await?;
        }
        Ok(())
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
        let (name, mut is_given_up) = (copy_name(key), false);
        while let Some(record) = self.store.newest_named(&name).await? {
            self.remove(record.id).await?;
            is_given_up = true;
        }
        Ok(is_given_up)
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
    let key: CopyKey = name.strip_prefix(GONE)?.parse().ok()?;
    Some(Word::Gone(key.owner))
}

fn entry(record: &FileRecord) -> Option<Entry> {
    let told = &record.file.description;
    if record.file.name.starts_with(COPY) {
        return Some(Entry::Copy(serde_json::from_str(told).ok()?));
    }
    record.file.name.strip_prefix(GONE)?;
    Some(Entry::Withdrawn(serde_json::from_str(told).ok()?))
}
