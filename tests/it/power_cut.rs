//! A power cut after every single operation of uploads and deletions.
//!
//! sled's own files are not written through the recorded disk. They are tried in turn as
//! they were at that moment, as they were at the start (sled syncs late), and gone;
//! with `LARDER_SOAK` each of the three after every operation.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, stream};
use larder::blob::local::LocalBlobs;
use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;
use larder::record::FileRecord;
use larder::store::Store;
use larder::store::local::LocalStore;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::packs::blobs_in_packs;
use crate::common::power_cut::{Operation, Simulated, Variant};
use crate::common::received::keep;
use crate::common::recording_disk::RecordingDisk;
use crate::common::stores;
use crate::common::tree::Tree;

/// sled's directory.
const SLED: &str = "index";

/// When something happened, in operations since the start.
#[derive(Debug, Clone, Copy)]
struct Span {
    begun: usize,
    acknowledged: usize,
    /// When it had to be durable, if ever.
    durable: Option<usize>,
}

impl Span {
    /// Whether it has happened after `done` operations; None if either is fine.
    fn has_happened(&self, done: usize, variant: Variant) -> Option<bool> {
        let sure = match variant {
            Variant::KeepAll => Some(self.acknowledged),
            _ => self.durable,
        };
        if done <= self.begun {
            Some(false)
        } else {
            sure.is_some_and(|sure| done >= sure).then_some(true)
        }
    }
}

/// One file's life.
#[derive(Debug)]
struct Life {
    name: &'static str,
    upload: Span,
    deletion: Option<Span>,
}

impl Life {
    /// Whether the file is there after `done` operations; None if either is fine.
    fn is_there(&self, done: usize, variant: Variant) -> Option<bool> {
        let deletion = self.deletion.as_ref();
        let deleted = deletion.map_or(Some(false), |span| span.has_happened(done, variant));
        match (self.upload.has_happened(done, variant), deleted) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        }
    }
}

/// What was recorded.
struct Recorded {
    start: Simulated,
    operations: Vec<Operation>,
    /// sled's directory before the first operation, after it, and so on.
    sled: Vec<Arc<Tree>>,
    lives: Vec<Life>,
}

/// A scenario being recorded.
struct Scenario {
    dir: TempDir,
    durability: Durability,
    start: Simulated,
    sled: Arc<Mutex<Vec<Arc<Tree>>>>,
    disk: Arc<RecordingDisk>,
    opened: LocalStore,
    lives: Vec<Life>,
}

impl Scenario {
    /// Begins to record in a directory that holds what `start` says.
    async fn begin(start: Simulated, durability: Durability) -> Self {
        let dir = tempdir();
        start.cut_power(Variant::KeepAll).write(dir.path());
        let sled = Arc::new(Mutex::new(Vec::<Arc<Tree>>::new()));
        let (trees, sled_dir) = (Arc::clone(&sled), dir.path().join(SLED));
        let before = move || {
            let now = Tree::read(&sled_dir);
            let mut trees = trees.lock().unwrap();
            let same = trees.last().filter(|last| ***last == now).cloned();
            trees.push(same.unwrap_or_else(|| Arc::new(now)));
        };
        let disk = RecordingDisk::new(dir.path(), start.clone(), Box::new(before));
        let options = stores::options(dir.path(), disk.clone(), durability);
        Self {
            opened: stores::start(options).await,
            lives: Vec::new(),
            dir,
            durability,
            start,
            sled,
            disk,
        }
    }

    fn store(&self) -> &Store {
        &self.opened.store
    }

    fn span(&self, begun: usize) -> Span {
        let now = self.disk.count();
        Span {
            begun,
            acknowledged: now,
            durable: (self.durability == Durability::Always).then_some(now),
        }
    }

    async fn upload(&mut self, name: &'static str, bytes: &[u8]) {
        let begun = self.disk.count();
        stores::upload(self.store(), name, bytes).await.unwrap();
        self.lives.push(Life {
            name,
            upload: self.span(begun),
            deletion: None,
        });
    }

