//! Short contents in packs of a bucket: what every backend promises of contents, and what is
//! promised of those that share an object, whatever becomes of that.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{Method, Uri};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use larder::blob::BlobBackend;
use larder::blob::s3::{Options, S3Blobs};
use larder::hash::BlobHash;
use larder::index::postgres::PostgresIndex;
use larder::place::Place;
use larder::record::FileRecord;
use larder::store::{Store, StoreError};
use object_store::ObjectStoreExt;
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::common::blob_promises::conforms;
use crate::common::content::content;
use crate::common::index_promises::{collect, place_of};
use crate::common::stores;
use crate::faults::{Fault, Faults};
use crate::postgres::{Server, connect, index, number};
use crate::s3::{Bucket, by_hash, open};
use crate::s3_store::S3Store;

fn is_get(method: &Method, uri: &Uri) -> bool {
    method == Method::GET && uri.path().contains("/blobs/")
}

fn is_put(method: &Method, uri: &Uri) -> bool {
    method == Method::PUT && uri.path().contains("/blobs/")
}

/// A store over a database and a bucket with packs, which it reaches through a proxy.
struct Shop {
    store: Store,
    blobs: Arc<S3Blobs>,
    index: Arc<PostgresIndex>,
    client: Client,
    faults: Faults,
    bucket: Bucket,
    _scratch: TempDir,
}

impl Shop {
    async fn over(database: &Server, server: &S3Store, name: &'static str) -> Self {
        let url = database.database(name).await;
        let (index, scratch) = (Arc::new(index(&url).await), tempfile::tempdir().unwrap());
        let faults = Faults::before(server.endpoint()).await;
        let options = faults.endpoint.options(name, scratch.path());
        let blobs = Arc::new(open(options).await.with_packs(index.packs()));
        let store = server.bucket();
        Self {
            store: Store::new(Arc::clone(&blobs) as _, Arc::clone(&index) as _),
            blobs,
            index,
            client: connect(&url).await,
            faults,
            bucket: Bucket {
                store,
                prefix: name,
            },
            _scratch: scratch,
        }
    }

    /// Uploads contents at once.
    async fn upload(&self, contents: &[Vec<u8>]) -> Vec<FileRecord> {
        let uploads = contents
            .iter()
            .map(|it| stores::upload(&self.store, "f", it));
        let uploads = join_all(uploads).await;
        uploads.into_iter().map(Result::unwrap).collect()
    }

    /// The packs that are in the bucket.
    async fn packs(&self) -> Vec<Place> {
        self.bucket.places("blobs").await
    }

    async fn place(&self, bytes: &[u8]) -> Place {
        place_of(&*self.index, &BlobHash::of(bytes)).await
    }

    async fn read(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let blob = self.store.open(&BlobHash::of(bytes)).await?;
        let blob = blob.expect("a content that a file has");
        let read: Vec<_> = blob.read(0..blob.size()).collect().await;
        let read: Vec<Bytes> = read.into_iter().map(Result::unwrap).collect();
        assert!(read.concat() == bytes);
        Ok(())
    }

    async fn assert_holds(&self, contents: &[Vec<u8>]) {
        for bytes in contents {
            self.read(bytes).await.unwrap();
        }
    }

    /// Another one over the same, which remembers nothing.
    async fn fresh(&self, server: &S3Store) -> (S3Blobs, TempDir) {
        let scratch = tempfile::tempdir().unwrap();
        let options = server
            .endpoint()
            .options(self.bucket.prefix, scratch.path());
        (open(options).await.with_packs(self.index.packs()), scratch)
    }

