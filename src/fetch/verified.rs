//! Content with a known hash, from whichever peer serves it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream;

use super::answer::Answer;
use super::fetcher::Provider;
use super::filling::{FillError, fill_from_all};
use super::proven::Proven;
use super::race::{Outcome, first_of};
use super::reading::Reading;
use super::{Claim, FetchError, Fetcher, PeerError, Pieces, part};
use crate::blob::Filling;
use crate::hash::BlobHash;
use crate::outboard::{GROUP_BYTES, PlacedPair, Tree};

/// Content up to this many bytes is fetched whole when it is opened.
pub(super) const SHORT: u64 = 4 * GROUP_BYTES;
/// How many peers are asked for what proves a content, one after the other.
const ASKED_FOR_PROOF: usize = 4;

/// Content that peers hold. Its length is proven, its bytes come when they are read.
#[derive(Clone)]
pub struct VerifiedContent {
    proven: Proven,
    /// All of it, if it is short.
    whole: Option<Bytes>,
}

impl VerifiedContent {
    /// Opens content with this hash, asking the peer of `first` before others. None where
    /// nobody is known to hold it.
    ///
    /// Asks for the end of the content, since only that proves how long it is. While one peer
    /// is silent the next ones are asked, too.
    pub async fn open(
        fetcher: Arc<Fetcher>,
        hash: BlobHash,
        first: Option<Claim>,
    ) -> Result<Option<Self>, FetchError> {
        let providers = fetcher.providers(&hash, first);
        let asking = Arc::clone(&fetcher);
        let (experience, hedges) = (&fetcher.experience, &fetcher.hedges);
        let outcome = first_of(experience, hedges, providers, move |provider| {
            let fetcher = Arc::clone(&asking);
            async move { read_end(&fetcher, &provider, hash).await }
        });
        let Outcome { won, failed } = outcome.await;
        let failed = failed.into_iter();
        let failed = failed.map(|(it, error)| fetcher.gave_up(it.claim.peer, error));
        let Some((provider, bytes)) = won else {
            return failed.last().map_or(Ok(None), Err);
        };
        failed.for_each(drop);
        let Claim { peer, size } = provider.claim;
        fetcher.experience.served(peer, 0, Duration::ZERO);
        fetcher.network.directory.serves(peer);
        let proven = Proven {
            fetcher,
            hash,
            tree: Tree::new(size),
            first: Some(provider.claim),
        };
        Ok(Some(Self {
            proven,
            whole: (size <= SHORT).then_some(bytes),
        }))
    }

    /// Content of `size` bytes, as is proven otherwise. Nobody is asked yet. None where nobody is
    /// known to hold it, and of short content, whose end is all of it.
    pub fn of_size(fetcher: Arc<Fetcher>, hash: BlobHash, size: u64) -> Option<Self> {
        if size <= SHORT || !fetcher.is_held(&hash) {
            return None;
        }
        let proven = Proven {
            fetcher,
            hash,
            tree: Tree::new(size),
            first: None,
        };
        Some(Self {
            proven,
            whole: None,
        })
    }

    /// The hash of the content.
    pub fn hash(&self) -> BlobHash {
        self.proven.hash
    }

    /// The length of the content, in bytes.
    pub fn size(&self) -> u64 {
        self.proven.tree.size()
    }

    /// Brings what is missing of it to `partial`, from all peers that have it at once, and tells
    /// `wrote` how many bytes are new as they come.
    pub(super) async fn fill(
        &self,
        partial: Arc<dyn Filling>,
        wrote: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<(), FillError> {
        fill_from_all(self.proven.clone(), partial, Arc::new(wrote)).await
    }

    /// The chunk group that begins at `at`, with the pairs that prove it, from the first of a few
    /// peers that serves it.
    pub(super) async fn group_with_proof(
        &self,
        at: u64,
    ) -> Result<(Bytes, Vec<PlacedPair>), FetchError> {
        let range = at..self.size().min(at + GROUP_BYTES);
        let mut failed = FetchError::Gone;
        for provider in self.proven.providers().into_iter().take(ASKED_FOR_PROOF) {
            let peer = provider.claim.peer;
            match read_with_pairs(self.proven.clone(), provider, range.clone()).await {
                Ok(read) => return Ok(read),
                Err(error) => failed = self.proven.fetcher.gave_up(peer, error),
            }
        }
        Err(failed)
    }

    /// The bytes of `range`, which must lie within the size, from any peer that has them; where
    /// that takes long, from all of them.
    pub fn read(&self, range: Range<u64>) -> Pieces {
        if let Some(whole) = &self.whole {
            return stream::iter([Ok(part(whole, &range))]).boxed();
        }
        Reading::new(self.proven.clone(), range).into_pieces()
    }
}

async fn read_with_pairs(
    content: Proven,
    provider: Provider,
    range: Range<u64>,
) -> Result<(Bytes, Vec<PlacedPair>), PeerError> {
    let mut answer = content.ask(provider, range).await?;
    answer.keep_pairs();
    let mut all = BytesMut::new();
    while let Some(piece) = answer.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok((all.freeze(), answer.pairs))
}

/// The verified end of a content, or all of it if it is short.
async fn read_end(
    fetcher: &Fetcher,
    provider: &Provider,
    hash: BlobHash,
) -> Result<Bytes, PeerError> {
    let size = provider.claim.size;
    let start = if size <= SHORT { 0 } else { size - 1 };
    let mut answer = Answer::ask(fetcher, provider, hash, Tree::new(size), start..size).await?;
    let mut all = BytesMut::new();
    while let Some(piece) = answer.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}
