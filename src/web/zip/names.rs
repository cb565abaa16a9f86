//! What files are called in an archive, wherever it is unpacked.

use std::collections::{HashMap, HashSet};

use crate::name_form::{composed, folded};
use crate::safe_name::{LONGEST_NAME, part, shortened};

/// What has no name of its own.
const NAMELESS: &str = "download";
/// Room for a number behind a name, in bytes.
const ROOM: usize = " (18446744073709551615)".len();

/// The names that are taken in an archive. Many file systems do not tell letters by their case, so
/// names that differ in nothing else are the same here.
#[derive(Default)]
pub(super) struct Names {
    files: HashSet<String>,
    folders: HashSet<String>,
    /// The number that was last given to a name of which there were several.
    numbers: HashMap<String, u64>,
}

impl Names {
    /// The path under which a file with this name lies in the archive, with slashes between its
    /// parts; nothing else lies there. Some systems take a backslash for a slash, and the first
    /// part for a drive where it is a letter with a colon.
    pub(super) fn take(&mut self, name: &str) -> String {
        let name = composed(name);
        let mut parts: Vec<String> = name.split(['/', '\\']).filter_map(part).collect();
        if parts.first().is_some_and(|it| is_drive(it)) {
            parts.remove(0);
        }
        let last = parts.pop().unwrap_or_else(|| NAMELESS.to_owned());
        let mut path = String::new();
        for folder in parts {
            path = self.free(&format!("{path}{folder}"), false);
            self.folders.insert(folded(&path));
            path.push('/');
        }
        path = self.free(&format!("{path}{last}"), true);
        self.files.insert(folded(&path));
        path
    }

    /// This path, or the same with the first number that nothing else has: no file is where a
    /// folder is, and of files only one is there.
    fn free(&mut self, path: &str, is_file: bool) -> String {
        let is_free = |it: &Self, path: &str| {
            let path = folded(path);
            !(it.files.contains(&path) || is_file && it.folders.contains(&path))
        };
        if is_free(self, path) {
            return path.to_owned();
        }
        let taken = folded(path);
        let mut number = self.numbers.get(&taken).copied().unwrap_or(1);
        loop {
            number += 1;
            let numbered = numbered(path, number);
            if is_free(self, &numbered) {
                // Files of the same name go on from here, folders stay where they were.
                let last = if is_file { number } else { number - 1 };
                self.numbers.insert(taken, last);
                return numbered;
            }
        }
    }
}

fn is_drive(part: &str) -> bool {
    matches!(part.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic())
}

/// `a/b.txt` as `a/b (2).txt`.
fn numbered(path: &str, number: u64) -> String {
    let (folder, last) = match path.rfind('/') {
        Some(at) => path.split_at(at + 1),
        None => ("", path),
    };
    let at = last.rfind('.').filter(|at| *at > 0).unwrap_or(last.len());
    let (stem, extension) = last.split_at(at);
    if last.len() + ROOM <= LONGEST_NAME {
        return format!("{folder}{stem} ({number}){extension}");
    }
    // With the number it may have become too long, and is cut at another place then.
    format!(
        "{folder}{}",
        shortened(&format!("{stem} ({number}){extension}"))
    )
}
