//! Conditional requests (RFC 9110, section 13) on content whose entity tag is its hash.

use std::time::{SystemTime, UNIX_EPOCH};

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

/// What conditions are held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validators<'a> {
    /// The strong entity tag, quotes included.
    pub etag: &'a str,
    /// When the content came under this address, where it has been the same ever since.
    pub modified: Option<SystemTime>,
}

/// Evaluates the conditions of a GET or HEAD request, in their order (RFC 9110, section 13.2.2).
pub(crate) fn evaluate(headers: &HeaderMap, validators: Validators<'_>) -> Outcome {
    if !is_expected(headers, validators) {
        return Outcome::Failed;
    }
    let is_known = is_known_by_tag(headers, validators).or_else(|| {
        let since = date(headers, &header::IF_MODIFIED_SINCE)?;
        Some(seconds(validators.modified?) <= seconds(since))
    });
    if is_known == Some(true) {
        Outcome::NotModified
    } else {
        Outcome::Perform
    }
}

/// Whether a request tells what it expects of what it would change. Only these headers are about
/// changes (RFC 9110, sections 13.1.1, 13.1.2 and 13.1.4).
pub(crate) fn restrict_change(headers: &HeaderMap) -> bool {
    let all = [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_UNMODIFIED_SINCE,
    ];
    all.iter().any(|name| headers.contains_key(name))
}

/// Whether what a request would change is what it expects; None where there is nothing yet.
pub(crate) fn allow_change(headers: &HeaderMap, current: Option<Validators<'_>>) -> bool {
    match current {
        Some(current) => {
            is_expected(headers, current) && is_known_by_tag(headers, current) != Some(true)
        }
        None => !headers.contains_key(header::IF_MATCH),
    }
}

/// Whether the content is what the client expects, be it that it expects nothing. A date counts
/// only where there is no tag.
fn is_expected(headers: &HeaderMap, Validators { etag, modified }: Validators<'_>) -> bool {
    let matches = lists(headers, header::IF_MATCH, |tag| tag == etag);
    let matches = matches.or_else(|| {
        let since = date(headers, &header::IF_UNMODIFIED_SINCE)?;
        Some(seconds(modified?) <= seconds(since))
    });
    matches != Some(false)
}

/// Whether the client knows the content by its tag; None where it names no tags.
fn is_known_by_tag(headers: &HeaderMap, Validators { etag, .. }: Validators<'_>) -> Option<bool> {
    lists(headers, header::IF_NONE_MATCH, |tag| weakly(tag) == etag)
}

/// Whether a `Range` header counts: `If-Range` is absent or names this very tag or date.
pub(crate) fn range_counts(headers: &HeaderMap, validators: Validators<'_>) -> bool {
    let Some(condition) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let modified = validators.modified.map(seconds);
    condition.as_bytes() == validators.etag.as_bytes()
        || modified.is_some_and(|it| date(headers, &header::IF_RANGE).map(seconds) == Some(it))
}

