//! Repairing one content: what is right of it here is copied, what is not comes from peers by
//! proof, and the whole takes the place of what was damaged.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;

use super::filling::FillError;
use super::verified::{SHORT, VerifiedContent};
use super::{FetchError, Fetcher};
use crate::blob::{BlobError, Filling, Limit, PartialId, Partials, Received, Receiving, Salvage};
use crate::hash::BlobHash;
use crate::store::{Store, StoreError};

/// How much is looked at in one turn, in bytes: some pieces.
const TURN: u64 = 1 << 20;
/// How many groups are asked for to find out what is right, at most: of content in which more is
/// wrong, what is not known then comes whole.
const MOST_PROOFS: usize = 256;

/// Why content is not repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// No peer is known to have it.
    #[error("no peer that is known here has it")]
    Nobody,
    /// Another node has the turn at repairs that shares the store.
    #[error("another node that has the same files repairs them now")]
    Elsewhere,
    /// Nobody can serve it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be stored.
    #[error("it cannot be stored here")]
    Store(#[from] StoreError),
    /// What has come, or was copied, was damaged on the disk; it is gone.
    #[error("what was gathered of it was damaged on the disk, so it begins anew")]
    Damaged,
}

impl From<FillError> for RepairError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Fetch(error) => error.into(),
            FillError::Blob(error) => error.into(),
        }
    }
}

impl From<BlobError> for RepairError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

/// What has come of a repair.
#[derive(Debug, Clone, Copy)]
pub struct Repaired {
    /// The length of the content, in bytes.
    pub size: u64,
    /// How much of it came from peers, in bytes.
    pub fetched: u64,
    /// Whether a file needs it still.
    pub is_needed: bool,
}

/// Waits until so many bytes more may be read or written.
pub type Pause = Arc<dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync>;

/// What repairs contents.
pub struct Repairing<'a> {
    /// How peers are asked.
    pub fetcher: &'a Arc<Fetcher>,
    /// What is repaired.
    pub store: &'a Store,
    /// What is gathered of long content, for as long as it takes.
    pub partials: &'a dyn Partials,
    /// How fast it may go.
    pub pause: Pause,
}

