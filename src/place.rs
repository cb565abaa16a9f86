//! Where a content is kept: what an index gives out, and blobs are kept under.

use crate::hash::BlobHash;

/// A place for one content. Only an index makes places, and only the blobs' backend that it stands
/// beside knows where they are: nobody else may think that a content has the same one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place([u8; 32]);

impl Place {
    /// The place that is named for its content: there is one for each, and what is kept there anew
    /// replaces what was there.
    pub const fn of(hash: &BlobHash) -> Self {
        Self(*hash.as_bytes())
    }

    /// The content that such a place is named for.
    pub const fn content(self) -> BlobHash {
        BlobHash::from_bytes(self.0)
    }

    /// The place with a number of its own, which is given out once.
    pub fn numbered(number: u128) -> Self {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }
}
