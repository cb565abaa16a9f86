//! Which peers are asked for content, and in which order.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::error::{FetchError, PeerError};
use crate::base_url::BaseUrl;
use crate::hash::BlobHash;
use crate::metrics::Counter;
use crate::peer::directory::NetworkFile;
use crate::peer::network::Network;
use crate::peer::sync;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// For how long a peer that failed is asked after the others.
const REMEMBER: Duration = Duration::from_mins(5);
/// The most failed peers remembered.
const MAX_FAILURES: usize = 10_000;

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
    /// When peers last failed, so that others are asked first for a while.
    failures: Mutex<HashMap<PeerId, Instant>>,
}

impl Fetcher {
    /// Asks the peers of `network`.
    pub fn new(network: Arc<Network>, options: Options) -> Self {
        Self {
            network,
            options,
            failed: Failures::default(),
            failures: Mutex::default(),
        }
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

    /// The peers that claim to hold a content: that of `first` before others, and those
    /// that failed lately at the end.
    pub(super) fn providers(&self, hash: &BlobHash, first: Option<Claim>) -> Vec<Provider> {
        let Network {
            directory,
            registry,
            ..
        } = &*self.network;
        let told = directory.providers(hash).into_iter().filter_map(|it| {
            let size = directory.get(it.peer, it.file)?.size;
            Some(Claim {
                peer: it.peer,
                size,
            })
        });
        let mut seen = BTreeSet::new();
        let claims = first.into_iter().chain(told);
        let claims = claims.filter(|claim| seen.insert(claim.peer));
        let mut providers: Vec<_> = claims
            .filter_map(|claim| {
                let address = registry.get(claim.peer)?.address().clone();
                Some(Provider { claim, address })
            })
            .collect();
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |peer: &PeerId| failures.get(peer).is_some_and(|at| at.elapsed() < REMEMBER);
        providers.sort_by_key(|it| lately(&it.claim.peer));
        providers
    }

    /// Notes that a peer has failed.
    pub(super) fn gave_up(&self, peer: PeerId, error: PeerError) -> FetchError {
        tracing::info!(%peer, error = &error as &dyn Error, "a peer is given up");
        match error {
            PeerError::Wrong(_) | PeerError::Length | PeerError::OtherPart => {
                self.failed.wrong.count();
            }
            PeerError::Stalled => self.failed.silent.count(),
            PeerError::Client(_) => self.failed.unanswered.count(),
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, at| at.elapsed() < REMEMBER);
        // Peers that do not answer are many only where somebody makes them up.
        if failures.len() < MAX_FAILURES {
            failures.insert(peer, Instant::now());
        }
        FetchError::Failed { peer, error }
    }
}
