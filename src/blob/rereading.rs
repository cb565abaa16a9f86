//! Reading again what is stored, from its medium: what nobody asks for rots unseen otherwise.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BlobError, OpenBlob};
use crate::hash::BlobHash;
use crate::health::Health;
use crate::outboard::PlacedPair;
use crate::place::Place;
use crate::unavailable::Unavailable;

/// Where in all that is stored somebody is who reads it from one end to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The place of the first content that is still to be read; one where nothing is stands for
    /// what follows. It is called as it was when places were named for contents alone.
    #[serde(rename = "hash")]
    pub place: Place,
    /// How much of it was read, in bytes.
    pub offset: u64,
}

impl Position {
    /// Before everything.
    pub const START: Self = Self {
        place: Place::from_bytes([0; 32]),
        offset: 0,
    };
}

/// A medium that keeps blobs.
#[async_trait]
pub trait Medium: Send + Sync {
    /// Everything that it keeps behind `from`, and perhaps some of what is before it, in the order
    /// of places.
    fn in_order_from(&self, from: Position) -> Box<dyn InOrder>;

    /// Whether that is what files need, so that what is missing shows by it, and not what is there.
    fn has_what_is_needed(&self) -> bool {
        false
    }

    /// At most `limit` of its contents that are known not to be whole, in order, from the first
    /// behind `after`.
    async fn not_whole(
        &self,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Result<Vec<(BlobHash, Health)>, Unavailable>;

    /// What is wrong with files of its own that are no contents. What is written meanwhile may be
    /// seen in its midst, so only what shows twice counts. Blocks.
    fn problems(&self) -> Result<Vec<(PathBuf, String)>, BlobError> {
        Ok(Vec::new())
    }

    /// What it has of content of `size` bytes that is not whole; None where nothing of that can be
    /// told from what is wrong.
    async fn salvage(&self, hash: BlobHash, size: u64) -> Option<Box<dyn Salvage>>;

    /// Opens long content that may be known to be damaged: what is not right of it is an error when
    /// it is read. None where there is nothing that could be read.
    async fn open_in_part(&self, hash: BlobHash) -> Option<Arc<dyn OpenBlob>>;
}

/// Content of which something may still be right.
#[async_trait]
pub trait Salvage: Send + Sync {
    /// What is proven to be right of these bytes, which begin with a multiple of
    /// [`PIECE_BYTES`](crate::outboard::PIECE_BYTES) and end with one or with the content: whole
    /// chunk groups, each with where it begins or begins with others.
    async fn read(&self, range: Range<u64>) -> Result<Vec<(u64, Bytes)>, BlobError>;

    /// A byte, from the first chunk group on that holds `from`, for which nothing here proves what
    /// is right: with the pairs that prove the group there, [`Salvage::prove_by`] tells more. None
    /// behind the last one, and where that is known of all.
    async fn unproven(&self, from: u64) -> Result<Option<u64>, BlobError>;

    /// Takes pairs that are proven: what they prove is told from now on.
    async fn prove_by(&self, pairs: Vec<PlacedPair>) -> Result<(), BlobError>;
}

/// What a medium keeps, from one end to the other.
#[async_trait]
pub trait InOrder: Send + Sync {
    /// What follows; None at the end. Of what is short about `most` bytes are read.
    async fn next(&mut self, most: u64) -> Result<Option<Next>, BlobError>;

    /// Where to go on in order to miss nothing of what was not given out yet.
    fn position(&self) -> Place;
}

/// What follows of what a medium keeps.
#[derive(Debug)]
pub enum Next {
    /// Short contents, which were read.
    Short {
        /// How many of them have their hashes.
        whole: u64,
        /// How long those are together, in bytes.
        bytes: u64,
        /// Those that have not, or could not be read.
        doubtful: Vec<BlobHash>,
    },
    /// Content to be opened.
    Long(BlobHash),
}

/// One blob that is read from its medium.
#[async_trait]
pub trait Rereading: Send + Sync {
    /// Reads about `most` bytes more, proves them, and tells how many those were; 0 once all of it
    /// is whole. Damage that it meets is remembered.
    async fn next(&mut self, most: u64) -> Result<u64, BlobError>;

    /// From which byte on another one can go on.
    fn position(&self) -> u64;
}
