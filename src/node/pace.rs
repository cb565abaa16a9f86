//! How fast stored content is read that nobody has asked for: so that clients do not notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::web::Connections;

/// Of the time of the disk (and of one processor) one in so many parts is taken.
const PART_OF_TIME: u32 = 20;
/// What is to be waited for is gathered up to this, since a sleep ends a millisecond late.
const WORTH_A_SLEEP: Duration = Duration::from_millis(10);
/// Who has neither sent nor received for so long is not being served.
const QUIET: Duration = Duration::from_millis(20);

/// Keeps to a pace.
pub(in crate::node) struct Pace {
    /// How many bytes a second are read at most.
    rate: u64,
    connections: Arc<Connections>,
    /// How long is still to be waited for what was read.
    debt: Duration,
}

impl Pace {
    pub(in crate::node) fn new(rate: u64, connections: Arc<Connections>) -> Self {
        Self {
            rate,
            connections,
            debt: Duration::ZERO,
        }
    }

    /// So many bytes were read, which took so long.
    pub(in crate::node) fn spent(&mut self, bytes: u64, took: Duration) {
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.rate.max(1));
        let by_bytes = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let by_time = took.saturating_mul(PART_OF_TIME);
        self.debt += by_bytes.max(by_time).saturating_sub(took);
    }

    /// Waits until more may be read, and then for clients to be served, but no longer than
    /// `patience` for that.
    pub(in crate::node) async fn wait(&mut self, patience: Duration) {
        if self.debt >= WORTH_A_SLEEP {
            let began = Instant::now();
            sleep(self.debt).await;
            self.debt = self.debt.saturating_sub(began.elapsed());
        }
        let began = Instant::now();
        let mut moved = self.moved();
        while began.elapsed() < patience {
            sleep(QUIET.min(patience)).await;
            let before = std::mem::replace(&mut moved, self.moved());
            if moved == before {
                return;
            }
        }
    }

    /// How many bytes went over connections of clients.
    fn moved(&self) -> u64 {
        let Connections { received, sent, .. } = &*self.connections;
        received.get().wrapping_add(sent.get())
    }
}
