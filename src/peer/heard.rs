//! Texts that peers tell, made fit to be shown and passed on: whatever they hold, no control
//! character, line break or mark that turns the direction of text comes further than here.

use crate::record::Timestamp;
use crate::safe_name::is_unsafe;

/// What a mark becomes that has no place in a name: one byte, so that no name grows.
const INSTEAD: char = '_';

/// A name, with another character in the place of each mark.
pub(super) fn name(text: String) -> String {
    if text.contains(is_unsafe) {
        text.replace(is_unsafe, &INSTEAD.to_string())
    } else {
        text
    }
}

/// A content type; none where it is not text of one line in ASCII, since it becomes a header.
/// It is advice, so the file is taken all the same.
pub(super) fn content_type(text: Option<String>) -> Option<String> {
    text.filter(|it| !it.is_empty() && it.bytes().all(|b| b == b' ' || b.is_ascii_graphic()))
}

/// A time as the peer wrote it; nothing where it is none.
pub(super) fn time(text: String) -> String {
    if text.parse::<Timestamp>().is_ok() {
        text
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_plain_stays_as_it_is() {
        // Letters and pictures that are joined, or kept apart, belong to how they are written.
        let joined = [
            "می\u{200c}خواهم.txt",
            "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}.txt",
        ];
        let plain = ["a b.txt", "фото.jpg", "あ.png", "e\u{301}", "a\u{fffd}", ""];
        for text in joined.into_iter().chain(plain) {
            assert_eq!(name(text.to_owned()), text);
        }
        for text in ["text/plain", "image/jpeg; name=\"a b\""] {
            assert_eq!(content_type(Some(text.to_owned())).as_deref(), Some(text));
        }
        for text in ["2026-01-21T10:00:00", "2026-01-21T10:00:00.123456"] {
            assert_eq!(time(text.to_owned()), text);
        }
    }

    #[test]
    fn marks_are_replaced_and_what_is_no_type_or_time_is_dropped() {
        assert_eq!(
            name("a\u{202e}gpj\r\n\u{1b}[2J\u{9b}.exe".to_owned()),
            "a_gpj___[2J_.exe"
        );
        for text in [
            "a/b\r\nX: 1",
            "a/b\u{1b}",
            "a/\u{202e}b",
            "",
            "a/b\0",
            "é/x",
        ] {
            assert_eq!(content_type(Some(text.to_owned())), None, "{text:?}");
        }
        for text in [
            "\u{1b}[2J",
            "now",
            "",
            "2026-01-21T10:00:00\u{1b}",
            "\n2026-01-21T10:00:00",
        ] {
            assert_eq!(time(text.to_owned()), "", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_heard_holds_a_mark_or_grows(text: String) {
            let heard = [
                name(text.clone()),
                content_type(Some(text.clone())).unwrap_or_default(),
                time(text.clone()),
            ];
            for it in heard {
                prop_assert!(!it.contains(is_unsafe) && it.len() <= text.len(), "{it:?}");
            }
        }
    }
}
