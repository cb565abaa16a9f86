//! What is wrong with the files of a node beside those of its store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::RealDisk;
use crate::fetch::keep;
use crate::peer::identity::Identity;
use crate::peer::known_peers;
use crate::resumable;
use crate::small_state::local::LocalState;

/// The damaged files in a storage directory that no node uses, each with what is wrong: the key,
/// what is known of peers, what is to be kept, and uploads in parts. Blocks.
pub(super) fn problems(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut problems: Vec<_> = Identity::problem(dir).into_iter().collect();
    let state = LocalState::new(dir, Arc::new(RealDisk));
    if let Some(problem) = state.problem(&known_peers::PEERS) {
        problems.push((state.path(&known_peers::PEERS), problem.to_owned()));
    }
    problems.extend(keep::problems(dir));
    problems.extend(resumable::problems(dir));
    problems
}
