//! Changes that make room, in the room that is kept for them.

use std::sync::Arc;
use std::time::Duration;

use super::ballast::Loan;
use super::{Store, StoreError};
use crate::blocking;
use crate::record::{FileId, FileRecord};

/// How often to look whether it can be made anew, or longer.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Store {
    /// The record of a file is removed; where there is no room to write that down, in that of the
    /// ballast, which is lent as long as the value beside it lives.
    pub(super) async fn remove_record(
        &self,
        id: FileId,
    ) -> Result<(Option<FileRecord>, Option<Loan>), StoreError> {
        let loan = self.lend_if_short().await;
        let error = match self.index.remove(id).await {
            // Some quotas do not show before.
            Err(error) if error.is_full() && loan.is_none() => error,
            removed => return Ok((removed?, loan)),
        };
        let Some(ballast) = self.ballast.clone() else {
            return Err(error.into());
        };
        let (loan, has_made_room) = blocking::run(move || ballast.lend()).await;
        let removed = if has_made_room {
            self.index.remove(id).await
        } else {
            Err(error)
        };
        if removed.is_err() {
            self.take_back(Some(loan)).await;
            return Ok((removed?, None));
        }
        Ok((removed?, Some(loan)))
    }

    /// Lends the room that is kept for removals where little is free, until it is taken back.
    pub async fn lend_if_short(&self) -> Option<Loan> {
        let ballast = Arc::clone(self.ballast.as_ref()?);
        blocking::run(move || ballast.lend_if_short()).await
    }

    /// Lends that room; None where nothing was there that could make any.
    pub(super) async fn lend(&self) -> Option<Loan> {
        let ballast = Arc::clone(self.ballast.as_ref()?);
        let (loan, _) = blocking::run(move || ballast.lend()).await;
        Some(loan)
    }

    /// Ends a loan.
    pub async fn take_back(&self, loan: Option<Loan>) {
        if loan.is_some() {
            blocking::run(move || drop(loan)).await;
        }
    }

    /// Makes the ballast longer where there is room for it.
    pub(super) async fn grow_ballast(&self) {
        if let Some(ballast) = self.ballast.clone() {
            blocking::run(move || ballast.keep()).await;
        }
    }

    /// Makes the ballast anew as soon as there is room for it, for ever.
    pub async fn keep_ballast(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.grow_ballast().await;
        }
    }
}
