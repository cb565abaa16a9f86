//! Fetching one file to keep it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::queue::Fetched;
use super::unhashed::Unhashed;
use super::wanted::{Naming, Wanted};
use crate::blob::{BlobError, Partials, Receiving};
use crate::fetch::error::FetchError;
use crate::fetch::fetcher::{Claim, Fetcher};
use crate::fetch::receipt::{Receipt, ReceiptError};
use crate::fetch::repairing::partial_of;
use crate::fetch::unverified::UnverifiedContent;
use crate::fetch::verified::VerifiedContent;
use crate::hash::BlobHash;
use crate::index::IndexError;
use crate::peer::directory::NetworkFile;
use crate::peer_id::PeerId;
use crate::record::FileRecord;
use crate::small_state::StateError;
use crate::store::{About, Store, StoreError, TakenRoom};
use crate::turn::Turn;

/// Why a file is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Nobody can serve it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be stored.
    #[error("it cannot be stored here")]
    Store(#[from] StoreError),
    /// It is longer than anything that this node ever keeps.
    #[error("it is too long to be kept here")]
    TooLong(#[source] StoreError),
    /// What it is cannot be written down.
    #[error("what came cannot be written down")]
    Unnoted(#[from] StateError),
    /// What an earlier try left on the disk was damaged; it is gone.
    #[error("what was fetched before was damaged, so it begins anew")]
    Damaged,
    /// It is longer than the peer has told, for whose share it would be kept.
    #[error("it is longer than its peer has told")]
    Longer,
    /// It came, and is gone before it got its name.
    #[error("it came, and was removed here before it had its name")]
    Removed,
}

impl KeepError {
    /// Whether a new try cannot change anything.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::TooLong(_) | Self::Store(StoreError::Blob(BlobError::TooLarge(_)))
        )
    }

    /// Whether another node has taken the turn at it, or nobody wants it any more.
    pub(super) fn is_taken_over(&self) -> bool {
        matches!(self, Self::Store(StoreError::Index(IndexError::TakenOver)))
    }

    /// Whether what was fetched so far is of no use.
    pub(super) fn needs_new_start(&self) -> bool {
        self.is_final() || matches!(self, Self::Damaged)
    }
}

impl From<ReceiptError> for KeepError {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::Fetch(error) => error.into(),
            ReceiptError::Store(error) => error.into(),
            ReceiptError::Damaged => Self::Damaged,
        }
    }
}

impl From<IndexError> for KeepError {
    fn from(error: IndexError) -> Self {
        Self::Store(error.into())
    }
}

impl From<BlobError> for KeepError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

/// A fetch of one file.
pub(super) struct Fetch<'a> {
    pub(super) fetcher: &'a Arc<Fetcher>,
    pub(super) store: &'a Store,
    /// What has come of content that takes long.
    pub(super) partials: &'a dyn Partials,
    /// Takes the hash of what came without one.
    pub(super) unhashed: &'a Unhashed,
    /// What it takes of the quota.
    pub(super) room: &'a Arc<TakenRoom>,
    /// Counts the bytes that are here.
    pub(super) fetched: &'a Arc<Fetched>,
    /// Takes the length of the content, in bytes, once it is proven.
    pub(super) size: &'a AtomicU64,
    /// The longest content that is taken, in bytes, where no user asked for it.
    pub(super) most: Option<u64>,
    /// The turn in which the file is made, where several nodes may make it.
    pub(super) turn: Option<Turn>,
}

impl Fetcher {
    /// What the peers that can be trusted most tell of what is wanted: of content those that have
    /// served some before others, of an id those that sign. A name that came with the wish stays.
    pub(super) async fn called(
        &self,
        wanted: &Wanted,
        store: &Store,
    ) -> Result<NetworkFile, StoreError> {
        let Wanted { file, naming, .. } = wanted;
        let best = match (naming, file.hash) {
            (Naming::Given, _) | (_, None) => None,
            (Naming::File, Some(_)) => {
                let told = self.network.directory.with_id(file.id).into_iter();
                let mut same = told.map(|it| it.file).filter(|it| it.hash == file.hash);
                // Whoever has come since to say something else is not believed.
                same.next().filter(|_| same.next().is_none())
            }
            (Naming::Content, Some(hash)) => {
                let told = self.best_told_of(&hash, store).await?;
                told.map(|(_, told)| told)
            }
        };
        Ok(best.unwrap_or_else(|| file.clone()))
    }

