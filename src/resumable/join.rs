//! How partial uploads become one (tus 1.0.0, "Concatenation").
//!
//! 1. The state of the final upload says of which parts it is made. From then on their contents
//!    belong to it, and they are neither gone on with nor taken in by another one.
//! 2. The content of the first part becomes that of the final upload; it is renamed, not copied.
//! 3. The others are put behind it, each compared with its hash as it is read. Once one is durable
//!    there, the state says so, and the part's own content is removed: so beside the whole there is
//!    never more than one part twice.
//! 4. What is whole then becomes a file, as of any other upload.
//!
//! A crash anywhere between is taken up by the next start, or by whoever comes next: where it
//! stands is how many bytes the state tells, which is always the end of a part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::concat::Concat;
use super::error::UploadError;
use super::id::UploadId;
use super::state::{NewUpload, UploadState};
use super::uploads::Uploads;
use super::visit::{UploadProgress, Visit};
use crate::blob::{Partial, Proven};
use crate::client_key::ClientKey;
use crate::hash::BlobHash;

/// How much of a part is read at once, in bytes; hashing it takes less than a millisecond.
const PIECE: usize = 256 << 10;
/// How often to try to join what others take over.
const TRIES: usize = 20;
/// How long to wait before the next try.
const AGAIN: Duration = Duration::from_millis(100);

/// Where a part is in what it is joined to.
struct Part {
    id: UploadId,
    content: Proven,
    /// Whether the same part comes once more behind it.
    comes_again: bool,
}

impl Uploads {
    /// Makes a final upload of the parts that it names. Where that fails it stays, so that a client
    /// which asks once more goes on where it came to.
    pub async fn join(
        self: &Arc<Self>,
        upload: NewUpload,
        client: Option<ClientKey>,
    ) -> Result<(UploadId, UploadProgress), UploadError> {
        for _ in 0..TRIES {
            match self.try_to_join(upload.clone(), client.clone()).await {
                // By who asks for the same, or how far a part is.
                Err(UploadError::TakenOver) => sleep(AGAIN).await,
                joined => return joined,
            }
        }
        self.try_to_join(upload, client).await
    }

    async fn try_to_join(
        self: &Arc<Self>,
        upload: NewUpload,
        client: Option<ClientKey>,
    ) -> Result<(UploadId, UploadProgress), UploadError> {
        let mut visits = Vec::new();
        let created = self.create_final(upload, client, &mut visits).await;
        if let Some(first) = visits.first() {
            first.have_nobody_wait().await;
        }
        // Now that the parts are in it nobody else changes them.
        drop(visits);
        let id = created?;
        Ok((id, self.visit(id).await?.progress().await?))
    }

    /// Begins a final upload, of which the parts have to be whole; the client that asks once more
    /// for the same is told the same. Ok means that a restart does not forget it; its first visit
    /// makes the file.
    async fn create_final(
        self: &Arc<Self>,
        mut upload: NewUpload,
        client: Option<ClientKey>,
        visits: &mut Vec<Visit>,
    ) -> Result<UploadId, UploadError> {
        self.check_writable()?;
        self.recall().await?;
        let Some(Concat::Final(parts)) = &upload.concat else {
            return self.create(upload, client).await;
        };
        let ids = parts.ids.clone();
        let distinct = upload.parts().unwrap_or_default();
        self.visit_parts(&distinct, visits).await?;
        if let Some(id) = self.begun_before(&upload, visits).await? {
            return Ok(id);
        }
        let lengths: BTreeMap<_, _> = visits
            .iter()
            .map(|it| (it.id, it.state.upload.length.unwrap_or(0)))
            .collect();
        let id = UploadId::new();
        if upload.about.name.is_empty() {
            upload.about.name = id.to_string();
        }
        let length = self.check_parts(&ids, &lengths).await?;
        if upload.length.is_some_and(|told| told != length) {
            return Err(UploadError::Length);
        }
        upload.length = Some(length);
        if let Some(ledger) = &self.remembered.ledger {
            return self.add_row(ledger, (id, upload), client, &distinct).await;
        }
        let room = self.store.no_room_yet(client.clone());
        let state = UploadState::new(upload, client.clone());
        self.entries.add_final(id, distinct, client, room);
        let saved = self.remembered.save(id, &state).await;
        if saved.is_err() {
            self.entries.remove(id);
            self.remembered.remove(id).await;
        }
        saved.map(|()| id)
    }

    /// Takes the turns at the parts of a final upload, all of which have to be whole. They are
    /// taken in one order, whatever the order of the parts, so that no two requests wait for each
    /// other, and who asks another node for the same waits for the first one.
    async fn visit_parts(
        self: &Arc<Self>,
        ids: &BTreeSet<UploadId>,
        visits: &mut Vec<Visit>,
    ) -> Result<(), UploadError> {
        for id in ids {
            let mut visit = self.visit(*id).await?;
            if visits.is_empty() {
                visit.have_others_wait().await?;
            }
            let checked = visit.check_is_whole_part().await;
            visits.push(visit);
            checked?;
        }
        Ok(())
    }

