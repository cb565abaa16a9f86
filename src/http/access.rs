//! Who may read and write: everyone, nobody, or whoever bears a token (RFC 6750).

use std::fmt;
use std::str::FromStr;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::page::is_page;

/// Below this many characters a token could be guessed.
const MIN_TOKEN: usize = 16;
/// A longer token would be no safer.
const MAX_TOKEN: usize = 512;

/// Where peers introduce themselves.
pub(super) const PEERS: &str = "/api/peers";
/// Where peers tell what they hold.
pub(super) const ANNOUNCE: &str = "/api/p2p/announce";
/// Where whoever may read may tell something: peers have no token, and what they tell is
/// signed. So a private node takes nothing there either.
const FOR_PEERS: [&str; 2] = [PEERS, ANNOUNCE];
/// Where programs learn of all routes.
pub(super) const DOCUMENT: &str = "/api/openapi.json";
/// Where people learn of all routes.
pub(super) const DOCUMENT_PAGE: &str = "/api/docs";
/// Where no right to read is needed, since nobody learns anything of the node's files there.
const FOR_ANYBODY: [&str; 4] = ["/health", "/ready", DOCUMENT, DOCUMENT_PAGE];

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

impl Token {
    fn of(text: &[u8]) -> Self {
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
    fn allows_anybody(&self, wanted: Rights) -> bool {
        self.anyone >= Some(wanted) || self.tokens.iter().any(|it| it.rights >= wanted)
    }

    /// Takes a request that anyone may send, or that bears a token with the right to it.
    pub(super) fn check(&self, request: &Request) -> Result<(), ApiError> {
        let path = request.uri().path();
        let reads = request.method().is_safe();
        if reads && (FOR_ANYBODY.contains(&path) || is_page(path)) {
            return Ok(());
        }
        let wanted = if reads || FOR_PEERS.contains(&path) {
            Rights::Read
        } else {
            Rights::Write
        };
        self.check_rights(request.headers(), wanted)
    }

    /// The name of the token that a request bears, if it is one of these.
    pub(super) fn bearer(&self, headers: &HeaderMap) -> Option<&str> {
        if self.tokens.is_empty() {
            return None;
        }
        let presented = Token::of(presented(headers)?);
        let found = self.tokens.iter().find(|it| it.token == presented);
        found.map(|it| it.name.as_str())
    }

    /// Whether whoever sends these headers may write.
    pub(super) fn may_write(&self, headers: &HeaderMap) -> bool {
        self.check_rights(headers, Rights::Write).is_ok()
    }

    fn check_rights(&self, headers: &HeaderMap, wanted: Rights) -> Result<(), ApiError> {
        if self.anyone >= Some(wanted) {
            return Ok(());
        }
        if !self.allows_anybody(wanted) {
            return Err(ApiError::WritingClosed);
        }
        let presented = Token::of(presented(headers).ok_or(ApiError::NoToken)?);
        match self.tokens.iter().find(|it| it.token == presented) {
            Some(found) if found.rights >= wanted => Ok(()),
            Some(_) => Err(ApiError::ReadOnlyToken),
            None => Err(ApiError::WrongToken),
        }
    }
}

/// What follows `Bearer` in the `Authorization` of a request.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let credentials = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = credentials.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(rights: Rights) -> Access {
        let (name, token) = ("a".to_owned(), TOKEN.parse().unwrap());
        let tokens = vec![NamedToken {
            name,
            rights,
            token,
        }];
        let anyone = None;
        Access { anyone, tokens }
    }

    fn refusal(authorization: &str) -> Option<ApiError> {
        let value = authorization.parse().unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        access(Rights::Write)
            .check_rights(&headers, Rights::Write)
            .err()
    }

    #[test]
    fn the_token_comes_as_rfc_6750_writes_it() {
        for scheme in ["Bearer", "bearer", "BEARER", "Bearer "] {
            assert!(refusal(&format!("{scheme} {TOKEN}")).is_none(), "{scheme}");
        }
        for authorization in ["Bearer", "Basic", "", TOKEN, &format!("Basic {TOKEN}")] {
            let refusal = refusal(authorization);
            assert!(matches!(refusal, Some(ApiError::NoToken)), "{refusal:?}");
        }
        for token in [
            "",
            "x",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
        ] {
            let refusal = refusal(&format!("Bearer {token}"));
            assert!(matches!(refusal, Some(ApiError::WrongToken)), "{token}");
        }
    }

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
    fn whoever_may_write_may_read_and_not_the_other_way_round() {
        let value = format!("Bearer {TOKEN}").parse().unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        for rights in [Rights::Read, Rights::Write] {
            let access = access(rights);
            assert!(access.check_rights(&headers, Rights::Read).is_ok());
            let none = access.check_rights(&HeaderMap::new(), Rights::Read);
            assert!(matches!(none, Err(ApiError::NoToken)));
        }
        let write = |rights| access(rights).check_rights(&headers, Rights::Write);
        assert!(write(Rights::Write).is_ok());
        assert!(matches!(write(Rights::Read), Err(ApiError::WritingClosed)));
        let mut both = access(Rights::Read);
        both.tokens.push(NamedToken {
            name: "b".to_owned(),
            rights: Rights::Write,
            token: "another-token-of-it".parse().unwrap(),
        });
        let refused = both.check_rights(&headers, Rights::Write);
        assert!(matches!(refused, Err(ApiError::ReadOnlyToken)));
    }

    #[test]
    fn what_is_printed_of_a_token_tells_nothing() {
        let token: Token = TOKEN.parse().unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert_eq!(Token::of_hash(&token.hash()), Some(token));
        assert_eq!(Token::of_hash(TOKEN), None);
    }
}
