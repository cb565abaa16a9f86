//! One peer's answer to a range of a blob, checked while it comes in.

use std::ops::Range;
use std::vec;

use bytes::Bytes;
use reqwest::Method;
use tokio::time::{Instant, timeout_at};

use super::experience::Asked;
use super::fetcher::Provider;
use super::{Fetcher, Options, PeerError};
use crate::hash::BlobHash;
use crate::outboard::{PlacedPair, Tree, Verifier};
use crate::peer::client::ClientError;
use crate::peer::reply::Reply;

/// An answer on its way.
pub(super) struct Answer {
    response: Reply,
    /// None once the answer is complete.
    verifier: Option<Verifier>,
    verified: vec::IntoIter<Bytes>,
    /// The pairs that have come with them, where they are kept.
    pub(super) pairs: Vec<PlacedPair>,
    /// When the next group has to be here, while one is waited for.
    deadline: Option<Instant>,
    options: Options,
    _asked: Asked,
}

impl Answer {
    /// Asks a peer for `range` of the blob with this hash and tree.
    pub(super) async fn ask(
        fetcher: &Fetcher,
        provider: &Provider,
        hash: BlobHash,
        tree: Tree,
        range: Range<u64>,
    ) -> Result<Self, PeerError> {
        let Range { start, end } = range;
        let path = format!("/api/p2p/blob/{hash}/bao?start={start}&end={end}");
        let client = &fetcher.network.client;
        let request = client.request(Method::GET, &provider.address, &path)?;
        let options = fetcher.options.clone();
        let asked = fetcher.experience.ask(provider.claim.peer);
        let response = timeout_at(Instant::now() + options.stall, client.send(request)).await;
        let response = response.map_err(|_| PeerError::Stalled)??;
        if !response.status().is_success() {
            return Err(ClientError::status(response.status()).into());
        }
        Ok(Self {
            response,
            verifier: Some(Verifier::new(hash, tree, range)),
            verified: Vec::new().into_iter(),
            pairs: Vec::new(),
            deadline: None,
            options,
            _asked: asked,
        })
    }

    /// Keeps the pairs that come.
    pub(super) fn keep_pairs(&mut self) {
        self.verifier.iter_mut().for_each(Verifier::keep_pairs);
    }

    /// The next bytes, proven to be those of the blob; None when all have come. Nothing is
    /// lost where the caller stops waiting.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        // A trickle of single bytes is no progress, so the deadline is for a whole group.
        let latest = Instant::now() + self.options.stall;
        loop {
            if let Some(piece) = self.verified.next() {
                self.deadline = None;
                return Ok(Some(piece));
            }
            if self.verifier.is_none() {
                return Ok(None);
            }
            let deadline = *self.deadline.get_or_insert(latest);
            let piece = timeout_at(deadline, self.response.chunk()).await;
            let piece = piece.map_err(|_| PeerError::Stalled)?;
            let piece = piece.map_err(ClientError::from)?;
            let Some(mut verifier) = self.verifier.take() else {
                return Ok(None);
            };
            let Some(piece) = piece else {
                verifier.finish()?;
                continue;
            };
            let mut proven = Vec::new();
            verifier.push(piece, &mut proven)?;
            self.pairs.append(&mut verifier.take_pairs());
            self.verified = proven.into_iter();
            self.verifier = Some(verifier);
        }
    }
}