    /// The final upload that was begun before of the same parts, with the same metadata, as of a
    /// client that never saw the answer; None where the parts are in none.
    async fn begun_before(
        &self,
        upload: &NewUpload,
        parts: &[Visit],
    ) -> Result<Option<UploadId>, UploadError> {
        let Some(id) = parts.iter().find_map(|it| it.entry.joined()) else {
            return Ok(None);
        };
        let before = self.remembered.load(id).await?.upload;
        let ids = |it: &NewUpload| match &it.concat {
            Some(Concat::Final(parts)) => parts.ids.clone(),
            _ => Vec::new(),
        };
        let is_same = ids(&before) == ids(upload) && before.metadata == upload.metadata;
        is_same.then_some(Some(id)).ok_or(UploadError::Joined)
    }

    /// Removes what has come of parts that are in the whole.
    pub(super) async fn forget_contents(&self, parts: impl IntoIterator<Item = &UploadId>) {
        for id in parts {
            drop(self.open.take(*id));
            self.remembered.remove_content(*id).await;
            if let Some(entry) = self.entries.get(*id) {
                entry.room.note(0);
            }
        }
    }

    /// How long the whole is, if it may be, and if there is room to put it together.
    async fn check_parts(
        &self,
        ids: &[UploadId],
        lengths: &BTreeMap<UploadId, u64>,
    ) -> Result<u64, UploadError> {
        let of = |id: &UploadId| lengths.get(id).copied().unwrap_or(0);
        let all = ids.iter().map(of).fold(0, u64::saturating_add);
        let here: u64 = lengths.values().sum();
        let again = all.saturating_sub(here);
        let copied = ids.iter().skip(1).map(of).max().unwrap_or(0);
        self.store.check_length(all)?;
        // The parts themselves are counted already.
        if again > 0 {
            self.store.check_quota_of_length(again).await?;
        }
        self.store.check_room(copied.saturating_add(again)).await?;
        Ok(all)
    }
}

impl Visit {
    /// Fails where the upload is none that others may be made of, now or ever.
    async fn check_is_whole_part(&mut self) -> Result<(), UploadError> {
        if self.state.upload.concat != Some(Concat::Partial) {
            return Err(UploadError::NoPart);
        }
        let here = self.offset().await?;
        let is_whole = self.state.whole().is_some() || self.entry.joined().is_some();
        let is_all = is_whole && self.state.upload.length == Some(here);
        is_all.then_some(()).ok_or(UploadError::Unfinished)
    }

    /// Puts the parts behind each other, from where an earlier try came to; all that is here is
    /// durable then.
    pub(super) async fn join(&mut self) -> Result<Box<dyn Partial>, UploadError> {
        self.uploads.check_writable()?;
        // Whether the first part was renamed, a crash may have left untold.
        self.settle().await?;
        self.entry.room.note(self.state.offset);
        let mut begin = 0;
        for part in self.parts().await? {
            let end = begin + part.content.len;
            if end > self.state.offset {
                if begin == 0 && !part.comes_again && !self.is_shared() {
                    self.take_in(&part).await?;
                } else {
                    self.copy(&part).await?;
                }
            }
            if !part.comes_again {
                self.uploads.forget_contents([&part.id]).await;
            }
            begin = end;
        }
        self.entry.note(None);
        self.partial().await
    }

    /// The parts it is made of, in their order. Where one is gone so is the whole.
    async fn parts(&self) -> Result<Vec<Part>, UploadError> {
        let Some(Concat::Final(of)) = &self.state.upload.concat else {
            return Ok(Vec::new());
        };
        let (mut parts, mut seen) = (Vec::new(), BTreeSet::new());
        for id in of.ids.iter().rev().copied() {
            let content = match self.uploads.remembered.load(id).await {
                Ok(state) => state.whole(),
                Err(UploadError::Unknown) => None,
                Err(error) => return Err(error),
            };
            let Some(content) = content else {
                return Err(self.give_up().await);
            };
            let comes_again = !seen.insert(id);
            parts.push(Part {
                id,
                content,
                comes_again,
            });
        }
        parts.reverse();
        Ok(parts)
    }

    /// Has the content of the first part be its own. It is read on the way to the second, and has
    /// to be what was acknowledged of the part.
    async fn take_in(&mut self, part: &Part) -> Result<(), UploadError> {
        self.state.marks = vec![part.content];
        self.save().await?;
        let uploads = &self.uploads;
        drop((uploads.open.take(part.id), uploads.open.take(self.id)));
        uploads.remembered.rename(part.id, self.id).await?;
        self.state.offset = part.content.len;
        self.state.proof = Some(part.content.hash);
        self.state.marks.clear();
        self.save().await?;
        self.entry.room.note(self.state.offset);
        Ok(())
    }

    /// Puts the content of a part behind what is here.
    async fn copy(&mut self, part: &Part) -> Result<(), UploadError> {
        let mut partial = self.partial().await?;
        let (mut hasher, mut here) = (blake3::Hasher::new(), 0);
        while here < part.content.len {
            let left = usize::try_from(part.content.len - here).unwrap_or(PIECE);
            let remembered = &self.uploads.remembered;
            let piece = remembered.read(part.id, here, left.min(PIECE)).await?;
            if piece.is_empty() {
                break;
            }
            here += piece.len() as u64;
            hasher.update(&piece);
            partial.write(piece).await?;
        }
        if here != part.content.len || BlobHash::from(hasher.finalize()) != part.content.hash {
            return Err(self.give_up().await);
        }
        self.sync(&mut *partial).await?;
        self.save().await?;
        self.entry.room.note(self.state.offset);
        self.uploads.open.put(self.id, partial);
        Ok(())
    }
}
