//! Who sends or receives long content: each transfer holds files open, or connections to peers,
//! beside the connection of its client, and all of them together have a share of the files that
//! may be open. The names of what is in archives on their way have a share of memory.
//!
//! One client has a quarter of either. Where all is taken, a transfer that stands still gives way
//! to a newcomer, or one of whoever has far more than the newcomer; who finds nothing is refused.
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
    /// Whether it is still waited for what others are to bring.
    waits: bool,
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
        self.take_of(|it| &it.files, files)
    }

    /// The same for content that others are to bring, which waits until [`Transfer::begins`].
    pub(crate) fn take_and_wait(&self, files: usize) -> Result<Option<Transfer>, ApiError> {
        let transfer = self.take(files)?;
        if let Some(it) = &transfer {
            it.waits(true);
        }
        Ok(transfer)
    }

    /// An archive whose names take so many bytes of memory while it is sent; the same else.
    pub(crate) fn take_memory(&self, bytes: usize) -> Result<Option<Transfer>, ApiError> {
        self.take_of(|it| &it.memory, bytes.div_ceil(MEMORY_UNIT))
    }

    fn take_of(
        &self,
        which: impl FnOnce(&Transfers) -> &Arc<Budget>,
        amount: usize,
    ) -> Result<Option<Transfer>, ApiError> {
        let Self(asker) = self;
        let asker = asker.as_ref();
        asker
            .map(|it| it.take(which(&it.transfers), amount))
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
    fn take(&self, budget: &Arc<Budget>, amount: usize) -> Result<Transfer, ApiError> {
        let client = self.client;
        let mut table = budget.table.lock();
        loop {
            let is_own = client.is_some() && table.held(client) + amount > budget.each;
            let gives_way = if is_own {
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
            number: table.begin(client, amount, Arc::clone(&self.seat)),
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

    fn begin(&mut self, client: Option<IpAddr>, amount: usize, seat: Arc<Seat>) -> u64 {
        self.last += 1;
        self.taken += amount;
        *self.held.entry(client).or_default() += amount;
        let entry = Entry {
            client,
            amount,
            seat,
            waits: false,
        };
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
        self.seat.still() >= if self.waits { UNBEGUN } else { STILL }
    }
}

impl Transfer {
    /// What it has waited for is there.
    pub(crate) fn begins(&self) {
        self.waits(false);
    }

    fn waits(&self, waits: bool) {
        if let Some(entry) = self.budget.table.lock().transfers.get_mut(&self.number) {
            entry.waits = waits;
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
mod tests {
    use super::super::seats::{Seats, Taken};
    use super::*;

    fn ip(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// Transfers with so many files, and somebody who asks for some, each time by a connection of
    /// its own.
    struct Asking {
        transfers: Arc<Transfers>,
        seats: Arc<Seats>,
    }

    type Begun = (Transfer, Taken);

    impl Asking {
        fn with(files: usize) -> Self {
            Self {
                transfers: Transfers::new(files),
                seats: Seats::new(1000),
            }
        }

        fn asker(&self, client: Option<IpAddr>) -> (Asker, Taken) {
            let taken = self.seats.take(None).unwrap();
            let asker = Asker {
                transfers: Arc::clone(&self.transfers),
                seat: Arc::clone(&taken.0),
                client,
            };
            (asker, taken)
        }

        fn ask(&self, client: Option<IpAddr>, files: usize) -> Option<Begun> {
            let (asker, taken) = self.asker(client);
            Some((asker.take(&self.transfers.files, files).ok()?, taken))
        }

        fn has_room(&self, client: Option<IpAddr>) -> bool {
            self.asker(client).0.has_files(SENDING)
        }

        fn taken(&self) -> (usize, usize) {
            let table = self.transfers.files.table.lock();
            (table.taken, table.leaving)
        }
    }

    /// Lets time pass in which those alone have moved that are not `still`.
    async fn let_stand_still(moving: &[Begun], still: &Begun) {
        tokio::time::advance(STILL).await;
        for (_, taken) in moving {
            taken.0.received(0);
        }
        assert!(still.1.0.still() >= STILL);
    }

    #[test]
    fn one_client_has_a_quarter_and_others_have_theirs() {
        let asking = Asking::with(64);
        let own: Vec<_> = (0..8)
            .map(|_| asking.ask(Some(ip(1)), SENDING).unwrap())
            .collect();
        assert!(asking.ask(Some(ip(1)), SENDING).is_none());
        let other = asking.ask(Some(ip(2)), PASSING_ON).unwrap();
        assert_eq!(asking.taken(), (24, 0));
        drop((own, other));
        assert_eq!(asking.taken(), (0, 0));
        assert!(asking.transfers.files.table.lock().held.is_empty());
    }

    #[test]
    fn a_newcomer_gets_in_where_few_clients_hold_all() {
        let asking = Asking::with(64);
        let held = |client| -> Vec<_> {
            (0..8)
                .map(|_| asking.ask(client, SENDING).unwrap())
                .collect()
        };
        let all = [
            held(Some(ip(1))),
            held(Some(ip(2))),
            held(Some(ip(3))),
            held(Some(ip(4))),
        ];
        let newcomer = asking.ask(Some(ip(5)), RECEIVING).unwrap();
        // Two had to end, and hold their files until they have.
        assert_eq!(asking.taken(), (63, 4));
        drop(all);
        assert_eq!(asking.taken(), (3, 0));
        drop(newcomer);
        assert_eq!(asking.taken(), (0, 0));
    }

    #[test]
    fn those_that_have_given_way_hold_no_more_than_a_few_files() {
        let asking = Asking::with(400);
        let held: Vec<_> = (1..=4)
            .flat_map(|client| (0..50).map(move |_| client))
            .map(|client| asking.ask(Some(ip(client)), SENDING).unwrap())
            .collect();
        let newcomers: Vec<_> = (5..=250)
            .filter_map(|client| asking.ask(Some(ip(client)), SENDING))
            .collect();
        assert_eq!(newcomers.len(), MAX_LEAVING / SENDING);
        assert_eq!(asking.taken(), (400, MAX_LEAVING));
        drop(held);
        assert!(asking.ask(Some(ip(251)), SENDING).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn this_machine_gives_way_only_where_it_stands_still() {
        let asking = Asking::with(16);
        let local: Vec<_> = (0..8).map(|_| asking.ask(None, SENDING).unwrap()).collect();
        assert!(asking.ask(Some(ip(1)), SENDING).is_none() && !asking.has_room(Some(ip(1))));
        let_stand_still(&local[..7], &local[7]).await;
        assert!(asking.has_room(Some(ip(1))));
        let _newcomer = asking.ask(Some(ip(1)), SENDING).unwrap();
        assert!(asking.ask(Some(ip(2)), SENDING).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_peer_gives_way_after_a_second_and_once_begun_as_all_do() {
        let asking = Asking::with(16);
        let waiting: Vec<_> = (0..2)
            .map(|_| asking.ask(None, PASSING_ON).unwrap())
            .collect();
        for (it, _) in &waiting {
            it.waits(true);
        }
        assert!(!asking.has_room(None));
        tokio::time::advance(UNBEGUN).await;
        assert!(asking.has_room(None) && asking.has_room(Some(ip(1))));
        for (it, _) in &waiting {
            it.begins();
        }
        assert!(!asking.has_room(None));
        waiting[1].0.waits(true);
        let _newcomer = asking.ask(None, PASSING_ON).unwrap();
        assert_eq!(asking.taken(), (16, PASSING_ON));
        drop(waiting);
        assert_eq!(asking.taken(), (PASSING_ON, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_own_transfer_that_stands_still_gives_way() {
        let asking = Asking::with(32);
        let own: Vec<_> = (0..4)
            .map(|_| asking.ask(Some(ip(1)), SENDING).unwrap())
            .collect();
        assert!(asking.ask(Some(ip(1)), SENDING).is_none());
        let_stand_still(&own[..3], &own[3]).await;
        assert!(asking.ask(Some(ip(1)), SENDING).is_some());
    }
}
