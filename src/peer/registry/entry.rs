//! A peer as the registry keeps it, and by whom it came.

use std::cmp::Reverse;
use std::time::Instant;

use super::places::Places;
use crate::base_url::BaseUrl;
use crate::peer::exchange::Standing;
use crate::peer::holdings::Holdings;
use crate::peer::prefix::{Key, Prefix};
use crate::peer::registration::Checked;
use crate::peer::signature::Trust;
use crate::peer::turns::Claim;
use crate::peer_id::PeerId;
use crate::record::Timestamp;

/// A known peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it told of itself.
    pub told: Checked,
    /// When it last answered or was introduced anew.
    pub last_seen: Timestamp,
    /// Whether it has answered, as itself, at its address. Until then it may be made up.
    pub answered: bool,
    /// Whether it answered at an address that this node's operator has named.
    pub named: bool,
    /// How often it has come back after a goodbye.
    pub returns: u32,
    /// Up to which version all that it holds was heard or read.
    pub read: Option<u64>,
    /// When somebody told last that it is there or is not, other than was known.
    pub doubted: Option<Instant>,
}

impl Peer {
    /// The peer's id.
    pub fn id(&self) -> PeerId {
        self.told.id
    }

    /// Where it is reached.
    pub fn address(&self) -> &BaseUrl {
        &self.told.address
    }

    /// Whether it tells how much it holds, so that it need not be asked each period.
    pub fn tells_version(&self) -> bool {
        self.told.registration.holdings.is_some()
    }

    /// Whether it answers, and compares whom it knows with others.
    pub fn exchanges(&self) -> bool {
        self.answered && self.tells_version()
    }

    /// Whether it holds something else than was heard or read, by what it has told.
    pub fn has_news(&self) -> bool {
        let told = self.told.registration.holdings.as_ref();
        told.is_some_and(|it| self.read < Some(it.version))
    }

    /// Whether its key has signed where it is reached.
    pub fn verified(&self) -> bool {
        self.told.trust == Trust::Verified
    }
}

/// By whom a peer is introduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Introducer {
    /// It answered at an address that this node's operator has named.
    Operator,
    /// It came itself; the prefix it came from is known where it came over a connection.
    Itself(Option<Key>),
    /// Somebody told of it: a server or peer that the operator has named, at this host and
    /// port, or else anybody in this narrow prefix.
    Other(Key),
}

/// A peer and what is known of it.
#[derive(Debug)]
pub(super) struct KnownPeer {
    pub(super) peer: Peer,
    pub(super) prefix: Prefix,
    pub(super) by: Introducer,
    /// When it was last there or was introduced anew, by a clock that nobody sets.
    pub(super) seen: Instant,
    /// Whether it has ever answered, as itself, at this address.
    pub(super) proven: bool,
    /// How often it was asked in vain in a row.
    pub(super) in_vain: u32,
    /// When it was last tried to reach it, from the beginning of that try.
    pub(super) tried: Option<Instant>,
    /// When it said goodbye last, by its own clock.
    pub(super) left_at: Option<Timestamp>,
    /// Whether it has neither answered nor come back since.
    pub(super) gone: bool,
    /// The addresses that its key has spoken for lately.
    pub(super) places: Places,
}

impl KnownPeer {
    /// Whether it has not come itself, from where it says that it is.
    fn elsewhere(&self) -> bool {
        self.by != Introducer::Itself(Some(self.prefix.narrow))
    }

    /// Of two, the one with the larger value has the lesser right: who signs nothing, who is
    /// elsewhere than it says.
    pub(super) fn weakness(&self) -> (bool, bool) {
        (!self.peer.verified(), self.elsewhere())
    }

    /// Of two in equal crowds, the one with the larger value gives way: who has the lesser
    /// right, who was asked in vain, who has waited for longest to be asked.
    pub(super) fn dispensable(&self) -> impl Ord + use<> {
        (self.weakness(), self.in_vain, Reverse(self.seen))
    }

    /// How it stands with it.
    pub(super) fn standing(&self) -> Standing {
        if self.peer.answered {
            Standing::There
        } else if self.in_vain > 0 || self.gone {
            Standing::Silent
        } else {
            Standing::Untried
        }
    }

    /// Takes over what it holds, where that is newer.
    pub(super) fn hear_of(&mut self, told: &Holdings) {
        let holdings = &mut self.peer.told.registration.holdings;
        if holdings.as_ref().is_none_or(|it| it.version < told.version) {
            *holdings = Some(told.clone());
        }
    }

    /// Whether people are told of it: not where its address is a name that was not looked at yet,
    /// and may lead where no peer is.
    pub(super) fn is_shown(&self) -> bool {
        let looked_at = self.peer.answered || self.proven || self.in_vain > 0;
        looked_at || !self.peer.address().has_name()
    }

