//! Where a content is kept: what an index gives out, and blobs are kept under.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use uuid::Uuid;

use crate::hash::BlobHash;
use crate::text_form::serde_as_text;

/// A place for one content: 32 bytes, which a backend may write down. Only an index makes places,
/// and the blobs' backend beside it for what goes there while it comes; that one alone knows where
/// they are: nobody else may think that a content has the same one twice.
///
/// Short contents may share an object (a pack): then the place of each is that of the object and
/// where in it the content begins.
///
/// The text form is 64 lowercase hex digits, as for the key of an object; nothing else parses. A
/// place within a pack is told with an `@` and where in it behind those.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    object: [u8; 32],
    /// None where the content is all of the object.
    at: Option<NonZero<u32>>,
}

/// A text that is not 64 lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place is 64 lowercase hex digits")]
pub struct InvalidPlace;

impl Place {
    /// The place that is named for its content: there is one for each, and what is kept there anew
    /// replaces what was there.
    pub const fn of(hash: &BlobHash) -> Self {
        Self::from_bytes(*hash.as_bytes())
    }

    /// The content that such a place is named for.
    pub const fn content(self) -> BlobHash {
        BlobHash::from_bytes(self.object)
    }

    /// The place with a number of its own, which is given out once.
    pub fn numbered(number: u128) -> Self {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&number.to_be_bytes());
        Self::from_bytes(bytes)
    }

    /// A place that nobody else has, and nobody ever had. Its digits are random from the first on,
    /// by which object stores share out what they keep.
    pub fn random() -> Self {
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        let mut bytes = [0; 32];
        let (first, last) = bytes.split_at_mut(16);
        first.copy_from_slice(one.as_bytes());
        last.copy_from_slice(other.as_bytes());
        Self::from_bytes(bytes)
    }

    /// The place with exactly these bytes, as they were written down.
    pub const fn from_bytes(object: [u8; 32]) -> Self {
        Self { object, at: None }
    }

    /// The 32 bytes of the object.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.object
    }

    /// Where in this object a content is that shares it with others; nothing begins at its start.
    #[must_use]
    pub const fn within(self, at: NonZero<u32>) -> Self {
        Self {
            at: Some(at),
            ..self
        }
    }

    /// Where in its object the content begins, in bytes; None where it is all of it.
    pub const fn at(self) -> Option<u32> {
        match self.at {
            Some(at) => Some(at.get()),
            None => None,
        }
    }

    /// All of the object.
    #[must_use]
    pub const fn object(self) -> Self {
        Self::from_bytes(self.object)
    }

    /// What is written down of a place: 32 bytes, and within a pack four more, which keep the order
    /// in which the contents are there.
    pub fn written(&self) -> Vec<u8> {
        let mut bytes = self.object.to_vec();
        if let Some(at) = self.at {
            bytes.extend(at.get().to_be_bytes());
        }
        bytes
    }

    /// The place of which that was written down; None where it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (object, at) = bytes.split_first_chunk()?;
        let place = Self::from_bytes(*object);
        if at.is_empty() {
            return Some(place);
        }
        let at = u32::from_be_bytes(at.try_into().ok()?);
        Some(place.within(NonZero::new(at)?))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The same digits as those of a hash.
        self.content().fmt(f)?;
        match self.at {
            Some(at) => write!(f, "@{at}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let digits = text.parse::<BlobHash>();
        digits.map(|it| Self::of(&it)).map_err(|_| InvalidPlace)
    }
}

serde_as_text!(Place);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_place_that_was_written_down_is_the_same_again() {
        let (named, numbered) = (Place::of(&BlobHash::of(b"content")), Place::numbered(7));
        for place in [named, numbered, Place::numbered(u128::MAX)] {
            assert_eq!(Place::from_bytes(*place.as_bytes()), place);
            assert_eq!(place.to_string().parse(), Ok(place));
            let written = serde_json::to_string(&place).unwrap();
            assert_eq!(serde_json::from_str::<Place>(&written).unwrap(), place);
        }
        assert_eq!(numbered.to_string(), format!("{:064x}", 7));
        assert_eq!(named.content(), BlobHash::of(b"content"));
    }

    #[test]
    fn a_place_within_a_pack_is_written_in_the_order_of_the_pack_and_read_again() {
        let pack = Place::random();
        let within = [1, 32, 255, 256, u32::MAX].map(|at| pack.within(NonZero::new(at).unwrap()));
        assert!(within.is_sorted() && pack < within[0]);
        let written = within.map(|it| it.written());
        assert!(written.is_sorted());
        for (place, written) in within.iter().zip(&written) {
            assert_eq!(Place::read(written), Some(*place));
            assert_eq!(place.object(), pack);
            assert!(place.to_string().starts_with(&pack.to_string()));
        }
        assert_eq!(Place::read(&pack.written()), Some(pack));
        assert_eq!(pack.at(), None);
        let [nowhere, short] = [[0; 36].as_slice(), &written[0][..35]];
        assert_eq!([nowhere, short].map(Place::read), [None; 2]);
    }

    #[test]
    fn only_64_lowercase_hex_digits_are_a_place() {
        let text = Place::of(&BlobHash::of(b"content")).to_string();
        let wrong = [
            String::new(),
            text[1..].to_owned(),
            format!("{text}0"),
            text.to_uppercase(),
            text.replacen(|_: char| true, "g", 1),
        ];
        for text in wrong {
            assert_eq!(text.parse::<Place>(), Err(InvalidPlace), "{text}");
        }
    }

    #[test]
    fn places_are_as_many_as_their_numbers_and_in_the_same_order() {
        let numbers = [0, 1, 255, 256, u128::from(u64::MAX), u128::MAX];
        let places: BTreeSet<_> = numbers.map(Place::numbered).into_iter().collect();
        let places: Vec<_> = places.into_iter().collect();
        assert_eq!(places, numbers.map(Place::numbered));
    }
}
