//! The scrub: everything stored is read and proven once in a while, in the background, so that
//! what rots shows while others still have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{sleep, timeout};

use super::care::Cares;
use super::pace::Pace;
use crate::blob::BlobError;
use crate::metrics::Counter;
use crate::record::Timestamp;
use crate::small_state::{SmallState, StateError};
use crate::store::{Stage, Step, Store, StoreError};
use crate::web::Connections;

mod memory;
mod round;

use memory::Memory;
pub use round::{Ended, Round, Rounds, SCRUB};

/// How much is read in one step, in bytes, and in one of a round that somebody waits for.
const STEP: u64 = 256 * 1024;
const URGENT_STEP: u64 = 4 * 1024 * 1024;
/// How long before it is looked again whether something is due: the clock may be set, and a
/// machine may sleep.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// How long before it is looked again how far another node is that has the turn.
const OTHERS_EVERY: Duration = Duration::from_secs(5);
/// How often a round is asked for beside other nodes that write down theirs.
const TRIES: usize = 8;
/// How long clients that are served hold up a step at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many files beside the contents are remembered that are damaged; the log has all.
const MOST_TOLD: usize = 32;
/// How far a moment may lie ahead, as clocks differ. What lies further is of a clock that was
/// wrong, and tells nothing of how long ago it was.
const MOST_AHEAD: Duration = Duration::from_hours(24);
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
    memory: Memory,
    connections: Arc<Connections>,
    options: Options,
    /// Unknown until what is remembered was read.
    rounds: OnceCell<Mutex<Rounds>>,
    /// Whoever waits is told that a round was asked for.
    asked: Notify,
    /// Whether this node has made a round since it started, or some of one.
    is_making: AtomicBool,
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
            memory: Memory::new(Cares::of(&store), state),
            store,
            connections,
            options,
            rounds: OnceCell::new(),
            asked: Notify::new(),
            is_making: AtomicBool::new(false),
            read: Counter::default(),
            ended: Counter::default(),
        }
    }

    /// How often everything is read; None where that is only done when it is asked for.
    pub fn every(&self) -> Option<Duration> {
        self.options.every
    }

    /// The round that is under way and the last one; None where contents are in memory alone, and
    /// until what was before the start is known. What other nodes do that have the turn is as old
    /// as the last [`Scrub::look`].
    pub fn rounds(&self) -> Option<Rounds> {
        Some(self.rounds.get()?.lock().clone())
    }

    /// Has everything read now, as fast as that goes, and tells the number of the round: the one
    /// that does so already, if there is one. None where contents are in memory alone. Fails where
    /// other nodes could not be told that share the store.
    pub async fn ask(&self) -> Result<Option<u64>, StoreError> {
        if !self.store.can_be_scrubbed() {
            return Ok(None);
        }
        let rounds = self.known().await;
        for _ in 0..TRIES {
            self.look().await?;
            let (number, asked) = {
                let mut rounds = rounds.lock();
                let number = match &rounds.now {
                    Some(round) if round.is_urgent => round.number,
                    _ => rounds.begin(true),
                };
                (number, rounds.clone())
            };
            // So that a restart goes on with it, or another node does.
            match self.memory.save(&asked).await {
                Ok(false) => continue,
                Err(error) if self.memory.is_shared() => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "a restart will not know of the scrub"),
                Ok(true) => {}
            }
            self.asked.notify_one();
            return Ok(Some(number));
        }
        let busy = std::io::Error::other("other nodes write down how far they are");
        Err(BlobError::io("ask for", "a scrub", busy).into())
    }

    /// Finds out what other nodes do that share the store.
    pub async fn look(&self) -> Result<(), StateError> {
        if let (Some(rounds), true) = (self.rounds.get(), self.memory.is_shared())
            && let Some(news) = self.memory.load().await?
        {
            *rounds.lock() = news;
        }
        Ok(())
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
            let rest = self.rest(&rounds.lock());
            let pause = match rest {
                Some(rest) if self.memory.is_shared() => rest.min(OTHERS_EVERY),
                Some(rest) => rest.min(LOOK_EVERY),
                None => match self.in_turn(rounds).await {
                    Ok(true) => continue,
                    // Another node has the turn, or nobody can tell.
                    Ok(false) | Err(_) => OTHERS_EVERY,
                },
            };
            let _ = timeout(pause, self.asked.notified()).await;
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "how far other nodes are with the scrub is not known");
            }
        }
    }

    /// Makes the round that is due, if this node has the turn; tells whether it has.
    async fn in_turn(&self, rounds: &Mutex<Rounds>) -> Result<bool, StateError> {
        if !self.memory.take_turn().await? {
            return Ok(false);
        }
        // What whoever had it before has come to.
        self.look().await?;
        let number = {
            let mut rounds = rounds.lock();
            match (self.rest(&rounds), &rounds.now) {
                (Some(_), _) => None,
                (None, Some(round)) => Some(round.number),
                (None, None) => Some(rounds.begin(false)),
            }
        };
        if let Some(number) = number {
            self.make(number).await;
        }
        self.memory.leave_turn().await;
        Ok(true)
    }

    /// Knows again how far it was; waits until that can be read.
    async fn recall(&self) -> Mutex<Rounds> {
        let rounds = loop {
            match self.memory.load().await {
                Ok(rounds) => break rounds.unwrap_or_default(),
                Err(error) => {
                    tracing::warn!(%error, "how far the scrub was cannot be read yet");
                    sleep(AFTER_FAILURE).await;
                }
            }
        };
        Mutex::new(rounds)
    }

    /// Writes down how far it is, and keeps the turn; tells whether this node goes on as it was.
    /// Where another one has written something meanwhile, as a round that is asked for, or more of
    /// this one, that is known then, and what was read since would count twice.
    async fn save(&self) -> bool {
        let Some(rounds) = self.rounds().filter(|it| *it != Rounds::default()) else {
            return true;
        };
        let saved = match self.memory.save(&rounds).await {
            Ok(false) => self.look().await.map(|()| false),
            saved => saved,
        };
        match saved {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => tracing::warn!(%error, "how far the scrub is was not written down"),
        }
        // Where nobody can tell it goes on.
        self.memory.take_turn().await.unwrap_or(true)
    }

    /// Ends what a node does that stops, so that it goes on there, or elsewhere at once.
    pub(super) async fn stop(&self) {
        // Only whoever makes a round knows more than is written down.
        if self.is_making.load(Ordering::Relaxed) {
            self.save().await;
            self.memory.leave_turn().await;
        }
    }

    /// How long it is until a round is due; None where one is.
    fn rest(&self, rounds: &Rounds) -> Option<Duration> {
        match (&rounds.now, self.options.every) {
            (Some(round), every) if round.is_urgent || every.is_some() => None,
            (_, None) => Some(Duration::MAX),
            (_, Some(every)) => {
                let since = since(rounds.last.as_ref()?.began_at, every.min(MOST_AHEAD))?;
                Some(every.saturating_sub(since)).filter(|it| !it.is_zero())
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
        self.is_making.store(true, Ordering::Relaxed);
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
            if saved.elapsed() >= self.memory.save_every() {
                saved = Instant::now();
                if !self.save().await {
                    return;
                }
            }
        }
        self.end(number, scrubbing.problems()).await;
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
    async fn end(&self, number: u64, mut problems: Vec<String>) {
        problems.truncate(MOST_TOLD);
        // What other nodes have found counts as well.
        self.store.catch_up().await;
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
                problems: beside,
            } = round.done;
            tracing::info!(
                whole,
                bytes,
                unchecked,
                beside,
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
                problems,
            });
        }
        self.ended.count();
        self.save().await;
    }
}

/// How long ago a moment was, which is no time where it is yet to come; None where it lies so far
/// ahead that nobody knows.
fn since(moment: i64, most_ahead: Duration) -> Option<Duration> {
    let millis = Timestamp::now().0.saturating_sub(moment);
    let ahead = Duration::from_millis(u64::try_from(millis.saturating_neg()).unwrap_or(0));
    (ahead <= most_ahead).then(|| Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}