    async fn delete(&mut self, name: &str) {
        let begun = self.disk.count();
        let record = self.store().newest_named(name).await.unwrap().unwrap();
        self.store().remove(record.id).await.unwrap().unwrap();
        let deletion = self.span(begun);
        let life = self.lives.iter_mut().find(|life| life.name == name);
        life.unwrap().deletion = Some(deletion);
    }

    /// As a node with relaxed durability does every second.
    async fn sync(&mut self) {
        self.store().sync().await.unwrap();
        let now = self.disk.count();
        for life in &mut self.lives {
            life.upload.durable.get_or_insert(now);
            if let Some(deletion) = &mut life.deletion {
                deletion.durable.get_or_insert(now);
            }
        }
    }

    /// Stops the store and the recording.
    async fn end(self) -> Recorded {
        self.store().close().await.unwrap();
        let last = Arc::new(Tree::read(&self.dir.path().join(SLED)));
        let mut sled = std::mem::take(&mut *self.sled.lock().unwrap());
        sled.push(last);
        Recorded {
            start: self.start,
            operations: self.disk.operations(),
            sled,
            lives: self.lives,
        }
    }
}

impl Recorded {
    /// After how many operations the power is cut, and what the disk is then.
    fn moments(&self) -> impl Iterator<Item = (usize, Simulated)> {
        let mut disk = self.start.clone();
        let moments = (0..=self.operations.len()).map(move |done| {
            if let Some(last) = done.checked_sub(1) {
                disk.apply(&self.operations[last]);
            }
            (done, disk.clone())
        });
        // Among the many directories that are created at once none is special.
        let creates_dir = |at| matches!(self.operations.get(at), Some(Operation::CreateDir(_)));
        moments.filter(move |(done, _)| *done == 0 || !creates_dir(done - 1) || !creates_dir(*done))
    }

    /// Every different thing that a power cut may leave at a moment.
    fn leftovers(&self, done: usize, disk: &Simulated) -> Vec<(Variant, Tree)> {
        let mut leftovers: Vec<(Variant, Tree)> = Vec::new();
        let sleds = [Some(&*self.sled[done]), Some(&*self.sled[0]), None];
        let is_whole = std::env::var_os("LARDER_SOAK").is_some();
        for (turn, variant) in Variant::ALL.into_iter().enumerate() {
            // Each with each variant within three operations.
            let first = (done + turn) % sleds.len();
            let chosen = if is_whole {
                &sleds[..]
            } else {
                &sleds[first..=first]
            };
            for &sled in chosen {
                let mut tree = disk.cut_power(variant);
                replace_sled(&mut tree, sled);
                if leftovers.iter().all(|(_, other)| *other != tree) {
                    leftovers.push((variant, tree));
                }
            }
        }
        leftovers
    }

    /// Starts a store on what a power cut left: all that must be there is there, and
    /// nothing else but `also`.
    async fn check(
        &self,
        done: usize,
        variant: Variant,
        tree: &Tree,
        also: &[&str],
    ) -> Vec<FileRecord> {
        let dir = tempdir();
        tree.write(dir.path());
        let options = stores::options(dir.path(), Arc::new(RealDisk), Durability::Always);
        let opened = stores::start(options).await;
        let files = stores::checked_files(&opened.store, dir.path()).await;
        let mut names: Vec<_> = files.iter().map(|record| &*record.file.name).collect();
        for life in &self.lives {
            let place = names.iter().position(|name| *name == life.name);
            let expected = life.is_there(done, variant);
            assert!(expected.is_none_or(|it| it == place.is_some()), "{life:?}");
            place.map(|place| names.remove(place));
        }
        assert_eq!(names, also);
        opened.store.close().await.unwrap();
        files
    }
}

