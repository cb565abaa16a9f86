//! Files as the node lists them.

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::output::{field, plain, size};
use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// A file as the node tells of it, with the keys that it uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct File {
    #[serde(rename = "file_id")]
    pub(super) id: String,
    pub(super) original_name: String,
    pub(super) size: u64,
    pub(super) hash: Option<String>,
    pub(super) uploaded_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    /// What was said of it; told by the list of the node's own files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    /// Who holds it, in lists of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) peers: Vec<String>,
    /// Those of them that can remove it; older nodes do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owners: Option<Vec<String>>,
    /// Those of them that answer now; older nodes do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reachable_peers: Option<Vec<String>>,
    /// Whether one of them does; told by lists of the network, as the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reachable: Option<bool>,
    /// Whether what the node itself stores of it is known to be damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) damaged: Option<bool>,
    /// Whether the node has the file itself, and not only its content; told by lists of the
    /// network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) own: Option<bool>,
}

/// Which list of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// What the node itself holds.
    Here,
    /// What everybody holds.
    Network,
}

impl Where {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Here => "/api/p2p/files",
            Self::Network => "/api/p2p/network",
        }
    }
}

impl File {
    /// Its hash, where it has one.
    pub(super) fn hash(&self) -> Option<BlobHash> {
        self.hash.as_deref()?.parse().ok()
    }

    /// Whether the node whose list it is from has it itself and calls it so.
    pub(super) fn is_own(&self) -> bool {
        self.own == Some(true)
    }

    /// Whether these digits are the beginning of its id.
    pub(super) fn has_id_that_begins(&self, digits: &str) -> bool {
        let digits = digits.to_ascii_lowercase();
        self.id.starts_with(&digits) || self.id.replace('-', "").starts_with(&digits)
    }

    /// Whether its id or its hash begins with these digits, given in lower case.
    pub(super) fn begins(&self, digits: &str) -> bool {
        let hash = self.hash.as_deref().unwrap_or_default();
        hash.starts_with(digits) || self.has_id_that_begins(digits)
    }

    /// Fails unless its ids and its hash are such: they become parts of paths.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let is_hash = |it: &String| it.parse::<BlobHash>().is_ok();
        let is_id = |it: &String| it.parse::<PeerId>().is_ok();
        let has_id =
            self.id.parse::<FileId>().is_ok() || (self.id.is_empty() && self.hash.is_some());
        if has_id && self.hash.iter().all(is_hash) && self.peers.iter().all(is_id) {
            return Ok(());
        }
        Err(Failure::Nonsense("an id or a hash is none"))
    }

    /// When it was uploaded, for people: as the node says it, which is UTC where a larder has said
    /// it; those tell hashes, and the older service tells the time of its own machine.
    pub(super) fn uploaded(&self) -> String {
        match &self.hash {
            Some(_) => utc(&self.uploaded_at),
            None => field(&self.uploaded_at),
        }
    }

    /// What tells it from others of its name.
    pub(super) fn line(&self) -> String {
        let (id, name) = (field(&self.id), plain(&self.original_name));
        let at = self.uploaded();
        let line = format!("{id}  {}  {at}  {name}", size(self.size));
        match self.description.as_deref().map(plain) {
            Some(about) if !about.is_empty() => format!("{line}  ({about})"),
            _ => line,
        }
    }
}

/// A time that is UTC, which a node does not say beside it, for people.
pub(super) fn utc(text: &str) -> String {
    let is_bare = text.contains('T') && text.bytes().all(|it| b"0123456789-T:.".contains(&it));
    if is_bare {
        field(&format!("{text}Z"))
    } else {
        field(text)
    }
}
