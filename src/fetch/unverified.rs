//! Files of peers that know no hashes: passed through as they come.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::timeout;

use super::{FetchError, Fetcher, PeerError, Pieces, part};
use crate::base_url::BaseUrl;
use crate::peer::client::ClientError;
use crate::peer::directory::NetworkFile;
use crate::peer::reply::Reply;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// A file whose bytes nobody can check. Its length is what the peer told, and holds: a
/// longer or shorter answer is an error.
#[derive(Clone)]
pub struct UnverifiedContent {
    fetcher: Arc<Fetcher>,
    peer: PeerId,
    address: BaseUrl,
    file: FileId,
    size: u64,
}

impl UnverifiedContent {
    /// A file that `peer` told of. Asks nothing yet. None where the peer is not known.
    pub fn new(fetcher: Arc<Fetcher>, peer: PeerId, file: &NetworkFile) -> Option<Self> {
        let address = fetcher.network.registry.get(peer)?.address().clone();
        Some(Self {
            fetcher,
            peer,
            address,
            file: file.id,
            size: file.size,
        })
    }

    /// The length of the content, in bytes, as the peer told.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of `range`, which must lie within the size.
    pub fn read(&self, range: Range<u64>) -> Pieces {
        let content = self.clone();
        let reading = async move {
            match content.ask(&range).await {
                Ok((response, offset)) => Ok(Reading {
                    content,
                    response,
                    offset,
                    ahead: range,
                }),
                Err(error) => Err(content.gave_up(error)),
            }
        };
        let pieces = |reading| {
            stream::try_unfold(reading, |mut reading: Reading| async move {
                match reading.next().await {
                    Ok(piece) => Ok(piece.map(|piece| (piece, reading))),
                    Err(error) => Err(reading.content.gave_up(error)),
                }
            })
        };
        stream::once(reading)
            .map(move |it| it.map(pieces))
            .try_flatten()
            .boxed()
    }

    fn gave_up(&self, error: PeerError) -> FetchError {
        self.fetcher.gave_up(self.peer, error)
    }

    /// An answer that holds `range`, and where in the file it begins: a peer need not know
    /// ranges.
    async fn ask(&self, range: &Range<u64>) -> Result<(Reply, u64), PeerError> {
        let path = format!("/api/p2p/file/{}", self.file);
        let client = &self.fetcher.network.client;
        let mut request = client.request(Method::GET, &self.address, &path)?;
        let part = *range != (0..self.size);
        if part {
            let last = range.end.saturating_sub(1);
            request = request.header(RANGE, format!("bytes={}-{last}", range.start));
        }
        let response = timeout(self.fetcher.options.stall, client.send(request)).await;
        let response = response.map_err(|_| PeerError::Stalled)??;
        let sent = match response.status() {
            StatusCode::PARTIAL_CONTENT if part => self.sent_part(&response, range)?,
            StatusCode::OK => 0..self.size,
            status => return Err(ClientError::status(status).into()),
        };
        // With a length of its own, HTTP sees to it that no byte is missing.
        if response.content_length() != Some(sent.end - sent.start) {
            return Err(PeerError::Length);
        }
        Ok((response, sent.start))
    }

    /// The part of the file that an answer has, which must be the one asked for.
    fn sent_part(&self, response: &Reply, asked: &Range<u64>) -> Result<Range<u64>, PeerError> {
        let last = asked.end.saturating_sub(1);
        let expected = format!("bytes {}-{last}/{}", asked.start, self.size);
        let sent = response.headers().get(CONTENT_RANGE);
        let same = sent.is_some_and(|sent| sent.as_bytes() == expected.as_bytes());
        same.then(|| asked.clone()).ok_or(PeerError::OtherPart)
    }
}

/// An answer on its way.
struct Reading {
    content: UnverifiedContent,
    response: Reply,
    /// Where in the file what comes next begins.
    offset: u64,
    /// What is still to come.
    ahead: Range<u64>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        while !self.ahead.is_empty() {
            let piece = self.receive().await?.ok_or(PeerError::Length)?;
            let begin = self.offset;
            self.offset += piece.len() as u64;
            let wanted = self.ahead.start.saturating_sub(begin)..self.ahead.end - begin;
            let piece = part(&piece, &wanted);
            if !piece.is_empty() {
                self.ahead.start += piece.len() as u64;
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, PeerError> {
        let stall = self.content.fetcher.options.stall;
        let piece = timeout(stall, self.response.chunk()).await;
        let piece = piece.map_err(|_| PeerError::Stalled)?;
        Ok(piece.map_err(ClientError::from)?)
    }
}
