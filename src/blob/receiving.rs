//! Content on its way in: received piece by piece, finished, and kept.

use async_trait::async_trait;
use bytes::Bytes;

use super::BlobError;
use crate::hash::BlobHash;
use crate::pack_rows::Gathered;
use crate::place::Place;
use crate::turn::Turn;

/// How long content may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// The longest content that is taken, in bytes.
    pub longest: Option<u64>,
    /// The most content that is kept in all, in bytes: longer content never finds room.
    pub quota: Option<u64>,
}

impl Limit {
    /// Fails where content of so many bytes is never taken.
    pub fn check(&self, bytes: u64) -> Result<(), BlobError> {
        if let Some(longest) = self.longest.filter(|longest| bytes > *longest) {
            return Err(BlobError::TooLarge(longest));
        }
        match self.quota.filter(|quota| bytes > *quota) {
            Some(quota) => Err(BlobError::OverQuota { quota, free: None }),
            None => Ok(()),
        }
    }

    /// The longest content that is taken whatever limits it, in bytes; None where nothing does.
    pub fn bytes(&self) -> Option<u64> {
        self.longest.into_iter().chain(self.quota).min()
    }
}

/// Content that is being received. Whatever has come of it is gone when this is dropped.
#[async_trait]
pub trait Receiving: Send {
    /// Takes the next piece of the content; waits while the backend is behind. After an error
    /// every later call fails, and the content is lost.
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError>;

    /// The content is complete.
    async fn finish(self: Box<Self>) -> Result<Box<dyn Received>, BlobError>;
}

/// How content has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrival {
    /// Whether keeping it is so cheap, also where it is there already, that nobody has to prove
    /// before that what is there is whole: as of short content, which the backend compares by
    /// itself.
    pub is_cheap_to_keep: bool,
    /// The place in which it lies already, though nobody sees it there yet, where it went somewhere
    /// while it came: it is kept there and nowhere else. The backend has made that place up, and
    /// nobody else has it.
    pub place: Option<Place>,
    /// Whether it is so short that it is kept together with others, wherever the backend puts
    /// those: by [`Received::gather`], and in no place that an index gives out.
    pub is_gathered: bool,
    /// The turn at the upload that it is all of, where several nodes have that: a file is made of
    /// it by whoever has the turn, and once.
    pub turn: Option<Turn>,
}

/// Content that was received whole, and is not kept yet. It is gone when this is dropped.
#[async_trait]
pub trait Received: Send {
    /// The hash of the content.
    fn hash(&self) -> BlobHash;

    /// The length of the content, in bytes.
    fn size(&self) -> u64;

    /// What whoever keeps it has to know. One answer for all of it, so that whoever passes content
    /// on leaves out none.
    fn arrival(&self) -> Arrival;

    /// Keeps gathered content, and tells where; fails for any other. Ok means durable. On an error
    /// nothing of it is left that the end of the pack's lease does not end.
    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError>;

    /// Keeps it as the blob in this place. Ok means durable (within the backend's durability
    /// setting); whatever is there already is replaced, unless it is compared and is exactly this.
    /// On an error nothing of the blob is left; only after a failed sync, when nobody can tell
    /// what the disk holds, it may be there.
    async fn keep(self: Box<Self>, place: Place) -> Result<(), BlobError>;
}
