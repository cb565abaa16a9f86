//! The partial contents of uploads in parts, with which any node goes on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::depot::twice;
use super::gathering::Gathered;
use super::multipart::part_bytes;
use super::part_file::PartFile;
use super::upload_parts::UploadParts;
use super::uploading::Uploading;
use crate::blob::batch::Batch;
use crate::blob::{BlobError, Filling, FoundPartial, Limit, Partial, PartialId, Partials, Proven};
use crate::blocking;
use crate::hash::BlobHash;
use crate::outboard::PieceHasher;
use crate::upload_rows::UploadPart;

/// The partial contents of uploads.
pub(super) struct UploadPartials(pub(super) Arc<Uploading>);

/// Goes on behind these parts.
async fn go_on(
    uploading: &Arc<Uploading>,
    upload: Uuid,
    mut parts: Vec<UploadPart>,
    proven: Proven,
    limit: Limit,
) -> Result<UploadParts, BlobError> {
    let tail = parts.pop_if(|it| it.size < part_bytes(it.start));
    let values: Vec<_> = parts.iter().map(|it| &it.tree[..]).collect();
    let values = Arc::new(values.concat());
    let gather = || {
        gather(
            uploading,
            upload,
            tail.as_ref(),
            Arc::clone(&values),
            proven,
        )
    };
    let gathered = twice(gather).await?;
    Ok(UploadParts::new(
        Arc::clone(uploading),
        (upload, limit),
        (parts, tail),
        proven,
        gathered,
    ))
}

/// What comes behind whole parts, of which `values` has the trees; it must make up what is proven.
async fn gather(
    uploading: &Uploading,
    upload: Uuid,
    tail: Option<&UploadPart>,
    values: Arc<Vec<u8>>,
    proven: Proven,
) -> Result<Gathered, BlobError> {
    let bytes = match tail {
        Some(tail) => uploading.bytes(upload, tail).await?,
        None => Bytes::new(),
    };
    let dir = uploading.dir.clone();
    blocking::run(move || {
        let hasher = PieceHasher::behind(&values);
        let gathered = Gathered {
            hasher: hasher.ok_or_else(|| BlobError::other_hash(proven.hash))?,
            part: PartFile::create(&dir)?,
        };
        let gathered = gathered.append(&Batch::of(vec![bytes]))?;
        match gathered.hasher.clone().finish() {
            all if all.hash() == proven.hash && all.size() == proven.len => Ok(gathered),
            _ => Err(BlobError::other_hash(proven.hash)),
        }
    })
    .await
}

/// The id of the upload that partial content is of.
fn upload_of(id: &PartialId) -> Result<Uuid, BlobError> {
    let id = id.to_string();
    let upload = Uuid::try_parse(&id);
    upload.map_err(|e| BlobError::io("find the upload", id, std::io::Error::other(e)))
}

#[async_trait]
impl Partials for UploadPartials {
    async fn prepare(&self) -> Result<Vec<FoundPartial>, BlobError> {
        Ok(Vec::new())
    }

    async fn resume(
        &self,
        id: &PartialId,
        _: u64,
        proven: Option<Proven>,
        limit: Limit,
    ) -> Result<Box<dyn Partial>, BlobError> {
        let (upload, none) = (upload_of(id)?, BlobHash::of(b""));
        let parts = self.0.ledger.rows.parts(upload).await?;
        let proven = proven.unwrap_or(Proven { len: 0, hash: none });
        let resumed = go_on(&self.0, upload, parts, proven, limit).await?;
        Ok(Box::new(resumed))
    }

    async fn fill(&self, id: &PartialId, _: u64, _: Limit) -> Result<Arc<dyn Filling>, BlobError> {
        let unsupported = std::io::ErrorKind::Unsupported.into();
        Err(BlobError::io(
            "fill the upload",
            id.to_string(),
            unsupported,
        ))
    }

    async fn longest(&self, _: &PartialId, _: Vec<Proven>) -> Result<Option<Proven>, BlobError> {
        Ok(None)
    }

    async fn cut(&self, _: &PartialId, counts: u64) -> Result<u64, BlobError> {
        // What is behind that was never written down.
        Ok(counts)
    }

    async fn read(&self, id: &PartialId, offset: u64, len: usize) -> Result<Bytes, BlobError> {
        let upload = upload_of(id)?;
        let Some(part) = self.0.ledger.rows.part_at(upload, offset).await? else {
            return Ok(Bytes::new());
        };
        let (start, len) = (offset - part.start, u64::try_from(len).unwrap_or(u64::MAX));
        let end = part.size.min(start.saturating_add(len));
        if start >= end {
            return Ok(Bytes::new());
        }
        self.0.range(upload, &part, start, end).await
    }

    async fn rename(&self, from: &PartialId, _: &PartialId) -> Result<(), BlobError> {
        // Keys have the id in them.
        let unsupported = std::io::ErrorKind::Unsupported.into();
        Err(BlobError::io(
            "rename the upload",
            from.to_string(),
            unsupported,
        ))
    }

    async fn remove(&self, id: &PartialId) -> Result<(), BlobError> {
        let upload = upload_of(id)?;
        let Uploading { depot, ledger, .. } = &*self.0;
        depot.bucket.clear(&self.0.folder(upload)).await?;
        Ok(ledger.rows.forget_parts(upload).await?)
    }
}
