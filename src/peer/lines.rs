//! Lines of the log that others bring about, who may be made up and come and go as often as they
//! like: of each kind some in a minute, and how many were left out.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How many lines of one kind are written in a minute: those of a network that starts are told.
const IN_A_MINUTE: u32 = 30;
const MINUTE: Duration = Duration::from_mins(1);

/// The lines of one kind. Takes a few bytes, however many are told.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// When the minute began, if there was any line.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Lines {
    /// Has `write` write a line, unless there were enough of its kind in this minute. It is given
    /// how many were left out since the last one that was written, if any.
    pub fn tell(&self, write: impl FnOnce(Option<u64>)) {
        if let Some(left_out) = self.next(Instant::now()) {
            write((left_out > 0).then_some(left_out));
        }
    }

    fn next(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock();
        let is_over = |since| now.saturating_duration_since(since) >= MINUTE;
        if told.since.is_none_or(is_over) {
            told.since = Some(now);
            told.lines = 0;
        }
        if told.lines >= IN_A_MINUTE {
            told.left_out = told.left_out.saturating_add(1);
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_happens_a_minute_has_so_many_lines_and_what_is_left_out_is_counted() {
        let (lines, start) = (Lines::default(), Instant::now());
        let mut written = Vec::new();
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            written.extend((0..10).filter_map(|_| lines.next(now)));
        }
        assert_eq!(written.len(), 10 * IN_A_MINUTE as usize);
        let of_a_minute = 600 - u64::from(IN_A_MINUTE);
        assert_eq!(written.iter().sum::<u64>(), 9 * of_a_minute);
        assert_eq!(written.iter().filter(|it| **it > 0).count(), 9);
    }

    #[test]
    fn what_happens_now_and_then_is_told_each_time() {
        let (lines, start) = (Lines::default(), Instant::now());
        for minute in 0..100 {
            let now = start + MINUTE * minute;
            assert!((0..IN_A_MINUTE).all(|_| lines.next(now) == Some(0)));
        }
    }
}
