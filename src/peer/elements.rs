//! The elements of a JSON array that another node sends: so many at most, and each still a
//! text, so that what is made of them is never more than is wanted.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The most elements of one array; what follows is not looked at. An array of as many
/// files of the older service fills the longest answer that is read.
pub(super) const MAX_ELEMENTS: usize = 65_536;

/// The texts of the elements of an array.
#[derive(Debug)]
pub(super) struct Elements<'a>(Vec<&'a RawValue>);

impl<'a> Elements<'a> {
    /// The elements that have at most so many bytes and are what they should be.
    pub(super) fn read<T: Deserialize<'a>>(&self, max_bytes: usize) -> impl Iterator<Item = T> {
        let short = move |text: &&str| text.len() <= max_bytes;
        let texts = self.0.iter().map(|it| it.get()).filter(short);
        texts.filter_map(|text| serde_json::from_str(text).ok())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;

        impl<'de> Visitor<'de> for Array {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while elements.len() < MAX_ELEMENTS {
                    match array.next_element()? {
                        Some(element) => elements.push(element),
                        None => return Ok(elements),
                    }
                }
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(elements)
            }
        }

        deserializer.deserialize_seq(Array).map(Elements)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, max_bytes: usize) -> Option<Vec<u8>> {
        let elements: Elements = serde_json::from_str(text).ok()?;
        Some(elements.read(max_bytes).collect())
    }

    #[test]
    fn what_is_too_long_or_something_else_is_left_out() {
        let text = r#"[1, "2", 30000000000, {"4": []}, null, 255]"#;
        assert_eq!(read(text, 10), Some(vec![1, 255]));
        assert_eq!(read(text, 2), Some(vec![1]));
        assert_eq!(read("[]", 10), Some(vec![]));
        for text in ["", "{}", "[1,]", "[1", "[1] 2", "null"] {
            assert_eq!(read(text, 10), None, "{text}");
        }
    }

    #[test]
    fn only_so_many_are_taken() {
        let many = vec!["7"; MAX_ELEMENTS + 10].join(",");
        let taken = read(&format!("[{many}]"), 10).unwrap();
        assert_eq!(taken.len(), MAX_ELEMENTS);
        // What is behind them must still be JSON.
        assert_eq!(read(&format!("[{many},]"), 10), None);
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = "[".repeat(1 << 20);
        assert_eq!(read(&deep, 10), None);
        let text = format!("[{deep}{},1]", "]".repeat(1 << 20));
        assert_eq!(read(&text, 10), Some(vec![1]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read(&format!("[{text}]"), 10);
            let _ = read(&text, 10);
        }
    }
}
