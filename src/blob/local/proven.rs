//! Which pieces of which files were proven lately, so that many who read one file at the
//! same time prove it once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::identity::Identity;
use crate::hash::BlobHash;
use crate::outboard::PIECE_BYTES;

/// How much memory this may take, in bytes.
const CAPACITY: u64 = 1 << 20;
/// What a file takes beside its bits, in bytes.
const FILE_BYTES: u64 = 256;
/// How long what was proven of a file need not be proven again.
const LASTS: Duration = Duration::from_mins(1);

/// What was proven lately: a bit for each piece, in at most [`CAPACITY`] bytes.
pub(super) struct Proven {
    files: Cache<BlobHash, Arc<ProvenFile>, Weight>,
}

struct ProvenFile {
    identity: Identity,
    since: Instant,
    /// A bit for each piece.
    pieces: Vec<AtomicU64>,
}

/// Measures memory, in bytes.
#[derive(Clone)]
struct Weight;

impl Weighter<BlobHash, Arc<ProvenFile>> for Weight {
    fn weight(&self, _: &BlobHash, file: &Arc<ProvenFile>) -> u64 {
        FILE_BYTES + 8 * file.pieces.len() as u64
    }
}

impl Proven {
    /// Nothing was proven yet.
    pub(super) fn new() -> Self {
        let usual = usize::try_from(CAPACITY / FILE_BYTES).unwrap_or_default();
        Self {
            files: Cache::with_weighter(usual, CAPACITY, Weight),
        }
    }

    /// Whether the piece that begins at `offset` was proven, of this very file.
    pub(super) fn holds(&self, hash: &BlobHash, identity: Identity, offset: u64) -> bool {
        let (word, bit) = place(offset);
        self.get(hash, identity)
            .and_then(|file| Some(file.pieces.get(word)?.load(Ordering::Relaxed) & bit != 0))
            .unwrap_or(false)
    }

    /// Notes that the piece that begins at `offset` was proven, of the file that was this
    /// one before its bytes were read. One that has changed just now is not noted: the next
    /// change might not show.
    pub(super) fn note(&self, hash: BlobHash, identity: Identity, offset: u64) {
        if !identity.is_settled() {
            return;
        }
        let file = self.get(&hash, identity).unwrap_or_else(|| {
            let file = Arc::new(ProvenFile::new(identity));
            self.files.insert(hash, Arc::clone(&file));
            file
        });
        let (word, bit) = place(offset);
        if let Some(word) = file.pieces.get(word) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    fn get(&self, hash: &BlobHash, identity: Identity) -> Option<Arc<ProvenFile>> {
        let file = self.files.get(hash)?;
        (file.identity == identity && file.since.elapsed() < LASTS).then_some(file)
    }
}

impl ProvenFile {
    fn new(identity: Identity) -> Self {
        let words = identity.size.div_ceil(PIECE_BYTES).div_ceil(64);
        Self {
            identity,
            since: Instant::now(),
            pieces: (0..words).map(|_| AtomicU64::default()).collect(),
        }
    }
}

/// In which word the bit of a piece is, and which.
fn place(offset: u64) -> (usize, u64) {
    let piece = offset / PIECE_BYTES;
    let word = usize::try_from(piece / 64).unwrap_or(usize::MAX);
    (word, 1 << (piece % 64))
}