impl Recorded {
    /// Restarts after a kill, then cuts the power, first at once and then after uploads.
    async fn restart(&self, done: usize, disk: Simulated) {
        let dir = tempdir();
        let mut tree = disk.cut_power(Variant::KeepAll);
        replace_sled(&mut tree, Some(&self.sled[done]));
        tree.write(dir.path());
        let disk = RecordingDisk::new(dir.path(), disk, Box::new(|| {}));
        let options = stores::options(dir.path(), disk.clone(), Durability::Always);
        let opened = stores::start(options).await;
        let seen = stores::checked_files(&opened.store, dir.path()).await;
        let left = disk.now().cut_power(Variant::DropUnsynced);
        assert_eq!(self.check(done, Variant::KeepAll, &left, &[]).await, seen);
        for (name, bytes) in [("a", content(1, 3_000)), ("b", content(2, 100_000))] {
            stores::upload(&opened.store, name, &bytes).await.unwrap();
        }
        let left = disk.now().cut_power(Variant::DropUnsynced);
        self.check(done, Variant::KeepAll, &left, &["a", "b"]).await;
    }
}

/// Puts `sled` in the place of sled's directory; none removes it.
fn replace_sled(tree: &mut Tree, sled: Option<&Tree>) {
    tree.0.retain(|path, _| !path.starts_with(SLED));
    let Some(sled) = sled else { return };
    tree.0.insert(SLED.into(), None);
    let moved = sled.0.iter();
    let moved = moved.map(|(path, entry)| (Path::new(SLED).join(path), entry.clone()));
    tree.0.extend(moved);
}

/// In memory, since the simulation alone decides what survives.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// What a directory holds in which a store was opened and closed.
async fn used_directory() -> Simulated {
    let dir = tempdir();
    let options = stores::options(dir.path(), Arc::new(RealDisk), Durability::Always);
    let opened = stores::start(options).await;
    opened.store.close().await.unwrap();
    Simulated::holding(&Tree::read(dir.path()))
}

/// Has a test that fails say where.
async fn at<T>(done: usize, variant: Variant, check: impl Future<Output = T>) {
    struct Context(usize, Variant);
    impl Drop for Context {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let Self(done, variant) = self;
                eprintln!("after {done} operations, {variant:?}:");
            }
        }
    }
    let _context = Context(done, variant);
    check.await;
}

async fn survives_every_power_cut(recorded: Recorded) {
    for (done, disk) in recorded.moments() {
        stream::iter(recorded.leftovers(done, &disk))
            .for_each_concurrent(4, |(variant, tree)| {
                let recorded = &recorded;
                async move {
                    at(done, variant, recorded.check(done, variant, &tree, &[])).await;
                }
            })
            .await;
    }
}

async fn uploads_and_deletions(scenario: &mut Scenario) {
    let (short, long) = (content(1, 3_000), content(2, 100_000));
    scenario.upload("short", &short).await;
    scenario.upload("long", &long).await;
    scenario.upload("long again", &long).await;
    scenario.delete("short").await;
    scenario.delete("long").await;
    scenario.upload("short again", &short).await;
    scenario.delete("long again").await;
}

#[tokio::test]
async fn everything_acknowledged_survives_and_nothing_else_stays() {
    let mut scenario = Scenario::begin(used_directory().await, Durability::Always).await;
    uploads_and_deletions(&mut scenario).await;
    survives_every_power_cut(scenario.end().await).await;
}

#[tokio::test]
async fn the_first_start_can_be_cut_off_anywhere() {
    let mut scenario = Scenario::begin(Simulated::default(), Durability::Always).await;
    scenario.upload("first", &content(1, 100)).await;
    survives_every_power_cut(scenario.end().await).await;
}

#[tokio::test]
async fn with_relaxed_durability_all_that_was_synced_survives() {
    let mut scenario = Scenario::begin(used_directory().await, Durability::Relaxed).await;
    scenario.upload("synced", &content(3, 2_000)).await;
    scenario.sync().await;
    uploads_and_deletions(&mut scenario).await;
    scenario.delete("synced").await;
    scenario.upload("last", &content(4, 1_000)).await;
    scenario.sync().await;
    survives_every_power_cut(scenario.end().await).await;
}

