//! Making files of content that has come.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};

use super::feed::Change;
use super::quota::{Reservation, TakenRoom};
use super::{Store, StoreError};
use crate::blob::{Arrival, BlobError, Received};
use crate::hash::BlobHash;
use crate::index::{IndexError, Intent, Put};
use crate::record::{FileRecord, NewFile};
use crate::turn::Turn;

/// What an upload tells beside its content.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The file's name; at most [`crate::record::MAX_NAME_BYTES`].
    pub name: String,
    /// The content type, if the client gave one.
    pub content_type: Option<String>,
    /// The description, possibly empty.
    pub description: String,
}

/// A blob that is durable. While it lives, the index lets nobody collect the blob;
/// only from it a record can be made.
pub(super) struct CommittedBlob {
    hash: BlobHash,
    size: u64,
    intent: Intent,
    reserved: Option<Reservation>,
    /// What has come, where it was not written since the content was there.
    unwritten: Option<Box<dyn Received>>,
}

impl CommittedBlob {
    /// For a record that has its id and time from elsewhere. No quota counts it.
    pub(super) fn into_intent(self) -> Intent {
        self.intent
    }
}

impl Store {
    /// Keeps content as a new file. Ok means blob and record are durable.
    ///
    /// Once begun it runs to its end even when the caller goes away, so that no
    /// blob is left without a record.
    pub async fn ingest(
        &self,
        content: Box<dyn Received>,
        about: About,
    ) -> Result<FileRecord, StoreError> {
        self.ingest_arrived(content, about, None).await
    }

    /// The same for content that has taken `room` as it came, of which nothing is left once it is
    /// a file.
    pub async fn ingest_arrived(
        &self,
        content: Box<dyn Received>,
        about: About,
        room: Option<Arc<TakenRoom>>,
    ) -> Result<FileRecord, StoreError> {
        self.change(|store| async move { store.make(content, about, room).await })
            .await
    }

    /// Makes a file of content, and begins again where what was there is collected before the file
    /// stands.
    async fn make(
        &self,
        mut content: Box<dyn Received>,
        about: About,
        room: Option<Arc<TakenRoom>>,
    ) -> Result<FileRecord, StoreError> {
        loop {
            let mut committed = self.commit(content, room.clone()).await?;
            let unwritten = committed.unwritten.take();
            match (self.record(committed, about.clone()).await, unwritten) {
                (Err(StoreError::Index(IndexError::Lost)), Some(again)) => content = again,
                (recorded, _) => return recorded,
            }
        }
    }

    /// Keeps content as a new file unless a file has it; then what is stored of it
    /// is made whole where it is not. Ok means durable; None that a file had it. `room` as for
    /// [`Store::ingest_arrived`]. Where the file ends a copy that several nodes may fetch, it is
    /// made only in the `turn` of this one.
    pub async fn ingest_missing(
        &self,
        content: Box<dyn Received>,
        about: About,
        room: Option<Arc<TakenRoom>>,
        turn: Option<Turn>,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.change(move |store| async move {
            let mut committed = store.commit(content, room).await?;
            committed.intent = committed.intent.ending(turn);
            store.record_missing(committed, about).await
        })
        .await
    }

    /// Makes one more file of content that a file has already; None where none has, or it is not
    /// whole. It takes no room. Ok means that the record is durable. `turn` as for
    /// [`Store::ingest_missing`].
    pub async fn ingest_held(
        &self,
        hash: BlobHash,
        about: About,
        turn: Option<Turn>,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.change(move |store| async move {
            let Some(size) = store.stored_size(&hash).await? else {
                return Ok(None);
            };
            let intent = store.index.intend(&hash, size).await?;
            if !(intent.is_there() && store.has_whole(&hash, size, &intent).await?) {
                return Ok(None);
            }
            let held = CommittedBlob {
                hash,
                size,
                intent: intent.ending(turn),
                reserved: None,
                unwritten: None,
            };
            match store.record(held, about).await {
                Err(StoreError::Index(IndexError::Lost)) => Ok(None),
                recorded => recorded.map(Some),
            }
        })
        .await
    }

    async fn record_missing(
        &self,
        blob: CommittedBlob,
        about: About,
    ) -> Result<Option<FileRecord>, StoreError> {
        if self.is_needed(&blob.hash).await? {
            return Ok(None);
        }
        self.record(blob, about).await.map(Some)
    }

