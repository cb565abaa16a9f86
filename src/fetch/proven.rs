//! Content whose length is proven, and whom to ask for it.

use std::ops::Range;
use std::sync::Arc;

use super::answer::Answer;
use super::fetcher::Provider;
use super::{Claim, Fetcher, PeerError};
use crate::hash::BlobHash;
use crate::outboard::Tree;

/// What is needed to ask for content.
#[derive(Clone)]
pub(super) struct Proven {
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) hash: BlobHash,
    pub(super) tree: Tree,
    /// Who is asked before others.
    pub(super) first: Option<Claim>,
}

impl Proven {
    /// Asks a peer for `range`.
    pub(super) async fn ask(
        self,
        provider: Provider,
        range: Range<u64>,
    ) -> Result<Answer, PeerError> {
        Answer::ask(&self.fetcher, &provider, self.hash, self.tree, range).await
    }

    /// The peers that may have it, in the order in which they are asked.
    pub(super) fn providers(&self) -> Vec<Provider> {
        self.fetcher.providers(&self.hash, self.first)
    }
}
