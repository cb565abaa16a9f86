//! The content address of a blob.

use std::fmt;
use std::str::FromStr;

use crate::text_form::serde_as_text;

/// The BLAKE3-256 hash of a blob: its name everywhere.
///
/// The text form is 64 lowercase hex digits; nothing else parses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash([u8; 32]);

/// A text that is not 64 lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 lowercase hex digits")]
pub struct InvalidHash;

impl BlobHash {
    /// The hash of `bytes`, all at hand.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    /// The hash with exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for BlobHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        // `from_hex` also takes upper case; one blob must have one name.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidHash);
        }
        blake3::Hash::from_hex(text)
            .map(Self::from)
            .map_err(|_| InvalidHash)
    }
}

serde_as_text!(BlobHash);

#[cfg(test)]
mod tests {
    use super::*;

    // BLAKE3 test vectors, https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors, input_len 0.
    const EMPTY: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn the_text_form_is_the_published_one_and_parses_back() {
        let hash = BlobHash::of(b"");
        assert_eq!(hash.to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(hash));
    }

    #[test]
    fn only_64_lowercase_hex_digits_parse() {
        for text in [
            "",
            "af13",
            &EMPTY.to_uppercase(),
            &EMPTY.replace('f', "g"),
            &format!("{EMPTY}0"),
        ] {
            assert_eq!(text.parse::<BlobHash>(), Err(InvalidHash), "{text}");
        }
    }
}
