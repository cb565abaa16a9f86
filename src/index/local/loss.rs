//! What the journal has lost for good, remembered over restarts until whoever runs the node
//! settles it: until then content that no record needs may be that of a lost record.

use std::path::Path;

use super::options::Options;
use crate::index::IndexError;
use crate::state_file::StateFile;

pub(super) const FILE: &str = "journal.loss";
const KIND: &str = "larder-loss 1";

fn file(dir: &Path) -> StateFile {
    StateFile::new(dir.join(FILE), KIND)
}

/// How many changes the journal of this storage directory has lost since the last
/// [`settle`]; at least one where the number cannot be read. None where nothing is lost. Blocks.
pub fn noted(dir: &Path) -> Option<u64> {
    let file = file(dir);
    let is_absent = |path: &Path| {
        std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    };
    let damaged = file.path().with_extension("loss.damaged");
    if is_absent(file.path()) && is_absent(&damaged) {
        return None;
    }
    let saved = file.load().ok().flatten();
    let number = saved.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok());
    Some(number.unwrap_or(1))
}

/// Remembers that so many changes more are lost, before anything is built upon what is left.
/// Blocks.
pub(super) fn note(options: &Options, changes: u64) -> Result<(), IndexError> {
    let lost = noted(&options.dir).unwrap_or(0).saturating_add(changes);
    tracing::error!(
        changes,
        "the journal has lost changes, and nothing has them; content that no file needs is kept \
         until `larder rebuild-index --forget-loss`"
    );
    let file = file(&options.dir);
    let saved = file.save(format!("{lost}\n").as_bytes());
    saved.map_err(|e| IndexError::io("write", file.path(), e))
}

/// Forgets what is lost. Blocks.
pub(super) fn settle(options: &Options) -> Result<(), IndexError> {
    let file = file(&options.dir);
    let removed = file.remove(&*options.disk);
    removed.map_err(|e| IndexError::io("remove", file.path(), e))
}
