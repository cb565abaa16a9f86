//! When the network is asked anew, after more was answered than could be taken in.

use std::time::{Duration, Instant};

/// How long it has to be quiet before.
const CALM: Duration = Duration::from_secs(2);
/// The longest that it has to be, where the next flood comes soon after each.
const LONGEST: Duration = Duration::from_secs(30);

/// Whether somebody was missed, and since when no more are.
#[derive(Debug)]
pub(super) struct Again {
    missed: Option<Instant>,
    calm: Duration,
    asked: Option<Instant>,
}

impl Default for Again {
    fn default() -> Self {
        Self {
            missed: None,
            calm: CALM,
            asked: None,
        }
    }
}

impl Again {
    /// Notes that somebody may have answered at `now` who was not heard.
    pub(super) fn missed(&mut self, now: Instant) {
        let is_long_ago = |at| now.saturating_duration_since(at) > self.calm * 2;
        if self.missed.is_none() && self.asked.is_none_or(is_long_ago) {
            self.calm = CALM;
        }
        self.missed = Some(now);
    }

    /// Whether it is time to ask anew, which is noted as being done.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let quiet = |at| now.saturating_duration_since(at) >= self.calm;
        let due = self.missed.is_some_and(quiet);
        if due {
            self.missed = None;
            self.asked = Some(now);
            self.calm = (self.calm * 2).min(LONGEST);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_asked_once_it_is_quiet_and_seldom_where_it_never_is_for_long() {
        let (mut again, start) = (Again::default(), Instant::now());
        let mut due = Vec::new();
        assert!(!again.is_due(start + LONGEST));
        for second in 0..200 {
            let now = start + Duration::from_secs(second);
            // A flood of ten seconds, and a drop after each question.
            if second < 10 || due.last() == Some(&(second - 1)) {
                again.missed(now);
            }
            if again.is_due(now) {
                due.push(second);
            }
        }
        assert_eq!(due, [11, 16, 25, 42, 73, 104, 135, 166, 197]);
        let later = start + Duration::from_hours(1);
        assert!(again.is_due(later));
        let later = later + Duration::from_hours(1);
        again.missed(later);
        assert!(!again.is_due(later) && again.is_due(later + CALM));
        assert!(!again.is_due(later + LONGEST));
    }
}
