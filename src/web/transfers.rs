//! Who sends or receives long content: each transfer holds files open, or connections to peers,
//! beside the connection of its client, and all of them together have a share of the files that
//! may be open. The names of what is in archives on their way have a share of memory.
//!
//! One client has a quarter of either. Where all is taken, a transfer that stands still gives way
//! to a newcomer, or one of whoever has far more than the newcomer; who finds nothing is refused.
//! Those who wait for one peer have half of it, so that a silent one keeps nobody from the others.
//! Clients behind gateways that are trusted are told apart; this machine is many.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::response::Response;
use parking_lot::Mutex;

use super::error::ApiError;
use super::seats::Seat;
use super::watched_body::{Watch, WatchedBody};
use crate::peer_id::PeerId;

/// The longest content that is sent and received without an open file, in bytes.
pub(crate) const WITHOUT_FILES: u64 = 64 << 10;
/// What sending content holds that this node keeps: its file and its outboard.
pub(crate) const SENDING: usize = 2;
/// What receiving content holds: the same, and at its end another name or a directory.
pub(crate) const RECEIVING: usize = 3;
/// What sending content holds that others keep: as many connections to peers as bring it at once.
pub(crate) const PASSING_ON: usize = 8;
/// A transfer gives way once nothing of it has moved for so long, if others want its files.
const STILL: Duration = Duration::from_secs(10);
/// The same of one that waits for others to begin: who is quick has begun by then, and what hangs
/// on a silent peer shall keep nobody from an honest one.
const UNBEGUN: Duration = Duration::from_secs(1);
/// The most files of transfers that have given way and not ended yet.
const MAX_LEAVING: usize = 16;

/// What memory is counted in, in bytes.
const MEMORY_UNIT: usize = 64 << 10;
/// How much of it all archives take together, beside those that have given way.
const MEMORY: usize = (128 << 20) / MEMORY_UNIT;
const MAX_LEAVING_MEMORY: usize = MEMORY / 8;

/// All transfers.
pub(super) struct Transfers {
    files: Arc<Budget>,
    memory: Arc<Budget>,
}

/// Something that transfers hold, and how much of it there is.
struct Budget {
    /// How much all hold together, one client, and those that have given way.
    all: usize,
    each: usize,
    leaving: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    transfers: HashMap<u64, Entry>,
    /// How much each client holds.
    held: HashMap<Option<IpAddr>, usize>,
    /// How much all hold.
    taken: usize,
    /// How much is held by those that have given way.
    leaving: usize,
    last: u64,
}

struct Entry {
    client: Option<IpAddr>,
    amount: usize,
    seat: Arc<Seat>,
    /// The peer that it still waits for.
    waits_for: Option<PeerId>,
}

/// Who asks for a transfer; an extension of every request that comes over a connection.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) transfers: Arc<Transfers>,
    pub(super) seat: Arc<Seat>,
    /// To whose share it counts; None where anybody may ask.
    pub(super) client: Option<IpAddr>,
}

/// A transfer, which gives back on drop what it holds.
pub(crate) struct Transfer {
    number: u64,
    amount: usize,
    budget: Arc<Budget>,
}

/// The share of whoever sends a request; all is its own where nobody counts, as in tests without
/// a connection.
#[derive(Clone, Default)]
pub(crate) struct TransferShare(Option<Asker>);

impl TransferShare {
    /// That of the request with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self(extensions.get().cloned())
    }

    /// A transfer with so many files; None where nobody counts. Fails where there are none left
    /// for whoever asks.
    pub(crate) fn take(&self, files: usize) -> Result<Option<Transfer>, ApiError> {
        self.take_of(|it| &it.files, files, None)
    }

    /// What `opening` makes of content that others are to bring, first of all this peer, and a
    /// transfer with files for that, which waits for them until it is open or cannot be opened.
    pub(crate) async fn take_and_open<T>(
        &self,
        peer: Option<PeerId>,
        opening: impl Future<Output = T>,
    ) -> Result<(T, Option<Transfer>), ApiError> {
        let transfer = self.take_of(|it| &it.files, PASSING_ON, peer)?;
        let opened = opening.await;
        transfer.iter().for_each(Transfer::begins);
        Ok((opened, transfer))
    }

    /// An archive whose names take so many bytes of memory while it is sent; the same else.
    pub(crate) fn take_memory(&self, bytes: usize) -> Result<Option<Transfer>, ApiError> {
        self.take_of(|it| &it.memory, bytes.div_ceil(MEMORY_UNIT), None)
    }

    fn take_of(
        &self,
        which: impl FnOnce(&Transfers) -> &Arc<Budget>,
        amount: usize,
        waits_for: Option<PeerId>,
    ) -> Result<Option<Transfer>, ApiError> {
        let Self(asker) = self;
        let asker = asker.as_ref();
        asker
            .map(|it| it.take(which(&it.transfers), amount, waits_for))
            .transpose()
    }

    /// Fails as [`TransferShare::take`] would, and takes nothing.
    pub(crate) fn check(&self, files: usize) -> Result<(), ApiError> {
        let Self(asker) = self;
        let has_room = asker.as_ref().is_none_or(|it| it.has_files(files));
        has_room.then_some(()).ok_or(ApiError::Shortage)
    }
}

