//! What is wrong with the files of what is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{keeper, removed, unhashed};
use crate::disk::RealDisk;
use crate::small_state::local::LocalState;

/// The damaged files of state in a storage directory, each with what is wrong. What was received
/// of content is compared with its hash when it is whole, before anybody gets it. Blocks.
pub fn problems(storage: &Path) -> Vec<(PathBuf, String)> {
    let state = LocalState::new(storage, Arc::new(RealDisk));
    let names = [keeper::NAME, unhashed::NAME, removed::NAME];
    let problems = names.iter().filter_map(|name| {
        let problem = state.problem(name)?;
        Some((state.path(name), problem.to_owned()))
    });
    problems.collect()
}
