//! Which file of this node is the copy of what is wanted once more.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::fetching::KeepError;
use super::keeper::Keeper;
use super::not_kept::NotKept;
use super::queue::{Job, KeepProgress, Queue, Stage};
use super::wanted::{KeepId, Naming, Wanted, is_new_name};
use crate::hash::BlobHash;
use crate::index::Alike;
use crate::name_form;
use crate::record::{FileId, FileRecord};
use crate::store::{About, StoreError};

/// The longest content that is looked at while whoever asks for it waits, in bytes.
const LOOKED_AT_ONCE: u64 = 64 << 20;
/// How long whoever wants content that is here by another name waits for the node that gives it
/// that, and how often it is looked.
const NAMED_WITHIN: Duration = Duration::from_secs(10);
const NAMED_YET: Duration = Duration::from_millis(50);
/// Behind all ids that are given.
const LAST: FileId = FileId::from_bytes([u8::MAX; 16]);

/// What is told of a copy that is here.
fn kept(wanted: Wanted, copy: Option<FileId>) -> KeepProgress {
    KeepProgress {
        fetched: wanted.file.size,
        wanted,
        stage: Stage::Kept(copy),
        error: None,
    }
}

/// How this node holds what is wanted.
enum HeldAs {
    /// As this file.
    File(FileId),
    /// As some file, of which it is not known which; any name will do.
    Content,
    /// Not at all, or no longer.
    Nothing,
}

impl Job {
    /// The copy that was made, now or when it was asked for before.
    pub(super) fn copy(&self) -> Option<FileId> {
        match self.stage {
            Stage::Kept(Some(copy)) => Some(copy),
            _ => self.copy,
        }
    }

    /// What is wanted, under each of the names that it shall have.
    pub(super) fn all_wanted(&self) -> impl Iterator<Item = &Wanted> {
        std::iter::once(&self.wanted).chain(&self.also)
    }

    /// How many of the places for what is not at its end it takes.
    pub(super) fn places(&self) -> usize {
        if self.stage.is_final() {
            return 0;
        }
        self.all_wanted().count()
    }

    /// Notes that it is wanted under this name, too.
    pub(super) fn want_as(&mut self, wanted: Wanted) {
        if !is_new_name(self.all_wanted(), &wanted) {
            return;
        }
        if self.wanted.naming == Naming::Content && self.stage == Stage::Waiting {
            // Whoever has asked for the content alone takes it by any name.
            self.wanted = wanted;
        } else {
            self.also.push(wanted);
        }
    }
}

impl Queue {
    /// The copy that was made of one, as far as that is remembered.
    pub(super) fn copy(&self, id: KeepId) -> Option<FileId> {
        self.jobs.get(&id).and_then(Job::copy)
    }

    /// One of the names under which something is wanted.
    fn wanted_as(&self, id: KeepId, number: usize) -> Option<Wanted> {
        self.jobs.get(&id)?.all_wanted().nth(number).cloned()
    }
}

impl Keeper {
    /// How this node holds what is wanted. Where that is by other names only than the one that it
    /// shall have, it gets that: one more file is made of its content.
    async fn held_as(&self, wanted: &Wanted) -> Result<HeldAs, StoreError> {
        let Some(hash) = self.hash_of(wanted).await? else {
            return Ok(HeldAs::Nothing);
        };
        // Of two who want the same name at once, the second finds what the first has made.
        let _turn = self.naming.lock().await;
        let called = self.fetcher.called(wanted, &self.store).await?;
        if let Some(copy) = self.copy_called(wanted, &hash, &called.name).await? {
            return Ok(HeldAs::File(copy));
        }
        if wanted.naming == Naming::Content {
            return Ok(HeldAs::Content);
        }
        let about = About {
            name: called.name,
            content_type: called.content_type,
            description: String::new(),
        };
        let turn = self.queue.lock().held(wanted.id()).map(|it| it.turn);
        let made = self.store.ingest_held(hash, about, turn).await?;
        Ok(made.map_or(HeldAs::Nothing, |it| HeldAs::File(it.id)))
    }

    /// The file of this content that is called so: the copy that was made, or another; where any
    /// name will do, the copy whatever it is called.
    async fn copy_called(
        &self,
        wanted: &Wanted,
        hash: &BlobHash,
        name: &str,
    ) -> Result<Option<FileId>, StoreError> {
        let is_copy = |it: &FileRecord| {
            let is_called = name_form::is_same(&it.file.name, name);
            it.file.hash == *hash && (is_called || wanted.naming == Naming::Content)
        };
        let copy = self.queue.lock().copy(wanted.id());
        let copy = match &self.shared {
            Some(shared) if copy.is_none() => shared.copy(wanted.id()).await?,
            _ => copy,
        };
        if let Some(copy) = copy
            && self.store.get(copy).await?.is_some_and(|it| is_copy(&it))
        {
            return Ok(Some(copy));
        }
        match self.store.newest_named(name).await? {
            Some(named) if named.file.hash == *hash => Ok(Some(named.id)),
            Some(_) => {
                let alike = Alike {
                    name,
                    hash: *hash,
                    than: LAST,
                    known: 0,
                };
                Ok(self.store.earlier(&[alike]).await?.pop().flatten())
            }
            None => Ok(None),
        }
    }

