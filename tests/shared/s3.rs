//! Contents in a bucket: what every backend promises, and what long content is promised there.

use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use larder::blob::local::{self, LocalBlobs};
use larder::blob::s3::{Options, S3Blobs};
use larder::blob::{BlobBackend, Limit, PartialId, Purpose};
use larder::disk::Durability;
use larder::hash::BlobHash;
use larder::index::memory::MemoryIndex;
use larder::pack_rows::ENTRY_OVERHEAD;
use larder::place::Place;
use larder::store::{About, Store};
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{ObjectStore, ObjectStoreExt};
use reqwest::Method;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::common::blob_promises::conforms;
use crate::common::by_hash::{ByHash, Medium};
use crate::common::content::content;
use crate::common::encoded::assert_proves;
use crate::common::http_client::http_client;
use uuid::Uuid;

use crate::common::process::DEADLINE;
use crate::common::received::{received, write};
use crate::common::stores;
use crate::s3_store::S3Store;

/// The length of a part, in bytes.
const PART: usize = 8 << 20;

/// The backend of a bucket, with scratch of its own.
pub(crate) async fn open(options: Options) -> S3Blobs {
    let scratch = local::Options {
        durability: Durability::Relaxed,
        reserve: 0,
        ..local::Options::new(&options.scratch)
    };
    let scratch = LocalBlobs::open(scratch).unwrap();
    let blobs = S3Blobs::open(options, Arc::new(scratch)).await.unwrap();
    blobs.make_own(Uuid::nil()).await.unwrap();
    blobs
}

/// The objects of a bucket, as another client sees them.
pub(crate) struct Bucket {
    pub(crate) store: AmazonS3,
    pub(crate) prefix: &'static str,
}

impl Bucket {
    pub(crate) fn key(&self, folder: &str, place: Place) -> Key {
        Key::from(format!("{}/{folder}/{}", self.prefix, place.object()))
    }

    pub(crate) async fn put(&self, folder: &str, place: Place, bytes: Vec<u8>) {
        let key = self.key(folder, place);
        self.store.put(&key, bytes.into()).await.unwrap();
    }

    pub(crate) async fn get(&self, folder: &str, place: Place) -> Option<Bytes> {
        match self.store.get(&self.key(folder, place)).await {
            Err(object_store::Error::NotFound { .. }) => None,
            found => Some(found.unwrap().bytes().await.unwrap()),
        }
    }

    /// The places in a folder.
    pub(crate) async fn places(&self, folder: &str) -> Vec<Place> {
        let folder = Key::from(format!("{}/{folder}", self.prefix));
        let objects: Vec<_> = self.store.list(Some(&folder)).try_collect().await.unwrap();
        let names = objects.iter().map(|it| it.location.filename().unwrap());
        names.map(|name| name.parse().unwrap()).collect()
    }
}

#[async_trait]
impl Medium for Bucket {
    async fn damage(&self, _: &BlobHash, place: Place, others: &[u8]) {
        let mut bytes = others.to_vec();
        if let Some(at) = place.at() {
            // Behind the head of the entry.
            let begin = at as usize + usize::try_from(ENTRY_OVERHEAD).unwrap();
            bytes = self.get("blobs", place).await.unwrap().to_vec();
            bytes[begin..begin + others.len()].copy_from_slice(others);
        }
        self.put("blobs", place, bytes).await;
    }

    async fn leave_beside(&self, _: &BlobHash, place: Place) -> u64 {
        self.put("outboards", place, vec![0; 64]).await;
        1
    }

