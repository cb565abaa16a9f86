//! Contents of packs that were read lately, in memory.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::hash::BlobHash;
use crate::place::Place;

/// How many contents are remembered, usually.
const USUAL: usize = 8_000;

/// Contents that were proven, by where they are.
pub(super) type Remembered = Cache<Place, Proven, Weight>;

/// A content that has this hash.
#[derive(Clone)]
pub(super) struct Proven {
    pub(super) hash: BlobHash,
    pub(super) bytes: Bytes,
}

/// How much memory one takes.
#[derive(Clone)]
pub(super) struct Weight;

impl Weighter<Place, Proven> for Weight {
    fn weight(&self, _: &Place, proven: &Proven) -> u64 {
        192 + proven.bytes.len() as u64
    }
}

/// Room for so many bytes of contents.
pub(super) fn remembering(bytes: u64) -> Remembered {
    Cache::with_weighter(USUAL, bytes, Weight)
}
