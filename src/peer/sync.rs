//! Asking peers what they hold, so that announcements that got lost do not matter.
//!
//! Ids grow, so the files behind the last one seen are all that were added. If the peer
//! then counts as many files as are known of it, nothing was removed unheard; if not,
//! everything is read again and what was not told is dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use serde::Deserialize;

use super::client::ClientError;
use super::directory::NetworkFile;
use super::network::Network;
use super::registry::Peer;
use crate::peer_id::PeerId;
use crate::record::{FileId, MAX_CONTENT_TYPE_BYTES, MAX_NAME_BYTES};

/// How many files are asked for at once.
const PAGE: usize = 256;
/// The most pages read of one peer at a time.
const MAX_PAGES: usize = 4096;
/// How many peers are asked at once.
const AT_ONCE: usize = 16;

/// How far the listing of a peer has been read.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// The last file read; None before everything has been read once.
    after: Option<String>,
    /// Whether some of its files found no room, so that counts never agree.
    cut: bool,
    asked: Option<Instant>,
}

/// A page of a peer's listing. Older peers send everything at once, without the
/// last two keys, and tell less of each file.
#[derive(Deserialize)]
struct Listing {
    peer_id: String,
    files: Vec<ListedFile>,
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    total_files: Option<usize>,
}

#[derive(Deserialize)]
struct ListedFile {
    file_id: String,
    original_name: String,
    size: u64,
    #[serde(default)]
    uploaded_at: String,
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
}

/// Asks every peer what it holds, each once in a period and new ones at once, for ever.
pub(super) async fn ask_regularly(network: Arc<Network>, every: Duration) {
    let mut progress: HashMap<PeerId, Progress> = HashMap::new();
    let mut met = network.met.subscribe();
    loop {
        let due = network.registry.all().into_iter().map(|peer| {
            let known = progress.remove(&peer.id()).unwrap_or_default();
            (peer, known)
        });
        let asked = stream::iter(due.collect::<Vec<_>>()).map(|(peer, known)| {
            let network = &network;
            async move {
                let id = peer.id();
                // Woken for another, it was asked just now.
                let recently = known.asked.is_some_and(|at| at.elapsed() < every / 2);
                let known = if recently {
                    known
                } else {
                    ask(network, &peer, known).await
                };
                (id, known)
            }
        });
        progress = asked.buffer_unordered(AT_ONCE).collect().await;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = met.changed() => {}
        }
    }
}

async fn ask(network: &Network, peer: &Peer, known: Progress) -> Progress {
    let asked = Some(Instant::now());
    match read_news(network, peer, &known).await {
        Ok(progress) => {
            network.registry.saw(peer.id());
            Progress { asked, ..progress }
        }
        Err(error) => {
            tracing::debug!(peer = %peer.id(), %error, "does not tell what it holds");
            Progress { asked, ..known }
        }
    }
}

/// Reads what is new, and everything if that does not explain the peer's count.
async fn read_news(
    network: &Network,
    peer: &Peer,
    known: &Progress,
) -> Result<Progress, ClientError> {
    if known.after.is_some() {
        let (progress, total) = read(network, peer, known.clone()).await?;
        if progress.cut || total == Some(network.directory.count_of(peer.id())) {
            return Ok(progress);
        }
    }
    let began = Instant::now();
    let (progress, _) = read(network, peer, Progress::default()).await?;
    network.directory.keep_since(peer.id(), began);
    Ok(progress)
}

/// Reads the listing from where `progress` stands to its end, and how many files there are.
async fn read(
    network: &Network,
    peer: &Peer,
    mut progress: Progress,
) -> Result<(Progress, Option<usize>), ClientError> {
    for _ in 0..MAX_PAGES {
        let after = progress.after.as_ref().map(|id| format!("&after={id}"));
        let path = format!("/api/p2p/files?limit={PAGE}{}", after.unwrap_or_default());
        let listing: Listing = network.client.get(peer.address(), &path).await?;
        if listing.peer_id.parse() != Ok(peer.id()) {
            return Err(ClientError::OtherPeer);
        }
        for file in listing.files {
            let Some(file) = file.check() else { continue };
            if listing.total_files.is_some() {
                progress.after = Some(file.id.to_string());
            }
            if network.directory.put(peer.id(), file).is_err() {
                progress.cut = true;
                return Ok((progress, listing.total_files));
            }
        }
        if listing.next.is_none() {
            return Ok((progress, listing.total_files));
        }
    }
    progress.cut = true;
    Ok((progress, None))
}

/// Asks a peer for the file with this id, which it may not have told of yet.
pub async fn find(
    network: &Network,
    peer: &Peer,
    id: FileId,
) -> Result<Option<NetworkFile>, ClientError> {
    // The page that begins with it. Older peers know no pages and tell everything.
    let after = id.before().map(|before| format!("&after={before}"));
    let path = format!("/api/p2p/files?limit=1{}", after.unwrap_or_default());
    let listing: Listing = network.client.get(peer.address(), &path).await?;
    if listing.peer_id.parse() != Ok(peer.id()) {
        return Err(ClientError::OtherPeer);
    }
    let mut files = listing.files.into_iter().filter_map(ListedFile::check);
    Ok(files.find(|file| file.id == id))
}

impl ListedFile {
    /// The file, if it can be asked for and is within bounds.
    fn check(self) -> Option<NetworkFile> {
        let bounded = self.original_name.len() <= MAX_NAME_BYTES
            && self.uploaded_at.len() <= 64
            && self
                .content_type
                .as_ref()
                .is_none_or(|it| it.len() <= MAX_CONTENT_TYPE_BYTES);
        Some(NetworkFile {
            id: self.file_id.parse().ok()?,
            hash: self.hash.map(|hash| hash.parse()).transpose().ok()?,
            name: bounded.then_some(self.original_name)?,
            size: self.size,
            content_type: self.content_type,
            uploaded_at: self.uploaded_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_older_listing_is_read() {
        let text = r#"{"status": "success", "peer_id": "p", "file_count": 1, "files": [{
            "file_id": "123e4567-e89b-42d3-a456-426614174000", "original_name": "a",
            "size": 1, "description": "", "uploaded_at": "2026-01-21T10:00:00",
            "download_url": "http://localhost:5004/api/p2p/file/x"}]}"#;
        let listing: Listing = serde_json::from_str(text).unwrap();
        assert_eq!(listing.total_files, None);
        let mut files = listing.files.into_iter();
        assert_eq!(files.next().unwrap().check().unwrap().hash, None);
    }

    proptest! {
        #[test]
        fn nothing_random_is_a_listing(bytes: Vec<u8>) {
            prop_assert!(serde_json::from_slice::<Listing>(&bytes).is_err());
        }

        #[test]
        fn what_cannot_be_asked_for_is_left_out(file_id in "[^-]{0,31}", hash: Option<String>) {
            let file = ListedFile {
                file_id,
                original_name: "a".to_owned(),
                size: 0,
                uploaded_at: String::new(),
                hash,
                content_type: None,
            };
            prop_assert!(file.check().is_none());
        }
    }
}
