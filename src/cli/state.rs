//! Where commands remember something across runs.

use std::env;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// The user's state directory of larder (XDG Base Directory Specification); None where the
/// environment names none.
pub(super) fn state_directory() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|it| !it.is_empty());
    let home = || Some(PathBuf::from(variable("HOME")?).join(".local/state"));
    let state = variable("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    Some(state?.join("larder"))
}

/// Whether a folder is that directory, by whatever path it is reached. Blocks.
pub(super) fn is_state_directory(path: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|it| (it.dev(), it.ino()));
    let state = state_directory().and_then(|it| identity(&it));
    state.is_some() && state == identity(path)
}

/// Opens a file of this user alone for reading and writing, which is made where there is none, as
/// are the directories above it. A link is not followed. Blocks.
pub(super) fn open_state(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    options.mode(0o600).custom_flags(flags).open(path)
}
