//! Who is connected: a place for each connection, and which one gives way to a newcomer.
//!
//! A connection on which no request runs is idle, also while half of a head has come. When all
//! places are taken, the longest idle one of whoever holds the most gives way, so that a
//! newcomer gets in whatever one address holds. One that has only just come is not idle as long
//! as there is any other: its first request is on its way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A request that has moved nothing for so long gives way as an idle connection does.
const STALLED: Duration = Duration::from_secs(30);
/// A connection without a request has only just come for so long.
const FRESH: Duration = Duration::from_secs(5);
/// The most bytes of heads that all connections hold together, in bytes. Beyond it those with
/// the longest ones give way.
const MAX_HEADS: u64 = 64 << 20;
/// A head up to this length is no reason to give way, in bytes.
const SMALL_HEAD: u64 = 8 << 10;
/// Of all places, the share that is made free at once, so that who comes often finds one.
const AT_ONCE: usize = 256;

/// Of all places, the share of those that may have given way and not ended yet when another
/// connection is accepted.
const LEAVING: usize = 64;
/// The least of them.
const MIN_LEAVING: usize = 4;

/// All places.
pub(super) struct Seats {
    /// The most connections at once, and of one holder.
    all: usize,
    each: usize,
    table: Mutex<Table>,
    /// The bytes of heads that all hold.
    heads: AtomicU64,
    /// How many connections have given way and not ended yet.
    leaving: AtomicUsize,
    /// Told when one of them has ended.
    left: Notify,
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
    /// When the connection came, in milliseconds since the server began.
    came: u64,
    /// Whether it has brought a request.
    asked: AtomicBool,
    /// How many requests run.
    running: AtomicU32,
    /// Whether the last one that began only reads, and who is told of it.
    reading: AtomicBool,
    reads: Notify,
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
            leaving: AtomicUsize::new(0),
            left: Notify::new(),
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
            came: self.now(),
            asked: AtomicBool::new(false),
            running: AtomicU32::new(0),
            reading: AtomicBool::new(false),
            reads: Notify::new(),
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