    /// What a change of is told: whether it is shown, where it is, and whether it answers.
    pub(super) fn shows(&self) -> (bool, BaseUrl, bool) {
        let address = self.peer.address().clone();
        (self.is_shown(), address, self.peer.answered)
    }

    /// When it has its turn; `wary` where it has cost time lately.
    pub(super) fn claim(&self, wary: bool) -> Claim<Introducer> {
        Claim {
            source: self.by,
            weak: wary || self.weakness() > (false, true),
            announced: self.prefix.wide,
        }
    }

    /// Notes that it was introduced again by somebody. Only who comes from where the peer is
    /// changes by whom it came, since anybody can repeat what it has told.
    pub(super) fn come(&mut self, by: Introducer) {
        if by == Introducer::Itself(Some(self.prefix.narrow)) {
            self.by = by;
        }
    }

    /// Whether it comes back after a goodbye, perhaps in the same second, of which registrations
    /// tell no part. Whoever repeats one has it asked once more, and no oftener.
    fn returns(&mut self, other: &Self) -> bool {
        let second = |it: Timestamp| it.0.div_euclid(1000);
        let left_at = self.left_at.filter(|_| self.gone);
        let later = |left| second(other.peer.told.registered_at()) >= second(left);
        let returns = other.peer.verified() && left_at.is_some_and(later);
        if returns {
            self.gone = false;
            self.peer.returns = self.peer.returns.wrapping_add(1);
        }
        returns
    }

    /// Notes that it seems to be there now.
    pub(super) fn see(&mut self) {
        self.seen = Instant::now();
        self.peer.last_seen = Timestamp::now();
    }

    /// Notes that it does not answer since then; whether it did. One that compares with others is
    /// not heard for hours while it answers, so its silence begins with that.
    pub(super) fn fall_silent(&mut self, since: Instant) -> bool {
        if self.peer.exchanges() {
            self.seen = self.seen.max(since);
        }
        std::mem::replace(&mut self.peer.answered, false)
    }

    /// Whether the peer is taken to be where it is known to be, whatever who signs nothing tells:
    /// it answers there, or did in an earlier run and was not asked in vain since. But where the
    /// operator has named an address, whoever answers there in this run comes before that.
    fn stands_against(&self, other: &Self) -> bool {
        let remembered = self.proven && self.in_vain == 0;
        self.peer.answered || remembered && other.by != Introducer::Operator
    }

    /// Whether this one, which has answered in an earlier run, takes the place of `known`: of a
    /// peer that signs nothing anybody may have told of an address before it was remembered.
    pub(super) fn is_remembered_better_than(&self, known: &Self) -> bool {
        let is_sure = known.proven || known.peer.named || known.peer.verified();
        !is_sure && known.peer.address() != self.peer.address()
    }

    /// Takes over what is newer. An older registration, repeated by whoever, neither moves the
    /// peer back to an old address nor shows that it is still there. One exception: the clock
    /// of a peer may have been set back, so where it no longer answers it may come itself.
    pub(super) fn renew(&mut self, other: Self) {
        let back = self.returns(&other);
        let newer = other.peer.told.registered_at() > self.peer.told.registered_at();
        let moved = self.peer.address() != other.peer.address();
        let itself = matches!(other.by, Introducer::Itself(_) | Introducer::Operator);
        let returned = back || itself && moved && !self.peer.answered && self.in_vain > 0;
        // Whoever signs nothing cannot show that it is the one who answers elsewhere.
        let usurped = moved && self.stands_against(&other) && !other.peer.verified();
        let holdings = other.peer.told.registration.holdings.clone();
        if usurped || !(newer || returned) {
            if let Some(told) = holdings.filter(|_| !usurped) {
                self.hear_of(&told);
            }
            return;
        }
        // An older server passes a registration on without them.
        let kept = self.peer.told.registration.holdings.take();
        let kept = kept.filter(|_| !itself || holdings.is_some());
        let (read, doubted) = (self.peer.read, self.peer.doubted);
        let (by, named) = (self.by, self.peer.named || other.peer.named);
        let (left_at, gone, returns) = (self.left_at, self.gone, self.peer.returns);
        let stays = !moved;
        let places = std::mem::take(&mut self.places);
        *self = Self {
            proven: self.proven && stays,
            in_vain: if stays { self.in_vain } else { 0 },
            by,
            left_at,
            gone,
            places,
            tried: self.tried.filter(|_| stays),
            peer: Peer {
                answered: self.peer.answered && stays,
                named,
                returns,
                read,
                doubted,
                ..other.peer
            },
            ..other
        };
        if let Some(kept) = kept {
            self.hear_of(&kept);
        }
    }
}