    /// Fails unless the bucket has what files need and nothing else, and the rows say so.
    async fn adds_up(&self) {
        let objects = self.packs().await.len();
        let sql = "SELECT count(*) FROM larder.places";
        assert_eq!(
            number(&self.client, sql).await,
            i64::try_from(objects).unwrap()
        );
        let wrong = "SELECT count(*) FROM larder.places WHERE live <> ( \
             SELECT coalesce(sum(blobs.size + 44), 0) FROM larder.blobs \
             WHERE substring(blobs.place FOR 32) = places.place)";
        assert_eq!(number(&self.client, wrong).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_every_backend_promises_holds_in_packs() {
    let (database, server) = (Server::start(), S3Store::start().await);
    let (dir, url) = (tempfile::tempdir().unwrap(), database.database("one").await);
    let prefix = "packs";
    let options = Options {
        // What is read is what the bucket gives.
        packed_in_memory: 0,
        ..server.endpoint().options(prefix, dir.path())
    };
    let index = index(&url).await;
    let blobs = open(options).await.with_packs(index.packs());
    conforms(&by_hash(&server, prefix, blobs)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_contents_share_objects_and_each_is_proven_told_and_mended_by_itself() {
    let (database, server) = (Server::start(), S3Store::start().await);
    what_comes_together_is_one_object_and_one_read(&Shop::over(&database, &server, "one").await)
        .await;
    what_is_damaged_or_cut_is_told_of_that_alone(
        &server,
        &Shop::over(&database, &server, "damaged").await,
    )
    .await;
    a_lost_pack_is_told_for_each_content(&server, &Shop::over(&database, &server, "lost").await)
        .await;
    what_the_way_changes_is_no_damage(&Shop::over(&database, &server, "way").await).await;
    what_fails_leaves_nothing(&Shop::over(&database, &server, "failed").await).await;
    what_was_an_object_of_its_own_is_read_as_before(
        &server,
        &Shop::over(&database, &server, "own").await,
    )
    .await;
    what_is_mostly_dead_is_compacted(&server, &Shop::over(&database, &server, "dead").await).await;
}

fn contents(first: u32, count: u32, len: usize) -> Vec<Vec<u8>> {
    let lengths = (0..count).map(|it| len + it as usize);
    (first..)
        .zip(lengths)
        .map(|(seed, len)| content(seed, len))
        .collect()
}

async fn what_comes_together_is_one_object_and_one_read(shop: &Shop) {
    let contents = contents(100, 20, 4_000);
    let records = shop.upload(&contents).await;
    assert!(shop.packs().await.len() <= 4, "{:?}", shop.packs().await);
    shop.adds_up().await;
    // One that was never read is one request, of at least 64 KiB, which has those beside it.
    let requests = shop.blobs.requests();
    let count = || requests.get_object.outcomes().map(|it| it.1).sum::<u64>();
    let before = count();
    shop.assert_holds(&contents).await;
    let asked = count() - before;
    assert!(asked <= 8, "{asked} requests");
    shop.assert_holds(&contents).await;
    assert_eq!(count() - before, asked);
    for record in records {
        shop.store.remove(record.id).await.unwrap();
    }
    assert_eq!(shop.packs().await, []);
    shop.adds_up().await;
}

/// What becomes of a pack: its bytes, and where the entry begins and ends of which that is told.
type Damage = fn(Vec<u8>, usize, usize) -> Vec<u8>;

fn flipped(mut pack: Vec<u8>, at: usize) -> Vec<u8> {
    pack[at] ^= 1;
    pack
}

async fn what_is_damaged_or_cut_is_told_of_that_alone(server: &S3Store, shop: &Shop) {
    let damages: [(bool, Damage); 6] = [
        (false, |pack, begin, _| flipped(pack, begin + 9)),
        (false, |pack, begin, end| {
            flipped(pack, (begin + 44).midpoint(end))
        }),
        (true, |pack, begin, _| pack[..begin].to_vec()),
        (true, |pack, begin, _| pack[..begin + 30].to_vec()),
        (true, |pack, _, end| pack[..end - 1].to_vec()),
        (true, |_, _, _| Vec::new()),
    ];
    for (round, (is_cut, damage)) in (0..).zip(damages) {
        let contents = contents(200 + 10 * round, 3, 5_000);
        let records = shop.upload(&contents).await;
        let victim = &contents[1];
        let place = shop.place(victim).await;
        let whole = shop.bucket.get("blobs", place).await.unwrap().to_vec();
        let begin = place.at().unwrap() as usize;
        let left = damage(whole, begin, begin + 44 + victim.len());
        let is_empty = left.is_empty();
        shop.bucket.put("blobs", place, left).await;
        // By one that remembers nothing.
        let (blobs, _scratch) = shop.fresh(server).await;
        for bytes in &contents {
            let other = shop.place(bytes).await;
            let is_behind = other.object() == place.object() && (other > place || is_empty);
            let is_damaged = bytes == victim || (is_cut && is_behind);
            let opened = blobs.open(&BlobHash::of(bytes), other).await;
            assert_eq!(opened.is_err(), is_damaged, "{round}");
        }
        // As long as nobody has told, whoever brings it finds out.
        let again = shop.upload(&contents).await;
        assert_ne!(shop.place(victim).await.object(), place.object(), "{round}");
        assert!(shop.blobs.damage_found() > 0);
        assert_eq!(shop.store.totals().damaged, 0);
        shop.assert_holds(&contents).await;
        for record in records.into_iter().chain(again) {
            shop.store.remove(record.id).await.unwrap();
        }
        assert_eq!(shop.packs().await, [], "{round}");
    }
    shop.adds_up().await;
}

async fn a_lost_pack_is_told_for_each_content(server: &S3Store, shop: &Shop) {
    let contents = contents(300, 6, 3_000);
    shop.upload(&contents).await;
    for pack in shop.packs().await {
        let key = shop.bucket.key("blobs", pack);
        shop.bucket.store.delete(&key).await.unwrap();
    }
    let (blobs, _scratch) = shop.fresh(server).await;
    let other = Store::new(Arc::new(blobs), Arc::clone(&shop.index) as _);
    for (told, bytes) in (1..).zip(&contents) {
        let opened = other.open(&BlobHash::of(bytes)).await;
        let damaged = opened.err().unwrap().to_string();
        assert!(damaged.contains("not there"), "{damaged}");
        assert_eq!(other.totals().damaged, told);
    }
    // As long as nothing was told, what comes finds out.
    shop.upload(&contents).await;
    assert_eq!(shop.store.totals().damaged, 0);
    shop.assert_holds(&contents).await;
    shop.adds_up().await;
}

async fn what_the_way_changes_is_no_damage(shop: &Shop) {
    let contents = contents(400, 1, 9_000);
    shop.upload(&contents).await;
    for fault in [Fault::Flip, Fault::Cut, Fault::Answer(500, "")] {
        let (hash, place) = (BlobHash::of(&contents[0]), shop.place(&contents[0]).await);
        shop.faults.befall(1, is_get, fault);
        let whole = shop.blobs.is_whole(&hash, place);
        assert!(whole.await.unwrap(), "{fault:?}");
        assert_eq!(shop.faults.heal(), 1, "{fault:?}");
    }
    assert_eq!(shop.blobs.damage_found(), 0);
}

async fn what_fails_leaves_nothing(shop: &Shop) {
    let contents = contents(500, 5, 2_000);
    shop.faults.befall(1_000, is_put, Fault::Answer(403, ""));
    let uploads = contents
        .iter()
        .map(|it| stores::upload(&shop.store, "f", it));
    for refused in join_all(uploads).await {
        assert!(refused.unwrap_err().unavailable().is_some());
    }
    shop.faults.heal();
    // The store says that it has it, and has nothing.
    shop.faults.befall(1_000, is_put, Fault::Lose);
    let records = shop.upload(&contents).await;
    assert!(shop.faults.heal() > 0);
    assert!(shop.read(&contents[0]).await.is_err());
    for record in records {
        shop.store.remove(record.id).await.unwrap();
    }
    collect(&*shop.index).await;
    assert_eq!(shop.packs().await, []);
    shop.adds_up().await;
}

async fn what_was_an_object_of_its_own_is_read_as_before(server: &S3Store, shop: &Shop) {
    let contents = contents(600, 3, 6_000);
    let scratch = tempfile::tempdir().unwrap();
    let options = server
        .endpoint()
        .options(shop.bucket.prefix, scratch.path());
    let without = open(options).await;
    let before = Store::new(Arc::new(without), Arc::clone(&shop.index) as _);
    for bytes in &contents {
        stores::upload(&before, "own", bytes).await.unwrap();
    }
    shop.assert_holds(&contents).await;
    let again = shop.upload(&contents).await;
    assert_eq!(shop.packs().await.len(), 3, "it is there");
    assert!(shop.place(&contents[0]).await.at().is_none());
    for record in again {
        shop.store.remove(record.id).await.unwrap();
    }
    shop.assert_holds(&contents).await;
}

/// Uploads contents, and removes all but one of those in the pack that has most of them.
async fn mostly_dead(shop: &Shop, contents: Vec<Vec<u8>>) -> (Vec<u8>, FileRecord) {
    let records = shop.upload(&contents).await;
    let mut by_pack = BTreeMap::<_, Vec<_>>::new();
    for (bytes, record) in contents.into_iter().zip(records) {
        let pack = shop.place(&bytes).await.object();
        by_pack.entry(pack).or_default().push((bytes, record));
    }
    let mut most = by_pack.into_values().max_by_key(Vec::len).unwrap();
    assert!(most.len() > 2, "{}", most.len());
    for (_, record) in most.drain(1..) {
        shop.store.remove(record.id).await.unwrap();
    }
    most.remove(0)
}

async fn what_is_mostly_dead_is_compacted(server: &S3Store, shop: &Shop) {
    let (left, record) = mostly_dead(shop, contents(700, 12, 7_000)).await;
    let before = shop.place(&left).await;
    let (packs, open) = (
        shop.packs().await.len(),
        shop.store.open(&record.file.hash).await,
    );
    assert_eq!(shop.blobs.compact().await.unwrap(), 1);
    let after = shop.place(&left).await;
    assert_ne!(after.object(), before.object());
    assert_eq!(
        shop.packs().await.len(),
        packs + 1,
        "whoever reads there goes on"
    );
    // With the end of the next change.
    shop.upload(&[b"a change".to_vec()]).await;
    shop.adds_up().await;
    open.unwrap().unwrap().prove().await.unwrap();
    let (blobs, _scratch) = shop.fresh(server).await;
    assert!(blobs.is_whole(&record.file.hash, after).await.unwrap());
    assert_eq!(shop.blobs.compact().await.unwrap(), 0);

    // What is damaged stays, and is told.
    let (left, record) = mostly_dead(shop, contents(720, 12, 7_000)).await;
    let place = shop.place(&left).await;
    let whole = shop.bucket.get("blobs", place).await.unwrap().to_vec();
    let middle = place.at().unwrap() as usize + 3_000;
    shop.bucket
        .put("blobs", place, flipped(whole, middle))
        .await;
    assert_eq!(shop.blobs.compact().await.unwrap(), 0);
    assert_eq!(shop.place(&left).await, place);
    assert_eq!(shop.store.totals().damaged, 1);
    let again = shop.upload(std::slice::from_ref(&left)).await;
    assert_eq!(shop.store.totals().damaged, 0);
    shop.read(&left).await.unwrap();
    shop.adds_up().await;
    for record in again.into_iter().chain([record]) {
        shop.store.remove(record.id).await.unwrap();
    }
    shop.adds_up().await;
}
