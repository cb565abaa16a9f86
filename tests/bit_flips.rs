//! One bit flipped, or an end cut off, in every file of a storage directory in turn: no wrong
//! byte leaves, and no file is lost in silence that another copy or an upload can mend.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::content::content;
use common::random::Random;
use common::stores;
use common::tree::Tree;
use futures_util::TryStreamExt;
use larder::blob::local::LocalBlobs;
use larder::disk::{Durability, RealDisk};
use larder::index::local::{self as index, LocalIndex};
use larder::record::{FileId, FileRecord};
use larder::store::local::{LocalStore, Options, rebuild_index};
use larder::store::{Finding, Others, Store, verify};
use tempfile::TempDir;
use tokio::sync::mpsc;

#[expect(dead_code, reason = "the tests of `it` use all of it")]
mod common;

/// So short that a few files fill a pack, or a segment of the journal.
const PACK_BYTES: u32 = 40_000;
const SEGMENT_BYTES: u64 = 1_500;
/// Content in packs and in files of its own, with and without outboards of several levels.
const SIZES: [usize; 14] = [
    0, 1, 900, 5_000, 16_384, 30_000, 65_536, 65_537, 300_000, 7, 800, 20_000, 40_000, 9_000,
];

/// In memory: a few hundred directories are copied.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn options(dir: &Path) -> Options {
    stores::options(dir, Arc::new(RealDisk), Durability::Always)
}

/// What was acknowledged.
#[derive(Default, Clone)]
struct Model {
    files: Vec<(FileRecord, Vec<u8>)>,
    removed: BTreeSet<FileId>,
}

impl Model {
    async fn upload(&mut self, store: &Store, bytes: Vec<u8>) {
        let name = format!("{} bytes, file {}", bytes.len(), self.files.len());
        let record = stores::upload(store, &name, &bytes).await.unwrap();
        self.files.push((record, bytes));
    }

    async fn remove(&mut self, store: &Store, at: usize) {
        let (record, _) = self.files.remove(at);
        assert!(store.remove(record.id).await.unwrap().is_some());
        self.removed.insert(record.id);
    }
}

/// Makes a storage directory by use: several segments and packs, removals, content twice.
async fn made(dir: &Path) -> Model {
    let mut model = Model::default();
    let opened = stores::start(options(dir)).await;
    model.upload(&opened.store, content(99, 700)).await;
    opened.store.close().await.unwrap();
    drop(opened);
    let usual = options(dir);
    let mut blobs = usual.blobs();
    blobs.pack_bytes = PACK_BYTES;
    let mut indexing = usual.index();
    indexing.segment_bytes = SEGMENT_BYTES;
    let index = LocalIndex::open(&indexing).unwrap().index;
    let blobs = LocalBlobs::open(blobs).unwrap();
    let store = Store::new(Arc::new(blobs), Arc::new(index));
    for (seed, size) in (0..).zip(SIZES) {
        model.upload(&store, content(seed, size)).await;
    }
    for at in [14, 12, 7, 2] {
        model.remove(&store, at).await;
    }
    let again = model.files[3].1.clone();
    model.upload(&store, again).await;
    store.close().await.unwrap();
    model
}

/// A storage directory and what was acknowledged of it.
struct Template {
    how: &'static str,
    tree: Tree,
    model: Model,
}

/// As a clean stop leaves it, and as a kill does.
async fn templates() -> [Template; 2] {
    let dir = tempdir();
    let mut model = made(dir.path()).await;
    let stopped = Template {
        how: "stopped",
        tree: Tree::read(dir.path()),
        model: model.clone(),
    };
    let opened = stores::start(options(dir.path())).await;
    for seed in 50..54 {
        model.upload(&opened.store, content(seed, 2_000)).await;
    }
    model.upload(&opened.store, content(54, 100_000)).await;
    let last = model.files.len() - 2;
    model.remove(&opened.store, last).await;
    let killed = Template {
        how: "killed",
        tree: Tree::read(dir.path()),
        model,
    };
    opened.store.close().await.unwrap();
    [stopped, killed]
}

/// What becomes of a file's bytes.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// This bit of this byte is another one.
    Flip(usize, u32),
    /// It ends here.
    Cut(usize),
}

