//! Using a real store, and checking all it holds.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use larder::blob::local::LONGEST_IN_PACKS;
use larder::disk::{Disk, Durability};
use larder::hash::BlobHash;
use larder::record::FileRecord;
use larder::store::local::{LocalStore, Options};
use larder::store::{About, Store, StoreError};

use super::encoded::verified;
use super::packs::blobs_in_packs;

pub(crate) fn options(dir: &Path, disk: Arc<dyn Disk>, durability: Durability) -> Options {
    Options {
        disk,
        durability,
        reserve: 0,
        ..Options::new(dir)
    }
}

/// Uploads content in pieces, as the network would bring it.
pub(crate) async fn upload(
    store: &Store,
    name: &str,
    bytes: &[u8],
) -> Result<FileRecord, StoreError> {
    let mut receiving = store.receive().await?;
    for piece in bytes.chunks(40_000) {
        receiving.write(Bytes::copy_from_slice(piece)).await?;
    }
    let about = About {
        name: name.to_owned(),
        ..About::default()
    };
    store.ingest(receiving.finish().await?, about).await
}

/// Starts a store as a node does.
pub(crate) async fn start(options: Options) -> LocalStore {
    let opened = LocalStore::open(options).await.unwrap();
    if opened.crashed {
        opened.store.collect_all().await.unwrap();
    }
    opened
}

/// Every file of a store, after reading each and comparing it with its hash.
pub(crate) async fn whole_files(store: &Store) -> Vec<FileRecord> {
    let files = store.page(None, 1_000).await.unwrap();
    for FileRecord { file, .. } in &files {
        let blob = store.open(&file.hash).await.unwrap();
        let blob = blob.unwrap_or_else(|| panic!("{} has no bytes", file.name));
        let pieces: Vec<_> = blob.read(0..blob.size()).try_collect().await.unwrap();
        let bytes = pieces.concat();
        assert_eq!(bytes.len() as u64, file.size, "{}", file.name);
        assert_eq!(BlobHash::of(&bytes), file.hash, "{}", file.name);
    }
    files
}

/// The same, after checking that nothing else is in its directory and its counts are right.
pub(crate) async fn checked_files(store: &Store, dir: &Path) -> Vec<FileRecord> {
    let files = whole_files(store).await;
    let needed = files.iter().map(|record| record.file.hash.to_string());
    let needed: BTreeSet<_> = needed.collect();
    let mut blobs = names_in_shards(&dir.join("blobs"));
    blobs.extend(blobs_in_packs(dir));
    assert_eq!(blobs, needed);
    assert_proven(store, &files).await;
    let long = files.iter().filter(|it| it.file.size > LONGEST_IN_PACKS);
    let long: BTreeSet<_> = long.map(|it| it.file.hash.to_string()).collect();
    assert_eq!(names_in_shards(&dir.join("outboards")), long);
    assert_eq!(names_in(&dir.join("spool")), BTreeSet::new());
    assert_eq!(store.totals().files, files.len() as u64);
    assert_eq!(store.totals().blobs, needed.len() as u64);
    files
}

/// Reads each file as another node does, which checks what its outboard proves.
async fn assert_proven(store: &Store, files: &[FileRecord]) {
    for FileRecord { file, .. } in files {
        let blob = store.open(&file.hash).await.unwrap().unwrap();
        let all = 0..file.size;
        let pieces: Vec<_> = blob.encoded(all.clone()).try_collect().await.unwrap();
        let (proven, ended) = verified(file.hash, file.size, all, pieces);
        assert_eq!(ended, Ok(()), "{}", file.name);
        assert_eq!(proven.len() as u64, file.size, "{}", file.name);
    }
}

fn names_in_shards(dir: &Path) -> BTreeSet<String> {
    let shards = names_in(dir).into_iter();
    let names = shards.flat_map(|shard| names_in(&dir.join(shard)));
    names.collect()
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}
