//! Counters of what the node does. Each floor owns its own; the page that shows them reads
//! them all ([`page`]).
//!
//! To count is one atomic addition: no lock, no allocation, no registry.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub mod page;
pub mod servers;

/// Something that happens, counted.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// It happened.
    pub fn count(&self) {
        self.add(1);
    }

    /// It happened so many times.
    pub fn add(&self, times: u64) {
        self.0.fetch_add(times, Ordering::Relaxed);
    }

    /// How often it happened so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that begins and ends: how many there are now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One begins. Each must end.
    pub fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One that began ends.
    pub fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Up to which durations a [`Histogram`] counts, in microseconds: from an answer out of
/// memory to an upload of gigabytes.
pub const BOUNDS_MICROS: [u64; 15] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
];

/// How long something takes.
#[derive(Debug)]
pub struct Histogram {
    /// How often it took at most the bound of the same place; longer than all in the last.
    counts: [Counter; BOUNDS_MICROS.len() + 1],
    /// The sum of all durations, in nanoseconds.
    nanos: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: array::from_fn(|_| Counter::default()),
            nanos: Counter::default(),
        }
    }
}

impl Histogram {
    /// It took so long once more.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let place = BOUNDS_MICROS.partition_point(|bound| bound * 1000 < nanos);
        if let Some(counter) = self.counts.get(place) {
            counter.count();
        }
        self.nanos.add(nanos);
    }

    /// How often it took at most each of [`BOUNDS_MICROS`], then how often it happened.
    pub fn cumulative(&self) -> [u64; BOUNDS_MICROS.len() + 1] {
        let mut total = 0;
        self.counts.each_ref().map(|counter| {
            total += counter.get();
            total
        })
    }

    /// How long it took altogether.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_up_to_its_bound_and_beyond() {
        let histogram = Histogram::default();
        for micros in [0, 50, 51, 100, 120_000_000, 120_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut expected = [4; BOUNDS_MICROS.len() + 1];
        expected[0] = 2;
        expected[14] = 5;
        expected[15] = 6;
        assert_eq!(histogram.cumulative(), expected);
        assert_eq!(histogram.sum(), Duration::from_micros(240_000_202));
    }
}