/// The date in a header that stands there once; what is none is ignored.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// Headers tell no more of a time.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
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

    #[test]
    fn what_is_not_as_expected_is_not_changed() {
        for (name, value, of_tag, of_nothing) in [
            (header::IF_MATCH, ETAG, true, false),
            (header::IF_MATCH, "*", true, false),
            (header::IF_MATCH, "\"x\"", false, false),
            (header::IF_NONE_MATCH, "*", false, true),
            (header::IF_NONE_MATCH, "\"x\"", true, true),
        ] {
            let headers = headers(&name, &[value]);
            assert_eq!(allow_change(&headers, Some(TAG)), of_tag, "{name} {value}");
            assert_eq!(allow_change(&headers, None), of_nothing, "{name} {value}");
        }
    }

    const ETAG: &str = "\"abc\"";
    const TAG: Validators<'static> = Validators {
        etag: ETAG,
        modified: None,
    };

    /// The same of content that came then, and some milliseconds.
    fn dated() -> Validators<'static> {
        let modified = httpdate::parse_http_date("Wed, 21 Jan 2026 10:00:00 GMT").unwrap();
        Validators {
            modified: Some(modified + std::time::Duration::from_millis(999)),
            ..TAG
        }
    }

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|it| HeaderValue::from_static(it));
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn without_conditions_the_request_is_performed() {
        assert_eq!(evaluate(&HeaderMap::new(), TAG), Outcome::Perform);
        assert!(range_counts(&HeaderMap::new(), TAG));
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for value in [ETAG, "*", "\"x\", \"abc\"", "\"x\",W/\"abc\"", "W/\"abc\""] {
            let headers = headers(&header::IF_NONE_MATCH, &["\"y\"", value]);
            assert_eq!(evaluate(&headers, TAG), Outcome::NotModified, "{value}");
        }
        for value in ["abc", "\"ABC\"", "\"abcd\"", ""] {
            let headers = headers(&header::IF_NONE_MATCH, &[value]);
            assert_eq!(evaluate(&headers, TAG), Outcome::Perform, "{value}");
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
            assert_eq!(evaluate(&headers, TAG), outcome, "{value}");
        }
        let mut both = headers(&header::IF_MATCH, &["\"x\""]);
        both.extend(headers(&header::IF_NONE_MATCH, &[ETAG]));
        assert_eq!(evaluate(&both, TAG), Outcome::Failed);
    }

    #[test]
    fn a_range_counts_only_for_the_very_content() {
        assert!(range_counts(&headers(&header::IF_RANGE, &[ETAG]), TAG));
        for value in ["\"x\"", "W/\"abc\"", "Wed, 21 Jan 2026 10:00:00 GMT", "*"] {
            assert!(
                !range_counts(&headers(&header::IF_RANGE, &[value]), TAG),
                "{value}"
            );
        }
    }

    #[test]
    fn dates_count_where_there_are_no_tags() {
        let outcome = |name, values: &[&'static str]| evaluate(&headers(&name, values), dated());
        for (date, not_modified, unmodified) in [
            (
                "Wed, 21 Jan 2026 09:59:59 GMT",
                Outcome::Perform,
                Outcome::Failed,
            ),
            (
                "Wed, 21 Jan 2026 10:00:00 GMT",
                Outcome::NotModified,
                Outcome::Perform,
            ),
            (
                "Wednesday, 21-Jan-26 10:00:00 GMT",
                Outcome::NotModified,
                Outcome::Perform,
            ),
            (
                "Wed Jan 21 10:00:00 2026",
                Outcome::NotModified,
                Outcome::Perform,
            ),
            (
                "Fri, 21 Jan 2028 10:00:00 GMT",
                Outcome::NotModified,
                Outcome::Perform,
            ),
            // What is no date is ignored.
            ("yesterday", Outcome::Perform, Outcome::Perform),
            ("", Outcome::Perform, Outcome::Perform),
        ] {
            assert_eq!(
                outcome(header::IF_MODIFIED_SINCE, &[date]),
                not_modified,
                "{date}"
            );
            assert_eq!(
                outcome(header::IF_UNMODIFIED_SINCE, &[date]),
                unmodified,
                "{date}"
            );
            let twice = outcome(header::IF_MODIFIED_SINCE, &[date, date]);
            assert_eq!(twice, Outcome::Perform, "{date}");
        }
        let later = "Thu, 22 Jan 2026 10:00:00 GMT";
        let earlier = "Tue, 20 Jan 2026 10:00:00 GMT";
        let mut known = headers(&header::IF_MODIFIED_SINCE, &[later]);
        assert_eq!(evaluate(&known, TAG), Outcome::Perform);
        known.extend(headers(&header::IF_NONE_MATCH, &["\"x\""]));
        assert_eq!(evaluate(&known, dated()), Outcome::Perform);
        let mut expected = headers(&header::IF_UNMODIFIED_SINCE, &[earlier]);
        expected.extend(headers(&header::IF_MATCH, &[ETAG]));
        assert_eq!(evaluate(&expected, dated()), Outcome::Perform);
    }

    #[test]
    fn a_range_counts_for_the_very_date() {
        for (date, counts) in [
            ("Wed, 21 Jan 2026 10:00:00 GMT", true),
            ("Wed, 21 Jan 2026 10:00:01 GMT", false),
            ("Wed, 21 Jan 2026 09:59:59 GMT", false),
            ("yesterday", false),
        ] {
            let headers = headers(&header::IF_RANGE, &[date]);
            assert_eq!(range_counts(&headers, dated()), counts, "{date}");
        }
    }
}
