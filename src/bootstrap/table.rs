//! Who has registered: bounded, each entry for a time, and shared out by where the peers say
//! that they are and by where they register from.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::peer::prefix::{Crowds, Key, Prefix};
use crate::peer::registration::Checked;
use crate::peer::sample::sample;
use crate::peer::signature::Trust;
use crate::peer::turns::{Claim, with_turns};
use crate::peer_id::PeerId;
use crate::record::Timestamp;

/// The most peers at one host and port, where only one can be.
const MAX_AT_ONE_PLACE: usize = 4;
/// Among how many somebody is chosen who gives way. Who has half of the table is among as
/// many, and if the choice were among all, each registration would cost a look at all.
const RIVALS: usize = 64;
/// One source has at most one part of the table in so many, also where there is room.
const SOURCE_SHARE: usize = 4;
/// How many peers one source may have all the same, however small the table is.
const MIN_OF_SOURCE: usize = 16;
/// Those that sign nothing are at most one part of a sample in so many, while others do sign.
const UNSIGNED_SHARE: usize = 4;

/// How many can be put in order for each who asks.
const SMALL: usize = 512;

/// The registered peers.
#[derive(Debug)]
pub(super) struct Table {
    max_peers: usize,
    ttl: Duration,
    entries: Vec<Registered>,
    places: HashMap<PeerId, usize>,
    crowds: Crowds,
    /// How many have registered from each prefix.
    sources: HashMap<Key, usize>,
}

#[derive(Debug)]
struct Registered {
    id: PeerId,
    /// The registration as JSON, without keys that nobody knows.
    registration: Arc<str>,
    signed: bool,
    prefix: Prefix,
    from: Option<Key>,
    /// When the peer says that it registered.
    told_at: Timestamp,
    /// When its time is over, by a clock that nobody sets.
    until: Instant,
}

impl Registered {
    /// Whether it announces another place than the one it registered from, or that is not
    /// known.
    fn elsewhere(&self) -> bool {
        self.from != Some(self.prefix.narrow)
    }

    /// Of two, the one with the larger value has the lesser right: who signs nothing, who is
    /// elsewhere than it says.
    fn weakness(&self) -> (bool, bool) {
        (!self.signed, self.elsewhere())
    }

    fn claim(&self) -> Claim<Option<Key>> {
        Claim {
            source: self.from,
            weak: self.elsewhere(),
            announced: self.prefix.wide,
        }
    }
}

impl Table {
    pub(super) fn new(max_peers: usize, ttl: Duration) -> Self {
        Self {
            max_peers,
            ttl,
            entries: Vec::new(),
            places: HashMap::new(),
            crowds: Crowds::default(),
            sources: HashMap::new(),
        }
    }

    /// Takes in a registration that came from this prefix at `now`; the newest of a peer
    /// stands, so that nobody brings an old address back by repeating what the peer once
    /// signed. Where there is no room left, one of the largest crowd gives way.
    ///
    /// Tells what the peer's key has signed for another address, where that was registered before
    /// and is alive: two nodes with one key take turns here, and no sample has both.
    pub(super) fn register(
        &mut self,
        checked: &Checked,
        from: Option<Key>,
        now: Instant,
    ) -> Option<Arc<str>> {
        let entry = Registered {
            id: checked.id,
            registration: json!(checked.registration).to_string().into(),
            signed: checked.trust == Trust::Verified,
            prefix: Prefix::of(&checked.address),
            from,
            told_at: checked.registered_at(),
            until: now + self.ttl,
        };
        let known = self.places.get(&entry.id).copied();
        let known = known.and_then(|at| Some((at, self.entries.get(at)?)));
        let mut also_at = None;
        if let Some((at, known)) = known {
            let is_alive = known.until > now;
            let is_elsewhere = known.prefix.exact != entry.prefix.exact;
            if is_alive && is_elsewhere && known.signed && entry.signed {
                also_at = Some(Arc::clone(&known.registration));
            }
            if is_alive && known.told_at > entry.told_at {
                return also_at;
            }
            self.remove(at);
        }
        if self.make_room_of_source(&entry, now) {
            self.make_room(&entry.prefix, now);
            if self.entries.len() < self.max_peers {
                self.insert(entry);
            }
        }
        also_at
    }

