//! What changes in the store, told to whoever listens as it happens.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
#[cfg(feature = "node")]
use tokio::sync::broadcast::error::TryRecvError;

use crate::hash::BlobHash;
use crate::record::FileRecord;
use crate::revision::Revision;

/// How many changes wait for a listener; one that is farther behind misses the oldest.
const WAITING: usize = 1024;

/// A change of what the store holds. It is durable, or will be as its durability says.
#[derive(Debug, Clone)]
pub enum Change {
    /// This file is there from now on.
    Added(Arc<FileRecord>),
    /// This file was there.
    Removed(Arc<FileRecord>),
    /// This content was found damaged.
    Damaged(BlobHash),
    /// The disk failed to give this content.
    Unreadable(BlobHash),
    /// This content is neither any longer: it was found whole or written again, or is gone.
    Mended(BlobHash),
}

/// What a listener hears.
#[derive(Debug)]
pub enum News {
    /// The next change. Changes of one file may come in another order than they were made, if
    /// they were made at the same time.
    Change(Change),
    /// So many changes were missed. Only a look at the store tells what they were.
    Missed(u64),
}

/// Hears of every change from when it began to listen.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Change>);

impl Changes {
    /// The next change; None when the store is gone.
    pub async fn next(&mut self) -> Option<News> {
        match self.0.recv().await {
            Ok(change) => Some(News::Change(change)),
            Err(RecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next one of those that were told until now; None where all of them were heard.
    #[cfg(feature = "node")]
    pub(super) fn next_told(&mut self) -> Option<News> {
        match self.0.try_recv() {
            Ok(change) => Some(News::Change(change)),
            Err(TryRecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

/// Tells changes to those who listen.
pub(super) struct Feed {
    sender: broadcast::Sender<Change>,
    /// For the first who listens: what has changed until then, as where a start removes what a
    /// crash has left.
    first: Mutex<Option<Changes>>,
    /// Counts what was told.
    pub(super) told: Revision,
}

impl Feed {
    pub(super) fn new() -> Self {
        let (sender, first) = broadcast::channel(WAITING);
        Self {
            sender,
            first: Mutex::new(Some(Changes(first))),
            told: Revision::default(),
        }
    }

    pub(super) fn tell(&self, change: Change) {
        // An error says that nobody listens.
        let _ = self.sender.send(change);
        self.told.advance();
    }

    /// The same of a change of a content's health, which nobody hears who begins to listen later:
    /// what is known to be damaged at a start is no news, and would take the places of what is.
    pub(super) fn tell_health(&self, change: Change) {
        let first = self.first.lock();
        if first.is_none() {
            self.tell(change);
        } else {
            self.told.advance();
        }
    }

    pub(super) fn listen(&self) -> Changes {
        let first = self.first.lock().take();
        first.unwrap_or_else(|| Changes(self.sender.subscribe()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{FileId, NewFile, Timestamp};

    fn added(number: u128) -> Change {
        let file = NewFile {
            name: number.to_string(),
            content_type: None,
            description: String::new(),
            size: 1,
            hash: BlobHash::of(b"x"),
        };
        Change::Added(Arc::new(FileRecord {
            id: FileId::from_bytes(number.to_be_bytes()),
            uploaded_at: Timestamp(0),
            file,
        }))
    }

    async fn heard(changes: &mut Changes) -> Result<String, u64> {
        match changes.next().await.unwrap() {
            News::Change(Change::Added(record) | Change::Removed(record)) => {
                Ok(record.file.name.clone())
            }
            News::Change(
                Change::Damaged(hash) | Change::Unreadable(hash) | Change::Mended(hash),
            ) => Ok(hash.to_string()),
            News::Missed(missed) => Err(missed),
        }
    }

    #[tokio::test]
    async fn the_first_listener_hears_what_changed_before_it_came() {
        let feed = Feed::new();
        feed.tell(added(1));
        let mut first = feed.listen();
        let mut second = feed.listen();
        feed.tell(added(2));
        assert_eq!(heard(&mut first).await, Ok("1".to_owned()));
        assert_eq!(heard(&mut first).await, Ok("2".to_owned()));
        assert_eq!(heard(&mut second).await, Ok("2".to_owned()));
        drop(feed);
        assert!(second.next().await.is_none());
    }

    #[tokio::test]
    async fn damage_that_was_known_before_takes_no_place_of_the_first_listener() {
        let (feed, damaged) = (Feed::new(), BlobHash::of(b"damaged"));
        feed.tell(added(1));
        for number in 0..2 * WAITING {
            let known = BlobHash::of(&number.to_le_bytes());
            feed.tell_health(Change::Damaged(known));
        }
        let mut first = feed.listen();
        feed.tell_health(Change::Damaged(damaged));
        assert_eq!(heard(&mut first).await, Ok("1".to_owned()));
        assert_eq!(heard(&mut first).await, Ok(damaged.to_string()));
    }

    #[tokio::test]
    async fn a_listener_that_lags_is_told_how_much_it_missed() {
        let feed = Feed::new();
        let mut changes = feed.listen();
        for number in 0..WAITING as u128 + 7 {
            feed.tell(added(number));
        }
        assert_eq!(heard(&mut changes).await, Err(7));
        assert_eq!(heard(&mut changes).await, Ok("7".to_owned()));
    }
}
