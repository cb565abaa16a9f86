//! The answer of another node on its way, which ends where a member that sends it is one no longer.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::Response;
use reqwest::tls::TlsInfo;

use super::membership::Channel;

/// Why the rest of an answer does not come.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// It fails on its way.
    #[error("the answer breaks off")]
    Http(#[from] reqwest::Error),
    /// Whoever sends it is a member of the network no longer.
    #[error("it is a member of the network no longer")]
    Ended,
}

/// An answer whose head is here.
pub struct Reply {
    response: Response,
    /// Ready once whoever sends it is a member no longer; None where no members talk.
    ended: Option<BoxFuture<'static, ()>>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.response, f)
    }
}

impl Reply {
    /// What has come over a connection of this channel, if over one of members.
    pub(super) fn of(response: Response, members: Option<&Channel>) -> Self {
        let ended = members.and_then(|channel| {
            let shown = response.extensions().get::<TlsInfo>();
            Some(channel.ended(shown?.peer_certificate()?)?.boxed())
        });
        Self { response, ended }
    }

    /// The next bytes of its body; None behind the last ones. Nothing is lost where the caller
    /// stops waiting.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Cut> {
        let Some(ended) = &mut self.ended else {
            return Ok(self.response.chunk().await?);
        };
        tokio::select! {
            biased;
            () = ended => Err(Cut::Ended),
            piece = self.response.chunk() => Ok(piece?),
        }
    }
}

impl Deref for Reply {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}
