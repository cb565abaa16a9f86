//! Short contents on their way to the bucket: one task gathers them and writes packs.

use std::collections::HashMap;
use std::num::NonZero;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;

use super::bucket::{BLOBS, Bucket};
use crate::blob::BlobError;
use crate::blob::pack_format::{self, EntryHeader, LONGEST_CONTENT, PackId};
use crate::hash::BlobHash;
use crate::pack_rows::{ENTRY_OVERHEAD, Gathered, PackLease, PackRows};
use crate::place::Place;
use crate::unavailable::Unavailable;

/// How long a pack waits for contents that are on their way, from the first one on.
const GATHERING: Duration = Duration::from_millis(5);
/// A pack takes no more when it is so long, in bytes, or has so many contents.
const FULL: u64 = 4 << 20;
pub(super) const MOST: usize = 1024;
/// How many packs are on their way at once. The fewer, the more is in each: what a store takes for
/// one it takes whatever its length.
const SENDING: usize = 2;
/// How many contents wait for the next pack, before those who bring more wait.
const QUEUE: usize = 256;

/// Where short contents are brought together.
pub(super) struct Packs {
    pub(super) rows: Arc<dyn PackRows>,
    asked: mpsc::Sender<Asked>,
    coming: Arc<AtomicUsize>,
}

/// Content that may be gathered, from its first byte until it is, or is not.
pub(super) struct Coming(Arc<AtomicUsize>);

/// Content that somebody waits to be kept.
struct Asked {
    hash: BlobHash,
    bytes: Bytes,
    _coming: Option<Coming>,
    answer: oneshot::Sender<Result<Gathered, BlobError>>,
}

/// A pack as it is written.
pub(super) struct Pack {
    place: Place,
    bytes: Vec<u8>,
}

/// What goes into one pack.
struct Load {
    asked: Vec<Asked>,
    bytes: u64,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Packs {
    /// Begins to write packs to a bucket, until this is dropped.
    pub(super) fn begin(bucket: Arc<Bucket>, rows: Arc<dyn PackRows>) -> Self {
        let (asked, waiting) = mpsc::channel(QUEUE);
        let coming = Arc::default();
        let writer = Writer {
            bucket,
            rows: Arc::clone(&rows),
            coming: Arc::clone(&coming),
        };
        tokio::spawn(writer.run(waiting));
        Self {
            rows,
            asked,
            coming,
        }
    }

    /// Content begins to come that may be gathered.
    pub(super) fn coming(&self) -> Coming {
        self.coming.fetch_add(1, Ordering::Relaxed);
        Coming(Arc::clone(&self.coming))
    }

    /// Keeps a content in the next pack.
    pub(super) async fn gather(
        &self,
        hash: BlobHash,
        bytes: Bytes,
        coming: Option<Coming>,
    ) -> Result<Gathered, BlobError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            hash,
            bytes,
            _coming: coming,
            answer,
        };
        let gone = || {
            let ended = std::io::Error::other("the task that writes packs has ended");
            BlobError::io("gather", hash.to_string(), ended)
        };
        self.asked.send(asked).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Pack {
    /// An empty pack.
    pub(super) fn new(place: Place) -> Self {
        let bytes = pack_format::encode_pack(&id(place));
        Self { place, bytes }
    }

    /// Puts a content behind the others, and tells where that is; None where nothing is there that
    /// could be told.
    pub(super) fn push(&mut self, hash: BlobHash, content: &[u8]) -> Option<Place> {
        let at = u32::try_from(self.bytes.len())
            .ok()
            .and_then(NonZero::new)?;
        let len = u32::try_from(content.len()).ok()?;
        EntryHeader { hash, len }.encode(&id(self.place), &mut self.bytes);
        self.bytes.extend_from_slice(content);
        Some(self.place.within(at))
    }

    /// Whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= FULL
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Writes it. Ok means durable.
    pub(super) async fn put(self, bucket: &Bucket) -> Result<(), BlobError> {
        let key = bucket.key(BLOBS, self.place);
        bucket.put(&key, self.bytes.into()).await
    }
}

/// By what the checksums in the pack of a place begin.
pub(super) fn id(place: Place) -> PackId {
    let (first, _) = place.as_bytes().split_at(16);
    first.try_into().unwrap_or_default()
}

/// Gathers, and writes.
struct Writer {
    bucket: Arc<Bucket>,
    rows: Arc<dyn PackRows>,
    coming: Arc<AtomicUsize>,
}

impl Load {
    fn of(first: Asked) -> Self {
        let mut load = Self {
            asked: Vec::new(),
            bytes: 0,
        };
        load.push(first);
        load
    }

