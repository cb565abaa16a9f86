//! Who is connected: a place for each connection, and which one gives way to a newcomer.
//!
//! A connection on which no request runs is idle, also while half of a head has come. When all
//! places are taken, the longest idle one of whoever holds the most gives way, so that a
//! newcomer gets in whatever one address holds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A request that has moved nothing for so long gives way as an idle connection does.
const STALLED: Duration = Duration::from_secs(30);
/// The most bytes of heads that all connections hold together, in bytes. Beyond it those with
/// the longest ones give way.
const MAX_HEADS: u64 = 64 << 20;
/// A head up to this length is no reason to give way, in bytes.
const SMALL_HEAD: u64 = 8 << 10;
/// Of all places, the share that is made free at once, so that who comes often finds one.
const AT_ONCE: usize = 256;

/// All places.
pub(super) struct Seats {
    /// The most connections at once, and of one holder.
    all: usize,
    each: usize,
    table: Mutex<Table>,
    /// The bytes of heads that all hold.
    heads: AtomicU64,
    began: Instant,
}

#[derive(Default)]
struct Table {
    seats: HashMap<u64, Arc<Seat>>,
    /// How many each holder has.
    held: HashMap<Option<IpAddr>, usize>,
    last: u64,
}

/// The place of one connection.
pub(super) struct Seat {
    number: u64,
    /// Whose share it counts to; None where anybody may be behind it.
    holder: Option<IpAddr>,
    /// How many requests run.
    running: AtomicU32,
    /// Whether something waits to be sent.
    sending: AtomicBool,
    /// The bytes of the head that has come so far, or whose request runs.
    head: AtomicU64,
    /// When bytes last moved, in milliseconds since the server began.
    moved: AtomicU64,
    gone: Notify,
    seats: Arc<Seats>,
}

/// A place that is given back on drop.
pub(super) struct Taken(pub(super) Arc<Seat>);

/// A request that runs, until this is dropped.
pub(super) struct Running(Arc<Seat>);

