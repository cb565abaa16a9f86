//! Which places this node holds, and what it has still to tell the server of those that it holds no
//! longer. Ends of holds are drops, which wait for nobody: a task tells them, and where that fails
//! the leases end by themselves.

use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::index::{Garbage, Hold};
use crate::place::Place;

/// What this node holds.
#[derive(Default)]
pub(super) struct Holds {
    state: Mutex<State>,
    /// Told when there is something to tell.
    pub(super) ended: Notify,
}

#[derive(Default)]
struct State {
    /// By how many each place is held.
    held: HashMap<Place, usize>,
    /// Where somebody writes, for as long as the lease is renewed.
    leased: HashSet<Place>,
    ends: Ends,
}

/// What is to be told.
#[derive(Default)]
pub(super) struct Ends {
    /// Where somebody was to write of which no file was made.
    pub(super) given_up: Vec<Place>,
    /// What was claimed and could not be deleted.
    pub(super) unclaimed: Vec<Place>,
}

/// One of the holders of a place, until this is dropped.
pub(super) struct Holder {
    holds: Arc<Holds>,
    place: Place,
    /// Whether it is there to be written to.
    is_leased: bool,
    is_kept: bool,
}

/// The claim of a place, until this is dropped.
struct Claim {
    holds: Arc<Holds>,
    place: Place,
    is_collected: bool,
}

impl Holds {
    /// Holds a place where content of files is.
    pub(super) fn hold(self: &Arc<Self>, place: Place) -> Holder {
        self.begin(place, false)
    }

    /// Holds a place that was given out to be written to.
    pub(super) fn lease(self: &Arc<Self>, place: Place) -> Holder {
        self.begin(place, true)
    }

    fn begin(self: &Arc<Self>, place: Place, is_leased: bool) -> Holder {
        // Whatever is in a pack is deleted together.
        let place = place.object();
        let mut state = self.state.lock();
        *state.held.entry(place).or_default() += 1;
        if is_leased {
            state.leased.insert(place);
        }
        Holder {
            holds: Arc::clone(self),
            place,
            is_leased,
            is_kept: false,
        }
    }

    /// What was claimed of the server, to be deleted.
    pub(super) fn claim(self: &Arc<Self>, place: Place) -> Garbage {
        let claim = Claim {
            holds: Arc::clone(self),
            place,
            is_collected: false,
        };
        Garbage::new(place, claim)
    }

    pub(super) fn held(&self) -> Vec<Place> {
        self.state.lock().held.keys().copied().collect()
    }

    /// Where somebody writes.
    pub(super) fn leased(&self) -> Vec<Place> {
        self.state.lock().leased.iter().copied().collect()
    }

    /// What is to be told, for whoever tells it.
    pub(super) fn ends(&self) -> Ends {
        take(&mut self.state.lock().ends)
    }
}

impl Hold for Holder {
    fn kept(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut state = self.holds.state.lock();
        if let Some(holders) = state.held.get_mut(&self.place) {
            *holders -= 1;
            if *holders == 0 {
                state.held.remove(&self.place);
            }
        }
        if !self.is_leased {
            return;
        }
        state.leased.remove(&self.place);
        if !self.is_kept {
            state.ends.given_up.push(self.place);
            drop(state);
            self.holds.ended.notify_one();
        }
    }
}

impl Hold for Claim {
    fn kept(&mut self) {
        self.is_collected = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_collected {
            self.holds.state.lock().ends.unclaimed.push(self.place);
            self.holds.ended.notify_one();
        }
    }
}
