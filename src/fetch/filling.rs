//! Filling partial content from all peers that hold it at once: each window goes to whoever is free
//! and fast, its pieces are written where they belong as they come, and what is slow at the end is
//! asked of another one as well.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::deal::{Deal, Dealt, LOOK_EVERY, WINDOW};
use super::fetcher::Provider;
use super::places::{FILLING, WINDOWS};
use super::proven::Proven;
use super::{FetchError, PeerError};
use crate::blob::{BlobError, Filling};

/// How much of a window is gathered before it is written, in bytes: what a crash loses of it.
const BATCH: u64 = FILLING;

/// Why content is not filled.
#[derive(Debug, thiserror::Error)]
pub(super) enum FillError {
    /// Nobody can serve it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be written.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Where the pieces go, and who hears of each.
#[derive(Clone)]
struct Sink {
    partial: Arc<dyn Filling>,
    /// Takes how many bytes are new.
    wrote: Arc<dyn Fn(u64) + Send + Sync>,
}

struct Fill {
    deal: Deal<Result<(), BlobError>>,
    sink: Sink,
    /// How many windows are asked for at once.
    at_once: usize,
    /// The first window that nobody was asked for.
    next: u64,
    size: u64,
    /// Those before it that somebody was asked for in vain.
    missing: BTreeSet<u64>,
}

/// Brings all that is missing of `content` to `partial`, and tells `wrote` of all that is new.
pub(super) async fn fill_from_all(
    content: Proven,
    partial: Arc<dyn Filling>,
    wrote: Arc<dyn Fn(u64) + Send + Sync>,
) -> Result<(), FillError> {
    // Where all memory that is set aside is taken, it is one window at a time.
    let places = content.fetcher.places.take_to_fill();
    let at_once = places.as_ref().map_or(1, |_| WINDOWS as usize);
    let mut fill = Fill {
        size: content.tree.size(),
        deal: Deal::new(content, BTreeSet::new()),
        sink: Sink { partial, wrote },
        at_once,
        next: 0,
        missing: BTreeSet::new(),
    };
    fill.run().await
}

impl Fill {
    async fn run(&mut self) -> Result<(), FillError> {
        loop {
            self.assign();
            let dealt = tokio::select! {
                dealt = self.deal.next() => dealt,
                () = tokio::time::sleep(LOOK_EVERY), if self.deal.len() > 0 => {
                    self.ask_another();
                    continue;
                }
            };
            match dealt {
                Dealt::Come(start, written) => {
                    written?;
                    if self.missing_of(start).is_some() {
                        self.missing.insert(start);
                    }
                }
                Dealt::Missing(start) => {
                    self.missing.insert(start);
                }
                Dealt::Nothing => {}
                Dealt::Idle if self.unassigned().is_none() => return Ok(()),
                Dealt::Idle => return Err(self.deal.error().into()),
            }
        }
    }

    /// Asks whoever is free for what is missing.
    fn assign(&mut self) {
        let providers = self.deal.providers();
        while self.deal.len() < self.at_once
            && let Some(start) = self.unassigned()
            && let Some(provider) = self.deal.best(&providers, &[])
        {
            if !self.missing.remove(&start) {
                self.next = start + WINDOW;
            }
            self.ask(start, provider);
        }
    }

    /// The first window that nobody is asked for, of which something is missing.
    fn unassigned(&mut self) -> Option<u64> {
        if let Some(start) = self.missing.first() {
            return Some(*start);
        }
        while self.next < self.size && self.missing_of(self.next).is_none() {
            self.next += WINDOW;
        }
        (self.next < self.size).then_some(self.next)
    }

    fn missing_of(&self, start: u64) -> Option<Range<u64>> {
        let end = self.size.min(start + WINDOW);
        self.sink.partial.missing(start..end)
    }

    /// Has another one bring what comes late, once there is nothing else to ask for.
    fn ask_another(&mut self) {
        if self.deal.len() < self.at_once.max(2)
            && self.unassigned().is_none()
            && let Some((start, provider)) = self.deal.late()
        {
            self.ask(start, provider);
        }
    }

    fn ask(&mut self, start: u64, provider: Provider) {
        let sink = self.sink.clone();
        let missing = self.missing_of(start);
        self.deal
            .ask(start, provider, |content, provider, brought| {
                bring(content, provider, missing, sink, brought)
            });
    }
}

/// Brings these bytes; whatever has come before somebody fails is written, too.
async fn bring(
    content: Proven,
    provider: Provider,
    range: Option<Range<u64>>,
    sink: Sink,
    brought: Arc<AtomicU64>,
) -> Result<Result<(), BlobError>, PeerError> {
    let Some(range) = range else {
        return Ok(Ok(()));
    };
    let mut at = range.start;
    let mut answer = content.ask(provider, range).await?;
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    loop {
        let next = answer.next().await;
        if let Ok(Some(piece)) = &next {
            bytes += piece.len() as u64;
            brought.fetch_add(piece.len() as u64, Ordering::Relaxed);
            pieces.push(piece.clone());
            if bytes < BATCH {
                continue;
            }
        }
        if let Err(error) = sink.write(at, std::mem::take(&mut pieces)).await {
            return Ok(Err(error));
        }
        at += std::mem::take(&mut bytes);
        if next?.is_none() {
            return Ok(Ok(()));
        }
    }
}

impl Sink {
    async fn write(&self, offset: u64, pieces: Vec<Bytes>) -> Result<(), BlobError> {
        if pieces.is_empty() {
            return Ok(());
        }
        let new = self.partial.fill(offset, pieces).await?;
        (self.wrote)(new);
        Ok(())
    }
}
