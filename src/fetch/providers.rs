//! Which peers to ask for a content, and in which order.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use super::Fetcher;
use crate::base_url::BaseUrl;
use crate::hash::BlobHash;
use crate::peer::network::Network;
use crate::peer_id::PeerId;

/// For how long a peer that failed is asked after the others.
pub(super) const REMEMBER: Duration = Duration::from_secs(5 * 60);
/// The most failed peers remembered.
pub(super) const MAX_FAILURES: usize = 10_000;

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

impl Fetcher {
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
}
