//! What a member knows and does of copies: the state that all of it shares.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::half::Half;
use super::members::{Live, Members, Offer, View, chance};
use super::progress::{Polled, ReadList};
use super::recount::Recount;
use super::remembered::Remembered;
use super::returned::Returned;
use super::table::Table;
use super::unknown::Unknown;
use super::wished::Wishes;
use crate::blob::Purpose;
use crate::fetch::Fetcher;
use crate::hash::BlobHash;
use crate::metrics::Counter;
use crate::peer::copies::{CopiedFile, CopyKey};
use crate::peer_id::PeerId;
use crate::placement::{Candidate, ranked};
use crate::record::FileId;
use crate::small_state::{SmallState, StateName};
use crate::store::{Store, StoreError};

/// The members that are known are written down under this name.
pub const MEMBERS: StateName = StateName::Single {
    name: "copy-members",
    kind: "larder-copy-members 1",
};
/// In how many periods nobody new has to be met before anything is placed, unless all members are
/// known of whom anybody knows.
pub(super) const SETTLED: u32 = 3;

/// How a member holds copies, and has its own held.
#[derive(Debug, Clone)]
pub struct Options {
    /// On how many members its files are to be, itself among them.
    pub copies: u8,
    /// How many bytes of copies it holds for others at most.
    pub offer: u64,
    /// After how long a silence a member is gone.
    pub gone_after: Duration,
    /// For how long others hold what is too much here before it is given up.
    pub surplus_after: Duration,
    /// How often others are asked.
    pub every: Duration,
}

/// How it stands with copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Own files of which there are to be copies, and held ones of owners that are gone for which
    /// this member answers.
    pub files: u64,
    /// Those of them that fewer members hold than are to.
    pub under_replicated: u64,
    /// Members that are there, this one left out.
    pub members: u64,
    /// Those that are gone.
    pub gone: u64,
}

/// How many files there were when they were counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SoFar {
    /// Own ones.
    pub(super) files: u64,
    /// How often something was wished of one.
    pub(super) wishes: u64,
}

/// How much a member holds for others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Files.
    pub files: u64,
    /// The sum of their contents' sizes, each once, in bytes.
    pub bytes: u64,
}

/// The copies that a member holds, and those that others hold of its files.
pub struct Copies {
    pub(super) own: Store,
    pub(super) table: Table,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) state: Arc<dyn SmallState>,
    pub(super) options: Options,
    pub(super) members: Members,
    /// Differs after each start, so that others read all anew.
    pub(super) run: String,
    /// Between 0 and 1, another one of each node: when it asks after something was told.
    pub(super) chance: f64,
    /// Whether others have been asked what their owners have removed, before anything is told.
    pub(super) is_ready: AtomicBool,
    /// How often copies were given up that were too many.
    pub(super) dropped: AtomicU64,
    /// How often own files are to be looked at again from the first one on.
    pub(super) asks: AtomicU64,
    pub(super) polled: Mutex<HashMap<PeerId, Polled>>,
    /// How far the files of owners were read, by the owner and by who tells of them.
    pub(super) lists: Mutex<HashMap<(PeerId, PeerId), ReadList>>,
    /// What uploaders have said of their files.
    pub(super) wishes: Wishes,
    /// How many removals are remembered.
    pub(super) remembered: Remembered,
    /// Which files are back after they were removed.
    pub(super) returned: Returned,
    /// Which files of others their owners do not know.
    pub(super) unknown: Unknown,
    /// What has come in part, and is waited for.
    pub(super) half: Half,
    /// Turns at fetching of owners that are there, and of those that are gone.
    pub(super) turns: [Semaphore; 2],
    /// What is fetched now.
    pub(super) pulling: Mutex<HashSet<CopyKey>>,
    pub(super) counts: Mutex<Counts>,
    /// What that was of.
    pub(super) counted: Mutex<SoFar>,
    /// Own files that are to be counted again.
    pub(super) recount: Recount,
    /// Wakes whoever places.
    pub(super) news: Notify,
    /// How many own files were looked at since the start for how many members hold them.
    pub looked: Counter,
    /// Copies that were fetched or taken over since the start.
    pub made: Counter,
    /// How many bytes came from others for them.
    pub fetched: Arc<Counter>,
    /// How often that failed.
    pub failed: Counter,
    /// Copies that were given up since the start because there were too many.
    pub surplus: Counter,
    /// Copies that were given up since the start because their owners have removed the files.
    pub withdrawn: Counter,
}

impl Copies {
    /// Those of a member with these files of its own, which holds others' in `held` and remembers
    /// members in `state`.
    pub fn new(
        own: Store,
        held: Store,
        fetcher: Arc<Fetcher>,
        state: Arc<dyn SmallState>,
        options: Options,
    ) -> Self {
        Self {
            own,
            table: Table::new(held),
            fetcher,
            state,
            members: Members::new(options.gone_after),
            options,
            run: Uuid::new_v4().simple().to_string(),
            chance: chance(),
            is_ready: false.into(),
            dropped: AtomicU64::new(0),
            asks: AtomicU64::new(0),
            polled: Mutex::default(),
            lists: Mutex::default(),
            wishes: Wishes::default(),
            remembered: Remembered::default(),
            returned: Returned::default(),
            unknown: Unknown::default(),
            half: Half::default(),
            turns: [AT_ONCE, REPAIRS_AT_ONCE].map(Semaphore::new),
            pulling: Mutex::default(),
            counts: Mutex::default(),
            counted: Mutex::default(),
            recount: Recount::default(),
            news: Notify::new(),
            looked: Counter::default(),
            made: Counter::default(),
            fetched: Arc::default(),
            failed: Counter::default(),
            surplus: Counter::default(),
            withdrawn: Counter::default(),
        }
    }

