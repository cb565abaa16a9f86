//! Backups of a node: which files it had at which moments, and their contents, each kept once.
//!
//! A directory of backups has `larder.backups`, which says its version; `contents/`, in which
//! contents are kept as in a storage directory ([`crate::blob::local`]), so that whatever is there
//! was proven when it came and is durable; and `moments/`, a file for each backup, by its number.
//! The list of all files of a moment is cut into pieces that are contents themselves
//! (`lists.rs`), and the file of the moment names those: what stays the same from backup to backup
//! is there once, and all of it is proven by its hash.
//!
//! The file of a moment comes last, after everything that it names, and goes first when it is
//! given up. So a backup that has one is whole, whatever was cut off when.

mod backups;
mod collecting;
mod directory;
mod error;
mod lists;
mod moments;
mod reading;
mod verify;
mod writing;

pub use backups::{Backups, Coming};
pub use collecting::Collected;
pub use error::BackupError;
pub use lists::Gathering;
pub use moments::{Found, Moment};
pub use verify::verify;
pub use writing::Writing;
