//! Whatever a store or the way to it does: right bytes or an error, in bounded time, and all is
//! well when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Method, Uri};
use futures_util::TryStreamExt;
use larder::blob::s3::{Options, S3Blobs};
use larder::blob::{BlobBackend, BlobError, OpenBlob};
use larder::hash::BlobHash;
use larder::index::memory::MemoryIndex;
use larder::place::Place;
use larder::store::{Store, StoreError};
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::received::received;
use crate::common::stores;
use crate::faults::{Fault, Faults, Which, is_any};
use crate::s3::{Bucket, open};
use crate::s3_store::S3Store;

/// The length of a part, in bytes.
const PART: usize = 8 << 20;
/// How long a request may take here.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Within how long a last try begins where it is in vain anyway.
const SOON: Duration = Duration::from_millis(250);
/// How long anything may take: a few requests, each tried several times.
const BOUND: Duration = Duration::from_secs(25);
/// More often than anything is tried again.
const ALWAYS: usize = 1_000;

fn is_put(method: &Method, uri: &Uri) -> bool {
    method == Method::PUT && uri.path().contains("/blobs/")
}

fn is_part(method: &Method, uri: &Uri) -> bool {
    is_put(method, uri) && uri.query().is_some_and(|it| it.contains("partNumber"))
}

fn is_complete(method: &Method, uri: &Uri) -> bool {
    method == Method::POST && uri.query().is_some_and(|it| it.starts_with("uploadId"))
}

fn is_get(method: &Method, uri: &Uri) -> bool {
    method == Method::GET && uri.path().contains("/blobs/")
}

/// A backend that reaches its store through a proxy.
struct Shop {
    store: Store,
    blobs: Arc<S3Blobs>,
    faults: Faults,
    bucket: Bucket,
    _scratch: TempDir,
}

impl Shop {
    async fn over(server: &S3Store, prefix: &'static str, retry_within: Duration) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let faults = Faults::before(server.endpoint()).await;
        let options = Options {
            request_timeout: TIMEOUT,
            retry_within,
            ..faults.endpoint.options(prefix, scratch.path())
        };
        let blobs = Arc::new(open(options).await);
        let backend = Arc::clone(&blobs) as Arc<dyn BlobBackend>;
        let store = server.bucket();
        Self {
            store: Store::new(backend, Arc::new(MemoryIndex::default())),
            blobs,
            faults,
            bucket: Bucket { store, prefix },
            _scratch: scratch,
        }
    }

    async fn upload(&self, bytes: &[u8]) -> Result<Place, StoreError> {
        let before = self.bucket.places("blobs").await;
        stores::upload(&self.store, "f", bytes).await?;
        let after = self.bucket.places("blobs").await;
        let mut new = after.into_iter().filter(|it| !before.contains(it));
        Ok(new.next().expect("an object"))
    }

    async fn blob(&self, bytes: &[u8]) -> Arc<dyn OpenBlob> {
        let opened = self.store.open(&BlobHash::of(bytes)).await;
        opened.unwrap().unwrap()
    }

    /// Removes every file with this content.
    async fn remove(&self, bytes: &[u8]) {
        let hash = BlobHash::of(bytes);
        for record in self.store.page(None, 100).await.unwrap() {
            if record.file.hash == hash {
                self.store.remove(record.id).await.unwrap();
            }
        }
    }

    async fn assert_holds(&self, bytes: &[u8]) {
        assert!(read(&*self.blob(bytes).await).await.unwrap() == bytes);
    }
}

async fn read(blob: &dyn OpenBlob) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<_> = blob.read(0..blob.size()).try_collect().await?;
    Ok(pieces.concat())
}

