//! The scrub: everything stored is read and proven once in a while, in the background, so that
//! what rots shows while others still have it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{sleep, timeout};

use super::pace::Pace;
use crate::metrics::Counter;
use crate::record::Timestamp;
use crate::small_state::SmallState;
use crate::store::{Stage, Step, Store};
use crate::web::Connections;

mod round;

pub use round::{Ended, Round, Rounds, SCRUB};

/// How much is read in one step, in bytes, and in one of a round that somebody waits for.
const STEP: u64 = 256 * 1024;
const URGENT_STEP: u64 = 4 * 1024 * 1024;
/// How often it is written down how far a round is.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// How long before it is looked again whether something is due: the clock may be set, and a
/// machine may sleep.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// How long clients that are served hold up a step at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long after a failure it goes on.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How often and how fast.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often everything is read; None where that is only done when it is asked for.
    pub every: Option<Duration>,
    /// How many bytes are read in a second at most, unless somebody waits for it.
    pub rate: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            every: Some(Duration::from_hours(30 * 24)),
            rate: 32 << 20,
        }
    }
}

/// The scrub of a node.
pub struct Scrub {
    store: Store,
    state: Arc<dyn SmallState>,
    connections: Arc<Connections>,
    options: Options,
    /// Unknown until what is remembered was read.
    rounds: OnceCell<Mutex<Rounds>>,
    /// Whoever waits is told that a round was asked for.
    asked: Notify,
    /// How many bytes were read since the start.
    pub read: Counter,
    /// How many rounds have come to their end since the start.
    pub ended: Counter,
}

impl Scrub {
    pub(super) fn new(
        store: Store,
        state: Arc<dyn SmallState>,
        connections: Arc<Connections>,
        options: Options,
    ) -> Self {
        Self {
            store,
            state,
            connections,
            options,
            rounds: OnceCell::new(),
            asked: Notify::new(),
            read: Counter::default(),
            ended: Counter::default(),
        }
    }

    /// How often everything is read; None where that is only done when it is asked for.
    pub fn every(&self) -> Option<Duration> {
        self.options.every
    }

    /// The round that is under way and the last one; None where contents are on no disk of this
    /// machine, and until what was before the start is known.
    pub fn rounds(&self) -> Option<Rounds> {
        Some(self.rounds.get()?.lock().clone())
    }

    /// Has everything read now, as fast as that goes, and tells the number of the round: the one
    /// that does so already, if there is one. None where contents are on no disk of this machine.
    pub async fn ask(&self) -> Option<u64> {
        if !self.store.can_be_scrubbed() {
            return None;
        }
        let number = {
            let mut rounds = self.known().await.lock();
            match &rounds.now {
                Some(round) if round.is_urgent => round.number,
                _ => rounds.begin(true),
            }
        };
        // So that a restart goes on with it.
        self.save().await;
        self.asked.notify_one();
        Some(number)
    }

    /// What is remembered, which is read first.
    async fn known(&self) -> &Mutex<Rounds> {
        self.rounds.get_or_init(|| self.recall()).await
    }

    /// Does it, as long as the node runs.
    pub(super) async fn run(self: Arc<Self>) {
        if !self.store.can_be_scrubbed() {
            return;
        }
        let rounds = self.known().await;
        loop {
            let due = self.due(&mut rounds.lock());
            match due {
                Due::Now(number) => self.make(number).await,
                Due::In(rest) => {
                    let _ = timeout(rest.min(LOOK_EVERY), self.asked.notified()).await;
                }
            }
        }
    }

    /// Knows again how far it was; waits until that can be read.
    async fn recall(&self) -> Mutex<Rounds> {
        let content = loop {
            match self.state.load(&SCRUB).await {
                Ok(content) => break content.unwrap_or_default(),
                Err(error) => {
                    tracing::warn!(%error, "how far the scrub was cannot be read yet");
                    sleep(AFTER_FAILURE).await;
                }
            }
        };
        Mutex::new(serde_json::from_slice(&content).unwrap_or_default())
    }