impl Repairing<'_> {
    /// Opens a content that peers have. Whoever has lost its end proves no length, and may have
    /// what is missing here, where the length is proven by what is left.
    pub async fn open(&self, hash: BlobHash) -> Result<VerifiedContent, RepairError> {
        let fetcher = Arc::clone(self.fetcher);
        match VerifiedContent::open(fetcher, hash, None).await {
            Ok(content) => content.ok_or(RepairError::Nobody),
            Err(error) => match self.store.open_in_part(&hash).await {
                Ok(Some(part)) => {
                    let fetcher = Arc::clone(self.fetcher);
                    let content = VerifiedContent::of_size(fetcher, hash, part.size());
                    content.ok_or_else(|| error.into())
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Repairs a content that files need. Until all of it is there, durable and proven, nothing
    /// changes of what is stored. What was gathered stays for the next try after an error.
    pub async fn repair(&self, content: &VerifiedContent) -> Result<Repaired, RepairError> {
        let hash = content.hash();
        let size = content.size();
        let (received, fetched) = if size <= SHORT {
            (self.short(content).await?, size)
        } else {
            self.long(content).await?
        };
        if received.hash() != hash {
            self.give_up(&hash).await;
            return Err(RepairError::Damaged);
        }
        let is_needed = self.store.mend(received).await?;
        // What is known of how much was there; what stays is removed at the next start.
        self.give_up(&hash).await;
        Ok(Repaired {
            size,
            fetched,
            is_needed,
        })
    }

    /// Removes what was gathered of a content.
    async fn give_up(&self, hash: &BlobHash) {
        remove_gathered(self.partials, &partial_of(hash)).await;
    }

    async fn short(&self, content: &VerifiedContent) -> Result<Box<dyn Received>, RepairError> {
        let mut receiving = self.store.receive_again().await?;
        let mut pieces = content.read(0..content.size());
        while let Some(piece) = pieces.try_next().await? {
            receiving.write(piece).await?;
        }
        Ok(receiving.finish().await?)
    }

    async fn long(
        &self,
        content: &VerifiedContent,
    ) -> Result<(Box<dyn Received>, u64), RepairError> {
        let (hash, size) = (content.hash(), content.size());
        let id = partial_of(&hash);
        let filling = self.partials.fill(&id, size, Limit::default()).await?;
        let proofs = self.copy(content, &*filling).await?;
        let fetched = proofs + size - filling.here();
        let paced = Paced {
            filling,
            pause: Arc::clone(&self.pause),
        };
        content.fill(Arc::new(paced), |_| {}).await?;
        // Reads all of it once, whatever became of it on the disk since it was proven.
        let whole = self
            .partials
            .resume(&id, size, None, Limit::default())
            .await?;
        if whole.received() != size {
            self.give_up(&hash).await;
            return Err(RepairError::Damaged);
        }
        let whole: Box<dyn Receiving> = whole;
        Ok((whole.finish().await?, fetched))
    }

    /// Copies what is right here and was not gathered yet, and tells how much peers have brought to
    /// find out what that is, in bytes.
    async fn copy(
        &self,
        content: &VerifiedContent,
        filling: &dyn Filling,
    ) -> Result<u64, RepairError> {
        let (hash, size) = (content.hash(), content.size());
        let Some(salvage) = self.store.salvage(hash, size).await else {
            return Ok(0);
        };
        let proofs = prove(content, &*salvage, filling).await?;
        let step = usize::try_from(TURN).unwrap_or(usize::MAX);
        for start in (0..size).step_by(step) {
            let range = start..size.min(start + TURN);
            if filling.missing(range.clone()).is_none() {
                continue;
            }
            (self.pause)(range.end - range.start).await;
            for (offset, bytes) in salvage.read(range).await? {
                filling.fill(offset, vec![bytes]).await?;
            }
        }
        Ok(proofs)
    }
}

/// Where what proves a content is lost here: has peers bring a few groups with the pairs above
/// them, each of which tells of half of what is left whether it is right. Returns how many bytes
/// came.
async fn prove(
    content: &VerifiedContent,
    salvage: &dyn Salvage,
    filling: &dyn Filling,
) -> Result<u64, RepairError> {
    let (mut from, mut came) = (0, 0);
    for _ in 0..MOST_PROOFS {
        let Some(at) = salvage.unproven(from).await? else {
            break;
        };
        let (bytes, pairs) = content.group_with_proof(at).await?;
        salvage.prove_by(pairs).await?;
        came += filling.fill(at, vec![bytes]).await?;
        from = at;
    }
    Ok(came)
}

/// By what is found what was gathered of a content.
pub fn partial_of(hash: &BlobHash) -> PartialId {
    PartialId::of(hash.as_bytes())
}

/// Removes what was gathered of a content; what is left of it is removed at the next start.
pub async fn remove_gathered(partials: &dyn Partials, id: &PartialId) {
    if let Err(error) = partials.remove(id).await {
        tracing::warn!(%id, %error, "what was gathered for a repair is not removed");
    }
}

/// Content that is filled no faster than it may be: whoever brings it waits.
struct Paced {
    filling: Arc<dyn Filling>,
    pause: Pause,
}

#[async_trait]
impl Filling for Paced {
    fn here(&self) -> u64 {
        self.filling.here()
    }

    fn missing(&self, range: Range<u64>) -> Option<Range<u64>> {
        self.filling.missing(range)
    }

    async fn fill(&self, offset: u64, pieces: Vec<Bytes>) -> Result<u64, BlobError> {
        let bytes = pieces.iter().map(|it| it.len() as u64).sum();
        (self.pause)(bytes).await;
        self.filling.fill(offset, pieces).await
    }
}