impl Damage {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Flip(at, bit) => bytes[at] ^= 1 << bit,
            Self::Cut(len) => bytes.truncate(len),
        }
        bytes
    }

    /// What is tried on a file of this length.
    fn all(len: usize, random: &mut Random) -> Vec<Self> {
        let Some(last) = len.checked_sub(1) else {
            return Vec::new();
        };
        let more = if std::env::var_os("LARDER_SOAK").is_some() {
            40
        } else {
            1
        };
        let mut places = BTreeSet::from([0, len / 2, last]);
        for _ in 0..more {
            places.insert(usize::try_from(random.below(len as u64)).unwrap());
        }
        let bit = |random: &mut Random| u32::try_from(random.below(8)).unwrap();
        let flips = places.into_iter().map(|at| Self::Flip(at, bit(random)));
        let mut all: Vec<_> = flips.collect();
        all.extend([Self::Cut(last), Self::Cut(0)]);
        all
    }
}

/// What was logged since it was last taken.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One file of a copy of a storage directory, damaged.
struct Case {
    what: String,
    dir: TempDir,
    path: PathBuf,
    model: Model,
    log: Log,
    /// Whether something was told that may be lost, or back again.
    told: bool,
}

impl Case {
    fn new(template: &Template, path: &Path, damage: Damage, log: &Log) -> Self {
        let dir = tempdir();
        template.tree.write(dir.path());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let bytes = template.tree.0[path].as_ref().unwrap();
        fs::write(dir.path().join(path), damage.of(bytes)).unwrap();
        let (how, len) = (template.how, bytes.len());
        log.take();
        Self {
            what: format!("{how}: {} of {len} bytes, {damage:?}", path.display()),
            dir,
            path: path.to_owned(),
            model: template.model.clone(),
            log: log.clone(),
            told: false,
        }
    }

    async fn run(mut self) {
        let Some(opened) = self.open().await else {
            return;
        };
        for at in self.check(&opened.store).await {
            let bytes = self.model.files[at].1.clone();
            self.model.upload(&opened.store, bytes).await;
        }
        self.check(&opened.store).await;
        self.assert_readable(&opened.store).await;
        opened.store.close().await.unwrap();
        drop(opened);
        let opened = self.open().await.unwrap();
        self.check(&opened.store).await;
        self.assert_readable(&opened.store).await;
        opened.store.close().await.unwrap();
        drop(opened);
        self.verify().await;
    }

    /// As a node does; None where what is damaged is only for an operator to mend, the version
    /// of the whole. In the middle of the journal nothing else has all of what is lost, so it is
    /// told how to go on, which works.
    async fn open(&mut self) -> Option<LocalStore> {
        let mut opened = LocalStore::open(options(self.dir.path())).await;
        if let Err(error) = opened {
            let error = error.to_string();
            let name = self.path.file_name().unwrap().to_str().unwrap();
            assert!(error.contains(name), "{}: {error}", self.what);
            if name == "larder.format" {
                return None;
            }
            let is_expected = self.path.starts_with("journal") && error.contains("damaged");
            assert!(is_expected, "{}: {error}", self.what);
            let rebuilt = rebuild_index(&options(self.dir.path()), true, false).unwrap();
            assert!(!rebuilt.skipped.is_empty(), "{}", self.what);
            opened = LocalStore::open(options(self.dir.path())).await;
        }
        let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", self.what));
        if opened.crashed {
            opened.store.collect_all().await.unwrap();
        }
        let log = self.log.take();
        self.told |= log.contains(" WARN ") || log.contains("ERROR ");
        Some(opened)
    }

    /// Which acknowledged files cannot be read by their ids.
    async fn check(&self, store: &Store) -> Vec<usize> {
        let listed = store.page(None, 1_000).await.unwrap();
        for record in &listed {
            let known = self.model.files.iter().find(|(it, _)| it.id == record.id);
            match known {
                Some((known, _)) => assert_eq!(known, record, "{}", self.what),
                None => assert!(
                    self.told && self.model.removed.contains(&record.id),
                    "{}: {record:?}",
                    self.what
                ),
            }
        }
        let mut bad = Vec::new();
        for (at, (record, bytes)) in self.model.files.iter().enumerate() {
            let is_listed = listed.iter().any(|it| it.id == record.id);
            assert!(is_listed || self.told, "{}: {record:?}", self.what);
            let name = &record.file.name;
            match read(store, record).await {
                Some(read) if is_listed => assert!(read == *bytes, "{}: {name}", self.what),
                _ => bad.push(at),
            }
        }
        bad
    }

