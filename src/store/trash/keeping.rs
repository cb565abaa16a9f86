//! Into the trash, out of it again, and gone.

use std::time::Duration;

use tokio::time::sleep;

use super::{Entry, Trash, Trashed};
use crate::record::{FileId, FileRecord};
use crate::store::feed::Change;
use crate::store::{Loan, Store, StoreError};

/// How often to look whether a file is to go.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many looks there are between two times that the trash's clock is written down.
const WRITTEN_EVERY: u32 = 60;
/// How many files go together.
const TOGETHER: usize = 256;

impl Store {
    /// How long a file that is removed stays in the trash; None where it is gone at once.
    pub fn trash_keeps(&self) -> Option<Duration> {
        self.trash.as_ref()?.keeps
    }

    /// Removes a file: into the trash, where there is one, and for good where not. Returns what it
    /// was; None if there was none, or it is in the trash already.
    ///
    /// Like [`Store::ingest`], once begun it runs to its end.
    pub async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        let Some(keeps) = self.trash_keeps() else {
            if self.is_trashed(id) {
                return Ok(None);
            }
            return self.remove_for_good(id).await;
        };
        self.change_on_loan(move |store| async move {
            let loan = store.lend_if_short().await;
            match store.mark(id, keeps).await {
                // Some quotas do not show before.
                Err(error) if error.is_full() && loan.is_none() => {
                    let loan = store.lend().await;
                    (store.mark(id, keeps).await, loan)
                }
                marked => (marked, loan),
            }
        })
        .await
    }

    async fn mark(&self, id: FileId, keeps: Duration) -> Result<Option<FileRecord>, StoreError> {
        let Some(trash) = &self.trash else {
            return Ok(None);
        };
        let _turn = trash.turn(id).await;
        #[cfg(feature = "node")]
        self.hold_for_moments(id).await?;
        let Some(record) = self.get(id).await? else {
            return Ok(None);
        };
        let mark = trash.mark_of(&record, keeps);
        // With how far the trash's clock is, so that the file stays no longer after a kill than it
        // was to when it was removed.
        let clock = Entry::Clock(trash.now());
        trash
            .log
            .write(vec![clock, Entry::Marked(id, mark)])
            .await?;
        self.tell(Change::Removed(record.clone().into()));
        Ok(Some(record))
    }

    /// Brings a file back from the trash, as it was; None where it is not there.
    ///
    /// Like [`Store::ingest`], once begun it runs to its end.
    pub async fn bring_back(&self, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        self.change(move |store| async move {
            let Some(trash) = &store.trash else {
                return Ok(None);
            };
            let _turn = trash.turn(id).await;
            if !trash.has(id) {
                return Ok(None);
            }
            let Some(record) = store.index.get(id).await? else {
                return Ok(None);
            };
            // A moment that is told may be behind it.
            #[cfg(feature = "node")]
            store.holding.spoil();
            trash.log.write(vec![Entry::Gone(id)]).await?;
            store.tell(Change::Added(record.clone().into()));
            Ok(Some(record))
        })
        .await
    }

    /// Removes a file for good, also one that is in the trash, and returns what it was; its blob
    /// goes when no file needs it.
    ///
    /// Like [`Store::ingest`], once begun it runs to its end.
    pub async fn remove_for_good(&self, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        self.remove_due(id, None).await
    }

    /// Removes the record of a file, and its mark if it is in the trash; none where `due` says by
    /// when it has to be due, and it is not.
    async fn unmark(
        &self,
        id: FileId,
        due: Option<u64>,
    ) -> Result<(Option<FileRecord>, Option<Loan>), StoreError> {
        let _turn = match &self.trash {
            Some(trash) => trash.turn(id).await,
            None => None,
        };
        let mark = self.trash.as_ref().and_then(|it| it.log.marks().get(id));
        let is_due = |now| mark.is_some_and(|it| it.until <= now);
        if due.is_some_and(|now| !is_due(now)) {
            return Ok((None, None));
        }
        #[cfg(feature = "node")]
        self.hold_for_moments(id).await?;
        let (removed, loan) = self.remove_record(id).await?;
        match (&self.trash, mark) {
            // It was told when it came into the trash.
            (Some(trash), Some(_)) => {
                trash.forget(id).await;
                self.feed.told.advance();
            }
            _ => match &removed {
                Some(record) => self.tell(Change::Removed(record.clone().into())),
                // Whoever has removed it at the same time may not have told that yet.
                None => self.hot.forget(id),
            },
        }
        Ok((removed, loan))
    }

    /// Removes a file for good that is in the trash, and returns what it was.
    pub async fn remove_trashed(&self, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        if !self.is_trashed(id) {
            return Ok(None);
        }
        self.remove_due(id, Some(u64::MAX)).await
    }

    /// Removes all files for good that are in the trash now, and returns how many those were.
    pub async fn empty_trash(&self) -> Result<u64, StoreError> {
        let (mut removed, mut after) = (0, None);
        let Some(trash) = &self.trash else {
            return Ok(removed);
        };
        loop {
            let marks = trash.log.marks().page(after, TOGETHER);
            let Some((last, _)) = marks.last() else {
                return Ok(removed);
            };
            after = Some(*last);
            // Together, so that they go in one write.
            let removals = marks
                .into_iter()
                .map(|(id, _)| self.remove_due(id, Some(u64::MAX)));
            let gone = futures_util::future::try_join_all(removals).await?;
            removed += gone.iter().flatten().count() as u64;
        }
    }

    async fn remove_due(
        &self,
        id: FileId,
        due: Option<u64>,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.change_on_loan(move |store| async move {
            match store.unmark(id, due).await {
                Ok((removed, loan)) => (Ok(removed), loan),
                Err(error) => (Err(error), None),
            }
        })
        .await
    }

    /// At most `limit` of the files in the trash, in the order of their ids, from the first behind
    /// `after`: fewer where some are gone by now, none only where there are none.
    pub async fn trashed(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<Trashed>, StoreError> {
        let Some(trash) = &self.trash else {
            return Ok(Vec::new());
        };
        let mut after = after;
        loop {
            let marks = trash.log.marks().page(after, limit);
            let Some((last, _)) = marks.last() else {
                return Ok(Vec::new());
            };
            after = Some(*last);
            let mut trashed = Vec::with_capacity(marks.len());
            for (id, mark) in marks {
                if let Some(record) = self.index.get(id).await? {
                    trashed.push(Trashed {
                        record,
                        removed_at: mark.removed_at,
                        stays: Duration::from_millis(mark.until.saturating_sub(trash.now())),
                    });
                }
            }
            if !trashed.is_empty() {
                return Ok(trashed);
            }
        }
    }

    /// Forgets marks of files that are gone, as a crash may leave them.
    pub(in crate::store) async fn settle_trash(&self) -> Result<(), StoreError> {
        let Some(trash) = &self.trash else {
            return Ok(());
        };
        let mut after = None;
        loop {
            let marks = trash.log.marks().page(after, TOGETHER);
            let Some((last, _)) = marks.last() else {
                return Ok(());
            };
            after = Some(*last);
            for (id, _) in marks {
                if self.index.get(id).await?.is_none() {
                    trash.forget(id).await;
                }
            }
        }
    }

    /// Has files go whose time has come, for ever.
    pub(in crate::store) async fn keep_trash(&self) {
        let Some(trash) = &self.trash else {
            return;
        };
        for look in 1_u32.. {
            sleep(LOOK_EVERY).await;
            if trash.totals().files == 0 {
                continue;
            }
            if look.is_multiple_of(WRITTEN_EVERY) {
                trash.write_clock().await;
            }
            if let Err(error) = self.remove_all_due(trash).await {
                tracing::debug!(%error, "what is due in the trash goes later");
            }
        }
    }

    /// Writes down how far the trash's clock is, where anything is in it.
    pub(in crate::store) async fn note_trash_clock(&self) {
        if let Some(trash) = &self.trash
            && trash.totals().files > 0
        {
            trash.write_clock().await;
        }
    }

    async fn remove_all_due(&self, trash: &Trash) -> Result<(), StoreError> {
        loop {
            let now = trash.now();
            let due = trash.log.marks().due(now, TOGETHER);
            if due.is_empty() {
                return Ok(());
            }
            // Together, so that they go in one write.
            let removals = due.into_iter().map(|id| self.remove_due(id, Some(now)));
            futures_util::future::try_join_all(removals).await?;
        }
    }
}

impl Trash {
    /// A file is gone for good. Where that cannot be written down the next start finds it out.
    async fn forget(&self, id: FileId) {
        if let Err(error) = self.log.write(vec![Entry::Gone(id)]).await {
            tracing::debug!(%error, "that a file is gone from the trash is not written down");
            self.log.marks().remove(id);
        }
    }

    async fn write_clock(&self) {
        let now = self.now();
        let written = self.log.write(vec![Entry::Clock(now)]).await;
        let written = match written {
            Ok(()) => self.log.compact(now).await,
            error => error,
        };
        if let Err(error) = written {
            tracing::debug!(%error, "how far the trash is, is written down later");
        }
    }
}
