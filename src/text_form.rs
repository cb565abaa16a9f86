//! serde for words that have a text form: written as that, and checked as it is read.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Has types written down by their `Display` and read by their `FromStr`.
macro_rules! serde_as_text {
    ($($word:ty),+) => {$(
        impl serde::Serialize for $word {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $word {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::text_form::read(deserializer)
            }
        }
    )+};
}

pub(crate) use serde_as_text;

/// Reads a word by its text.
pub(crate) fn read<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(Text(PhantomData))
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::ParseIntError;

    use super::*;

    /// A number whose text form ends with a percent sign.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct Percent(u8);

    impl Display for Percent {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}%", self.0)
        }
    }

    impl FromStr for Percent {
        type Err = ParseIntError;

        fn from_str(text: &str) -> Result<Self, ParseIntError> {
            text.trim_end_matches('%').parse().map(Self)
        }
    }

    serde_as_text!(Percent);

    #[test]
    fn a_word_is_written_as_its_text_and_read_again() {
        let text = serde_json::to_string(&Percent(7)).unwrap();
        assert_eq!(text, r#""7%""#);
        assert_eq!(serde_json::from_str::<Percent>(&text).unwrap(), Percent(7));
    }

    #[test]
    fn a_word_can_be_a_key() {
        let all = BTreeMap::from([(Percent(1), Percent(2))]);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, r#"{"1%":"2%"}"#);
        let read: BTreeMap<Percent, Percent> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, all);
    }

    #[test]
    fn a_text_that_is_none_is_not_read_and_the_error_says_why() {
        for text in [r#""""#, r#""x%""#, r#""256%""#, "7", "null", "[]"] {
            let error = serde_json::from_str::<Percent>(text).unwrap_err();
            assert!(error.is_data(), "{text}: {error}");
        }
        let error = serde_json::from_str::<Percent>(r#""x%""#).unwrap_err();
        assert!(error.to_string().starts_with("invalid digit"), "{error}");
    }
}
