//! Which files of peers without hashes are here already.
//!
//! Nothing in what such a peer tells says what the content is, so what came of it is
//! written down, or every restart would fetch it again.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::blocking;
use crate::hash::BlobHash;
use crate::keep_rows::KeepRows;
use crate::record::FileId;
use crate::small_state::{SmallState, StateError, StateName};

/// What this is called.
pub(super) const NAME: StateName = StateName::Single {
    name: "keeping/kept-without-hash",
    kind: "larder-kept-without-hash 1",
};
/// The most remembered; further ones may be fetched again after a restart.
const MAX: usize = 100_000;
/// How many of them are copied before others have the lock again, in tenths of a millisecond.
const AT_ONCE: usize = 1024;

type Known = Mutex<BTreeMap<FileId, BlobHash>>;

/// The hashes of what was kept.
pub(super) struct Unhashed {
    known: Arc<Known>,
    /// Held while they are written down.
    state: AsyncMutex<Arc<dyn SmallState>>,
    /// Where several nodes write them down.
    rows: Option<Arc<dyn KeepRows>>,
}

impl Unhashed {
    /// Knows nothing before [`Unhashed::recall`].
    pub(super) fn new(state: Arc<dyn SmallState>, rows: Option<Arc<dyn KeepRows>>) -> Self {
        Self {
            known: Arc::default(),
            state: AsyncMutex::new(state),
            rows,
        }
    }

    /// The hash of what was kept of a peer's file.
    pub(super) async fn get(&self, id: FileId) -> Result<Option<BlobHash>, StateError> {
        match &self.rows {
            Some(rows) => Ok(rows.unhashed(id).await?),
            None => Ok(self.known.lock().get(&id).copied()),
        }
    }

    /// Remembers what was kept of a peer's file.
    pub(super) async fn note(&self, id: FileId, hash: BlobHash) -> Result<(), StateError> {
        if let Some(rows) = &self.rows {
            return Ok(rows.note_unhashed(id, &hash, MAX).await?);
        }
        let state = self.state.lock().await;
        let known = Arc::clone(&self.known);
        // Ten megabytes at most, which take a while.
        let text = blocking::run(move || {
            {
                let mut known = known.lock();
                if known.len() < MAX {
                    known.insert(id, hash);
                }
            }
            serde_json::json!(all(&known)).to_string()
        });
        state.save(&NAME, text.await.into_bytes()).await
    }

    /// Reads what this node has written down.
    pub(super) async fn recall(&self) -> Result<(), StateError> {
        let text = self.state.lock().await.load(&NAME).await?;
        let text = text.unwrap_or_default();
        let read = move || serde_json::from_slice(&text).unwrap_or_default();
        let written: BTreeMap<FileId, BlobHash> = blocking::run(read).await;
        self.known.lock().extend(written);
        Ok(())
    }
}

/// All that is known, since nothing is ever forgotten: copied bit by bit, so that nobody waits for
/// long who only asks.
fn all(known: &Known) -> BTreeMap<FileId, BlobHash> {
    let (mut all, mut from) = (BTreeMap::new(), Bound::Unbounded);
    loop {
        let known = known.lock();
        let next = known.range((from, Bound::Unbounded)).take(AT_ONCE);
        let before = all.len();
        all.extend(next.map(|(id, hash)| (*id, *hash)));
        let last = all.last_key_value().map(|(id, _)| *id);
        match last.filter(|_| all.len() > before) {
            Some(last) => from = Bound::Excluded(last),
            None => return all,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::small_state::memory::MemoryState;

    fn file(number: u32) -> FileId {
        FileId::from_bytes(u128::from(number).to_be_bytes())
    }

    fn unhashed(many: u32) -> Unhashed {
        let unhashed = Unhashed::new(Arc::<MemoryState>::default(), None);
        let known = (0..many).map(|it| (file(it), BlobHash::of(&it.to_le_bytes())));
        unhashed.known.lock().extend(known);
        unhashed
    }

    #[test]
    fn all_that_is_known_is_copied_however_much_it_is() {
        let at_once = u32::try_from(AT_ONCE).unwrap();
        for many in [0, 1, at_once - 1, at_once, at_once + 1, 3 * at_once + 7] {
            let unhashed = unhashed(many);
            assert_eq!(all(&unhashed.known), *unhashed.known.lock(), "{many}");
        }
    }

    /// With one thread for blocking work, which somebody else has.
    #[test]
    fn what_is_long_is_put_into_words_on_a_thread_that_may_block() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let unhashed = unhashed(1000);
            let (free, busy) = std::sync::mpsc::channel::<()>();
            let other = blocking::run(move || busy.recv());
            let (id, hash) = (file(7), BlobHash::of(b"content"));
            let mut other = std::pin::pin!(other);
            let mut noted = std::pin::pin!(unhashed.note(id, hash));
            assert!(other.as_mut().now_or_never().is_none());
            assert!(noted.as_mut().now_or_never().is_none());
            let asked = unhashed.get(file(8)).now_or_never();
            assert!(
                asked.unwrap().unwrap().is_some(),
                "whoever asks waits for nobody"
            );
            free.send(()).unwrap();
            other.await.unwrap();
            noted.await.unwrap();
            assert_eq!(unhashed.get(id).await.unwrap(), Some(hash));
        });
    }

    #[tokio::test]
    async fn what_was_noted_is_recalled() {
        let state = Arc::<MemoryState>::default();
        let (id, hash) = (FileId::from_bytes([1; 16]), BlobHash::of(b"content"));
        let before = Unhashed::new(state.clone(), None);
        before.recall().await.unwrap();
        assert_eq!(before.get(id).await.unwrap(), None);
        before.note(id, hash).await.unwrap();
        let after = Unhashed::new(state.clone(), None);
        after.recall().await.unwrap();
        assert_eq!(after.get(id).await.unwrap(), Some(hash));
    }
}
