//! Asking peers what they hold, so that announcements that got lost do not matter.
//!
//! Ids grow, so the files behind the last one seen are all that were added. If the peer
//! then counts as many files as are known of it, nothing was removed unheard; if not,
//! everything is read again and what was not told is dropped. Peers tell what they have removed
//! lately, so that this is rare; and where it does not help, it is done less and less often.

use tokio::task::yield_now;

use super::client::{ClientError, Json, MAX_JSON_BYTES};
use super::directory::NetworkFile;
use super::listing::ListingPage;
use super::network::Network;
use super::registry::Peer;
use crate::record::FileId;

/// How many files are asked for at once.
const PAGE: usize = 256;
/// The same of a peer that sends them in the compact form: some 300 KB. Each takes one answer and
/// one signature, and more of them at once would be a long answer, of which few have room.
const COMPACT_PAGE: usize = 4096;
/// After how many files others have the thread for a while.
const AT_ONCE: usize = 128;
/// How many files are asked for at once where the files of a whole page have such long names
/// and descriptions that it cannot be read.
const SHORT_PAGE: usize = 16;
/// The most pages read of one peer at a time.
const MAX_PAGES: usize = 4096;
/// The most bytes read of one peer at a time.
const MAX_BYTES: usize = 256 << 20;
/// The most pages and bytes of one that has told more than there is room for.
const MAX_PARTIAL: (usize, usize) = (64, 16 << 20);
/// The most periods in which all of a listing is not read again, though it does not add up.
const MAX_SKIPS: u32 = 256;

/// How far the listing of a peer has been read.
#[derive(Debug, Clone, Default)]
pub(super) struct ListingProgress {
    /// The last file read.
    after: Option<FileId>,
    /// When the peer has made the listing that was read last, by its clock.
    listed_at: Option<u64>,
    /// The version that it had told then, if it tells any.
    version: Option<u64>,
    /// How often in a row its count was not explained by what it told.
    differed: u32,
    /// How many more periods pass before all of it is read again.
    skips: u32,
    /// Whether all of it is being read, and its end was not reached yet.
    unfinished: bool,
}

impl ListingProgress {
    /// The last file read.
    pub(super) fn last(&self) -> Option<FileId> {
        self.after
    }

    /// Whether the listing was read before.
    fn has_read(&self) -> bool {
        self.after.is_some() || self.listed_at.is_some()
    }

    /// Whether all is not to be read again yet, since that has not helped before.
    fn waits_before_reading_all(&mut self) -> bool {
        if self.skips > 0 {
            self.skips -= 1;
            return true;
        }
        self.skips = 2_u32.saturating_pow(self.differed).min(MAX_SKIPS) - 1;
        self.differed += 1;
        false
    }
}

/// Reads what is new, and everything if that does not explain the peer's count.
pub(super) async fn read_news(
    network: &Network,
    peer: &Peer,
    progress: &mut ListingProgress,
) -> Result<(), ClientError> {
    if progress.has_read() {
        let total = read(network, peer, progress).await?;
        let directory = &network.directory;
        let is_partial = if progress.unfinished {
            directory.is_cut(peer.id())
        } else {
            directory.is_partial(peer.id())
        };
        if is_partial {
            // There may be room again, but not for whoever fills it each time.
            if !directory.has_room_for(peer.id()) || progress.waits_before_reading_all() {
                return Ok(());
            }
        } else if progress.unfinished || total == Some(directory.count_of(peer.id())) {
            progress.differed = 0;
            note_read(network, peer, progress);
            return Ok(());
        } else if total.is_some() && progress.waits_before_reading_all() {
            // Whoever never counts right is not read from the beginning each time.
            return Ok(());
        }
    }
    progress.after = None;
    progress.listed_at = None;
    network.directory.begin_reading(peer.id());
    progress.unfinished = true;
    read(network, peer, progress).await?;
    note_read(network, peer, progress);
    Ok(())
}

