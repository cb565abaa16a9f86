//! Packs of small blobs: rolled, damaged, compacted, cut off and upgraded to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use larder::blob::local::{LocalBlobs, Options, note_small_files};
use larder::blob::{BlobBackend, BlobError};
use larder::disk::{Disk, RealDisk};
use larder::hash::BlobHash;
use larder::place::Place;
use rustix::io::Errno;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::countdown_disk::{After, CountdownDisk, Fault};
use crate::common::power_cut::{Operation, Simulated, Variant};
use crate::common::received::keep;
use crate::common::recording_disk::RecordingDisk;
use crate::common::tree::Tree;

/// So short that a few blobs fill a pack.
const PACK_BYTES: u32 = 10_000;
const BLOB: usize = 1_000;

/// In memory: what is on disk is looked at through the backend.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn options(dir: &Path, disk: Arc<dyn Disk>) -> Options {
    Options {
        disk,
        reserve: 0,
        pack_bytes: PACK_BYTES,
        ..Options::new(dir)
    }
}

fn open_on(dir: &Path, disk: Arc<dyn Disk>) -> LocalBlobs {
    LocalBlobs::open(options(dir, disk)).unwrap()
}

fn open(dir: &Path) -> LocalBlobs {
    open_on(dir, Arc::new(RealDisk))
}

async fn commit(blobs: &LocalBlobs, bytes: &[u8]) -> Result<(), BlobError> {
    keep(blobs, bytes).await.map(drop)
}

/// So many different contents, committed.
async fn committed(blobs: &LocalBlobs, count: u32) -> Vec<Vec<u8>> {
    let contents: Vec<_> = (0..count).map(|seed| content(seed, BLOB)).collect();
    for bytes in &contents {
        commit(blobs, bytes).await.unwrap();
    }
    contents
}

/// Whether a blob is there, and not with its bytes.
async fn is_damaged(blobs: &LocalBlobs, hash: &BlobHash) -> bool {
    matches!(
        blobs.open(hash, Place::of(hash)).await,
        Err(BlobError::Damaged { .. })
    )
}

/// The bytes of a blob that is not damaged.
async fn read(blobs: &LocalBlobs, hash: &BlobHash) -> Option<Vec<u8>> {
    let blob = blobs.open(hash, Place::of(hash)).await.unwrap()?;
    assert_eq!(
        blobs.size(Place::of(hash)).await.unwrap(),
        Some(blob.size())
    );
    let pieces: Vec<_> = blob.read(0..blob.size()).try_collect().await.unwrap();
    Some(pieces.concat())
}

/// Fails unless the backend holds exactly these contents.
async fn expect(blobs: &LocalBlobs, contents: &[Vec<u8>]) {
    let mut expected = Vec::new();
    for bytes in contents {
        let hash = BlobHash::of(bytes);
        assert!(read(blobs, &hash).await.as_ref() == Some(bytes), "{hash}");
        expected.push((hash, bytes.len() as u64));
    }
    expected.sort_unstable();
    let listed: Vec<_> = blobs.in_order().try_collect().await.unwrap();
    assert_eq!(listed, expected);
    let strays: Vec<_> = blobs.strays().try_collect().await.unwrap();
    assert_eq!(strays, Vec::<PathBuf>::new());
}

/// The files in the packs' directory with this extension, in their order.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join("packs")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect();
    files.sort();
    files
}

