//! Small state: what a node remembers across restarts beside content and records, by name.
//!
//! Each piece is saved whole and is there whole, or as it was saved the time before.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::disk::DiskError;
use crate::unavailable::Unavailable;

pub mod local;
pub mod memory;
#[cfg(test)]
mod tests;

/// What a piece of state is called, and of what kind and version it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateName {
    /// One that there is once.
    Single {
        /// Its name, such as `known-peers`, or `keeping/wanted`.
        name: &'static str,
        /// A word and a version, such as `larder-peers 1`.
        kind: &'static str,
    },
    /// One of many.
    OneOf(StateSet, String),
}

/// Pieces of one kind, each with an id.
#[derive(Debug, Clone, Copy)]
pub struct StateSet {
    /// What they are called together, such as `uploading`.
    pub name: &'static str,
    /// A word and a version.
    pub kind: &'static str,
    /// Whether what was saved is that of this id, and not of another one in its place, where a
    /// checksum tells nothing.
    pub is_of: fn(&str, &[u8]) -> bool,
    /// Whether a piece can have this id: what is called otherwise is somebody else's.
    pub is_id: fn(&str) -> bool,
}

/// Sets are told apart by their names.
impl PartialEq for StateSet {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for StateSet {}

/// A piece of a set that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its id.
    pub id: String,
    /// What was saved; None where it cannot be read now, as [`SmallState::load`] tells, or was set
    /// aside, since it was damaged.
    pub content: Option<Vec<u8>>,
    /// How long ago that was.
    pub age: Duration,
}

/// What can go wrong with small state.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateError {
    /// The system refused an operation, or no room is left.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A server that it needs is out of reach for now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A place for small state. Of one name there is one call at a time.
#[async_trait]
pub trait SmallState: Send + Sync + 'static {
    /// What was saved last, or the time before where that is damaged; None where nothing can be
    /// read. On an error nothing is known, and it may be read later.
    async fn load(&self, name: &StateName) -> Result<Option<Vec<u8>>, StateError>;

    /// Replaces what was saved. Ok means durable.
    async fn save(&self, name: &StateName, content: Vec<u8>) -> Result<(), StateError>;

    /// Forgets what was saved; nothing there is fine.
    async fn remove(&self, name: &StateName) -> Result<(), StateError>;

    /// Makes ready for pieces of a set, and finds those that are there, also what was set aside,
    /// since it was damaged, which goes after `keep_aside`.
    async fn prepare(&self, set: StateSet, keep_aside: Duration) -> Result<Vec<Saved>, StateError>;
}

impl StateName {
    /// A word and a version.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Single { kind, .. } => kind,
            Self::OneOf(set, _) => set.kind,
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single { name, .. } => f.write_str(name),
            Self::OneOf(set, id) => write!(f, "{}/{id}.state", set.name),
        }
    }
}
