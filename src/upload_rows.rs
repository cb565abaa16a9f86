//! Uploads in parts that several nodes have together: what all of them know of each.
//!
//! Whoever works on one takes the turn at it, which is a number: the next one who takes it ends
//! the turn of those before, and whatever they write then changes nothing.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use uuid::Uuid;

use crate::hash::BlobHash;
use crate::record::FileId;
use crate::turn::Turn;
use crate::unavailable::Unavailable;

/// How often to look whether whoever has the turn is at its end, or whether others wait for that.
const AGAIN: Duration = Duration::from_millis(50);
/// How long somebody may take to make way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an upload that are stored by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPart {
    /// Where in the upload they begin.
    pub start: u64,
    /// How many they are.
    pub size: u64,
    /// In which turn they were written.
    pub epoch: i64,
    /// The chaining values of their pieces, one behind the other; none of the last part.
    pub tree: Vec<u8>,
}

/// What is known of an upload.
#[derive(Debug)]
pub struct UploadRow {
    /// The number of the last turn.
    pub epoch: i64,
    /// What was saved of it.
    pub state: Vec<u8>,
    /// How long ago something of it was written.
    pub age: Duration,
    /// What it has become.
    pub file: Option<(FileId, BlobHash)>,
    /// The final upload that has taken it in.
    pub joined: Option<Uuid>,
}

/// What is promised to an upload while its bytes come.
#[derive(Debug, Clone, Copy)]
pub struct Promised {
    /// How many bytes of the quota it may take.
    pub bytes: u64,
    /// Whether it may only be kept already, and takes nothing then.
    pub is_beyond: bool,
}

/// What takes room of the quota elsewhere, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct TakenElsewhere {
    /// What is kept.
    pub kept: u64,
    /// What is on its way, and is to find room.
    pub inside: u64,
    /// What may be kept already.
    pub beyond: u64,
    /// Of both, what one client brings.
    pub of_client: u64,
}

/// An upload that begins.
pub struct NewRow<'a> {
    /// Its id.
    pub upload: Uuid,
    /// What is to be remembered of it.
    pub state: Vec<u8>,
    /// To whose share it counts; empty where that is nobody's.
    pub client: String,
    /// Whether it gives way to nobody.
    pub is_begun: bool,
    /// How many may be unfinished, and how many of one client.
    pub most: (usize, usize),
    /// The turns at the uploads that it is made of: it counts as none more then.
    pub parts: &'a [Turn],
}

/// What comes of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    Done,
    /// Too many are unfinished.
    Full,
    /// Too many of this client are.
    FullOfOne,
    /// Others have taken the turn at what it is made of.
    TakenOver,
}

