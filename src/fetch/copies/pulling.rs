//! Fetching what this member is to hold.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use futures_util::stream::{self, StreamExt};

use super::holder::{AT_ONCE, Copies};
use super::table::HeldCopy;
use crate::blob::{OpenBlob, Purpose, Received};
use crate::fetch::error::FetchError;
use crate::fetch::fetcher::Claim;
use crate::fetch::receipt::{Receipt, ReceiptError};
use crate::fetch::verified::VerifiedContent;
use crate::hash::BlobHash;
use crate::peer::client::ClientError;
use crate::peer::copies::{CopiedFile, CopyKey, MOST_KEYS, NotSigned, SharedFile, ask_files};
use crate::peer::registry::Peer;
use crate::peer_id::PeerId;
use crate::store::{Store, StoreError, TakenRoom};

/// A file of which this member is to hold a copy.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) key: CopyKey,
    pub(super) hash: BlobHash,
    /// The length of its content, in bytes.
    pub(super) size: u64,
    /// On how many members it is to be.
    pub(super) copies: u8,
    /// Whether its owner is there and knows it, and so is one of them.
    pub(super) is_owner_there: bool,
}

/// Why a copy is not made.
#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Signed(#[from] NotSigned),
    #[error("its owner has signed another content than was told")]
    Other,
    #[error("nobody tells what its owner has signed")]
    Unsigned,
}

impl Copies {
    /// Makes copies of these files, of which `teller` has told; of how many it could not.
    pub(super) async fn pull_all(
        &self,
        teller: &Peer,
        wanted: Vec<Wanted>,
        is_repair: bool,
    ) -> usize {
        let turns = self.turns_at(is_repair);
        let mut failed = 0;
        for some in wanted.chunks(MOST_KEYS) {
            // First, so that what is removed from here on is not made. What others tell of at the
            // same time is fetched once.
            let mut some = some.to_vec();
            some.retain(|it| self.pulling.lock().insert(it.key));
            let keys: Vec<_> = some.iter().map(|it| it.key).collect();
            if keys.is_empty() {
                continue;
            }
            let signed = ask_files(&self.fetcher.network, teller, &keys).await;
            let signed = signed.map(|it| it.files);
            if is_repair {
                self.ask_whether_ended(&keys, teller.id()).await;
            }
            let (teller, signed) = (teller.id(), &signed);
            let pulled = stream::iter(some);
            let pulled = pulled.map(|it| async move {
                // Nobody closes the semaphore, so there is always a permit.
                let _turn = turns.acquire().await.ok();
                self.pull_one(teller, &it, signed).await
            });
            let pulled: Vec<_> = pulled.buffer_unordered(AT_ONCE).collect().await;
            failed += pulled.iter().filter(|is_done| !**is_done).count();
            let mut pulling = self.pulling.lock();
            for it in &keys {
                pulling.remove(it);
            }
        }
        failed
    }

    /// Hears from those who remember it whether owners that are gone have removed these files:
    /// whoever tells that he holds them may not know it, or not say it.
    async fn ask_whether_ended(&self, keys: &[CopyKey], teller: PeerId) {
        let (network, (view, _)) = (&self.fetcher.network, self.members.look());
        let mut questions = HashMap::<PeerId, Vec<CopyKey>>::new();
        for key in keys {
            let mut others = self.remembering(*key, &view);
            others.retain(|it| *it != self.me() && *it != teller);
            for member in others {
                questions.entry(member).or_default().push(*key);
            }
        }
        for (member, keys) in questions {
            let Some(peer) = network.registry.get(member) else {
                continue;
            };
            // Whoever does not answer may be gone with what it remembers.
            let told = ask_files(network, &peer, &keys).await;
            for signed in told.map(|it| it.ended).unwrap_or_default() {
                let key = signed.check().ok().filter(|it| keys.contains(it));
                let Some(key) = key else { continue };
                if let Err(error) = self.take_withdrawal(key, &signed).await {
                    tracing::warn!(%key, %error, "it is not written down that a file is removed");
                }
            }
        }
    }

    /// Takes in what owners have signed anew of files of which copies are held here, as `teller`
    /// has it; of how many that is not known.
    pub(super) async fn renew_all(
        &self,
        teller: &Peer,
        held: Vec<(CopyKey, HeldCopy)>,
    ) -> Result<usize, StoreError> {
        let mut unknown = 0;
        for some in held.chunks(MOST_KEYS) {
            let keys: Vec<_> = some.iter().map(|(key, _)| *key).collect();
            let told = ask_files(&self.fetcher.network, teller, &keys).await;
            let Ok(told) = told else {
                unknown += some.len();
                continue;
            };
            for signed in &told.files {
                let Ok(shared) = signed.check() else { continue };
                let of_it = some.iter().find(|(key, _)| *key == shared.key);
                let Some((key, old)) = of_it else { continue };
                let is_newer = key.owner == teller.id() || signed.told_at > old.signed.told_at;
                let is_newer = is_newer && signed.since >= old.signed.since;
                if is_newer {
                    self.returned.note_other(*key, signed.since);
                }
                if is_newer && (shared.hash, shared.file.size) == (old.hash, old.size) {
                    self.table.renew(old, (*key, signed)).await?;
                }
            }
        }
        Ok(unknown)
    }

