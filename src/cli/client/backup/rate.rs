//! How much a backup fetches in a second.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::config::Size;

/// The least that can be set, in bytes a second: with less the node takes a client for one that
/// reads nothing.
const LEAST: u64 = 16 << 10;
/// How many contents are on their way at once at most.
const AT_ONCE: u64 = 16;
/// Of how many bytes a second each of them has a share at least.
const SHARE: u64 = 256 << 10;

/// What was fetched has to wait for what may be.
pub(super) struct Rate {
    bytes_a_second: Option<u64>,
    /// When all that was fetched may have come.
    due: Mutex<Instant>,
}

/// A rate, of which there is a least one.
pub(super) fn rate(text: &str) -> Result<Size, String> {
    match text.parse()? {
        Size(bytes) if bytes < LEAST => Err("it is 16KiB a second at least".to_owned()),
        rate => Ok(rate),
    }
}

impl Rate {
    /// So many bytes a second at most.
    pub(super) fn new(bytes_a_second: Option<Size>) -> Self {
        Self {
            bytes_a_second: bytes_a_second.map(|Size(bytes)| bytes),
            due: Mutex::new(Instant::now()),
        }
    }

    /// How many contents are on their way at once.
    pub(super) fn at_once(&self) -> usize {
        let most = self.bytes_a_second.map_or(AT_ONCE, |it| it / SHARE);
        usize::try_from(most.clamp(1, AT_ONCE)).unwrap_or(1)
    }

    /// So many bytes have come; returns when more may.
    pub(super) async fn spent(&self, bytes: u64) {
        let Some(rate) = self.bytes_a_second else {
            return;
        };
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        let due = {
            let mut due = self.due.lock();
            *due = Instant::now().max(*due) + takes;
            *due
        };
        sleep_until(due).await;
    }
}
