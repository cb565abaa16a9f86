//! Conditional requests (RFC 9110, section 13) on content whose entity tag is its hash.

use axum::http::{HeaderMap, HeaderName, header};

/// What the conditions of a request lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Go on.
    Perform,
    /// The client has the content: 304.
    NotModified,
    /// The content is not what the client expects: 412.
    Failed,
}

/// Evaluates `If-Match` and `If-None-Match` against a strong entity tag, quotes
/// included. Conditions on dates are ignored, as content here has none.
pub(crate) fn evaluate(headers: &HeaderMap, etag: &str) -> Outcome {
    if lists(headers, header::IF_MATCH, |tag| tag == etag) == Some(false) {
        Outcome::Failed
    } else if lists(headers, header::IF_NONE_MATCH, |tag| weakly(tag) == etag) == Some(true) {
        Outcome::NotModified
    } else {
        Outcome::Perform
    }
}

/// Whether a `Range` header counts: `If-Range` is absent or names this very tag.
pub(crate) fn range_counts(headers: &HeaderMap, etag: &str) -> bool {
    let condition = headers.get(header::IF_RANGE);
    condition.is_none_or(|tag| tag.as_bytes() == etag.as_bytes())
}

/// Whether the tags in the header, if it is there, hold one that `matches`, or `*`.
fn lists(headers: &HeaderMap, name: HeaderName, matches: impl Fn(&str) -> bool) -> Option<bool> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    // A tag of this node holds no comma, so tags that do need not be told apart.
    let mut tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    Some(tags.any(|tag| tag == "*" || matches(tag)))
}

/// The tag as weak comparison sees it.
fn weakly(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const ETAG: &str = "\"abc\"";

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|it| HeaderValue::from_static(it));
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn without_conditions_the_request_is_performed() {
        assert_eq!(evaluate(&HeaderMap::new(), ETAG), Outcome::Perform);
        assert!(range_counts(&HeaderMap::new(), ETAG));
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for value in [ETAG, "*", "\"x\", \"abc\"", "\"x\",W/\"abc\"", "W/\"abc\""] {
            let headers = headers(&header::IF_NONE_MATCH, &["\"y\"", value]);
            assert_eq!(evaluate(&headers, ETAG), Outcome::NotModified, "{value}");
        }
        for value in ["abc", "\"ABC\"", "\"abcd\"", ""] {
            let headers = headers(&header::IF_NONE_MATCH, &[value]);
            assert_eq!(evaluate(&headers, ETAG), Outcome::Perform, "{value}");
        }
    }

    #[test]
    fn if_match_compares_strongly_and_comes_first() {
        for (value, outcome) in [
            (ETAG, Outcome::Perform),
            ("*", Outcome::Perform),
            ("\"x\", \"abc\"", Outcome::Perform),
            ("W/\"abc\"", Outcome::Failed),
            ("\"x\"", Outcome::Failed),
        ] {
            let headers = headers(&header::IF_MATCH, &[value]);
            assert_eq!(evaluate(&headers, ETAG), outcome, "{value}");
        }
        let mut both = headers(&header::IF_MATCH, &["\"x\""]);
        both.extend(headers(&header::IF_NONE_MATCH, &[ETAG]));
        assert_eq!(evaluate(&both, ETAG), Outcome::Failed);
    }

    #[test]
    fn a_range_counts_only_for_the_very_content() {
        assert!(range_counts(&headers(&header::IF_RANGE, &[ETAG]), ETAG));
        for value in ["\"x\"", "W/\"abc\"", "Wed, 21 Jan 2026 10:00:00 GMT", "*"] {
            assert!(
                !range_counts(&headers(&header::IF_RANGE, &[value]), ETAG),
                "{value}"
            );
        }
    }
}
