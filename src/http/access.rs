//! Which requests come through: those that anybody may send, and those that bear a token
//! (RFC 6750) with the right to what they do.

use axum::extract::Request;
use axum::http::{HeaderMap, header};

use super::page::is_page;
use crate::access::{Access, Rights};
use crate::web::error::ApiError;

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

/// Takes a request that anyone may send, or that bears a token with the right to it.
pub(super) fn check(access: &Access, request: &Request) -> Result<(), ApiError> {
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
    check_rights(access, request.headers(), wanted)
}

/// The name of the token that a request bears, if it is one of these.
pub(super) fn bearer<'a>(access: &'a Access, headers: &HeaderMap) -> Option<&'a str> {
    if access.tokens.is_empty() {
        return None;
    }
    let found = access.find(presented(headers)?);
    found.map(|it| it.name.as_str())
}

/// Whether whoever sends these headers may write.
pub(super) fn may_write(access: &Access, headers: &HeaderMap) -> bool {
    check_rights(access, headers, Rights::Write).is_ok()
}

fn check_rights(access: &Access, headers: &HeaderMap, wanted: Rights) -> Result<(), ApiError> {
    if access.anyone >= Some(wanted) {
        return Ok(());
    }
    if !access.allows_anybody(wanted) {
        return Err(ApiError::WritingClosed);
    }
    let presented = presented(headers).ok_or(ApiError::NoToken)?;
    match access.find(presented) {
        Some(found) if found.rights >= wanted => Ok(()),
        Some(_) => Err(ApiError::ReadOnlyToken),
        None => Err(ApiError::WrongToken),
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
    use crate::access::NamedToken;

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
        check_rights(&access(Rights::Write), &headers, Rights::Write).err()
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
    fn whoever_may_write_may_read_and_not_the_other_way_round() {
        let value = format!("Bearer {TOKEN}").parse().unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        for rights in [Rights::Read, Rights::Write] {
            let access = access(rights);
            assert!(check_rights(&access, &headers, Rights::Read).is_ok());
            let none = check_rights(&access, &HeaderMap::new(), Rights::Read);
            assert!(matches!(none, Err(ApiError::NoToken)));
        }
        let write = |rights| check_rights(&access(rights), &headers, Rights::Write);
        assert!(write(Rights::Write).is_ok());
        assert!(matches!(write(Rights::Read), Err(ApiError::WritingClosed)));
        let mut both = access(Rights::Read);
        both.tokens.push(NamedToken {
            name: "b".to_owned(),
            rights: Rights::Write,
            token: "another-token-of-it".parse().unwrap(),
        });
        let refused = check_rights(&both, &headers, Rights::Write);
        assert!(matches!(refused, Err(ApiError::ReadOnlyToken)));
    }
}