/// Where all nodes write down what they know of uploads.
#[async_trait]
pub trait UploadRows: Send + Sync + 'static {
    /// Adds an upload.
    async fn add(&self, row: &NewRow<'_>) -> Result<Added, Unavailable>;

    /// Takes the turn at an upload; None where there is none, or somebody makes a file of it now,
    /// or has others wait while its bytes come, unless that is to count for nothing.
    async fn claim(&self, upload: Uuid, by_force: bool) -> Result<Option<UploadRow>, Unavailable>;

    /// Asks whoever receives bytes of an upload to make way, and tells whether there is one.
    async fn ask(&self, upload: Uuid) -> Result<bool, Unavailable>;

    /// Has others wait for a while, since bytes come that are to count for them, unless the turn is
    /// over, which it tells.
    async fn receive(&self, turn: Turn, promised: Promised) -> Result<bool, Unavailable>;

    /// Has them wait on, and tells at which uploads somebody does, or has taken the turn.
    async fn wait_on(&self, turns: &[Turn]) -> Result<Vec<Uuid>, Unavailable>;

    /// What is known of an upload, without taking the turn.
    async fn look(&self, upload: Uuid) -> Result<Option<UploadRow>, Unavailable>;

    /// Saves what is known of an upload, of which `here` bytes have come, some in these parts,
    /// unless the turn is over, which it tells. All of it counts, or nothing. Nobody waits any more
    /// unless more bytes come.
    async fn save(
        &self,
        turn: Turn,
        (state, here): (&[u8], u64),
        parts: &[UploadPart],
        receives: bool,
    ) -> Result<bool, Unavailable>;

    /// What is kept, and what unfinished uploads take of the quota, but for these; `client` is
    /// empty where that is nobody's.
    async fn room(&self, client: &str, but: &[Uuid]) -> Result<TakenElsewhere, Unavailable>;

    /// Keeps the turn from others for a while, since a file is made of the upload, which takes long
    /// and would begin anew.
    async fn hold(&self, turn: Turn) -> Result<(), Unavailable>;

    /// Ends that, and that others wait.
    async fn let_go(&self, turn: Turn) -> Result<(), Unavailable>;

    /// For how long [`UploadRows::hold`] does.
    fn ending(&self) -> Duration;

    /// The parts of an upload that are there, in order.
    async fn parts(&self, upload: Uuid) -> Result<Vec<UploadPart>, Unavailable>;

    /// The part of an upload in which this byte is, without its tree.
    async fn part_at(&self, upload: Uuid, offset: u64) -> Result<Option<UploadPart>, Unavailable>;

    /// Forgets the parts of an upload, which takes no room any more.
    async fn forget_parts(&self, upload: Uuid) -> Result<(), Unavailable>;

    /// Has an upload be none any more, with all that it is made of, and tells which those are.
    async fn remove(&self, upload: Uuid) -> Result<Vec<Uuid>, Unavailable>;

    /// The same for one of which nothing has come, of this client where it is one's; None where
    /// there is no such.
    async fn give_way(&self, client: &str) -> Result<Option<Uuid>, Unavailable>;

    /// The same for those of which nothing was written for `expiry`, and for those that ended
    /// first where more than `most` have.
    async fn expire(&self, expiry: Duration, most: usize) -> Result<(), Unavailable>;

    /// Of which uploads what has come is no use any more, and whether they are none any more: then
    /// nobody is late with any of it either.
    async fn litter(&self) -> Result<Vec<(Uuid, bool)>, Unavailable>;

    /// Forgets an upload that is none any more, and of which nothing is left.
    async fn forget(&self, upload: Uuid) -> Result<(), Unavailable>;

    /// For how long somebody may be late.
    fn grace(&self) -> Duration;
}

/// The uploads, and at which of them this node has the turn, as far as it knows.
pub struct Ledger {
    /// What all nodes know.
    pub rows: Arc<dyn UploadRows>,
    turns: Mutex<HashMap<Uuid, Held>>,
    /// Those of which this node itself counts what they take, while it works on them.
    here: Mutex<HashSet<Uuid>>,
}

/// The turn at an upload.
struct Held {
    epoch: i64,
    /// What has come in it, and was not saved yet.
    unsaved: Vec<UploadPart>,
    /// Told when others want the turn; gone when no bytes come any more.
    asked: Weak<Notify>,
}

impl Ledger {
    /// The uploads of these rows.
    pub fn new(rows: Arc<dyn UploadRows>) -> Self {
        Self {
            rows,
            turns: Mutex::default(),
            here: Mutex::default(),
        }
    }

    /// Takes the turn at an upload, and tells whether no other node has had it since this one.
    /// Whoever receives bytes writes down first what has come, unless that takes too long.
    pub async fn claim(&self, upload: Uuid) -> Result<Option<(UploadRow, bool)>, Unavailable> {
        let began = Instant::now();
        let row = loop {
            let by_force = began.elapsed() >= PATIENCE;
            match self.rows.claim(upload, by_force).await? {
                None if self.rows.ask(upload).await? => sleep(AGAIN).await,
                row => break row,
            }
        };
        let mut turns = self.turns.lock();
        let before = turns.remove(&upload);
        let Some(row) = row else {
            return Ok(None);
        };
        let epoch = row.epoch;
        let is_next = before.is_some_and(|it| it.epoch + 1 == epoch && it.unsaved.is_empty());
        let held = Held {
            epoch,
            unsaved: Vec::new(),
            asked: Weak::new(),
        };
        turns.insert(upload, held);
        Ok(Some((row, is_next)))
    }

    /// Has others wait while bytes of an upload come, until what is returned is told or dropped;
    /// None where another one has taken the turn.
    pub async fn receive(
        &self,
        upload: Uuid,
        promised: Promised,
    ) -> Result<Option<Arc<Notify>>, Unavailable> {
        let Some(turn) = self.turn(upload) else {
            return Ok(None);
        };
        if !self.rows.receive(turn, promised).await? {
            return Ok(None);
        }
        let asked = Arc::new(Notify::new());
        if let Some(held) = self.turns.lock().get_mut(&upload) {
            held.asked = Arc::downgrade(&asked);
        }
        Ok(Some(asked))
    }

