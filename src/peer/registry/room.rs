//! Who gives way where the registry is full.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use super::entry::{Introducer, KnownPeer};
use crate::peer::prefix::Crowds;
use crate::peer_id::PeerId;
use crate::revision::TrackedMap;

/// The most unproven peers at one host and port, where only one can be.
const MAX_AT_ONE_PLACE: usize = 4;

/// How a registry is set up. A peer takes some 2 KiB of memory at most.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most peers known that have answered once. A /16 of IPv4, a /48 of IPv6 and all
    /// names below one registered name have half of it; a /24, a /64 and one name a third.
    pub max_proven: usize,
    /// The most peers known that have not. Half of it may be told by one introducer, or come
    /// from one /24 or /64.
    pub max_unproven: usize,
    /// A peer that is silent for so long is forgotten.
    pub forget_after: Duration,
    /// One that has never answered is forgotten after this time, unless it registers anew.
    pub forget_unproven_after: Duration,
    /// Whether peers without a signature are refused.
    pub require_signed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_proven: 2048,
            max_unproven: 512,
            forget_after: Duration::from_hours(1),
            forget_unproven_after: Duration::from_mins(5),
            require_signed: false,
        }
    }
}

/// There is no room.
pub(super) struct Full;

type Peers = TrackedMap<PeerId, KnownPeer>;

/// Those that have not answered yet, but for whom the operator has named.
fn unproven(peers: &Peers) -> impl Iterator<Item = &KnownPeer> {
    peers.values().filter(|it| !it.proven && !it.peer.named)
}

/// How many of those that have not answered yet lie together, and how many somebody brought.
struct Unproven<'a> {
    entries: Vec<&'a KnownPeer>,
    crowds: Crowds,
    brought: HashMap<Introducer, usize>,
}

impl<'a> Unproven<'a> {
    fn of(peers: &'a Peers) -> Self {
        let entries: Vec<_> = unproven(peers).collect();
        let crowds = Crowds::of(entries.iter().map(|it| &it.prefix));
        let mut brought = HashMap::new();
        for entry in &entries {
            *brought.entry(entry.by).or_default() += 1;
        }
        Self {
            entries,
            crowds,
            brought,
        }
    }

    fn brought_by(&self, by: Introducer) -> usize {
        self.brought.get(&by).copied().unwrap_or(0)
    }

    /// In how large a crowd one is: of two, the one in the larger has the larger value.
    fn crowd(&self, entry: &KnownPeer) -> [usize; 4] {
        let (wide, narrow, exact) = self.crowds.around(&entry.prefix);
        let brought = self.brought_by(entry.by);
        [wide.max(brought), brought, narrow, exact]
    }

    fn add(&mut self, newcomer: &KnownPeer) {
        self.crowds.add(&newcomer.prefix);
        *self.brought.entry(newcomer.by).or_default() += 1;
    }
}

/// Who has to give way for a newcomer that has not answered yet, if anybody has to: one of the
/// largest crowd, and of that whoever has the least right and was asked in vain. In its own
/// crowd a newcomer takes the place of nobody who has a better right; one that comes itself
/// that of an equal, and one that others tell of only that of one that was asked already, so
/// that all have their turn.
pub(super) fn for_unproven(
    peers: &Peers,
    newcomer: &KnownPeer,
    options: &Options,
) -> Result<Option<PeerId>, Full> {
    if newcomer.peer.named {
        return Ok(None);
    }
    let is_there = |it: &&KnownPeer| it.prefix.exact == newcomer.prefix.exact;
    let (mut all, mut there, mut brought) = (0, 0, 0);
    for it in unproven(peers) {
        all += 1;
        there += usize::from(is_there(&it));
        brought += usize::from(it.by == newcomer.by);
    }
    if there >= MAX_AT_ONE_PLACE {
        let other = unproven(peers).filter(is_there);
        let other = other.max_by_key(|it| it.dispensable());
        return give_way(other, |it| yields(it, newcomer));
    }
    let by_the_same = brought >= options.max_unproven.div_ceil(2);
    if !by_the_same && all < options.max_unproven {
        return Ok(None);
    }
    // Only now, since most of the time there is room, and this looks at the crowds of all.
    let mut unproven = Unproven::of(peers);
    let entries = || unproven.entries.iter().copied();
    let rivals = entries().filter(|it| !by_the_same || it.by == newcomer.by);
    let other = rivals.max_by_key(|it| (unproven.crowd(it), it.dispensable()));
    let crowd = other.map(|it| unproven.crowd(it));
    unproven.add(newcomer);
    let is_smaller = crowd >= Some(unproven.crowd(newcomer));
    give_way(other, |it| is_smaller || yields(it, newcomer))
}

