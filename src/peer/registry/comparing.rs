//! What comparing with others takes of the registry: who is there, who has news, and of whom
//! somebody tells something else.

use std::time::{Duration, Instant};

use super::Registry;
use super::entry::{KnownPeer, Peer};
use crate::peer::exchange::Standing;
use crate::peer::holdings::Holdings;
use crate::peer_id::PeerId;

impl Registry {
    /// Notes what a peer holds since a change that was just heard of: who has heard of all before
    /// it knows all of it.
    pub fn hears(&self, id: PeerId, now: &Holdings) {
        self.change(id, |entry| {
            let told = now.follows..now.version;
            if now.follows != 0 && entry.peer.read.is_some_and(|it| told.contains(&it)) {
                entry.peer.read = Some(now.version);
            }
            entry.hear_of(now);
        });
    }

    /// Notes what a peer holds, by its own word.
    pub fn tells(&self, id: PeerId, now: &Holdings) {
        self.change(id, |entry| entry.hear_of(now));
    }

    /// Notes that all was read that a peer held at that version.
    pub fn has_read(&self, id: PeerId, version: u64) {
        // What was announced while it was read is later.
        self.change(id, |entry| {
            entry.peer.read = entry.peer.read.max(Some(version));
        });
    }

    /// Notes that a peer is to be asked whether it is there, since somebody tells something else
    /// than is known. False where that was noted within the last `pause` already.
    pub fn doubt(&self, id: PeerId, pause: Duration) -> bool {
        let now = Instant::now();
        let doubts = self.change(id, |entry| {
            let before = entry.peer.doubted;
            let doubts = before.is_none_or(|it| now.saturating_duration_since(it) >= pause);
            if doubts {
                entry.peer.doubted = Some(now);
            }
            doubts
        });
        doubts == Some(true)
    }

    /// Notes that another knows the same peers to be there.
    pub fn all_seen(&self) {
        self.peers.lock().change_unshown(|entry| {
            if entry.peer.exchanges() {
                entry.see();
            }
        });
    }

    /// Looks at each peer, and how it stands with it.
    pub fn each(&self, mut look: impl FnMut(&Peer, Standing)) {
        for entry in self.peers.lock().values() {
            look(&entry.peer, entry.standing());
        }
    }

    /// How it stands with a peer.
    pub fn standing(&self, id: PeerId) -> Option<Standing> {
        self.peers.lock().get(&id).map(KnownPeer::standing)
    }

    /// Those with whom this node may compare whom they know.
    pub fn partners(&self) -> Vec<PeerId> {
        let peers = self.peers.lock();
        let partners = peers.values().filter(|it| it.peer.exchanges());
        partners.map(|it| it.peer.id()).collect()
    }

    /// One such peer.
    pub fn first(&self, is_such: impl Fn(&Peer) -> bool) -> Option<Peer> {
        let peers = self.peers.lock();
        let mut all = peers.values().map(|it| &it.peer);
        all.find(|it| is_such(it)).cloned()
    }
}
