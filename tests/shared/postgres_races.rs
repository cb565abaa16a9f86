//! Nodes that stand still at any moment, and others that go on meanwhile: no content is deleted
//! that a file needs, and in the end nothing is there that none does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use larder::blob::memory::MemoryBlobs;
use larder::blob::{Arrival, BlobBackend, BlobError, Received};
use larder::hash::BlobHash;
use larder::index::postgres::{Options, PostgresIndex};
use larder::index::{Garbage, IndexBackend, IndexError};
use larder::pack_rows::Gathered;
use larder::place::Place;
use larder::record::{FileId, NewFile};
use larder::store::{About, Store};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::common::indexing::add;
use crate::common::process::DEADLINE;
use crate::common::random::Random;
use crate::common::relay::Relay;
use crate::postgres::{Server, connect, eventually, index, number};

const LEASE: Duration = Duration::from_millis(250);
const GRACE: Duration = Duration::from_millis(400);
/// How long nodes write and stand still at least.
const LENGTH: Duration = Duration::from_secs(5);
const CONTENTS: u64 = 6;

/// What nodes share: the places in which something is, as a bucket has objects, and the files.
#[derive(Default)]
struct World {
    bucket: Mutex<BTreeSet<Place>>,
    files: Mutex<VecDeque<FileId>>,
    /// Those of which nobody knows whether they are removed.
    unsure: Mutex<BTreeSet<FileId>>,
    /// How often an upload had to begin again, since what it counted on was gone.
    lost: AtomicU32,
    /// How often one found gone what it was told to be there, and begins again.
    missed: AtomicU32,
    stalls: AtomicU32,
}

/// A node, and the cable between it and the database.
struct Node {
    index: PostgresIndex,
    relay: Relay,
}

async fn node(url: &str, port: u16) -> Node {
    let relay = Relay::new();
    relay.connect(([127, 0, 0, 1], port).into());
    let own = url.replace(&format!(":{port}/"), &format!(":{}/", relay.address.port()));
    let mut options = Options::new(&own).unwrap();
    (options.lease, options.grace) = (LEASE, GRACE);
    let index = PostgresIndex::open(&options).await.unwrap();
    Node { index, relay }
}

impl World {
    /// Whether it is not yet `until`, or has yet to happen that somebody is too late.
    fn goes_on(&self, until: Instant) -> bool {
        let is_late = until.elapsed() > DEADLINE;
        Instant::now() < until || (self.lost.load(Ordering::Relaxed) == 0 && !is_late)
    }

    /// Uploads and removes.
    async fn write(&self, node: &Node, mut random: Random, until: Instant) {
        while self.goes_on(until) {
            let content = random.below(CONTENTS).to_le_bytes();
            let added = self.upload(node, &content, &mut random).await;
            if let Some(id) = added {
                self.files.lock().push_back(id);
            }
            // So few that most contents come and go all the time.
            let chosen = {
                let mut files = self.files.lock();
                let are_many = random.below(8) < files.len() as u64;
                are_many.then(|| files.pop_front()).flatten()
            };
            if let Some(id) = chosen
                && node.index.remove(id).await.is_err()
            {
                self.unsure.lock().insert(id);
            }
        }
    }

