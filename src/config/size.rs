//! Sizes as people write them.

use std::str::FromStr;

/// How many digits count behind the point.
const MOST_DIGITS: usize = 18;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a size is a number and a unit, such as 500MB, 1.5TiB or 10GiB";
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (number, unit) = text.split_at(digits.len());
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "ki" | "kib" => 1 << 10,
            "m" | "mi" | "mib" => 1 << 20,
            "g" | "gi" | "gib" => 1 << 30,
            "t" | "ti" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(WRONG),
        };
        let bytes = times(number.trim(), factor).ok_or(WRONG)?;
        u64::try_from(bytes)
            .map(Self)
            .map_err(|_| "a size is less than 16EiB")
    }
}

/// A number in decimal digits times a factor, rounded down; none where there is a part of a byte
/// and no unit.
fn times(number: &str, factor: u128) -> Option<u128> {
    let (whole, part) = match number.split_once('.') {
        Some((whole, part)) if factor > 1 => (whole, part),
        Some(_) => return None,
        None => (number, "0"),
    };
    // More digits make no difference of a byte.
    let part = part.get(..MOST_DIGITS).unwrap_or(part);
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = part.parse::<u128>().ok()? * factor / scale;
    let whole = u128::from(whole.parse::<u64>().ok()?);
    whole.checked_mul(factor)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("2k", 2048),
            ("500MB", 500_000_000),
            ("10GiB", 10 << 30),
            ("10 gib", 10 << 30),
            ("1TiB", 1 << 40),
            ("1.5GiB", 3 << 29),
            ("0.5 kB", 500),
            (" 2Gi ", 2 << 30),
            ("1.0000000000000000000000001k", 1024),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "GiB",
            "-1",
            "1.5",
            "1.5b",
            "1.GiB",
            ".5GiB",
            "1,5GiB",
            "1XB",
            "1 GiB 2",
            "99999999999999999999",
            "17179869184GiB",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
