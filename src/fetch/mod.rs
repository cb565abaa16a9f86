//! Fetching: content that other nodes hold, read through this one.
//!
//! Content with a known hash is checked against it before a byte is given out, so it does
//! not matter who serves it: when a peer fails, lies or hangs, another goes on where it
//! stopped. Content of peers without hashes is passed through as it comes, its length
//! checked.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::hash::BlobHash;
use crate::peer::directory::NetworkFile;
use crate::peer::network::Network;
use crate::peer::sync;
use crate::peer_id::PeerId;
use crate::record::FileId;

mod answer;
mod error;
mod providers;
mod unverified;
mod verified;

pub use error::{FetchError, PeerError};
pub use providers::Claim;
pub use unverified::UnverifiedContent;
pub use verified::VerifiedContent;

/// The bytes of a content, piece by piece. An error ends the stream; the end of the
/// stream means that all bytes were there.
pub type Pieces = BoxStream<'static, Result<Bytes, FetchError>>;

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

/// Fetches content from the peers of a network.
pub struct Fetcher {
    network: Arc<Network>,
    options: Options,
    /// When peers last failed, so that others are asked first for a while.
    failures: Mutex<HashMap<PeerId, Instant>>,
}

impl Fetcher {
    /// Asks the peers of `network`.
    pub fn new(network: Arc<Network>, options: Options) -> Self {
        Self {
            network,
            options,
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
                let found = sync::find(&self.network, &known, id);
                found
                    .await
                    .map_err(|error| self.gave_up(peer, error.into()))
            }
        }
    }

    /// Opens content with this hash, asking the peer of `first` before others. None
    /// where nobody is known to hold it.
    pub async fn open(
        self: &Arc<Self>,
        hash: BlobHash,
        first: Option<Claim>,
    ) -> Result<Option<VerifiedContent>, FetchError> {
        VerifiedContent::open(Arc::clone(self), hash, first).await
    }

    /// A file of a peer that knows no hashes. Asks nothing yet.
    pub fn open_unverified(
        self: &Arc<Self>,
        peer: PeerId,
        file: &NetworkFile,
    ) -> Option<UnverifiedContent> {
        let address = self.network.registry.get(peer)?.address().clone();
        Some(UnverifiedContent::new(
            Arc::clone(self),
            peer,
            address,
            file,
        ))
    }

    /// Notes that a peer has failed.
    fn gave_up(&self, peer: PeerId, error: PeerError) -> FetchError {
        tracing::info!(%peer, %error, "a peer is given up");
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, at| at.elapsed() < providers::REMEMBER);
        // Peers that do not answer are many only where somebody makes them up.
        if failures.len() < providers::MAX_FAILURES {
            failures.insert(peer, Instant::now());
        }
        FetchError::Failed { peer, error }
    }
}

/// The bytes of `range` that `piece` has.
fn part(piece: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |offset| {
        usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(piece.len())
    };
    piece.slice(at(range.start)..at(range.end))
}
