//! Which file of this node is the copy of what is wanted once more.

use super::keeper::Keeper;
use super::queue::{Job, Queue, Stage};
use super::wanted::{KeepId, Wanted};
use crate::record::FileId;

/// The longest content that is looked at while whoever asks for it waits, in bytes.
const LOOKED_AT_ONCE: u64 = 64 << 20;

impl Job {
    /// The copy that was made, now or when it was asked for before.
    pub(super) fn copy(&self) -> Option<FileId> {
        match self.stage {
            Stage::Kept(Some(copy)) => Some(copy),
            _ => self.copy,
        }
    }
}

impl Queue {
    /// What was wanted.
    pub(super) fn wanted(&self, id: KeepId) -> Option<Wanted> {
        Some(self.jobs.get(&id)?.wanted.clone())
    }
}

impl Keeper {
    /// The file by which this node holds what is wanted, if it can be found: the copy that was
    /// made, or the newest of its name.
    pub async fn copy_of(&self, wanted: &Wanted) -> Option<FileId> {
        let hash = self.hash_of(wanted)?;
        let copy = self.queue.lock().jobs.get(&wanted.id()).and_then(Job::copy);
        if let Some(copy) = copy
            && let Ok(Some(record)) = self.store.get(copy).await
            && record.file.hash == hash
        {
            return Some(copy);
        }
        let name = self.fetcher.called(wanted).name;
        let named = self.store.newest_named(&name).await.ok()??;
        (named.file.hash == hash).then_some(named.id)
    }

    /// Notes that short content which a client wants is here already, where it is: nobody has
    /// to wait for a turn to learn that.
    pub async fn note_if_here(&self, wanted: &Wanted) -> bool {
        let hash = self.hash_of(wanted);
        let Some(hash) = hash.filter(|_| wanted.file.size <= LOOKED_AT_ONCE) else {
            return false;
        };
        if !self.store.holds_whole(&hash).await.unwrap_or(false) {
            return false;
        }
        let copy = self.copy_of(wanted).await;
        self.note_kept(wanted.clone(), copy);
        true
    }
}
