//! Three nodes and eight clients, while something fails every second: nodes, the database, the
//! store, and what is between them. With `LARDER_SOAK` half an hour of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::{Method, Uri};
use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::TryStreamExt;
use object_store::ObjectStore;
use parking_lot::{Mutex, RwLock};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::common::content::content;
use crate::common::http_client::http_client;
use crate::common::process::Node;
use crate::common::random::Random;
use crate::common::tus;
use crate::cutter::{Cut, Cutter};
use crate::faults::{Fault, Faults, is_any};
use crate::nodes::command;
use crate::postgres::{Server, connect, eventually, number};
use crate::s3_store::S3Store;

const NODES: usize = 3;
const CLIENTS: u64 = 8;
/// How long a client waits for an answer before it gives it up.
const PATIENCE: Duration = Duration::from_secs(20);
/// After a removal every node refuses the file.
const FORGOTTEN: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
/// How long everything may take to be well again.
const HEALING: Duration = Duration::from_mins(1);

fn length() -> Duration {
    let soak = std::env::var_os("LARDER_SOAK").is_some();
    Duration::from_secs(if soak { 30 * 60 } else { 60 })
}

/// What a client was told of a file.
#[derive(Clone, Copy, Debug)]
enum Told {
    There,
    /// A removal is under way, or was not answered.
    Leaving,
    Removed(Instant),
}

/// A file that was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Kept {
    seed: u32,
    length: usize,
    told: Told,
}

/// What all clients know.
#[derive(Default)]
struct Known {
    files: BTreeMap<String, Kept>,
    /// Names that were uploaded without an acknowledgement.
    unanswered: BTreeSet<String>,
    /// The ids that whoever followed the list has met, in that order.
    followed: Vec<String>,
    /// The uploads that may be under way.
    uploads: BTreeSet<String>,
}

#[derive(Default)]
struct Counts {
    uploads: AtomicU64,
    removals: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
}

