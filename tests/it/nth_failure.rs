//! The Nth disk operation fails, for every N, under the whole store.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;
use larder::index::IndexBackend;
use larder::index::local::{LocalIndex, Options};
use larder::record::NewFile;
use larder::store::Store;
use larder::store::local::LocalStore;
use rustix::io::Errno;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::countdown_disk::{After, CountdownDisk, Fault};
use crate::common::indexing::add;
use crate::common::stores;
use crate::common::tree::Tree;

/// A store while its disk fails, and what its answers promised.
struct Scenario {
    store: Store,
    /// Files that are there.
    kept: BTreeSet<&'static str>,
    /// Files whose upload or deletion failed in a way that makes the store refuse
    /// writes: nobody knows what the disk holds of them.
    unsure: BTreeSet<&'static str>,
}

impl Scenario {
    async fn run(&mut self) {
        let (short, long) = (content(1, 3_000), content(2, 100_000));
        self.upload("short", &short).await;
        self.upload("long", &long).await;
        self.delete("short").await;
        self.upload("long again", &long).await;
        self.delete("long").await;
        self.upload("short again", &short).await;
        self.delete("short again").await;
    }

    async fn upload(&mut self, name: &'static str, bytes: &[u8]) {
        let refused = self.store.refusal();
        match stores::upload(&self.store, name, bytes).await {
            Ok(_) => {
                assert_eq!(refused, None, "{name} was taken");
                self.kept.insert(name);
            }
            Err(_) => self.failed(name, refused.as_ref()),
        }
        self.check().await;
    }

    async fn delete(&mut self, name: &'static str) {
        let refused = self.store.refusal();
        let Some(record) = self.store.newest_named(name).await.unwrap() else {
            return assert!(!self.kept.contains(name));
        };
        match self.store.remove(record.id).await {
            Ok(removed) => {
                assert_eq!(refused, None, "{name} was removed");
                assert_eq!(removed, Some(record));
                self.kept.remove(name);
            }
            Err(_) => self.failed(name, refused.as_ref()),
        }
        self.check().await;
    }

    fn failed(&mut self, name: &'static str, refused: Option<&String>) {
        if refused.is_none() && self.store.refusal().is_some() {
            self.unsure.insert(name);
        }
    }

    /// What is kept is there, and nothing else.
    async fn check(&self) {
        let there = stores::whole_files(&self.store).await;
        let there: BTreeSet<_> = there.iter().map(|record| &*record.file.name).collect();
        assert_eq!(there, self.kept);
    }
}

/// Runs the scenario with a fault; tells which operation failed, if any was left.
async fn run(start: &Tree, durability: Durability, working: u64, fault: Fault) -> Option<String> {
    let dir = tempdir();
    start.write(dir.path());
    let disk = CountdownDisk::new();
    let opened = stores::start(stores::options(dir.path(), disk.clone(), durability)).await;
    let mut scenario = Scenario {
        store: opened.store.clone(),
        kept: BTreeSet::new(),
        unsure: BTreeSet::new(),
    };
    disk.arm(working, fault);
    scenario.run().await;
    let failed = disk.disarm();
    let refusal = opened.store.refusal();
    let shortage = fault.error == Errno::MFILE;
    assert!(!shortage || refusal.is_none(), "{failed:?}: {refusal:?}");
    let closed = opened.store.close().await;
    assert_eq!(closed.is_err(), refusal.is_some(), "{closed:?}");
    let Scenario {
        kept,
        unsure,
        store,
    } = scenario;
    drop((opened, store));
    let there = restart(dir.path()).await;
    let there: BTreeSet<_> = there.iter().map(String::as_str).collect();
    let differing: BTreeSet<_> = there.symmetric_difference(&kept).copied().collect();
    assert!(
        differing.is_subset(&unsure),
        "{there:?} {kept:?} {unsure:?}"
    );
    failed
}

/// The names of the files that a start on a working disk finds; nothing else is left.
async fn restart(dir: &Path) -> Vec<String> {
    let options = stores::options(dir, Arc::new(RealDisk), Durability::Always);
    let opened = stores::start(options).await;
    let files = stores::checked_files(&opened.store, dir).await;
    opened.store.close().await.unwrap();
    files.into_iter().map(|record| record.file.name).collect()
}

/// In memory: what matters here is which operation fails.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

async fn used_directory() -> Tree {
    let dir = tempdir();
    restart(dir.path()).await;
    Tree::read(dir.path())
}