    /// Whether this peer is registered at this address at `now`.
    pub(super) fn has(&self, checked: &Checked, now: Instant) -> bool {
        let known = self.places.get(&checked.id);
        let known = known.and_then(|at| self.entries.get(*at));
        let exact = Prefix::of(&checked.address).exact;
        known.is_some_and(|it| it.until > now && it.prefix.exact == exact)
    }

    /// Drops a peer that has said goodbye since it last registered.
    pub(super) fn left(&mut self, checked: &Checked) {
        let known = self.places.get(&checked.id).copied();
        if let Some(at) = known
            && let Some(known) = self.entries.get(at)
            && known.told_at <= checked.registered_at()
        {
            self.remove(at);
        }
    }

    /// Where the newcomer's source has its share of the table, one of its own gives way. False
    /// if they all have a better right than the newcomer.
    fn make_room_of_source(&mut self, newcomer: &Registered, now: Instant) -> bool {
        let share = (self.max_peers / SOURCE_SHARE).max(MIN_OF_SOURCE);
        let count = newcomer.from.and_then(|from| self.sources.get(&from));
        if count.is_none_or(|count| *count < share) {
            return true;
        }
        let all = self.entries.iter().enumerate();
        let own = all.filter(|(_, it)| it.from == newcomer.from).collect();
        let rivals = sample(own, RIVALS).into_iter();
        let weakest = rivals.max_by_key(|(_, it)| {
            let crowd = self.crowds.around(&it.prefix);
            (it.until <= now, it.weakness(), crowd, Reverse(it.until))
        });
        let Some((at, weakest)) = weakest else {
            return true;
        };
        let yields = weakest.until <= now || weakest.weakness() >= newcomer.weakness();
        if yields {
            self.remove(at);
        }
        yields
    }

    fn make_room(&mut self, newcomer: &Prefix, now: Instant) {
        if self.crowds.count(newcomer.exact) >= MAX_AT_ONE_PLACE {
            let all = self.entries.iter().enumerate();
            let there = all.filter(|(_, it)| it.prefix.exact == newcomer.exact);
            if let Some((at, _)) = there.min_by_key(|(_, it)| it.until) {
                self.remove(at);
            }
        }
        if self.entries.len() >= self.max_peers {
            let rivals = sample(self.entries.iter().enumerate().collect(), RIVALS);
            let rivals = rivals.into_iter();
            if let Some((at, _)) = rivals.max_by_key(|(_, it)| self.dispensable(it, now)) {
                self.remove(at);
            }
        }
    }

    /// Of two, the one with the larger value gives way: whose time is over, who is of the
    /// larger crowd, who signs nothing or is elsewhere, who has not come for longest.
    fn dispensable(&self, entry: &Registered, now: Instant) -> impl Ord + use<> {
        let source = entry.from.and_then(|from| self.sources.get(&from));
        let around = self.crowds.around(&entry.prefix);
        (
            entry.until <= now,
            around.0.max(source.copied().unwrap_or(0)),
            around,
            entry.weakness(),
            Reverse(entry.until),
        )
    }

    fn insert(&mut self, entry: Registered) {
        self.places.insert(entry.id, self.entries.len());
        self.crowds.add(&entry.prefix);
        if let Some(from) = entry.from {
            *self.sources.entry(from).or_default() += 1;
        }
        self.entries.push(entry);
    }

