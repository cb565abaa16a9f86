//! `multipart/byteranges` (RFC 9110, section 14.6): several parts of one content.

use std::ops::Range;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use uuid::Uuid;

use super::content::{Content, Pieces};
use super::error::ApiError;

/// A body of several ranges.
pub(crate) struct ByteRanges {
    content: Content,
    /// Each range with the head of its part.
    parts: Vec<(Bytes, Range<u64>)>,
    closing: Bytes,
    boundary: String,
}

impl ByteRanges {
    /// The `ranges` of a content, each part with the content type of the whole.
    pub(crate) fn new(content: Content, ranges: Vec<Range<u64>>, content_type: &[u8]) -> Self {
        // Random, so that nobody can upload content that holds it.
        let boundary = Uuid::new_v4().simple().to_string();
        let size = content.size();
        let with_head = |range: Range<u64>| {
            let content_range = content_range(&range, size);
            let begin = format!("\r\n--{boundary}\r\nContent-Type: ");
            let end = format!("\r\nContent-Range: {content_range}\r\n\r\n");
            let head = [begin.as_bytes(), content_type, end.as_bytes()].concat();
            (Bytes::from(head), range)
        };
        Self {
            parts: ranges.into_iter().map(with_head).collect(),
            closing: format!("\r\n--{boundary}--\r\n").into(),
            content,
            boundary,
        }
    }

    /// The content type of the whole body.
    pub(crate) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// The exact length of the body, in bytes.
    pub(crate) fn length(&self) -> u64 {
        let part =
            |(head, range): &(Bytes, Range<u64>)| head.len() as u64 + range.end - range.start;
        self.parts.iter().map(part).sum::<u64>() + self.closing.len() as u64
    }

    /// The body, once the first bytes of the first range are there.
    pub(crate) async fn into_body(self) -> Result<Body, ApiError> {
        let Self {
            content,
            parts,
            closing,
            ..
        } = self;
        let mut parts = parts.into_iter();
        let first = match parts.next() {
            Some((head, range)) => piece(head).chain(content.begin(range).await?).boxed(),
            None => stream::empty().boxed(),
        };
        let rest = stream::iter(parts)
            .flat_map(move |(head, range)| piece(head).chain(content.read(range)));
        Ok(Body::from_stream(first.chain(rest).chain(piece(closing))))
    }
}

fn piece(bytes: Bytes) -> Pieces {
    stream::iter([Ok(bytes)]).boxed()
}

/// The value of `Content-Range` for a part of `size` bytes that is not empty.
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> String {
    format!(
        "bytes {}-{}/{size}",
        range.start,
        range.end.saturating_sub(1)
    )
}
