//! Who gives way where the registry is full.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::entry::{Entry, Introducer};
use crate::peer::prefix::Crowds;
use crate::peer_id::PeerId;

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
            max_proven: 768,
            max_unproven: 256,
            forget_after: Duration::from_hours(1),
            forget_unproven_after: Duration::from_mins(5),
            require_signed: false,
        }
    }
}

/// There is no room.
pub(super) struct Full;

type Peers = BTreeMap<PeerId, Entry>;

/// Who has to give way for a newcomer that has not answered yet, if anybody has to. One that
/// comes itself always finds room; one that others tell of takes none from a smaller crowd.
pub(super) fn for_unproven(
    peers: &Peers,
    newcomer: &Entry,
    options: &Options,
) -> Result<Option<PeerId>, Full> {
    if newcomer.peer.named {
        return Ok(None);
    }
    let itself = matches!(newcomer.by, Introducer::Itself(_));
    let unproven = || peers.values().filter(|it| !it.proven && !it.peer.named);
    let mut crowds = Crowds::of(unproven().map(|it| &it.prefix));
    if crowds.count(newcomer.prefix.exact) >= MAX_AT_ONE_PLACE {
        let there = unproven().filter(|it| it.prefix.exact == newcomer.prefix.exact);
        return give_way(there.max_by_key(|it| it.dispensable()), itself);
    }
    let by_the_same = || unproven().filter(|it| it.by == newcomer.by);
    if by_the_same().count() >= options.max_unproven.div_ceil(2) {
        let crowded = by_the_same().max_by_key(|it| (crowds.around(&it.prefix), it.dispensable()));
        return give_way(crowded, itself);
    }
    if unproven().count() < options.max_unproven {
        return Ok(None);
    }
    let crowded = unproven().max_by_key(|it| (crowds.around(&it.prefix), it.dispensable()));
    let largest = crowded.map(|it| crowds.around(&it.prefix));
    crowds.add(&newcomer.prefix);
    give_way(
        crowded,
        itself || largest >= Some(crowds.around(&newcomer.prefix)),
    )
}

fn give_way(other: Option<&Entry>, must: bool) -> Result<Option<PeerId>, Full> {
    match other {
        Some(other) if must => Ok(Some(other.peer.id())),
        _ => Err(Full),
    }
}

/// Whether one more finds room among those that have answered once.
pub(super) fn is_for_proven(peers: &Peers, newcomer: &Entry, options: &Options) -> bool {
    let proven = || peers.values().filter(|it| it.proven && !it.peer.named);
    let mut crowds = Crowds::of(proven().map(|it| &it.prefix));
    crowds.add(&newcomer.prefix);
    proven().count() < options.max_proven && !is_crowded(&crowds, newcomer, options)
}

/// Whether an entry lies where more are than may be.
fn is_crowded(crowds: &Crowds, entry: &Entry, options: &Options) -> bool {
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
    let crowds = Crowds::of(proven().map(|it| &it.prefix));
    let (wide, narrow, _) = crowds.around(&newcomer.prefix);
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
