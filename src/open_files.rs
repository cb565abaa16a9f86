//! How the files that the system lets this process have open are shared out, connections among
//! them.
//!
//! Whoever holds files for longer than a moment has a share, and asks here how large that is:
//! so all of them together never hold more than there are, and a connection that comes is always
//! accepted and answered. Where no limit is told ([`share_out`]), everybody has the most that is
//! of any use.

use std::sync::OnceLock;

/// The most connections of clients at once, however many files may be open.
pub const MAX_CONNECTIONS: usize = 16_384;
/// The most uploads in parts that stay open between two requests.
const MAX_WAITING_UPLOADS: usize = 64;
/// How many files each of those holds: what has come, and the outboard of that.
const OF_A_WAITING_UPLOAD: usize = 2;
/// The most copies that are fetched at once.
const MAX_COPIES: usize = 16;
/// How many files each of those holds: what has come, what is known of it, and eight connections
/// to those that bring it.
const OF_A_COPY: usize = 10;
/// The most connections to peers beside those of downloads and copies and those that are kept,
/// lookups of names included. It is the sum of all that ask for a part of it
/// ([`Shares::of_peers`]).
const MAX_PEERS: usize = 816;
/// The least of them.
const MIN_PEERS: usize = 27;
/// The most connections to peers that are kept from period to period, one of each.
const MAX_KEPT: usize = 256;
/// The most connections of clients that are told at once that there is no place for them.
const MAX_REFUSALS: usize = 64;
/// The most files that are open for a moment.
const MAX_MOMENTS: usize = 1024;
/// The least that are left for that.
const MIN_MOMENTS: usize = 16;
/// How many files a thread that blocks has open at once, as a rule.
const OF_A_THREAD: usize = 2;
/// The most threads that block.
const MAX_THREADS: usize = MAX_MOMENTS / OF_A_THREAD;
/// What transfers have however little there is: two downloads from peers, one of which may be
/// silent, and an upload.
const MIN_TRANSFERS: usize = 19;
/// How many files that may be open are enough for the least of everything.
const ENOUGH: usize = 220;

static SHARES: OnceLock<Shares> = OnceLock::new();

/// Who may have how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Connections of clients.
    pub connections: usize,
    /// Connections of clients that are told that there is no place for them.
    pub refusals: usize,
    /// Files, and connections to peers, behind what clients send and receive just now.
    pub transfers: usize,
    /// Uploads in parts that stay open between two requests.
    pub waiting_uploads: usize,
    /// Copies that are fetched at once.
    pub copies: usize,
    /// Connections to peers that are kept from period to period; none where files are few.
    pub kept: usize,
    /// Other connections to peers beside those of downloads and copies.
    peers: usize,
    /// Files that are open for a moment, and what else nobody counts: new packs and segments of
    /// the journal, files of the lookup database, certificates and settings that are read again.
    moments: usize,
}

impl Default for Shares {
    fn default() -> Self {
        Self::MOST
    }
}

impl Shares {
    /// Where nothing limits them.
    const MOST: Self = Self {
        connections: MAX_CONNECTIONS,
        refusals: MAX_REFUSALS,
        transfers: usize::MAX >> 1,
        waiting_uploads: MAX_WAITING_UPLOADS,
        copies: MAX_COPIES,
        kept: MAX_KEPT,
        peers: MAX_PEERS,
        moments: MAX_MOMENTS,
    };

    /// The same with transfers that hold `most` files together, if they have more.
    #[must_use]
    pub fn with_most_transfers(self, most: Option<usize>) -> Self {
        Self {
            transfers: most.map_or(self.transfers, |most| self.transfers.min(most)),
            ..self
        }
    }

    /// The shares where `limit` files may be open, and `open` of them are and stay so or will be.
    /// All together they are what is left, as long as that is [`ENOUGH`].
    pub fn within(limit: Option<u64>, open: u64) -> Self {
        let Some(limit) = limit else {
            return Self::MOST;
        };
        let free = usize::try_from(limit.saturating_sub(open)).unwrap_or(usize::MAX >> 8);
        let part = |of: usize, least: usize, most: usize| (free / of).clamp(least, most);
        let shares = Self {
            connections: (free / 16 * 9).clamp(1, MAX_CONNECTIONS),
            transfers: 0,
            waiting_uploads: part(64, 1, MAX_WAITING_UPLOADS),
            copies: part(16 * OF_A_COPY, 1, MAX_COPIES),
            kept: (free.saturating_sub(ENOUGH) / 32).min(MAX_KEPT),
            peers: part(10, MIN_PEERS, MAX_PEERS),
            moments: part(8, MIN_MOMENTS, MAX_MOMENTS),
            refusals: part(32, 4, MAX_REFUSALS),
        };
        Self {
            transfers: free.saturating_sub(shares.all()).max(MIN_TRANSFERS),
            ..shares
        }
    }

