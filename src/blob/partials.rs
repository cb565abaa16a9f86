//! Content that comes over several requests, and outlives connections and the process.

use std::fmt::{self, Write};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::BlobError;
use super::receiving::{Limit, Received, Receiving};
use crate::hash::BlobHash;

/// By what partial content is found: 32 to 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartialId(String);

/// A text that is no such id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of partial content is 32 to 64 hexadecimal digits")]
pub struct InvalidPartialId;

/// The beginning of some content, by its length and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// Its length, in bytes.
    pub len: u64,
    /// Its hash.
    pub hash: BlobHash,
}

/// Partial content that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPartial {
    /// Which.
    pub id: PartialId,
    /// How many bytes of it are there, whether or not they are what came.
    pub len: u64,
    /// How long ago something of it was last written.
    pub age: Duration,
}

/// What partial content will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Files that are uploaded in parts.
    Uploads,
    /// Copies of what other nodes hold.
    Copies,
    /// What is to take the place of content that is not whole.
    Repairs,
}

/// Partial contents of one purpose. Whoever uses one has it to itself.
#[async_trait]
pub trait Partials: Send + Sync {
    /// Makes ready for the first of them, and finds every one that is there. Again is fine.
    async fn prepare(&self) -> Result<Vec<FoundPartial>, BlobError>;

    /// Goes on with content that will have `size` bytes, of which nothing need be there yet. What
    /// is `proven` of it is read once, to hash it, and whatever is behind that is cut off; where
    /// it is no longer that, it is [`BlobError::Damaged`]. Where nothing is proven, all that is
    /// there is taken, and its hash has to show at the end whether it was right.
    async fn resume(
        &self,
        id: &PartialId,
        size: u64,
        proven: Option<Proven>,
        limit: Limit,
    ) -> Result<Box<dyn Partial>, BlobError>;

    /// Goes on with content that will have `size` bytes, whose pieces come in any order. Once all
    /// are here, [`Partials::resume`] takes it as it is, and its hash has to show whether it was
    /// right.
    async fn fill(
        &self,
        id: &PartialId,
        size: u64,
        limit: Limit,
    ) -> Result<Arc<dyn Filling>, BlobError>;

    /// The longest of `beginnings`, which are in order, that is still there; it is durable then.
    async fn longest(
        &self,
        id: &PartialId,
        beginnings: Vec<Proven>,
    ) -> Result<Option<Proven>, BlobError>;

    /// Cuts off whatever is behind the first `counts` bytes, and tells how many of them are
    /// there.
    async fn cut(&self, id: &PartialId, counts: u64) -> Result<u64, BlobError>;

    /// Up to `len` bytes from `offset` on; fewer where less is there.
    async fn read(&self, id: &PartialId, offset: u64, len: usize) -> Result<Bytes, BlobError>;

    /// Makes what has come of `from` what has come of `to`, of which nothing may be there. Ok means
    /// that this lasts; nothing there is fine. Neither may be open.
    async fn rename(&self, from: &PartialId, to: &PartialId) -> Result<(), BlobError>;

    /// Removes what has come; nothing there is fine.
    async fn remove(&self, id: &PartialId) -> Result<(), BlobError>;
}

/// Partial content whose pieces come in any order, in chunk groups of 16 KiB. What was written
/// stays when this is dropped.
#[async_trait]
pub trait Filling: Send + Sync {
    /// How many bytes are here.
    fn here(&self) -> u64;

    /// The bytes of `range` that are missing first, by whole groups, with the few that may be here
    /// between them; None where all are here.
    fn missing(&self, range: Range<u64>) -> Option<Range<u64>>;

    /// Writes pieces where they belong, one after the other from `offset` on. The whole groups of
    /// them are here from then on, also for who fills it after a crash of the process. Tells how
    /// many bytes were missing before.
    async fn fill(&self, offset: u64, pieces: Vec<Bytes>) -> Result<u64, BlobError>;
}

/// Partial content that is gone on with. What was written stays when this is dropped, and after
/// an error; once it is finished and kept it is a blob, and no longer partial.
#[async_trait]
pub trait Partial: Receiving {
    /// How many bytes are here.
    fn received(&self) -> u64;

    /// What is written, durable or not, and by what it can be proven. Some of what was taken may
    /// be on its way yet.
    async fn written(&mut self) -> Result<Proven, BlobError>;

    /// Makes durable what is here, and tells by what that can be proven when it is resumed. After
    /// an error nobody knows what came since the last time.
    async fn sync(&mut self) -> Result<Proven, BlobError>;

    /// What was synced, or was written, is written down, so that what it has replaced is needed by
    /// nobody.
    async fn noted(&mut self) {}

    /// Gives up what came since the last time, and waits for what of it is on its way.
    async fn give_up(mut self: Box<Self>) {
        // How that ends does not matter.
        let _ = self.sync().await;
    }

    /// The content is complete. It stays as partial content, too, for whoever has to finish it
    /// again.
    async fn finish_copy(self: Box<Self>) -> Result<Box<dyn Received>, BlobError>;
}

impl PartialId {
    /// The id of these bytes, 16 to 32 of them.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digits = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a text does not fail.
            let _ = write!(digits, "{byte:02x}");
        }
        Self(digits)
    }
}

impl fmt::Display for PartialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PartialId {
    type Err = InvalidPartialId;

    fn from_str(text: &str) -> Result<Self, InvalidPartialId> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_id = (32..=64).contains(&text.len()) && text.bytes().all(is_digit);
        is_id.then(|| Self(text.to_owned())).ok_or(InvalidPartialId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_an_id_so_that_none_leads_elsewhere() {
        for bytes in [&[0xab; 16][..], &[7; 32]] {
            let id = PartialId::of(bytes);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let long = "a".repeat(65);
        for text in [
            "",
            ".",
            "../../../../../../../../../../../a",
            &long,
            &"A".repeat(32),
        ] {
            assert_eq!(text.parse::<PartialId>(), Err(InvalidPartialId), "{text}");
        }
    }
}
