//! Copies: the members of a network hold each other's files, so that these outlast their owners.
//!
//! Each member decides for itself what it is to hold, from what it knows of the others (`members`)
//! and by what everybody finds alike ([`crate::placement`]); fetches it (`pulling`) into a store of
//! its own (`table`); and gives up what is too much, late, and once those that come before it have
//! said that they hold it (`surplus`). What an owner has removed it gives up at once, on the
//! owner's signature alone, and holds again only what its owner has signed since (`returned`).

mod counting;
mod following;
mod forgetting;
mod half;
mod holder;
mod members;
mod owners;
mod placing;
mod polling;
mod progress;
mod pulling;
mod recount;
mod remembered;
mod returned;
mod returning;
mod surplus;
mod table;
mod tally;
mod telling;
mod under;
mod unknown;
mod wished;
mod wishes;

pub use holder::{Copies, Counts, Held, MEMBERS, Options};
pub use members::Offer;
pub use returned::Removing;
pub use table::is_note;
pub use under::{Behind, UnderReplicated};
pub use wished::MOST_COPIES;
pub use wishes::{Spread, Unseen};