    pub(super) async fn commit(
        &self,
        content: Box<dyn Received>,
        room: Option<Arc<TakenRoom>>,
    ) -> Result<CommittedBlob, StoreError> {
        let (hash, size) = (content.hash(), content.size());
        let arrival = content.arrival();
        let (intent, is_there) = self.intend(&hash, size, arrival).await?;
        let mut intent = intent.ending(arrival.turn);
        let (mut reserved, mut unwritten) = (None, None);
        if is_there {
            unwritten = Some(content);
        } else {
            // What a record has is counted already, whole or damaged.
            if let Some(quota) = self.quota.as_ref().filter(|_| !intent.is_counted()) {
                let kept = || self.totals().blob_bytes;
                reserved = match quota.reserve(hash, size, room.as_ref(), kept).await {
                    // Whoever brought the same meanwhile is through with it.
                    Err(_) if self.is_needed(&hash).await? => None,
                    reserved => Some(reserved?),
                };
            }
            if arrival.is_gathered {
                intent = intent.gathered(content.gather().await?);
            } else {
                content.keep(intent.place()).await?;
            }
        }
        Ok(CommittedBlob {
            hash,
            size,
            intent,
            reserved,
            unwritten,
        })
    }

    /// Announces a file of content that has come, and tells whether that is kept, and whole.
    ///
    /// A record stands for a durable blob, so long content that has one is not written again: once
    /// it is proven to be whole, which only reading it tells. Short content is compared by the
    /// backend.
    async fn intend(
        &self,
        hash: &BlobHash,
        size: u64,
        arrival: Arrival,
    ) -> Result<(Intent, bool), StoreError> {
        loop {
            let intent = match arrival.place {
                Some(at) => self.index.intend_at(hash, size, at).await?,
                None if arrival.is_gathered => self.index.intend_gathered(hash, size).await?,
                None => self.index.intend(hash, size).await?,
            };
            let is_there = intent.is_there()
                && !arrival.is_cheap_to_keep
                && self.has_whole(hash, size, &intent).await?;
            let may_keep = match arrival.place {
                Some(at) => at == intent.place(),
                // What other nodes may be reading, or deleting, is not written over.
                None => !((self.is_shared || arrival.is_gathered) && intent.is_there()),
            };
            if is_there || may_keep {
                return Ok((intent, is_there));
            }
            // It is kept elsewhere, and what was found broken stays where that is.
            self.blobs.note_missing(intent.place()).await?;
        }
    }

    /// Whether a blob of this size is where it is said to be, and whole. One that cannot be read is
    /// not; of one that is out of reach nobody knows. Reading it may take long, for which no stop
    /// waits: whoever brings it has had no answer yet.
    async fn has_whole(
        &self,
        hash: &BlobHash,
        size: u64,
        intent: &Intent,
    ) -> Result<bool, StoreError> {
        let (blobs, place) = (&self.blobs, intent.place());
        let is_there = async {
            Ok(blobs.size(place).await? == Some(size) && blobs.is_whole(hash, place).await?)
        };
        let mut closing = self.closing.subscribe();
        let is_there = match select(pin!(is_there), pin!(closing.wait_for(|it| *it))).await {
            Either::Left((is_there, _)) => is_there,
            Either::Right(_) => return Err(StoreError::ShuttingDown),
        };
        match is_there {
            Err(error) if !matches!(error, BlobError::Unavailable(_)) => {
                tracing::warn!(%hash, %error, "what is stored cannot be read, and is replaced");
                Ok(false)
            }
            is_there => Ok(is_there?),
        }
    }

    async fn record(&self, blob: CommittedBlob, about: About) -> Result<FileRecord, StoreError> {
        let About {
            name,
            content_type,
            description,
        } = about;
        let CommittedBlob {
            hash,
            size,
            intent,
            reserved,
            unwritten: _,
        } = blob;
        self.lengths.note(size);
        let file = NewFile {
            name,
            content_type,
            description,
            size,
            hash,
        };
        if let Some(reserved) = &reserved {
            reserved.begin_counting();
        }
        let put = self.index.put(file, intent).await;
        let Put { record, mended } = put.map_err(|error| match error {
            // Others have taken the room meanwhile; told as where it was known before.
            IndexError::OverQuota { quota, free } => BlobError::OverQuota { quota, free }.into(),
            error => StoreError::from(error),
        })?;
        // The index counts it by now.
        if let Some(reserved) = reserved {
            reserved.end();
        }
        if mended {
            self.feed.tell_health(Change::Mended(hash));
        }
        self.tell(Change::Added(Arc::new(record.clone())));
        Ok(record)
    }
}
