//! What is wrong with the files of a node beside those of its store.

use std::path::{Path, PathBuf};

use super::{KEEPING_DIR, PEERS_FILE, PEERS_KIND, UPLOADING_DIR};
use crate::fetch::keep;
use crate::peer::identity::Identity;
use crate::resumable;
use crate::state_file::StateFile;

/// The damaged files in a storage directory that no node uses, each with what is wrong: the key,
/// what is known of peers, what is to be kept, and uploads in parts. Blocks.
pub fn problems(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut problems: Vec<_> = Identity::problem(dir).into_iter().collect();
    let peers = StateFile::new(dir.join(PEERS_FILE), PEERS_KIND);
    if let Some(problem) = peers.health().problem() {
        problems.push((dir.join(PEERS_FILE), problem.to_owned()));
    }
    problems.extend(keep::problems(&dir.join(KEEPING_DIR)));
    let uploading = dir.join(UPLOADING_DIR);
    match resumable::problems(&uploading) {
        Ok(found) => problems.extend(found),
        Err(error) => problems.push((uploading, format!("cannot be read: {error}"))),
    }
    problems
}
