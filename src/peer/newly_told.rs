//! Peers of which something new was heard, for whoever asks them about it at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::peer_id::PeerId;

/// Of so many it is remembered at most; the others are asked in their turn.
const MOST: usize = 4096;

/// Peers that have told something, or answer anew.
#[derive(Debug, Default)]
pub struct NewlyTold {
    is_followed: AtomicBool,
    peers: Mutex<BTreeSet<PeerId>>,
    told: Notify,
}

impl NewlyTold {
    /// Notes one, where somebody follows that.
    pub(super) fn note(&self, peer: PeerId) {
        if !self.is_followed.load(Ordering::Relaxed) {
            return;
        }
        let mut peers = self.peers.lock();
        if peers.len() < MOST {
            peers.insert(peer);
        }
        drop(peers);
        self.told.notify_one();
    }

    /// Waits until there is one; from the first time on they are noted.
    pub async fn any(&self) {
        self.is_followed.store(true, Ordering::Relaxed);
        while self.peers.lock().is_empty() {
            self.told.notified().await;
        }
    }

    /// Those that were noted, which are not any more.
    pub fn take(&self) -> BTreeSet<PeerId> {
        std::mem::take(&mut self.peers.lock())
    }
}
