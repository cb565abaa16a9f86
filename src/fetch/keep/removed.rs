//! What users have removed here, which is not fetched again because everything is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::blocking;
use crate::hash::BlobHash;
use crate::small_state::{SmallState, StateError, StateName};

/// What this is called.
pub(super) const NAME: StateName = StateName::Single {
    name: "keeping/removed",
    kind: "larder-removed 1",
};
/// The most contents remembered, some 100 bytes each; the oldest are forgotten first.
pub(super) const MAX: usize = 16_384;

/// The contents that were removed.
pub(super) struct Removed {
    state: Mutex<State>,
    /// Held while they are written down.
    written: AsyncMutex<Arc<dyn SmallState>>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<BlobHash, Removal>,
    /// Counts the removals, for their order.
    noted: u64,
    /// How many of them are written down.
    written: u64,
}

struct Removal {
    order: u64,
    /// Whether it is still under way, so that the content may be here.
    under_way: bool,
}

impl Removed {
    /// Knows nothing before [`Removed::recall`].
    pub(super) fn new(written: Arc<dyn SmallState>) -> Self {
        Self {
            state: Mutex::default(),
            written: AsyncMutex::new(written),
        }
    }

    /// Whether this content was removed, or is being removed.
    pub(super) fn has(&self, hash: &BlobHash) -> bool {
        self.state.lock().known.contains_key(hash)
    }

    /// Remembers that a content is about to be removed. Ok means that a restart does not
    /// forget it.
    pub(super) async fn begin(&self, hash: BlobHash) -> Result<(), StateError> {
        let number = self.state.lock().add(hash, true);
        let written = self.written.lock().await;
        let (noted, removals) = {
            let state = self.state.lock();
            // Another one has written down what came in the meantime, too.
            if state.written >= number {
                return Ok(());
            }
            (state.noted, state.removals())
        };
        // A megabyte at most, which takes a while.
        let text = blocking::run(move || text(removals)).await;
        written.save(&NAME, text.into_bytes()).await?;
        self.state.lock().written = noted;
        Ok(())
    }

    /// Remembers it until a restart, where it cannot be written down now; the next that is written
    /// down tells of it, too.
    pub(super) fn begin_unwritten(&self, hash: BlobHash) {
        self.state.lock().add(hash, true);
    }

    /// Notes that the removal is at its end, whatever came of it.
    pub(super) fn end(&self, hash: &BlobHash) {
        if let Some(removal) = self.state.lock().known.get_mut(hash) {
            removal.under_way = false;
        }
    }

    /// Forgets that a content was removed, since it is here again.
    pub(super) fn is_here(&self, hash: &BlobHash) {
        let mut state = self.state.lock();
        if state.known.get(hash).is_some_and(|it| !it.under_way) {
            // The next one that is written down tells it; until then a restart finds it again.
            state.known.remove(hash);
        }
    }

    /// Reads what was written down.
    pub(super) async fn recall(&self) -> Result<(), StateError> {
        let text = self.written.lock().await.load(&NAME).await?;
        let text = text.unwrap_or_default();
        let read = move || serde_json::from_slice(&text).unwrap_or_default();
        let hashes: Vec<BlobHash> = blocking::run(read).await;
        let mut state = self.state.lock();
        for hash in hashes {
            state.add(hash, false);
        }
        Ok(())
    }
}

impl State {
    fn add(&mut self, hash: BlobHash, under_way: bool) -> u64 {
        self.noted += 1;
        let order = self.noted;
        self.known.insert(hash, Removal { order, under_way });
        if self.known.len() > MAX {
            let oldest = self.known.iter().min_by_key(|(_, it)| it.order);
            let oldest = oldest.map(|(hash, _)| *hash);
            oldest.map(|hash| self.known.remove(&hash));
        }
        order
    }

    /// Each content with its place in the order of the removals.
    fn removals(&self) -> Vec<(u64, BlobHash)> {
        let removals = self.known.iter();
        removals.map(|(hash, it)| (it.order, *hash)).collect()
    }
}

/// The hashes as JSON, the oldest first.
fn text(mut removals: Vec<(u64, BlobHash)>) -> String {
    removals.sort_unstable_by_key(|(order, _)| *order);
    let hashes: Vec<_> = removals.into_iter().map(|(_, hash)| hash).collect();
    serde_json::json!(hashes).to_string()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::small_state::memory::MemoryState;

    fn content(number: u32) -> BlobHash {
        BlobHash::of(&number.to_le_bytes())
    }

    #[tokio::test]
    async fn a_removal_outlives_a_restart_until_the_content_is_here_again() {
        let written = Arc::<MemoryState>::default();
        let before = Removed::new(written.clone());
        before.recall().await.unwrap();
        before.begin(content(1)).await.unwrap();
        // It still is, so that this means nothing.
        before.is_here(&content(1));
        before.end(&content(1));
        let after = Removed::new(written.clone());
        after.recall().await.unwrap();
        assert!(after.has(&content(1)) && !after.has(&content(2)));
        after.is_here(&content(1));
        assert!(!after.has(&content(1)));
    }

    /// With one thread for blocking work, which somebody else has.
    #[test]
    fn what_is_long_is_put_into_words_on_a_thread_that_may_block() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let removed = Removed::new(Arc::<MemoryState>::default());
            let (free, busy) = std::sync::mpsc::channel::<()>();
            let mut other = std::pin::pin!(blocking::run(move || busy.recv()));
            let mut begun = std::pin::pin!(removed.begin(content(1)));
            assert!(other.as_mut().now_or_never().is_none());
            assert!(begun.as_mut().now_or_never().is_none());
            assert!(removed.has(&content(1)), "whoever asks waits for nobody");
            free.send(()).unwrap();
            other.await.unwrap();
            begun.await.unwrap();
        });
    }

    #[tokio::test]
    async fn removals_are_written_down_in_their_order() {
        let written = Arc::<MemoryState>::default();
        let removed = Removed::new(written.clone());
        for number in [3, 1, 2, 1] {
            removed.begin(content(number)).await.unwrap();
        }
        let text = written.load(&NAME).await.unwrap().unwrap();
        let read: Vec<BlobHash> = serde_json::from_slice(&text).unwrap();
        assert_eq!(read, [3, 2, 1].map(content));
    }

    #[test]
    fn the_oldest_removals_are_forgotten_first() {
        let mut state = State::default();
        let many = u32::try_from(MAX).unwrap();
        for number in 0..=many {
            state.add(content(number), false);
        }
        assert_eq!(state.known.len(), MAX);
        assert!(!state.known.contains_key(&content(0)));
        assert!(state.known.contains_key(&content(many)));
    }
}
