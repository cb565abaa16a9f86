//! The index on a local disk: the journal, which is the truth, and the lookup
//! database, which is brought up to it and made anew from it at need.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::guard::is_end;
use super::lookup::Lookup;
use super::{Alike, Content, Garbage, Held, IndexBackend, IndexError, Intent, Put, Totals};
use crate::blocking;
use crate::hash::BlobHash;
use crate::health::Health;
use crate::index::guard::guard;
use crate::place::Place;
use crate::record::{FileId, FileRecord, NewFile};

mod absence;
mod compact;
mod compare;
mod generations;
mod heal;
mod inspect;
mod loss;
mod mend;
mod options;
mod rebuild;
mod renew;
mod replay;
mod rescue;
mod room;
mod seal;
mod shared;
mod start;
mod sums;
mod unhealed;
mod verify;
mod writer;

pub use super::journal::ContentDir;
pub use compare::{IndexFinding, Report};
pub use loss::noted as lost_changes;
pub use options::{Options, Told};
pub use rebuild::{Rebuilt, forget_loss, rebuild};
pub use renew::{Counted, Renewed, count, has_older_lookup, remove_unfinished, renew};
pub use verify::{Journaled, verify};

use shared::{Current, Shared};
use writer::Request;

/// The files that it has in the storage directory itself.
pub(crate) const FILES: [&str; 2] = [seal::FILE, loss::FILE];

/// The index of one storage directory. One process at a time may have it open.
pub struct LocalIndex {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    options: Options,
}

/// An open index, and what its opening found.
pub struct Opened {
    /// The index.
    pub index: LocalIndex,
    /// Whether the last stop was clean.
    pub clean: bool,
    /// Whether something was damaged: until the next start nothing may be deleted that no record
    /// seems to need.
    pub damaged: bool,
    /// How many changes the journal has lost for good, now or at an earlier start, until a
    /// [`rebuild()`] settles that; None where nothing is lost. Until then nothing may be deleted
    /// that no record seems to need.
    pub lost: Option<u64>,
    /// Files that were acknowledged under relaxed durability shortly before a
    /// crash: their blobs may be incomplete.
    pub unsettled: Vec<FileRecord>,
}

impl LocalIndex {
    /// Opens the index of a storage directory, creating it where there is none;
    /// brings the lookup database up to the journal or makes it anew. Blocks.
    pub fn open(options: &Options) -> Result<Opened, IndexError> {
        let start::Started {
            requests,
            shared,
            clean,
            damaged,
            lost,
            unsettled,
        } = start::start(options)?;
        Ok(Opened {
            index: Self {
                requests,
                shared,
                options: options.clone(),
            },
            clean,
            damaged,
            lost,
            unsettled,
        })
    }

    /// What is wrong with the lookup database, which is made anew then.
    async fn lookup_problem(&self) -> Result<Option<(PathBuf, String)>, IndexError> {
        let before = self.shared.current().generation;
        if let Some(reason) = self.look_up(Lookup::check).await? {
            self.request(|answer| Request::Heal {
                generation: before,
                reason: reason.to_owned(),
                answer,
            })
            .await?;
        }
        let is_another = self.shared.current().generation != before;
        Ok(is_another.then(|| {
            let told = "the lookup database was damaged (made anew from the journal)";
            (self.options.generation_dir(before), told.to_owned())
        }))
    }

    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, IndexError>>) -> Request,
    ) -> Result<T, IndexError> {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(request(answer)).await.is_ok()
            && let Ok(answer) = answered.await
        {
            return answer;
        }
        // Until then a thread that ends has not said why.
        self.requests.closed().await;
        let refusal = self.refusal().map(IndexError::Refused);
        Err(refusal.unwrap_or(IndexError::Closed))
    }

    /// Runs a lookup on a blocking thread; after an error of the database once
    /// more, on a new one.
    async fn look_up<T: Send + 'static>(
        &self,
        work: impl Fn(&Lookup) -> Result<T, IndexError> + Clone + Send + 'static,
    ) -> Result<T, IndexError> {
        let Current { lookup, generation } = self.shared.current();
        match on_blocking_thread(lookup, work.clone()).await {
            Err(error) if is_end(&error) => {
                let reason = error.to_string();
                self.request(|answer| Request::Heal {
                    generation,
                    reason,
                    answer,
                })
                .await?;
                on_blocking_thread(self.shared.current().lookup, work).await
            }
            result => result,
        }
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    lookup: Option<Arc<Lookup>>,
    work: impl Fn(&Lookup) -> Result<T, IndexError> + Send + 'static,
) -> Result<T, IndexError> {
    let lookup = lookup.ok_or(IndexError::Closed)?;
    blocking::run(move || guard(|| work(&lookup))).await
}

#[async_trait]
impl IndexBackend for LocalIndex {
    async fn intend(&self, hash: &BlobHash, _size: u64) -> Result<Intent, IndexError> {
        let hold = self.shared.in_use.share_to_write(*hash).await;
        let content = self.shared.content(hash)?;
        Ok(Intent::new(Place::of(hash), content, hold))
    }

