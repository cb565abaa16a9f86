//! Damage in the journal, and what becomes of it.

use std::path::PathBuf;

use crate::index::IndexError;

/// Bytes of the journal that were durable once and cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it, in bytes from its start.
    pub offset: u64,
    /// How it shows.
    pub detail: String,
    /// Whether entries may be lost by it; else whatever is behind it is read all the same.
    pub gives_up: bool,
}

impl From<Damage> for IndexError {
    fn from(
        Damage {
            path,
            offset,
            detail,
            ..
        }: Damage,
    ) -> Self {
        Self::Damaged {
            path,
            offset,
            detail,
        }
    }
}

/// What happens with damage: an error stops the reading, Ok has it go on behind.
pub(in crate::index) type OnDamage<'a> = &'a mut dyn FnMut(Damage) -> Result<(), IndexError>;

/// Stops at the first damage.
pub(in crate::index) fn refuse(damage: Damage) -> Result<(), IndexError> {
    Err(damage.into())
}
