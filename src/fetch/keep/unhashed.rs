//! Which files of peers without hashes are here already.
//!
//! Nothing in what such a peer tells says what the content is, so what came of it is
//! written down, or every restart would fetch it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::hash::BlobHash;
use crate::record::FileId;
use crate::small_state::{SmallState, StateError, StateName};

/// What this is called.
pub(super) const NAME: StateName = StateName::Single {
    name: "keeping/kept-without-hash",
    kind: "larder-kept-without-hash 1",
};
/// The most remembered; further ones may be fetched again after a restart.
const MAX: usize = 100_000;

/// The hashes of what was kept.
pub(super) struct Unhashed {
    known: Mutex<BTreeMap<FileId, BlobHash>>,
    /// Held while they are written down.
    state: AsyncMutex<Arc<dyn SmallState>>,
}

impl Unhashed {
    /// Knows nothing before [`Unhashed::recall`].
    pub(super) fn new(state: Arc<dyn SmallState>) -> Self {
        Self {
            known: Mutex::default(),
            state: AsyncMutex::new(state),
        }
    }

    /// The hash of what was kept of a peer's file.
    pub(super) fn get(&self, id: FileId) -> Option<BlobHash> {
        self.known.lock().get(&id).copied()
    }

    /// Remembers what was kept of a peer's file.
    pub(super) async fn note(&self, id: FileId, hash: BlobHash) -> Result<(), StateError> {
        let state = self.state.lock().await;
        let text = {
            let mut known = self.known.lock();
            if known.len() < MAX {
                known.insert(id, hash);
            }
            serde_json::json!(*known).to_string()
        };
        state.save(&NAME, text.into_bytes()).await
    }

    /// Reads what was written down.
    pub(super) async fn recall(&self) -> Result<(), StateError> {
        let text = self.state.lock().await.load(&NAME).await?;
        let text = text.unwrap_or_default();
        let written: BTreeMap<FileId, BlobHash> = serde_json::from_slice(&text).unwrap_or_default();
        self.known.lock().extend(written);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small_state::memory::MemoryState;

    #[tokio::test]
    async fn what_was_noted_is_recalled() {
        let state = Arc::<MemoryState>::default();
        let (id, hash) = (FileId::from_bytes([1; 16]), BlobHash::of(b"content"));
        let before = Unhashed::new(state.clone());
        before.recall().await.unwrap();
        assert_eq!(before.get(id), None);
        before.note(id, hash).await.unwrap();
        let after = Unhashed::new(state.clone());
        after.recall().await.unwrap();
        assert_eq!(after.get(id), Some(hash));
    }
}
