//! What files of the network are called here.

use std::path::PathBuf;

use crate::safe_name::{part, shortened};

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
