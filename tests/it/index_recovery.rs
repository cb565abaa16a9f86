//! What the index makes of every kind of damage: the lookup database may be broken
//! in any way and nothing is lost; the journal's torn end is cut off; its damaged
//! middle is reported with its place and never passed over silently.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;
use larder::index::local::{IndexFinding, LocalIndex, Options, rebuild, verify};
use larder::index::{IndexBackend, IndexError};
use larder::record::{
    FileRecord, MAX_CONTENT_TYPE_BYTES, MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES, NewFile,
};
use tempfile::TempDir;

use crate::common::indexing::add;

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir, Arc::new(RealDisk), Durability::Always);
    options.segment_bytes = 16 * 1024;
    options
}

fn file(n: u32) -> NewFile {
    NewFile {
        name: format!("file {}", n % 50),
        content_type: None,
        description: "x".repeat(100),
        size: 4,
        hash: BlobHash::of(&(n % 70).to_le_bytes()),
    }
}

async fn put(index: &LocalIndex, numbers: std::ops::Range<u32>) -> Vec<FileRecord> {
    let puts = numbers.map(|n| add(index, file(n)));
    let mut files = futures_util::future::try_join_all(puts).await.unwrap();
    // Those that come at once get their ids in any order.
    files.sort_by_key(|file| file.id);
    files
}

/// All files, a page after the other.
async fn all(index: &LocalIndex) -> Vec<FileRecord> {
    let mut files = Vec::<FileRecord>::new();
    loop {
        let page = index
            .page(files.last().map(|it| it.id), usize::MAX)
            .await
            .unwrap();
        if page.is_empty() {
            return files;
        }
        files.extend(page);
    }
}

/// Everything the index tells, through each kind of lookup.
async fn contents(index: &LocalIndex) -> Vec<FileRecord> {
    let files = all(index).await;
    for file in &files {
        assert_eq!(index.get(file.id).await.unwrap().as_ref(), Some(file));
        assert!(index.locate(&file.file.hash).await.unwrap().is_some());
        let newest = files
            .iter()
            .rfind(|other| other.file.name == file.file.name);
        assert_eq!(
            index.newest_named(&file.file.name).await.unwrap().as_ref(),
            newest
        );
    }
    assert_eq!(index.totals().files, files.len() as u64);
    assert_eq!(
        index.totals().bytes,
        files.iter().map(|f| f.file.size).sum::<u64>()
    );
    files
}

/// A closed index of 250 files in several journal segments, some removed again.
async fn closed_index() -> (TempDir, Vec<FileRecord>) {
    let dir = tempfile::tempdir().unwrap();
    let index = LocalIndex::open(&options(dir.path())).unwrap().index;
    for start in [0, 100, 200] {
        let files = put(&index, start..start + 100).await;
        for file in files.iter().step_by(6) {
            index.remove(file.id).await.unwrap().unwrap();
        }
    }
    let files = contents(&index).await;
    assert_eq!(files.len(), 249);
    index.close().await.unwrap();
    (dir, files)
}

/// A copy of the directory while the index is open: what `kill -9` leaves.
fn crash_image(dir: &Path) -> TempDir {
    // A compaction that ends meanwhile removes files, and the copy is of no one moment.
    for _ in 0..100 {
        let image = tempfile::tempdir().unwrap();
        let Ok(before) = sizes(dir) else { continue };
        let copied = copy(dir, image.path());
        if copied.is_ok() && sizes(dir).is_ok_and(|after| after == before) {
            return image;
        }
    }
    panic!("the directory never kept still");
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// The files under a directory, with their sizes in bytes.
fn sizes(dir: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            found.extend(sizes(&entry.path())?);
        } else {
            found.insert(entry.path(), meta.len());
        }
    }
    Ok(found)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("journal")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "journal"));
    paths.sort();
    paths
}

/// The directory of the lookup database.
fn lookup_dir(dir: &Path) -> PathBuf {
    let mut entries = fs::read_dir(dir.join("index")).unwrap();
    let path = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none(), "one database is there");
    path
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

