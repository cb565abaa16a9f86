//! Who may write: everyone, nobody, or whoever bears the token (RFC 6750).

use std::fmt;
use std::str::FromStr;

use axum::extract::Request;
use axum::http::{HeaderMap, header};

use super::error::ApiError;

/// Below this many characters a token could be guessed.
const MIN_TOKEN: usize = 16;
/// A longer token would be no safer.
const MAX_TOKEN: usize = 512;

/// Where peers introduce themselves,
pub(super) const PEERS: &str = "/api/peers";
/// and tell what they hold.
pub(super) const ANNOUNCE: &str = "/api/p2p/announce";
/// Where no right to write is needed: peers have no token, and what they tell is signed.
const FOR_PEERS: [&str; 2] = [PEERS, ANNOUNCE];

/// A secret that lets whoever bears it write. Only its hash is kept, and comparing two of
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

/// Who may write and delete.
#[derive(Debug, Clone, Default)]
pub enum Writing {
    /// Nobody.
    #[default]
    Closed,
    /// Whoever bears this token.
    Token(Token),
    /// Everyone who reaches the node.
    Open,
}

impl Token {
    fn of(text: &[u8]) -> Self {
        Self(blake3::hash(text))
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

impl Writing {
    /// Takes a request that changes nothing (RFC 9110, section 9.2.1), comes from a peer,
    /// or may write.
    pub(super) fn check(&self, request: &Request) -> Result<(), ApiError> {
        let of_peer = || FOR_PEERS.contains(&request.uri().path());
        if request.method().is_safe() || of_peer() {
            return Ok(());
        }
        self.check_token(request.headers())
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        match self {
            Self::Open => Ok(()),
            Self::Closed => Err(ApiError::WritingClosed),
            Self::Token(token) => match presented(headers) {
                Some(presented) if Token::of(presented) == *token => Ok(()),
                Some(_) => Err(ApiError::WrongToken),
                None => Err(ApiError::NoToken),
            },
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

    fn refusal(authorization: &str) -> Option<ApiError> {
        let writing = Writing::Token(TOKEN.parse().unwrap());
        let value = authorization.parse().unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        writing.check_token(&headers).err()
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
    fn what_is_printed_of_a_token_tells_nothing() {
        let writing = Writing::Token(TOKEN.parse().unwrap());
        assert_eq!(format!("{writing:?}"), "Token(Token(..))");
    }
}
