//! Lengths of time as people write them.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A second, for settings whose bare numbers are seconds.
pub const SECOND: Duration = Duration::from_secs(1);
/// An hour, for those whose bare numbers are hours.
pub(super) const HOUR: Duration = Duration::from_hours(1);

const WRONG: &str = "a time is a number and a unit, such as 30s, 5m or 72h";

/// Reads what is as long as `range` allows, in seconds; a bare number counts `unit`s.
pub fn period(text: &str, unit: Duration, range: RangeInclusive<u64>) -> Result<Duration, String> {
    let length = read(text, unit).ok_or(WRONG)?;
    let bounds = Duration::from_secs(*range.start())..=Duration::from_secs(*range.end());
    if bounds.contains(&length) {
        return Ok(length);
    }
    let (least, most) = (shown(*range.start()), shown(*range.end()));
    Err(format!("it is from {least} to {most}"))
}

/// The sum of all numbers with their units.
fn read(text: &str, unit: Duration) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if let Some(bare) = number(rest, unit) {
        return Some(bare);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (count, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic());
        let (name, behind) = behind.split_at(letters.unwrap_or(behind.len()));
        sum = sum.checked_add(number(count, unit_called(name)?)?)?;
        rest = behind.trim_start();
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// So many of a unit.
fn number(text: &str, unit: Duration) -> Option<Duration> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return None;
    }
    let whole = unit.checked_mul(whole.parse().ok()?)?;
    let part: f64 = format!("0.{part}").parse().ok()?;
    whole.checked_add(unit.mul_f64(part))
}

fn unit_called(name: &str) -> Option<Duration> {
    Some(match name.to_ascii_lowercase().as_str() {
        "ms" => Duration::from_millis(1),
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => Duration::from_mins(1),
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => HOUR * 24,
        "w" | "week" | "weeks" => HOUR * 24 * 7,
        _ => return None,
    })
}

/// So many seconds in the longest unit that has no remainder, as people read them.
pub fn shown(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        it if it % 3600 == 0 => format!("{}h", it / 3600),
        it if it % 60 == 0 => format!("{}m", it / 60),
        it => format!("{it}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("30", 30),
            ("0", 0),
            ("30s", 30),
            ("5m", 300),
            ("5 min", 300),
            ("72h", 72 * 3600),
            ("72 Hours", 72 * 3600),
            ("1h30m", 5400),
            ("1 h 30 m", 5400),
            ("1.5h", 5400),
            ("2d", 2 * 86_400),
            ("1w", 7 * 86_400),
            (" 7 ", 7),
            ("1500ms 500ms", 2),
        ] {
            let read = period(text, SECOND, 0..=u64::MAX);
            assert_eq!(read, Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(period("72", HOUR, 1..=u64::MAX), Ok(HOUR * 72));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            " ",
            "s",
            "-1",
            "-1s",
            "1x",
            "1 2",
            "1.s",
            ".5h",
            "1..5",
            "1e3",
            "5m3",
            "h5",
            "99999999999999999999",
            "99999999999999999h",
            "\u{661}s",
        ] {
            assert_eq!(
                period(text, SECOND, 0..=u64::MAX),
                Err(WRONG.to_owned()),
                "{text}"
            );
        }
        for (text, told) in [
            ("0", "it is from 1s to 24h"),
            ("25h", "it is from 1s to 24h"),
        ] {
            assert_eq!(period(text, SECOND, 1..=86_400), Err(told.to_owned()));
        }
    }
}
