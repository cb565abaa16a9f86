//! How names are compared: as people read them, whichever way they were typed.
//!
//! A letter with a mark is one character or two (Unicode: NFC and NFD); keyboards and systems
//! differ in which they make, and nobody sees it. Names are kept as they came, and compared
//! in NFC.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

/// The form in which texts are compared.
pub(crate) fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// The form in which texts are compared whatever the case.
#[cfg(feature = "node")]
pub(crate) fn folded(text: &str) -> String {
    let lower = composed(text).to_lowercase();
    match composed(&lower) {
        // Most letters are one character in lower case, too.
        Cow::Borrowed(_) => lower,
        Cow::Owned(lower) => lower,
    }
}

/// Whether two names are one to people.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other || composed(one) == composed(other)
}

/// Whether a name holds a text that was [`folded`], whatever the case.
#[cfg(feature = "node")]
pub(crate) fn holds(name: &str, part: &str) -> bool {
    folded(name).contains(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_however_its_letters_were_typed() {
        for (one, other, same) in [
            ("caf\u{e9}", "cafe\u{301}", true),
            ("\u{ac00}", "\u{1100}\u{1161}", true),
            ("\u{212b}", "\u{c5}", true),
            // Two marks in either order.
            ("q\u{307}\u{323}", "q\u{323}\u{307}", true),
            ("a", "a", true),
            ("a", "A", false),
            ("caf\u{e9}", "cafe", false),
            // What only looks alike (NFKC) is another name.
            ("\u{fb01}", "fi", false),
        ] {
            assert_eq!(is_same(one, other), same, "{one} {other}");
        }
    }

    #[cfg(feature = "node")]
    #[test]
    fn a_part_of_a_name_is_found_in_either_form_and_any_case() {
        for name in ["CAF\u{c9}.txt", "cafe\u{301}.TXT", "Cafe\u{301}.txt"] {
            for part in ["caf\u{e9}", "CAFE\u{301}", "\u{e9}.t"] {
                assert!(holds(name, &folded(part)), "{name} {part}");
            }
        }
        assert!(!holds("cafe\u{301}", &folded("ef")));
    }
}
