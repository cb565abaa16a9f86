//! Why a store over a database and a bucket cannot be opened.

use std::path::PathBuf;

use uuid::Uuid;

use super::directory::DirectoryError;
use crate::blob::{BlobError, s3};
use crate::index::IndexError;

/// Why a shared store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// This node's directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// This node's directory keeps files itself, which others would not have.
    #[error(
        "{} keeps files itself, which no node over a database and a bucket has: name another \
         --storage for this one",
        .0.display()
    )]
    HasFiles(PathBuf),
    /// The bucket has the content of another database's files, which would be collected.
    #[error(
        "in {bucket} is the content of the files of another database: name another bucket or \
         prefix with --blobs, or the other database with --index; where that one is gone for ever, \
         remove the object {bucket}/larder-owner"
    )]
    OtherDatabase {
        /// Its URL.
        bucket: String,
    },
    /// The bucket has nothing of what the files of the database need.
    #[error(
        "the files of the database have their content in another place than {bucket}, where there \
         is none: name what the other nodes do with --blobs and --s3-endpoint; where the bucket \
         has lost all of it, put the text {owner} there as the object larder-owner"
    )]
    OtherBucket {
        /// Its URL.
        bucket: String,
        /// Whose it would be.
        owner: Uuid,
    },
    /// Not all files are there yet.
    #[error(
        "a storage directory is being moved to the database: `larder migrate` has to come to its \
         end before"
    )]
    Moving,
    /// What is on its way there cannot be looked at.
    #[error(transparent)]
    Scratch(#[from] BlobError),
    /// The database cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The bucket cannot be used.
    #[error(transparent)]
    Blobs(#[from] s3::StoreError),
}

impl OpenError {
    /// The flags, named without hyphens, of which other values help, and nothing else; none where
    /// something else does.
    pub fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::Blobs(error) if error.is_of_settings() => &["blobs"],
            Self::Index(IndexError::NoDatabase(_)) => &["index"],
            Self::OtherDatabase { .. } | Self::OtherBucket { .. } => &["index", "blobs"],
            _ => &[],
        }
    }
}
