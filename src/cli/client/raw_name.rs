//! Names of files here as texts, and back.
//!
//! To this system a name is bytes, to a node a text. Each byte that is no part of one (UTF-8) is
//! written as U+FFFD and its two hexadecimal digits, and so is what only looks like that: two names
//! never become one text, and each text of a name becomes that name again.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Stands before the digits of a byte.
const MARK: char = '\u{fffd}';
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// The text of a name.
pub(super) fn text_of(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        let valid = chunk.valid();
        for (at, c) in valid.char_indices() {
            let looks_like_it = c == MARK && byte(valid.split_at(at + c.len_utf8()).1).is_some();
            if looks_like_it {
                write_bytes(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(c);
            }
        }
        write_bytes(&mut text, chunk.invalid());
    }
    text
}

/// The name of which this is the text, where that is another.
pub(super) fn name_of(text: &str) -> Option<OsString> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (first, behind) = rest.split_at(c.len_utf8());
        rest = behind;
        match byte(behind).filter(|_| c == MARK) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.split_at(2).1;
            }
            None => bytes.extend_from_slice(first.as_bytes()),
        }
    }
    let name = OsString::from_vec(bytes);
    // No other text than the one that it has stands for a name.
    (name != text && text_of(&name) == text).then_some(name)
}

fn write_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(MARK);
        for digit in [byte >> 4, byte & 15] {
            text.extend(DIGITS.get(usize::from(digit)).copied().map(char::from));
        }
    }
}

/// The byte, none of ASCII, whose digits a text begins with.
fn byte(text: &str) -> Option<u8> {
    let digit = |at: usize| {
        let digit = text.as_bytes().get(at)?;
        u8::try_from(DIGITS.iter().position(|it| it == digit)?).ok()
    };
    let byte = digit(0)? << 4 | digit(1)?;
    (!byte.is_ascii()).then_some(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_no_text_has_one_of_its_own() {
        for (name, text) in [
            (&b"plain"[..], "plain"),
            ("caf\u{e9}".as_bytes(), "caf\u{e9}"),
            (b"caf\xe9.txt", "caf\u{fffd}E9.txt"),
            (b"caf\xea.txt", "caf\u{fffd}EA.txt"),
            ("caf\u{fffd}.txt".as_bytes(), "caf\u{fffd}.txt"),
            ("caf\u{fffd}7F".as_bytes(), "caf\u{fffd}7F"),
            ("caf\u{fffd}e9".as_bytes(), "caf\u{fffd}e9"),
            (
                "caf\u{fffd}E9".as_bytes(),
                "caf\u{fffd}EF\u{fffd}BF\u{fffd}BDE9",
            ),
        ] {
            assert_eq!(text_of(OsStr::from_bytes(name)), text);
        }
    }

    #[test]
    fn a_text_stands_for_no_name_that_has_another_text() {
        for text in [
            "plain",
            "\u{fffd}",
            "\u{fffd}2F",
            "\u{fffd}C2\u{fffd}9B",
            "\u{fffd}E2\u{fffd}80\u{fffd}AE\u{fffd}FF",
            "\u{fffd}EF\u{fffd}BF\u{fffd}BDXY",
        ] {
            assert_eq!(name_of(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..4),
                    "[\u{fffd}8-9A-Ff]{0,4}".prop_map(String::into_bytes),
                ],
                0..6,
            ),
        ) {
            let name = OsString::from_vec(parts.concat());
            let text = text_of(&name);
            let back = name_of(&text).unwrap_or_else(|| text.into());
            prop_assert_eq!(back, name);
        }
    }
}
