//! Checking what several nodes share: the rows of the database and the objects of the bucket
//! against each other, beside nodes that run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::belonging::{bring_together, check_together};
use super::shared_error::OpenError;
use super::sweep::unknown;
use super::verify::Finding;
use super::{Store, StoreError};
use crate::blob::memory::MemoryBlobs;
use crate::blob::s3::{self, Object, ObjectPurpose, S3Blobs};
use crate::blob::{BlobBackend, BlobError};
use crate::causes::with_causes;
use crate::health::Health;
use crate::index::postgres::{self, ContentRow, PostgresIndex};
use crate::index::{IndexBackend, Totals};

/// How many contents are read at once.
const AT_ONCE: usize = 8;
/// For how many objects the database is asked together.
const OBJECTS: usize = 256;
/// How long whatever is out of reach has to come back.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a content is read that alone cannot be, before the rest is.
const TRIES: u32 = 5;
/// How long to wait before it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The servers that keep what several nodes share, as whoever looks at it finds them.
pub struct Shared {
    index: Arc<PostgresIndex>,
    blobs: Arc<S3Blobs>,
}

/// The check of all that is shared.
struct Checking<'a> {
    servers: &'a Shared,
    findings: mpsc::Sender<Finding>,
    /// When a content was last read, whatever it was like.
    read: Mutex<Option<Instant>>,
}

impl Shared {
    /// Finds what nodes keep in a database and a bucket. Nothing is made there.
    pub async fn open(index: &postgres::Options, blobs: s3::Options) -> Result<Self, OpenError> {
        let scratch = Arc::new(MemoryBlobs::default());
        let index = Arc::new(PostgresIndex::open_existing(index).await?);
        let bucket = blobs.url();
        let blobs = Arc::new(S3Blobs::open(blobs, scratch).await?);
        check_together(&index, &blobs, &bucket).await?;
        Ok(Self { index, blobs })
    }

    /// Finds the same, or makes it ready for files where nothing is.
    pub async fn open_or_make(
        index: &postgres::Options,
        blobs: s3::Options,
    ) -> Result<Self, OpenError> {
        let scratch = Arc::new(MemoryBlobs::default());
        let index = Arc::new(PostgresIndex::open(index).await?);
        let bucket = blobs.url();
        let blobs = S3Blobs::open(blobs, scratch).await?;
        bring_together(&index, &blobs, &bucket).await?;
        Ok(Self {
            blobs: Arc::new(blobs.with_packs(index.packs())),
            index,
        })
    }

    /// A store over them, for who serves nobody.
    pub fn store(&self) -> Store {
        let mut store = Store::new(Arc::clone(&self.blobs) as _, Arc::clone(&self.index) as _);
        store.is_shared = true;
        store
    }

    /// What is known of files.
    pub fn index(&self) -> &PostgresIndex {
        &self.index
    }

    /// Checks everything: sends each finding as it comes, has all nodes know in what health each
    /// content is, and returns how much there is. Takes as long as reading everything once. What
    /// cannot be read while the rest can is told as unchecked. Fails where a server is away for
    /// longer than a minute.
    pub async fn verify(&self, findings: mpsc::Sender<Finding>) -> Result<Totals, StoreError> {
        let checking = Checking {
            servers: self,
            findings,
            read: Mutex::default(),
        };
        checking.check_contents().await?;
        checking.check_objects().await?;
        checking.check_files().await?;
        Ok(self.index.totals())
    }
}