    /// Waits while many connections have given way and not ended yet: they are still open files.
    /// For one who waits at a time.
    pub(super) async fn settled(&self) {
        let many = (self.all / LEAVING).max(MIN_LEAVING);
        while self.leaving.load(Ordering::Relaxed) >= many {
            self.left.notified().await;
        }
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
    /// whoever holds far more than the newcomer, else of those that have only just come.
    fn free(&self, table: &mut Table, newcomer: Option<IpAddr>) -> bool {
        let now = self.now();
        let at_once = (self.all / AT_ONCE).max(1);
        Self::free_of_most(table, at_once, |it| it.is_idle(now) && !it.is_fresh(now))
            || Self::free_of_crowd(table, newcomer)
            || Self::free_of_most(table, 1, |it| it.is_idle(now))
    }

    /// Frees so many places of those that give way, of whoever holds the most among them.
    fn free_of_most(table: &mut Table, many: usize, gives_way: impl Fn(&Seat) -> bool) -> bool {
        let all = table.seats.values();
        let holders = all.filter(|it| gives_way(it)).map(|it| it.holder);
        let Some(holder) = holders.max_by_key(|it| table.held(*it)) else {
            return false;
        };
        let all = table.seats.values();
        let own = all.filter(|it| it.holder == holder && gives_way(it));
        let mut own: Vec<_> = own.map(Arc::clone).collect();
        own.sort_unstable_by_key(|it| it.moved.load(Ordering::Relaxed));
        own.truncate(many);
        for seat in own {
            table.evict(&seat);
        }
        true
    }

    /// Ends the connection that has moved nothing for the longest, of the one address that holds
    /// the most, if that is far more than the newcomer has: one without a request if there is any.
    fn free_of_crowd(table: &mut Table, newcomer: Option<IpAddr>) -> bool {
        let of_addresses = table.held.iter().filter(|(holder, _)| holder.is_some());
        let most = of_addresses.max_by_key(|(_, held)| **held);
        let Some((&holder, _)) = most.filter(|(_, held)| **held > 2 * table.held(newcomer) + 1)
        else {
            return false;
        };
        let own = table.seats.values().filter(|it| it.holder == holder);
        let longest = own.min_by_key(|it| (it.is_busy(), it.moved.load(Ordering::Relaxed)));
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
            seat.seats.leaving.fetch_add(1, Ordering::Relaxed);
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

    /// Has the connection end, for others.
    pub(super) fn give_way(&self) {
        self.seats.table.lock().evict(self);
    }

    /// For how long nothing has moved.
    pub(super) fn still(&self) -> Duration {
        Duration::from_millis(self.seats.now().saturating_sub(self.moved()))
    }

    /// When bytes last moved, in milliseconds since the server began.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// A request begins; whether it only reads.
    pub(super) fn run(self: &Arc<Self>, reads: bool) -> Running {
        self.asked.store(true, Ordering::Relaxed);
        self.reading.store(reads, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        if reads {
            self.reads.notify_one();
        }
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

    /// Whether some of an answer waits for the client.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    /// Whether a request runs, or some of an answer waits for the client.
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0 || self.is_sending()
    }

    /// Whether no request runs, none has begun to come, and nothing has moved for so long.
    pub(super) fn is_at_rest(&self, still: Duration) -> bool {
        let since = self.seats.now().saturating_sub(self.moved());
        !self.is_busy() && self.head() == 0 && Duration::from_millis(since) >= still
    }

    /// Returns when a request begins that only reads.
    pub(super) async fn reads(&self) {
        self.reads.notified().await;
    }

    /// Whether one runs.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.load(Ordering::Relaxed) && self.running.load(Ordering::Relaxed) > 0
    }

    fn is_idle(&self, now: u64) -> bool {
        let still = now.saturating_sub(self.moved.load(Ordering::Relaxed));
        !self.is_busy() || u128::from(still) >= STALLED.as_millis()
    }

    fn is_fresh(&self, now: u64) -> bool {
        let age = now.saturating_sub(self.came);
        !self.asked.load(Ordering::Relaxed) && u128::from(age) < FRESH.as_millis()
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
        let seats = &self.0.seats;
        if !seats.table.lock().remove(&self.0) {
            // It has given way.
            seats.leaving.fetch_sub(1, Ordering::Relaxed);
            seats.left.notify_one();
        }
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
    use futures_util::FutureExt;

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
        let running: Vec<_> = own[1..].iter().map(|it| it.0.run(true)).collect();
        let last = seats.take(Some(ip(1))).unwrap();
        let _runs = last.0.run(true);
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
        let _running: Vec<_> = busy.iter().map(|it| it.0.run(true)).collect();
        let newcomer = seats.take(Some(ip(9))).unwrap();
        assert!(!is_gone(&newcomer));
        assert_eq!(busy.iter().filter(|it| is_gone(it)).count(), 1);
        // But this machine is many.
        let seats = Seats::new(4);
        let busy: Vec<_> = (0..4).map(|_| seats.take(None).unwrap()).collect();
        let _running: Vec<_> = busy.iter().map(|it| it.0.run(true)).collect();
        assert!(seats.take(Some(ip(9))).is_none());
    }

    #[test]
    fn who_has_just_come_does_not_give_way_to_the_next_while_a_crowd_keeps_places_busy() {
        let seats = Seats::new(64);
        let busy: Vec<_> = (0..63)
            .map(|n| seats.take(Some(ip(n / 16))).unwrap())
            .collect();
        let _running: Vec<_> = busy.iter().map(|it| it.0.run(true)).collect();
        let newcomers: Vec<_> = (9..19).map(|n| seats.take(Some(ip(n))).unwrap()).collect();
        assert!(!newcomers.iter().any(is_gone));
        assert_eq!(busy.iter().filter(|it| is_gone(it)).count(), 9);
        // Once it has had its answer it waits for nothing.
        drop(newcomers[0].0.run(true));
        let _next = seats.take(Some(ip(20))).unwrap();
        assert!(is_gone(&newcomers[0]) && !newcomers[1..].iter().any(is_gone));
    }

    #[tokio::test]
    async fn no_more_come_while_those_that_have_given_way_are_still_open() {
        let seats = Seats::new(8);
        let mut taken: Vec<_> = (0..8 + 4).map(|_| seats.take(None).unwrap()).collect();
        let settled = seats.settled();
        tokio::pin!(settled);
        assert!(settled.as_mut().now_or_never().is_none());
        taken.retain(|it| !is_gone(it));
        settled.await;
        assert_eq!((taken.len(), seats.leaving.load(Ordering::Relaxed)), (8, 0));
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