    /// Every content is read by the id of a file that has it, and by every id that is listed.
    async fn assert_readable(&self, store: &Store) {
        for (record, bytes) in &self.model.files {
            let same = self.model.files.iter().filter(|(_, it)| it == bytes);
            let mut whole = false;
            for (record, _) in same {
                if store.get(record.id).await.unwrap().is_some() {
                    let read = read(store, record).await;
                    assert!(read.as_ref() == Some(bytes), "{}: {record:?}", self.what);
                    whole = true;
                }
            }
            assert!(whole, "{}: {record:?}", self.what);
        }
    }

    /// Nothing that is listed is found wrong in the end.
    async fn verify(&self) {
        let (findings, mut found) = mpsc::channel(1_000);
        let options = options(self.dir.path());
        let others = Others {
            problems: |_| Vec::new(),
            names: &[],
            is_note: None,
        };
        verify(&options, findings, others).await.unwrap();
        let mut all = Vec::new();
        while let Some(finding) = found.recv().await {
            all.push(finding);
        }
        // A start after a clean stop does not read what was finished long before: that this is
        // damaged is told here, with all that follows from it.
        let is_of_journal =
            |it: &Finding| matches!(it, Finding::Index(index::IndexFinding::Journal(_)));
        if self.path.starts_with("journal") && all.iter().any(is_of_journal) {
            return;
        }
        for finding in all {
            let is_expected = match &finding {
                // What was removed of a pack is there again: it takes room, and nobody gets it.
                Finding::Orphan(..) if self.path.starts_with("packs") => true,
                // It is told here, and made anew once it is read.
                Finding::File(path, _) => self.told || path.ends_with(&self.path),
                Finding::Orphan(..) | Finding::Stray(_) | Finding::OutboardsLeft(_) => self.told,
                // What nothing can give back is told until that is settled.
                Finding::ChangesLost(_) | Finding::Unclaimed(..) => {
                    self.told && self.path.starts_with("journal")
                }
                // Content is proven without its root; an outboard is made anew at need.
                Finding::OutboardDamaged(_) => self.path.starts_with("outboards"),
                // Of a file that was removed, and is listed again.
                Finding::BlobMissing(hash) => {
                    let is_live = |(it, _): &(FileRecord, Vec<u8>)| it.file.hash == *hash;
                    self.told && !self.model.files.iter().any(is_live)
                }
                _ => false,
            };
            assert!(is_expected, "{}: {finding:?}", self.what);
        }
    }
}

/// The bytes of a file, by both ways in which it is read; None where they are refused.
async fn read(store: &Store, record: &FileRecord) -> Option<Vec<u8>> {
    let ready = store.ready(record.id).await;
    let blob = store.open_file(record).await.ok().flatten()?;
    let pieces: Result<Vec<_>, _> = blob.read(0..blob.size()).try_collect().await;
    let bytes = pieces.ok()?.concat();
    if let Ok(Some(ready)) = ready
        && let larder::store::ReadyContent::Small(ready) = ready.content
    {
        assert!(*ready == bytes[..]);
    }
    Some(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damaged_file_makes_anything_wrong_leave_or_anything_be_lost_in_silence() {
    let log = Log::default();
    let writer = log.clone();
    let logging = tracing_subscriber::fmt().with_ansi(false);
    logging.with_writer(move || writer.clone()).init();
    let mut random = Random::from_environment();
    for template in templates().await {
        let files = template.tree.0.iter();
        for (path, bytes) in files.filter_map(|(path, it)| Some((path, it.as_ref()?))) {
            // Content is tried once: a kill leaves it as a stop does.
            let is_content = path.starts_with("blobs") || path.starts_with("outboards");
            if template.how == "killed" && is_content {
                continue;
            }
            for damage in Damage::all(bytes.len(), &mut random) {
                Case::new(&template, path, damage, &log).run().await;
            }
        }
    }
}