impl Seats {
    /// So many places, of which one holder gets at most a quarter.
    pub(super) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            each: (all / 4).max(8).min(all),
            table: Mutex::default(),
            heads: AtomicU64::new(0),
            began: Instant::now(),
        })
    }

    /// A place for a connection of `holder`; None where nobody gives way.
    pub(super) fn take(self: &Arc<Self>, holder: Option<IpAddr>) -> Option<Taken> {
        let mut table = self.table.lock();
        let held = table.held(holder);
        if holder.is_some() && held >= self.each && !self.free_own(&mut table, holder) {
            return None;
        }
        if table.seats.len() >= self.all && !self.free(&mut table, holder) {
            return None;
        }
        table.last += 1;
        let seat = Arc::new(Seat {
            number: table.last,
            holder,
            running: AtomicU32::new(0),
            sending: AtomicBool::new(false),
            head: AtomicU64::new(0),
            moved: AtomicU64::new(self.now()),
            gone: Notify::new(),
            seats: Arc::clone(self),
        });
        table.seats.insert(seat.number, Arc::clone(&seat));
        *table.held.entry(holder).or_default() += 1;
        Some(Taken(seat))
    }

    /// Frees some places of idle connections, as where no more files can be opened.
    pub(super) fn free_some(&self) {
        self.free(&mut self.table.lock(), None);
    }

    /// Frees a place among those of one holder.
    fn free_own(&self, table: &mut Table, holder: Option<IpAddr>) -> bool {
        let now = self.now();
        let own = table.seats.values().filter(|it| it.holder == holder);
        let idle = own.filter(|it| it.is_idle(now));
        let longest = idle.min_by_key(|it| it.moved.load(Ordering::Relaxed));
        let longest = longest.map(Arc::clone);
        longest.is_some_and(|seat| table.evict(&seat))
    }

    /// Frees places for a newcomer: of whoever holds the most and has idle ones, else of
    /// whoever holds far more than the newcomer.
    fn free(&self, table: &mut Table, newcomer: Option<IpAddr>) -> bool {
        let now = self.now();
        let idle = table.seats.values().filter(|it| it.is_idle(now));
        let holder = idle.map(|it| it.holder).max_by_key(|it| table.held(*it));
        let Some(holder) = holder else {
            return Self::free_running(table, newcomer);
        };
        let idle = table
            .seats
            .values()
            .filter(|it| it.holder == holder && it.is_idle(now));
        let mut idle: Vec<_> = idle.map(Arc::clone).collect();
        idle.sort_unstable_by_key(|it| it.moved.load(Ordering::Relaxed));
        idle.truncate((self.all / AT_ONCE).max(1));
        for seat in idle {
            table.evict(&seat);
        }
        true
    }

    /// Ends the request that has moved nothing for the longest, of the one address that holds
    /// the most, if that is far more than the newcomer has.
    fn free_running(table: &mut Table, newcomer: Option<IpAddr>) -> bool {
        let of_addresses = table.held.iter().filter(|(holder, _)| holder.is_some());
        let most = of_addresses.max_by_key(|(_, held)| **held);
        let Some((&holder, _)) = most.filter(|(_, held)| **held > 2 * table.held(newcomer) + 1)
        else {
            return false;
        };
        let own = table.seats.values().filter(|it| it.holder == holder);
        let longest = own.min_by_key(|it| it.moved.load(Ordering::Relaxed));
        let longest = longest.map(Arc::clone);
        longest.is_some_and(|seat| table.evict(&seat))
    }

    /// Bytes of a head have come.
    fn count_head(&self, bytes: u64) {
        if self.heads.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_HEADS {
            self.free_heads();
        }
    }

    /// Ends the connections with the longest heads, until half of the room is left.
    fn free_heads(&self) {
        let mut table = self.table.lock();
        let heads = table.seats.values().map(|it| (it.head(), Arc::clone(it)));
        let mut long: Vec<_> = heads.filter(|(head, _)| *head > SMALL_HEAD).collect();
        long.sort_unstable_by_key(|(head, _)| std::cmp::Reverse(*head));
        let mut left: u64 = table.seats.values().map(|it| it.head()).sum();
        for (head, seat) in long {
            if left <= MAX_HEADS / 2 {
                break;
            }
            table.evict(&seat);
            left -= head;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Table {
    fn held(&self, holder: Option<IpAddr>) -> usize {
        self.held.get(&holder).copied().unwrap_or(0)
    }

    /// Takes the place away; the connection ends soon. False where it had none any more.
    fn evict(&mut self, seat: &Seat) -> bool {
        let removed = self.remove(seat);
        if removed {
            seat.give_back_head();
            seat.gone.notify_one();
        }
        removed
    }

    fn remove(&mut self, seat: &Seat) -> bool {
        if self.seats.remove(&seat.number).is_none() {
            return false;
        }
        if let Some(held) = self.held.get_mut(&seat.holder) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&seat.holder);
            }
        }
        true
    }
}

impl Seat {
    /// Returns when the place was taken away.
    pub(super) async fn gone(&self) {
        self.gone.notified().await;
    }

    /// A request begins.
    pub(super) fn run(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// Bytes have come in.
    pub(super) fn received(&self, bytes: usize) {
        self.moved.store(self.seats.now(), Ordering::Relaxed);
        if bytes > 0 && self.running.load(Ordering::Relaxed) == 0 {
            self.head.fetch_add(bytes as u64, Ordering::Relaxed);
            self.seats.count_head(bytes as u64);
        }
    }

    /// Bytes went out, or wait for the client.
    pub(super) fn sent(&self, waits: bool) {
        self.sending.store(waits, Ordering::Relaxed);
        if !waits {
            self.moved.store(self.seats.now(), Ordering::Relaxed);
        }
    }

    /// Whether a request runs, or some of an answer waits for the client.
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0 || self.sending.load(Ordering::Relaxed)
    }

    fn is_idle(&self, now: u64) -> bool {
        let still = now.saturating_sub(self.moved.load(Ordering::Relaxed));
        !self.is_busy() || u128::from(still) >= STALLED.as_millis()
    }

    fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    fn give_back_head(&self) {
        let head = self.head.swap(0, Ordering::Relaxed);
        self.seats.heads.fetch_sub(head, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.seats.table.lock().remove(&self.0);
        self.0.give_back_head();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.give_back_head();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn is_gone(taken: &Taken) -> bool {
        !taken
            .0
            .seats
            .table
            .lock()
            .seats
            .contains_key(&taken.0.number)
    }

    #[test]
    fn one_address_gets_a_quarter_and_its_longest_idle_connection_gives_way() {
        let seats = Seats::new(64);
        let own: Vec<_> = (0..16).map(|_| seats.take(Some(ip(1))).unwrap()).collect();
        own[0].0.moved.store(1, Ordering::Relaxed);
        for seat in &own[1..] {
            seat.0.moved.store(2, Ordering::Relaxed);
        }
        let _more = seats.take(Some(ip(1))).unwrap();
        assert!(is_gone(&own[0]) && !own[1..].iter().any(is_gone));
        // What runs is not taken away.
        let running: Vec<_> = own[1..].iter().map(|it| it.0.run()).collect();
        let last = seats.take(Some(ip(1))).unwrap();
        let _runs = last.0.run();
        assert!(seats.take(Some(ip(1))).is_none());
        assert!(seats.take(Some(ip(2))).is_some());
        drop(running);
        assert!(seats.take(Some(ip(1))).is_some());
    }

    #[test]
    fn this_machine_has_no_share_and_gives_way() {
        let seats = Seats::new(64);
        let local: Vec<_> = (0..64).map(|_| seats.take(None).unwrap()).collect();
        let _newcomer = seats.take(Some(ip(1))).unwrap();
        let _another = seats.take(None).unwrap();
        assert_eq!(local.iter().filter(|it| is_gone(it)).count(), 2);
        assert_eq!(seats.table.lock().seats.len(), 64);
    }

    #[test]
    fn who_holds_the_most_gives_way() {
        let seats = Seats::new(64);
        let held = |number, count: u8| {
            let seats = (0..count).map(|_| seats.take(Some(ip(number))).unwrap());
            seats.collect::<Vec<_>>()
        };
        let (most, others) = (
            held(1, 16),
            [held(2, 12), held(3, 12), held(4, 12), held(5, 12)],
        );
        let _newcomer = seats.take(Some(ip(6))).unwrap();
        assert_eq!(most.iter().filter(|it| is_gone(it)).count(), 1);
        assert!(!others.iter().flatten().any(is_gone));
    }

    #[test]
    fn a_newcomer_gets_in_while_few_addresses_keep_all_places_busy() {
        let seats = Seats::new(64);
        let busy: Vec<_> = (0..64)
            .map(|n| seats.take(Some(ip(n / 16))).unwrap())
            .collect();
        let _running: Vec<_> = busy.iter().map(|it| it.0.run()).collect();
        let newcomer = seats.take(Some(ip(9))).unwrap();
        assert!(!is_gone(&newcomer));
        assert_eq!(busy.iter().filter(|it| is_gone(it)).count(), 1);
        // But this machine is many.
        let seats = Seats::new(4);
        let busy: Vec<_> = (0..4).map(|_| seats.take(None).unwrap()).collect();
        let _running: Vec<_> = busy.iter().map(|it| it.0.run()).collect();
        assert!(seats.take(Some(ip(9))).is_none());
    }

    #[test]
    fn the_longest_heads_give_way_and_what_ends_is_given_back() {
        let seats = Seats::new(16_384);
        let fat = 32 << 10;
        let many = MAX_HEADS / fat + 1;
        let taken: Vec<_> = (0..many).map(|_| seats.take(None).unwrap()).collect();
        for seat in &taken {
            seat.0.received(usize::try_from(fat).unwrap());
        }
        let gone = taken.iter().filter(|it| is_gone(it)).count() as u64;
        assert!((many / 2..many).contains(&gone), "{gone}");
        assert!(seats.heads.load(Ordering::Relaxed) <= MAX_HEADS / 2);
        drop(taken);
        assert_eq!(seats.heads.load(Ordering::Relaxed), 0);
        assert!(seats.table.lock().held.is_empty());
    }
}
