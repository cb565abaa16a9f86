//! What other nodes change in an index that they share: the files in memory hear it, and those who
//! look by themselves what has changed.

use std::sync::Weak;

use super::feed::Feed;
use super::hot::HotFiles;
use crate::index::Elsewhere;
use crate::record::FileId;

/// Who hears of others' changes, as long as they are there. They are not told as own ones are: a
/// file is announced by the node that has taken it.
pub(super) struct Hearers {
    pub(super) hot: Weak<HotFiles>,
    pub(super) feed: Weak<Feed>,
}

impl Elsewhere for Hearers {
    fn removed(&self, id: FileId) {
        if let Some(hot) = self.hot.upgrade() {
            hot.forget(id);
        }
    }

    fn missed(&self) {
        if let Some(hot) = self.hot.upgrade() {
            hot.forget_all();
        }
    }

    fn changed(&self) {
        if let Some(feed) = self.feed.upgrade() {
            feed.told.advance();
        }
    }
}
