//! Files as they were elsewhere, with their ids and times: moved from another store, or from a
//! backup.

use super::{Store, StoreError};
use crate::blob::Received;
use crate::record::FileRecord;

/// A file that comes from elsewhere.
pub struct Restored {
    /// What is known of it.
    pub record: FileRecord,
    /// Its content, where that is not here yet; proven to be that of the record.
    pub content: Option<Box<dyn Received>>,
}

impl Store {
    /// Adds files as they are elsewhere, in the order of their ids, which are greater than every
    /// id before. Ok means durable; otherwise the first of them may be, and none without all
    /// before it. No quota counts them.
    pub async fn restore(&self, files: Vec<Restored>) -> Result<(), StoreError> {
        let mut restored = Vec::with_capacity(files.len());
        for Restored { record, content } in files {
            let (hash, size) = (record.file.hash, record.file.size);
            let intent = if let Some(content) = content {
                self.commit(content, None).await?.into_intent()
            } else {
                self.index.intend(&hash, size).await?
            };
            restored.push((record, intent));
        }
        Ok(self.index.restore(restored).await?)
    }
}
