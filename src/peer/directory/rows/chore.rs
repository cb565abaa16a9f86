//! What is to be done with all rows of a peer.

use super::row::Row;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// What is to be done with the rows of a peer, which has this number, behind this key.
#[derive(Debug)]
pub(super) struct Chore {
    pub(super) work: Work,
    pub(super) peer: PeerId,
    pub(super) number: u16,
    pub(super) behind: Option<(FileId, u64)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// The peer is forgotten.
    Forget,
    /// What it has not told of its own files in this reading is dropped.
    DropUnread(u8),
    /// What it has told of copies is dropped.
    DropCopies,
    /// It is believed more or less than before.
    Rank,
}

impl Work {
    /// Whether it has to be done with this row, of a peer that is read so often and has this rank
    /// now.
    pub(super) fn is_due(self, row: &Row, reading: u8, rank: u8) -> bool {
        match self {
            Self::Forget => true,
            Self::DropUnread(ended) => {
                !row.is_copy() && row.reading != ended && row.reading != reading
            }
            Self::DropCopies => row.is_copy(),
            Self::Rank => row.rank() != rank,
        }
    }
}
