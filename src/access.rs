//! Who may read and write: everyone, nobody, or whoever bears a token.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

/// Below this many characters a token could be guessed.
const MIN_TOKEN: usize = 16;
/// A longer token would be no safer.
const MAX_TOKEN: usize = 512;

/// A secret that gives rights to whoever bears it. Only its hash is kept, and comparing two of
/// them takes the same time wherever they differ.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(blake3::Hash);

/// A text that cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has {MIN_TOKEN} to {MAX_TOKEN} letters, digits and any of -._~+/, \
     and perhaps = at its end"
)]
pub struct InvalidToken;

/// What somebody may do; whoever may write may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Everything that changes nothing (RFC 9110, section 9.2.1).
    Read,
    /// That, and uploading, keeping and deleting.
    Write,
}

/// Who may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Writers {
    /// Everybody who reaches the node.
    Anybody,
    /// Whoever bears a token with the right to it.
    Token,
    /// Nobody: no token has the right to it, and without one nobody has it.
    Nobody,
}

/// A token, and what its bearer may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedToken {
    /// What people call it; not secret.
    pub name: String,
    /// What its bearer may do.
    pub rights: Rights,
    /// The token.
    pub token: Token,
}

/// Who may do what. By default everyone may read and nobody write.
#[derive(Debug, Clone)]
pub struct Access {
    /// What may be done without a token.
    pub anyone: Option<Rights>,
    /// Who may do more.
    pub tokens: Vec<NamedToken>,
}

/// Who may do what at this moment: it can be replaced while the node runs. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CurrentAccess(Arc<watch::Sender<Arc<Access>>>);

impl CurrentAccess {
    /// What counts now.
    pub fn now(&self) -> Arc<Access> {
        Arc::clone(&self.0.borrow())
    }

    /// What tells when something else counts.
    pub fn watch(&self) -> watch::Receiver<Arc<Access>> {
        self.0.subscribe()
    }

    /// Takes other tokens. Without one nobody may do more than before: a file of tokens that was
    /// emptied opens nothing.
    pub fn replace(&self, mut access: Access) {
        self.0.send_modify(|current| {
            access.anyone = access.anyone.min(current.anyone);
            *current = Arc::new(access);
        });
    }
}

impl From<Access> for CurrentAccess {
    fn from(access: Access) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(access))))
    }
}

impl Token {
    /// The token that was presented so, whatever it is.
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(blake3::hash(text))
    }

    /// The token with this hash, as 64 hex digits.
    pub fn of_hash(hex: &str) -> Option<Self> {
        blake3::Hash::from_hex(hex).ok().map(Self)
    }

    /// What is written down of a token, as 64 hex digits. It needs no salt and no slow hash,
    /// since nobody guesses 256 random bits.
    pub fn hash(&self) -> String {
        self.0.to_hex().to_string()
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    /// Takes what a client can send as `b64token` (RFC 6750, section 2.1).
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let sane = text
            .trim_end_matches('=')
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
        (sane && (MIN_TOKEN..=MAX_TOKEN).contains(&text.len()))
            .then(|| Self::of(text.as_bytes()))
            .ok_or(InvalidToken)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Default for Access {
    fn default() -> Self {
        Self::without_token(Some(Rights::Read))
    }
}

impl Access {
    /// Everyone may do this, and nobody more.
    pub fn without_token(anyone: Option<Rights>) -> Self {
        let tokens = Vec::new();
        Self { anyone, tokens }
    }

    /// Who may write.
    pub fn writers(&self) -> Writers {
        if self.anyone >= Some(Rights::Write) {
            Writers::Anybody
        } else if self.allows_anybody(Rights::Write) {
            Writers::Token
        } else {
            Writers::Nobody
        }
    }

    /// Whether anybody may do this.
    pub(crate) fn allows_anybody(&self, wanted: Rights) -> bool {
        self.anyone >= Some(wanted) || self.tokens.iter().any(|it| it.rights >= wanted)
    }

    /// The token that was presented so, if it is one of these.
    pub(crate) fn find(&self, presented: &[u8]) -> Option<&NamedToken> {
        let presented = Token::of(presented);
        self.tokens.iter().find(|it| it.token == presented)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn only_what_a_client_can_send_is_a_token() {
        for text in [TOKEN, "aA0-._~+/aaaaaa==", &"x".repeat(MAX_TOKEN)] {
            assert!(text.parse::<Token>().is_ok(), "{text}");
        }
        for text in [
            "",
            "0123456789abcde",
            "0123456789 abcdef",
            "0123456=789abcdef",
            "0123456789abcd\u{e4}f",
            "0123456789abcdef\n",
            &"x".repeat(MAX_TOKEN + 1),
        ] {
            assert_eq!(text.parse::<Token>(), Err(InvalidToken), "{text}");
        }
    }

    #[test]
    fn what_is_printed_of_a_token_tells_nothing() {
        let token: Token = TOKEN.parse().unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert_eq!(Token::of_hash(&token.hash()), Some(token));
        assert_eq!(Token::of_hash(TOKEN), None);
    }
}