    /// The first that [`Fetcher::told_of`] tells of a content and that counts; None where none
    /// does.
    pub(super) async fn best_told_of(
        &self,
        hash: &BlobHash,
        store: &Store,
    ) -> Result<Option<(PeerId, NetworkFile)>, StoreError> {
        for (peer, file) in self.told_of(hash) {
            if self.counts(&file, store).await? {
                return Ok(Some((peer, file)));
            }
        }
        Ok(None)
    }

    /// Whether what a peer tells of a file is what its id means, as in the list of the network:
    /// what this node holds under an id overrules all that others say of it, and what is signed
    /// all that is not.
    pub(super) async fn counts(
        &self,
        file: &NetworkFile,
        store: &Store,
    ) -> Result<bool, StoreError> {
        if let Some(own) = store.get(file.id).await? {
            return Ok(file.hash == Some(own.file.hash));
        }
        let meant = self.network.directory.with_id(file.id);
        let is_it = |it: &NetworkFile| it.hash == file.hash && it.name == file.name;
        Ok(meant.iter().any(|it| is_it(&it.file)))
    }
}

impl Fetch<'_> {
    /// Makes this node hold a file. None where another file had its content, which was damaged
    /// perhaps, and is whole now.
    pub(super) async fn run(&self, wanted: &Wanted) -> Result<Option<FileRecord>, KeepError> {
        let file = &wanted.file;
        let receiving = match file.hash {
            Some(hash) => self.verified(wanted, hash).await?,
            None => self.unverified(wanted).await?,
        };
        let content = receiving.finish().await?;
        match file.hash {
            Some(hash) if hash != content.hash() => return Err(KeepError::Damaged),
            Some(_) => {}
            // First, or a crash behind the next step would have it fetched again.
            None => self.unhashed.note(file.id, content.hash()).await?,
        }
        let called = self.fetcher.called(wanted, self.store).await?;
        let about = About {
            name: called.name,
            content_type: called.content_type,
            description: String::new(),
        };
        let room = Some(Arc::clone(self.room));
        let kept = self
            .store
            .ingest_missing(content, about, room, self.turn)
            .await?;
        if let Some(hash) = file.hash {
            // What was known of how far it is; what stays is removed at the next start.
            let _ = self.partials.remove(&partial_of(&hash)).await;
        }
        Ok(kept)
    }

    async fn verified(
        &self,
        wanted: &Wanted,
        hash: BlobHash,
    ) -> Result<Box<dyn Receiving>, KeepError> {
        let claim = Claim {
            peer: wanted.peer,
            size: wanted.file.size,
        };
        let content = VerifiedContent::open(Arc::clone(self.fetcher), hash, Some(claim)).await?;
        let content = content.ok_or(FetchError::Gone)?;
        let size = content.size();
        if self.most.is_some_and(|most| size > most) {
            return Err(KeepError::Longer);
        }
        self.size.store(size, Ordering::Relaxed);
        self.store.check_length(size).map_err(KeepError::TooLong)?;
        self.store.let_copy_come(self.room, &hash, size).await?;
        Ok(self
            .receipt(&|here| self.fetched.set(here))
            .verified(&content)
            .await?)
    }

    /// What receives the content, and tells how many bytes are `here` at first.
    fn receipt<'a>(&'a self, here: &'a (dyn Fn(u64) + Sync)) -> Receipt<'a> {
        let fetched = Arc::clone(self.fetched);
        Receipt {
            store: self.store,
            partials: self.partials,
            here,
            came: Arc::new(move |bytes| fetched.add(bytes)),
        }
    }

    async fn unverified(&self, wanted: &Wanted) -> Result<Box<dyn Receiving>, KeepError> {
        let fetcher = Arc::clone(self.fetcher);
        let content = UnverifiedContent::new(fetcher, wanted.peer, &wanted.file);
        let content = content.ok_or(FetchError::Gone)?;
        let size = content.size();
        self.store.check_length(size).map_err(KeepError::TooLong)?;
        let mut receiving = self.store.receive().await?;
        self.fetched.set(0);
        let receipt = self.receipt(&|_| ());
        receipt
            .write_all(content.read(0..size), &mut *receiving)
            .await?;
        Ok(receiving)
    }
}