struct World {
    nodes: RwLock<[Option<SocketAddr>; NODES]>,
    client: reqwest::Client,
    known: Mutex<Known>,
    counts: Counts,
    until: Instant,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl World {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// A URL of any node, perhaps of one that is dead.
    fn url(&self, random: &mut Random, path: &str) -> String {
        let nodes = *self.nodes.read();
        let at = usize::try_from(random.below(NODES as u64)).unwrap();
        let address = nodes[at].or_else(|| nodes.into_iter().flatten().next());
        format!("http://{}{path}", address.unwrap())
    }

    /// The answer, as far as there is one.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Option<(StatusCode, Vec<u8>)> {
        let answered = async {
            let answer = request.timeout(PATIENCE).send().await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?.to_vec()))
        };
        let answer = answered.await.ok();
        if !answer
            .as_ref()
            .is_some_and(|(status, _)| status.is_success())
        {
            count(&self.counts.failures);
        }
        answer
    }

    async fn client(&self, number: u64, mut random: Random) {
        let mut uploads = 0;
        while self.goes_on() {
            match random.below(10) {
                0..4 => {
                    uploads += 1;
                    self.upload(&mut random, format!("{number}-{uploads}"))
                        .await;
                }
                4 => {
                    uploads += 1;
                    self.upload_in_parts(&mut random, format!("{number}-{uploads}"))
                        .await;
                }
                5 => self.remove(number, &mut random).await,
                _ => self.read(&mut random).await,
            }
        }
    }

    /// A content; some of it is uploaded again and again.
    fn content(random: &mut Random) -> (u32, usize) {
        let length = match random.below(10) {
            0 => 2_000_000,
            1..4 => 100_000,
            _ => 1_000,
        };
        (u32::try_from(random.below(20)).unwrap(), length)
    }

    async fn upload(&self, random: &mut Random, name: String) {
        let (seed, length) = Self::content(random);
        self.known.lock().unanswered.insert(name.clone());
        let url = self.url(random, &format!("/api/p2p/upload/{name}"));
        let request = self.client.put(url).body(content(seed, length));
        if let Some((StatusCode::OK, body)) = self.ask(request).await {
            let told: Value = serde_json::from_slice(&body).unwrap();
            let id = told["file"]["file_id"].as_str().unwrap();
            self.kept(&name, id, (seed, length));
        }
    }

    fn kept(&self, name: &str, id: &str, (seed, length): (u32, usize)) {
        let mut known = self.known.lock();
        known.unanswered.remove(name);
        let told = Told::There;
        known
            .files
            .insert(id.to_owned(), Kept { seed, length, told });
        count(&self.counts.uploads);
    }

    /// A request of tus, to any node.
    fn tus(&self, random: &mut Random, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, self.url(random, path));
        request.header("Tus-Resumable", "1.0.0").timeout(PATIENCE)
    }

    /// Begins an upload in parts, and tells its path.
    async fn begin(&self, random: &mut Random, name: &str, length: usize) -> Option<String> {
        let name = format!("filename {}", BASE64_STANDARD.encode(name));
        let create = self.tus(random, Method::POST, tus::TUS);
        let create = create.header("Upload-Length", length);
        let created = create.header("Upload-Metadata", name).send().await.ok()?;
        let path = created.headers().get("location")?.to_str().unwrap();
        let path = format!("{}/{}", tus::TUS, path.rsplit('/').next().unwrap());
        self.known.lock().uploads.insert(path.clone());
        Some(path)
    }

    /// Uploads in parts, each to any node, and asks again where it was not answered.
    async fn upload_in_parts(&self, random: &mut Random, name: String) {
        let (seed, length) = Self::content(random);
        let bytes = content(seed, length);
        self.known.lock().unanswered.insert(name.clone());
        let Some(path) = self.begin(random, &name, length).await else {
            return;
        };
        while self.goes_on() {
            let look = match self.tus(random, Method::HEAD, &path).send().await {
                Ok(look) if look.status().is_success() => look,
                // It was given up, since the store gave wrong bytes of it.
                Ok(look) if look.status() == StatusCode::NOT_FOUND => return,
                _ => {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let header = |name| look.headers().get(name).map(|it| it.to_str().unwrap());
            if let Some(id) = header("larder-file-id") {
                self.known.lock().uploads.remove(&path);
                return self.kept(&name, id, (seed, length));
            }
            let offset: usize = header("upload-offset").unwrap().parse().unwrap();
            let end = length.min(offset + length / 2 + 1);
            let more = self.tus(random, Method::PATCH, &path);
            let more = more.header("Upload-Offset", offset);
            let more = more.header("Content-Type", "application/offset+octet-stream");
            self.ask(more.body(bytes[offset..end].to_vec())).await;
        }
    }

    /// Any of the files that anybody was told of, with what is known of it.
    fn any(
        &self,
        random: &mut Random,
        is_wanted: impl Fn(&str, &Kept) -> bool,
    ) -> Option<(String, Kept)> {
        let known = self.known.lock();
        let wanted = known.files.iter().filter(|(id, it)| is_wanted(id, it));
        let wanted: Vec<_> = wanted.collect();
        let at = random.below(wanted.len().max(1) as u64);
        let (id, kept) = wanted.get(usize::try_from(at).unwrap())?;
        Some(((*id).clone(), **kept))
    }

    /// Removes a file of this client's own: others cannot have begun with that.
    async fn remove(&self, number: u64, random: &mut Random) {
        let is_own = |id: &str| u64::from(id.as_bytes()[id.len() - 1]) % CLIENTS == number;
        let is_wanted = |id: &str, it: &Kept| is_own(id) && matches!(it.told, Told::There);
        let Some((id, kept)) = self.any(random, is_wanted) else {
            return;
        };
        let tell = |told| {
            let kept = Kept { told, ..kept };
            self.known.lock().files.insert(id.clone(), kept);
        };
        tell(Told::Leaving);
        let url = self.url(random, &format!("/api/p2p/file/{id}"));
        let answer = self.ask(self.client.delete(url)).await;
        if matches!(answer, Some((StatusCode::OK, _))) {
            tell(Told::Removed(Instant::now()));
            count(&self.counts.removals);
        }
    }

    async fn read(&self, random: &mut Random) {
        let Some((id, kept)) = self.any(random, |_, _| true) else {
            return;
        };
        let url = self.url(random, &format!("/api/p2p/file/{id}"));
        let began = Instant::now();
        let answer = self.ask(self.client.get(&url)).await;
        let told = self.known.lock().files[&id].told;
        match (answer, kept.told) {
            (Some((StatusCode::OK, body)), told) => {
                assert!(
                    body == content(kept.seed, kept.length),
                    "wrong bytes of {id}"
                );
                if let Told::Removed(at) = told {
                    assert!(
                        began < at + FORGOTTEN,
                        "{url} is given out after its removal"
                    );
                }
                count(&self.counts.reads);
            }
            (Some((StatusCode::NOT_FOUND, body)), _) => {
                let body = String::from_utf8_lossy(&body);
                assert!(!matches!(told, Told::There), "{url} is lost: {body}");
            }
            // Nothing is said of it.
            _ => {}
        }
    }

    /// Goes along the list of all files from where it was before, as it grows, until its end.
    async fn follow(&self, mut random: Random) {
        loop {
            let after = self.known.lock().followed.last().cloned();
            let cursor = after.map_or(String::new(), |it| format!("&after={it}"));
            let is_last = !self.goes_on();
            let url = self.url(&mut random, &format!("/api/p2p/files?limit=50{cursor}"));
            let Some((StatusCode::OK, body)) = self.ask(self.client.get(url)).await else {
                continue;
            };
            let page: Value = serde_json::from_slice(&body).unwrap();
            let files = page["files"].as_array().unwrap();
            if files.is_empty() {
                if is_last {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
            let ids = files.iter().map(|it| it["file_id"].as_str().unwrap());
            let mut known = self.known.lock();
            known.followed.extend(ids.map(str::to_owned));
        }
    }
}

/// What fails.
struct Failing {
    database: Server,
    cable: Cutter,
    store: S3Store,
    requests: Faults,
    dirs: [TempDir; NODES],
    nodes: [Option<Node>; NODES],
    index: String,
    /// How often each has happened.
    happened: BTreeMap<&'static str, u64>,
}

fn is_get(method: &Method, _: &Uri) -> bool {
    method == Method::GET
}

impl Failing {
    async fn start() -> Self {
        let (database, store) = (Server::start(), S3Store::start().await);
        let requests = Faults::before(store.endpoint()).await;
        let cable = Cutter::new(database.port());
        let index = database.database("one").await;
        let index = index.replace(
            &database.port().to_string(),
            &cable.address.port().to_string(),
        );
        let mut failing = Self {
            database,
            cable,
            store,
            requests,
            dirs: [(); NODES].map(|()| tempfile::tempdir().unwrap()),
            nodes: [const { None }; NODES],
            index,
            happened: BTreeMap::new(),
        };
        for node in 0..NODES {
            failing.start_node(node);
        }
        failing
    }

    fn start_node(&mut self, node: usize) {
        let dir = &self.dirs[node];
        let mut command = command(dir.path(), &self.index, &self.requests.endpoint);
        // What comes to the bucket later than a lease and the grace together leaves no row.
        command.args(["--sweep-every", "1s", "--sweep-age", "1s"]);
        self.nodes[node] = Some(Node::spawn(dir, command));
    }

    fn addresses(&self) -> [Option<SocketAddr>; NODES] {
        self.nodes
            .each_ref()
            .map(|it| it.as_ref().map(|it| it.address))
    }

    /// Something fails for a while.
    async fn fail(&mut self, random: &mut Random, world: &World) {
        let node = usize::try_from(random.below(NODES as u64)).unwrap();
        let what = match random.below(12) {
            0 | 1 => {
                self.nodes[node].take().unwrap().kill();
                *world.nodes.write() = self.addresses();
                sleep(SECOND / 2).await;
                self.start_node(node);
                *world.nodes.write() = self.addresses();
                "a node was killed"
            }
            2 => {
                let stopped = self.nodes[node].as_ref().unwrap();
                stopped.signal(Signal::STOP);
                // Twice as long as its leases last.
                sleep(4 * SECOND).await;
                stopped.signal(Signal::CONT);
                "a node stood still for two leases"
            }
            3 => {
                self.database.kill();
                sleep(SECOND / 2).await;
                self.database.start_again();
                "the database was killed"
            }
            4 => self.cut(Cut::BeforeCommit, "a commit was cut off").await,
            5 => {
                self.cut(Cut::BeforeAnswer, "a commit was not answered")
                    .await
            }
            6 if let Some(store) = self.store.process() => {
                store.signal(Signal::STOP);
                sleep(SECOND).await;
                store.signal(Signal::CONT);
                "the store stood still"
            }
            7 if self.store.process().is_some() && random.below(4) == 0 => {
                self.store.kill();
                self.store.start_again().await;
                "the store was killed"
            }
            8 => {
                self.befall(Fault::Answer(503, "later"), "the store answered 503")
                    .await
            }
            9 => {
                self.befall(Fault::Swallow, "answers of the store were lost")
                    .await
            }
            10 => {
                self.befall(Fault::Cut, "answers of the store were cut")
                    .await
            }
            _ => {
                self.requests.befall(usize::MAX, is_get, Fault::Flip);
                sleep(SECOND).await;
                self.requests.heal();
                "the store gave wrong bytes"
            }
        };
        *self.happened.entry(what).or_default() += 1;
    }

    async fn cut(&self, cut: Cut, what: &'static str) -> &'static str {
        self.cable.cut(cut);
        let armed = Instant::now();
        while !self.cable.was_cut() && armed.elapsed() < Duration::from_secs(1) {
            sleep(Duration::from_millis(5)).await;
        }
        self.cable.spare();
        what
    }

    async fn befall(&self, fault: Fault, what: &'static str) -> &'static str {
        self.requests.befall(usize::MAX, is_any, fault);
        sleep(Duration::from_secs(1)).await;
        self.requests.heal();
        what
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_nothing_acknowledged_is_lost_and_nothing_wrong_is_given_out() {
    let mut random = Random::from_environment();
    let mut failing = Failing::start().await;
    let world = Arc::new(World {
        nodes: RwLock::new(failing.addresses()),
        client: http_client(),
        known: Mutex::default(),
        counts: Counts::default(),
        until: Instant::now() + length(),
    });
    // Tasks of their own, since whoever has something fail blocks.
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let (world, random) = (Arc::clone(&world), Random(random.next()));
        tasks.spawn(async move { world.client(number, random).await });
    }
    let (follower, own) = (Arc::clone(&world), Random(random.next()));
    tasks.spawn(async move { follower.follow(own).await });
    while world.goes_on() {
        let began = Instant::now();
        failing.fail(&mut random, &world).await;
        sleep(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let Counts {
        uploads,
        removals,
        reads,
        failures,
    } = &world.counts;
    println!("{uploads:?} uploads, {removals:?} removals and {reads:?} reads were acknowledged,");
    println!("{failures:?} requests failed; {:#?}", failing.happened);
    assert!(failing.happened.len() > 5, "{:?}", failing.happened);
    assert_eq!(failing.requests.conditions(), 0);
    world.is_well(&failing).await;
}

impl World {
    /// Fails unless all is as it was told, once all that may heal has done so.
    async fn is_well(&self, failing: &Failing) {
        let client = self.client.clone();
        for address in failing.addresses().into_iter().flatten() {
            let began = Instant::now();
            let ready = format!("http://{address}/ready");
            while !client
                .get(&ready)
                .send()
                .await
                .is_ok_and(|it| it.status().is_success())
            {
                assert!(began.elapsed() < HEALING, "{address} is not ready");
                sleep(Duration::from_millis(50)).await;
            }
        }
        for address in failing.addresses().into_iter().flatten() {
            *self.nodes.write() = [Some(address); NODES];
            self.has_what_was_told().await;
        }
        self.list_is_whole().await;
        self.end_uploads().await;
        let url = failing.index.clone();
        let client = connect(&url).await;
        nothing_is_left_over(&client, &failing.store).await;
    }

    /// I1 and I2 of one node.
    async fn has_what_was_told(&self) {
        let mut random = Random(0);
        let files = self.known.lock().files.clone();
        for (id, kept) in files {
            let url = self.url(&mut random, &format!("/api/p2p/file/{id}"));
            let (status, body) = self.ask(self.client.get(&url)).await.unwrap();
            match kept.told {
                Told::There => assert_eq!(status, 200, "{url} {}", String::from_utf8_lossy(&body)),
                Told::Removed(_) => assert_eq!(status, 404, "{url}"),
                Told::Leaving => assert!(status == 200 || status == 404, "{url}: {status}"),
            }
            if status == 200 {
                assert!(
                    body == content(kept.seed, kept.length),
                    "wrong bytes of {url}"
                );
            }
        }
    }

    /// I3 and I6: whoever followed it has met each file once, and there is nothing that nobody
    /// asked for.
    async fn list_is_whole(&self) {
        let mut random = Random(0);
        let url = self.url(&mut random, "/api/p2p/files");
        let (_, body) = self.ask(self.client.get(url)).await.unwrap();
        let list: Value = serde_json::from_slice(&body).unwrap();
        // What was asked for last may have been made when nobody followed any more.
        self.follow(random).await;
        let mut known = self.known.lock();
        let followed: BTreeSet<_> = known.followed.iter().cloned().collect();
        assert_eq!(followed.len(), known.followed.len(), "a file was met twice");
        for file in list["files"].as_array().unwrap() {
            let (id, name) = (
                file["file_id"].as_str().unwrap(),
                file["original_name"].as_str(),
            );
            assert!(followed.contains(id), "{file} was passed by");
            let name = name.unwrap();
            let is_expected = known.files.contains_key(id) || known.unanswered.remove(name);
            assert!(is_expected, "{file} is there twice, or was not asked for");
        }
    }

    async fn end_uploads(&self) {
        let (mut random, uploads) = (Random(0), self.known.lock().uploads.clone());
        for upload in uploads {
            let request = self.tus(&mut random, Method::DELETE, &upload);
            self.ask(request).await.unwrap();
        }
    }
}

/// I5: the bucket has what the rows say, and the rows count what there is.
async fn nothing_is_left_over(client: &Client, store: &S3Store) {
    for wrong in [
        "SELECT count(*) FROM larder.blobs WHERE users <> \
         (SELECT count(*) FROM larder.files WHERE files.hash = blobs.hash)",
        "SELECT abs(files - (SELECT count(*) FROM larder.files)) FROM larder.heads",
        "SELECT abs(blobs - (SELECT count(*) FROM larder.blobs)) FROM larder.heads",
        "SELECT abs(bytes - (SELECT sum(size) FROM larder.files))::bigint FROM larder.heads",
        "SELECT abs(blob_bytes - (SELECT sum(size) FROM larder.blobs))::bigint FROM larder.heads",
    ] {
        assert_eq!(number(client, wrong).await, 0, "{wrong}");
    }
    eventually(async || {
        let rows = "SELECT encode(place, 'hex') AS place, state FROM larder.places";
        let rows = client.query(rows, &[]).await.unwrap();
        let is_needed = rows.iter().all(|it| it.get::<_, &str>("state") == "l");
        let rows: BTreeSet<String> = rows.iter().map(|it| it.get("place")).collect();
        is_needed && objects(store).await == rows
    })
    .await;
}

/// The places of all objects that are content.
async fn objects(store: &S3Store) -> BTreeSet<String> {
    let objects = store.bucket().list(None).try_collect::<Vec<_>>().await;
    let objects = objects.unwrap().into_iter().filter_map(|it| {
        let (_, place) = it.location.as_ref().rsplit_once("/blobs/")?;
        Some(place.to_owned())
    });
    objects.collect()
}