/// Every way to fail that is tried at every operation.
const FAULTS: [Fault; 3] = [
    Fault {
        error: Errno::IO,
        after: After::Work,
    },
    Fault {
        error: Errno::IO,
        after: After::Fail,
    },
    Fault {
        error: Errno::NOSPC,
        after: After::Work,
    },
];

/// Open files that run out, for once and for good.
const SHORTAGES: [Fault; 2] = [
    Fault {
        error: Errno::MFILE,
        after: After::Work,
    },
    Fault {
        error: Errno::MFILE,
        after: After::Fail,
    },
];

async fn survives_every_fault(durability: Durability) {
    let start = used_directory().await;
    for fault in FAULTS {
        let mut working = 0;
        while let Some(failed) = run(&start, durability, working, fault).await {
            println!("survived {fault:?} of operation {working}: {failed}");
            working += 1;
        }
        assert!(working > 20, "only {working} operations were counted");
    }
}

#[tokio::test]
async fn always() {
    survives_every_fault(Durability::Always).await;
}

#[tokio::test]
async fn relaxed() {
    survives_every_fault(Durability::Relaxed).await;
}

/// Whether it was the note of how far the journal has come that could not be renamed, which is then
/// made anew.
fn is_rename_of_note(failed: &str) -> bool {
    failed.starts_with("rename to ") && failed.contains("/blobs/reached-")
}

#[tokio::test]
async fn a_start_that_fails_can_be_tried_again() {
    let dir = tempdir();
    let options = stores::options(dir.path(), Arc::new(RealDisk), Durability::Always);
    let opened = stores::start(options).await;
    stores::upload(&opened.store, "kept", &content(1, 100))
        .await
        .unwrap();
    drop(opened);
    let start = Tree::read(dir.path());
    for fault in FAULTS {
        let mut working = 0;
        loop {
            let dir = tempdir();
            start.write(dir.path());
            let disk = CountdownDisk::new();
            disk.arm(working, fault);
            let options = stores::options(dir.path(), disk.clone(), Durability::Always);
            let started = LocalStore::open(options).await;
            let failed = disk.disarm();
            let has_failed = started.is_err();
            let goes_on = !has_failed && failed.as_deref().is_some_and(is_rename_of_note);
            assert!(has_failed == failed.is_some() || goes_on, "{failed:?}");
            drop(started);
            assert_eq!(restart(dir.path()).await, ["kept"], "{failed:?}");
            if failed.is_none() {
                break;
            }
            working += 1;
        }
        assert!(working > 256, "only {working} operations were counted");
    }
}

#[tokio::test]
async fn open_files_that_run_out_are_never_taken_for_a_failed_sync() {
    let start = used_directory().await;
    for (durability, fault) in [Durability::Always, Durability::Relaxed]
        .into_iter()
        .flat_map(|it| SHORTAGES.map(|fault| (it, fault)))
    {
        let mut working = 0;
        // Which looks at the refusal, too.
        while let Some(failed) = run(&start, durability, working, fault).await {
            println!("survived {fault:?} of operation {working}: {failed}");
            working += 1;
        }
        assert!(working > 4, "only {working} operations were counted");
    }
}

#[tokio::test]
async fn a_journal_that_cannot_begin_a_segment_for_want_of_open_files_goes_on_when_there_are_some()
{
    let fault = SHORTAGES[0];
    let mut working = 0;
    loop {
        let dir = tempdir();
        let disk = CountdownDisk::new();
        let mut options = Options::new(dir.path(), disk.clone(), Durability::Always);
        options.segment_bytes = 1;
        let index = LocalIndex::open(&options).unwrap().index;
        // From here on each change begins a segment.
        let first = add(&index, named("first")).await.unwrap();
        disk.arm(working, fault);
        let short = add(&index, named("short")).await;
        let failed = disk.disarm();
        assert_eq!(short.is_err(), failed.is_some(), "{failed:?}");
        assert_eq!(index.refusal(), None, "{failed:?}");
        let last = add(&index, named("last")).await.unwrap();
        let expected: Vec<_> = [Some(first), short.ok(), Some(last)]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(index.page(None, 10).await.unwrap(), expected);
        drop(index);
        let found = LocalIndex::open(&options).unwrap().index;
        assert_eq!(found.page(None, 10).await.unwrap(), expected, "{failed:?}");
        if failed.is_none() {
            break;
        }
        working += 1;
    }
    assert_eq!(working, 2, "the segment and its directory are opened");
}

fn named(name: &str) -> NewFile {
    NewFile {
        name: name.to_owned(),
        content_type: None,
        description: String::new(),
        size: 0,
        hash: BlobHash::of(b""),
    }
}
