//! Keeping: fetching content to have a copy of one's own.
//!
//! What is wanted is written down before it is promised, and what has come of content that is
//! long outlives the process, so that a restart goes on where the
//! last one stopped. Content with a hash comes from all peers that hold it at once.

mod copies;
mod everything;
mod fetching;
mod keeper;
mod not_kept;
mod problems;
mod queue;
mod removed;
mod share;
mod shared;
mod shares;
mod turns;
mod unhashed;
mod wanted;

pub use fetching::KeepError;
pub use keeper::Keeper;
pub use not_kept::NotKept;
pub use problems::problems;
pub use queue::{KeepProgress, Stage};
pub use wanted::{KeepId, Naming, Wanted};
