//! Copies that several nodes are to have together: they are rows that all of them read, and each
//! node fetches those at which it has taken the turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::not_kept::{MAX_OF_ONE, MAX_OPEN, NotKept};
use super::queue::{Held, KeepProgress, Stage, TakenUp};
use super::wanted::{KeepId, Naming, Wanted, is_new_name};
use crate::client_key::ClientKey;
use crate::hash::BlobHash;
use crate::keep_rows::{Asked, AskedRow, KeepRow, KeepRows, RowStage};
use crate::record::FileId;
use crate::small_state::{SmallState, StateError, StateName};
use crate::unavailable::Unavailable;

/// Which of the nodes this one is stands under this name.
const NODE: StateName = StateName::Single {
    name: "keeping/node",
    kind: "larder-node 1",
};
/// How often others hear how far a copy is, and what they ask for is heard.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What this node has of what all of them know.
pub(super) struct Shared {
    pub(super) rows: Arc<dyn KeepRows>,
    /// Which of the nodes this one is.
    pub(super) node: OnceCell<Uuid>,
    pub(super) own: Mutex<Own>,
}

/// What this node has been told.
pub(super) struct Own {
    /// When the turns that this node has were known to be its own.
    pub(super) renewed: Instant,
    /// The last turn at looking for everything, and until when it is this node's unless it is
    /// renewed.
    pub(super) epoch: Option<i64>,
    pub(super) leads_until: Option<Instant>,
    /// What was seen of the changes of all.
    pub(super) seen: Option<(i64, i64)>,
}

impl Shared {
    pub(super) fn new(rows: Arc<dyn KeepRows>) -> Self {
        let own = Own {
            renewed: Instant::now(),
            epoch: None,
            leads_until: None,
            seen: None,
        };
        Self {
            rows,
            node: OnceCell::new(),
            own: Mutex::new(own),
        }
    }

    /// Which of the nodes this one is, from one start to the next.
    pub(super) async fn node(&self, state: &dyn SmallState) -> Result<Uuid, StateError> {
        let known = || async {
            let known = state.load(&NODE).await?;
            let known = known.and_then(|it| Uuid::from_slice(&it).ok());
            if let Some(known) = known {
                return Ok(known);
            }
            let made = Uuid::new_v4();
            state.save(&NODE, made.as_bytes().to_vec()).await?;
            Ok(made)
        };
        self.node.get_or_try_init(known).await.copied()
    }

    /// Whether it is this node that looks for everything.
    pub(super) fn leads(&self) -> bool {
        let until = self.own.lock().leads_until;
        until.is_some_and(|it| Instant::now() < it)
    }

    /// Takes over what a client wants.
    pub(super) async fn ask(
        &self,
        wanted: &Wanted,
        client: Option<&ClientKey>,
    ) -> Result<(), NotKept> {
        let id = wanted.id().to_string();
        let client = client.map_or_else(String::new, ClientKey::to_string);
        loop {
            let found = self.rows.look(&id).await.map_err(unnoted)?;
            let found_version = found.as_ref().map(|it| it.version);
            let open = found.filter(KeepRow::is_open);
            let (names, is_there) = match &open {
                Some(row) => named(row, wanted),
                None => (vec![wanted.clone()], false),
            };
            if is_there {
                return Ok(());
            }
            let text = text_of(&names);
            let row = AskedRow {
                id: &id,
                names: (&text, names.len()),
                found: found_version,
                client: &client,
                size: wanted.file.size,
                most: (MAX_OPEN, MAX_OF_ONE),
            };
            let (of, full) = match self.rows.ask(&row).await.map_err(unnoted)? {
                Asked::Done => return Ok(()),
                Asked::Changed => continue,
                Asked::Full => ("", NotKept::TooMany),
                Asked::FullOfOne => (&*client, NotKept::TooManyOfOne),
            };
            if !self.rows.give_way(of).await.map_err(unnoted)? {
                return Err(full);
            }
        }
    }

