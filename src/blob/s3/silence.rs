//! That a store is silent, and for how long nobody else waits for it then: of the requests that one
//! upload needs each would wait for as long as the first.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Whether a store answers.
#[derive(Debug)]
pub(super) struct Silence {
    /// For how long nobody asks after a request that was waited for in vain.
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answered: Option<Instant>,
    /// Until when nobody asks, since nothing was heard.
    until: Option<Instant>,
}

/// A request on its way.
pub(super) struct Asked {
    began: Instant,
}

impl Silence {
    /// That of a store which has so long for each request.
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            pause: timeout / 10,
            state: Mutex::default(),
        }
    }

    /// A request that is made now; None where it would only wait like those before it.
    pub(super) fn ask(&self) -> Option<Asked> {
        let (mut state, now) = (self.state.lock(), Instant::now());
        if let Some(until) = state.until {
            if now < until {
                return None;
            }
            // The one who finds out whether it answers again.
            state.until = Some(now + self.pause);
        }
        Some(Asked { began: now })
    }

    /// The store has answered a request, whatever it said.
    pub(super) fn hear(&self) {
        *self.state.lock() = State {
            answered: Some(Instant::now()),
            until: None,
        };
    }

    /// It was waited for in vain.
    pub(super) fn wait_in_vain(&self, asked: &Asked) {
        let mut state = self.state.lock();
        if state.answered.is_none_or(|at| at < asked.began) {
            state.until = Some(Instant::now() + self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_request_in_vain_one_at_a_time_finds_out_whether_others_are() {
        let silence = Silence::new(Duration::from_secs(100));
        let (lost, late) = (silence.ask().unwrap(), silence.ask().unwrap());
        silence.wait_in_vain(&lost);
        assert!(silence.ask().is_none());
        silence.state.lock().until = Some(Instant::now());
        let _finding = silence.ask().unwrap();
        assert!(silence.ask().is_none());
        silence.hear();
        // What began before the store was heard says nothing of it.
        silence.wait_in_vain(&late);
        assert!(silence.ask().is_some());
    }
}
