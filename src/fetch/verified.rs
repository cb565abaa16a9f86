//! Content with a known hash, from whichever peer serves it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream;

use super::answer::Answer;
use super::fetcher::Provider;
use super::{Claim, FetchError, Fetcher, PeerError, Pieces, part};
use crate::hash::BlobHash;
use crate::outboard::{GROUP_BYTES, Tree};
use crate::peer_id::PeerId;

/// Content up to this many bytes is fetched whole when it is opened.
const AT_ONCE: u64 = 4 * GROUP_BYTES;

/// Content that peers hold. Its length is proven, its bytes come when they are read.
#[derive(Clone)]
pub struct VerifiedContent {
    fetcher: Arc<Fetcher>,
    hash: BlobHash,
    tree: Tree,
    first: Option<Claim>,
    /// All of it, if it is short.
    whole: Option<Bytes>,
}

impl VerifiedContent {
    /// Opens content with this hash, asking the peer of `first` before others. None where
    /// nobody is known to hold it.
    ///
    /// Asks for the end of the content, since only that proves how long it is.
    pub async fn open(
        fetcher: Arc<Fetcher>,
        hash: BlobHash,
        first: Option<Claim>,
    ) -> Result<Option<Self>, FetchError> {
        let mut failed = None;
        for provider in fetcher.providers(&hash, first) {
            let size = provider.claim.size;
            let tree = Tree::new(size);
            let end = if size <= AT_ONCE {
                0..size
            } else {
                size - 1..size
            };
            match read_all(&fetcher, &provider, hash, tree, end).await {
                Ok(bytes) => {
                    let whole = (size <= AT_ONCE).then_some(bytes);
                    return Ok(Some(Self {
                        fetcher,
                        hash,
                        tree,
                        first: Some(provider.claim),
                        whole,
                    }));
                }
                Err(error) => failed = Some(fetcher.gave_up(provider.claim.peer, error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The hash of the content.
    pub fn hash(&self) -> BlobHash {
        self.hash
    }

    /// The length of the content, in bytes.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// This content once for each peer that claims to hold it, which is asked first.
    pub(super) fn of_each_provider(&self) -> Vec<Self> {
        let providers = self.fetcher.providers(&self.hash, self.first).into_iter();
        let asking = |first| Self {
            first: Some(first),
            ..self.clone()
        };
        providers.map(|it| asking(it.claim)).collect()
    }

    /// The bytes of `range`, which must lie within the size, from any peer that has them.
    pub fn read(&self, range: Range<u64>) -> Pieces {
        if let Some(whole) = &self.whole {
            return stream::iter([Ok(part(whole, &range))]).boxed();
        }
        let reading = Reading {
            content: self.clone(),
            ahead: range,
            answer: None,
            in_vain: BTreeSet::new(),
            wrong: BTreeSet::new(),
            failed: None,
        };
        stream::try_unfold(reading, |mut reading| async move {
            let piece = reading.next().await?;
            Ok(piece.map(|piece| (piece, reading)))
        })
        .boxed()
    }
}

/// All verified bytes of a short range.
async fn read_all(
    fetcher: &Fetcher,
    provider: &Provider,
    hash: BlobHash,
    tree: Tree,
    range: Range<u64>,
) -> Result<Bytes, PeerError> {
    let mut answer = Answer::ask(fetcher, provider, hash, tree, range).await?;
    let mut all = BytesMut::new();
    while let Some(piece) = answer.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

/// A range being read.
struct Reading {
    content: VerifiedContent,
    /// What is still to come.
    ahead: Range<u64>,
    answer: Option<(PeerId, Answer)>,
    /// Who failed since the last byte came; whoever brought bytes may be asked again.
    in_vain: BTreeSet<PeerId>,
    /// Who sent something else than the content, and is not asked again.
    wrong: BTreeSet<PeerId>,
    failed: Option<FetchError>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        while !self.ahead.is_empty() {
            let Some((peer, mut answer)) = self.answer.take() else {
                self.ask_another().await?;
                continue;
            };
            match answer.next().await {
                Ok(Some(piece)) => {
                    self.ahead.start += piece.len() as u64;
                    self.in_vain.clear();
                    self.answer = Some((peer, answer));
                    return Ok(Some(piece));
                }
                // Complete, though bytes are missing: the verifier lets that never happen.
                Ok(None) => self.give_up(peer, PeerError::OtherPart),
                Err(error) => self.give_up(peer, error),
            }
        }
        Ok(None)
    }

    /// Asks the next peer that may have what is still to come.
    async fn ask_another(&mut self) -> Result<(), FetchError> {
        let VerifiedContent {
            fetcher,
            hash,
            tree,
            first,
            ..
        } = self.content.clone();
        let mut providers = fetcher.providers(&hash, first).into_iter();
        let asked = |peer: &PeerId| self.in_vain.contains(peer) || self.wrong.contains(peer);
        let next = providers.find(|it| !asked(&it.claim.peer));
        let Some(provider) = next else {
            return Err(self.failed.take().unwrap_or(FetchError::Gone));
        };
        match Answer::ask(&fetcher, &provider, hash, tree, self.ahead.clone()).await {
            Ok(answer) => self.answer = Some((provider.claim.peer, answer)),
            Err(error) => self.give_up(provider.claim.peer, error),
        }
        Ok(())
    }

    fn give_up(&mut self, peer: PeerId, error: PeerError) {
        if matches!(error, PeerError::Wrong(_)) {
            self.wrong.insert(peer);
        }
        self.in_vain.insert(peer);
        self.failed = Some(self.content.fetcher.gave_up(peer, error));
    }
}
