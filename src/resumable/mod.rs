//! Uploads that come in over several requests, and outlive connections and the process.
//!
//! Each is [partial content], what has come, and [small state], which says what it will be and how
//! much of it counts. Bytes are appended in their order.
//!
//! [partial content]: crate::blob::Partials
//! [small state]: crate::small_state

mod append;
mod concat;
mod counted_here;
mod entries;
mod error;
mod finish;
mod id;
mod join;
mod open_partials;
mod problems;
mod remembered;
mod shared;
mod state;
mod turns;
mod uploads;
mod visit;
mod wishes;

pub use append::{Appending, Stopped};
pub use concat::{Concat, InvalidConcat};
pub use error::UploadError;
pub use id::UploadId;
pub use problems::problems;
pub use state::{Finished, NewUpload};
pub use uploads::Uploads;
pub use visit::{UploadProgress, Visit};
pub use wishes::{Unseen, Wishes};
