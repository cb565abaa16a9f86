//! What a member answers others of copies.

use std::sync::atomic::Ordering;

use super::holder::{Copies, PAGE};
use super::table::HeldCopy;
use crate::peer::copies::{CopiedFile, CopyKey, Entry, Row, Silent, Standing, Whether, Withdrawal};
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};
use crate::store::StoreError;

/// How long it takes at most to remove a file whose removal is written down, in milliseconds.
const REMOVING_MS: i64 = 60_000;
/// How many files of an owner are told of at once.
const ROWS: usize = 1024;

impl Copies {
    /// How it stands with this member, and what it holds behind an entry.
    pub async fn standing(&self, after: Option<FileId>) -> Result<Standing, StoreError> {
        let network = &self.fetcher.network;
        let silent = self.members.silent().into_iter().map(|(id, ago)| Silent {
            peer_id: id.to_string(),
            ms: u64::try_from(ago.as_millis()).unwrap_or(u64::MAX),
        });
        let mut standing = Standing {
            status: "success".to_owned(),
            peer_id: network.peer_id().to_string(),
            offer: self.options.offer,
            used: self.held().bytes,
            left: self.left().await,
            silent: silent.collect(),
            ..Standing::default()
        };
        if !self.is_ready.load(Ordering::Relaxed) {
            // Its owners may have removed meanwhile what it holds.
            return Ok(standing);
        }
        standing.run.clone_from(&self.run);
        let shown = self.wishes.shown.load(Ordering::Relaxed);
        standing.listed = self.own.revision().watch().borrow().wrapping_add(shown);
        let changed = self.wishes.changed.load(Ordering::Relaxed);
        standing.asks = self.asks.load(Ordering::Relaxed).wrapping_add(changed);
        let unknown = self.unknown.owners().into_iter();
        standing.unknown = unknown.map(|it| it.to_string()).collect();
        standing.dropped = self.dropped.load(Ordering::Relaxed);
        let page = self.table.page(after, PAGE).await?;
        let mut last = page.last;
        for (id, entry) in page.entries {
            match self.is_told(&entry).await? {
                Some(true) => standing.entries.push(entry),
                Some(false) => {}
                // Whoever asks next may be told.
                None => {
                    last = id.before();
                    break;
                }
            }
        }
        standing.next = last.filter(|it| Some(*it) > after).map(|it| it.to_string());
        Ok(standing)
    }

    /// Whether an entry is told: the removal of an own file is once that is removed. None where it
    /// may be under way.
    async fn is_told(&self, entry: &Entry) -> Result<Option<bool>, StoreError> {
        let Entry::Withdrawn(withdrawal) = entry else {
            return Ok(Some(true));
        };
        let (Ok(owner), Ok(file)) = (withdrawal.owner.parse(), withdrawal.file_id.parse()) else {
            return Ok(Some(false));
        };
        let is_own = self.me() == owner;
        if is_own && self.returned.since(file) > withdrawal.told_at {
            return Ok(Some(false));
        }
        let is_there = is_own && self.own.get(file).await?.is_some();
        let now = self.fetcher.network.removals.moment() / 1000;
        let age = i64::try_from(now.saturating_sub(withdrawal.told_at / 1000));
        let is_late = age.unwrap_or(i64::MAX) > REMOVING_MS;
        Ok(match (is_there, is_late) {
            (false, _) => Some(true),
            (true, true) => Some(false),
            (true, false) => None,
        })
    }

    /// The files of an owner of which there are to be copies, as far as this member knows, and
    /// where to go on if there are more.
    pub async fn rows(
        &self,
        owner: PeerId,
        after: Option<FileId>,
    ) -> Result<(Vec<Row>, Option<FileId>), StoreError> {
        if owner != self.me() {
            let (copies, next) = self.table.copies(after, ROWS).await?;
            let of_owner = |it: &&HeldCopy| it.signed.owner.parse() == Ok(owner);
            let is_unknown = |it: &HeldCopy| {
                let file = it.signed.file_id.parse();
                file.is_ok_and(|file| self.unknown.has(CopyKey { owner, file }))
            };
            let rows = copies.iter().filter(of_owner).map(|it| Row {
                id: it.signed.file_id.clone(),
                hash: it.hash.to_string(),
                size: it.size,
                copies: it.signed.copies,
                since: Some(it.signed.since).filter(|it| *it > 0),
                is_unknown: is_unknown(it),
            });
            return Ok((rows.collect(), next));
        }
        let records = self.own.page(after, ROWS).await?;
        let has_more = FileRecord::fill_a_page(&records, ROWS);
        let next = records.last().map(|it| it.id).filter(|_| has_more);
        let mut rows = Vec::new();
        for record in records {
            let wished = self.wished(record.id).await?;
            let copies = wished.unwrap_or(self.options.copies);
            // Also of one for which one is wished, as whoever holds more than that has to know.
            if (copies > 1 || wished.is_some()) && self.is_shown(record.id) {
                rows.push(Row {
                    id: record.id.to_string(),
                    hash: record.file.hash.to_string(),
                    size: record.file.size,
                    copies,
                    since: Some(self.returned.since(record.id)).filter(|it| *it > 0),
                    is_unknown: false,
                });
            }
        }
        Ok((rows, next))
    }

    /// What owners have signed of these files, and of others' that they have removed them, as far
    /// as it is known here.
    pub async fn files(
        &self,
        keys: &[CopyKey],
    ) -> Result<(Vec<CopiedFile>, Vec<Withdrawal>), StoreError> {
        let network = &self.fetcher.network;
        let (mut files, mut ended) = (Vec::new(), Vec::new());
        for key in keys {
            if key.owner != self.me() {
                ended.extend(self.table.withdrawal(*key).await?);
            }
            if key.owner != self.me() {
                files.extend(self.table.copy(*key).await?.map(|it| it.signed));
            } else if let Some(record) = self.own.get(key.file).await? {
                let copies = self.copies_of(key.file).await?;
                let since = self.returned.since(key.file);
                files.push(network.order_copies(&record, copies, since));
            }
        }
        Ok((files, ended))
    }

    /// Whether these files are here, as this member's own or as copies.
    pub async fn here(&self, keys: &[CopyKey]) -> Result<Vec<Whether>, StoreError> {
        let mut here = Vec::new();
        for key in keys {
            here.push(self.whether(*key).await?);
        }
        Ok(here)
    }

    async fn whether(&self, key: CopyKey) -> Result<Whether, StoreError> {
        if key.owner == self.me() {
            let Some(record) = self.own.get(key.file).await? else {
                return Ok(Whether::default());
            };
            return Ok(Whether {
                is_there: self.own.holds(&record.file.hash).await?,
                copies: self.copies_of(key.file).await?,
            });
        }
        let Some(copy) = self.table.copy(key).await? else {
            return Ok(Whether::default());
        };
        Ok(Whether {
            is_there: self.table.store.holds(&copy.hash).await?,
            copies: copy.signed.copies,
        })
    }
}
