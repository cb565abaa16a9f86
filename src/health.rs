//! In what health contents are, as whoever looks at them tells.

use crate::place::Place;

/// In what health a content was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// All of it is there, and has its hash.
    Whole,
    /// It is not all there, or not what its hash says.
    Damaged,
    /// The disk fails to give what is there: nobody knows what that is, and it is not to be had.
    Unreadable,
}

/// Hears in what health contents are found: on any thread, and without keeping it.
pub trait Findings: Send + Sync + 'static {
    /// What is kept at a place was found so.
    fn found(&self, place: Place, health: Health);
}