/// What comes of `work`, which is done again where a server is out of reach.
async fn patiently<T>(work: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let began = Instant::now();
    loop {
        match work().await {
            Err(error) if error.unavailable().is_some() && began.elapsed() < PATIENCE => {
                tracing::warn!(error = with_causes(&error), "waiting for it to come back");
                sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}

impl Checking<'_> {
    /// Reads all contents that files need.
    async fn check_contents(&self) -> Result<(), StoreError> {
        let index = &*self.servers.index;
        let mut after = None;
        loop {
            let rows = patiently(async || Ok(index.contents(after).await?)).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = Some(last.hash);
            let checked = stream::iter(rows).map(|row| self.check(row));
            let checked = checked.buffer_unordered(AT_ONCE);
            let found: Vec<_> = checked.try_collect().await?;
            let found: Vec<_> = found.into_iter().flatten().collect();
            patiently(async || Ok(index.note_health(&found).await?)).await?;
        }
    }

    /// Reads a content, and tells how it is; None where nobody knows, or no file needs it any more.
    async fn check(&self, row: ContentRow) -> Result<Option<(ContentRow, Health)>, StoreError> {
        let (mut row, began) = (row, Instant::now());
        loop {
            let error = match self.read(&row).await {
                Ok(()) => break,
                Err(StoreError::Blob(error @ BlobError::Damaged { .. })) => error,
                Err(error) if error.unavailable().is_some() && !self.goes_on_since(began) => {
                    return Err(error);
                }
                Err(error) => {
                    let unchecked = format!("blob {}: {}", row.hash, with_causes(&error));
                    self.tell(Finding::Unchecked(unchecked)).await;
                    return Ok(None);
                }
            };
            // It may have been removed, or written anew elsewhere, while it was looked for.
            let now = patiently(async || Ok(self.servers.index.row(&row.hash).await?)).await?;
            match now {
                None => return Ok(None),
                Some(now) if now.place != row.place => row = now,
                Some(_) if error.is_missing() => {
                    self.tell(Finding::BlobMissing(row.hash)).await;
                    return Ok(Some((row, Health::Damaged)));
                }
                Some(_) => {
                    self.tell(Finding::BlobDamaged(row.hash)).await;
                    return Ok(Some((row, Health::Damaged)));
                }
            }
        }
        if !row.is_live {
            self.tell(Finding::NotLive(row.hash)).await;
        }
        Ok(Some((row, Health::Whole)))
    }

    /// Reads a content, again where that may help, and fails where it is not whole.
    async fn read(&self, row: &ContentRow) -> Result<(), StoreError> {
        let (began, tries) = (Instant::now(), AtomicU32::new(0));
        let read = patiently(async || match self.prove(row).await {
            Err(BlobError::Unavailable(away)) => {
                let tries = tries.fetch_add(1, Ordering::Relaxed) + 1;
                if tries >= TRIES && self.goes_on_since(began) {
                    return Ok(Err(away));
                }
                Err(BlobError::Unavailable(away).into())
            }
            proven => {
                *self.read.lock() = Some(Instant::now());
                Ok(Ok(proven?))
            }
        });
        read.await?
            .map_err(|away| BlobError::Unavailable(away).into())
    }

    /// Whether other contents could be read meanwhile.
    fn goes_on_since(&self, began: Instant) -> bool {
        self.read.lock().is_some_and(|at| at > began)
    }

    /// Reads a content, and fails where it is not whole.
    async fn prove(&self, row: &ContentRow) -> Result<(), BlobError> {
        let blobs = &self.servers.blobs;
        let Some(blob) = blobs.open(&row.hash, row.place).await? else {
            return Err(BlobError::missing(row.hash));
        };
        if blob.size() != row.size {
            return Err(blob.refuse_size(row.size).await);
        }
        let outboard = blobs.check_outboard(&row.hash, row.place, row.size);
        if !outboard.await? {
            self.tell(Finding::OutboardDamaged(row.hash)).await;
        }
        blob.prove().await
    }

    /// Looks for objects that no row knows.
    async fn check_objects(&self) -> Result<(), StoreError> {
        let mut listed = self.servers.blobs.objects().chunks(OBJECTS);
        while let Some(objects) = listed.next().await {
            let objects: Result<Vec<_>, _> = objects.into_iter().collect();
            let objects = objects?;
            for object in patiently(async || Ok(self.unknown(&objects).await?)).await? {
                let (key, bytes) = (object.key().to_owned(), object.bytes);
                self.tell(Finding::Unknown(key, bytes)).await;
            }
        }
        Ok(())
    }

    async fn unknown<'a>(&self, objects: &'a [Object]) -> Result<Vec<&'a Object>, StoreError> {
        let Shared { index, blobs } = self.servers;
        let mut found = Vec::new();
        for object in unknown(index, objects).await? {
            // One that was removed meanwhile is known no more, and not there either.
            if object.purpose != ObjectPurpose::Trial && blobs.has(object).await? {
                found.push(object);
            }
        }
        Ok(found)
    }

    /// Tells of the files whose content is not to be had.
    async fn check_files(&self) -> Result<(), StoreError> {
        let index = &*self.servers.index;
        let mut after = None;
        loop {
            let (bereft, last) = patiently(async || Ok(index.bereft(after).await?)).await?;
            for file in bereft {
                self.tell(Finding::Bereft(file)).await;
            }
            if last.is_none() {
                return Ok(());
            }
            after = last;
        }
    }

    async fn tell(&self, finding: Finding) {
        // Who no longer listens does not want to know.
        let _ = self.findings.send(finding).await;
    }
}