    /// No more bytes of an upload come: once it is saved nobody waits any more.
    pub fn settle(&self, upload: Uuid) {
        if let Some(held) = self.turns.lock().get_mut(&upload) {
            held.asked = Weak::new();
        }
    }

    /// Has whoever receives bytes make way for those who wait on other nodes, for ever.
    pub async fn make_way(&self) {
        loop {
            sleep(AGAIN).await;
            let receiving = self.receiving();
            if receiving.is_empty() {
                continue;
            }
            let turns: Vec<_> = receiving.iter().map(|(turn, _)| *turn).collect();
            match self.rows.wait_on(&turns).await {
                Ok(wanted) => {
                    let asked = receiving.iter().filter(|(it, _)| wanted.contains(&it.of));
                    asked.for_each(|(_, it)| it.notify_one());
                }
                Err(error) => {
                    let error = &error as &dyn Error;
                    tracing::debug!(error, "who waits for uploads is not known");
                }
            }
        }
    }

    fn receiving(&self) -> Vec<(Turn, Arc<Notify>)> {
        let turns = self.turns.lock();
        let receiving = turns.iter().filter_map(|(of, held)| {
            let turn = Turn {
                of: *of,
                epoch: held.epoch,
            };
            Some((turn, held.asked.upgrade()?))
        });
        receiving.collect()
    }

    /// The turn that this node has had last; None where it knows that it has none.
    pub fn turn(&self, upload: Uuid) -> Option<Turn> {
        let epoch = self.turns.lock().get(&upload)?.epoch;
        Some(Turn { of: upload, epoch })
    }

    /// Has these parts count once the upload is saved.
    pub fn note(&self, upload: Uuid, parts: Vec<UploadPart>) {
        if let Some(held) = self.turns.lock().get_mut(&upload) {
            held.unsaved.extend(parts);
        }
    }

    /// Makes a file of an upload, while nobody else takes the turn.
    pub async fn ending<T>(&self, upload: Uuid, making: impl Future<Output = T>) -> T {
        let Some(turn) = self.turn(upload) else {
            return making.await;
        };
        let holding = async {
            loop {
                if let Err(error) = self.rows.hold(turn).await {
                    tracing::debug!(%upload, %error, "the turn at an upload is not held");
                }
                sleep(self.rows.ending() / 5).await;
            }
        };
        let made = tokio::select! {
            made = making => made,
            never = holding => never,
        };
        self.let_go(upload).await;
        made
    }

    /// Has nobody wait any more for the turn that this node has had.
    pub async fn let_go(&self, upload: Uuid) {
        self.settle(upload);
        if let Some(turn) = self.turn(upload)
            && let Err(error) = self.rows.let_go(turn).await
        {
            // It ends by itself.
            tracing::debug!(%upload, %error, "the turn at an upload is held on");
        }
    }

    /// Saves an upload, with what was noted, unless the turn is over, which it tells.
    pub async fn save(&self, upload: Uuid, state: (&[u8], u64)) -> Result<bool, Unavailable> {
        let Some((turn, parts, receives)) = self.unsaved(upload) else {
            return Ok(false);
        };
        let is_saved = self.rows.save(turn, state, &parts, receives).await?;
        let mut turns = self.turns.lock();
        if !is_saved {
            turns.remove(&upload);
        } else if let Some(held) = turns.get_mut(&upload) {
            held.unsaved.clear();
        }
        Ok(is_saved)
    }

    fn unsaved(&self, upload: Uuid) -> Option<(Turn, Vec<UploadPart>, bool)> {
        let turns = self.turns.lock();
        let held = turns.get(&upload)?;
        let (of, epoch) = (upload, held.epoch);
        let receives = held.asked.strong_count() > 0;
        Some((Turn { of, epoch }, held.unsaved.clone(), receives))
    }

    /// This node counts itself what an upload takes, until it says otherwise.
    pub fn count_here(&self, upload: Uuid, is_here: bool) {
        let mut here = self.here.lock();
        if is_here {
            here.insert(upload);
        } else {
            here.remove(&upload);
        }
    }

    /// What takes room elsewhere.
    pub async fn elsewhere(&self, client: &str) -> Result<TakenElsewhere, Unavailable> {
        let here: Vec<_> = self.here.lock().iter().copied().collect();
        self.rows.room(client, &here).await
    }

    /// Nobody here works on an upload any more.
    pub fn leave(&self, upload: Uuid) {
        self.turns.lock().remove(&upload);
    }
}
