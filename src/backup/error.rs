//! Why something cannot be done with backups.

use std::path::PathBuf;

use crate::blob::BlobError;
use crate::disk::DiskError;

/// Why something cannot be done with a directory of backups.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Another process has it open.
    #[error(
        "{} is in use by another larder: one at a time makes, checks or restores a backup there",
        .0.display()
    )]
    InUse(PathBuf),
    /// It is none.
    #[error("{} is no directory of backups; `larder backup` makes one", .0.display())]
    Absent(PathBuf),
    /// Something else is there.
    #[error(
        "something else is in {}, and a directory of backups has nothing beside them: name one \
         that is empty or not there yet",
        .0.display()
    )]
    Foreign(PathBuf),
    /// It is a file.
    #[error("{} is no directory, and backups are made in one", .0.display())]
    NoDirectory(PathBuf),
    /// It is in a storage directory, or is one.
    #[error(
        "{} is the storage directory of a node, or is in it: backups go elsewhere, best to another \
         disk",
        .0.display()
    )]
    InStorage(PathBuf),
    /// A newer larder has made it.
    #[error(
        "{} was made by a newer larder (version {found}; this one knows up to {known})",
        .path.display()
    )]
    Newer {
        /// What says so.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The last one that is known here.
        known: u32,
    },
    /// It tells a version that is none, and no backup in it can be read.
    #[error(
        "{} is damaged, and no backup beside it can be read: the line `larder-backups 1` should \
         stand there",
        .0.display()
    )]
    Unreadable(PathBuf),
    /// Which backups there are is gone.
    #[error(
        "{} is gone, and with it which backups there were; make that directory again, empty, to \
         begin anew with the contents that are there",
        .0.display()
    )]
    NoMoments(PathBuf),
    /// Something in it that is no content is not as it was written.
    #[error("{} is damaged: {detail}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        detail: String,
    },
    /// No backup has this number, or is as old.
    #[error("{0}")]
    NoSuch(String),
    /// The system refused an operation.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Content could not be kept or read.
    #[error(transparent)]
    Content(#[from] BlobError),
}

impl BackupError {
    /// Whether nothing was begun, since the directory is none for that.
    pub fn is_of_directory(&self) -> bool {
        matches!(
            self,
            Self::InUse(_)
                | Self::Absent(_)
                | Self::Foreign(_)
                | Self::NoDirectory(_)
                | Self::InStorage(_)
                | Self::NoMoments(_)
                | Self::Unreadable(_)
                | Self::Newer { .. }
        )
    }

    /// Whether something in the directory is damaged.
    pub fn is_damage(&self) -> bool {
        let is_damaged = |it: &BlobError| matches!(it, BlobError::Damaged { .. });
        match self {
            Self::Damaged { .. } => true,
            Self::Content(error) => is_damaged(error),
            _ => false,
        }
    }
}
