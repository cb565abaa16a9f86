//! Who may send which request: everybody, or whoever bears a token (RFC 6750) with the right to
//! what it does.

use std::collections::HashMap;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, Method, header};

use crate::access::{Access, Rights};
use crate::web::error::ApiError;

/// What may be done by anybody, also on a private node.
pub(super) const ANYBODY: Option<Rights> = None;
/// What may be done by those who may read.
pub(super) const READERS: Option<Rights> = Some(Rights::Read);
/// What may be done by those who may write.
pub(super) const WRITERS: Option<Rights> = Some(Rights::Write);

/// What each method of a route needs.
type OfRoute = Vec<(Method, Option<Rights>)>;

/// Who may send which request.
pub(super) struct Rules(HashMap<&'static str, OfRoute>);

impl Rules {
    /// The rules of the routes with these path templates.
    pub(super) fn new(routes: impl IntoIterator<Item = (&'static str, OfRoute)>) -> Self {
        Self(routes.into_iter().collect())
    }

    /// The rights that a request needs, as its route says of its method.
    pub(super) fn of_request(&self, request: &Request) -> Option<Rights> {
        let path = request.extensions().get::<MatchedPath>();
        let rules = path.and_then(|path| self.0.get(path.as_str()));
        needed(rules.map_or(&[], Vec::as_slice), request.method())
    }
}

/// What a method needs. One that a route does not take needs what the others of its kind do, so
/// that its sender is told that, and not that a token is missing. Where there are none, only who
/// may write may send what is not for reading (RFC 9110, section 9.2.1).
fn needed(rules: &[(Method, Option<Rights>)], method: &Method) -> Option<Rights> {
    let of = |method| rules.iter().find(|(of, _)| of == method);
    // HEAD is answered by what answers GET, where nothing else does.
    let exactly = of(method).or_else(|| of(&Method::GET).filter(|_| method == Method::HEAD));
    let alike = rules
        .iter()
        .filter(|(of, _)| of.is_safe() == method.is_safe());
    let alike = || alike.min_by_key(|(_, needs)| *needs);
    let usual = if method.is_safe() { READERS } else { WRITERS };
    exactly.or_else(alike).map_or(usual, |(_, needs)| *needs)
}

/// The name of the token that a request bears, if it is one of these.
pub(super) fn bearer<'a>(access: &'a Access, headers: &HeaderMap) -> Option<&'a str> {
    if access.tokens.is_empty() {
        return None;
    }
    let found = access.find(presented(headers)?);
    found.map(|it| it.name.as_str())
}

/// Whether whoever sends these headers may read.
pub(super) fn may_read(access: &Access, headers: &HeaderMap) -> bool {
    check(access, headers, READERS).is_ok()
}

/// Whether whoever sends these headers may write.
pub(super) fn may_write(access: &Access, headers: &HeaderMap) -> bool {
    check(access, headers, WRITERS).is_ok()
}

/// Whether this node knows the token that comes with these headers; None where none does.
pub(super) fn knows_token(access: &Access, headers: &HeaderMap) -> Option<bool> {
    presented(headers).map(|it| access.find(it).is_some())
}

/// Takes a request with these headers if whoever sends it has the rights that it needs.
pub(super) fn check(
    access: &Access,
    headers: &HeaderMap,
    needs: Option<Rights>,
) -> Result<(), ApiError> {
    let Some(needed) = needs.filter(|_| access.anyone < needs) else {
        return Ok(());
    };
    if needed == Rights::Write && !access.allows_anybody(needed) {
        return Err(ApiError::WritingClosed);
    }
    let presented = presented(headers).ok_or(ApiError::NoToken)?;
    match access.find(presented) {
        Some(found) if found.rights >= needed => Ok(()),
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
        check(&access(Rights::Write), &headers, WRITERS).err()
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
            assert!(check(&access, &headers, READERS).is_ok());
            let none = check(&access, &HeaderMap::new(), READERS);
            assert!(matches!(none, Err(ApiError::NoToken)));
        }
        let write = |rights| check(&access(rights), &headers, WRITERS);
        assert!(write(Rights::Write).is_ok());
        assert!(matches!(write(Rights::Read), Err(ApiError::WritingClosed)));
        let mut both = access(Rights::Read);
        both.tokens.push(NamedToken {
            name: "b".to_owned(),
            rights: Rights::Write,
            token: "another-token-of-it".parse().unwrap(),
        });
        let refused = check(&both, &headers, WRITERS);
        assert!(matches!(refused, Err(ApiError::ReadOnlyToken)));
    }

    #[test]
    fn a_method_that_a_route_does_not_take_needs_what_its_kind_does() {
        let rules = [(Method::GET, ANYBODY), (Method::POST, READERS)];
        assert_eq!(needed(&rules, &Method::HEAD), ANYBODY);
        assert_eq!(needed(&rules, &Method::OPTIONS), ANYBODY);
        assert_eq!(needed(&rules, &Method::DELETE), READERS);
        assert_eq!(needed(&rules[..1], &Method::DELETE), WRITERS);
        assert_eq!(needed(&rules[1..], &Method::GET), READERS);
        assert_eq!(needed(&[], &Method::GET), READERS);
        let open = [(Method::GET, READERS), (Method::OPTIONS, ANYBODY)];
        assert_eq!(needed(&open, &Method::HEAD), READERS);
        assert_eq!(needed(&[], &Method::from_bytes(b"X").unwrap()), WRITERS);
    }
}
