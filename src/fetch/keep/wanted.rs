//! What is to be kept, in memory and as it is written down.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash::BlobHash;
use crate::name_form;
use crate::peer::directory::NetworkFile;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// A file that this node shall have a copy of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// A peer that holds it, and the only one that is asked where there is no hash.
    #[serde(rename = "peer_id")]
    pub peer: PeerId,
    /// What that peer told of it.
    #[serde(flatten)]
    pub file: NetworkFile,
    /// Who says how the copy is called.
    #[serde(default = "unsaid")]
    pub naming: Naming,
}

/// Who says how a copy is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// Whoever wants it, by the name or by the peer whose file it is.
    Given,
    /// Those that tell of a file with this id and this content.
    File,
    /// Those that tell of this content: any name will do.
    Content,
}

/// What is kept: a content, or where its hash is unknown a file of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepId {
    /// Content with this hash.
    Content(BlobHash),
    /// The file with this id of a peer that has no hashes.
    File(FileId),
}

/// A text that is neither a hash nor a file id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a copy is a hash or a file id")]
pub struct InvalidKeepId;

impl Wanted {
    /// What is kept.
    pub fn id(&self) -> KeepId {
        match self.file.hash {
            Some(hash) => KeepId::Content(hash),
            None => KeepId::File(self.file.id),
        }
    }

    /// Whether another is wanted under the same name, which comes from the same mouth.
    pub(super) fn is_called_as(&self, other: &Self) -> bool {
        self.naming == other.naming && name_form::is_same(&self.file.name, &other.file.name)
    }

    /// Calls content by its hash, where it is not known how it is called here: whatever others call
    /// it, nothing here has that name.
    pub(super) fn call_by_hash(&mut self) {
        if let Some(hash) = self.file.hash {
            self.file.name = hash.to_string();
        }
    }
}

/// Whether something is to get one more name, beside those that it is wanted by.
pub(super) fn is_new_name<'a>(
    mut names: impl Iterator<Item = &'a Wanted>,
    wanted: &Wanted,
) -> bool {
    wanted.naming != Naming::Content && !names.any(|it| it.is_called_as(wanted))
}

impl fmt::Display for KeepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(hash) => hash.fmt(f),
            Self::File(id) => id.fmt(f),
        }
    }
}

impl FromStr for KeepId {
    type Err = InvalidKeepId;

    fn from_str(text: &str) -> Result<Self, InvalidKeepId> {
        let content = text.parse().map(Self::Content);
        content
            .or_else(|_| text.parse().map(Self::File))
            .map_err(|_| InvalidKeepId)
    }
}

/// What older nodes have not written down.
fn unsaid() -> Naming {
    Naming::Content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_again() {
        for hash in [None, Some(BlobHash::of(b"content"))] {
            let wanted = Wanted {
                peer: PeerId::of_public_key(&[1; 32]),
                naming: Naming::Given,
                file: NetworkFile {
                    id: FileId::from_bytes([2; 16]),
                    hash,
                    name: "a \"name\"\n".to_owned(),
                    size: u64::MAX,
                    content_type: Some("text/plain".to_owned()),
                    uploaded_at: "2026-01-21T10:00:00".to_owned(),
                },
            };
            let text = serde_json::to_string(&wanted).unwrap();
            assert_eq!(serde_json::from_str::<Wanted>(&text).unwrap(), wanted);
            assert_eq!(wanted.id().to_string().parse(), Ok(wanted.id()));
        }
        assert_eq!("neither".parse::<KeepId>(), Err(InvalidKeepId));
    }
}