fn damaged_at(result: Result<larder::index::local::Opened, IndexError>) -> (PathBuf, u64) {
    match result {
        Err(IndexError::Damaged { path, offset, .. }) => (path, offset),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the damage went unnoticed"),
    }
}

#[tokio::test]
async fn a_clean_stop_is_told_from_a_crash() {
    let (dir, files) = closed_index().await;
    let opened = LocalIndex::open(&options(dir.path())).unwrap();
    assert!(opened.clean);
    assert_eq!(contents(&opened.index).await, files);
    let image = crash_image(dir.path());
    let after_crash = LocalIndex::open(&options(image.path())).unwrap();
    assert!(!after_crash.clean);
    assert_eq!(contents(&after_crash.index).await, files);
}

#[tokio::test]
async fn many_files_are_there_after_a_crash_in_the_lookup_database_that_was() {
    let dir = tempfile::tempdir().unwrap();
    let options = |dir| Options::new(dir, Arc::new(RealDisk), Durability::Relaxed);
    let index = LocalIndex::open(&options(dir.path())).unwrap().index;
    let mut files = put(&index, 0..12_000).await;
    files.sort_by_key(|file| file.id);
    let image = crash_image(dir.path());
    let before = lookup_dir(image.path());
    let after_crash = LocalIndex::open(&options(image.path())).unwrap();
    assert!(!after_crash.clean);
    assert!(all(&after_crash.index).await == files);
    assert_eq!(lookup_dir(image.path()), before);
}

