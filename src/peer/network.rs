//! The network as this node sees it: who is there, what they hold, and how to ask them.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

use super::beginning::Beginning;
use super::client::Client;
use super::copied_key::CopiedKey;
use super::directory::{self, Directory};
use super::exchange::News;
use super::holdings::OwnVersion;
use super::identity::Identity;
use super::introductions::Introductions;
use super::lines::Lines;
use super::newly_told::NewlyTold;
use super::prefix::{Key, Prefix};
use super::reachability::Reachability;
use super::registration::{Absurd, Checked, Registration};
use super::registry::{self, Answered, Introduced, Introducer, Registry};
use super::removals::Removals;
use super::signature::Trust;
use super::unanswered::AllUnanswered;
use crate::base_url::BaseUrl;
use crate::metrics::Counter;
use crate::peer_id::PeerId;

/// How many different clocks are told of.
const MAX_CLOCKS: usize = 64;

/// What a node knows of the network.
pub struct Network {
    pub(super) identity: Identity,
    pub(super) base_url: BaseUrl,
    /// Who is there.
    pub registry: Registry,
    /// What they hold.
    pub directory: Directory,
    /// How they are asked.
    pub client: Client,
    /// Wakes whoever asks new peers what they hold or writes them down.
    pub(super) met: watch::Sender<()>,
    /// Whether it is still being found out for the first time what peers hold.
    pub beginning: Beginning,
    /// What other nodes are to hear that are this peer as well, and have told this one.
    pub(super) fleet: FleetNews,
    /// What this node has removed lately.
    pub removals: Removals,
    /// Who has told something.
    pub newly_told: NewlyTold,
    /// By which change this node holds how many files.
    pub own_version: OwnVersion,
    /// What others are to hear soon, and how often this node has compared whom it knows with them.
    pub news: News,
    /// What was told and heard.
    pub messages: Messages,
    /// Whether others reach this node.
    pub reachability: Reachability,
    /// Whether another node has this node's key.
    pub copied_key: CopiedKey,
    /// Whom the operator has named, and nobody answers there.
    pub unanswered: AllUnanswered,
    /// What the log tells of peers.
    pub(super) log: PeerLog,
    /// Whose clocks were told to differ from this machine's.
    clocks: Mutex<HashSet<Key>>,
    /// Which peers are written down; None before it is known who was written down earlier, which is
    /// not to be lost.
    pub(super) written: AsyncMutex<Option<Written>>,
    /// Set when this node stops: from then on it registers nowhere.
    pub(super) leaving: AtomicBool,
}

/// What nodes that are one peer tell each other of others.
#[derive(Debug, Default)]
pub(super) struct FleetNews {
    /// Of whose files this one has heard something, which the others have not.
    pub(super) heard: Mutex<BTreeSet<PeerId>>,
    /// Of whose files another one has.
    pub(super) to_ask: Mutex<BTreeSet<PeerId>>,
    /// The same until they have told it this one.
    pub(super) unasked: watch::Sender<BTreeSet<PeerId>>,
    /// Told when somebody waits for what the others have heard, or this one has.
    pub(super) wanted: Notify,
    /// Counts how often that was looked at.
    pub(super) looks: watch::Sender<u64>,
}

/// Which peers were written down last.
pub(super) struct Written {
    /// Which, and where they are.
    pub(super) places: Vec<(PeerId, BaseUrl)>,
    /// When; None before any were.
    pub(super) at: Option<Instant>,
}

/// What the log tells of peers, which come and go as often as somebody likes.
#[derive(Debug, Default)]
pub(super) struct PeerLog {
    pub(super) answers: Lines,
    pub(super) leaves: Lines,
    pub(super) silent: Lines,
    pub(super) double: Lines,
}

/// What was told to peers and heard of them, counted.
#[derive(Debug, Default)]
pub struct Messages {
    /// Announcements that a peer took.
    pub told: Counter,
    /// Announcements that a peer refused, or did not answer.
    pub told_in_vain: Counter,
    /// Announcements of peers that said something new.
    pub news: Counter,
    /// Announcements of peers that said nothing new, or came before the peer was known.
    pub not_news: Counter,
    /// Announcements of peers that were refused.
    pub refused: Counter,
    /// Messages that were not from the peers they named.
    pub forged: Counter,
}

