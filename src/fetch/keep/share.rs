//! What stands for the peer of a file where everything is kept.

use crate::peer::prefix::Key;
use crate::peer_id::PeerId;

/// Who shares places with whom: a peer that has served content or is named with nobody, any
/// other with all at its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Crowd {
    Known(PeerId),
    Strangers(Key),
}

/// What stands for the peer of a file that no user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) crowd: Crowd,
    /// Where it is; None of a peer that may fill the disk, as a named one may.
    pub(super) place: Option<Key>,
}
