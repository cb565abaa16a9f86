//! Whole numbers as people write them.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// Reads a number within `range`.
pub fn number<Number>(text: &str, range: RangeInclusive<Number>) -> Result<Number, String>
where
    Number: std::str::FromStr + PartialOrd + Display,
{
    let number = text.trim().parse().ok().filter(|it| range.contains(it));
    number.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_none_is_told_with_those_that_are() {
        assert_eq!(number("17", 1..=u16::MAX), Ok(17));
        for text in [
            "",
            "0",
            "-1",
            "1.5",
            "x",
            "65536",
            "99999999999999999999999",
        ] {
            let told = number(text, 1..=u16::MAX).unwrap_err();
            assert_eq!(told, "a whole number from 1 to 65535", "{text}");
        }
    }
}
