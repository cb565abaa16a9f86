//! How every change of a store is made: to its end, and with nothing left over.

use std::sync::Arc;

use super::ballast::Loan;
use super::{Store, StoreError};

impl Store {
    /// Runs `work` on a task of its own, so that a caller who goes away does not stop it. However
    /// it ends, what has become garbage is deleted before the answer, and the store notes how
    /// writing has gone: so nobody who changes something has to think of either.
    pub(super) async fn change<T, Work>(
        &self,
        work: impl FnOnce(Self) -> Work,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Work: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.change_on_loan(|store| {
            let work = work(store);
            async move { (work.await, None) }
        })
        .await
    }

    /// The same for work that may need the room of the ballast, which is lent until the garbage is
    /// deleted: to write that down takes room, too.
    pub(super) async fn change_on_loan<T, Work>(
        &self,
        work: impl FnOnce(Self) -> Work,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Work: Future<Output = (Result<T, StoreError>, Option<Loan>)> + Send + 'static,
    {
        self.writable()?;
        let (store, work) = (self.clone(), work(self.clone()));
        let closed = Arc::clone(&self.closed);
        let task = tokio::spawn(async move {
            let closed = closed.read().await;
            if *closed {
                return Err(StoreError::ShuttingDown);
            }
            let (result, loan) = work.await;
            store.collect().await;
            store.take_back(loan).await;
            result.inspect_err(|error| store.writing.note(error))
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StoreError::ShuttingDown),
        }
    }
}
