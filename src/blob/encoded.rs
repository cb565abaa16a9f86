//! The answer to a range of content in memory: its outboard is made when it is needed.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{BlobError, ByteStream};
use crate::hash::BlobHash;
use crate::outboard::{EncodeError, Encoder, Source, Tree, TreeHasher};

/// The shortest piece handed out but for the last one, in bytes.
const PIECE: usize = 256 * 1024;

/// A blob in memory.
struct InMemory {
    content: Bytes,
    outboard: Vec<u8>,
}

/// The answer to `range` of the blob with this hash and content.
pub(super) fn encoded(hash: BlobHash, content: Bytes, range: Range<u64>) -> ByteStream {
    // Nothing is hashed before the first piece is asked for: a HEAD asks for none.
    let begun = stream::once(async move {
        let blob = InMemory::new(hash, content)?;
        let pieces = blob.encoded(hash, &range);
        let pieces = pieces.map_err(|error| BlobError::damaged(hash, &error))?;
        Ok::<_, BlobError>(stream::iter(pieces.into_iter().map(Ok)))
    });
    begun.try_flatten().boxed()
}

impl InMemory {
    fn new(hash: BlobHash, content: Bytes) -> Result<Self, BlobError> {
        let (mut hasher, mut outboard) = (TreeHasher::new(), Vec::new());
        hasher.update(&content, &mut outboard);
        if hasher.finish(&mut outboard) != hash {
            return Err(BlobError::other_hash(hash));
        }
        Ok(Self { content, outboard })
    }

    fn encoded(&self, hash: BlobHash, range: &Range<u64>) -> Result<Vec<Bytes>, EncodeError> {
        let tree = Tree::new(self.content.len() as u64);
        let mut encoder = Encoder::new(hash, tree, range);
        let mut pieces = Vec::new();
        loop {
            let mut piece = Vec::new();
            encoder.read_on(self, &mut piece, PIECE)?;
            if piece.is_empty() {
                return Ok(pieces);
            }
            pieces.push(piece.into());
        }
    }
}

impl Source for InMemory {
    fn read_blob(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        read_at(&self.content, buffer, offset)
    }

    fn read_outboard(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        read_at(&self.outboard, buffer, offset)
    }
}

fn read_at(from: &[u8], buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let from = usize::try_from(offset).ok().and_then(|at| from.get(at..));
    let from = from.and_then(|from| from.get(..buffer.len()));
    buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}