    async fn upload(&self, node: &Node, content: &[u8], random: &mut Random) -> Option<FileId> {
        let file = NewFile {
            name: "f".to_owned(),
            content_type: None,
            description: String::new(),
            size: content.len() as u64,
            hash: BlobHash::of(content),
        };
        let intent = node.index.intend(&file.hash, file.size).await.ok()?;
        sleep(Duration::from_millis(random.below(20))).await;
        if !intent.is_there() {
            self.bucket.lock().insert(intent.place());
        } else if !self.bucket.lock().contains(&intent.place()) {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        sleep(Duration::from_millis(random.below(20))).await;
        match node.index.put(file, intent).await {
            Ok(put) => Some(put.record.id),
            Err(IndexError::Lost) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(_) => None,
        }
    }

    /// Deletes what is garbage, late at times.
    async fn collect(&self, node: &Node, mut random: Random, until: Instant) {
        while self.goes_on(until) {
            let garbage = node.index.garbage(4).await.unwrap_or_default();
            sleep(Duration::from_millis(random.below(50))).await;
            self.delete(node, garbage).await;
        }
    }

    async fn delete(&self, node: &Node, garbage: Vec<Garbage>) {
        for garbage in &garbage {
            self.bucket.lock().remove(&garbage.place());
        }
        // Where that is not told it is done again.
        let _ = node.index.collected(garbage).await;
    }

    /// Has a node hear nothing of the database for longer than a lease, again and again.
    async fn stall(&self, node: &Node, mut random: Random, until: Instant) {
        while self.goes_on(until) {
            sleep(Duration::from_millis(100 + random.below(500))).await;
            node.relay.hold_after(0);
            sleep(Duration::from_millis(200 + random.below(700))).await;
            node.relay.mend();
            self.stalls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Fails unless, once all garbage is gone, what is there is what files need, and the files are
    /// those that anybody was told of.
    async fn is_what_files_need(&self, node: &Node, client: &Client) {
        // What came behind its janitor is found by a look at all objects.
        let stored: Vec<_> = self.bucket.lock().iter().copied().collect();
        node.index.sift(&stored).await.unwrap();
        eventually(async || {
            let garbage = node.index.garbage(64).await.unwrap();
            self.delete(node, garbage).await;
            number(
                client,
                "SELECT count(*) FROM larder.places WHERE state <> 'l'",
            )
            .await
                == 0
        })
        .await;
        let files = node.index.page(None, 100_000).await.unwrap();
        assert!(!files.is_empty());
        let mut needed = BTreeSet::new();
        for file in &files {
            let content = node.index.locate(&file.file.hash).await.unwrap().unwrap();
            needed.insert(content.place);
        }
        assert_eq!(
            *self.bucket.lock(),
            needed,
            "what is there is what files need"
        );
        let wrong = "SELECT count(*) FROM larder.blobs WHERE users <> \
         (SELECT count(*) FROM larder.files WHERE files.hash = blobs.hash)";
        assert_eq!(number(client, wrong).await, 0);
        let live = number(client, "SELECT count(*) FROM larder.places").await;
        assert_eq!(live, i64::try_from(needed.len()).unwrap());
        assert_eq!(node.index.totals().files, files.len() as u64);
        // Whoever was told of a file finds it, and of a removal that it is gone.
        let there: BTreeSet<_> = files.iter().map(|it| it.id).collect();
        let expected: BTreeSet<_> = self.files.lock().iter().copied().collect();
        let unsure = self.unsure.lock();
        assert!(expected.is_subset(&there));
        assert!(there.difference(&expected).all(|it| unsure.contains(it)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_stand_still_lose_no_content_and_leave_none_behind() {
    let server = Server::start();
    let url = server.database("one").await;
    let nodes = join_all((0..3).map(|_| node(&url, server.port()))).await;
    let (world, until) = (World::default(), Instant::now() + LENGTH);
    let mut seeds = Random::from_environment();
    let mut random = || Random(seeds.next());
    let mut work: Vec<BoxFuture<'_, ()>> = Vec::new();
    for node in &nodes {
        for _ in 0..4 {
            work.push(Box::pin(world.write(node, random(), until)));
        }
        work.push(Box::pin(world.collect(node, random(), until)));
        work.push(Box::pin(world.stall(node, random(), until)));
    }
    join_all(work).await;
    assert!(world.stalls.load(Ordering::Relaxed) > 3);
    assert!(
        world.lost.load(Ordering::Relaxed) > 0,
        "nobody was too late"
    );
    // What nobody waits for any more is done, or not, before anything is counted.
    for node in &nodes {
        let _ = node.index.close().await;
    }
    let last = node(&url, server.port()).await;
    world.is_what_files_need(&last, &connect(&url).await).await;
    println!(
        "{} stalls, {} lost, {} gone before they were counted on",
        world.stalls.load(Ordering::Relaxed),
        world.lost.load(Ordering::Relaxed),
        world.missed.load(Ordering::Relaxed)
    );
}

/// Two stores over one index, as two nodes are.
async fn stores(url: &str) -> (Arc<MemoryBlobs>, [(Store, Arc<PostgresIndex>); 2]) {
    let blobs = Arc::new(MemoryBlobs::default());
    let open = async || {
        let mut options = Options::new(url).unwrap();
        options.grace = Duration::ZERO;
        let index = Arc::new(PostgresIndex::open(&options).await.unwrap());
        let shared = Arc::clone(&index) as Arc<dyn IndexBackend>;
        (Store::new(Arc::clone(&blobs) as _, shared), index)
    };
    let both = [open().await, open().await];
    (blobs, both)
}

/// Content that is not written again where it is there, as what goes to a bucket.
struct Dear(Box<dyn Received>);

#[async_trait]
impl Received for Dear {
    fn hash(&self) -> BlobHash {
        self.0.hash()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            is_cheap_to_keep: false,
            ..self.0.arrival()
        }
    }

    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError> {
        self.0.gather().await
    }

    async fn keep(self: Box<Self>, place: Place) -> Result<(), BlobError> {
        self.0.keep(place).await
    }
}

async fn upload(store: &Store, content: &'static [u8]) -> FileId {
    let mut receiving = store.receive().await.unwrap();
    receiving.write(content.into()).await.unwrap();
    let received = Box::new(Dear(receiving.finish().await.unwrap()));
    store.ingest(received, About::default()).await.unwrap().id
}

#[tokio::test]
async fn what_one_node_changes_the_others_tell_at_once() {
    let server = Server::start();
    let url = server.database("one").await;
    let (_blobs, [(one, _), (other, other_index)]) = stores(&url).await;
    let id = upload(&one, b"content").await;
    // In memory from now on.
    for _ in 0..2 {
        assert!(other.ready(id).await.unwrap().is_some());
    }
    assert_eq!(other.hot_reads().hits.get(), 1);
    let mut revision = other.revision().watch();
    revision.mark_unchanged();
    one.remove(id).await.unwrap();
    let removed = Instant::now();
    eventually(async || other.ready(id).await.unwrap().is_none()).await;
    assert!(
        removed.elapsed() < Duration::from_secs(1),
        "{:?}",
        removed.elapsed()
    );
    timeout(DEADLINE, revision.changed())
        .await
        .unwrap()
        .unwrap();

    // One that hears nothing of the database gives out nothing that it cannot know.
    let id = upload(&one, b"more").await;
    assert!(other.ready(id).await.unwrap().is_some());
    drop(server);
    eventually(async || !other_index.is_current()).await;
    let refused = other.ready(id).await;
    assert!(refused.is_err_and(|it| it.unavailable().is_some()));
}

#[tokio::test]
async fn an_upload_of_content_that_goes_meanwhile_begins_again() {
    let server = Server::start();
    let url = server.database("one").await;
    let (blobs, [(one, index), (other, _)]) = stores(&url).await;
    let hash = BlobHash::of(b"fleeting");
    // Each has the other's content be deleted just when it is about to count on it.
    let (mut made, until) = (0, Instant::now() + Duration::from_secs(1));
    let churn = async {
        while Instant::now() < until {
            let id = upload(&other, b"fleeting").await;
            other.remove(id).await.unwrap();
        }
    };
    let uploads = async {
        while Instant::now() < until {
            let id = upload(&one, b"fleeting").await;
            let content = index.locate(&hash).await.unwrap().unwrap();
            assert!(blobs.is_whole(&hash, content.place).await.unwrap());
            one.remove(id).await.unwrap();
            made += 1;
        }
    };
    tokio::join!(churn, uploads);
    assert!(made > 10, "{made}");
    assert_eq!(blobs.list().count().await, 0);
}

#[tokio::test]
async fn what_became_garbage_is_counted_on_until_somebody_deletes_it() {
    let server = Server::start();
    let url = server.database("one").await;
    let (one, other) = (index(&url).await, index(&url).await);
    let file = NewFile {
        name: "f".to_owned(),
        content_type: None,
        description: String::new(),
        size: 1,
        hash: BlobHash::of(b"f"),
    };
    let first = add(&one, file.clone()).await.unwrap();
    let intent = one.intend(&file.hash, 1).await.unwrap();
    let place = intent.place();
    assert!(intent.is_there());
    other.remove(first.id).await.unwrap();
    let second = one.put(file.clone(), intent).await.unwrap().record;
    assert!(other.garbage(9).await.unwrap().is_empty());
    let content = other.locate(&file.hash).await.unwrap().unwrap();
    assert_eq!((content.place, content.users), (place, 1));

    let intent = one.intend(&file.hash, 1).await.unwrap();
    other.remove(second.id).await.unwrap();
    let claimed = other.garbage(9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let lost = one.put(file.clone(), intent).await;
    assert!(matches!(lost, Err(IndexError::Lost)), "{lost:?}");
    assert_eq!(one.totals().files, 0);
    // A claim that came to nothing has begun, so nobody counts on it any more either.
    drop(claimed);
    let third = one.intend(&file.hash, 1).await.unwrap();
    assert!(!third.is_there() && third.place() != place);
    one.put(file, third).await.unwrap();
    assert_eq!(other.garbage(9).await.unwrap()[0].place(), place);
}