    /// How many files all hold together at most.
    fn all(&self) -> usize {
        self.connections
            + self.refusals
            + self.transfers
            + self.waiting_uploads * OF_A_WAITING_UPLOAD
            + self.copies * OF_A_COPY
            + self.kept
            + self.peers
            + self.moments
    }

    /// How many connections to one peer are kept for a moment for a next request: none where few
    /// may be open, since hundreds of peers may be asked one after the other.
    pub fn idle_of_a_peer(&self) -> usize {
        if self.peers < MAX_PEERS {
            0
        } else {
            usize::MAX
        }
    }

    /// What somebody has of the connections to peers who would have `most` of them; one at least.
    pub fn of_peers(&self, most: usize) -> usize {
        (most * self.peers / MAX_PEERS).max(1)
    }
}

/// Shares out what the system grants, once, before anybody asks.
pub fn share_out(limit: Option<u64>, open: u64) -> &'static Shares {
    SHARES.get_or_init(|| Shares::within(limit, open))
}

/// Who may have how many.
pub fn shares() -> &'static Shares {
    SHARES.get_or_init(|| Shares::MOST)
}

/// How many threads may block at once where `limit` files may be open: each may have some open.
pub fn blocking_threads(limit: Option<u64>) -> usize {
    let threads = limit.map_or(MAX_THREADS, |limit| {
        usize::try_from(limit / 8 / OF_A_THREAD as u64).unwrap_or(MAX_THREADS)
    });
    threads.clamp(MIN_MOMENTS / OF_A_THREAD, MAX_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shares_together_are_no_more_than_what_may_be_open() {
        for open in [20, 64, 5000] {
            for free in (ENOUGH as u64..2000).chain([4096, 20_000, 65_536, 524_288, 1 << 20]) {
                let shares = Shares::within(Some(open + free), open);
                assert!(shares.all() as u64 <= free, "{free} {shares:?}");
                assert!(shares.transfers >= MIN_TRANSFERS, "{free} {shares:?}");
            }
        }
    }

    #[test]
    fn whoever_has_a_part_of_the_connections_to_peers_has_no_more_than_that() {
        // Questions of downloads, announcements, four lanes of questions, neighbours, peers that
        // are told of a move, and two lanes of lookups.
        let parts = [256, 256, 16, 16, 64, 64, 64, 16, 32, 32];
        assert_eq!(parts.iter().sum::<usize>(), MAX_PEERS);
        for free in 0..20_000 {
            let shares = Shares::within(Some(free), 0);
            let taken: usize = parts.iter().map(|most| shares.of_peers(*most)).sum();
            assert!(taken <= shares.peers, "{free} {taken} {shares:?}");
        }
        assert_eq!(Shares::MOST.of_peers(256), 256);
    }

    #[test]
    fn ten_thousand_idle_connections_are_held_where_twenty_thousand_files_may_be_open() {
        // Of which packs may be 1250.
        let shares = Shares::within(Some(20_000), 64 + 1250);
        assert!(shares.connections > 10_400, "{shares:?}");
        let usual = Shares::within(Some(65_536), 64);
        assert_eq!(usual.connections, MAX_CONNECTIONS);
        // Each of which may receive a file and its outboard.
        assert!(usual.transfers > 2 * MAX_CONNECTIONS, "{usual:?}");
    }

    #[test]
    fn no_share_is_none_however_little_there_is() {
        for limit in 0..200 {
            let shares = Shares::within(Some(limit), 30);
            let each = [
                shares.connections,
                shares.transfers,
                shares.waiting_uploads,
                shares.copies,
                shares.of_peers(1),
                blocking_threads(Some(limit)),
            ];
            assert!(each.iter().all(|share| *share > 0), "{shares:?}");
        }
        assert_eq!(Shares::within(None, 64), Shares::MOST);
    }

    #[test]
    fn threads_that_block_have_no_more_files_open_than_are_left_for_moments() {
        for limit in 300..20_000 {
            let shares = Shares::within(Some(limit), 20);
            let held = blocking_threads(Some(limit)) * OF_A_THREAD;
            assert!(held <= shares.moments + 4, "{limit} {held} {shares:?}");
        }
    }
}
