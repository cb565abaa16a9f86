//! What is remembered of an upload across restarts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::concat::Concat;
use super::id::UploadId;
use crate::blob::Proven;
use crate::client_key::ClientKey;
use crate::hash::BlobHash;
use crate::record::FileId;
use crate::store::About;

/// An upload that begins.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// How many bytes it will have; None where the client does not know yet.
    pub length: Option<u64>,
    /// What the client told of it, as it wrote that.
    pub metadata: Option<String>,
    /// What the file will be. An empty name stands for the id of the upload.
    pub about: About,
    /// On how many members of the network the file is to be, where the client has said so.
    pub copies: Option<u8>,
    /// What it is to other uploads; None where it is a file by itself.
    pub concat: Option<Concat>,
}

impl NewUpload {
    /// Which uploads it is made of, where it is a final one.
    pub(super) fn parts(&self) -> Option<BTreeSet<UploadId>> {
        match &self.concat {
            Some(Concat::Final(parts)) => Some(parts.ids.iter().copied().collect()),
            _ => None,
        }
    }
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
pub(super) struct UploadState {
    pub(super) upload: NewUpload,
    /// To whose share it counts; None where that is nobody's.
    pub(super) client: Option<ClientKey>,
    /// How many bytes are known to be durable, and to be what the client sent.
    pub(super) offset: u64,
    /// The hash of those bytes, by which it shows whether they still are what they were; none
    /// in what an older larder wrote.
    pub(super) proof: Option<BlobHash>,
    /// Longer beginnings of what a request is bringing, in order, which may not be durable:
    /// after a crash the longest counts that still has its hash. Nothing else behind `offset`
    /// does, since the length of a file may outlive its bytes. While bytes come whose checksum
    /// has yet to be compared, none are noted.
    pub(super) marks: Vec<Proven>,
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

/// A [`UploadState`] as it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    /// Whose it is, since a file may be copied over another one's; None in what an older larder
    /// wrote.
    #[serde(default)]
    upload: Option<String>,
    /// None where the client has yet to tell it.
    length: Option<u64>,
    metadata: Option<String>,
    name: String,
    content_type: Option<String>,
    description: String,
    offset: u64,
    proof: Option<BlobHash>,
    /// None in what an older larder wrote, which trusted the length of the file.
    #[serde(default)]
    marks: Vec<(u64, BlobHash)>,
    hash: Option<BlobHash>,
    newer_than: Option<FileId>,
    file_id: Option<FileId>,
    /// `Upload-Concat` as it came; None where it did not, and in what an older larder wrote.
    #[serde(default)]
    concat: Option<String>,
    /// None where the client did not say so, and in what an older larder wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copies: Option<u8>,
    /// As [`ClientKey`] is written; empty where it counts to nobody's share. An older larder wrote
    /// none.
    #[serde(default = "forgotten")]
    client: String,
}

fn forgotten() -> String {
    ClientKey::Forgotten.to_string()
}

/// The most beginnings that are noted of one upload, each some 80 bytes of its state file.
const MOST_MARKS: usize = 32;

impl UploadState {
    /// A new upload of a client.
    pub(super) fn new(upload: NewUpload, client: Option<ClientKey>) -> Self {
        Self {
            upload,
            client,
            offset: 0,
            proof: Some(BlobHash::of(b"")),
            marks: Vec::new(),
            ending: None,
            finished: None,
        }
    }

    /// Notes a longer beginning. Of many, those far back become fewer, so that there is one not
    /// far before any byte that has reached the disk.
    pub(super) fn mark(&mut self, beginning: Proven) {
        self.marks.push(beginning);
        if self.marks.len() > MOST_MARKS {
            let mut number = 0;
            self.marks.retain(|_| {
                number += 1;
                number > MOST_MARKS / 2 || number % 2 == 0
            });
        }
    }

    /// What of the content was acknowledged, and can be proven.
    pub(super) fn proven(&self) -> Option<Proven> {
        let len = self.offset;
        self.proof.map(|hash| Proven { len, hash })
    }

    /// The content, where all of it was acknowledged and can be proven.
    pub(super) fn whole(&self) -> Option<Proven> {
        self.proven()
            .filter(|it| Some(it.len) == self.upload.length)
    }

    /// What is written down of the upload with this id.
    pub(super) fn to_bytes(&self, id: UploadId) -> Vec<u8> {
        let About {
            name,
            content_type,
            description,
        } = self.upload.about.clone();
        let written = Written {
            upload: Some(id.to_string()),
            length: self.upload.length,
            metadata: self.upload.metadata.clone(),
            name,
            content_type,
            description,
            offset: self.offset,
            proof: self.proof,
            marks: self.marks.iter().map(|it| (it.len, it.hash)).collect(),
            hash: self.ending.map(|it| it.hash),
            newer_than: self.ending.and_then(|it| it.newer_than),
            file_id: self.finished.map(|it| it.file),
            concat: self.upload.concat.as_ref().map(Concat::to_string),
            copies: self.upload.copies,
            client: self
                .client
                .as_ref()
                .map_or_else(String::new, ClientKey::to_string),
        };
        serde_json::json!(written).to_string().into_bytes()
    }

    /// Whether what was written down is the state of the upload with this id.
    pub(super) fn is_of(id: &str, bytes: &[u8]) -> bool {
        let written = serde_json::from_slice::<Written>(bytes);
        written.is_ok_and(|it| it.upload.is_none_or(|upload| upload == id))
    }

    /// What was written down of this upload; None where it is none, or another's.
    pub(super) fn from_bytes(id: UploadId, bytes: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(bytes).ok()?;
        if written
            .upload
            .is_some_and(|upload| upload != id.to_string())
        {
            return None;
        }
        let (hash, newer_than) = (written.hash, written.newer_than);
        let file = written.file_id;
        let concat = written.concat.map(|it| it.parse()).transpose().ok()?;
        Some(Self {
            upload: NewUpload {
                length: written.length,
                metadata: written.metadata,
                about: About {
                    name: written.name,
                    content_type: written.content_type,
                    description: written.description,
                },
                copies: written.copies,
                concat,
            },
            client: Some(written.client)
                .filter(|it| !it.is_empty())
                .map(|it| ClientKey::remembered(&it)),
            offset: written.offset,
            proof: written.proof,
            marks: {
                let marks = written.marks.into_iter();
                marks.map(|(len, hash)| Proven { len, hash }).collect()
            },
            ending: hash.map(|hash| Ending { hash, newer_than }),
            finished: file.zip(hash).map(|(file, hash)| Finished { file, hash }),
        })
    }
}
