//! What files of the network are called here.

use std::ffi::OsString;
use std::path::PathBuf;

use super::raw_name::name_of;
use crate::safe_name::{LONGEST_NAME, is_unsafe, part, shortened};

/// The last part of a name, under which one file is saved.
pub(super) fn last_part(name: &str) -> PathBuf {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    PathBuf::from(own_part(last).unwrap_or_else(|| "download".into()))
}

/// A whole name, as a path below the folder that files are saved in.
pub(super) fn path(name: &str) -> PathBuf {
    let path: PathBuf = name.split('/').filter_map(own_part).collect();
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
    let name = path.file_name().unwrap_or_default();
    let Some(text) = name.to_str() else {
        let mut name = name.to_owned();
        name.push(format!(".{number}"));
        return path.with_file_name(name);
    };
    let name = shortened(&format!("{text}.{number}"));
    path.with_file_name(name)
}

/// One part of a name as it was called where it was sent, or as it may be called here.
fn own_part(text: &str) -> Option<OsString> {
    let raw = name_of(text).filter(|it| it.len() <= LONGEST_NAME);
    let raw = raw.filter(|_| !text.contains(is_unsafe));
    raw.or_else(|| part(text).map(OsString::from))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::safe_name::LONGEST_NAME;

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
    fn a_name_that_is_no_text_is_what_it_was_and_no_stand_in_becomes_one() {
        use std::os::unix::ffi::OsStrExt;

        let bytes = |it: &Path| it.as_os_str().as_bytes().to_owned();
        assert_eq!(bytes(&last_part("d/a\u{fffd}FF")), b"a\xff");
        assert_eq!(bytes(&path("d\u{fffd}FE/a\u{fffd}FF")), b"d\xfe/a\xff");
        assert_eq!(bytes(&numbered(path("a\u{fffd}FF"), 2)), b"a\xff.2");
        for name in ["a\x1bFF", "a\u{202e}FF", "a\u{fffd}FF\x1b"] {
            assert!(last_part(name).to_str().is_some(), "{name:?}");
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