    /// Whether a copy of a file is here, or is not to be.
    async fn pull_one(
        &self,
        teller: PeerId,
        wanted: &Wanted,
        signed: &Result<Vec<CopiedFile>, ClientError>,
    ) -> bool {
        let Ok(signed) = signed else {
            return false;
        };
        let text = wanted.key.file.to_string();
        let Some(signed) = signed.iter().find(|it| it.file_id == text) else {
            // It was removed since.
            return true;
        };
        match self.pull(teller, wanted, signed).await {
            Ok(is_new) => {
                if is_new {
                    self.made.count();
                }
                true
            }
            Err(error) => {
                self.failed.count();
                tracing::debug!(key = %wanted.key, %error, "no copy is made yet");
                false
            }
        }
    }

    /// Makes a copy; whether there is one more then.
    async fn pull(
        &self,
        teller: PeerId,
        wanted: &Wanted,
        signed: &CopiedFile,
    ) -> Result<bool, PullError> {
        let shared = signed.check()?;
        if shared.key != wanted.key {
            return Err(PullError::Unsigned);
        }
        if (shared.hash, shared.file.size) != (wanted.hash, wanted.size) {
            return Err(PullError::Other);
        }
        let key = wanted.key;
        let is_ended = async || {
            let removal = self.table.withdrawal(key).await?;
            Ok::<_, StoreError>(removal.map(|it| it.ends(signed)))
        };
        if is_ended().await? == Some(true) || self.table.copy(key).await?.is_some() {
            return Ok(false);
        }
        // Another file may have the same content.
        let _alone = self.half.alone_at(shared.hash).await;
        if !self.table.add_held(shared.hash, (key, signed)).await? {
            self.fetch(teller, &shared, signed).await?;
        }
        match is_ended().await? {
            // It was removed meanwhile.
            Some(true) => {
                self.table.give_up(key).await?;
                return Ok(false);
            }
            Some(false) => self.forget_removal(key).await?,
            None => {}
        }
        self.returned.note_other(key, signed.since);
        let directory = &self.fetcher.network.directory;
        let _ = directory.put_copy(self.me(), &shared.file);
        Ok(true)
    }

    /// Fetches the content of a file, and keeps it as a copy. Where whoever brings it breaks off,
    /// what has come waits for the next try; whatever else fails leaves nothing.
    async fn fetch(
        &self,
        teller: PeerId,
        shared: &SharedFile,
        signed: &CopiedFile,
    ) -> Result<(), PullError> {
        let room = self.room_for(&shared.hash);
        let content = match self.content(teller, shared, &room).await {
            Ok(content) => content,
            Err(error @ PullError::Receipt(ReceiptError::Fetch(_))) => {
                self.half.put(shared.hash, room);
                return Err(error);
            }
            Err(error) => {
                self.remove_half(&shared.hash).await;
                return Err(error);
            }
        };
        let added = if (content.hash(), content.size()) == (shared.hash, shared.file.size) {
            let added = self.table.add(content, (shared.key, signed), room).await;
            added.map(drop).map_err(PullError::from)
        } else {
            Err(PullError::Other)
        };
        self.remove_half(&shared.hash).await;
        added
    }

    /// The content of a file, from this member's own files where one has it, or else from others.
    async fn content(
        &self,
        teller: PeerId,
        shared: &SharedFile,
        room: &Arc<TakenRoom>,
    ) -> Result<Box<dyn Received>, PullError> {
        let (hash, size) = (shared.hash, shared.file.size);
        let held = &self.table.store;
        held.check_length(size)?;
        held.let_copy_come(room, &hash, size).await?;
        if let Ok(Some(own)) = self.own.open(&hash).await
            && let Ok(received) = copied(&*own, held).await
        {
            return Ok(received);
        }
        let first = Claim { peer: teller, size };
        let fetcher = Arc::clone(&self.fetcher);
        let content = VerifiedContent::open(fetcher, hash, Some(first)).await;
        let content = content.map_err(ReceiptError::from)?;
        let content = content.ok_or(ReceiptError::Fetch(FetchError::Gone))?;
        if content.size() != size {
            return Err(PullError::Other);
        }
        let (partials, counted) = (held.partials(Purpose::Copies), Arc::clone(&self.fetched));
        let receipt = Receipt {
            store: held,
            partials: &*partials,
            here: &|_| (),
            came: Arc::new(move |bytes| counted.add(bytes)),
        };
        let receiving = receipt.verified(&content).await?;
        Ok(receiving.finish().await.map_err(ReceiptError::from)?)
    }
}

/// The content of a file of this node, received into another store.
async fn copied(own: &dyn OpenBlob, store: &Store) -> Result<Box<dyn Received>, StoreError> {
    let mut receiving = store.receive().await?;
    let mut pieces = own.read(0..own.size());
    while let Some(piece) = pieces.try_next().await? {
        receiving.write(piece).await?;
    }
    Ok(receiving.finish().await?)
}
