//! Why content cannot be fetched.

use crate::outboard::VerifyError;
use crate::peer::client::ClientError;
use crate::peer_id::PeerId;

/// Nobody could serve the content.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Every peer that should have it was asked in vain.
    #[error("no peer could serve the content; the last one asked was {peer}")]
    Failed {
        /// The peer that was asked last.
        peer: PeerId,
        /// Why that one could not.
        #[source]
        error: PeerError,
    },
    /// All peers that had it have taken it back.
    #[error("no peer holds the content any longer")]
    Gone,
}

/// Why a peer could not serve a content.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It cannot be asked, refuses, or breaks off.
    #[error("it gives no answer")]
    Client(#[from] ClientError),
    /// It does not go on.
    #[error("it went silent")]
    Stalled,
    /// What it sends is not the content.
    #[error("it sends other content than the one asked for")]
    Wrong(#[from] VerifyError),
    /// The answer is not as long as the peer itself had told, or does not say.
    #[error("its answer does not have the length that it told")]
    Length,
    /// It sends a part that was not asked for.
    #[error("it sends another part than the one asked for")]
    OtherPart,
}

impl FetchError {
    /// Whether the last peer was too slow, rather than wrong.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Failed { error, .. } => match error {
                PeerError::Stalled => true,
                PeerError::Client(ClientError::Http(error)) => error.is_timeout(),
                _ => false,
            },
            Self::Gone => false,
        }
    }
}
