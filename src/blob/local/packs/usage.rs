//! How much of each pack is dead.

use super::super::super::BlobError;
use super::dead::Dead;
use super::entry::Extent;
use super::options::Options;
use super::pack::Pack;
use crate::blob::pack_format::PACK_HEADER;

/// The pack that is appended to is not finished early for less than one such part of the
/// length of a pack, unless more of it is dead than alive.
const WORTH_FINISHING: u64 = 64;
/// Nor, where more of it is dead than alive, for less than one such part.
const WORTH_FINISHING_SMALL: u64 = 256;
/// In calm a pack is compacted of which more than one such part is dead.
const WORTH_IN_CALM: u64 = 5;

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

    /// When the pack is worth compacting: at once where more of it is dead than alive, and when
    /// nobody waits where more than a fifth of it is dead; and, as long as it is not `finished`,
    /// enough. At once, too, where there is nothing in one that is.
    pub(super) fn worth(&self, options: &Options, finished: bool) -> Worth {
        let entries = self.len.saturating_sub(PACK_HEADER.into());
        let part = if self.dead_bytes > entries / 2 {
            WORTH_FINISHING_SMALL
        } else {
            WORTH_FINISHING
        };
        let enough = finished || self.dead_bytes >= u64::from(options.pack_bytes) / part;
        let is_empty = finished && entries == 0;
        if self.given_up || !(is_empty || enough) {
            Worth::Nothing
        } else if is_empty || self.dead_bytes > entries / 2 {
            Worth::Now
        } else if self.dead_bytes > entries / WORTH_IN_CALM {
            Worth::InCalm
        } else {
            Worth::Nothing
        }
    }

    /// How much of it is alive, in bytes.
    pub(super) fn live_bytes(&self) -> u64 {
        self.len.saturating_sub(self.dead_bytes)
    }
}

/// When a pack is worth compacting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    Now,
    /// When nobody waits for the writing thread: the less of a pack is dead, the more is written
    /// for the room that it gives back.
    InCalm,
    Nothing,
}
