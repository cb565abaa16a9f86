//! Which peers are asked for content, and in which order.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::error::{FetchError, PeerError};
use super::experience::Experience;
use super::places::{Hedges, Places};
use crate::base_url::BaseUrl;
use crate::hash::BlobHash;
use crate::metrics::Counter;
use crate::peer::directory::NetworkFile;
use crate::peer::lines::Lines;
use crate::peer::network::Network;
use crate::peer::registry::Peer;
use crate::peer::sync;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// How many times as fast as another a peer has to be to come before it.
const ABOUT: f64 = 2.0;

/// What a peer told of a content: that it holds it, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The peer.
    pub peer: PeerId,
    /// The length of the content, in bytes.
    pub size: u64,
}

/// A peer that claims to hold a content, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) claim: Claim,
    pub(super) address: BaseUrl,
}

/// How peers are asked for content.
#[derive(Debug, Clone)]
pub struct Options {
    /// A peer that brings no chunk group (16 KiB) forward for so long is given up.
    pub stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(10),
        }
    }
}

/// How often peers did not serve what they claim to hold.
#[derive(Debug, Default)]
pub struct Failures {
    /// They sent something else.
    pub wrong: Counter,
    /// They fell silent.
    pub silent: Counter,
    /// They refused, broke off or could not be asked.
    pub unanswered: Counter,
}

/// Fetches content from the peers of a network.
pub struct Fetcher {
    pub(super) network: Arc<Network>,
    pub(super) options: Options,
    /// What came of asking.
    pub failed: Failures,
    /// What was seen of those that were asked before.
    pub(super) experience: Arc<Experience>,
    /// What downloads may take at once of all that hold something.
    pub(super) places: Places,
    /// What they may ask at once while others are silent.
    pub(super) hedges: Hedges,
    given_up: Lines,
}

impl Fetcher {
    /// Asks the peers of `network`.
    pub fn new(network: Arc<Network>, options: Options) -> Self {
        Self {
            network,
            options,
            failed: Failures::default(),
            experience: Arc::default(),
            places: Places::default(),
            hedges: Hedges::default(),
            given_up: Lines::default(),
        }
    }

    /// Whose peers it asks.
    pub fn network(&self) -> Arc<Network> {
        Arc::clone(&self.network)
    }

    /// The file that a peer holds under an id or a name, of which the newest counts. Asks
    /// the peer for an id that it has not told of yet.
    pub async fn find(&self, peer: PeerId, file: &str) -> Result<Option<NetworkFile>, FetchError> {
        let directory = &self.network.directory;
        let Ok(id) = file.parse::<FileId>() else {
            return Ok(directory.newest_named(peer, file));
        };
        match (directory.get(peer, id), self.network.registry.get(peer)) {
            (Some(file), _) => Ok(Some(file)),
            (None, None) => Ok(None),
            (None, Some(known)) => {
                let asked = sync::find(&self.network, &known, id);
                let found = match timeout(self.options.stall, asked).await {
                    Ok(found) => found.map_err(PeerError::from),
                    Err(_) => Err(PeerError::Stalled),
                };
                found.map_err(|error| self.gave_up(peer, error))
            }
        }
    }

    /// The peers that claim to hold a content, in the order in which they are asked: that of
    /// `first`, then those who have served before, then those that this node can tell from made-up
    /// ones, then the others. Of those that have served, the ones that are half as fast as the
    /// fastest are equals, of whom the one comes first that is asked for the least now, so that
    /// they share what is read of them; the others follow by how fast they are. Else it is by
    /// chance, so that nobody's choice of an id decides. Those that failed lately are at the end.
    pub(super) fn providers(&self, hash: &BlobHash, first: Option<Claim>) -> Vec<Provider> {
        let Network {
            directory,
            registry,
            ..
        } = &*self.network;
        let told = directory.providers(hash).into_iter().filter_map(|it| {
            let size = directory.get_with(it.peer, it.file, hash)?.size;
            Some(Claim {
                peer: it.peer,
                size,
            })
        });
        let mut seen = BTreeSet::new();
        let claims = first.into_iter().chain(told);
        let claims = claims.filter(|claim| seen.insert(claim.peer));
        let providers = claims.filter_map(|claim| {
            let known = registry.get(claim.peer)?;
            let expected = self.experience.of(claim.peer);
            let not_first = first.is_none_or(|it| it.peer != claim.peer);
            // What puts it behind others, the weightiest first.
            let behind = [expected.behind, !known.answered, not_first];
            let rank = (behind, !expected.served, !known.named, !known.verified());
            let rate = expected.rate.unwrap_or(0.0);
            let chance = (self.experience.asked(claim.peer), Uuid::new_v4());
            let address = known.address().clone();
            Some((rank, rate, chance, Provider { claim, address }))
        });
        let mut providers: Vec<_> = providers.collect();
        let fastest = providers.iter().map(|(_, rate, ..)| *rate);
        let fastest = fastest.fold(0.0, f64::max);
        // All that are about as fast as the fastest are as good.
        let good = |rate: f64| rate.min(fastest / ABOUT);
        providers.sort_by(|(a, a_rate, a_chance, _), (b, b_rate, b_chance, _)| {
            let better = good(*b_rate).total_cmp(&good(*a_rate));
            a.cmp(b).then(better).then(a_chance.cmp(b_chance))
        });
        providers.into_iter().map(|(.., it)| it).collect()
    }

    /// Whether a peer is known that claims to hold a content.
    pub fn is_held(&self, hash: &BlobHash) -> bool {
        let Network {
            directory,
            registry,
            ..
        } = &*self.network;
        let mut told = directory.providers(hash).into_iter();
        told.any(|it| registry.get(it.peer).is_some())
    }

    /// The peer that would be asked for a content before all others now.
    pub fn first_asked(&self, hash: &BlobHash, first: Option<Claim>) -> Option<PeerId> {
        let providers = self.providers(hash, first);
        providers.first().map(|it| it.claim.peer)
    }

    /// What peers tell of a content, each of one of its files. Those that have served content
    /// come first, then those that signed who they are, so that nobody is believed for an id
    /// of his choice.
    pub fn told_of(&self, hash: &BlobHash) -> Vec<(PeerId, NetworkFile)> {
        let Network {
            directory,
            registry,
            ..
        } = &*self.network;
        let told = directory.providers(hash).into_iter();
        let told = told.filter_map(|it| {
            let file = directory.get_with(it.peer, it.file, hash)?;
            Some((it.peer, file))
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by_cached_key(|(peer, _)| {
            let known = registry.get(*peer);
            let verified = known.as_ref().is_some_and(Peer::verified);
            let named = known.is_some_and(|it| it.named);
            let served = self.experience.of(*peer).served;
            // Among equals, those that were heard of first.
            (!named, !served, !verified)
        });
        told
    }

    /// Notes that a peer has failed.
    pub(super) fn gave_up(&self, peer: PeerId, error: PeerError) -> FetchError {
        self.given_up.tell(|left_out| {
            let error = &error as &dyn Error;
            tracing::info!(%peer, error, left_out, "a peer is given up");
        });
        match error {
            PeerError::Wrong(_) | PeerError::Length | PeerError::OtherPart => {
                self.failed.wrong.count();
            }
            PeerError::Stalled => self.failed.silent.count(),
            PeerError::Client(_) => self.failed.unanswered.count(),
        }
        self.experience.failed(peer);
        FetchError::Failed { peer, error }
    }
}
