//! A directory of backups that is open: its contents, and which backups there are.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::BackupError;
use super::moments::{Found, Moment, MomentFiles};
use crate::blob::local::LocalBlobs;
use crate::blob::{
    BlobBackend, BlobError, Limit, OpenBlob, Partial, PartialId, Purpose, Received, Receiving,
};
use crate::blocking;
use crate::hash::BlobHash;
use crate::health::{Findings, Health};
use crate::place::Place;

/// A directory of backups that this process alone has open.
pub struct Backups {
    pub(super) files: MomentFiles,
    pub(super) contents: LocalBlobs,
    pub(super) broken: Arc<Broken>,
    /// Unlocked by the system when it closes it, however the process ends.
    pub(super) _lock: Option<File>,
}

/// Content from so many bytes on outlives the process that was cut off within it: less comes anew.
const LONG: u64 = 1 << 20;

/// Content that comes.
pub struct Coming {
    /// What takes it.
    pub receiving: Box<dyn Receiving>,
    /// How many bytes of it are here.
    pub here: u64,
}

/// Contents in it that are known not to be whole.
#[derive(Default)]
pub(super) struct Broken(Mutex<HashSet<Place>>);

impl Broken {
    /// Whether nothing is known to be damaged.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Findings for Broken {
    fn found(&self, place: Place, health: Health) {
        match health {
            Health::Whole => self.0.lock().remove(&place),
            Health::Damaged | Health::Unreadable => self.0.lock().insert(place),
        };
    }
}

impl Backups {
    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.files.dir
    }

    /// Whether it has content with this hash, of `size` bytes. Nothing of it is read: it was
    /// proven when it came, and what a check has found damaged since is not counted.
    pub async fn has(&self, hash: &BlobHash, size: u64) -> Result<bool, BackupError> {
        Ok(self.contents.size(Place::of(hash)).await? == Some(size))
    }

    /// Begins to receive content.
    pub async fn receive(&self) -> Result<Box<dyn Receiving>, BackupError> {
        Ok(self.contents.receive(Limit::default()).await?)
    }

    /// Begins to receive content of `size` bytes. Of long content what comes outlives the process,
    /// and one that comes again goes on behind what is there, whose hash has to show at the end
    /// whether that was right.
    pub async fn come(&self, hash: &BlobHash, size: u64) -> Result<Coming, BackupError> {
        if size < LONG {
            let receiving = self.receive().await?;
            return Ok(Coming { receiving, here: 0 });
        }
        let partial = self.resume(hash, size).await?;
        match partial.received() {
            here if here <= size => Ok(Coming {
                receiving: partial,
                here,
            }),
            _ => {
                drop(partial);
                self.come_anew(hash, size).await
            }
        }
    }

    /// The same from the first byte on.
    pub async fn come_anew(&self, hash: &BlobHash, size: u64) -> Result<Coming, BackupError> {
        self.give_up(hash).await?;
        let receiving: Box<dyn Receiving> = if size < LONG {
            self.receive().await?
        } else {
            self.resume(hash, size).await?
        };
        Ok(Coming { receiving, here: 0 })
    }

    async fn resume(&self, hash: &BlobHash, size: u64) -> Result<Box<dyn Partial>, BackupError> {
        let partials = self.contents.partials(Purpose::Copies);
        partials.prepare().await?;
        let id = PartialId::of(hash.as_bytes());
        Ok(partials.resume(&id, size, None, Limit::default()).await?)
    }

    /// Removes what has come of a content that is not whole.
    pub async fn give_up(&self, hash: &BlobHash) -> Result<(), BackupError> {
        let partials = self.contents.partials(Purpose::Copies);
        Ok(partials.remove(&PartialId::of(hash.as_bytes())).await?)
    }

    /// Removes all that has come of contents that are not whole.
    pub(super) async fn give_up_all(&self) -> Result<(), BackupError> {
        let partials = self.contents.partials(Purpose::Copies);
        for found in partials.prepare().await? {
            partials.remove(&found.id).await?;
        }
        Ok(())
    }

    /// Keeps content that was received. Ok means durable.
    pub async fn keep(&self, received: Box<dyn Received>) -> Result<(), BackupError> {
        let place = Place::of(&received.hash());
        Ok(received.keep(place).await?)
    }

    /// Opens content for reading, which proves it.
    pub async fn open(&self, hash: &BlobHash) -> Result<Arc<dyn OpenBlob>, BackupError> {
        let opened = self.contents.open(hash, Place::of(hash)).await?;
        Ok(opened.ok_or_else(|| BlobError::missing(*hash))?)
    }
}

impl Backups {
    /// All backups, the oldest first.
    pub async fn moments(&self) -> Result<Vec<Found>, BackupError> {
        self.on_disk(MomentFiles::all).await
    }

    /// The backup with this number, or the newest, or the newest of a time up to `as_of`, in
    /// milliseconds since 1970.
    pub async fn choose(
        &self,
        number: Option<u32>,
        as_of: Option<i64>,
    ) -> Result<Moment, BackupError> {
        let dir = self.files.dir.display();
        let mut found = self.moments().await?;
        if let Some(number) = number {
            let no_such = || BackupError::NoSuch(format!("no backup in {dir} has number {number}"));
            let found = found.into_iter().find(|it| it.number == number);
            return found.ok_or_else(no_such)?.moment;
        }
        let mut none = "there is no backup in";
        if let Some(as_of) = as_of {
            // Of one that cannot be read nobody knows how old it is.
            found.retain(|it| it.moment.as_ref().is_ok_and(|it| it.at <= as_of));
            none = "there is no backup that is as old in";
        }
        let none = || BackupError::NoSuch(format!("{none} {dir}"));
        let newest = found.pop().ok_or_else(none)?.moment;
        let older = found.iter().rev().find(|it| it.moment.is_ok());
        newest.map_err(|error| match (error, older) {
            (BackupError::Damaged { path, detail }, Some(older)) => BackupError::Damaged {
                path,
                detail: format!("{detail}; `--backup {}` takes an older one", older.number),
            },
            (error, _) => error,
        })
    }

    /// Does something with the files of backups, where it may block.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&MomentFiles) -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, BackupError> {
        let files = self.files.clone();
        blocking::run(move || work(&files)).await
    }
}
