//! Texts that are never shown.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A secret as it was given. Takes every text: what is wrong with it is told later, without
/// showing it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// This text, as a secret.
    pub(super) fn of(text: String) -> Self {
        Self(text)
    }

    /// The secret, without what stands around it where it was read from a file.
    pub fn text(&self) -> &str {
        self.0.trim()
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