    fn remove(&mut self, at: usize) {
        let entry = self.entries.swap_remove(at);
        self.places.remove(&entry.id);
        if let Some(moved) = self.entries.get(at) {
            self.places.insert(moved.id, at);
        }
        self.crowds.remove(&entry.prefix);
        if let Some(from) = entry.from
            && let Some(count) = self.sources.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&from);
            }
        }
    }

    /// Whether those in it can be put in order for each who asks.
    pub(super) fn is_small(&self) -> bool {
        self.entries.len() <= SMALL
    }

    /// The registrations of all, in no order.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        let all = self.entries.iter();
        all.map(|it| Arc::clone(&it.registration)).collect()
    }

    /// Those that are alive at `now`, to be put in order.
    pub(super) fn alive(&self, now: Instant) -> Alive {
        let alive = self.entries.iter().filter(|it| it.until > now);
        let told = alive.map(|it| (it.signed, (it.claim(), Arc::clone(&it.registration))));
        let (signed, unsigned): (Vec<_>, Vec<_>) = told.partition(|(signed, _)| *signed);
        let claims = |all: Vec<(bool, Told)>| all.into_iter().map(|(_, it)| it).collect();
        Alive {
            signed: claims(signed),
            unsigned: claims(unsigned),
        }
    }

    /// At most so many of the registrations that are alive at `now`, as [`Ordered::some`] says.
    pub(super) fn peers(&self, limit: usize, now: Instant) -> Vec<Arc<str>> {
        self.alive(now).in_order().some(limit)
    }

    /// How many are alive at `now`.
    pub(super) fn len(&self, now: Instant) -> usize {
        self.entries.iter().filter(|it| it.until > now).count()
    }

    /// Drops those whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for at in (0..self.entries.len()).rev() {
            if self.entries.get(at).is_some_and(|it| it.until <= now) {
                self.remove(at);
            }
        }
    }
}

/// A registration, and what decides when it has its turn.
type Told = (Claim<Option<Key>>, Arc<str>);

/// Those that are alive.
#[derive(Debug)]
pub(super) struct Alive {
    signed: Vec<Told>,
    unsigned: Vec<Told>,
}

impl Alive {
    /// Puts them in order.
    pub(super) fn in_order(self) -> Ordered {
        Ordered {
            signed: with_turns(self.signed, []),
            unsigned: with_turns(self.unsigned, []),
        }
    }
}

/// Those that are alive in the order in which they have their turns, each with the number of that.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    signed: Vec<(usize, Arc<str>)>,
    unsigned: Vec<(usize, Arc<str>)>,
}

impl Ordered {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.signed.is_empty() && self.unsigned.is_empty()
    }

    /// At most so many of them, shared out among those who registered: who signs comes first, and
    /// who does not has a part of what there is room for, so that nobody is crowded out by peers
    /// that cost nothing to make up.
    pub(super) fn some(&self, limit: usize) -> Vec<Arc<str>> {
        let Self { signed, unsigned } = self;
        let share = if signed.is_empty() {
            limit
        } else {
            (limit / UNSIGNED_SHARE).max(1)
        };
        let for_signed = limit - unsigned.len().min(limit / UNSIGNED_SHARE);
        let mut some = first_turns(signed, for_signed);
        some.extend(first_turns(unsigned, share.min(limit - some.len())));
        some
    }
}

