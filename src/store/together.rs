//! What several nodes that have the same store know together of uploads, of copies and of others.

use std::sync::Arc;

use super::Store;
use crate::care_rows::CareRows;
use crate::keep_rows::KeepRows;
#[cfg(feature = "node")]
use crate::peer_rows::PeerRows;
use crate::upload_rows::Ledger;

impl Store {
    /// The uploads in parts that other nodes go on with, too; None where none does.
    pub fn ledger(&self) -> Option<Arc<Ledger>> {
        self.ledger.clone()
    }

    /// The copies that other nodes are to have, too; None where no other has this store.
    pub fn keeps(&self) -> Option<Arc<dyn KeepRows>> {
        self.keeps.clone()
    }

    /// What only one of the nodes does at a time that have the same store; None where it is alone.
    pub fn care(&self) -> Option<Arc<dyn CareRows>> {
        self.care.clone()
    }

    /// The peers that other nodes know, too; None where no other has this store.
    #[cfg(feature = "node")]
    pub fn peers(&self) -> Option<Arc<dyn PeerRows>> {
        self.peers.clone()
    }
}