    fn push(&mut self, asked: Asked) {
        self.bytes += ENTRY_OVERHEAD + asked.bytes.len() as u64;
        // It is not on its way any more.
        self.asked.push(Asked {
            _coming: None,
            ..asked
        });
    }

    fn is_full(&self) -> bool {
        self.asked.len() >= MOST || self.bytes >= FULL - LONGEST_CONTENT
    }
}

impl Writer {
    async fn run(self, mut waiting: mpsc::Receiver<Asked>) {
        let sending = Arc::new(Semaphore::new(SENDING));
        // Before anything is gathered: what comes while all are on their way goes together.
        while let Ok(turn) = Arc::clone(&sending).acquire_owned().await {
            let Some(first) = waiting.recv().await else {
                return;
            };
            let (load, lease) = self.gather(first, &mut waiting).await;
            let bucket = Arc::clone(&self.bucket);
            tokio::spawn(async move {
                send(&bucket, load, lease).await;
                drop(turn);
            });
        }
    }

    /// What comes together with a content, until nothing more does or it was waited for long
    /// enough; and a place for it, which is made meanwhile.
    async fn gather(
        &self,
        first: Asked,
        waiting: &mut mpsc::Receiver<Asked>,
    ) -> (Load, Result<PackLease, Unavailable>) {
        let mut load = Load::of(first);
        let (mut leasing, mut end) = (pin!(self.rows.lease()), pin!(sleep(GATHERING)));
        let (mut lease, mut is_over) = (None, false);
        while !load.is_full() {
            // The counter also has those of which the last bytes are not there yet.
            let waits = !is_over && self.coming.load(Ordering::Relaxed) > 0;
            tokio::select! {
                biased;
                asked = waiting.recv() => match asked {
                    Some(asked) => load.push(asked),
                    None => break,
                },
                leased = &mut leasing, if lease.is_none() => lease = Some(leased),
                () = &mut end, if waits => is_over = true,
                () = std::future::ready(()), if lease.is_some() && !waits => break,
            }
        }
        let lease = match lease {
            Some(lease) => lease,
            None => leasing.await,
        };
        (load, lease)
    }
}

/// Writes a pack, and tells all who wait for it.
async fn send(bucket: &Bucket, load: Load, lease: Result<PackLease, Unavailable>) {
    let sent = match lease {
        Err(error) => Err(error.into()),
        Ok(lease) => put(bucket, &load, lease).await,
    };
    match sent {
        Ok(gathered) => {
            for (asked, gathered) in load.asked.into_iter().zip(gathered) {
                drop(asked.answer.send(Ok(gathered)));
            }
        }
        Err(error) => {
            for asked in load.asked {
                drop(asked.answer.send(Err(error.clone())));
            }
        }
    }
}

async fn put(bucket: &Bucket, load: &Load, lease: PackLease) -> Result<Vec<Gathered>, BlobError> {
    let mut pack = Pack::new(lease.place);
    // What comes several times at once is there once.
    let mut places = HashMap::<_, Option<Place>>::new();
    for asked in &load.asked {
        let place = places.entry(asked.hash);
        place.or_insert_with(|| pack.push(asked.hash, &asked.bytes));
    }
    let pack_bytes = pack.len();
    pack.put(bucket).await?;
    let gathered = load.asked.iter().map(|asked| {
        let place = places.get(&asked.hash).copied().flatten();
        let place = place.ok_or_else(|| {
            let long = std::io::Error::other("a pack cannot be so long");
            BlobError::io("gather", asked.hash.to_string(), long)
        })?;
        Ok(Gathered {
            place,
            pack_bytes,
            lease: lease.clone(),
        })
    });
    gathered.collect()
}
