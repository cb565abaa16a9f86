//! What files are called in an archive, wherever it is unpacked.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

use crate::name_form::{composed, folded};
use crate::safe_name::{LONGEST_NAME, part, shortened};

/// What has no name of its own.
const NAMELESS: &str = "download";
/// Room for a number behind a name, in bytes.
const ROOM: usize = " (18446744073709551615)".len();

/// The names that are taken in an archive. Many file systems do not tell letters by their case, so
/// names that differ in nothing else are the same here.
///
/// A path may have thousands of folders, each of which is one itself, so that their texts would
/// take the square of its length: a number stands for each. Two paths that had the same one by
/// chance would cost a name the number behind it.
#[derive(Default)]
pub(super) struct Names {
    files: HashSet<u64>,
    folders: HashSet<u64>,
    /// The number that was last given to a name of which there were several.
    numbers: HashMap<u64, u64>,
    /// With a key of its own, so that nobody makes up paths of one number.
    keys: RandomState,
}

/// A place in an archive: the root, or what lies at a path.
#[derive(Clone)]
struct Place(DefaultHasher);

impl Place {
    /// What is so called in this folder.
    fn of(&self, name: &str) -> Self {
        let Self(mut path) = self.clone();
        folded(name).hash(&mut path);
        Self(path)
    }

    fn number(&self) -> u64 {
        self.0.finish()
    }
}

impl Names {
    /// How many folders there are.
    pub(super) fn folders(&self) -> usize {
        self.folders.len()
    }

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
        let (mut path, mut place) = (String::new(), Place(self.keys.build_hasher()));
        for folder in parts {
            let (name, inner) = self.free(&place, folder, false);
            self.folders.insert(inner.number());
            path.push_str(&name);
            path.push('/');
            place = inner;
        }
        let (name, file) = self.free(&place, last, true);
        self.files.insert(file.number());
        path.push_str(&name);
        path
    }

    /// This name in a folder, or the same with the first number that nothing else has: no file is
    /// where a folder is, and of files only one is there.
    fn free(&mut self, folder: &Place, name: String, is_file: bool) -> (String, Place) {
        let is_free = |it: &Self, place: &Place| {
            let number = place.number();
            !(it.files.contains(&number) || is_file && it.folders.contains(&number))
        };
        let place = folder.of(&name);
        if is_free(self, &place) {
            return (name, place);
        }
        let taken = place.number();
        let mut number = self.numbers.get(&taken).copied().unwrap_or(1);
        loop {
            number += 1;
            let numbered = numbered(&name, number);
            let place = folder.of(&numbered);
            if is_free(self, &place) {
                // Files of the same name go on from here, folders stay where they were.
                let last = if is_file { number } else { number - 1 };
                self.numbers.insert(taken, last);
                return (numbered, place);
            }
        }
    }
}

fn is_drive(part: &str) -> bool {
    matches!(part.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic())
}

/// `b.txt` as `b (2).txt`.
fn numbered(name: &str, number: u64) -> String {
    let at = name.rfind('.').filter(|at| *at > 0).unwrap_or(name.len());
    let (stem, extension) = name.split_at(at);
    let numbered = format!("{stem} ({number}){extension}");
    if name.len() + ROOM <= LONGEST_NAME {
        return numbered;
    }
    // With the number it may have become too long, and is cut at another place then.
    shortened(&numbered)
}
