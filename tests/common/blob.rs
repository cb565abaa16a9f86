//! A blob with its outboard, as a node has both on its disk.

use std::io::{self, ErrorKind};
use std::ops::Range;

use larder::hash::BlobHash;
use larder::outboard::{Encoder, Source, Tree, TreeHasher};

/// A blob with its outboard, in memory.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) content: Vec<u8>,
    pub(crate) outboard: Vec<u8>,
    pub(crate) hash: BlobHash,
}

impl Source for Blob {
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
    buffer.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
    Ok(())
}

impl Blob {
    /// The blob with this content, hashed in pieces of these lengths, over and over.
    pub(crate) fn new(content: Vec<u8>, pieces: &[usize]) -> Self {
        let mut hasher = TreeHasher::new();
        let (mut outboard, mut rest) = (Vec::new(), &content[..]);
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at(rest.len().min(*piece));
            hasher.update(piece, &mut outboard);
            rest = behind;
        }
        let hash = hasher.finish(&mut outboard);
        Self {
            content,
            outboard,
            hash,
        }
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::new(self.content.len() as u64)
    }

    /// The answer to a range, made in pieces of about `target` bytes.
    pub(crate) fn answer(&self, range: &Range<u64>, target: usize) -> Vec<u8> {
        let mut encoder = Encoder::new(self.hash, self.tree(), range);
        let mut answer = Vec::new();
        loop {
            let mut piece = Vec::new();
            encoder.read_on(self, &mut piece, target).unwrap();
            answer.extend_from_slice(&piece);
            if piece.len() < target {
                return answer;
            }
        }
    }
}