type Damage = (&'static str, fn(&Path));

/// Every way in which sled's directory may be found.
const LOOKUP_DAMAGE: &[Damage] = &[
    ("gone", |dir| fs::remove_dir_all(dir).unwrap()),
    ("empty", |dir| {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
    }),
    ("a file", |dir| {
        fs::remove_dir_all(dir).unwrap();
        fs::write(dir, b"not a directory").unwrap();
    }),
    ("without its data", |dir| {
        fs::remove_file(dir.join("db")).unwrap();
    }),
    ("with empty data", |dir| {
        fs::write(dir.join("db"), b"").unwrap();
    }),
    ("with half its data", |dir| {
        let bytes = fs::read(dir.join("db")).unwrap();
        fs::write(dir.join("db"), &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("with zeros for data", |dir| {
        let len = fs::metadata(dir.join("db")).unwrap().len();
        fs::write(dir.join("db"), vec![0; usize::try_from(len).unwrap()]).unwrap();
    }),
    ("with noise for data", |dir| {
        let len = fs::metadata(dir.join("db")).unwrap().len();
        let noise = (0..len).map(|n| BlobHash::of(&n.to_le_bytes()).as_bytes()[0]);
        fs::write(dir.join("db"), noise.collect::<Vec<u8>>()).unwrap();
    }),
    ("without its settings", |dir| {
        fs::remove_file(dir.join("conf")).unwrap();
    }),
    ("with broken settings", |dir| {
        fs::write(dir.join("conf"), b"nonsense").unwrap();
    }),
    ("with an unfinished snapshot", |dir| {
        fs::write(dir.join("snap.0000000000000001.generating"), b"half").unwrap();
    }),
    ("with a broken snapshot", |dir| {
        fs::write(dir.join("snap.00000000000FFFFF"), b"broken").unwrap();
    }),
];

#[tokio::test]
async fn nothing_is_lost_whatever_becomes_of_the_lookup_database() {
    let (closed, files) = closed_index().await;
    let running = LocalIndex::open(&options(closed.path())).unwrap();
    let crashed = crash_image(closed.path());
    running.index.close().await.unwrap();
    for (name, damage) in LOOKUP_DAMAGE {
        for (how, source) in [("closed", &closed), ("crashed", &crashed)] {
            let image = crash_image(source.path());
            damage(&lookup_dir(image.path()));
            for start in ["first", "second"] {
                let opened = LocalIndex::open(&options(image.path()))
                    .unwrap_or_else(|e| panic!("{name}, {how}, {start} start: {e}"));
                assert_eq!(
                    contents(&opened.index).await,
                    files,
                    "{name}, {how}, {start}"
                );
                opened.index.close().await.unwrap();
            }
            lookup_dir(image.path());
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_when_any_part_of_the_lookup_database_is_overwritten() {
    let (closed, files) = closed_index().await;
    let running = LocalIndex::open(&options(closed.path())).unwrap();
    let crashed = crash_image(closed.path());
    running.index.close().await.unwrap();
    let len = fs::metadata(lookup_dir(crashed.path()).join("db"))
        .unwrap()
        .len();
    for step in 0..64 {
        let image = crash_image(crashed.path());
        let at = usize::try_from(len * step / 64 + 7).unwrap();
        flip(&lookup_dir(image.path()).join("db"), at);
        let opened = LocalIndex::open(&options(image.path())).unwrap();
        assert_eq!(contents(&opened.index).await, files, "byte {at} of {len}");
        opened.index.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_older_or_a_foreign_lookup_database_is_brought_up_or_thrown_away() {
    let (dir, _) = closed_index().await;
    let older = crash_image(dir.path());
    let index = LocalIndex::open(&options(dir.path())).unwrap().index;
    put(&index, 300..350).await;
    let files = contents(&index).await;
    index.close().await.unwrap();
    let (foreign, _) = closed_index().await;
    for other in [older, foreign] {
        let image = crash_image(dir.path());
        fs::remove_dir_all(lookup_dir(image.path())).unwrap();
        copy(&other.path().join("index"), &image.path().join("index")).unwrap();
        let opened = LocalIndex::open(&options(image.path())).unwrap();
        assert_eq!(contents(&opened.index).await, files);
    }
}

#[tokio::test]
async fn a_lookup_database_that_breaks_under_a_running_node_is_made_anew() {
    let (dir, files) = closed_index().await;
    let mut options = options(dir.path());
    // So small that lookups have to read the file.
    options.cache_bytes = 256;
    let index = LocalIndex::open(&options).unwrap().index;
    let db = lookup_dir(dir.path()).join("db");
    let len = fs::metadata(&db).unwrap().len();
    let mut generation_changed = false;
    for _ in 0..20 {
        fs::write(&db, vec![0xee; usize::try_from(len).unwrap()]).unwrap();
        assert_eq!(contents(&index).await, files);
        generation_changed |= !db.exists();
        if generation_changed {
            break;
        }
        put(&index, 0..1).await.pop().map(|file| file.id);
        let newest = all(&index).await.pop().unwrap();
        index.remove(newest.id).await.unwrap().unwrap();
    }
    assert!(generation_changed, "the damage was met");
    index.close().await.unwrap();
    let index = LocalIndex::open(&options).unwrap().index;
    assert_eq!(contents(&index).await, files);
}

#[tokio::test]
async fn a_torn_end_of_the_journal_is_cut_off() {
    let (dir, files) = closed_index().await;
    let last = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&last).unwrap();
    // A batch that a crash cut off at any byte is no batch; nor are zeros.
    let batch = b"LJB1\0\0\0\0\x20\0\0\0\x01\0\0\0whatever may follow in it";
    for torn in (1..batch.len())
        .map(|len| batch[..len].to_vec())
        .chain([vec![0; 5000]])
    {
        let image = crash_image(dir.path());
        let last = image.path().join("journal").join(last.file_name().unwrap());
        fs::write(&last, [&whole[..], &torn].concat()).unwrap();
        let index = LocalIndex::open(&options(image.path())).unwrap().index;
        assert_eq!(contents(&index).await, files);
        assert_eq!(fs::read(&last).unwrap(), whole);
    }
}

#[tokio::test]
async fn a_damaged_middle_of_the_journal_stops_the_start_and_says_where() {
    let (dir, _) = closed_index().await;
    let paths = segments(dir.path());
    assert!(paths.len() >= 3, "{paths:?}");
    for path in &paths {
        let len = fs::read(path).unwrap().len();
        for at in (0..len).step_by(len / 7 + 1) {
            let image = crash_image(dir.path());
            let name = path.file_name().unwrap();
            flip(&image.path().join("journal").join(name), at);
            fs::remove_dir_all(image.path().join("index")).unwrap();
            let last_batch = path == paths.last().unwrap();
            match LocalIndex::open(&options(image.path())) {
                Err(IndexError::Damaged { path, offset, .. }) => {
                    assert_eq!(path.file_name(), Some(name));
                    assert!(offset <= at as u64, "{offset} is not behind {at}");
                }
                // What nothing follows looks like a torn end once the database is gone too.
                Ok(_) => assert!(last_batch, "byte {at} of {path:?}"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Where the copy of the last batch is.
fn copy_of_last(dir: &Path) -> PathBuf {
    dir.join("journal/last-batch")
}

/// Cuts bytes off the end of a file.
fn cut(path: &Path, bytes: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes)
        .unwrap();
}

/// What is done to a path, and what that is called.
type Change<'a> = (&'a str, &'a dyn Fn(&Path));

#[tokio::test]
async fn what_the_end_of_the_journal_has_lost_is_taken_back_from_its_copy_or_the_database() {
    let (dir, files) = closed_index().await;
    let last = segments(dir.path()).pop().unwrap();
    let name = Path::new("journal").join(last.file_name().unwrap());
    let len = fs::metadata(&last).unwrap().len();
    let without_database = |dir: &Path| fs::remove_dir_all(dir.join("index")).unwrap();
    let without_copy = |dir: &Path| fs::remove_file(copy_of_last(dir)).unwrap();
    let without_copy_and_seal = |dir: &Path| {
        without_copy(dir);
        fs::remove_file(dir.join("index.seal")).unwrap();
    };
    // A byte is cut off, the last batch, several batches, or the whole segment; or a bit flips.
    let damages: [Change<'_>; 6] = [
        ("a byte", &|path| cut(path, 1)),
        ("a few bytes", &|path| cut(path, 30)),
        ("a flip", &|path| {
            flip(path, usize::try_from(len).unwrap() - 5);
        }),
        ("half", &|path| cut(path, len / 2)),
        ("all but the header", &|path| cut(path, len - 64)),
        ("the segment", &|path| fs::remove_file(path).unwrap()),
    ];
    for (what, damage) in damages {
        let helps: [Change<'_>; 4] = [
            ("everything else is there", &|_| {}),
            ("without the database", &without_database),
            ("without the copy", &without_copy),
            ("without copy and seal", &without_copy_and_seal),
        ];
        for (with, prepare) in helps {
            let image = crash_image(dir.path());
            damage(&image.path().join(&name));
            prepare(image.path());
            let opened = LocalIndex::open(&options(image.path()));
            let lost_more = !matches!(what, "a byte" | "a few bytes" | "a flip");
            if with == "without the database" && lost_more {
                // The seal proves that something is missing, and nothing has it.
                damaged_at(opened);
                continue;
            }
            let opened = opened.unwrap();
            assert!(opened.damaged, "{what}, {with}");
            assert_eq!(contents(&opened.index).await, files, "{what}, {with}");
            put(&opened.index, 0..3).await;
            opened.index.close().await.unwrap();
            // Mended once, and for good.
            let opened = LocalIndex::open(&options(image.path())).unwrap();
            assert!(!opened.damaged && !opened.clean, "{what}, {with}");
            assert_eq!(contents(&opened.index).await.len(), files.len() + 3);
            opened.index.close().await.unwrap();
            assert!(LocalIndex::open(&options(image.path())).unwrap().clean);
        }
    }
}

#[tokio::test]
async fn what_was_removed_last_does_not_come_back_when_the_journal_has_lost_that() {
    let (dir, mut files) = closed_index().await;
    let index = LocalIndex::open(&options(dir.path())).unwrap().index;
    let removed = files.swap_remove(100);
    files.sort_by_key(|file| file.id);
    index.remove(removed.id).await.unwrap().unwrap();
    // One more leaves no trace in the database.
    let brief = put(&index, 7..8).await;
    index.remove(brief[0].id).await.unwrap().unwrap();
    index.close().await.unwrap();
    let last = segments(dir.path()).pop().unwrap();
    let removal = 36 + 4 + 2 + 16 + 17;
    for with_copy in [true, false] {
        for bytes in [1, removal, 2 * removal + 100] {
            let image = crash_image(dir.path());
            if !with_copy {
                fs::remove_file(copy_of_last(image.path())).unwrap();
            }
            cut(
                &image.path().join("journal").join(last.file_name().unwrap()),
                bytes,
            );
            let opened = LocalIndex::open(&options(image.path())).unwrap();
            assert_eq!(contents(&opened.index).await, files, "{with_copy} {bytes}");
            assert!(opened.damaged);
        }
    }
}

#[tokio::test]
async fn an_end_that_nothing_can_mend_is_told_and_nothing_is_made_up() {
    let (dir, files) = closed_index().await;
    let last = segments(dir.path()).pop().unwrap();
    let name = Path::new("journal").join(last.file_name().unwrap());
    let image = crash_image(dir.path());
    cut(&image.path().join(&name), 1);
    fs::remove_dir_all(image.path().join("index")).unwrap();
    fs::remove_file(copy_of_last(image.path())).unwrap();
    let sealed = crash_image(image.path());
    assert_eq!(
        damaged_at(LocalIndex::open(&options(sealed.path()))).0,
        sealed.path().join(&name)
    );
    // After a power cut it may also be a change that nobody was told of.
    fs::remove_file(image.path().join("index.seal")).unwrap();
    let mut found = Vec::new();
    drop(verify(&options(image.path()), &mut |it| found.push(it)).unwrap());
    let told = |it: &IndexFinding| matches!(it, IndexFinding::Journal(_));
    assert!(found.iter().any(told), "{found:?}");
    let opened = LocalIndex::open(&options(image.path())).unwrap();
    let left = contents(&opened.index).await;
    // What it has lost is a removal.
    assert_eq!(left.len(), files.len() + 1);
    assert!(files.iter().all(|file| left.contains(file)));
}

#[tokio::test]
async fn a_write_that_nobody_was_told_of_is_no_damage() {
    let (dir, files) = closed_index().await;
    let last = segments(dir.path()).pop().unwrap();
    fs::remove_file(dir.path().join("index.seal")).unwrap();
    let whole = fs::read(&last).unwrap();
    fs::write(&last, [&whole[..], b"LJB1 and so on"].concat()).unwrap();
    let opened = LocalIndex::open(&options(dir.path())).unwrap();
    assert!(!opened.damaged && !opened.clean);
    assert_eq!(contents(&opened.index).await, files);
}

#[tokio::test]
async fn a_journal_without_its_beginning_or_middle_stops_the_start() {
    let (dir, _) = closed_index().await;
    let paths = segments(dir.path());
    for missing in [&paths[0], &paths[1]] {
        let image = crash_image(dir.path());
        let name = missing.file_name().unwrap();
        fs::remove_file(image.path().join("journal").join(name)).unwrap();
        damaged_at(LocalIndex::open(&options(image.path())));
    }
}

#[tokio::test]
async fn a_damaged_seal_is_no_seal_and_never_a_reason_to_refuse() {
    let (dir, files) = closed_index().await;
    let seal = fs::read(dir.path().join("index.seal")).unwrap();
    let cut = (0..seal.len()).step_by(5).map(|len| seal[..len].to_vec());
    let flipped = (0..seal.len()).map(|at| {
        let mut bytes = seal.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    for damaged in cut.chain(flipped) {
        let image = crash_image(dir.path());
        fs::write(image.path().join("index.seal"), &damaged).unwrap();
        let mut found = Vec::new();
        drop(verify(&options(image.path()), &mut |it| found.push(it)).unwrap());
        assert!(matches!(found[..], [IndexFinding::Seal]), "{found:?}");
        let opened = LocalIndex::open(&options(image.path())).unwrap();
        assert!(opened.damaged && !opened.clean);
        assert_eq!(contents(&opened.index).await, files);
    }
}

#[tokio::test]
async fn a_seal_of_an_older_larder_counts_where_the_database_says_the_same() {
    let (dir, files) = closed_index().await;
    let path = dir.path().join("index.seal");
    let new = fs::read(&path).unwrap();
    let old = [b"larderS1", &new[8..56]].concat();
    for at in [None, Some(8), Some(16), Some(20), Some(30)] {
        let image = crash_image(dir.path());
        let mut bytes = old.clone();
        if let Some(at) = at {
            bytes[at] ^= 4;
        }
        fs::write(image.path().join("index.seal"), &bytes).unwrap();
        let opened = LocalIndex::open(&options(image.path())).unwrap();
        assert_eq!(opened.clean, at.is_none(), "{at:?}");
        assert_eq!(contents(&opened.index).await, files);
    }
}

#[tokio::test]
async fn a_rebuild_takes_the_journal_alone_and_skips_damage_only_when_told() {
    let (dir, files) = closed_index().await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let rebuilt = rebuild(&options(dir.path()), false).unwrap();
    assert_eq!(rebuilt.totals.files, files.len() as u64);
    assert_eq!(rebuilt.skipped, []);
    let opened = LocalIndex::open(&options(dir.path())).unwrap();
    assert!(opened.clean);
    assert_eq!(contents(&opened.index).await, files);
    opened.index.close().await.unwrap();

    let second = &segments(dir.path())[1];
    flip(second, 2000);
    assert!(matches!(
        rebuild(&options(dir.path()), false),
        Err(IndexError::Damaged { .. })
    ));
    let with_database = crash_image(dir.path());
    let rebuilt = rebuild(&options(with_database.path()), true).unwrap();
    assert!(
        !rebuilt.skipped.is_empty() && rebuilt.lost.is_none(),
        "{rebuilt:?}"
    );
    let opened = LocalIndex::open(&options(with_database.path())).unwrap();
    assert!(opened.clean && opened.lost.is_none());
    assert_eq!(contents(&opened.index).await, files);

    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let rebuilt = rebuild(&options(dir.path()), true).unwrap();
    assert!(rebuilt.lost.is_some(), "{rebuilt:?}");
    // Where a segment ends with the damage, also the entries it held are missed.
    assert!(matches!(rebuilt.skipped.len(), 1 | 2), "{rebuilt:?}");
    let index = LocalIndex::open(&options(dir.path())).unwrap().index;
    let left = contents(&index).await;
    // What the damage took may have been the removal of a file, too.
    assert!(!left.is_empty() && left != files, "{rebuilt:?}");
    assert!(second.with_extension("damaged").is_file());
    put(&index, 0..10).await;
    let left = contents(&index).await;
    index.close().await.unwrap();
    let index = LocalIndex::open(&options(dir.path())).unwrap().index;
    assert_eq!(contents(&index).await, left);
}

#[tokio::test]
async fn compaction_gives_space_back_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.compact_entries = 500;
    let index = LocalIndex::open(&options).unwrap().index;
    let kept = put(&index, 0..100).await;
    let mut largest = 0;
    for _ in 0..20 {
        let files = put(&index, 0..200).await;
        let image = crash_image(dir.path());
        for file in &files {
            index.remove(file.id).await.unwrap().unwrap();
        }
        let size = |path: PathBuf| fs::metadata(path).map_or(0, |m| m.len());
        largest = largest.max(segments(dir.path()).into_iter().map(size).sum::<u64>());
        let crashed = LocalIndex::open(&self::options(image.path()))
            .unwrap()
            .index;
        assert_eq!(contents(&crashed).await.len(), 300);
    }
    assert_eq!(contents(&index).await, kept);
    index.close().await.unwrap();
    // 8,100 entries of some 190 bytes, were none given back.
    assert!(largest < 400_000, "{largest}");
    let index = LocalIndex::open(&options).unwrap().index;
    assert_eq!(contents(&index).await, kept);
}

#[tokio::test]
async fn verify_finds_nothing_in_a_good_index_and_each_difference_in_a_bad_one() {
    let (dir, files) = closed_index().await;
    let mut found = Vec::new();
    let journaled = verify(&options(dir.path()), &mut |finding| found.push(finding)).unwrap();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(journaled.totals().files, files.len() as u64);
    drop(journaled);
    assert!(
        LocalIndex::open(&options(dir.path())).unwrap().clean,
        "the seal is as it was"
    );

    // A lookup database from elsewhere: of the same journal, but ahead of it.
    let (dir, files) = closed_index().await;
    let ahead = crash_image(dir.path());
    let index = LocalIndex::open(&options(ahead.path())).unwrap().index;
    index.remove(files[5].id).await.unwrap();
    index.close().await.unwrap();
    let other = LocalIndex::open(&options(dir.path())).unwrap().index;
    let added = put(&other, 400..401).await;
    other.close().await.unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy(&ahead.path().join("index"), &dir.path().join("index")).unwrap();
    let mut found = Vec::new();
    verify(&options(dir.path()), &mut |finding| found.push(finding)).unwrap();
    let missing = |id| {
        found
            .iter()
            .any(|f| matches!(f, IndexFinding::Missing(r) if r.id == id))
    };
    assert!(missing(files[5].id) && missing(added[0].id), "{found:?}");
    let unsealed = |it: &IndexFinding| matches!(it, IndexFinding::Unsealed);
    assert!(found.len() == 3 && found.iter().any(unsealed), "{found:?}");
    // The check does not vouch for what it found wanting.
    let index = LocalIndex::open(&options(dir.path())).unwrap().index;
    let contents = contents(&index).await;
    assert!(contents.contains(&files[5]) && contents.contains(&added[0]));
}

#[tokio::test]
async fn a_rebuild_after_a_crash_leaves_the_next_start_to_put_things_in_order() {
    let (dir, files) = closed_index().await;
    let running = LocalIndex::open(&options(dir.path())).unwrap();
    let image = crash_image(dir.path());
    running.index.close().await.unwrap();
    rebuild(&options(image.path()), false).unwrap();
    let opened = LocalIndex::open(&options(image.path())).unwrap();
    assert!(!opened.clean);
    assert_eq!(contents(&opened.index).await, files);
}

#[tokio::test]
async fn a_sealed_end_of_the_journal_is_missed_under_relaxed_durability_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.durability = Durability::Relaxed;
    let index = LocalIndex::open(&options).unwrap().index;
    put(&index, 0..10).await;
    index.close().await.unwrap();
    let last = segments(dir.path()).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 1]).unwrap();
    // Nothing is left by which it could be mended.
    fs::remove_file(copy_of_last(dir.path())).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    for start in ["first", "second"] {
        assert_eq!(damaged_at(LocalIndex::open(&options)).0, last, "{start}");
    }
    assert_eq!(
        fs::read(&last).unwrap().len(),
        bytes.len() - 1,
        "nothing was cut off"
    );
}

#[tokio::test]
async fn as_many_of_the_longest_records_as_come_at_once_can_be_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path(), Arc::new(RealDisk), Durability::Always);
    let index = LocalIndex::open(&options).unwrap().index;
    let longest = NewFile {
        name: "n".repeat(MAX_NAME_BYTES),
        content_type: Some("t".repeat(MAX_CONTENT_TYPE_BYTES)),
        description: "d".repeat(MAX_DESCRIPTION_BYTES),
        ..file(0)
    };
    let longer = NewFile {
        name: "n".repeat(MAX_NAME_BYTES + 1),
        ..longest.clone()
    };
    assert!(matches!(
        add(&index, longer).await,
        Err(IndexError::TooLong)
    ));
    let puts = (0..300).map(|_| add(&index, longest.clone()));
    futures_util::future::try_join_all(puts).await.unwrap();
    index.close().await.unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let index = LocalIndex::open(&options).unwrap().index;
    assert_eq!(index.totals().files, 300);
}
