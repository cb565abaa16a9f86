//! What is put in place as it was: files with ids and times from elsewhere, and contents anew.

use tokio::sync::oneshot;

use super::PostgresIndex;
use super::writer::{Request, Restored};
use crate::hash::BlobHash;
use crate::index::{Given, IndexError, Intent};
use crate::record::FileRecord;

impl PostgresIndex {
    /// Adds files in one transaction, in this order, up to the first one that cannot be.
    pub(super) async fn restore_all(
        &self,
        files: Vec<(FileRecord, Intent)>,
    ) -> Result<(), IndexError> {
        if files.iter().any(|(record, _)| record.file.is_too_long()) {
            return Err(IndexError::TooLong);
        }
        self.told().await?;
        let (mut restored, mut answers) = (Vec::new(), Vec::new());
        for (given, (record, intent)) in Given::of(&files).into_iter().zip(files) {
            let (answer, answered) = oneshot::channel();
            restored.push(Restored {
                file: record.file,
                intent: Box::new(intent.giving(given)),
                answer,
            });
            answers.push(answered);
        }
        let asked = self.requests.send(Request::Restore(restored)).await;
        asked.map_err(|_| IndexError::Closed)?;
        for answered in answers {
            answered.await.map_err(|_| IndexError::Closed)??;
        }
        Ok(())
    }

    /// Has a content that was damaged be where the intent has had it written; false where it is
    /// whole by now, or no file needs it.
    pub(super) async fn mend_elsewhere(
        &self,
        hash: BlobHash,
        intent: Intent,
    ) -> Result<bool, IndexError> {
        // What was there, as others have found meanwhile, was written nowhere.
        if intent.is_there() {
            return Ok(false);
        }
        self.told().await?;
        let intent = Box::new(intent);
        self.request(|answer| Request::Mend {
            hash,
            intent,
            answer,
        })
        .await
    }
}
