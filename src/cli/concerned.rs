//! Of which files a content is that is not whole, in words.

use std::fmt::Display;

use crate::hash::BlobHash;

/// A file whose content was told before.
pub(super) fn not_whole(id: &dyn Display, name: &str, hash: &BlobHash) -> String {
    format!("file {id} ({name}): its content {hash} is not whole")
}
