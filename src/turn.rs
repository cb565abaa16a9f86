//! Turns at work that several nodes may do, of whom one does it at a time.

use uuid::Uuid;

/// The turn at an upload in parts or at a copy that is on its way, until another one takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Of which upload or copy.
    pub of: Uuid,
    /// The number of the turn.
    pub epoch: i64,
}