    /// Writes down how far it is.
    pub(super) async fn save(&self) {
        let Some(rounds) = self.rounds() else {
            return;
        };
        if rounds == Rounds::default() {
            return;
        }
        let content = serde_json::json!(rounds).to_string().into_bytes();
        if let Err(error) = self.state.save(&SCRUB, content).await {
            tracing::warn!(%error, "how far the scrub is was not written down");
        }
    }

    /// Which round is to be made now, or when to ask again.
    fn due(&self, rounds: &mut Rounds) -> Due {
        match (&rounds.now, self.options.every) {
            (Some(round), every) if round.is_urgent || every.is_some() => Due::Now(round.number),
            (_, None) => Due::In(Duration::MAX),
            (_, Some(every)) => {
                let since = rounds.last.as_ref().map(|it| since(it.began_at));
                match since.map_or(Duration::ZERO, |since| every.saturating_sub(since)) {
                    Duration::ZERO => Due::Now(rounds.begin(false)),
                    rest => Due::In(rest),
                }
            }
        }
    }

    /// Goes through everything, or through what is left of it, unless another round takes its
    /// place.
    async fn make(&self, number: u64) {
        let Some(round) = self.current(number) else {
            return;
        };
        let Some(mut scrubbing) = self.store.scrub(round.stage) else {
            return;
        };
        let mut pace = Pace::new(self.options.rate, Arc::clone(&self.connections));
        let most = if round.is_urgent { URGENT_STEP } else { STEP };
        let (mut patience, mut saved) = (Duration::ZERO, Instant::now());
        loop {
            if !round.is_urgent {
                tokio::select! {
                    () = pace.wait(patience) => {}
                    () = self.asked.notified() => {}
                }
            }
            if self.current(number).is_none() {
                return;
            }
            let began = Instant::now();
            let Some(step) = scrubbing.next(most).await else {
                break;
            };
            self.read.add(step.bytes);
            pace.spent(step.bytes, began.elapsed());
            patience = self.patience(step.bytes);
            self.note(number, step, scrubbing.stage());
            if step.unchecked > 0 {
                sleep(AFTER_FAILURE).await;
            }
            if saved.elapsed() >= SAVE_EVERY {
                saved = Instant::now();
                self.save().await;
            }
        }
        self.end(number).await;
    }

    fn current(&self, number: u64) -> Option<Round> {
        self.rounds.get()?.lock().current(number).cloned()
    }

    fn note(&self, number: u64, step: Step, stage: Stage) {
        let Some(rounds) = self.rounds.get() else {
            return;
        };
        if let Some(round) = rounds.lock().current(number) {
            round.stage = stage;
            round.done.add(step);
        }
    }

    /// How long a step after so many bytes waits for clients: where they never rest, so long that
    /// everything is still read in half of the time that is set.
    fn patience(&self, bytes: u64) -> Duration {
        let all = self.store.totals().blob_bytes.max(1);
        let share = self.options.every.map_or(0, |every| {
            every.as_micros() * u128::from(bytes) / u128::from(all) / 2
        });
        let share = Duration::from_micros(u64::try_from(share).unwrap_or(u64::MAX));
        share.min(PATIENCE)
    }

    /// The round has come to its end, unless another has taken its place.
    async fn end(&self, number: u64) {
        let damage = self.store.damage();
        {
            let Some(rounds) = self.rounds.get() else {
                return;
            };
            let mut rounds = rounds.lock();
            let Some(round) = rounds.now.take_if(|it| it.number == number) else {
                return;
            };
            let Step {
                whole,
                bytes,
                unchecked,
            } = round.done;
            tracing::info!(
                whole,
                bytes,
                unchecked,
                damaged = damage.known,
                unreadable = damage.unreadable,
                "the scrub has come to its end"
            );
            rounds.last = Some(Ended {
                number,
                began_at: round.began_at,
                ended_at: Timestamp::now().0,
                done: round.done,
                damaged: damage.known,
                unreadable: damage.unreadable,
            });
        }
        self.ended.count();
        self.save().await;
    }
}

/// When a round is to be made.
enum Due {
    Now(u64),
    In(Duration),
}

/// How long ago a moment was; nothing where the clock says that it is yet to come.
fn since(moment: i64) -> Duration {
    let millis = Timestamp::now().0.saturating_sub(moment);
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
