//! Whose a storage directory is, and who else gets in.

use std::fs::metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::layout::FORMAT;
use crate::owner::Owner;

/// Whose the storage directory is, where that is not root, who runs this. That is told by the
/// file of the version, which a node makes at its first start: the directory around it may be
/// made by whoever sets up a container.
pub(super) fn other_owner(dir: &Path) -> Option<Owner> {
    let look = metadata(dir.join(FORMAT));
    let owner = look.or_else(|_| metadata(dir)).ok()?.uid();
    let is_foreign = rustix::process::geteuid().is_root() && owner != 0;
    is_foreign.then(|| Owner::of_id(owner))
}

/// Tells where others than the owner get in, as into a directory that an older larder made.
/// Some share theirs on purpose, so it is opened all the same.
pub(super) fn warn_of_others(path: &Path) {
    let Ok(look) = metadata(path) else {
        return;
    };
    let mode = look.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"),
            "other users of this machine may get at what is stored; `chmod 700` keeps them out");
    }
}
