//! Why no member is at the other end of a connection.

use std::io;

use rustls::{AlertDescription, Error as TlsError};

use super::Refusal;

/// Why no member is at the other end.
#[derive(Debug, thiserror::Error)]
pub enum NoMember {
    /// The connection fails, or something else is said there.
    #[error("the connection of members fails: {0}")]
    Io(#[from] io::Error),
    /// What the other side shows makes it no member.
    #[error("the certificate of the other is not taken: {0}")]
    Other(Refusal),
    /// The other side does not take this node for a member.
    #[error("the other does not take this node's certificate ({0})")]
    Own(String),
}

impl NoMember {
    /// Whether the other side has said that this node was revoked.
    pub(super) fn is_of_revoked(&self) -> bool {
        match self {
            Self::Own(code) => code == Refusal::Revoked.code(),
            Self::Io(error) => {
                let error = error.get_ref().and_then(|it| it.downcast_ref());
                let revoked = TlsError::AlertReceived(AlertDescription::CertificateRevoked);
                error == Some(&revoked)
            }
            Self::Other(_) => false,
        }
    }
}
