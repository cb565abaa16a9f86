//! Content that was spooled whole.

use super::file::SpoolFile;
use crate::hash::BlobHash;

/// Content received whole and hashed, not yet a blob. Dropping it removes it.
pub(crate) struct SpooledBlob {
    pub(crate) hash: BlobHash,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) content: Content,
}

/// Where spooled content is.
pub(crate) enum Content {
    /// In memory, at most [`MEMORY_LIMIT`](super::MEMORY_LIMIT) bytes.
    Memory(Vec<u8>),
    /// In a file, with its outboard in another one; written but not synced.
    File {
        /// The content.
        blob: SpoolFile,
        /// Its outboard.
        outboard: SpoolFile,
    },
}
