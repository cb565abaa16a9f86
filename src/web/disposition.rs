//! `Content-Disposition` of downloads (RFC 6266, RFC 8187).

use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::safe_name;

/// All but the `attr-char` of RFC 8187, section 3.2.1.
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Whether something can be saved under this name.
pub(crate) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
}

/// The header that has a browser save a download under `name`, whatever it holds.
///
/// A name that a quoted string does not carry exactly goes into `filename*`, with a stand-in for
/// clients that do not know it, such as curl: readable as far as it can be, and another one for
/// each name, so that none is saved over another. It has no percent signs, which some would take
/// for escapes and others for the name (RFC 6266, appendix D).
pub(crate) fn attachment(name: &str) -> HeaderValue {
    named("attachment", name)
}

/// The header that has a browser show a file, and save it under `name` when asked to.
pub(crate) fn inline(name: &str) -> HeaderValue {
    named("inline", name)
}

fn named(disposition: &'static str, name: &str) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let text = if plain == name {
        format!("{disposition}; filename=\"{plain}\"")
    } else {
        let exact = utf8_percent_encode(name, EXTENDED);
        let plain = safe_name::told_apart(&plain, name);
        format!("{disposition}; filename=\"{plain}\"; filename*=UTF-8''{exact}")
    };
    // Only printable ASCII is left, which every header value may hold.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(disposition))
}

/// Whether a character means itself in a quoted string, to every client: a
/// backslash quotes, some decode percent signs, and a slash would be a path.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%' | '/')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::web::parameters::Parameters;

    /// The name that a client takes from the header: RFC 6266 prefers `filename*`.
    fn saved_as(header: &HeaderValue) -> String {
        let parameters = Parameters::parse(header.as_bytes());
        assert_eq!(parameters.value, "attachment");
        let plain = String::from_utf8(parameters.get("filename").unwrap().to_vec()).unwrap();
        let Some(extended) = parameters.get("filename*") else {
            return plain;
        };
        let encoded = extended.strip_prefix(b"UTF-8''").unwrap();
        let decoded = percent_encoding::percent_decode(encoded).decode_utf8();
        decoded.unwrap().into_owned()
    }

    #[test]
    fn plain_names_stay_readable() {
        assert_eq!(
            attachment("my report (1).pdf"),
            "attachment; filename=\"my report (1).pdf\""
        );
        assert_eq!(
            attachment("\u{20ac} rates"),
            "attachment; filename=\"_ rates~846be732\"; filename*=UTF-8''%E2%82%AC%20rates"
        );
    }

    #[test]
    fn the_stand_in_is_never_a_path() {
        let header = attachment("../../etc/passwd");
        let parameters = Parameters::parse(header.as_bytes());
        let stand_in = str::from_utf8(parameters.get("filename").unwrap()).unwrap();
        assert!(!stand_in.contains(['/', '\\', ':']), "{stand_in}");
    }

    #[test]
    fn names_that_ascii_does_not_carry_have_stand_ins_of_their_own_kind_each_another() {
        let stand_in = |name: &str| {
            let header = attachment(name);
            let parameters = Parameters::parse(header.as_bytes());
            String::from_utf8(parameters.get("filename").unwrap().to_vec()).unwrap()
        };
        let names = [
            "\u{65e5}\u{672c}\u{8a9e}.txt",
            "\u{4e2d}\u{56fd}\u{8a9e}.txt",
            "___.txt",
            "a/b.txt",
            "a_b.txt",
            "a%b.txt",
        ];
        let stand_ins: BTreeSet<_> = names.into_iter().map(stand_in).collect();
        assert_eq!(stand_ins.len(), names.len(), "{stand_ins:?}");
        assert!(
            stand_ins.iter().all(|it| it.contains(".txt")),
            "{stand_ins:?}"
        );
        assert!(stand_ins.iter().all(|it| it.is_ascii()), "{stand_ins:?}");
    }

    #[test]
    fn the_longest_name_fits_a_header() {
        let name = "\u{1f600}".repeat(1024);
        assert_eq!(saved_as(&attachment(&name)), name);
    }

    proptest! {
        #[test]
        fn every_name_comes_back_exactly(name in any::<String>()) {
            prop_assert_eq!(saved_as(&attachment(&name)), name);
        }

        #[test]
        fn hard_names_come_back_exactly(name in "[\"\\\\%/;=' \r\n\t\u{0}a\u{e9}\u{1f600}]{0,40}") {
            let header = attachment(&name);
            prop_assert!(header.as_bytes().iter().all(|b| matches!(b, b' '..=b'~')));
            prop_assert_eq!(saved_as(&header), name);
        }
    }
}
