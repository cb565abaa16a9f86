//! What peers tell of files, and how much of it is kept.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};

/// The most peers that are shown for one file.
pub(super) const MAX_SHOWN: usize = 256;

/// What a peer tells of a file. Two peers that tell of one id and one hash tell of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFile {
    /// The file's id, which the peer that took the upload chose.
    #[serde(rename = "file_id")]
    pub id: FileId,
    /// The file's name.
    #[serde(rename = "original_name")]
    pub name: String,
    /// The length of the content, in bytes.
    pub size: u64,
    /// The hash of the content; None from peers that have no hashes.
    #[serde(default)]
    pub hash: Option<BlobHash>,
    /// The content type, if the peer told one.
    #[serde(default)]
    pub content_type: Option<String>,
    /// When it was uploaded, as the peer wrote it.
    #[serde(default)]
    pub uploaded_at: String,
}

/// Where a file stands in the order of the directory.
pub type FileKey = (FileId, Option<BlobHash>);

/// A file and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What one of the peers told of it.
    pub file: NetworkFile,
    /// The peers that told of it, and those that told of the same content.
    pub peers: BTreeSet<PeerId>,
}

impl Held {
    /// About how long it is in memory, with all texts and peers, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let Self { file, peers } = self;
        let content_type = file.content_type.as_ref().map_or(0, String::len);
        let texts = file.name.len() + content_type + file.uploaded_at.len();
        size_of::<Self>() + texts + 2 * size_of::<PeerId>() * peers.len()
    }

    /// About how long it is where people are told of it, in bytes, if nothing in its texts has to
    /// be escaped.
    pub(crate) fn answer_bytes(&self) -> usize {
        /// The names of all values, and those whose length never differs.
        const FIXED: usize = 384;
        /// A peer that answers is named twice.
        const PEER: usize = 2 * 39;
        let content_type = self.file.content_type.as_ref().map_or(0, String::len);
        FIXED + self.file.name.len() + content_type + PEER * self.peers.len()
    }
}

/// A peer that claims to hold a content, and the id it has it under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Provider {
    /// The peer.
    pub peer: PeerId,
    /// The id of the file there.
    pub file: FileId,
}

/// A directory that takes no more from a peer, unless it is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the directory has no room left for this file")]
pub struct NoRoom;

/// How much memory a directory takes, in bytes. What a file takes is counted from above, so
/// that the process does not grow by more.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most for one peer.
    pub max_peer_bytes: usize,
    /// The most for all.
    pub max_bytes: usize,
}

impl Options {
    /// So much for all, of which one peer may take three quarters.
    pub fn of(max_bytes: usize) -> Self {
        Self {
            max_peer_bytes: max_bytes / 4 * 3,
            max_bytes,
        }
    }
}

impl Default for Options {
    /// A million files of one peer fit, and those of others.
    fn default() -> Self {
        Self::of(256 << 20)
    }
}

impl From<FileRecord> for NetworkFile {
    /// A file as the node that holds it tells of it.
    fn from(record: FileRecord) -> Self {
        let FileRecord {
            id,
            uploaded_at,
            file,
        } = record;
        Self {
            id,
            hash: Some(file.hash),
            name: file.name,
            size: file.size,
            content_type: file.content_type,
            uploaded_at: uploaded_at.to_string(),
        }
    }
}

impl NetworkFile {
    /// Where it stands.
    pub fn key(&self) -> FileKey {
        (self.id, self.hash)
    }
}