    /// Notes that what a client wants is here whole, under the name that it wants; None where it
    /// is here no longer.
    pub async fn note_held(&self, mut wanted: Wanted) -> Result<Option<KeepProgress>, NotKept> {
        if let Some(progress) = self.name_by_turn(&wanted).await? {
            return Ok(Some(progress));
        }
        let copy = match self.held_as(&wanted).await? {
            HeldAs::File(copy) => Some(copy),
            HeldAs::Content => {
                wanted.call_by_hash();
                None
            }
            HeldAs::Nothing => return Ok(None),
        };
        self.note_kept(wanted, copy).await.map(Some)
    }

    /// Has whoever takes the turn at it give what is here the name that a client wants, where
    /// several nodes might do so at once; None where it has that name, or none does.
    async fn name_by_turn(&self, wanted: &Wanted) -> Result<Option<KeepProgress>, NotKept> {
        let Some(shared) = self
            .shared
            .as_ref()
            .filter(|_| wanted.naming != Naming::Content)
        else {
            return Ok(None);
        };
        let Some(hash) = self.hash_of(wanted).await? else {
            return Ok(None);
        };
        let called = self.fetcher.called(wanted, &self.store).await?;
        let copy = self.copy_called(wanted, &hash, &called.name);
        if copy.await?.is_some() {
            return Ok(None);
        }
        self.keep(wanted.clone(), None).await?;
        let began = Instant::now();
        loop {
            let progress = shared.progress(wanted.id()).await?;
            let is_over = progress.as_ref().is_none_or(|it| it.stage.is_final());
            if is_over || began.elapsed() >= NAMED_WITHIN {
                break;
            }
            sleep(NAMED_YET).await;
        }
        let copy = self.copy_called(wanted, &hash, &called.name).await?;
        let progress = match copy {
            Some(copy) => Some(kept(wanted.clone(), Some(copy))),
            None => shared.progress(wanted.id()).await?,
        };
        Ok(progress)
    }

    /// Notes that what a client wants is here already, as this file if that is known.
    pub async fn note_kept(
        &self,
        wanted: Wanted,
        copy: Option<FileId>,
    ) -> Result<KeepProgress, NotKept> {
        if let Some(shared) = &self.shared {
            shared.note(&wanted, copy).await?;
        } else {
            let (id, mut queue) = (wanted.id(), self.queue.lock());
            queue.add(wanted.clone(), None);
            queue.end(id, Stage::Kept(copy), None);
        }
        Ok(kept(wanted, copy))
    }

    /// The same of short content, which is looked at first: nobody has to wait for a turn to learn
    /// whether it is here. None where it is not, or is too long for that.
    pub async fn note_if_here(&self, wanted: &Wanted) -> Result<Option<KeepProgress>, NotKept> {
        let hash = self.hash_of(wanted).await?;
        let Some(hash) = hash.filter(|_| wanted.file.size <= LOOKED_AT_ONCE) else {
            return Ok(None);
        };
        if !self.store.holds_whole(&hash).await.unwrap_or(false) {
            return Ok(None);
        }
        self.note_held(wanted.clone()).await
    }

    /// Ends what is here now, be it as the file that was `made` of it: under every name that it is
    /// wanted by until then.
    pub(super) async fn end_kept(
        &self,
        id: KeepId,
        made: Option<FileRecord>,
    ) -> Result<(), KeepError> {
        let mut copy = made.as_ref().map(|it| it.id);
        // What was made has the first of the names.
        let mut named = usize::from(copy.is_some());
        if let Some(record) = made {
            self.queue.lock().made(id, record);
        }
        loop {
            let next = {
                let mut queue = self.queue.lock();
                let next = queue.wanted_as(id, named);
                if next.is_none() && self.shared.is_none() {
                    queue.end(id, Stage::Kept(copy), None);
                }
                next
            };
            let Some(mut wanted) = next else {
                let Some(shared) = &self.shared else {
                    return Ok(());
                };
                if self.end_row(shared, id, copy).await? {
                    return Ok(());
                }
                // By other names than those seen to.
                named = 0;
                continue;
            };
            match self.held_as(&wanted).await? {
                HeldAs::File(file) if named == 0 => copy = Some(file),
                HeldAs::File(_) => {}
                HeldAs::Content => {
                    wanted.call_by_hash();
                    self.queue.lock().name(id, wanted.file.name);
                }
                HeldAs::Nothing => return Err(KeepError::Removed),
            }
            named += 1;
        }
    }
}
