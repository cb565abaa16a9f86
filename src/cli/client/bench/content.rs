//! Contents that nobody has yet, made as they are sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use blake3::{Hasher, OutputReader};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::hash::BlobHash;

/// How much is made at once, in bytes.
const PIECE: u64 = 64 << 10;

/// The body of a request: a content, perhaps with what a form has around it.
#[derive(Default)]
pub(super) struct Content {
    head: Bytes,
    made: Option<Making>,
    tail: Bytes,
}

struct Making {
    bytes: OutputReader,
    left: u64,
    hasher: Hasher,
    hash: Arc<OnceLock<BlobHash>>,
}

/// What a content's hash is, once all of it was made.
pub(super) type Hash = Arc<OnceLock<BlobHash>>;

impl Content {
    /// The content of a run that has this number, of so many bytes.
    pub(super) fn new(run: &[u8; 16], number: u64, size: u64) -> (Self, Hash) {
        let mut seed = Hasher::new();
        seed.update(run).update(&number.to_le_bytes());
        let hash = Hash::default();
        let made = Making {
            bytes: seed.finalize_xof(),
            left: size,
            hasher: Hasher::new(),
            hash: Arc::clone(&hash),
        };
        // Nobody asks for the bytes of a body that has none.
        made.end();
        let content = Self {
            made: Some(made),
            ..Self::default()
        };
        (content, hash)
    }

    /// The same as part of a form.
    pub(super) fn between(self, head: Bytes, tail: Bytes) -> Self {
        Self { head, tail, ..self }
    }

    fn next(&mut self) -> Option<Bytes> {
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head));
        }
        if let Some(making) = &mut self.made {
            if let Some(piece) = making.next() {
                return Some(piece);
            }
            self.made = None;
        }
        let tail = std::mem::take(&mut self.tail);
        (!tail.is_empty()).then_some(tail)
    }
}

impl Making {
    fn next(&mut self) -> Option<Bytes> {
        let size = self.left.min(PIECE);
        let mut piece = vec![0; usize::try_from(size).unwrap_or(0)];
        self.bytes.fill(&mut piece);
        self.hasher.update(&piece);
        self.left -= size;
        self.end();
        (size > 0).then(|| piece.into())
    }

    fn end(&self) {
        if self.left == 0 {
            self.hash.get_or_init(|| self.hasher.finalize().into());
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().next().map(|it| Ok(Frame::data(it))))
    }

    fn is_end_stream(&self) -> bool {
        self.made.is_none() && self.head.is_empty() && self.tail.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let around = self.head.len() + self.tail.len();
        let made = self.made.as_ref().map_or(0, |it| it.left);
        SizeHint::with_exact(around as u64 + made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut content: Content) -> Vec<u8> {
        let wanted = content.size_hint().exact().unwrap();
        let all = std::iter::from_fn(|| content.next())
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(all.len() as u64, wanted);
        assert!(content.is_end_stream());
        all
    }

    #[test]
    fn the_hash_is_that_of_the_content_alone() {
        for size in [0, 1, PIECE, PIECE + 1] {
            let (content, hash) = Content::new(&[7; 16], 1, size);
            let form = content.between(Bytes::from_static(b"head"), Bytes::from_static(b"tail"));
            let all = all(form);
            let content = &all[4..all.len() - 4];
            assert_eq!(hash.get(), Some(&BlobHash::of(content)), "{size}");
        }
    }

    #[test]
    fn no_two_contents_are_alike() {
        let bytes = |run, number| all(Content::new(&[run; 16], number, 4096).0);
        assert_ne!(bytes(1, 1), bytes(1, 2));
        assert_ne!(bytes(1, 1), bytes(2, 1));
        assert_eq!(bytes(1, 1), bytes(1, 1));
    }
}