    /// Notes that what a client wants is here already.
    pub(super) async fn note(&self, wanted: &Wanted, copy: Option<FileId>) -> Result<(), NotKept> {
        let (id, names) = (
            wanted.id().to_string(),
            text_of(std::slice::from_ref(wanted)),
        );
        let noted = self.rows.note(&id, &names, wanted.file.size, copy).await;
        noted.map_err(unnoted)
    }

    /// How far at most `limit` of those are that follow `after`.
    pub(super) async fn page(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, KeepProgress)>, NotKept> {
        let after = after.map(|it| i64::try_from(it).unwrap_or(i64::MAX));
        let rows = self.rows.page(after, limit).await.map_err(unnoted)?;
        let all = rows.into_iter().filter_map(|row| {
            let number = u64::try_from(row.number).ok()?;
            Some((number, progress(row)?))
        });
        Ok(all.collect())
    }

    /// Gives one up, wherever it is fetched.
    pub(super) async fn forget(&self, id: KeepId) -> Result<Option<KeepProgress>, NotKept> {
        let row = self.rows.remove(&id.to_string()).await.map_err(unnoted)?;
        Ok(row.and_then(progress))
    }

    /// Notes that a content is about to be removed by a user, wherever it is fetched.
    pub(super) async fn note_removed(&self, hash: &BlobHash) -> Result<(), NotKept> {
        self.rows.note_removed(hash).await.map_err(unnoted)?;
        let id = KeepId::Content(*hash).to_string();
        self.rows.remove_unasked(&id).await.map_err(unnoted)
    }

    /// The copy that was made of one, as far as that is remembered.
    pub(super) async fn copy(&self, id: KeepId) -> Result<Option<FileId>, StateError> {
        let row = self.rows.look(&id.to_string()).await?;
        Ok(row.and_then(|it| it.copy))
    }

    /// How far one is.
    pub(super) async fn progress(&self, id: KeepId) -> Result<Option<KeepProgress>, NotKept> {
        let row = self.rows.look(&id.to_string()).await.map_err(unnoted)?;
        Ok(row.and_then(progress))
    }
}

impl KeepRow {
    fn is_open(&self) -> bool {
        matches!(self.stage, RowStage::Waiting | RowStage::Fetching)
    }

    pub(super) fn wanted(&self) -> Vec<Wanted> {
        serde_json::from_slice(&self.names).unwrap_or_default()
    }

    pub(super) fn taken_up(&self) -> TakenUp {
        TakenUp {
            names: self.wanted(),
            client: (!self.client.is_empty()).then(|| ClientKey::remembered(&self.client)),
            copy: self.copy,
            pause: self.pause,
            held: self.held(),
        }
    }

    pub(super) fn held(&self) -> Held {
        Held {
            turn: self.turn,
            version: self.version,
        }
    }
}

/// The names of a copy with one more, and whether it was there and asked for.
fn named(row: &KeepRow, wanted: &Wanted) -> (Vec<Wanted>, bool) {
    let mut names = row.wanted();
    if !names.is_empty() && !is_new_name(names.iter(), wanted) {
        return (names, row.is_asked);
    }
    match names.first_mut() {
        // Whoever has asked for the content alone takes it by any name.
        Some(first) if first.naming == Naming::Content && row.stage == RowStage::Waiting => {
            *first = wanted.clone();
        }
        _ => names.push(wanted.clone()),
    }
    (names, false)
}

pub(super) fn text_of(names: &[Wanted]) -> Vec<u8> {
    serde_json::json!(names).to_string().into_bytes()
}

pub(super) fn unnoted(error: Unavailable) -> NotKept {
    StateError::from(error).into()
}

/// How far a copy is; None of one of which nobody can say what it is.
fn progress(row: KeepRow) -> Option<KeepProgress> {
    let mut wanted = row.wanted().into_iter().next()?;
    wanted.file.size = row.size;
    Some(KeepProgress {
        wanted,
        stage: match row.stage {
            RowStage::Waiting => Stage::Waiting,
            RowStage::Fetching => Stage::Fetching,
            RowStage::Kept => Stage::Kept(row.copy),
            RowStage::Failed => Stage::Failed,
        },
        fetched: row.fetched,
        error: row.error,
    })
}
