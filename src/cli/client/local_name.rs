//! What files of the network are called here. Their names are anybody's: none leads elsewhere,
//! misleads whoever reads it, or is longer than a file system takes.

use std::path::PathBuf;

use super::output::is_unsafe;

/// The longest name of a file on the usual file systems, in bytes.
pub(super) const LONGEST_NAME: usize = 255;
/// The longest end of a name that tells of what kind the file is and stays whole, in bytes.
const LONGEST_EXTENSION: usize = 16;
/// How much of its hash stands for what was cut off a name, in digits.
const DIGITS: usize = 8;

/// The last part of a name, under which one file is saved.
pub(super) fn last_part(name: &str) -> PathBuf {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    PathBuf::from(part(last).unwrap_or_else(|| "download".to_owned()))
}

/// A whole name, as a path below the folder that files are saved in.
pub(super) fn path(name: &str) -> PathBuf {
    let path: PathBuf = name.split('/').filter_map(part).collect();
    if path.as_os_str().is_empty() || name.ends_with('/') {
        return path.join("download");
    }
    path
}

/// The same name with a number, for another file that goes by it.
pub(super) fn numbered(path: PathBuf, number: usize) -> PathBuf {
    if number == 0 {
        return path;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = shortened(&format!("{name}.{number}"));
    path.with_file_name(name)
}

/// One part of a path as it is called here; none where it would lead elsewhere.
fn part(text: &str) -> Option<String> {
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
fn shortened(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let (stem, extension) = match name.rfind('.') {
        Some(at) if name.len() - at <= LONGEST_EXTENSION => name.split_at(at),
        _ => (name, ""),
    };
    let hash = blake3::hash(name.as_bytes()).to_hex();
    let (digits, _) = hash.split_at(DIGITS);
    let room = LONGEST_NAME - extension.len() - "~".len() - digits.len();
    let (stem, _) = stem.split_at(stem.floor_char_boundary(room));
    format!("{stem}~{digits}{extension}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for (name, last, whole) in [
            ("a.txt", "a.txt", "a.txt"),
            ("../../etc/passwd", "passwd", "etc/passwd"),
            ("/etc/passwd", "passwd", "etc/passwd"),
            ("a//./b", "b", "a/b"),
            (r"..\..\boot.ini", "boot.ini", r"..\..\boot.ini"),
            ("..", "download", "download"),
            ("a/..", "download", "a"),
            ("folder/", "download", "folder/download"),
            ("", "download", "download"),
            (
                "a\0b\x1b[2J",
                "a\u{fffd}b\u{fffd}[2J",
                "a\u{fffd}b\u{fffd}[2J",
            ),
            (
                "x/a\u{202e}gpj.exe",
                "a\u{fffd}gpj.exe",
                "x/a\u{fffd}gpj.exe",
            ),
        ] {
            assert_eq!(last_part(name), Path::new(last), "{name:?}");
            assert_eq!(path(name), Path::new(whole), "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_at_a_character_and_stays_another_than_its_like() {
        let long = |end: &str| format!("{}{end}", "\u{3042}".repeat(90));
        let names = [
            "1.txt",
            "2.txt",
            ".jpeg",
            "",
            ".with a space and more than that",
        ];
        let cut: std::collections::BTreeSet<_> = names.map(|it| last_part(&long(it))).into();
        assert_eq!(cut.len(), names.len());
        for name in &cut {
            let text = name.to_str().unwrap();
            assert!((240..=LONGEST_NAME).contains(&text.len()), "{text}");
            assert!(!text.contains('\u{fffd}'), "{text}");
        }
        assert_eq!(last_part(&long("1.txt")).extension().unwrap(), "txt");
        let just = "a".repeat(LONGEST_NAME);
        assert_eq!(last_part(&just), Path::new(&just));
        let number = numbered(last_part(&just), 2);
        assert_eq!(number.extension().unwrap(), "2");
        assert!(number.as_os_str().len() <= LONGEST_NAME);
    }
}
