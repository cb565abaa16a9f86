//! Fetching: content that other nodes hold, read through this one.
//!
//! Content with a known hash is checked against it before a byte is given out, so it does
//! not matter who serves it: when a peer fails, lies or hangs, another goes on where it
//! stopped. Content of peers without hashes is passed through as it comes, its length
//! checked.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::BoxStream;

mod answer;
pub mod copies;
mod deal;
mod error;
mod experience;
mod fetcher;
mod filling;
pub mod keep;
mod places;
mod proven;
mod race;
mod reading;
mod receipt;
mod repairing;
mod unverified;
mod verified;
mod windows;

pub use error::{FetchError, PeerError};
pub use fetcher::{Claim, Failures, Fetcher, Options};
pub use repairing::{Pause, RepairError, Repaired, Repairing, partial_of, remove_gathered};
pub use unverified::UnverifiedContent;
pub use verified::VerifiedContent;

/// The bytes of a content, piece by piece. An error ends the stream; the end of the
/// stream means that all bytes were there.
pub type Pieces = BoxStream<'static, Result<Bytes, FetchError>>;

/// The bytes of `range` that `piece` has.
fn part(piece: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |offset| {
        usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(piece.len())
    };
    piece.slice(at(range.start)..at(range.end))
}