impl Network {
    /// A node alone in its network, reached at `base_url`.
    pub fn new(
        identity: Identity,
        base_url: BaseUrl,
        client: Client,
        registry: registry::Options,
        directory: directory::Options,
    ) -> Self {
        let removals = Removals::default();
        Self {
            own_version: OwnVersion::starting_at(removals.moment()),
            news: News::default(),
            registry: Registry::new(identity.peer_id(), registry),
            directory: Directory::new(directory),
            identity,
            base_url,
            client,
            met: watch::Sender::new(()),
            beginning: Beginning::default(),
            fleet: FleetNews::default(),
            removals,
            newly_told: NewlyTold::default(),
            messages: Messages::default(),
            reachability: Reachability::default(),
            copied_key: CopiedKey::default(),
            unanswered: AllUnanswered::default(),
            log: PeerLog::default(),
            clocks: Mutex::default(),
            written: AsyncMutex::default(),
            leaving: AtomicBool::new(false),
        }
    }

    /// Who this node is.
    pub fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Whether other nodes are the same peer.
    pub fn is_of_fleet(&self) -> bool {
        self.identity.is_of_fleet()
    }

    /// Where this node is, as it tells others.
    pub(super) fn base_url(&self) -> &BaseUrl {
        &self.base_url
    }

    /// Whether this node stops.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Notes that the clock at this address differs from this machine's; whether that has to be
    /// told, which it is once.
    pub(super) fn clocks_differ(&self, other: &BaseUrl) -> bool {
        let mut told = self.clocks.lock();
        told.len() < MAX_CLOCKS && told.insert(Prefix::of(other).exact)
    }

    /// Notes what the peer at this address told of whether it reaches this node, which asks
    /// once in a period.
    pub(super) fn note_reached(&self, teller: &BaseUrl, answer: &Introductions, every: Duration) {
        self.note_word(teller, answer.reaches_me(), every);
    }

    /// The same, of whether it does and how long ago it has tried.
    pub(super) fn note_word(
        &self,
        teller: &BaseUrl,
        word: Option<(bool, Option<Duration>)>,
        every: Duration,
    ) {
        let place = Prefix::of(teller).exact;
        self.reachability.note(place, word, every, &self.base_url);
    }

    /// Takes in what somebody has heard that this node's key has signed for another address: of
    /// two nodes with one key, each is told by whoever both talk with, however many else there are.
    pub(super) fn hear_of_own_key(&self, told: Option<Registration>, teller: &BaseUrl) {
        let own = self.peer_id().to_string();
        let Some(told) = told.filter(|it| it.peer_id == own) else {
            return;
        };
        let by = Introducer::Other(Prefix::of(teller).exact);
        if let Err(error) = self.meet(told, by, teller.is_loopback()) {
            tracing::debug!(%teller, %error, "what it tells of this node's key is not taken");
        }
    }

    /// Takes in what a peer tells of itself, directly or by way of others. Addresses of this
    /// machine alone only from who is on it: `near`.
    pub fn meet(
        &self,
        registration: Registration,
        by: Introducer,
        near: bool,
    ) -> Result<Introduced, Absurd> {
        if self.registry.knows(&registration, by) {
            // Its signature was checked then.
            return Ok(Introduced::Known);
        }
        let checked = self.check(registration)?;
        if checked.address.is_loopback() && !near {
            return Err(Absurd::Reserved);
        }
        self.take_peer(checked, by)
    }

    /// Takes in the peer that answered at `named`, an address that this node's operator has
    /// given it. A private node goes on asking it there, wherever it says it is.
    pub fn meet_named(
        &self,
        registration: Registration,
        named: &BaseUrl,
    ) -> Result<Introduced, Absurd> {
        let mut checked = self.check(registration)?;
        if !self.client.reach().tells() {
            checked.address = named.clone();
        }
        if checked.address.is_loopback() && !named.is_loopback() {
            return Err(Absurd::Reserved);
        }
        let id = checked.id;
        let introduced = self.take_peer(checked, Introducer::Operator);
        if self.registry.get(id).is_some() {
            self.directory.name(id);
        }
        introduced
    }

