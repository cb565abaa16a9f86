//! What this node has seen last of what all share, and what it has found and not told yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;

use super::rows::Heads;
use crate::hash::BlobHash;
use crate::health::Health;
use crate::index::{Elsewhere, Totals};
use crate::place::Place;
use crate::record::{FileId, Timestamp};

/// Of how many contents a node remembers where it has seen them, to know which one is meant where a
/// place is found to be damaged: 8 MiB of memory.
const PLACES: usize = 65_536;
/// How many findings wait for a server that is away: a MiB of memory. What is found then is found
/// again.
const FINDINGS: usize = 8192;
/// What was seen so long ago may be wrong.
pub(super) const CURRENT: Duration = Duration::from_secs(1);

/// What was seen last.
pub(super) struct Seen {
    state: Mutex<State>,
    places: Cache<Place, Known>,
    elsewhere: RwLock<Option<Arc<dyn Elsewhere>>>,
}

struct State {
    heads: Heads,
    /// How many contents were known to be damaged.
    damaged: u64,
    /// When it was asked for that.
    at: Instant,
    /// Why nothing may be written, if so.
    refusal: Option<String>,
    findings: HashMap<Place, Finding>,
    /// Whether any of them was news, so that nobody is answered before they are told.
    has_news: bool,
}

/// What is known of a place where the content of files is.
#[derive(Clone, Copy)]
struct Known {
    hash: BlobHash,
    is_damaged: bool,
}

/// In what health a place was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) is_damaged: bool,
    pub(super) at: Timestamp,
    /// Whether it was thought to be otherwise.
    is_news: bool,
}

impl Seen {
    pub(super) fn new(heads: Heads) -> Self {
        let state = State {
            heads,
            damaged: 0,
            at: Instant::now(),
            refusal: None,
            findings: HashMap::new(),
            has_news: false,
        };
        Self {
            state: Mutex::new(state),
            places: Cache::new(PLACES),
            elsewhere: RwLock::default(),
        }
    }

    pub(super) fn tell_to(&self, elsewhere: Arc<dyn Elsewhere>) {
        *self.elsewhere.write() = Some(elsewhere);
    }

    pub(super) fn heads(&self) -> Heads {
        self.state.lock().heads
    }

    /// How many contents were known to be damaged.
    pub(super) fn damaged(&self) -> u64 {
        self.state.lock().damaged
    }

    /// Remembers what a look at `at` has found, by which `told` was known to all.
    pub(super) fn note(&self, heads: Heads, damaged: u64, at: Instant, told: &[(Place, Finding)]) {
        let mut state = self.state.lock();
        (state.heads, state.damaged, state.at) = (heads, damaged, at);
        for (place, finding) in told {
            if state.findings.get(place) == Some(finding) {
                state.findings.remove(place);
            }
        }
        state.has_news &= !state.findings.is_empty();
    }

    /// Remembers why nothing may be written.
    pub(super) fn refuse(&self, reason: Option<String>) {
        let mut state = self.state.lock();
        if state.refusal != reason {
            if let Some(reason) = &reason {
                tracing::error!(reason, "changes are refused");
            } else {
                tracing::info!("changes are taken again");
            }
        }
        state.refusal = reason;
    }

    pub(super) fn refusal(&self) -> Option<String> {
        self.state.lock().refusal.clone()
    }

    pub(super) fn is_current(&self) -> bool {
        self.state.lock().at.elapsed() < CURRENT
    }

    pub(super) fn totals(&self) -> Totals {
        let state = self.state.lock();
        let news = state.findings.values().filter(|it| it.is_news);
        let damaged = news.fold(state.damaged, |damaged, it| {
            damaged.saturating_add_signed(if it.is_damaged { 1 } else { -1 })
        });
        Totals {
            damaged,
            ..state.heads.totals()
        }
    }

    /// Tells who listens which files others have removed, and that something has changed.
    pub(super) fn tell_removed(&self, removed: &[FileId]) {
        if let Some(elsewhere) = &*self.elsewhere.read() {
            for id in removed {
                elsewhere.removed(*id);
            }
            elsewhere.changed();
        }
    }

    /// Tells who listens that nobody knows what others have removed.
    pub(super) fn tell_missed(&self) {
        if let Some(elsewhere) = &*self.elsewhere.read() {
            elsewhere.missed();
            elsewhere.changed();
        }
    }

    /// Remembers where a content is.
    pub(super) fn know(&self, place: Place, hash: BlobHash, is_damaged: bool) {
        self.places.insert(place, Known { hash, is_damaged });
    }

    /// Forgets a place, where nothing is any more that a file needs.
    pub(super) fn forget(&self, place: Place) {
        self.places.remove(&place);
        self.state.lock().findings.remove(&place);
    }

    /// Remembers in what health a place was found; returns whose it is where that is news.
    pub(super) fn find(&self, place: Place, found: Health) -> Option<BlobHash> {
        let is_damaged = found == Health::Damaged;
        let known = self.places.get(&place);
        let is_news = known.is_some_and(|it| it.is_damaged != is_damaged);
        let mut state = self.state.lock();
        if state.findings.len() < FINDINGS || state.findings.contains_key(&place) {
            // What was to be told and is not true any more needs no telling by itself.
            let was_news = state.findings.get(&place).is_some_and(|it| it.is_news);
            let finding = Finding {
                is_damaged,
                at: Timestamp::now(),
                is_news: is_news != was_news,
            };
            state.findings.insert(place, finding);
            state.has_news |= is_news;
        }
        drop(state);
        let known = known.filter(|_| is_news)?;
        self.know(place, known.hash, is_damaged);
        Some(known.hash)
    }

    /// What is to be told.
    pub(super) fn findings(&self) -> Vec<(Place, Finding)> {
        let state = self.state.lock();
        state
            .findings
            .iter()
            .map(|(place, it)| (*place, *it))
            .collect()
    }

    /// Whether something was found to be otherwise than was thought, and is not told yet.
    pub(super) fn has_news(&self) -> bool {
        self.state.lock().has_news
    }
}
