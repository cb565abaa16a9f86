//! Which files fewer members hold than are to: this member's own, and those of owners that are gone
//! for which it answers.

use super::holder::{Copies, PAGE};
use super::members::View;
use crate::hash::BlobHash;
use crate::peer::copies::SharedFile;
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};
use crate::store::StoreError;

/// The most files that are told at once, and at how many it is looked for them.
const MOST: usize = 128;
const LOOKS: usize = 16;

/// A file that fewer members hold than are to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderReplicated {
    /// Whose file it is.
    pub owner: PeerId,
    /// Its id there.
    pub file: FileId,
    /// What it is called.
    pub name: String,
    /// The length of its content, in bytes.
    pub size: u64,
    /// The hash of its content.
    pub hash: BlobHash,
    /// On how many members it is to be.
    pub wanted: u8,
    /// On how many it is, of those that are there.
    pub there: usize,
}

/// Behind which file a list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Of this member's own.
    Own(Option<FileId>),
    /// Of those that it holds of others.
    Held(Option<FileId>),
}

impl Copies {
    /// Some of those files, own ones first, and where to go on if there may be more.
    pub async fn under_replicated(
        &self,
        behind: Behind,
    ) -> Result<(Vec<UnderReplicated>, Option<Behind>), StoreError> {
        let (view, _) = self.members.look();
        let (mut found, mut behind) = (Vec::new(), Some(behind));
        for _ in 0..LOOKS {
            behind = match behind {
                Some(Behind::Own(after)) => {
                    let next = self.under_of_own(after, &view, &mut found).await?;
                    Some(next.map_or(Behind::Held(None), |it| Behind::Own(Some(it))))
                }
                Some(Behind::Held(after)) => {
                    let next = self.under_of_held(after, &view, &mut found).await?;
                    next.map(|it| Behind::Held(Some(it)))
                }
                None => None,
            };
            if found.len() >= MOST {
                break;
            }
        }
        Ok((found, behind))
    }

    async fn under_of_own(
        &self,
        after: Option<FileId>,
        view: &View,
        found: &mut Vec<UnderReplicated>,
    ) -> Result<Option<FileId>, StoreError> {
        let records = self.own.page(after, MOST).await?;
        let has_more = FileRecord::fill_a_page(&records, MOST);
        let next = records.last().map(|it| it.id).filter(|_| has_more);
        for record in records {
            let (wanted, hash) = (self.copies_of(record.id).await?, record.file.hash);
            let there = 1 + self.holders_of(&hash, view).len();
            if wanted > 1 && there < usize::from(wanted) {
                found.push(UnderReplicated {
                    owner: self.me(),
                    file: record.id,
                    name: record.file.name,
                    size: record.file.size,
                    hash,
                    wanted,
                    there,
                });
            }
        }
        Ok(next)
    }

    async fn under_of_held(
        &self,
        after: Option<FileId>,
        view: &View,
        found: &mut Vec<UnderReplicated>,
    ) -> Result<Option<FileId>, StoreError> {
        let (copies, next) = self.table.copies(after, PAGE.min(MOST)).await?;
        for shared in copies.iter().filter_map(|it| it.signed.read().ok()) {
            let there = self.answers_for(&shared, view);
            let Some(there) = there.filter(|it| *it < usize::from(shared.copies)) else {
                continue;
            };
            found.push(UnderReplicated {
                owner: shared.key.owner,
                file: shared.key.file,
                size: shared.file.size,
                hash: shared.hash,
                wanted: shared.copies,
                there,
                name: shared.file.name,
            });
        }
        Ok(next)
    }

    /// On how many members a file is of which a copy is held here, if its owner is gone, or does
    /// not know it, and no other member that holds it comes before this one.
    pub(super) fn answers_for(&self, shared: &SharedFile, view: &View) -> Option<usize> {
        let owner = shared.key.owner;
        if view.is_live(owner) && !self.unknown.has(shared.key) {
            return None;
        }
        let others = self.holders_of(&shared.hash, view);
        let ranked = self.ranked(&shared.hash, owner, view);
        let mut holders = ranked.iter().map(|(it, _)| it.id);
        let first = holders.find(|it| *it == self.me() || others.contains(it));
        let is_first = first.is_none_or(|it| it == self.me());
        is_first.then_some(others.len() + 1)
    }
}