    /// Notes that a peer has answered as itself. False if it is not known, or there is no room
    /// left for it: then nothing that it tells is kept.
    pub(super) fn answered(&self, id: PeerId) -> bool {
        let Answered { anew, given_way } = self.registry.answered(id);
        for other in &given_way {
            self.directory.forget(*other);
        }
        if anew {
            self.newly_told.note(id);
            let log = &self.log.answers;
            log.tell(|left_out| tracing::info!(%id, left_out, "a peer answers"));
            self.news.spread();
        }
        // A look at the registry as it is now, since others may have taken its place.
        let peer = self.registry.get(id);
        if let Some(peer) = &peer
            && peer.verified()
        {
            self.copied_key.is_another(peer.address());
        }
        peer.is_some()
    }

    /// Notes that a peer was asked in vain since `began`; others hear it soon if it was there.
    pub(super) fn asked_in_vain(&self, id: PeerId, began: Instant) {
        if self.registry.asked_in_vain(id, began) {
            self.news.spread();
        }
    }

    /// Notes who has answered where a node with this node's key was heard of.
    pub(super) fn hear_of_copy(&self, address: &BaseUrl, teller: Option<Registration>) {
        let told = teller.and_then(|it| self.check(it).ok());
        match told {
            Some(told) if told.id == self.peer_id() => self.copied_key.answers(address),
            Some(_) => self.copied_key.is_another(address),
            None => {}
        }
    }

    fn check(&self, registration: Registration) -> Result<Checked, Absurd> {
        // What this node has told before its clock was set back is no less its own.
        let checked = if registration.peer_id == self.peer_id().to_string() {
            registration.check_again()
        } else {
            registration.check()
        };
        if matches!(checked, Err(Absurd::Forged(_))) {
            self.messages.forged.count();
        }
        match checked {
            Ok(told) if !self.client.reach().may_know(&told) => Err(Absurd::NoMember),
            checked => checked,
        }
    }

    fn take_peer(&self, checked: Checked, by: Introducer) -> Result<Introduced, Absurd> {
        if !self.client.reach().may_ask(&checked.address) {
            return Err(Absurd::Reserved);
        }
        if checked.registration.leaving {
            // Whoever was heard or has answered since is there.
            let at = u64::try_from(checked.registered_at().0).unwrap_or(0);
            let heard = self.directory.last_heard(checked.id) / 1000;
            if checked.id == self.peer_id() {
                self.copied_key.left(&checked);
            } else if at >= heard && self.registry.left(&checked) {
                let (id, log) = (checked.id, &self.log.leaves);
                log.tell(|left_out| tracing::info!(%id, left_out, "a peer has said goodbye"));
                self.news.spread();
            }
            // An old one that somebody repeats changes nothing.
            return Ok(if self.registry.has_left(checked.id) {
                Introduced::Left
            } else {
                Introduced::Known
            });
        }
        let (id, address) = (checked.id, checked.address.clone());
        let is_own = id == self.peer_id() && !self.is_of_fleet();
        if is_own && let Some(holdings) = &checked.registration.holdings {
            self.own_version.rise_above(holdings.version);
        }
        if address == self.base_url {
            return Ok(Introduced::Myself);
        }
        if is_own && checked.trust == Trust::Verified {
            self.copied_key.note(&checked);
        }
        let introduced = self.registry.introduce(checked, by);
        if let Some((one, other)) = self.registry.newly_double(id) {
            self.log.double.tell(|left_out| {
                tracing::warn!(
                    %id, %one, %other, left_out,
                    "one key speaks for two addresses by turns, so what is held there comes and \
                     goes: the storage directory of one is a copy of the other's"
                );
            });
        }
        if let Introduced::InsteadOf(other) = introduced {
            self.directory.forget(other);
        }
        let waits = self.registry.get(id).is_some_and(|it| !it.answered);
        if introduced == Introduced::Known && waits {
            // It may have moved, or be back.
            self.met.send_replace(());
        }
        if matches!(introduced, Introduced::New | Introduced::InsteadOf(_)) {
            tracing::debug!(%id, %address, "heard of a peer");
            self.met.send_replace(());
        }
        Ok(introduced)
    }

    /// Has the other nodes that are this node as well hear that `peer` holds something new.
    pub(super) fn tell_fleet_of(&self, peer: PeerId) {
        if self.is_of_fleet() {
            self.fleet.heard.lock().insert(peer);
            self.fleet.wanted.notify_one();
        }
    }

    /// Whether there is anybody to be told of what changes here.
    pub(super) fn has_listeners(&self) -> bool {
        self.client.reach().tells() && !self.registry.is_empty()
    }
}