    /// What it holds for others.
    pub fn store(&self) -> &Store {
        &self.table.store
    }

    /// How it is set up.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How much is held for others.
    pub fn held(&self) -> Held {
        let totals = self.table.store.totals();
        Held {
            files: self.table.held(),
            bytes: totals.blob_bytes,
        }
    }

    /// How much another member holds for others, as it has told.
    pub fn offer_of(&self, member: PeerId) -> Option<Offer> {
        self.members.offer_of(member)
    }

    /// The copy of this file of any owner, if one is held here.
    pub async fn held_file(
        &self,
        owner: PeerId,
        file: FileId,
    ) -> Result<Option<CopiedFile>, StoreError> {
        let copy = self.table.copy(CopyKey { owner, file }).await?;
        Ok(copy.map(|it| it.signed))
    }

    /// Does it all, for ever.
    pub async fn run(self: Arc<Self>) {
        self.recall().await;
        let polling = Arc::clone(&self).poll_always();
        let placing = Arc::clone(&self).place_always();
        let counting = Arc::clone(&self).count_always();
        let following = Arc::clone(&self).follow_always();
        tokio::join!(polling, placing, counting, following);
    }

    /// Knows again who the members are; what had come in part begins anew.
    async fn recall(&self) {
        if let Ok(Some(text)) = self.state.load(&MEMBERS).await {
            self.members.remember(&String::from_utf8_lossy(&text));
        }
        self.recall_words().await;
        if let Err(error) = self.table.prepare().await {
            tracing::warn!(%error, "what is told of removed files will need room of its own");
        }
        let partials = self.table.store.partials(Purpose::Copies);
        for found in partials.prepare().await.unwrap_or_default() {
            let _ = partials.remove(&found.id).await;
        }
    }

    /// Lists what is held, as those list it who are told of it. What an owner is known to have
    /// removed a crash has left.
    pub(super) async fn show_held(&self) {
        let (mut after, me) = (None, self.me());
        let directory = &self.fetcher.network.directory;
        loop {
            let page = match self.table.copies(after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "what is held for other members cannot be read");
                    break;
                }
            };
            for held in page.0 {
                let Ok(shared) = held.signed.read() else {
                    continue;
                };
                if self.is_superseded(shared.key, held.entry).await {
                    let _ = self.table.remove_older(held.entry).await;
                    continue;
                }
                match self.table.withdrawal(shared.key).await {
                    Ok(Some(removal)) if removal.ends(&held.signed) => {
                        let _ = self.table.give_up(shared.key).await;
                        continue;
                    }
                    Ok(Some(_)) => drop(self.forget_removal(shared.key).await),
                    _ => {}
                }
                self.returned.note_other(shared.key, held.signed.since);
                self.note_owner(shared.key.owner, me, &held.signed);
                // What finds no room is found when it is asked for.
                let _ = directory.put_copy(me, &shared.file);
            }
            after = page.1;
            if after.is_none() {
                break;
            }
        }
    }

    /// Whether a newer entry says the same of a file, as a crash may leave it.
    async fn is_superseded(&self, key: CopyKey, entry: FileId) -> bool {
        let newest = self.table.copy(key).await;
        matches!(newest, Ok(Some(it)) if it.entry != entry)
    }

    pub(super) async fn remember_members(&self) {
        let text = self.members.to_text();
        if let Err(error) = self.state.save(&MEMBERS, text.into_bytes()).await {
            tracing::warn!(%error, "the members that hold copies are not written down");
        }
    }

    pub(super) fn me(&self) -> PeerId {
        self.fetcher.network.peer_id()
    }

    /// How many bytes more it can hold for others.
    pub async fn left(&self) -> u64 {
        self.table.store.room().await.min(self.options.offer)
    }

    fn myself(&self) -> Candidate {
        Candidate {
            id: self.me(),
            offer: self.options.offer,
        }
    }

    /// The members, this one among them, in the order in which they are to hold a content of an
    /// owner, which holds it itself.
    pub(super) fn ranked<'a>(
        &self,
        hash: &BlobHash,
        owner: PeerId,
        view: &'a View,
    ) -> Vec<(Candidate, Option<&'a Live>)> {
        let others = view.live.iter().map(|it| it.candidate);
        let all = others.chain([self.myself()]).filter(|it| it.id != owner);
        let ranked = ranked(hash, all);
        ranked
            .into_iter()
            .map(|it| (it, view.find(it.id)))
            .collect()
    }

    /// Turns at fetching what an owner has that is there, or what is left of one that is gone.
    pub(super) fn turns_at(&self, is_repair: bool) -> &Semaphore {
        let [fetches, repairs] = &self.turns;
        if is_repair { repairs } else { fetches }
    }

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.surplus.count();
    }
}

/// How many contents are fetched at once of owners that are there: as each has files open, few.
pub(super) const AT_ONCE: usize = 4;
/// How many of owners that are gone, so that what is left is not kept from clients.
const REPAIRS_AT_ONCE: usize = 2;
/// How many entries are read at once.
pub(super) const PAGE: usize = 256;

/// How many members are to hold copies beside an owner that is there, or in the place of one that
/// is gone.
pub(super) fn holders(copies: u8, is_owner_there: bool) -> usize {
    usize::from(copies.saturating_sub(u8::from(is_owner_there)))
}