/// Changes one byte of a file.
fn damage(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Waits for the writing thread to have done what it does in the background.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn many_packs_are_found_again_with_and_without_their_indexes() {
    let dir = tempdir();
    let contents = committed(&open(dir.path()), 50).await;
    let (packs, indexes) = (files(dir.path(), "pack"), files(dir.path(), "index"));
    assert_eq!((packs.len(), indexes.len()), (5, 4));
    expect(&open(dir.path()), &contents).await;
    std::fs::remove_file(&indexes[0]).unwrap();
    damage(&indexes[1], 30);
    // Those of other packs tell nothing, either.
    std::fs::copy(&indexes[3], &indexes[2]).unwrap();
    let lost = std::fs::read(&indexes[3]).unwrap();
    expect(&open(dir.path()), &contents).await;
    assert_eq!(files(dir.path(), "index"), indexes);
    assert_eq!(std::fs::read(&indexes[3]).unwrap(), lost);
    let blobs = open(dir.path());
    commit(&blobs, b"one more").await.unwrap();
    expect(&blobs, &[contents, vec![b"one more".to_vec()]].concat()).await;
}

#[tokio::test]
async fn what_a_crash_cuts_off_is_cut_off_and_the_rest_stays() {
    let dir = tempdir();
    let contents = committed(&open(dir.path()), 3).await;
    let pack = &files(dir.path(), "pack")[0];
    let whole = std::fs::read(pack).unwrap();
    let entry = 44 + BLOB;
    for len in [0, 1, 43, 44, 45, entry - 1] {
        let torn = whole.len() - entry + len;
        std::fs::write(pack, &whole[..torn]).unwrap();
        expect(&open(dir.path()), &contents[..2]).await;
        assert_eq!(std::fs::read(pack).unwrap(), whole[..whole.len() - entry]);
    }
    // Pages that were never written, as a file that was made longer has them.
    std::fs::write(pack, [&whole[..], &vec![0; 5_000]].concat()).unwrap();
    expect(&open(dir.path()), &contents).await;
    assert_eq!(std::fs::read(pack).unwrap(), whole);
}

#[tokio::test]
async fn damage_costs_only_the_blob_it_is_in_and_is_mended_by_the_same_content() {
    let entry = 44 + BLOB;
    // In the header of the second of three blobs, and in its bytes; in the last pack, and
    // in a finished one, which is not read at the start.
    for (at, count) in [(4, 3), (500, 3), (4, 30), (500, 30)] {
        let dir = tempdir();
        let contents = committed(&open(dir.path()), count).await;
        damage(&files(dir.path(), "pack")[0], 32 + entry + at);
        let blobs = open(dir.path());
        let hash = BlobHash::of(&contents[1]);
        if at == 500 {
            assert!(is_damaged(&blobs, &hash).await, "{at} {count}");
            assert_eq!(blobs.size(Place::of(&hash)).await.unwrap(), None);
        } else {
            assert_eq!(read(&blobs, &hash).await, None, "{at} {count}");
        }
        commit(&blobs, &contents[1]).await.unwrap();
        expect(&blobs, &contents).await;
        drop(blobs);
        expect(&open(dir.path()), &contents).await;
    }
}

#[tokio::test]
async fn a_pack_that_cannot_be_read_is_a_stray() {
    let dir = tempdir();
    let contents = committed(&open(dir.path()), 20).await;
    let packs = files(dir.path(), "pack");
    let len = std::fs::metadata(&packs[0]).unwrap().len();
    std::fs::write(&packs[0], vec![0; usize::try_from(len).unwrap()]).unwrap();
    let note = dir.path().join("packs/note.txt");
    std::fs::write(&note, b"").unwrap();
    let blobs = open(dir.path());
    let strays: Vec<_> = blobs.strays().try_collect().await.unwrap();
    assert_eq!(strays, [packs[0].clone(), note]);
    let listed: Vec<_> = blobs.in_order().try_collect().await.unwrap();
    assert_eq!(listed.len(), 10);
    for bytes in &contents {
        commit(&blobs, bytes).await.unwrap();
        assert!(read(&blobs, &BlobHash::of(bytes)).await.as_ref() == Some(bytes));
    }
}

#[tokio::test]
async fn a_damaged_header_costs_nothing_whichever_of_its_bytes_is_wrong() {
    let dir = tempdir();
    let blobs = open(dir.path());
    let contents = committed(&blobs, 13).await;
    blobs
        .delete(Place::of(&BlobHash::of(&contents[0])))
        .await
        .unwrap();
    drop(blobs);
    let packs = files(dir.path(), "pack");
    // One is finished and has an index, the other is gone on with.
    assert_eq!(packs.len(), 2);
    for at in 0..32 {
        for pack in &packs {
            damage(pack, at);
        }
        let blobs = open(dir.path());
        expect(&blobs, &contents[1..]).await;
        // It is not found again only because somebody has made it anew.
        drop(blobs);
        expect(&open(dir.path()), &contents[1..]).await;
    }
    for pack in &packs {
        let mut bytes = std::fs::read(pack).unwrap();
        // The beginning of the first entry is lost, too.
        bytes[..100].fill(0);
        std::fs::write(pack, bytes).unwrap();
    }
    std::fs::remove_file(&files(dir.path(), "index")[0]).unwrap();
    let blobs = open(dir.path());
    expect(&blobs, &[&contents[1..10], &contents[11..]].concat()).await;
    commit(&blobs, &contents[10]).await.unwrap();
    expect(&blobs, &contents[1..]).await;
}

#[tokio::test]
async fn entries_that_lie_in_content_are_not_taken_for_those_of_its_pack() {
    let dir = tempdir();
    // A pack as a user may send it: its entries have checksums of another pack.
    let sent = tempdir();
    let within = committed(&open(sent.path()), 3).await;
    let sent = std::fs::read(&files(sent.path(), "pack")[0]).unwrap();
    let blobs = open(dir.path());
    let contents = [vec![sent], vec![content(50, 3_500)]].concat();
    for bytes in &contents {
        commit(&blobs, bytes).await.unwrap();
    }
    drop(blobs);
    let pack = files(dir.path(), "pack")[0].clone();
    damage(&pack, 9);
    expect(&open(dir.path()), &contents).await;
    // Also where what they lie in is damaged itself.
    damage(&pack, 9);
    damage(&pack, 32 + 44 + 5);
    let blobs = open(dir.path());
    for bytes in &within {
        assert!(read(&blobs, &BlobHash::of(bytes)).await.is_none());
    }
    assert!(is_damaged(&blobs, &BlobHash::of(&contents[0])).await);
    assert!(read(&blobs, &BlobHash::of(&contents[1])).await.as_ref() == Some(&contents[1]));
}

#[tokio::test]
async fn content_that_is_there_is_not_written_again() {
    let dir = tempdir();
    let in_file = content(100, BLOB);
    drop(open(dir.path()));
    let name = BlobHash::of(&in_file).to_string();
    // As format 1 kept it.
    let file = dir.path().join("blobs").join(&name[..2]).join(&name);
    std::fs::write(&file, &in_file).unwrap();
    note_small_files(dir.path(), &RealDisk).unwrap();
    let blobs = open(dir.path());
    let contents = committed(&blobs, 2).await;
    let before = Tree::read(&dir.path().join("packs"));
    let all = [contents, vec![in_file.clone()]].concat();
    for bytes in &all {
        commit(&blobs, bytes).await.unwrap();
    }
    assert_eq!(Tree::read(&dir.path().join("packs")), before);
    expect(&blobs, &all).await;
    blobs
        .delete(Place::of(&BlobHash::of(&in_file)))
        .await
        .unwrap();
    expect(&blobs, &all[..2]).await;
    assert!(!file.exists());
}

/// Deletes all but the last of every ten.
async fn delete_most(blobs: &LocalBlobs, contents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    for (at, bytes) in contents.iter().enumerate() {
        if at % 10 == 9 {
            kept.push(bytes.clone());
        } else {
            blobs.delete(Place::of(&BlobHash::of(bytes))).await.unwrap();
        }
    }
    kept
}

#[tokio::test]
async fn space_of_deleted_blobs_is_given_back_and_readers_read_on() {
    let dir = tempdir();
    let blobs = open(dir.path());
    let contents = committed(&blobs, 100).await;
    let reading = blobs
        .open(
            &BlobHash::of(&contents[0]),
            Place::of(&BlobHash::of(&contents[0])),
        )
        .await
        .unwrap();
    let reading = reading.unwrap();
    let kept = delete_most(&blobs, &contents).await;
    until("the packs are compacted", || {
        files(dir.path(), "pack").len() <= 2
    });
    expect(&blobs, &kept).await;
    let bytes: Vec<_> = reading.read(0..1_000).try_collect().await.unwrap();
    assert!(bytes.concat() == contents[0]);
    drop(blobs);
    let blobs = open(dir.path());
    expect(&blobs, &kept).await;
    for bytes in &kept {
        blobs.delete(Place::of(&BlobHash::of(bytes))).await.unwrap();
    }
    until("all space is given back", || {
        ["pack", "index", "dead"]
            .iter()
            .all(|it| files(dir.path(), it).is_empty())
    });
    let contents = committed(&blobs, 5).await;
    expect(&blobs, &contents).await;
}

/// Less than half of each pack is dead, so that nothing is done about it while somebody waits.
#[tokio::test]
async fn once_nobody_waits_packs_take_at_most_1_3_of_what_is_kept() {
    let dir = tempdir();
    let blobs = open(dir.path());
    let contents = committed(&blobs, 40).await;
    let mut kept = Vec::new();
    for (number, bytes) in contents.into_iter().enumerate() {
        if number % 3 == 0 {
            let place = Place::of(&BlobHash::of(&bytes));
            blobs.delete(place).await.unwrap();
        } else {
            kept.push(bytes);
        }
    }
    let payload = (kept.len() * BLOB) as u64;
    until("room is given back", || {
        let lengths = files(dir.path(), "pack").into_iter();
        // One that was compacted since is gone.
        let lengths = lengths.filter_map(|it| Some(std::fs::metadata(it).ok()?.len()));
        lengths.sum::<u64>() <= payload * 13 / 10
    });
    expect(&blobs, &kept).await;
    drop(blobs);
    expect(&open(dir.path()), &kept).await;
}

#[tokio::test]
async fn a_damaged_blob_keeps_its_pack_from_being_removed() {
    let dir = tempdir();
    let contents = committed(&open(dir.path()), 12).await;
    let pack = files(dir.path(), "pack")[0].clone();
    let last = std::fs::metadata(&pack).unwrap().len() - 1;
    damage(&pack, usize::try_from(last).unwrap());
    let blobs = open(dir.path());
    for bytes in &contents[..9] {
        blobs.delete(Place::of(&BlobHash::of(bytes))).await.unwrap();
    }
    // Once this is taken the compaction has had its turn.
    for seed in 100..102 {
        commit(&blobs, &content(seed, BLOB)).await.unwrap();
    }
    drop(blobs);
    let blobs = open(dir.path());
    assert!(pack.exists());
    assert!(is_damaged(&blobs, &BlobHash::of(&contents[9])).await);
}

/// What was promised while the disk was changed.
#[derive(Default)]
struct Promised {
    /// After how many operations each content was acknowledged, and deleted.
    kept: BTreeMap<Vec<u8>, usize>,
    deleted: BTreeMap<Vec<u8>, usize>,
}

/// Fails unless all that must be there is there, whole, and nothing that never was.
async fn check(dir: &Path, promised: &Promised, done: usize) {
    let blobs = open(dir);
    let listed: Vec<_> = blobs.in_order().try_collect().await.unwrap();
    let listed: BTreeSet<_> = listed.into_iter().map(|(hash, _)| hash).collect();
    for (bytes, acknowledged) in &promised.kept {
        let hash = BlobHash::of(bytes);
        let found = read(&blobs, &hash).await;
        assert_eq!(found.is_some(), listed.contains(&hash));
        assert!(found.as_ref().is_none_or(|found| found == bytes), "{hash}");
        // One whose deletion began may be there or not.
        let must = done >= *acknowledged && !promised.deleted.contains_key(bytes);
        assert!(!must || found.is_some(), "{hash} is lost");
    }
    let known: BTreeSet<_> = promised.kept.keys().map(|it| BlobHash::of(it)).collect();
    assert!(listed.is_subset(&known));
}

#[tokio::test]
async fn a_power_cut_while_packs_are_finished_and_compacted_loses_nothing() {
    let dir = tempdir();
    let disk = RecordingDisk::new(dir.path(), Simulated::default(), Box::new(|| {}));
    let blobs = open_on(dir.path(), disk.clone());
    let mut promised = Promised::default();
    for seed in 0..24 {
        let bytes = content(seed, BLOB);
        commit(&blobs, &bytes).await.unwrap();
        promised.kept.insert(bytes, disk.count());
    }
    for bytes in (0..24)
        .filter(|it| it % 10 != 9)
        .map(|it| content(it, BLOB))
    {
        promised.deleted.insert(bytes.clone(), disk.count());
        blobs
            .delete(Place::of(&BlobHash::of(&bytes)))
            .await
            .unwrap();
    }
    until("the packs are compacted", || {
        files(dir.path(), "pack").len() <= 1
    });
    commit(&blobs, b"last").await.unwrap();
    promised.kept.insert(b"last".to_vec(), disk.count());
    drop(blobs);
    let mut now = Simulated::default();
    for (done, operation) in disk.operations().iter().enumerate() {
        now.apply(operation);
        // The many directories of the first start have their own test.
        if matches!(operation, Operation::CreateDir(_)) {
            continue;
        }
        for variant in Variant::ALL {
            let left = tempdir();
            now.cut_power(variant).write(left.path());
            check(left.path(), &promised, done + 1).await;
        }
    }
}

/// Runs a scenario with a fault; false when the countdown had not ended.
async fn survives(working: u64, fault: Fault) -> bool {
    let dir = tempdir();
    let disk = CountdownDisk::new();
    let blobs = open_on(dir.path(), disk.clone());
    let mut promised = Promised::default();
    disk.arm(working, fault);
    for seed in 0..12 {
        let bytes = content(seed, BLOB);
        if commit(&blobs, &bytes).await.is_ok() {
            promised.kept.insert(bytes, 0);
        } else {
            // After a failed sync nobody knows.
            promised.deleted.insert(bytes.clone(), 0);
            promised.kept.insert(bytes, 0);
        }
    }
    for bytes in (0..9).map(|seed| content(seed, BLOB)) {
        promised.deleted.insert(bytes.clone(), 0);
        let _ = blobs.delete(Place::of(&BlobHash::of(&bytes))).await;
    }
    let _ = commit(&blobs, b"last").await;
    promised.kept.insert(b"last".to_vec(), usize::MAX);
    drop(blobs);
    let failed = disk.disarm();
    println!("{fault:?} of operation {working}: {failed:?}");
    check(dir.path(), &promised, 0).await;
    failed.is_some()
}

#[tokio::test]
async fn a_fault_at_any_operation_loses_nothing() {
    for (error, after) in [
        (Errno::IO, After::Work),
        (Errno::IO, After::Fail),
        (Errno::NOSPC, After::Work),
    ] {
        let mut working = 0;
        while survives(working, Fault { error, after }).await {
            working += 1;
        }
        assert!(working > 40, "only {working} operations were counted");
    }
}