/// What a power cut leaves of removed content in packs does not harm what comes after it.
#[tokio::test]
async fn what_is_uploaded_after_a_power_cut_is_there_after_the_next_start() {
    let mut scenario = Scenario::begin(used_directory().await, Durability::Relaxed).await;
    scenario.upload("kept", &content(6, 3_000)).await;
    scenario.sync().await;
    for (name, seed) in [("removed", 7), ("removed, too", 8)] {
        scenario.upload(name, &content(seed, 5_000)).await;
        scenario.delete(name).await;
    }
    let recorded = scenario.end().await;
    for (done, disk) in recorded.moments() {
        let mut leftovers = Variant::ALL.map(|it| disk.cut_power(it)).to_vec();
        for extension in ["dead", "pack"] {
            let kept = |path: &Path| path.extension().is_some_and(|it| it == extension);
            leftovers.push(disk.cut_power_keeping(kept));
        }
        for (at, mut tree) in leftovers.into_iter().enumerate() {
            println!("after {done} operations, leftover {at}");
            replace_sled(&mut tree, Some(&recorded.sled[done]));
            let dir = tempdir();
            tree.write(dir.path());
            let options = stores::options(dir.path(), Arc::new(RealDisk), Durability::Always);
            let opened = stores::start(options.clone()).await;
            let others = stores::whole_files(&opened.store).await.len();
            for (name, seed, len) in [("short", 9, 2_000), ("as long", 10, 5_000)] {
                let bytes = content(seed, len);
                stores::upload(&opened.store, name, &bytes).await.unwrap();
            }
            opened.store.close().await.unwrap();
            drop(opened);
            let opened = stores::start(options).await;
            let files = stores::whole_files(&opened.store).await;
            assert_eq!(files.len(), others + 2);
            opened.store.close().await.unwrap();
        }
    }
}

/// What a killed process left in the page cache must not be built upon: what a
/// client saw after the restart is there after the power cut, too.
#[tokio::test]
async fn a_kill_then_a_power_cut_lose_nothing_that_was_seen() {
    for durability in [Durability::Always, Durability::Relaxed] {
        let mut scenario = Scenario::begin(used_directory().await, durability).await;
        uploads_and_deletions(&mut scenario).await;
        let recorded = scenario.end().await;
        for (done, disk) in recorded.moments() {
            at(done, Variant::KeepAll, recorded.restart(done, disk)).await;
        }
    }
}

/// A node that stops before it has collected what the crash left does not forget it.
#[tokio::test]
async fn nothing_stays_when_the_start_after_a_crash_is_short() {
    let mut scenario = Scenario::begin(used_directory().await, Durability::Always).await;
    uploads_and_deletions(&mut scenario).await;
    let recorded = scenario.end().await;
    for (done, disk) in recorded.moments() {
        let dir = tempdir();
        disk.cut_power(Variant::KeepAll).write(dir.path());
        for is_second in [false, true] {
            let options = stores::options(dir.path(), Arc::new(RealDisk), Durability::Always);
            let opened = LocalStore::open(options).await.unwrap();
            assert!(!is_second || !opened.crashed);
            if is_second {
                let check = stores::checked_files(&opened.store, dir.path());
                at(done, Variant::KeepAll, check).await;
            }
            opened.store.close().await.unwrap();
        }
    }
}

/// Blobs on their own: the index does not sync the whole file system for them.
#[tokio::test]
async fn a_blob_that_was_there_already_is_durable_when_its_commit_returns() {
    let dir = tempdir();
    let disk = RecordingDisk::new(dir.path(), Simulated::default(), Box::new(|| {}));
    let bytes = content(5, 1_000);
    for durability in [Durability::Relaxed, Durability::Always] {
        let options = stores::options(dir.path(), disk.clone(), durability);
        let blobs = LocalBlobs::open(options.blobs()).unwrap();
        keep(&blobs, &bytes).await.unwrap();
    }
    let left = tempdir();
    let tree = disk.now().cut_power(Variant::DropUnsynced);
    tree.write(left.path());
    let hash = BlobHash::of(&bytes).to_string();
    assert_eq!(blobs_in_packs(left.path()), BTreeSet::from([hash]));
}
