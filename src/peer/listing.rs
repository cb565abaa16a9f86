//! Listings: what a peer holds, as it tells when it is asked.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{ClientError, Json};
use super::compact;
use super::directory::NetworkFile;
use super::elements::Elements;
use super::heard;
use crate::peer_id::PeerId;
use crate::record::{FileId, MAX_CONTENT_TYPE_BYTES, MAX_NAME_BYTES};

/// The longest element of a listing that is looked at, in bytes: a name and a description,
/// in which each byte takes six, and what else there is.
const MAX_FILE_BYTES: usize = 128 << 10;
/// The longest id with its quotes, in bytes.
const MAX_ID_BYTES: usize = 64;
/// The longest time of an upload, in bytes.
const MAX_TIME_BYTES: usize = 64;

/// A page of a peer's listing, in either form.
pub(super) enum ListingPage<'a> {
    Json(Listing<'a>),
    Compact(compact::Page<'a>),
}

impl<'a> ListingPage<'a> {
    /// The page in an answer, if it is that of this peer.
    pub(super) fn of_peer(answer: &'a Json, peer: PeerId) -> Result<Self, ClientError> {
        let (page, is_of) = if compact::Page::is_one(answer.bytes()) {
            let page = compact::Page::read(answer.bytes())?;
            (Self::Compact(page), page.is_of(peer))
        } else {
            let listing: Listing = answer.read()?;
            let is_of = listing.is_of(peer);
            (Self::Json(listing), is_of)
        };
        is_of.then_some(page).ok_or(ClientError::OtherPeer)
    }

    pub(super) fn is_compact(&self) -> bool {
        matches!(self, Self::Compact(_))
    }

    /// As [`Listing::files`].
    pub(super) fn files(&self) -> Box<dyn Iterator<Item = NetworkFile> + Send + '_> {
        match self {
            Self::Json(listing) => Box::new(listing.files()),
            Self::Compact(page) => Box::new(page.files().filter_map(checked)),
        }
    }

    /// As [`Listing::listed_at`].
    pub(super) fn listed_at(&self) -> Option<u64> {
        match self {
            Self::Json(listing) => listing.listed_at(),
            Self::Compact(page) => page.listed_at(),
        }
    }

    /// As [`Listing::version`].
    pub(super) fn version(&self) -> Option<u64> {
        match self {
            Self::Json(listing) => listing.version(),
            Self::Compact(page) => page.version(),
        }
    }

    /// As [`Listing::removed`]; none, too, where the peer does not remember.
    pub(super) fn removed(&self) -> Vec<FileId> {
        match self {
            Self::Json(listing) => listing.removed().unwrap_or_default(),
            Self::Compact(page) => page.removed(),
        }
    }

    /// Whether there are more behind them.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Self::Json(listing) => listing.has_more(),
            Self::Compact(page) => page.next().is_some(),
        }
    }

    /// As [`Listing::next`].
    pub(super) fn next(&self) -> Option<FileId> {
        match self {
            Self::Json(listing) => listing.next(),
            Self::Compact(page) => page.next(),
        }
    }

    /// As [`Listing::total_files`].
    pub(super) fn total_files(&self) -> Option<usize> {
        match self {
            Self::Json(listing) => listing.total_files(),
            Self::Compact(page) => usize::try_from(page.total_files()).ok(),
        }
    }
}

/// A page of a peer's listing in JSON, as it goes over the wire. Older peers send everything at
/// once, without the last two keys, and tell less of each file.
#[derive(Debug, Deserialize)]
pub struct Listing<'a> {
    peer_id: String,
    #[serde(borrow)]
    files: Elements<'a>,
    #[serde(borrow, default)]
    next: Option<&'a RawValue>,
    #[serde(default)]
    total_files: Option<usize>,
    /// When it was made, by the peer's clock.
    #[serde(default)]
    listed_at: Option<u64>,
    /// By which change the peer held what is in it, or more.
    #[serde(default)]
    version: Option<u64>,
    /// The files that were removed since the moment that was asked for.
    #[serde(borrow, default)]
    removed: Option<Elements<'a>>,
}

impl Listing<'_> {
    /// Whether this peer has sent it.
    pub fn is_of(&self, peer: PeerId) -> bool {
        self.peer_id.parse() == Ok(peer)
    }

    /// The files that can be asked for and are within bounds.
    pub fn files(&self) -> impl Iterator<Item = NetworkFile> + Send {
        let files = self.files.read(MAX_FILE_BYTES);
        files.filter_map(checked)
    }

    /// The moment after which changes are not in it, in microseconds by the peer's clock.
    /// Older peers do not tell.
    pub fn listed_at(&self) -> Option<u64> {
        self.listed_at
    }

    /// The version of the peer's files that is in it, or an earlier one; older peers do not tell.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// The files that the peer has removed since the moment that was asked for; None where
    /// it does not remember.
    pub fn removed(&self) -> Option<Vec<FileId>> {
        let ids = self.removed.as_ref()?.read(MAX_ID_BYTES);
        Some(ids.collect())
    }

    /// Whether there are more behind them.
    pub fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// The last file that was looked at where there are more behind it, if the peer tells.
    pub fn next(&self) -> Option<FileId> {
        let next = self.next?.get();
        let next = serde_json::from_str::<&str>(next).ok()?;
        next.parse().ok()
    }

    /// How many files the peer holds; only a peer that sends pages tells.
    pub fn total_files(&self) -> Option<usize> {
        self.total_files
    }
}

/// A file as it was listed, made plain, if it is within bounds.
fn checked(file: NetworkFile) -> Option<NetworkFile> {
    let content_type = file.content_type.as_ref();
    let bounded = file.name.len() <= MAX_NAME_BYTES
        && file.uploaded_at.len() <= MAX_TIME_BYTES
        && content_type.is_none_or(|it| it.len() <= MAX_CONTENT_TYPE_BYTES);
    bounded.then(|| made_plain(file))
}

/// The same file, of which no text holds what has no place in it.
pub(super) fn made_plain(file: NetworkFile) -> NetworkFile {
    NetworkFile {
        name: heard::name(file.name),
        content_type: heard::content_type(file.content_type),
        uploaded_at: heard::time(file.uploaded_at),
        ..file
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_older_listing_is_read() {
        let text = r#"{"status": "success", "peer_id": "p", "file_count": 1, "files": [{
            "file_id": "123e4567-e89b-42d3-a456-426614174000", "original_name": "a",
            "size": 1, "description": "", "uploaded_at": "2026-01-21T10:00:00",
            "download_url": "http://localhost:5004/api/p2p/file/x"}]}"#;
        let listing: Listing = serde_json::from_str(text).unwrap();
        assert_eq!((listing.total_files(), listing.has_more()), (None, false));
        assert_eq!(listing.files().next().unwrap().hash, None);
    }

    proptest! {
        #[test]
        fn what_cannot_be_asked_for_is_left_out(file_id in "[^-]{0,31}", hash: Option<String>) {
            let file = json!({ "file_id": file_id, "original_name": "a", "size": 0, "hash": hash });
            let text = json!({ "peer_id": "p", "files": [file] }).to_string();
            let listing: Listing = serde_json::from_str(&text).unwrap();
            prop_assert!(listing.files().next().is_none());
        }
    }
}
