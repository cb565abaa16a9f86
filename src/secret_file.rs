//! Files that hold a secret, or decide who has one: they count only where nobody else can have
//! written them, and are told of where others may read them.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The user that may read and write everything anyway.
const ROOT: u32 = 0;

/// Tells the log what [`check`] has said of the file at `path`.
pub fn warn(path: &Path, warning: Option<String>) {
    if let Some(warning) = warning {
        let path = path.display();
        tracing::warn!(%path, "{warning}");
    }
}

/// What is to be said of who else may read an open file; fails with `PermissionDenied` where they
/// may write to it. Pipes, which are read once, are everybody's own affair. Blocks.
pub fn check(file: &File) -> io::Result<Option<String>> {
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(None);
    }
    judge(&about, rustix::process::geteuid().as_raw())
}

fn judge(about: &Metadata, own: u32) -> io::Result<Option<String>> {
    let mode = about.mode() & 0o777;
    if mode & 0o022 != 0 {
        let told =
            format!("others may write to it (mode {mode:04o}); `chmod 600` keeps it to its owner");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, told));
    }
    // A group of the administrator's choice may read what is the administrator's.
    let open = if about.uid() == ROOT { 0o004 } else { 0o044 };
    Ok(if mode & open != 0 {
        Some(format!(
            "others may read this secret (mode {mode:04o}); `chmod 600` keeps it to its owner"
        ))
    } else if ![own, ROOT].contains(&about.uid()) {
        Some("this secret belongs to another user, who may change it".to_owned())
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_others_may_write_is_refused_and_what_they_may_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "secret").unwrap();
        let judged = |mode, own| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            judge(&path.metadata().unwrap(), own)
        };
        let owner = path.metadata().unwrap().uid();
        for mode in [0o666, 0o620, 0o602, 0o777] {
            let refused = judged(mode, owner).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o444] {
            assert!(judged(mode, owner).unwrap().is_some(), "{mode:o}");
        }
        for mode in [0o600, 0o400, 0o700] {
            assert_eq!(judged(mode, owner).unwrap(), None, "{mode:o}");
        }
        let of_another = judged(0o600, owner + 1).unwrap();
        assert_eq!(of_another.is_some(), owner != ROOT);
        assert_eq!(judged(0o640, owner).unwrap().is_some(), owner != ROOT);
    }
}
