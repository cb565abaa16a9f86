//! What is wrong with the files of what is kept.

use std::path::{Path, PathBuf};

use super::keeper::wanted_file;
use super::removed::removed_file;
use super::unhashed::unhashed_file;

/// The damaged state files in `dir`, each with what is wrong. What was received of content is
/// compared with its hash when it is whole, before anybody gets it. Blocks.
pub fn problems(dir: &Path) -> Vec<(PathBuf, String)> {
    let files = [wanted_file(dir), unhashed_file(dir), removed_file(dir)];
    let problems = files.iter().filter_map(|file| {
        let problem = file.health().problem()?;
        Some((file.path().to_owned(), problem.to_owned()))
    });
    problems.collect()
}
