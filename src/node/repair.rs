//! Repair: what is stored and not whole comes again from whoever has it, in the background, as soon
//! as that shows.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify, OnceCell, watch};
use tokio::time::{sleep, timeout};

use super::care::Cares;
use super::pace::Pace;
use crate::blob::{BlobError, FoundPartial, Partials, Purpose};
use crate::care_rows::Care;
use crate::fetch::{Fetcher, Pause, RepairError, Repaired, Repairing, partial_of, remove_gathered};
use crate::hash::BlobHash;
use crate::metrics::Counter;
use crate::peer::network::Network;
use crate::store::{Change, Changes, News, Store};
use crate::web::Connections;

/// How long clients that are served hold up a part of a repair at most.
const PATIENCE: Duration = Duration::from_millis(100);
/// How soon it is looked again whether anybody has what is not whole, at first and at last.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// For how long nothing is looked at where all is whole, as far as has shown; and where others
/// share the store, who may have found what is not, and be gone.
const IDLE: (Duration, Duration) = (Duration::from_hours(1), Duration::from_secs(1));
/// How soon a content is tried again that could not be repaired, at first and at last.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));
/// How many contents are remembered that could not be repaired; of others it is found out again.
const MAX_FAILED: usize = 4096;
/// How many contents clients wait for at once.
const MAX_ASKED: usize = 64;
/// How many contents that could not be repaired keep what was gathered of them.
const MAX_GATHERED: usize = 2;
/// How long a client waits for a repair before it gets what peers have.
const IN_TIME: Duration = Duration::from_millis(500);
/// The longest content that a client waits for, in bytes.
const LONGEST_IN_TIME: u64 = 4 << 20;

/// How much there is to be repaired, as it was when that was last looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToRepair {
    /// Contents that are not whole and that no peer has that is known here.
    pub unobtainable: u64,
    /// Those that a peer claims to have, and that could not be repaired yet.
    pub failing: u64,
}

/// The repair of a node.
pub struct Repair {
    store: Store,
    fetcher: Arc<Fetcher>,
    network: Arc<Network>,
    partials: Arc<dyn Partials>,
    pace: Arc<AsyncMutex<Pace>>,
    /// Whose turn it is among the nodes that share the store; None where this one is alone.
    cares: Option<Cares>,
    state: Mutex<State>,
    /// Set once it is known what a crash has left.
    recalled: OnceCell<()>,
    /// Whoever repairs is told that a client waits.
    asked: Notify,
    /// How many contents were repaired since the start.
    pub repaired: Counter,
    /// How many tries to do so have failed since the start.
    pub failed: Counter,
    /// How many bytes peers have brought for that since the start.
    pub fetched: Counter,
}

#[derive(Default)]
struct State {
    /// What clients wait for.
    asked: VecDeque<BlobHash>,
    /// What is repaired now.
    now: Option<BlobHash>,
    /// What could not be repaired, how often, and when it is tried again.
    failed: BTreeMap<BlobHash, (u32, Instant)>,
    /// Of which something was gathered in vain, the last one first.
    gathered: VecDeque<BlobHash>,
    to_repair: ToRepair,
}

impl Repair {
    pub(super) fn new(
        store: Store,
        fetcher: Arc<Fetcher>,
        network: Arc<Network>,
        connections: Arc<Connections>,
        rate: u64,
    ) -> Self {
        Self {
            partials: store.partials(Purpose::Repairs),
            cares: Cares::of(&store),
            store,
            fetcher,
            network,
            pace: Arc::new(AsyncMutex::new(Pace::new(rate, connections))),
            state: Mutex::default(),
            recalled: OnceCell::new(),
            asked: Notify::new(),
            repaired: Counter::default(),
            failed: Counter::default(),
            fetched: Counter::default(),
        }
    }

    /// How much there is to be repaired, as it was when that was last looked at.
    pub fn to_repair(&self) -> ToRepair {
        self.state.lock().to_repair
    }

    /// What is repaired now.
    pub fn now(&self) -> Option<BlobHash> {
        self.state.lock().now
    }

    /// Has content of `size` bytes repaired before all other, and waits for that for a moment;
    /// tells whether it is.
    pub async fn in_time(&self, hash: BlobHash, size: u64) -> bool {
        let is_worth_it = size <= LONGEST_IN_TIME
            && self.store.can_be_scrubbed()
            && self.fetcher.is_held(&hash)
            && self.is_due(&hash);
        if !is_worth_it {
            return false;
        }
        let mut changes = self.store.listen();
        {
            let mut state = self.state.lock();
            if state.asked.len() >= MAX_ASKED {
                return false;
            }
            if !state.asked.contains(&hash) {
                state.asked.push_back(hash);
            }
        }
        self.asked.notify_one();
        let mended = async {
            while let Some(news) = changes.next().await {
                if matches!(news, News::Change(Change::Mended(it)) if it == hash) {
                    return true;
                }
            }
            false
        };
        timeout(IN_TIME, mended).await.unwrap_or(false)
    }

