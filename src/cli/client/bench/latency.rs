//! How long requests took: counts by length, whose number does not grow with that of the requests.

use std::time::Duration;

/// Lengths below this many microseconds are counted one by one.
const EXACT: u64 = 128;
/// How many counts there are for each doubling from there on, so that what is told is too long by
/// a sixty-fourth at most.
const STEPS: u64 = EXACT / 2;
/// The power of two that [`EXACT`] is.
const EXACT_BITS: u32 = EXACT.trailing_zeros();
/// The longest that is told apart, as a power of two microseconds: two weeks.
const MOST_BITS: u32 = 40;

/// Lengths of time in steps that grow with them, as `HdrHistogram` has them (Gil Tene).
#[derive(Clone)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        let counts = place((1 << MOST_BITS) - 1) + 1;
        Self {
            counts: vec![0; counts],
            count: 0,
            longest: 0,
        }
    }
}

impl Latencies {
    pub(super) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let micros = micros.min((1 << MOST_BITS) - 1);
        if let Some(count) = self.counts.get_mut(place(micros)) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(micros);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    /// How many were recorded.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in milliseconds.
    pub(super) fn longest(&self) -> f64 {
        millis(self.longest)
    }

    /// What so many of a thousand took at most, in milliseconds; zero where there are none.
    pub(super) fn within(&self, per_mille: u64) -> f64 {
        let wanted = (self.count * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (place, count) in (0..).zip(&self.counts) {
            seen += count;
            if seen >= wanted && seen > 0 {
                return millis(end(place).min(self.longest));
            }
        }
        0.0
    }
}

/// Where a length is counted.
fn place(micros: u64) -> usize {
    let place = if micros < EXACT {
        micros
    } else {
        let bits = micros.ilog2();
        let doublings = u64::from(bits - EXACT_BITS);
        let step = (micros >> (bits + 1 - EXACT_BITS)) - STEPS;
        EXACT + doublings * STEPS + step
    };
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The longest that is counted there.
fn end(place: u64) -> u64 {
    let Some(behind) = place.checked_sub(EXACT) else {
        return place;
    };
    let (doublings, step) = (behind / STEPS, behind % STEPS);
    ((STEPS + step + 1) << (doublings + 1)) - 1
}

#[expect(clippy::cast_precision_loss, reason = "they are below 2^40")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_no_shorter_and_a_sixty_fourth_longer_at_most() {
        let mut micros = 1_u64;
        while micros < 1 << 39 {
            for it in [micros, micros + micros / 3, 2 * micros - 1] {
                let told = end(u64::try_from(place(it)).unwrap());
                assert!(told >= it && told - it <= it / 64, "{it} {told}");
            }
            micros *= 2;
        }
    }

    #[test]
    fn the_share_that_took_no_longer_is_right() {
        let mut all = Latencies::default();
        assert!(all.within(500).abs() < f64::EPSILON);
        let mut some = Latencies::default();
        for micros in 1..=100 {
            let half = if micros % 2 == 0 { &mut all } else { &mut some };
            half.record(Duration::from_micros(micros));
        }
        all.add(&some);
        let told = [500, 990, 1000].map(|it| all.within(it));
        assert_eq!((told, all.count()), ([0.05, 0.099, 0.1], 100));
        assert!((all.longest() - 0.1).abs() < f64::EPSILON);
    }
}
