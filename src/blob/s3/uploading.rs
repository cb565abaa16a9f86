//! What has come of uploads in parts: objects under `uploading/<id>/`, from where any node goes on.
//!
//! The key of each says where its bytes begin and in which turn they were written, so that nobody
//! writes to one that another node reads. Which of them count the rows of the database say.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use uuid::Uuid;

use super::bucket::UPLOADING;
use super::depot::Depot;
use crate::blob::BlobError;
use crate::hash::BlobHash;
use crate::upload_rows::{Ledger, UploadPart};

/// What all need who work on uploads.
pub(super) struct Uploading {
    pub(super) depot: Arc<Depot>,
    pub(super) ledger: Arc<Ledger>,
    /// Where a part is gathered.
    pub(super) dir: PathBuf,
}

impl Uploading {
    /// What the keys of its parts begin with.
    pub(super) fn folder(&self, upload: Uuid) -> Path {
        let folder = self.depot.bucket.folder(UPLOADING);
        folder.join(upload.simple().to_string())
    }

    /// The key of a part.
    pub(super) fn key(&self, upload: Uuid, part: &UploadPart) -> Path {
        let UploadPart { start, epoch, .. } = part;
        self.folder(upload).join(format!("{start}-{epoch}"))
    }

    /// The bytes of a part.
    pub(super) async fn bytes(&self, upload: Uuid, part: &UploadPart) -> Result<Bytes, BlobError> {
        self.range(upload, part, 0, part.size).await
    }

    /// Some of the bytes of a part.
    pub(super) async fn range(
        &self,
        upload: Uuid,
        part: &UploadPart,
        start: u64,
        end: u64,
    ) -> Result<Bytes, BlobError> {
        let key = self.key(upload, part);
        let got = self.depot.bucket.get(&key, start, end).await?;
        let bytes = got.map(|(bytes, _)| bytes).unwrap_or_default();
        if bytes.len() as u64 == end - start {
            return Ok(bytes);
        }
        let detail = format!("a part of an upload is not at {key} any more");
        Err(BlobError::damaged(BlobHash::of(b""), &detail))
    }
}
