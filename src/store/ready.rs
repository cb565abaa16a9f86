//! Files read to be sent, short ones from memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;

use super::hot::{ReadyContent, ReadyFile};
use super::{Store, StoreError};
use crate::blob::{BlobError, OpenBlob};
use crate::record::{FileId, FileRecord};

/// Content up to this many bytes is kept with its file.
const SMALL: u64 = 64 * 1024;

impl Store {
    /// The file with this id, with its content if that is short. What was asked for
    /// lately is answered without waiting for the disk.
    pub async fn ready(&self, id: FileId) -> Result<Option<ReadyFile>, StoreError> {
        // What others have removed may be in memory still, where nobody has told it.
        let place = if self.index.is_current() {
            match self.hot.get(id).await {
                Ok(ready) => return Ok(Some(ready)),
                Err(place) => Some(place),
            }
        } else {
            None
        };
        let Some(record) = self.get(id).await? else {
            return Ok(None);
        };
        let (content, place) = match self.ready_content(&record).await {
            Ok(content) => (content, place),
            // Whoever opens it is told, and may find it elsewhere.
            Err(error) if error.may_be_elsewhere() => (ReadyContent::Stored, None),
            Err(error) => return Err(error),
        };
        let ready = ReadyFile {
            content,
            record: Arc::new(record),
            prepared: Arc::default(),
        };
        // Fails where the file was removed meanwhile: then it must not be kept.
        let _ = place.map(|it| it.insert(ready.clone()));
        Ok(Some(ready))
    }

    async fn ready_content(&self, record: &FileRecord) -> Result<ReadyContent, StoreError> {
        if record.file.size > SMALL {
            return Ok(ReadyContent::Stored);
        }
        // A file that is removed now may have lost its blob: its opener finds out.
        match self.open_file(record).await? {
            Some(blob) => Ok(ReadyContent::Small(read_whole(&*blob).await?)),
            None => Ok(ReadyContent::Stored),
        }
    }
}

/// All bytes of a short blob.
async fn read_whole(blob: &dyn OpenBlob) -> Result<Bytes, BlobError> {
    let mut pieces = blob.read(0..blob.size());
    let first = pieces.try_next().await?.unwrap_or_default();
    let mut all = BytesMut::from(first);
    while let Some(piece) = pieces.try_next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}