impl<S: Sync> FromRequestParts<S> for TransferShare {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// The same answer, whose transfer ends with its body.
pub(crate) fn during(transfer: Option<Transfer>, answer: Response) -> Response {
    match transfer {
        Some(transfer) => answer.map(|body| Body::new(WatchedBody::of(body, transfer))),
        None => answer,
    }
}

impl Transfers {
    /// So many files for all.
    pub(super) fn new(files: usize) -> Arc<Self> {
        Arc::new(Self {
            files: Budget::new(files, (files / 4).max(PASSING_ON), MAX_LEAVING),
            memory: Budget::new(MEMORY, MEMORY / 4, MAX_LEAVING_MEMORY),
        })
    }
}

impl Budget {
    fn new(all: usize, each: usize, leaving: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            each: each.min(all),
            leaving,
            table: Mutex::default(),
        })
    }
}

impl Asker {
    fn take(
        &self,
        budget: &Arc<Budget>,
        amount: usize,
        waits_for: Option<PeerId>,
    ) -> Result<Transfer, ApiError> {
        let client = self.client;
        let of_one_peer = (budget.all / 2).max(amount);
        let mut table = budget.table.lock();
        loop {
            let is_own = client.is_some() && table.held(client) + amount > budget.each;
            let crowds = waits_for.filter(|it| table.waiting_for(*it) + amount > of_one_peer);
            let gives_way = if crowds.is_some() {
                table.stillest(|entry| entry.waits_for == crowds && entry.stands())
            } else if is_own {
                table.stillest(|entry| entry.client == client && entry.stands())
            } else if table.taken + amount > budget.all {
                table.gives_way_to(client, amount)
            } else {
                break;
            };
            let gives_way = gives_way.filter(|_| table.leaving + amount <= budget.leaving);
            table.end(gives_way.ok_or(ApiError::Shortage)?);
        }
        Ok(Transfer {
            number: table.begin(Entry {
                client,
                amount,
                seat: Arc::clone(&self.seat),
                waits_for,
            }),
            amount,
            budget: Arc::clone(budget),
        })
    }

    fn has_files(&self, files: usize) -> bool {
        let (client, budget) = (self.client, &self.transfers.files);
        let table = budget.table.lock();
        let is_own = |entry: &Entry| entry.client == client && entry.stands();
        let fits = client.is_none() || table.held(client) + files <= budget.each;
        let fits_all = table.taken + files <= budget.all;
        let may_end = table.leaving + files <= budget.leaving;
        (fits || may_end && table.stillest(is_own).is_some())
            && (fits_all || may_end && table.gives_way_to(client, files).is_some())
    }
}

impl Table {
    fn held(&self, client: Option<IpAddr>) -> usize {
        self.held.get(&client).copied().unwrap_or(0)
    }

    /// How much those hold that wait for a peer.
    fn waiting_for(&self, peer: PeerId) -> usize {
        let waiting = self.transfers.values();
        let waiting = waiting.filter(|it| it.waits_for == Some(peer));
        waiting.map(|it| it.amount).sum()
    }

    fn begin(&mut self, entry: Entry) -> u64 {
        self.last += 1;
        self.taken += entry.amount;
        *self.held.entry(entry.client).or_default() += entry.amount;
        self.transfers.insert(self.last, entry);
        self.last
    }

    /// Of those that `counts`, the one of which nothing has moved for the longest.
    fn stillest(&self, counts: impl Fn(&Entry) -> bool) -> Option<u64> {
        let transfers = self.transfers.iter().filter(|(_, it)| counts(it));
        let stillest = transfers.max_by_key(|(number, it)| (it.seat.still(), **number));
        stillest.map(|(number, _)| *number)
    }

    /// Which transfer ends for one of a client that holds so much: one that stands still, of
    /// whoever has the most, else one of the address that has far more than this client would.
    fn gives_way_to(&self, client: Option<IpAddr>, amount: usize) -> Option<u64> {
        let standing = self.transfers.values().filter(|it| it.stands());
        let clients = standing.map(|it| it.client);
        if let Some(most) = clients.max_by_key(|it| self.held(*it)) {
            return self.stillest(|entry| entry.client == most && entry.stands());
        }
        let of_addresses = self.held.iter().filter(|(it, _)| it.is_some());
        let (most, held) = of_addresses.max_by_key(|(_, held)| **held)?;
        if *held <= 2 * (self.held(client) + amount) {
            return None;
        }
        self.stillest(|entry| entry.client == *most)
    }

    /// Ends a transfer, with the connection that it goes over; what it holds is free soon.
    fn end(&mut self, number: u64) {
        if let Some(entry) = self.remove(number) {
            self.leaving += entry.amount;
            entry.seat.give_way();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.transfers.remove(&number)?;
        self.taken -= entry.amount;
        if let Some(held) = self.held.get_mut(&entry.client) {
            *held -= entry.amount;
            if *held == 0 {
                self.held.remove(&entry.client);
            }
        }
        Some(entry)
    }
}

impl Entry {
    fn stands(&self) -> bool {
        let bound = self.waits_for.map_or(STILL, |_| UNBEGUN);
        self.seat.still() >= bound
    }
}

impl Transfer {
    /// What it has waited for is there.
    fn begins(&self) {
        if let Some(entry) = self.budget.table.lock().transfers.get_mut(&self.number) {
            entry.waits_for = None;
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut table = self.budget.table.lock();
        if table.remove(self.number).is_none() {
            // It has given way.
            table.leaving -= self.amount;
        }
    }
}

/// A transfer lasts until the body is gone.
impl Watch for Transfer {}

#[cfg(test)]
mod tests;
