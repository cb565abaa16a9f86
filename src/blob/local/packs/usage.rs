//! How much of each pack is dead.

use super::super::super::BlobError;
use super::dead::Dead;
use super::entry::Extent;
use super::options::Options;
use super::pack::Pack;
use crate::blob::pack_format::PACK_HEADER;

/// The pack that is appended to is not finished early for less than one such part of the
/// length of a pack.
const WORTH_FINISHING: u64 = 64;

/// How much of a pack is dead.
pub(super) struct Usage {
    dead: Dead,
    dead_bytes: u64,
    /// The length of the pack, in bytes.
    pub(super) len: u64,
    /// Whether compacting the pack has failed: it is left alone until the next start.
    pub(super) given_up: bool,
}

impl Usage {
    /// The usage of a pack of which so many bytes are dead.
    pub(super) fn new(dead: Dead, len: u64, dead_bytes: u64) -> Self {
        Self {
            dead,
            dead_bytes,
            len,
            given_up: false,
        }
    }

    /// Writes down that an entry is dead. Blocks.
    pub(super) fn bury(
        &mut self,
        options: &Options,
        pack: &Pack,
        extent: Extent,
    ) -> Result<(), BlobError> {
        self.dead.add(options, pack, extent.offset)?;
        self.dead_bytes += extent.bytes();
        Ok(())
    }

    /// Whether more of the pack is dead than alive, and enough of one that is not finished; or
    /// there is nothing in one that is.
    pub(super) fn is_worth_compacting(&self, options: &Options, finished: bool) -> bool {
        let enough = finished || self.dead_bytes >= u64::from(options.pack_bytes) / WORTH_FINISHING;
        let entries = self.len.saturating_sub(PACK_HEADER.into());
        let is_empty = finished && entries == 0;
        (is_empty || enough && self.dead_bytes > entries / 2) && !self.given_up
    }
}