/// What comes of `work`, which has to come in time.
async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = tokio::time::timeout(BOUND, work).await;
    done.unwrap_or_else(|_| panic!("{what}: nothing after {:?}", began.elapsed()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_store_does_right_bytes_come_of_it_or_an_error_in_time() {
    let server = S3Store::start().await;
    what_fails_for_a_moment_is_tried_again(&Shop::over(&server, "moment", TIMEOUT).await).await;
    what_fails_for_long_is_an_error_that_says_when_to_ask_again(
        &Shop::over(&server, "long", SOON).await,
    )
    .await;
    a_lost_answer_is_no_lost_upload(&Shop::over(&server, "lost", SOON).await).await;
    wrong_bytes_are_never_given_out(&Shop::over(&server, "wrong", SOON).await).await;
    what_reaches_the_store_late_is_nobodys(&Shop::over(&server, "late", SOON).await).await;
    an_emptied_bucket_is_out_of_reach_and_not_damage(&Shop::over(&server, "emptied", SOON).await)
        .await;
}

async fn what_fails_for_a_moment_is_tried_again(shop: &Shop) {
    let short = content(40, 5_000);
    let long = content(41, PART + 600_000);
    let faults = [
        Fault::Answer(500, ""),
        Fault::Answer(503, "SlowDown"),
        Fault::Swallow,
    ];
    for fault in faults {
        for (bytes, which) in [
            (&short, is_put as Which),
            (&long, is_part),
            (&long, is_complete),
        ] {
            let what = format!("{fault:?} of {} bytes", bytes.len());
            shop.faults.befall(1, which, fault);
            in_time(&what, shop.upload(bytes)).await.unwrap();
            assert_eq!(shop.faults.heal(), 1, "{what}");
            shop.assert_holds(bytes).await;
            shop.remove(bytes).await;
            assert_eq!(shop.bucket.places("blobs").await, [], "{what}");
        }
    }
    shop.upload(&short).await.unwrap();
    shop.upload(&long).await.unwrap();
    for fault in [
        Fault::Answer(500, ""),
        Fault::Cut,
        Fault::Flip,
        Fault::Swallow,
    ] {
        for bytes in [&short, &long] {
            let what = format!("{fault:?} of {} bytes", bytes.len());
            shop.faults.befall(1, is_get, fault);
            in_time(&what, shop.assert_holds(bytes)).await;
            assert_eq!(shop.faults.heal(), 1, "{what}");
        }
    }
    assert_eq!(shop.blobs.damage_found(), 0);
}

fn assert_out_of_reach<T>(what: &str, done: Result<T, StoreError>) {
    let error = done.err().unwrap_or_else(|| panic!("{what}: it was done"));
    let unavailable = error.unavailable();
    let unavailable = unavailable.unwrap_or_else(|| panic!("{what}: {error:?}"));
    assert!(!unavailable.retry.is_zero());
}

async fn what_fails_for_long_is_an_error_that_says_when_to_ask_again(shop: &Shop) {
    let (short, long) = (content(42, 5_000), content(43, PART + 600_000));
    let kept = [content(44, 5_000), content(45, 700_000)];
    for bytes in &kept {
        shop.upload(bytes).await.unwrap();
    }
    let wrong_end = "<Error><Code>MalformedXML</Code></Error>";
    let (both, ended) = ([&short, &long], [&long]);
    let faults = [
        (Fault::Answer(503, ""), is_put as Which, &both[..]),
        (
            Fault::Answer(403, "<Code>AccessDenied</Code>"),
            is_put,
            &both,
        ),
        (Fault::Answer(400, "<Code>BadDigest</Code>"), is_put, &both),
        (Fault::Hang, is_put, &both),
        (Fault::Answer(200, wrong_end), is_complete, &ended),
        (Fault::Answer(200, "InternalError"), is_complete, &ended),
    ];
    for (fault, which, contents) in faults {
        for bytes in contents {
            let what = format!("{fault:?} of {} bytes", bytes.len());
            shop.faults.befall(ALWAYS, which, fault);
            assert_out_of_reach(&what, in_time(&what, shop.upload(bytes)).await);
            assert!(shop.faults.heal() > 0, "{what}");
            in_time(&what, shop.upload(bytes)).await.unwrap();
            shop.assert_holds(bytes).await;
            shop.remove(bytes).await;
            // What was given up is collected with the next change.
            assert_eq!(
                shop.bucket.places("blobs").await.len(),
                kept.len(),
                "{what}"
            );
        }
    }
    for fault in [
        Fault::Answer(500, ""),
        Fault::Hang,
        Fault::Cut,
        Fault::Answer(403, ""),
    ] {
        for bytes in &kept {
            let what = format!("{fault:?} when {} bytes are read", bytes.len());
            let blob = shop.blob(bytes).await;
            shop.faults.befall(ALWAYS, is_any, fault);
            let opened = in_time(&what, shop.store.open(&BlobHash::of(bytes))).await;
            assert_out_of_reach(&what, opened);
            if bytes.len() > 100_000 {
                let read = in_time(&what, read(&*blob)).await;
                assert!(
                    matches!(read, Err(BlobError::Unavailable(_))),
                    "{what}: {read:?}"
                );
            }
            shop.faults.heal();
            shop.assert_holds(bytes).await;
        }
    }
    assert_eq!(shop.blobs.damage_found(), 0);
}

/// The store has done what it was asked, and nobody has heard of it.
async fn a_lost_answer_is_no_lost_upload(shop: &Shop) {
    let bytes = content(46, PART + 5);
    shop.faults.befall(ALWAYS, is_complete, Fault::Swallow);
    in_time("a lost end", shop.upload(&bytes)).await.unwrap();
    assert!(shop.faults.heal() > 0);
    shop.assert_holds(&bytes).await;
}

async fn wrong_bytes_are_never_given_out(shop: &Shop) {
    for bytes in [content(47, 5_000), content(48, 3_000_000)] {
        let hash = BlobHash::of(&bytes);
        let place = shop.upload(&bytes).await.unwrap();
        shop.faults.befall(ALWAYS, is_get, Fault::Flip);
        match shop.blobs.open(&hash, place).await {
            Err(error) => assert!(matches!(error, BlobError::Damaged { .. }), "{error:?}"),
            Ok(blob) => {
                let blob = blob.unwrap();
                let (mut pieces, mut sent) = (blob.read(0..blob.size()), Vec::new());
                let error = loop {
                    match pieces.try_next().await {
                        Ok(piece) => sent.extend_from_slice(&piece.expect("an error")),
                        Err(error) => break error,
                    }
                    assert!(bytes.starts_with(&sent), "a false byte was given out");
                };
                assert!(matches!(error, BlobError::Damaged { .. }), "{error:?}");
            }
        }
        assert!(shop.faults.heal() > 0);
        assert!(shop.blobs.damage_found() > 0);
        // It was the way's fault, as whoever looks again finds out.
        shop.assert_holds(&bytes).await;
        assert_eq!(shop.store.totals().damaged, 0);
    }
}

async fn what_reaches_the_store_late_is_nobodys(shop: &Shop) {
    let bytes = content(49, 90_000);
    shop.faults.befall(1, is_put, Fault::Late);
    // The first try is late, and the second is in time: to the same place, with the same bytes.
    let late = in_time("a late one", shop.upload(&bytes)).await;
    let befell = shop.faults.heal();
    assert_eq!(befell, 1);
    if late.is_err() {
        shop.upload(&bytes).await.unwrap();
    }
    shop.faults.let_go(1).await;
    shop.assert_holds(&bytes).await;
    shop.remove(&bytes).await;
    // What came late to a place that nobody needs is found by who looks through the bucket.
    shop.store.collect_all().await.unwrap();
    assert_eq!(shop.bucket.places("blobs").await, []);
}

async fn an_emptied_bucket_is_out_of_reach_and_not_damage(shop: &Shop) {
    let bytes = content(50, 5_000);
    let place = shop.upload(&bytes).await.unwrap();
    let mark = Key::from("emptied/larder-format");
    let blob = shop.bucket.key("blobs", place);
    for key in [&mark, &blob] {
        shop.bucket.store.delete(key).await.unwrap();
    }
    let opened = shop.store.open(&BlobHash::of(&bytes)).await;
    assert_out_of_reach("an emptied bucket", opened);
    assert_eq!(shop.store.totals().damaged, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stops_is_out_of_reach_until_it_is_back() {
    let mut server = S3Store::that_can_be_killed().await;
    let shop = Shop::over(&server, "stopped", SOON).await;
    let kept = content(51, 700_000);
    shop.upload(&kept).await.unwrap();
    let open = shop.blob(&kept).await;

    server.process().unwrap().signal(Signal::STOP);
    let hash = BlobHash::of(&kept);
    assert_out_of_reach("stopped", in_time("stopped", shop.store.open(&hash)).await);
    server.process().unwrap().signal(Signal::CONT);
    shop.assert_holds(&kept).await;

    server.kill();
    let refused = in_time("killed", stores::upload(&shop.store, "f", b"some bytes")).await;
    assert_out_of_reach("killed", refused);
    assert_out_of_reach("killed", in_time("killed", shop.store.open(&hash)).await);
    let trial = in_time("killed", shop.blobs.try_to_write()).await;
    assert!(matches!(trial, Err(BlobError::Unavailable(_))), "{trial:?}");
    let cut = in_time("killed", read(&*open)).await;
    assert!(matches!(cut, Err(BlobError::Unavailable(_))), "{cut:?}");

    server.start_again().await;
    shop.assert_holds(&kept).await;
    assert!(read(&*open).await.unwrap() == kept);
    shop.blobs.try_to_write().await.unwrap();
    let anew = content(52, PART + 1);
    shop.upload(&anew).await.unwrap();
    shop.assert_holds(&anew).await;
    assert_eq!(shop.store.totals().damaged, 0);
    drop(received(&*shop.blobs, &anew).await.unwrap());
}