    async fn put(&self, file: NewFile, intent: Intent) -> Result<Put, IndexError> {
        if file.is_too_long() {
            return Err(IndexError::TooLong);
        }
        self.request(|answer| Request::Put {
            file,
            intent,
            answer,
        })
        .await
    }

    async fn restore(&self, files: Vec<(FileRecord, Intent)>) -> Result<(), IndexError> {
        if files.iter().any(|(record, _)| record.file.is_too_long()) {
            return Err(IndexError::TooLong);
        }
        self.request(|answer| Request::Restore { files, answer })
            .await
    }

    async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        self.request(|answer| Request::Remove { id, answer }).await
    }

    async fn get(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        self.look_up(move |lookup| lookup.get(id)).await
    }

    async fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError> {
        let name = name.to_owned();
        self.look_up(move |lookup| lookup.newest_named(&name)).await
    }

    async fn named_before(
        &self,
        name: &str,
        before: FileId,
    ) -> Result<Option<FileRecord>, IndexError> {
        let name = name.to_owned();
        self.look_up(move |lookup| lookup.named_before(&name, Some(before)))
            .await
    }

    async fn earlier(&self, all: &[Alike<'_>]) -> Result<Vec<Option<FileId>>, IndexError> {
        let all = all
            .iter()
            .map(|it| (it.name.to_owned(), it.hash, it.than, it.known));
        let all: Vec<_> = all.collect();
        self.look_up(move |lookup| {
            let found = all
                .iter()
                .map(|(name, hash, than, known)| lookup.earlier(name, hash, *than, *known));
            found.collect()
        })
        .await
    }

    async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        self.look_up(move |lookup| lookup.page(after, limit)).await
    }

    async fn page_back(
        &self,
        before: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        self.look_up(move |lookup| lookup.page_back(before, limit))
            .await
    }

    async fn locate(&self, hash: &BlobHash) -> Result<Option<Content>, IndexError> {
        self.shared.content(hash)
    }

    async fn hold(&self, hash: &BlobHash) -> Result<Option<Held>, IndexError> {
        let hold = self.shared.in_use.share(*hash).await;
        let content = self.shared.content(hash)?;
        Ok(content.map(|content| Held::new(content, hold)))
    }

    async fn garbage(&self, limit: usize) -> Result<Vec<Garbage>, IndexError> {
        // In the database that is current once nobody else has the content.
        let is_needed = |hash: &BlobHash| Ok(self.shared.content(hash)?.is_some());
        let garbage = self.shared.in_use.garbage(limit, is_needed)?;
        // After a failed sync nobody knows which records a restart will find. Looked at last:
        // whoever has shared these contents until now has had its sync.
        match self.refusal() {
            Some(reason) => Err(IndexError::Refused(reason)),
            None => Ok(garbage),
        }
    }

    async fn collected(&self, garbage: Vec<Garbage>) -> Result<(), IndexError> {
        for garbage in garbage {
            self.shared.healths.forget(&garbage.place().content());
            garbage.collected();
        }
        Ok(())
    }

    async fn sift(&self, stored: &[Place]) -> Result<(), IndexError> {
        for place in stored {
            let hash = place.content();
            if self.shared.content(&hash)?.is_none() {
                self.shared.in_use.suspect(hash);
            }
        }
        Ok(())
    }

    fn health(&self, place: Place, found: Health) -> Option<BlobHash> {
        let hash = place.content();
        self.shared.healths.note(&hash, found).then_some(hash)
    }

    fn totals(&self) -> Totals {
        Totals {
            damaged: self.shared.healths.count(Health::Damaged),
            unreadable: self.shared.healths.count(Health::Unreadable),
            ..*self.shared.totals.lock()
        }
    }

    async fn mark(&self) -> Result<u64, IndexError> {
        Ok(self.shared.next_seq.load(Ordering::Acquire))
    }

    async fn sync(&self, mark: u64) -> Result<(), IndexError> {
        self.request(|answer| Request::Sync { mark, answer }).await
    }

    fn refusal(&self) -> Option<String> {
        self.shared.refusal.get().cloned()
    }

    async fn try_to_write(&self) -> Result<(), IndexError> {
        self.request(|answer| Request::Try { answer }).await
    }

    async fn tidy(&self) -> Result<(), IndexError> {
        self.request(|answer| Request::Tidy { answer }).await
    }

    async fn problems(&self) -> Result<Vec<(PathBuf, String)>, IndexError> {
        let (options, reached) = (self.options.clone(), self.mark().await?);
        let found = blocking::run(move || inspect::problems(&options, reached));
        let mut found = found.await?;
        found.extend(self.lookup_problem().await?);
        Ok(found)
    }

    async fn close(&self) -> Result<(), IndexError> {
        self.request(|answer| Request::Close { answer }).await
    }
}