/// Whether one of the newcomer's own crowd has no better right than it.
fn yields(other: &KnownPeer, newcomer: &KnownPeer) -> bool {
    let itself = matches!(newcomer.by, Introducer::Itself(_));
    (itself || other.in_vain > 0) && newcomer.weakness() <= other.weakness()
}

fn give_way(
    other: Option<&KnownPeer>,
    must: impl FnOnce(&KnownPeer) -> bool,
) -> Result<Option<PeerId>, Full> {
    match other {
        Some(other) if must(other) => Ok(Some(other.peer.id())),
        _ => Err(Full),
    }
}

/// Whether one more finds room among those that have answered once.
pub(super) fn is_for_proven(peers: &Peers, newcomer: &KnownPeer, options: &Options) -> bool {
    let proven = || peers.values().filter(|it| it.proven && !it.peer.named);
    let mut crowds = Crowds::of(proven().map(|it| &it.prefix));
    crowds.add(&newcomer.prefix);
    proven().count() < options.max_proven && !is_crowded(&crowds, newcomer, options)
}

/// Whether an entry lies where more are than may be.
fn is_crowded(crowds: &Crowds, entry: &KnownPeer, options: &Options) -> bool {
    let (wide, narrow, _) = crowds.around(&entry.prefix);
    wide > options.max_proven.div_ceil(2) || narrow > options.max_proven.div_ceil(3)
}

/// Makes room for the peer `id`, which has answered for the first time; tells who is gone,
/// which may be the peer itself. Who answers goes before who does not, and who was known
/// before goes before who came later.
pub(super) fn made_by_proven(peers: &mut Peers, id: PeerId, options: &Options) -> Vec<PeerId> {
    let proven = || peers.values().filter(|it| it.proven && !it.peer.named);
    let Some(newcomer) = peers.get(&id).filter(|it| !it.peer.named) else {
        return Vec::new();
    };
    // Those alone that share something with it, since most of the time that is all there is to see.
    let (mut wide, mut narrow) = (0, 0);
    for it in proven() {
        wide += usize::from(it.prefix.wide == newcomer.prefix.wide);
        narrow += usize::from(it.prefix.narrow == newcomer.prefix.narrow);
    }
    let rivals: Vec<_> = if narrow > options.max_proven.div_ceil(3) {
        let near = proven().filter(|it| it.prefix.narrow == newcomer.prefix.narrow);
        near.collect()
    } else if wide > options.max_proven.div_ceil(2) {
        let near = proven().filter(|it| it.prefix.wide == newcomer.prefix.wide);
        near.collect()
    } else if proven().count() > options.max_proven {
        proven().collect()
    } else {
        return Vec::new();
    };
    let crowds = Crowds::of(proven().map(|it| &it.prefix));
    let given_way = rivals.into_iter().max_by_key(|it| {
        let newest = it.peer.id() == id;
        let silent = Reverse(it.peer.answered);
        (
            silent,
            crowds.around(&it.prefix),
            !it.peer.verified(),
            newest,
        )
    });
    let given_way = given_way.map(|it| it.peer.id());
    if let Some(other) = given_way {
        peers.remove(&other);
    }
    given_way.into_iter().collect()
}