/// At most so many of those who have their turns first; any of those who have the last of these.
fn first_turns(all: &[(usize, Arc<str>)], limit: usize) -> Vec<Arc<str>> {
    let limit = limit.min(all.len());
    let Some((last, _)) = limit.checked_sub(1).and_then(|it| all.get(it)) else {
        return Vec::new();
    };
    let before = all.partition_point(|(turn, _)| turn < last);
    let end = all.partition_point(|(turn, _)| turn <= last);
    let of_last = sample((before..end).collect(), limit - before);
    let chosen = (0..before).chain(of_last);
    let chosen = chosen.filter_map(|at| all.get(at));
    chosen.map(|(_, it)| Arc::clone(it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::identity::Identity;
    use crate::peer::prefix::narrow_of;
    use crate::peer::registration::samples;

    const TTL: Duration = Duration::from_secs(90);

    fn signed(address: &str) -> Checked {
        samples::signed(address).check().unwrap()
    }

    fn unsigned(timestamp: &str, address: &str) -> Checked {
        samples::unsigned(timestamp, address).check().unwrap()
    }

    fn from(ip: [u8; 4]) -> Key {
        narrow_of(ip.into())
    }

    fn has(table: &Table, peer: &Checked, now: Instant) -> bool {
        let id = peer.id.to_string();
        table
            .peers(usize::MAX, now)
            .iter()
            .any(|it| it.contains(&id))
    }

    #[test]
    fn a_registration_lives_for_its_time_and_is_then_dropped() {
        let (mut table, start) = (Table::new(3, TTL), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        for number in 0..3 {
            table.register(&signed("http://10.0.0.1"), None, later(number));
        }
        for (now, alive) in [(3, 3), (89, 3), (90, 2), (91, 1), (92, 0)] {
            assert_eq!(table.len(later(now)), alive, "at {now}");
            assert_eq!(table.peers(9, later(now)).len(), alive, "at {now}");
        }
        table.expire(later(91));
        assert_eq!(table.entries.len(), 1);
        assert_eq!(table.crowds.around(&table.entries[0].prefix), (1, 1, 1));
    }

    #[test]
    fn an_older_registration_changes_nothing() {
        let (mut table, now) = (Table::new(3, TTL), Instant::now());
        table.register(&unsigned("2026-01-21T10:00:01", "http://new"), None, now);
        table.register(&unsigned("2026-01-21T10:00:00", "http://old"), None, now);
        let [only] = &table.peers(9, now)[..] else {
            panic!("one peer");
        };
        assert!(only.contains("http://new"), "{only}");
    }

    #[test]
    fn whoever_registers_learns_where_its_key_has_registered_too() {
        let (mut table, start) = (Table::new(9, TTL), Instant::now());
        let identity = Identity::generate().unwrap();
        let at = |address| samples::signed_by(&identity, address).check().unwrap();
        let [one, two] = ["http://10.0.0.1", "http://10.0.0.2"].map(at);
        let told = |other: &Checked| json!(other.registration).to_string();
        assert_eq!(table.register(&one, None, start), None);
        assert_eq!(table.register(&one, None, start).as_deref(), None);
        for (next, before) in [(&two, &one), (&one, &two), (&two, &one)] {
            let also_at = table.register(next, None, start);
            assert_eq!(also_at.as_deref(), Some(&*told(before)));
        }
        // One whose time is over has left, as far as is known.
        assert_eq!(table.register(&one, None, start + TTL), None);
        // Nobody has signed for those without a key, of whom one says what he likes of another.
        let old = |address| unsigned("2026-01-21T10:00:00", address);
        table.register(&old("http://10.0.0.3"), None, start);
        assert_eq!(table.register(&old("http://10.0.0.4"), None, start), None);
    }

    #[test]
    fn a_sample_has_as_many_as_asked_for() {
        let (mut table, now) = (Table::new(3, TTL), Instant::now());
        for number in 0..3 {
            table.register(&signed(&format!("http://10.0.0.{number}")), None, now);
        }
        for (limit, size) in [(0, 0), (2, 2), (3, 3), (9, 3)] {
            assert_eq!(table.peers(limit, now).len(), size);
        }
    }

    #[test]
    fn the_largest_crowd_gives_way_by_address_and_by_source() {
        let (mut table, now) = (Table::new(20, TTL), Instant::now());
        let honest = signed("http://12.0.0.1");
        table.register(&honest, Some(from([12, 0, 0, 1])), now);
        for number in 0..100 {
            // One source that says to be everywhere, and many that say to be in one net.
            let address = format!("http://{}.0.0.1", 20 + number);
            table.register(&signed(&address), Some(from([11, 0, 0, 1])), now);
            let address = format!("http://10.0.{number}.1");
            table.register(&signed(&address), Some(from([13, number, 0, 1])), now);
            assert!(table.entries.len() <= 20);
            assert!(has(&table, &honest, now));
        }
        let late = signed("http://14.0.0.1");
        table.register(&late, Some(from([14, 0, 0, 1])), now);
        assert!(has(&table, &late, now) && has(&table, &honest, now));
    }

    #[test]
    fn one_place_is_of_a_few_at_most() {
        let (mut table, now) = (Table::new(100, TTL), Instant::now());
        for _ in 0..50 {
            table.register(&signed("http://10.1.2.3"), None, now);
        }
        assert_eq!(table.len(now), MAX_AT_ONE_PLACE);
    }

    #[test]
    fn the_dead_give_way_first_and_then_who_signs_nothing() {
        let (mut table, start) = (Table::new(2, TTL), Instant::now());
        let later = start + TTL;
        let dead = signed("http://10.0.0.1");
        table.register(&dead, None, start);
        let old = unsigned("", "http://10.0.0.2");
        table.register(&old, None, later);
        table.register(&signed("http://10.0.0.3"), None, later);
        assert!(has(&table, &old, later) && !has(&table, &dead, later));
        table.register(&signed("http://10.0.0.4"), None, later);
        assert!(!has(&table, &old, later));
        assert_eq!(table.len(later), 2);
    }
}