    /// Repairs what is not whole, as long as the node runs.
    pub(super) async fn run(self: Arc<Self>) {
        if !self.store.can_be_scrubbed() {
            return;
        }
        let mut changes = self.store.listen();
        let mut told = self.network.directory.revision().watch();
        if let Err(error) = self.recall().await {
            tracing::warn!(%error, "what was gathered for repairs cannot be looked through yet");
        }
        let (first, last) = LOOK_AGAIN;
        let mut pause = first;
        loop {
            told.mark_unchanged();
            let found = self.look_at_all().await;
            let is_new = self.rest(found, pause, &mut changes, &mut told).await;
            pause = if is_new || found.repaired > 0 {
                first
            } else {
                (pause * 2).min(last)
            };
        }
    }

    /// Tries to repair all that is not whole.
    async fn look_at_all(&self) -> Found {
        let (mut found, mut after) = (Found::default(), None);
        // What all nodes know of that is at hand.
        if self.cares.is_some() && self.store.damage().known == 0 {
            self.note(found.to_repair);
            return found;
        }
        loop {
            let page = match self.store.unsound(after).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, "what is not whole cannot be looked up");
                    break;
                }
            };
            for (hash, _) in page.contents {
                self.repair_asked().await;
                match self.try_to_repair(hash).await {
                    Outcome::Repaired => found.repaired += 1,
                    Outcome::Whole => {}
                    Outcome::Nobody => found.to_repair.unobtainable += 1,
                    Outcome::Failing => found.to_repair.failing += 1,
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.note(found.to_repair);
        found
    }

    fn note(&self, to_repair: ToRepair) {
        let before = std::mem::replace(&mut self.state.lock().to_repair, to_repair);
        let count = to_repair.unobtainable;
        if count > 0 && count != before.unobtainable {
            tracing::warn!(
                count,
                "contents are not whole here, and no node that is known here has them"
            );
        }
    }

    /// Waits until it is to be looked at all again, and repairs meanwhile what shows or is waited
    /// for; whether something has shown.
    async fn rest(
        &self,
        found: Found,
        pause: Duration,
        changes: &mut Changes,
        told: &mut watch::Receiver<u64>,
    ) -> bool {
        let is_something_left = found.to_repair != ToRepair::default();
        let (alone, shared) = IDLE;
        let idle = if self.cares.is_some() { shared } else { alone };
        let again = sleep(if is_something_left { pause } else { idle });
        tokio::pin!(again);
        let (soon, _) = LOOK_AGAIN;
        let mut is_new = false;
        loop {
            tokio::select! {
                () = &mut again => return is_new,
                () = self.asked.notified() => self.repair_asked().await,
                news = changes.next() => match news {
                    Some(News::Change(Change::Damaged(hash) | Change::Unreadable(hash))) => {
                        self.try_to_repair(hash).await;
                    }
                    Some(News::Change(Change::Mended(hash))) => {
                        self.forget(&hash).await;
                        continue;
                    }
                    Some(News::Change(_)) => continue,
                    Some(News::Missed(_)) | None => {}
                },
                // It may be that a peer has what nobody had.
                Ok(()) = told.changed(), if is_something_left => {}
            }
            is_new = true;
            let then = tokio::time::Instant::now() + soon;
            if again.deadline() > then {
                again.as_mut().reset(then);
            }
        }
    }

    /// Repairs what clients wait for.
    async fn repair_asked(&self) {
        loop {
            let asked = self.state.lock().asked.pop_front();
            let Some(hash) = asked else {
                return;
            };
            self.try_to_repair(hash).await;
        }
    }

    async fn try_to_repair(&self, hash: BlobHash) -> Outcome {
        // It may have become whole since it was told or asked for.
        if matches!(self.store.needs_repair(&hash).await, Ok(false)) {
            return Outcome::Whole;
        }
        if !self.fetcher.is_held(&hash) {
            return Outcome::Nobody;
        }
        if !self.is_due(&hash) || self.store.refusal().is_some() {
            return Outcome::Failing;
        }
        match self.repair_in_turn(hash).await {
            Ok(Repaired {
                size,
                fetched,
                is_needed,
            }) => {
                if is_needed {
                    tracing::info!(%hash, size, fetched, "content is repaired from peers");
                    self.repaired.count();
                    self.fetched.add(fetched);
                }
                self.forget(&hash).await;
                Outcome::Repaired
            }
            Err(RepairError::Nobody) => Outcome::Nobody,
            // It is looked at again whether that one has.
            Err(RepairError::Elsewhere) => Outcome::Failing,
            Err(error) => {
                self.note_failed(hash, &error);
                Outcome::Failing
            }
        }
    }

    async fn repair_in_turn(&self, hash: BlobHash) -> Result<Repaired, RepairError> {
        let repair = async {
            self.state.lock().now = Some(hash);
            let repaired = self.repair(hash).await;
            self.state.lock().now = None;
            repaired
        };
        match &self.cares {
            None => repair.await,
            Some(cares) => {
                let done = cares.in_turn(Care::Repair, repair).await;
                done.unwrap_or(Err(RepairError::Elsewhere))
            }
        }
    }

    async fn repair(&self, hash: BlobHash) -> Result<Repaired, RepairError> {
        let pace = Arc::clone(&self.pace);
        let pause: Pause = Arc::new(move |bytes| {
            let pace = Arc::clone(&pace);
            async move {
                let mut pace = pace.lock().await;
                pace.wait(PATIENCE).await;
                pace.spent(bytes, Duration::ZERO);
            }
            .boxed()
        });
        pause(0).await;
        let repairing = Repairing {
            fetcher: &self.fetcher,
            store: &self.store,
            partials: &*self.partials,
            pause,
        };
        self.recall().await?;
        let content = repairing.open(hash).await?;
        let repaired = repairing.repair(&content).await;
        if repaired.is_err() {
            self.keep_gathered(hash).await;
        }
        repaired
    }

    /// Whether a content may be tried now.
    fn is_due(&self, hash: &BlobHash) -> bool {
        let state = self.state.lock();
        let failed = state.failed.get(hash);
        failed.is_none_or(|(_, due)| *due <= Instant::now())
    }

    fn note_failed(&self, hash: BlobHash, error: &RepairError) {
        self.failed.count();
        let mut state = self.state.lock();
        if state.failed.len() >= MAX_FAILED && !state.failed.contains_key(&hash) {
            state.failed.pop_first();
        }
        let (first, last) = TRY_AGAIN;
        let (times, due) = state.failed.entry(hash).or_insert((0, Instant::now()));
        let pause = first.saturating_mul(1 << (*times).min(16)).min(last);
        *due = Instant::now() + pause;
        *times = times.saturating_add(1);
        let error = error as &dyn Error;
        if *times == 1 {
            tracing::warn!(%hash, error, "content could not be repaired, and is tried again");
        } else {
            tracing::debug!(%hash, error, "content could not be repaired");
        }
    }

    /// What was gathered of a content stays for the next try, in the place of what is older.
    async fn keep_gathered(&self, hash: BlobHash) {
        let too_many = {
            let mut state = self.state.lock();
            state.gathered.retain(|it| *it != hash);
            state.gathered.push_front(hash);
            let kept = MAX_GATHERED.min(state.gathered.len());
            state.gathered.split_off(kept)
        };
        for hash in too_many {
            remove_gathered(&*self.partials, &partial_of(&hash)).await;
        }
    }

    /// A content is whole, or gone.
    async fn forget(&self, hash: &BlobHash) {
        let was_gathered = {
            let mut state = self.state.lock();
            state.failed.remove(hash);
            let before = state.gathered.len();
            state.gathered.retain(|it| it != hash);
            before != state.gathered.len()
        };
        if was_gathered {
            remove_gathered(&*self.partials, &partial_of(hash)).await;
        }
    }

    /// Finds once what a crash has left of repairs: of content that is whole it is of no use.
    async fn recall(&self) -> Result<(), BlobError> {
        let recall = || async {
            for FoundPartial { id, .. } in self.partials.prepare().await? {
                let hash = id.to_string().parse::<BlobHash>();
                match hash {
                    Ok(hash) if matches!(self.store.needs_repair(&hash).await, Ok(true)) => {
                        self.keep_gathered(hash).await;
                    }
                    _ => remove_gathered(&*self.partials, &id).await,
                }
            }
            Ok(())
        };
        self.recalled.get_or_try_init(recall).await.copied()
    }
}

/// What has come of a look at all that is not whole.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    repaired: u64,
    to_repair: ToRepair,
}

/// What has come of a try.
enum Outcome {
    Repaired,
    /// It is whole already, or no file needs it.
    Whole,
    /// No peer is known to have it.
    Nobody,
    Failing,
}
