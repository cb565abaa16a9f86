//! Reading long content from all peers that hold it at once, in windows that go to whoever is
//! free and fast, and are given out in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::{self, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::deal::{Deal, Dealt, LOOK_EVERY, WINDOW};
use super::fetcher::Provider;
use super::places::WINDOWS;
use super::proven::Proven;
use super::{FetchError, PeerError, Pieces};
use crate::peer_id::PeerId;

/// The bytes of `range` in their order, from whoever may have them but those that sent something
/// `wrong`; holds `places` as long as they are read.
pub(super) fn read_from_all(
    content: Proven,
    range: Range<u64>,
    wrong: BTreeSet<PeerId>,
    places: OwnedSemaphorePermit,
) -> Pieces {
    let windows = Windows {
        deal: Deal::new(content, wrong),
        _places: places,
        ahead: range.start,
        next: range.start,
        end: range.end,
        missing: BTreeSet::new(),
        done: BTreeMap::new(),
    };
    let windows = stream::try_unfold(windows, |mut windows| async move {
        let window = windows.next_window().await?;
        Ok::<_, FetchError>(window.map(|pieces| (pieces, windows)))
    });
    let pieces = windows.map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok)));
    pieces.try_flatten().boxed()
}

/// Windows are called by where they begin.
struct Windows {
    deal: Deal<Vec<Bytes>>,
    _places: OwnedSemaphorePermit,
    /// The window that is to be given out next.
    ahead: u64,
    /// The first one that nobody was asked for.
    next: u64,
    end: u64,
    /// Those behind `ahead` that somebody was asked for in vain.
    missing: BTreeSet<u64>,
    done: BTreeMap<u64, Vec<Bytes>>,
}

impl Windows {
    async fn next_window(&mut self) -> Result<Option<Vec<Bytes>>, FetchError> {
        while self.ahead < self.end {
            if let Some(pieces) = self.done.remove(&self.ahead) {
                self.ahead = self.end.min(self.ahead + WINDOW);
                return Ok(Some(pieces));
            }
            self.assign();
            let dealt = tokio::select! {
                dealt = self.deal.next() => dealt,
                () = tokio::time::sleep(LOOK_EVERY), if self.deal.len() > 0 => {
                    // All wait for this one.
                    if let Some(provider) = self.deal.other_for(self.ahead) {
                        self.ask(self.ahead, provider);
                    }
                    continue;
                }
            };
            match dealt {
                Dealt::Come(start, pieces) => {
                    self.done.insert(start, pieces);
                }
                Dealt::Missing(start) => {
                    self.missing.insert(start);
                }
                Dealt::Nothing => {}
                Dealt::Idle => return Err(self.deal.error()),
            }
        }
        Ok(None)
    }

    /// Asks whoever is free for what is to come.
    fn assign(&mut self) {
        let providers = self.deal.providers();
        while let Some(start) = self.unassigned() {
            let Some(provider) = self.deal.best(&providers, &[]) else {
                return;
            };
            if !self.missing.remove(&start) {
                self.next = self.end.min(start + WINDOW);
            }
            self.ask(start, provider);
        }
    }

    /// The first window that nobody is asked for, if there is room for it.
    fn unassigned(&self) -> Option<u64> {
        if let Some(start) = self.missing.first() {
            return Some(*start);
        }
        let room = self.next < self.ahead + u64::from(WINDOWS) * WINDOW;
        (room && self.next < self.end).then_some(self.next)
    }

    fn ask(&mut self, start: u64, provider: Provider) {
        let range = start..self.end.min(start + WINDOW);
        self.deal
            .ask(start, provider, |content, provider, brought| {
                read_window(content, provider, range, brought)
            });
    }
}

/// The verified bytes of a window.
async fn read_window(
    content: Proven,
    provider: Provider,
    range: Range<u64>,
    brought: Arc<AtomicU64>,
) -> Result<Vec<Bytes>, PeerError> {
    let mut answer = content.ask(provider, range).await?;
    let mut pieces = Vec::new();
    while let Some(piece) = answer.next().await? {
        brought.fetch_add(piece.len() as u64, Ordering::Relaxed);
        pieces.push(piece);
    }
    Ok(pieces)
}
