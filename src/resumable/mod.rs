//! Uploads that come in over several requests, and outlive connections and the process.
//!
//! Each is two files in a directory of its own: what has come, and a [state file] that says
//! what it will be. Bytes are appended in their order, so the length
//! of the first is how far the upload is.
//!
//! [state file]: crate::state_file

mod append;
mod entries;
mod error;
mod files;
mod finish;
mod open_spools;
mod state;
mod turns;
mod uploads;
mod visit;

pub use append::{Appending, Stopped};
pub use error::UploadError;
pub use files::problems;
pub use state::{Finished, NewUpload, UploadId};
pub use uploads::{Options, Uploads};
pub use visit::{Progress, Visit};
