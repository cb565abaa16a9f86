//! What is remembered of an upload across restarts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::blob::spool::Proven;
use crate::hash::BlobHash;
use crate::record::FileId;
use crate::store::About;

/// The id of an upload: 122 random bits, so that nobody guesses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(Uuid);

/// A text that is no upload's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of an upload is 32 hexadecimal digits")]
pub struct InvalidUploadId;

impl UploadId {
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.simple(), f)
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let id = Uuid::try_parse(text).map(Self);
        // Of the ways to write one, only that which was given out names a file.
        id.ok()
            .filter(|id| id.to_string() == text)
            .ok_or(InvalidUploadId)
    }
}

/// An upload that begins.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// How many bytes it will have.
    pub length: u64,
    /// What the client told of it, as it wrote that.
    pub metadata: Option<String>,
    /// What the file will be. An empty name stands for the id of the upload.
    pub about: About,
}

/// The file that an upload has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Its id.
    pub file: FileId,
    /// The hash of its content.
    pub hash: BlobHash,
}

/// What an upload is, and how far.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) upload: NewUpload,
    /// How many bytes are known to be durable, and to be what the client sent.
    pub(super) offset: u64,
    /// The hash of those bytes, by which it shows whether they still are what they were; none
    /// in what an older larder wrote.
    pub(super) proof: Option<BlobHash>,
    /// The boot of the machine in which more may have been appended, all of which counts:
    /// the kernel keeps it whatever happens to the process. After a power cut nobody knows
    /// what is behind `offset`; and while bytes come whose checksum has yet to be compared,
    /// this is None.
    pub(super) growing_in: Option<String>,
    /// Set before the file is made of it, since a crash may come before the next line.
    pub(super) ending: Option<Ending>,
    /// What it has become.
    pub(super) finished: Option<Finished>,
}

/// By what the file is found after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    /// The hash of the content.
    pub(super) hash: BlobHash,
    /// The newest file of this name before; this upload's has a greater id.
    pub(super) newer_than: Option<FileId>,
}

/// A [`State`] as it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    length: u64,
    metadata: Option<String>,
    name: String,
    content_type: Option<String>,
    description: String,
    offset: u64,
    proof: Option<BlobHash>,
    growing_in: Option<String>,
    hash: Option<BlobHash>,
    newer_than: Option<FileId>,
    file_id: Option<FileId>,
}

impl State {
    /// A new upload, in this boot of the machine.
    pub(super) fn new(upload: NewUpload, boot: &str) -> Self {
        Self {
            upload,
            offset: 0,
            proof: Some(BlobHash::of(b"")),
            growing_in: Some(boot.to_owned()),
            ending: None,
            finished: None,
        }
    }

    /// How much counts of a file of `len` bytes, in the boot of the machine `boot`.
    pub(super) fn trusted(&self, len: u64, boot: &str) -> u64 {
        let grows = self.growing_in.as_deref() == Some(boot);
        len.min(if grows {
            self.upload.length
        } else {
            self.offset
        })
    }

    /// What of the content was acknowledged, and can be proven.
    pub(super) fn proven(&self) -> Option<Proven> {
        let len = self.offset;
        self.proof.map(|hash| Proven { len, hash })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let About {
            name,
            content_type,
            description,
        } = self.upload.about.clone();
        let written = Written {
            length: self.upload.length,
            metadata: self.upload.metadata.clone(),
            name,
            content_type,
            description,
            offset: self.offset,
            proof: self.proof,
            growing_in: self.growing_in.clone(),
            hash: self.ending.map(|it| it.hash),
            newer_than: self.ending.and_then(|it| it.newer_than),
            file_id: self.finished.map(|it| it.file),
        };
        serde_json::json!(written).to_string().into_bytes()
    }

    /// What was written down; None where it is none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(bytes).ok()?;
        let (hash, newer_than) = (written.hash, written.newer_than);
        let file = written.file_id;
        Some(Self {
            upload: NewUpload {
                length: written.length,
                metadata: written.metadata,
                about: About {
                    name: written.name,
                    content_type: written.content_type,
                    description: written.description,
                },
            },
            offset: written.offset,
            proof: written.proof,
            growing_in: written.growing_in,
            ending: hash.map(|hash| Ending { hash, newer_than }),
            finished: file.zip(hash).map(|(file, hash)| Finished { file, hash }),
        })
    }
}
