//! The storage directory of a command that needs it for itself.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use rustix::fs::Mode;
use rustix::process::{geteuid, umask};

use crate::config::NamedFile;
use crate::disk::DiskError;
use crate::index::IndexError;
use crate::owner::Owner;
use crate::store::DirectoryError;
use crate::store::local::{OpenError, Options};

#[derive(clap::Args)]
pub(super) struct Storage {
    #[command(flatten)]
    file: NamedFile,

    /// Directory that keeps the files; where a node is using it, that one alone can look at it.
    #[arg(
        long,
        env = "STORAGE_DIR",
        value_name = "DIR",
        default_value = "peer_storage"
    )]
    storage: PathBuf,
}

impl Storage {
    /// The settings file to read.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.path()
    }

    pub(super) fn options(&self) -> Options {
        Options::new(&self.storage)
    }
}

/// What helps where a backup is to be restored to the directory of a node that runs.
pub(super) const BESIDE_NODE: &str = "\
a backup is restored to a directory of its own: name another --storage and start a node there, or \
bring files into the node that runs, by `larder restore DEST --output FOLDER` and `larder put \
FOLDER`";

/// What helps where the journal is damaged.
pub(super) const ADVICE: &str = "`larder verify` names all damage, and `larder rebuild-index \
                                 --skip-damage` gives up what cannot be read and keeps the rest";

/// Why a command that should look at all of a storage directory has not begun, which says nothing
/// of what is stored: another process has the directory, or it is none, or not for this one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotChecked(pub(super) String);

/// Why the storage directory `dir` cannot be looked at by a command that needs it for itself, with
/// what helps: a [`NotChecked`], unless something in it is damaged.
pub(super) fn unchecked(error: OpenError, dir: &Path) -> anyhow::Error {
    let is_unchecked = match &error {
        OpenError::Directory(DirectoryError::Disk(error)) => {
            error.source.kind() == io::ErrorKind::PermissionDenied
        }
        OpenError::Directory(error) => !matches!(error, DirectoryError::Unreadable { .. }),
        _ => false,
    };
    match advised(error, dir) {
        error if is_unchecked => NotChecked(format!("{error:#}")).into(),
        error => error,
    }
}

/// Why the storage directory `dir` cannot be opened, with what helps.
pub(super) fn advised(error: OpenError, dir: &Path) -> anyhow::Error {
    if let OpenError::Index(IndexError::Damaged { .. }) = error {
        return anyhow!("{error}; {ADVICE}");
    }
    match error.of_disk() {
        Some(error) => of_owner(error.clone(), dir),
        None => error.into(),
    }
}

/// Why something could not be done in the storage directory `dir`, with what helps where that is
/// whose it is.
pub(super) fn of_owner(error: DiskError, dir: &Path) -> anyhow::Error {
    match ownership(&error, dir).or_else(|| misplaced(&error)) {
        Some(advice) => anyhow!("{:#}; {advice}", anyhow::Error::from(error)),
        None => error.into(),
    }
}

/// What helps where something that is no file, or no directory, is in the place of one.
fn misplaced(error: &DiskError) -> Option<String> {
    use io::ErrorKind::{AlreadyExists, InvalidData, IsADirectory, NotADirectory};
    let kinds = [AlreadyExists, InvalidData, IsADirectory, NotADirectory];
    kinds.contains(&error.source.kind()).then(|| {
        let path = error.path.display();
        format!(
            "move away what is at {path}, put back what belongs there if that was moved, and start \
             again"
        )
    })
}

/// What helps where a file in the storage directory `dir` is not this user's, as after somebody
/// has run larder there as root.
fn ownership(error: &DiskError, dir: &Path) -> Option<String> {
    if error.source.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    // Of a file in a directory that may not be entered only that one can be looked at.
    let inside = error.path.ancestors().take_while(|it| it.starts_with(dir));
    let mut looks = inside.filter_map(|it| Some((it, fs::metadata(it).ok()?.uid())));
    let (path, owner) = looks.next()?;
    if owner == geteuid().as_raw() {
        return None;
    }
    let (user, owner) = (Owner::of_process(), Owner::of_id(owner));
    Some(format!(
        "{} belongs to {owner}, and {user} runs this: `sudo chown -R {} '{}'` gives all of it back",
        path.display(),
        user.for_chown(),
        dir.display()
    ))
}

/// Why nothing is done with a storage directory of which not all is there yet.
pub(super) fn moving_in(dir: &Path) -> String {
    format!(
        "files are being moved into {}: `larder migrate`, or `larder restore`, has to come to its \
         end before",
        dir.display()
    )
}

/// Keeps what this process makes from now on to its owner, also what the lookup database
/// makes, which knows of no rights.
pub(super) fn keep_private() {
    umask(Mode::RWXG | Mode::RWXO);
}
