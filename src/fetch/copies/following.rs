//! Hearing which own files change, so that only those are looked at.

use std::sync::Arc;

use super::holder::{Copies, PAGE};
use super::table::Word;
use crate::record::FileId;
use crate::store::{Change, News, StoreError};

impl Copies {
    /// Has a file counted again that is there.
    pub(super) fn count_again(&self, file: FileId) {
        self.recount.add(file, None);
    }

    /// Hears what changes, for ever.
    pub(super) async fn follow_always(self: Arc<Self>) {
        let mut changes = self.own.listen();
        // What was removed or came back until here.
        self.follow_all().await;
        while let Some(news) = changes.next().await {
            match news {
                News::Change(Change::Added(record)) => self.follow_added(record.id).await,
                News::Change(Change::Removed(record)) => {
                    self.recount.add(record.id, Some(record.file.hash));
                }
                News::Change(_) => {}
                News::Missed(_) => self.follow_all().await,
            }
        }
    }

    /// A file is there: a new one, which whoever counts finds by itself, or one that is back.
    async fn follow_added(&self, file: FileId) {
        if !self.remembered.has(self.me()) {
            return;
        }
        match self.look_whether_back(file).await {
            Ok(true) => self.recount.add(file, None),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "it is not known whether a file was removed before");
            }
        }
    }

    async fn follow_all(&self) {
        self.recount.add_all();
        if self.remembered.has(self.me())
            && let Err(error) = self.look_at_own_removals().await
        {
            tracing::warn!(%error, "it is not known whether files are back that were removed");
        }
    }

    async fn look_at_own_removals(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let (words, next) = self.table.words(after, PAGE).await?;
            for (_, word) in words {
                if let Word::Gone(key) = word
                    && key.owner == self.me()
                {
                    self.look_whether_back(key.file).await?;
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
