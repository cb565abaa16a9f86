//! How an upload becomes a file, once, whatever happens meanwhile.
//!
//! 1. The state says that it ends: the hash, and the newest file of the same name.
//! 2. The store takes the content, of which the upload keeps a name of its own.
//! 3. Where its uploader has said so, it is written down on how many members of the network the
//!    file is to be.
//! 4. The state says which file it is.
//! 5. The content of the upload is removed.
//!
//! After a crash between the first and the fourth step the file is there or it is not.

use std::sync::Arc;

use futures_util::TryStreamExt;

use super::concat::Concat;
use super::error::UploadError;
use super::state::{Ending, Finished};
use super::visit::Visit;
use super::wishes::Wishes;
use crate::blob::{BlobError, Partial};
use crate::hash::BlobHash;
use crate::record::{FileId, FileRecord};
use crate::store::StoreError;

impl Visit {
    /// Makes a file of `partial`, which holds all of the content and is durable.
    pub(super) async fn finish(&mut self, partial: Box<dyn Partial>) -> Result<(), UploadError> {
        let uploads = self.uploads.clone();
        let _claim = uploads.claims.read().await;
        self.make_file(partial).await
    }

    /// Does so where all of the content is here, and whoever brought it came to no end; or where
    /// it is made of others that are all here.
    pub(super) async fn finish_whole(&mut self) -> Result<(), UploadError> {
        let is_part = self.state.upload.concat == Some(Concat::Partial);
        if is_part || self.state.finished.is_some() {
            return Ok(());
        }
        if self.state.upload.concat.is_some() && self.state.ending.is_none() {
            return self.make_of_parts().await;
        }
        let uploads = self.uploads.clone();
        // Before its content is looked at, which goes once the file stands.
        if let Some(ending) = self.state.ending {
            uploads.check_writable()?;
            let _claim = uploads.claims.write().await;
            if let Some(record) = self.find(&ending).await? {
                return self.end(record.id, &ending).await;
            }
        }
        let here = self.offset().await?;
        let is_whole = self.state.upload.length == Some(here);
        if !(is_whole || self.state.ending.is_some()) {
            return Ok(());
        }
        uploads.check_writable()?;
        let _claim = uploads.claims.write().await;
        let mut partial = self.partial().await?;
        self.sync(&mut *partial).await?;
        self.make_file(partial).await
    }

    /// Makes a file of what is made of others, for which those wait who come to other nodes.
    async fn make_of_parts(&mut self) -> Result<(), UploadError> {
        let (uploads, id) = (Arc::clone(&self.uploads), self.id.uuid());
        let making = async {
            let partial = self.join().await?;
            self.finish(partial).await
        };
        match &uploads.remembered.ledger {
            Some(ledger) => ledger.ending(id, making).await,
            None => making.await,
        }
    }

    async fn make_file(&mut self, partial: Box<dyn Partial>) -> Result<(), UploadError> {
        let content = match partial.finish_copy().await {
            Err(BlobError::Damaged { .. }) => return Err(self.give_up().await),
            Err(error) => {
                self.entry.doubt();
                return Err(error.into());
            }
            Ok(content) => content,
        };
        let ending = match self.state.ending {
            Some(ending) if ending.hash == content.hash() => ending,
            Some(_) => return Err(self.give_up().await),
            // The file and what it ends are written down together.
            None if self.is_shared() => Ending {
                hash: content.hash(),
                newer_than: None,
            },
            None => self.begin_to_end(content.hash()).await?,
        };
        // Nobody is told of the file before it is known how often it is to be.
        let _unseen = match self.wish() {
            Some((wishes, _)) => Some(wishes.hide_newer().await?),
            None => None,
        };
        let about = self.state.upload.about.clone();
        let (store, room) = (&self.uploads.store, Arc::clone(&self.entry.room));
        let made = store.ingest_arrived(content, about, Some(room));
        let made = match &self.uploads.remembered.ledger {
            Some(ledger) => ledger.ending(self.id.uuid(), made).await,
            None => made.await,
        };
        let record = match made {
            Err(error @ StoreError::Blob(BlobError::OverQuota { .. })) => {
                // It came beyond the quota, since it might have been kept already.
                self.uploads.remove(self.id).await;
                return Err(error.into());
            }
            // What is put together is read then.
            Err(StoreError::Blob(BlobError::Damaged { .. })) if self.is_shared() => {
                return Err(self.give_up().await);
            }
            record => record?,
        };
        self.end(record.id, &ending).await
    }

    async fn begin_to_end(&mut self, hash: BlobHash) -> Result<Ending, UploadError> {
        let name = &self.state.upload.about.name;
        let newest = self.uploads.store.newest_named(name).await?;
        let ending = Ending {
            hash,
            newer_than: newest.map(|it| it.id),
        };
        self.state.ending = Some(ending);
        self.save().await?;
        Ok(ending)
    }

    /// On how many members the file is to be, where its uploader says so, and who sees to that.
    fn wish(&self) -> Option<(Arc<dyn Wishes>, u8)> {
        self.uploads.wishes.clone().zip(self.state.upload.copies)
    }

    /// Writes down which file it is; only then it may be told.
    async fn end(&mut self, file: FileId, ending: &Ending) -> Result<(), UploadError> {
        if let Some((wishes, copies)) = self.wish() {
            wishes.wish(file, copies).await?;
        }
        let hash = ending.hash;
        self.state.finished = Some(Finished { file, hash });
        if !self.is_shared() {
            self.save().await?;
        }
        self.entry.note(Some(file));
        self.remove_content().await;
        self.entry.room.note(0);
        self.uploads.forget_oldest().await;
        Ok(())
    }

    /// Removes what has come of it. For a store nobody waits: what it does not remove now is
    /// removed later, as no use any more.
    async fn remove_content(&self) {
        if !self.is_shared() {
            return self.uploads.remembered.remove_content(self.id).await;
        }
        let (uploads, id) = (Arc::clone(&self.uploads), self.id);
        tokio::spawn(async move { uploads.remembered.remove_content(id).await });
    }

    /// The file that an earlier try has made.
    async fn find(&self, ending: &Ending) -> Result<Option<FileRecord>, UploadError> {
        let store = &self.uploads.store;
        let name = &self.state.upload.about.name;
        let newest = store.newest_named(name).await?;
        let newest = newest.filter(|it| Some(it.id) > ending.newer_than);
        if newest.as_ref().is_none_or(|it| self.is_own(it, ending)) {
            return Ok(newest);
        }
        // Others of the same name have come since.
        let mut files = store.files(ending.newer_than);
        while let Some(file) = files.try_next().await? {
            if self.is_own(&file, ending) {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    fn is_own(&self, record: &FileRecord, ending: &Ending) -> bool {
        let (file, about) = (&record.file, &self.state.upload.about);
        Some(record.id) > ending.newer_than
            && file.hash == ending.hash
            && file.name == about.name
            && file.content_type == about.content_type
            && file.description == about.description
            && !self.uploads.entries.has_become(record.id)
    }
}