    async fn has_beside(&self, _: &BlobHash, place: Place) -> bool {
        self.get("outboards", place).await.is_some()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_backend_promises_holds_in_a_bucket() {
    let (server, dir) = (S3Store::start().await, tempfile::tempdir().unwrap());
    let prefix = "some/prefix";
    let blobs = open(server.endpoint().options(prefix, dir.path())).await;
    conforms(&by_hash(&server, prefix, blobs)).await;
}

/// The contents of a backend over a bucket.
pub(crate) fn by_hash(server: &S3Store, prefix: &'static str, blobs: S3Blobs) -> ByHash {
    let store = server.bucket();
    let place_of = |hash: &BlobHash| {
        let (first, _) = hash.as_bytes().split_first_chunk().unwrap();
        Place::numbered(!u128::from_be_bytes(*first))
    };
    let medium = Bucket { store, prefix };
    ByHash::over(Box::new(blobs), place_of, Some(Box::new(medium)))
}

/// A store over a bucket, and the means to look behind it.
struct Shop {
    store: Store,
    blobs: Arc<S3Blobs>,
    bucket: Bucket,
    scratch: TempDir,
}

impl Shop {
    async fn over(server: &S3Store, prefix: &'static str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let options = server.endpoint().options(prefix, scratch.path());
        let blobs = Arc::new(open(options).await);
        let backend = Arc::clone(&blobs) as Arc<dyn BlobBackend>;
        let store = server.bucket();
        Self {
            store: Store::new(backend, Arc::new(MemoryIndex::default())),
            blobs,
            bucket: Bucket { store, prefix },
            scratch,
        }
    }

    /// The only place with a content.
    async fn place(&self) -> Place {
        let [place] = self.bucket.places("blobs").await.try_into().unwrap();
        place
    }

    /// What is in the bucket that comes in parts, as the store tells it.
    async fn unfinished(&self) -> String {
        let query = [("uploads", ""), ("prefix", self.bucket.prefix)];
        let options = SignedUrlOptions::new().with_query(query);
        let (root, minute) = (Key::default(), Duration::from_mins(1));
        let store = &self.bucket.store;
        let url = store.signed_url_opts(Method::GET, &root, minute, &options);
        let answer = http_client().get(url.await.unwrap()).send().await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    }

    /// Waits until nothing is in the bucket that comes in parts.
    async fn until_nothing_is_unfinished(&self) {
        let began = Instant::now();
        loop {
            let text = self.unfinished().await;
            if !text.contains("<UploadId>") {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{text}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn assert_holds(&self, bytes: &[u8]) {
        let hash = BlobHash::of(bytes);
        let blob = self.store.open(&hash).await.unwrap().unwrap();
        let size = bytes.len() as u64;
        assert_eq!(blob.size(), size);
        let middle = size / 2;
        for range in [
            0..size,
            1..2,
            middle - 1..size.min(middle + 300_000),
            size - 1..size,
            7..7,
        ] {
            let pieces: Vec<_> = blob.read(range.clone()).try_collect().await.unwrap();
            assert!(pieces.iter().all(|it| (1..=1 << 20).contains(&it.len())));
            assert!(pieces.concat() == bytes[within(&range)], "{range:?}");
            assert_proves(&*blob, bytes, range).await;
        }
    }
}

fn within(range: &Range<u64>) -> Range<usize> {
    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()
}

/// How many bytes this process has in files of a directory that have no name.
fn bytes_below(dir: &Path) -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = open.map(|it| it.unwrap().path());
    let nameless = open.filter(|it| {
        // One that is closed meanwhile leads nowhere.
        let to = it.read_link().unwrap_or_default();
        to.starts_with(dir) && to.to_string_lossy().ends_with(" (deleted)")
    });
    let found = nameless.filter_map(|it| it.metadata().ok());
    found.map(|it| it.size()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_content_is_kept_in_parts_and_proven_whatever_becomes_of_its_outboard() {
    let server = S3Store::start().await;
    it_goes_to_the_bucket_while_it_comes(&Shop::over(&server, "parts").await).await;
    what_is_dropped_leaves_no_parts(&Shop::over(&server, "dropped").await).await;
    what_is_unfinished_goes_with_its_place(&Shop::over(&server, "unfinished").await).await;
    its_proof_is_derived_where_it_is_not_what_was_written(
        &server,
        &Shop::over(&server, "proofs").await,
    )
    .await;
    what_is_damaged_is_written_elsewhere(&Shop::over(&server, "mended").await).await;
    what_was_partial_goes_there_whole(&Shop::over(&server, "partial").await).await;
}

async fn it_goes_to_the_bucket_while_it_comes(shop: &Shop) {
    for len in [PART, PART + 1, 6 * PART + 12_345] {
        let bytes = content(30, len);
        let mut receiving = shop.store.receive().await.unwrap();
        let mut most = 0;
        for piece in bytes.chunks(300_000) {
            receiving
                .write(Bytes::copy_from_slice(piece))
                .await
                .unwrap();
            most = most.max(bytes_below(shop.scratch.path()));
        }
        // One part that is gathered, and those that are to be sent.
        assert!(most <= 5 * PART as u64, "{most} bytes in scratch");
        let came = receiving.finish().await.unwrap();
        assert_eq!(came.arrival().place.is_some(), len > PART, "{len} bytes");
        let place = came.arrival().place;
        assert_eq!(shop.bucket.places("blobs").await, [], "nobody sees it yet");
        let record = shop.store.ingest(came, About::default()).await.unwrap();
        assert_eq!(
            (record.file.hash, record.file.size),
            (BlobHash::of(&bytes), len as u64)
        );
        let kept = shop.place().await;
        assert!(place.is_none_or(|it| it == kept), "{len} bytes");
        shop.assert_holds(&bytes).await;

        let mut records = vec![record];
        if len == PART + 1 {
            // The same once more is the same object, and nothing stays of what came.
            let again = stores::upload(&shop.store, "again", &bytes).await;
            records.push(again.unwrap());
            shop.place().await;
        }
        shop.until_nothing_is_unfinished().await;
        for record in records {
            shop.store.remove(record.id).await.unwrap();
        }
        for folder in ["blobs", "outboards"] {
            assert_eq!(shop.bucket.places(folder).await, [], "{folder}");
        }
    }
}

async fn what_is_dropped_leaves_no_parts(shop: &Shop) {
    let bytes = content(31, 2 * PART + 5);
    let mut receiving = shop.store.receive().await.unwrap();
    write(&mut *receiving, &bytes).await.unwrap();
    drop(receiving);
    drop(received(&*shop.blobs, &bytes).await.unwrap());
    shop.until_nothing_is_unfinished().await;
    assert_eq!(shop.bucket.places("blobs").await, []);
    assert_eq!(bytes_below(shop.scratch.path()), 0);
}

/// As a node leaves it that ends in the middle of an upload.
async fn what_is_unfinished_goes_with_its_place(shop: &Shop) {
    let [one, other] = [1, 2].map(Place::numbered);
    for place in [one, other] {
        let key = shop.bucket.key("blobs", place);
        let id = shop.bucket.store.create_multipart(&key).await.unwrap();
        let part = Bytes::from(content(37, PART)).into();
        shop.bucket
            .store
            .put_part(&key, &id, 0, part)
            .await
            .unwrap();
    }
    shop.blobs.delete(one).await.unwrap();
    let left = shop.unfinished().await;
    assert!(!left.contains(&one.to_string()), "{left}");
    assert!(left.contains(&other.to_string()), "{left}");
    shop.blobs.delete(other).await.unwrap();
    shop.until_nothing_is_unfinished().await;
}

async fn its_proof_is_derived_where_it_is_not_what_was_written(server: &S3Store, shop: &Shop) {
    let bytes = content(32, PART + 777_777);
    let record = stores::upload(&shop.store, "proven", &bytes).await.unwrap();
    let place = shop.place().await;
    let right = shop.bucket.get("outboards", place).await.unwrap();
    let mut flipped = right.to_vec();
    flipped[100] ^= 1;
    let others = [
        None,
        Some(Vec::new()),
        Some(right[..right.len() - 32].to_vec()),
        Some(right[..right.len() - 1].to_vec()),
        Some([&right[..], &[0; 32]].concat()),
        Some(flipped),
    ];
    for other in others {
        match &other {
            None => {
                let key = shop.bucket.key("outboards", place);
                shop.bucket.store.delete(&key).await.unwrap();
            }
            Some(other) => shop.bucket.put("outboards", place, other.clone()).await,
        }
        let what = other.map(|it| it.len());
        let scratch = tempfile::tempdir().unwrap();
        let options = server
            .endpoint()
            .options(shop.bucket.prefix, scratch.path());
        // One that remembers nothing of it.
        let blobs = open(options).await;
        let blob = blobs.open(&record.file.hash, place).await.unwrap().unwrap();
        let middle = blob.size() / 2;
        assert_proves(&*blob, &bytes, middle..middle + 1).await;
        assert_eq!(blobs.damage_found(), 0, "{what:?}");
        let now = shop.bucket.get("outboards", place).await;
        assert_eq!(now.as_ref(), Some(&right), "{what:?}");
    }
}

async fn what_is_damaged_is_written_elsewhere(shop: &Shop) {
    let bytes = content(33, PART + 300_000);
    stores::upload(&shop.store, "whole", &bytes).await.unwrap();
    let place = shop.place().await;
    let mut damages = vec![None, Some(bytes[..PART].to_vec())];
    let mut flipped = bytes.clone();
    flipped[PART / 2] ^= 1;
    damages.push(Some(flipped));
    let mut place = place;
    for damage in damages {
        match &damage {
            None => {
                let key = shop.bucket.key("blobs", place);
                shop.bucket.store.delete(&key).await.unwrap();
            }
            Some(others) => shop.bucket.put("blobs", place, others.clone()).await,
        }
        // Whoever brings it finds out, before anybody else has.
        stores::upload(&shop.store, "anew", &bytes).await.unwrap();
        shop.assert_holds(&bytes).await;
        let anew = shop.place().await;
        assert_ne!(anew, place, "a place is written to once");
        assert_eq!(shop.store.totals().damaged, 0);
        place = anew;
    }
}

async fn what_was_partial_goes_there_whole(shop: &Shop) {
    for (seed, len) in [(34, 500_000), (35, PART), (36, 2 * PART + 1)] {
        let (bytes, id) = (content(seed, len), PartialId::of(&[7; 16]));
        let partials = shop.blobs.partials(Purpose::Uploads);
        assert_eq!(partials.prepare().await.unwrap(), []);
        let limit = Limit::default();
        let resume = partials.resume(&id, len as u64, None, limit);
        let mut partial = resume.await.unwrap();
        write(&mut *partial, &bytes).await.unwrap();
        partial.sync().await.unwrap();
        let whole = partial.finish().await.unwrap();
        let record = shop.store.ingest(whole, About::default()).await.unwrap();
        shop.assert_holds(&bytes).await;
        assert_eq!(partials.prepare().await.unwrap(), []);
        shop.store.remove(record.id).await.unwrap();
        shop.until_nothing_is_unfinished().await;
        // Nothing of it stays in scratch either.
        let files =
            ["blobs", "spool", "uploading"].map(|it| files_below(&shop.scratch.path().join(it)));
        assert_eq!(files, [0; 3], "{len} bytes");
    }
}

fn files_below(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let below = entries.map(|entry| {
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path())
        } else {
            1
        }
    });
    below.sum()
}
