//! What files of the network are called here.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::raw_name::{name_of, text_of};
use crate::safe_name::{LONGEST_NAME, is_unsafe, part, shortened};

/// What has no name of its own.
const NAMELESS: &str = "download";

/// The last part of a name, under which one file is saved; where that is none, as behind a slash at
/// the end, the one before it.
pub(super) fn last_part(name: &str) -> PathBuf {
    let last = name.rsplit('/').find_map(own_part);
    PathBuf::from(last.unwrap_or_else(|| NAMELESS.into()))
}

/// A whole name, as a path below the folder that files are saved in. One that ends with a slash is
/// that of the folder in which others lie, so the file is in there, under the folder's name.
pub(super) fn path(name: &str) -> PathBuf {
    let mut path: PathBuf = name.split('/').filter_map(own_part).collect();
    if path.as_os_str().is_empty() {
        return NAMELESS.into();
    }
    if let Some(folder) = path.file_name().map(OsStr::to_owned)
        && name.ends_with('/')
    {
        path.push(folder);
    }
    path
}

/// Whether a path is what a name says, or this part of it.
pub(super) fn is_what_it_says(path: &Path, name: &str) -> bool {
    let is = |path: &Path| {
        let means = |it: &Component<'_>| *it != Component::CurDir;
        let name = Path::new(name).components().filter(means);
        name.eq(path.components())
    };
    is(path) || is(Path::new(&text_of(path.as_os_str())))
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
            (r"..\..\boot.ini", r"..\..\boot.ini", r"..\..\boot.ini"),
            (r"d/a\b", r"a\b", r"d/a\b"),
            ("..", "download", "download"),
            ("a/..", "a", "a"),
            ("folder/", "folder", "folder/folder"),
            ("a/folder//", "folder", "a/folder/folder"),
            ("/", "download", "download"),
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
    fn it_is_known_which_names_are_others_here() {
        for (name, is_whole) in [
            ("a.txt", true),
            ("d/e/a.txt", true),
            ("d//./a", true),
            (r"a\b", true),
            ("caf\u{fffd}E9", true),
            ("caf\u{fffd}EF\u{fffd}BF\u{fffd}BDE9", true),
            ("\u{fffd}EF\u{fffd}BF\u{fffd}BDXY", true),
            ("a\u{fffd}", true),
            ("a\nb", false),
            ("d\u{202e}/a", false),
            ("folder/", false),
            ("a/..", false),
            ("..", false),
            ("../a", false),
            ("/a", false),
            ("", false),
        ] {
            assert_eq!(is_what_it_says(&path(name), name), is_whole, "{name:?}");
        }
        let long = "a".repeat(LONGEST_NAME + 1);
        assert!(!is_what_it_says(&last_part(&long), &long));
        assert!(!is_what_it_says(&last_part("folder/"), ""));
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
