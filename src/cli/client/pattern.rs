//! Patterns of names, as shells have them: those of bash with `globstar`.
//!
//! A pattern means whole names, part by part: what stands between two slashes is matched by what
//! does in the pattern, and `**` by any number of folders. A dot at the beginning of a part has to
//! be written.

use yash_fnmatch::{Config, Pattern as PartPattern, with_escape};

use crate::name_form;

/// A pattern, and what it means of a name.
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// Whether it ends with a slash, and so means all that is in the folders that match.
    means_folders: bool,
}

enum Part {
    /// Any number of folders.
    Folders,
    /// One part of a name.
    One(PartPattern),
}

/// How a name matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    No,
    /// A folder matches in which it is, and the pattern means files.
    FolderAlone,
    Yes,
}

impl Pattern {
    /// The pattern that a text is; None where it is none, or one that nothing can match.
    pub(super) fn of(text: &str) -> Option<Self> {
        if !text.contains(['*', '?', '[', '\\']) {
            return None;
        }
        let text = name_form::composed(text);
        let mut parts = Vec::new();
        for part in text.split('/').filter(|it| !it.is_empty()) {
            parts.push(match part {
                "**" => Part::Folders,
                part => Part::One(one(part)?),
            });
        }
        let means_folders = text.ends_with('/');
        if matches!(parts.last(), Some(Part::Folders)) && !means_folders {
            // At the end it means names as well.
            parts.push(Part::One(one("*")?));
        }
        Some(Self {
            parts,
            means_folders,
        })
    }

    /// How a whole name matches.
    pub(super) fn look(&self, name: &str) -> Match {
        let name = name_form::composed(name);
        let mut names = name.split('/').filter(|it| !it.is_empty()).peekable();
        // How many parts of the pattern may be behind us.
        let mut reached = vec![false; self.parts.len() + 1];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        self.pass_folders(&mut reached);
        let mut folder_matches = false;
        while let Some(name) = names.next() {
            reached = self.step(&reached, name);
            let matches = reached.last() == Some(&true);
            if names.peek().is_some() {
                folder_matches |= matches;
            } else if matches && !self.means_folders {
                return Match::Yes;
            }
        }
        match (folder_matches, self.means_folders) {
            (true, true) => Match::Yes,
            (true, false) => Match::FolderAlone,
            (false, _) => Match::No,
        }
    }

    /// What is reached behind one more part of the name.
    fn step(&self, reached: &[bool], name: &str) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        for (number, part) in self.parts.iter().enumerate() {
            if reached.get(number) != Some(&true) {
                continue;
            }
            let to = match part {
                Part::Folders if !name.starts_with('.') => number,
                Part::One(pattern) if pattern.is_match(name) => number + 1,
                Part::Folders | Part::One(_) => continue,
            };
            if let Some(to) = next.get_mut(to) {
                *to = true;
            }
        }
        self.pass_folders(&mut next);
        next
    }

    /// Any number of folders may be none.
    fn pass_folders(&self, reached: &mut [bool]) {
        for (number, part) in self.parts.iter().enumerate() {
            if matches!(part, Part::Folders)
                && reached.get(number) == Some(&true)
                && let Some(next) = reached.get_mut(number + 1)
            {
                *next = true;
            }
        }
    }
}

/// The pattern of one part of a name.
fn one(part: &str) -> Option<PartPattern> {
    let mut config = Config::default();
    config.anchor_begin = true;
    config.anchor_end = true;
    config.literal_period = true;
    PartPattern::parse_with_config(with_escape(part), config).ok()
}

/// The longest text that every name has which matches a pattern, if that is easily told.
pub(super) fn literal(pattern: &str) -> Option<&str> {
    let before_set = pattern.split('[').next().unwrap_or_default();
    // Folders that `**` stands for may be none, and then the slash is missing, too.
    let parts = before_set.split(['*', '?', '\\', '/']);
    let longest = parts.max_by_key(|it| it.len())?;
    Some(longest).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_matches_has_the_literal_text_of_the_pattern() {
        for (pattern, name) in [
            ("a*", "a.txt"),
            ("**/read.me", "read.me"),
            ("**/x/read.me", "x/read.me"),
            ("d/**/*.jpg", "d/e.jpg"),
            ("caf\u{e9}*", "cafe\u{301}.txt"),
            (r"a\*b", "a*b"),
            (r"x\[y", "x[y"),
            ("ph*/", "photos/a"),
        ] {
            let matched = Pattern::of(pattern).unwrap().look(name);
            assert_eq!(matched, Match::Yes, "{pattern} {name}");
            let literal = literal(pattern).map(name_form::folded);
            assert!(
                literal.is_none_or(|it| name_form::holds(name, &it)),
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_pattern_means_files_and_with_a_slash_at_its_end_folders() {
        for (pattern, name, matched) in [
            ("d*", "d/e", Match::FolderAlone),
            ("d*/", "d/e", Match::Yes),
            ("d*/", "d/e/f", Match::Yes),
            ("d*/", "dd", Match::No),
            ("d/**/", "d/e", Match::Yes),
            ("d/**/", "d/e/f", Match::Yes),
            ("d/**/", "e/d/f", Match::No),
            ("d/**/**/", "d/e", Match::Yes),
            ("**/", "e", Match::No),
            ("**/", "d/e", Match::Yes),
            ("**/", ".d/e", Match::No),
            ("d/*", "d/e/f", Match::FolderAlone),
            ("d/*", "d/e", Match::Yes),
            ("e*", "d/e", Match::No),
        ] {
            let look = Pattern::of(pattern).unwrap().look(name);
            assert_eq!(look, matched, "{pattern} {name}");
        }
    }

    #[test]
    fn no_name_and_no_pattern_takes_long() {
        let pattern = Pattern::of(&"**/a*/".repeat(50)).unwrap();
        assert_eq!(pattern.look(&"a/".repeat(2000)), Match::Yes);
        let pattern = Pattern::of(&format!("{}b", "**/a*/".repeat(50))).unwrap();
        assert_eq!(pattern.look(&"a/".repeat(2000)), Match::No);
    }
}