/// Notes up to which version all was read: whoever reads it again has to hear of a later one.
fn note_read(network: &Network, peer: &Peer, progress: &ListingProgress) {
    let is_whole = !progress.unfinished && !network.directory.is_partial(peer.id());
    if let Some(version) = progress.version.filter(|_| is_whole) {
        network.registry.has_read(peer.id(), version);
        network.news.read.count();
    }
}

/// Reads the listing from where `progress` stands to its end, and how many files there are.
/// Of what was removed since the last reading the peer tells, too, if it remembers.
async fn read(
    network: &Network,
    peer: &Peer,
    progress: &mut ListingProgress,
) -> Result<Option<usize>, ClientError> {
    let mut limit = PAGE;
    let mut since = progress.listed_at;
    let mut bytes = 0;
    for page in 0..MAX_PAGES {
        // Who has told more than there is room for does not keep this node busy.
        let is_much = page >= MAX_PARTIAL.0 || bytes >= MAX_PARTIAL.1;
        if bytes >= MAX_BYTES || is_much && network.directory.is_cut(peer.id()) {
            return Ok(None);
        }
        let after = progress.after.map(|id| format!("&after={id}"));
        let removed = since.map(|moment| format!("&removed_since={moment}"));
        let [after, removed] = [after, removed].map(Option::unwrap_or_default);
        let path = format!("/api/p2p/files?limit={limit}{after}{removed}");
        let answer = match ask(network, peer, &path).await {
            Err(ClientError::TooLong(_)) if limit > SHORT_PAGE => {
                limit = SHORT_PAGE;
                continue;
            }
            answer => answer?,
        };
        bytes += answer.size();
        let listing = ListingPage::of_peer(&answer, peer.id())?;
        limit = match limit {
            _ if listing.is_compact() => COMPACT_PAGE,
            SHORT_PAGE => SHORT_PAGE,
            _ => PAGE,
        };
        let first = since.is_some() || progress.listed_at.is_none();
        if let Some(moment) = listing.listed_at().filter(|_| first) {
            network.directory.read_at(peer.id(), moment);
            progress.listed_at = Some(moment);
            progress.version = listing.version();
        }
        since = None;
        if !network.answered(peer.id()) {
            return Err(ClientError::NoRoom);
        }
        let before = progress.after;
        take(network, peer, &listing, progress).await?;
        if listing.has_more() {
            // Also where nothing that is on the page is taken. Whoever leads nowhere is not
            // followed.
            progress.after = progress.after.max(listing.next());
            if progress.after <= before {
                return Err(ClientError::Disorder);
            }
        } else {
            if std::mem::take(&mut progress.unfinished) {
                network.directory.end_reading(peer.id());
            }
            return Ok(listing.total_files());
        }
    }
    Ok(None)
}

/// Takes one page of a listing in.
async fn take(
    network: &Network,
    peer: &Peer,
    listing: &ListingPage<'_>,
    progress: &mut ListingProgress,
) -> Result<(), ClientError> {
    let has_order = listing.total_files().is_some();
    for (count, file) in (1..).zip(listing.files()) {
        if has_order {
            // A peer that goes in circles would be listened to for ever.
            if progress.after.is_some_and(|after| file.id <= after) {
                return Err(ClientError::Disorder);
            }
            progress.after = Some(file.id);
        }
        // What finds no room is found when it is asked for.
        let _ = network.directory.put(peer.id(), file);
        if count % AT_ONCE == 0 {
            yield_now().await;
        }
    }
    for id in listing.removed() {
        network.directory.withdraw(peer.id(), id);
    }
    Ok(())
}

async fn ask(network: &Network, peer: &Peer, path: &str) -> Result<Json, ClientError> {
    let client = &network.client;
    let asked = client.listing_from(peer.id(), peer.address(), path, MAX_JSON_BYTES);
    asked.await
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
    let answer = ask(network, peer, &path).await?;
    let listing = ListingPage::of_peer(&answer, peer.id())?;
    let found = listing.files().find(|file| file.id == id);
    Ok(found)
}
