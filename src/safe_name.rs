//! Names of files as people and file systems can take them. A name is anybody's: none leads
//! elsewhere, misleads whoever reads it, or is longer than a file system takes.

/// The longest name of a file on the usual file systems, in bytes.
pub(crate) const LONGEST_NAME: usize = 255;
/// The longest end of a name that tells of what kind the file is and stays whole, in bytes.
const LONGEST_EXTENSION: usize = 16;
/// How much of its hash stands for what was cut off a name, in digits.
const DIGITS: usize = 8;

/// Whether a character commands a terminal rather than being shown, or has what stands around it
/// shown in another order or not at all (Unicode: Cc, Zl, Zp, and of Cf all but those between
/// letters that are shown together).
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One part of a path as a file or a folder may be called; none where it would lead elsewhere.
pub(crate) fn part(text: &str) -> Option<String> {
    let safe = text
        .chars()
        .map(|c| if is_unsafe(c) { '\u{fffd}' } else { c });
    match safe.collect::<String>().as_str() {
        "" | "." | ".." => None,
        safe => Some(shortened(safe)),
    }
}

/// A name that is cut at a character, where it is too long, and still another one than those of
/// which the rest differs.
pub(crate) fn shortened(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let (stem, extension) = split(name);
    let digits = digits_of(name);
    let room = LONGEST_NAME - extension.len() - "~".len() - digits.len();
    let (stem, _) = stem.split_at(stem.floor_char_boundary(room));
    format!("{stem}~{digits}{extension}")
}

/// What stands for a name where not all of its characters can, told apart from what stands for
/// others, with the ending that tells of what kind the file is.
pub(crate) fn told_apart(stand_in: &str, name: &str) -> String {
    let (stem, extension) = split(stand_in);
    format!("{stem}~{}{extension}", digits_of(name))
}

/// A name without the ending that tells of what kind the file is, and that.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if name.len() - at <= LONGEST_EXTENSION => name.split_at(at),
        _ => (name, ""),
    }
}

/// What tells names apart that have become alike.
fn digits_of(name: &str) -> String {
    let mut digits = blake3::hash(name.as_bytes()).to_hex().to_string();
    digits.truncate(DIGITS);
    digits
}
