//! This node as one of those that look after a store that they share.

use std::sync::Arc;

use tokio::time::sleep;
use uuid::Uuid;

use crate::care_rows::{Care, CareRows};
use crate::store::Store;
use crate::unavailable::Unavailable;

/// What only one of them does at a time.
#[derive(Clone)]
pub(super) struct Cares {
    pub(super) rows: Arc<dyn CareRows>,
    /// By which its turns are known.
    node: Uuid,
}

impl Cares {
    /// None where no other node has the store.
    pub(super) fn of(store: &Store) -> Option<Self> {
        Some(Self {
            rows: store.care()?,
            node: Uuid::new_v4(),
        })
    }

    /// Takes the turn, or keeps it; false where another node has it.
    pub(super) async fn take(&self, care: Care) -> Result<bool, Unavailable> {
        self.rows.take(care, self.node).await
    }

    /// Gives it up; where that cannot be told it ends by itself.
    pub(super) async fn leave(&self, care: Care) {
        if let Err(error) = self.rows.leave(care, self.node).await {
            tracing::debug!(%error, "a turn is not given up, and ends by itself");
        }
    }

    /// Does `work` and keeps the turn meanwhile; None where another node has it.
    pub(super) async fn in_turn<T>(&self, care: Care, work: impl Future<Output = T>) -> Option<T> {
        if !self.take(care).await.unwrap_or(false) {
            return None;
        }
        let keeping = async {
            loop {
                sleep(self.rows.lease() / 4).await;
                // Where another has taken it both do it, which does no harm.
                let _ = self.take(care).await;
            }
        };
        let done = tokio::select! {
            done = work => done,
            never = keeping => never,
        };
        self.leave(care).await;
        Some(done)
    }
}
