//! What must be true of whatever peers and bootstrap servers answer, and of the words that
//! answers are made of.

use std::fmt::Display;
use std::str::FromStr;

use larder::base_url::BaseUrl;
use larder::hash::BlobHash;
use larder::peer::address::{Policy, network};
use larder::peer::compact::{Page, Writer};
use larder::peer::directory::NetworkFile;
use larder::peer::introductions::Introductions;
use larder::peer::listing::Listing;
use larder::peer::{mdns, registration};
use larder::peer_id::PeerId;
use larder::record::{FileId, MAX_CONTENT_TYPE_BYTES, MAX_NAME_BYTES, Timestamp};
use larder::web::byte_range::{Selection, select};
use larder::web::origin::AllowedOrigin;

/// Whom an answer introduces is within bounds, and has an address that can be asked.
pub(crate) fn introductions(json: &[u8]) {
    let Ok(introductions) = serde_json::from_slice::<Introductions>(json) else {
        return;
    };
    for registration in introductions.registrations() {
        assert!(registration.address.len() <= registration::MAX_BYTES);
        if let Ok(peer) = registration.check() {
            assert!(!peer.address.has_path() && peer.address.host().is_some());
            assert_eq!(peer.registration.peer_id.parse(), Ok(peer.id));
            Policy::default().allows_url(&peer.address);
        }
    }
}

/// The files of a listing are within bounds, in whichever form it is, or how a compact one goes on.
pub(crate) fn listing(bytes: &[u8]) {
    if let Ok(listing) = serde_json::from_slice::<Listing>(bytes) {
        listing.files().for_each(within_bounds);
    }
    let begun = Writer::begin(PeerId::from_bytes([1; 16]), None, None);
    for bytes in [bytes, &[&begun, bytes].concat()] {
        if let Ok(page) = Page::read(bytes) {
            assert!(page.files().count() + page.removed().len() <= bytes.len());
            page.files().for_each(within_bounds);
        }
    }
}

fn within_bounds(file: NetworkFile) {
    assert!(file.name.len() <= MAX_NAME_BYTES && file.uploaded_at.len() <= 64);
    let content_type = file.content_type.unwrap_or_default();
    assert!(content_type.len() <= MAX_CONTENT_TYPE_BYTES);
}

/// What is read as a word is written so that it is read as the same.
pub(crate) fn words(text: &str, size: u64) {
    stays::<BaseUrl>(text);
    stays::<BlobHash>(text);
    stays::<PeerId>(text);
    stays::<FileId>(text);
    stays::<Timestamp>(text);
    if let Ok(url) = text.parse::<BaseUrl>() {
        assert!(url.to_string().starts_with("http") && url.host().is_some());
        Policy::default().allows_url(&url);
    }
    if let Ok(named) = network(text) {
        let networks = vec![named];
        Policy { networks }.allows([127, 0, 0, 1].into());
    }
    let _ = text.parse::<AllowedOrigin>();
    if let Some(peer) = mdns::peer_of(text) {
        assert!(text.starts_with(&peer.to_string()));
    }
    let parts = match select(text, size) {
        Selection::Whole | Selection::Unsatisfiable => vec![],
        Selection::One(part) => vec![part],
        Selection::Several(parts) => parts,
    };
    for part in parts {
        assert!(part.start < part.end && part.end <= size);
    }
}

fn stays<T: FromStr + Display>(text: &str) {
    if let Ok(word) = text.parse::<T>() {
        let written = word.to_string();
        let again = written.parse::<T>().map(|it| it.to_string());
        assert_eq!(again.ok(), Some(written), "{text}");
    }
}
