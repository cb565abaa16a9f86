//! Copies that several nodes are to have together: what all of them know of each.
//!
//! Whoever fetches one has the turn at it, for as long as a lease lasts that is renewed meanwhile:
//! then another one takes the turn, and whatever those before it write changes nothing.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::hash::BlobHash;
use crate::record::FileId;
use crate::turn::Turn;
use crate::unavailable::Unavailable;

/// Where a wanted copy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowStage {
    /// It waits for whoever takes the turn, or for a new try.
    Waiting,
    /// It is being fetched.
    Fetching,
    /// It is kept.
    Kept,
    /// It will not be tried again.
    Failed,
}

/// What is known of a wanted copy.
#[derive(Debug, Clone)]
pub struct KeepRow {
    /// What is wanted: a hash, or the id of a file.
    pub id: String,
    /// The last turn at it.
    pub turn: Turn,
    /// When it was asked for, among all.
    pub number: i64,
    /// By which names it is wanted, as was saved.
    pub names: Vec<u8>,
    /// How often the names were changed, or the turn taken.
    pub version: i64,
    /// To whose share it counts; empty where that is nobody's.
    pub client: String,
    /// Whether a user has asked for it.
    pub is_asked: bool,
    /// Where it stands.
    pub stage: RowStage,
    /// The file that was made of it last.
    pub copy: Option<FileId>,
    /// How many bytes it has, and how many of them are with whoever has the turn.
    pub size: u64,
    /// The same, as far as they have come.
    pub fetched: u64,
    /// Why the last try failed.
    pub error: Option<String>,
    /// How long to wait after a further failure.
    pub pause: Duration,
}

/// A copy that a user asks for.
pub struct AskedRow<'a> {
    /// What is wanted.
    pub id: &'a str,
    /// By which names it is wanted from now on, and how many these are.
    pub names: (&'a [u8], usize),
    /// The version in which these were found; None where there was none.
    pub found: Option<i64>,
    /// To whose share it counts; empty where that is nobody's.
    pub client: &'a str,
    /// How many bytes it has, as was told.
    pub size: u64,
    /// How many may be wanted, and how many of one client.
    pub most: (usize, usize),
}

/// What comes of asking for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is wanted.
    Done,
    /// Too many are.
    Full,
    /// Too many of this client are.
    FullOfOne,
    /// Others have changed it since it was found.
    Changed,
}

/// How far a copy is with whoever has the turn at it.
#[derive(Debug, Clone)]
pub struct HeldRow {
    /// The turn.
    pub turn: Turn,
    /// Whether it is fetched now, and not only waited for.
    pub is_fetching: bool,
    /// How many bytes it has.
    pub size: u64,
    /// How many are here.
    pub fetched: u64,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// The end of a copy.
#[derive(Debug)]
pub struct EndedRow<'a> {
    /// How far it is, in whose turn.
    pub held: HeldRow,
    /// The version whose names were seen to.
    pub version: i64,
    /// The names, as they are shown from now on.
    pub names: &'a [u8],
    /// Whether it is kept.
    pub is_kept: bool,
    /// As which file.
    pub copy: Option<FileId>,
}

/// What comes of ending one.
#[derive(Debug)]
pub enum Ended {
    /// It is at its end.
    Done,
    /// It was asked for otherwise meanwhile, and is not.
    Changed(KeepRow),
    /// The turn is another's, or nobody wants it any more.
    Lost,
}

/// Where all nodes write down what they know of wanted copies.
#[async_trait]
pub trait KeepRows: Send + Sync + 'static {
    /// For how long a turn lasts that is not renewed.
    fn lease(&self) -> Duration;

    /// What is known of one.
    async fn look(&self, id: &str) -> Result<Option<KeepRow>, Unavailable>;

    /// At most `limit` of those behind the one with the number `after`, in order.
    async fn page(&self, after: Option<i64>, limit: usize) -> Result<Vec<KeepRow>, Unavailable>;

    /// A number, and another one once any of them is farther or another.
    async fn changes(&self) -> Result<(i64, i64), Unavailable>;

    /// Adds one, or names to one.
    async fn ask(&self, asked: &AskedRow<'_>) -> Result<Asked, Unavailable>;

    /// Notes one that is kept already as this file, unless it is on its way.
    async fn note(
        &self,
        id: &str,
        names: &[u8],
        size: u64,
        copy: Option<FileId>,
    ) -> Result<(), Unavailable>;

    /// Has the oldest give way that was tried in vain and of which nothing has come, of this
    /// client, or of whoever has most where that is none. False where there is none.
    async fn give_way(&self, client: &str) -> Result<bool, Unavailable>;

    /// Forgets one, and tells what was known of it.
    async fn remove(&self, id: &str) -> Result<Option<KeepRow>, Unavailable>;

    /// The same of one that no user has asked for and that is on its way.
    async fn remove_unasked(&self, id: &str) -> Result<(), Unavailable>;

    /// Takes the turn at the next that is due, for a node.
    async fn claim(&self, node: Uuid) -> Result<Option<KeepRow>, Unavailable>;

    /// Takes the turns at all that a node had when it crashed.
    async fn reclaim(&self, node: Uuid) -> Result<Vec<KeepRow>, Unavailable>;

    /// Takes the turn at one that no user has asked for; None where another has it, or it is on its
    /// way for a user.
    async fn claim_unasked(
        &self,
        node: Uuid,
        (id, names): (&str, &[u8]),
        size: u64,
    ) -> Result<Option<KeepRow>, Unavailable>;

    /// Renews these turns, and tells which of them are still this node's.
    async fn renew(&self, held: &[HeldRow]) -> Result<Vec<Uuid>, Unavailable>;

    /// Leaves a turn to others, which try it after `pause`, and after `next` where that fails.
    async fn let_go(
        &self,
        turn: Turn,
        error: &str,
        pause: Duration,
        next: Duration,
    ) -> Result<(), Unavailable>;

    /// Leaves a turn to others at once; what no user has asked for is none any more.
    async fn leave(&self, turn: Turn) -> Result<(), Unavailable>;

    /// The same of all turns of a node.
    async fn leave_all(&self, node: Uuid) -> Result<(), Unavailable>;

    /// Ends one.
    async fn end(&self, ended: &EndedRow<'_>) -> Result<Ended, Unavailable>;

    /// Takes the turn at looking for all that is announced, which one of all nodes has, or renews
    /// that which this node has had last. None where it is another's.
    async fn lead(&self, epoch: Option<i64>) -> Result<Option<i64>, Unavailable>;

    /// Leaves that to others.
    async fn follow(&self, epoch: i64) -> Result<(), Unavailable>;

    /// Notes that a content is about to be removed by a user.
    async fn note_removed(&self, hash: &BlobHash) -> Result<(), Unavailable>;

    /// Whether that was noted, and the content has not come back since.
    async fn was_removed(&self, hash: &BlobHash) -> Result<bool, Unavailable>;

    /// Notes the hash of a file of a peer that has none.
    async fn note_unhashed(
        &self,
        file: FileId,
        hash: &BlobHash,
        most: usize,
    ) -> Result<(), Unavailable>;

    /// The hash that was noted.
    async fn unhashed(&self, file: FileId) -> Result<Option<BlobHash>, Unavailable>;

    /// Forgets what ended first where more than `ended` have, and what was removed first where more
    /// than `removed` contents were; and what is neither wanted nor removed any more.
    async fn tidy(&self, ended: usize, removed: usize) -> Result<(), Unavailable>;
}
