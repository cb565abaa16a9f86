//! A kill or a power cut after every single operation of a repair: the content is as it was and
//! known to be damaged, or whole.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use larder::blob::{BlobError, Limit, PartialId, Purpose};
use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;
use larder::store::{Store, StoreError};

use crate::common::content::content;
use crate::common::power_cut::{Simulated, Variant};
use crate::common::recording_disk::RecordingDisk;
use crate::common::stores;
use crate::common::tree::Tree;

const GROUP: usize = 16 * 1024;
/// What is wrong of it: a group in the middle, and the short one at the end.
const WRONG: [usize; 2] = [2 * GROUP + 5, 100_000];

fn bytes() -> Vec<u8> {
    content(1, 100_001)
}

fn hash() -> BlobHash {
    BlobHash::of(&bytes())
}

/// What a reader gets of it.
async fn read(store: &Store) -> Result<Vec<u8>, BlobError> {
    let blob = match store.open(&hash()).await {
        Ok(blob) => blob.unwrap(),
        Err(StoreError::Blob(error)) => return Err(error),
        Err(error) => panic!("{error}"),
    };
    let pieces: Vec<_> = blob.read(0..blob.size()).try_collect().await?;
    Ok(pieces.concat())
}

/// A storage directory with content that is damaged, and known to be.
async fn damaged() -> Tree {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let options = stores::options(dir.path(), Arc::new(RealDisk), Durability::Always);
    let opened = stores::start(options).await;
    stores::upload(&opened.store, "a", &bytes()).await.unwrap();
    let hex = hash().to_string();
    let blob = dir.path().join("blobs").join(&hex[..2]).join(&hex);
    let mut stored = bytes();
    for at in WRONG {
        stored[at] ^= 1;
    }
    std::fs::write(blob, stored).unwrap();
    assert!(matches!(
        read(&opened.store).await,
        Err(BlobError::Damaged { .. })
    ));
    opened.store.close().await.unwrap();
    let mut tree = Tree::read(dir.path());
    without_lookups(&mut tree);
    tree
}

/// The lookup database is made anew by each start: it has nothing to do with this.
fn without_lookups(tree: &mut Tree) {
    tree.0.retain(|path, _| !path.starts_with("index"));
}

/// Does what the repair of a node does, with what peers would bring.
async fn repair(store: &Store) {
    let (bytes, limit) = (bytes(), Limit::default());
    let size = bytes.len() as u64;
    let partials = store.partials(Purpose::Repairs);
    partials.prepare().await.unwrap();
    let id = PartialId::of(hash().as_bytes());
    let filling = partials.fill(&id, size, limit).await.unwrap();
    if let Some(salvage) = store.salvage(hash(), size).await {
        for (offset, right) in salvage.read(0..size).await.unwrap() {
            filling.fill(offset, vec![right]).await.unwrap();
        }
    }
    while let Some(missing) = filling.missing(0..size) {
        let range = [missing.start, missing.end].map(|it| usize::try_from(it).unwrap());
        let brought = Bytes::copy_from_slice(&bytes[range[0]..range[1]]);
        filling.fill(missing.start, vec![brought]).await.unwrap();
    }
    drop(filling);
    let whole = partials.resume(&id, size, None, limit).await.unwrap();
    let received = whole.finish().await.unwrap();
    if received.hash() == hash() {
        assert!(store.mend(received).await.unwrap());
    }
    partials.remove(&id).await.unwrap();
}

/// Whether the content is whole after a restart on what is left; fails where it is neither that nor
/// known to be damaged, or cannot be repaired.
async fn is_whole(left: &Tree) -> bool {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    left.write(dir.path());
    let options = stores::options(dir.path(), Arc::new(RealDisk), Durability::Always);
    let opened = stores::start(options).await;
    let store = &opened.store;
    let is_claimed = store.holds(&hash()).await.unwrap();
    let is_whole = match read(store).await {
        Ok(read) => {
            assert!(read == bytes());
            true
        }
        Err(BlobError::Damaged { .. }) => {
            assert!(!is_claimed, "it passed for whole");
            false
        }
        Err(error) => panic!("{error}"),
    };
    // What was gathered may be wrong after a power cut: then it begins anew.
    for _ in 0..2 {
        repair(store).await;
    }
    assert!(read(store).await.unwrap() == bytes());
    assert!(store.holds(&hash()).await.unwrap());
    store.close().await.unwrap();
    let left = std::fs::read_dir(dir.path().join("repairing")).unwrap();
    assert_eq!(left.count(), 0);
    is_whole
}

#[tokio::test]
async fn whatever_cuts_a_repair_off_leaves_the_damaged_content_or_the_whole_one() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let start = damaged().await;
    start.write(dir.path());
    let mut disk = Simulated::holding(&start);
    let recording = RecordingDisk::new(dir.path(), disk.clone(), Box::new(|| {}));
    let options = stores::options(dir.path(), recording.clone(), Durability::Always);
    let opened = stores::start(options).await;
    let begun = recording.count();
    repair(&opened.store).await;
    let acknowledged = recording.count();
    opened.store.close().await.unwrap();
    let mut states = [0, 0];
    for (done, operation) in (1..).zip(recording.operations()) {
        disk.apply(&operation);
        if done < begun || done > acknowledged {
            continue;
        }
        let mut seen = Vec::new();
        for variant in Variant::ALL {
            let mut left = disk.cut_power(variant);
            without_lookups(&mut left);
            if seen.contains(&left) {
                continue;
            }
            let whole = is_whole(&left).await;
            println!("after {done} of {acknowledged} operations, {variant:?}: {whole}");
            assert!(whole || done < acknowledged, "it was acknowledged");
            states[usize::from(whole)] += 1;
            seen.push(left);
        }
    }
    assert!(states.iter().all(|it| *it > 5), "{states:?}");
}

/// Kept together with what it proves: the damaged file is read, and never written.
#[tokio::test]
async fn what_is_right_of_damaged_content_is_told_group_by_group_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    damaged().await.write(dir.path());
    let options = stores::options(dir.path(), Arc::new(RealDisk), Durability::Always);
    let opened = stores::start(options).await;
    let bytes = bytes();
    let size = bytes.len() as u64;
    let salvage = opened.store.salvage(hash(), size).await.unwrap();
    let right = salvage.read(0..size).await.unwrap();
    let starts: Vec<_> = right.iter().map(|(offset, _)| *offset).collect();
    let expected = [0, 1, 3, 4, 5].map(|it| it * GROUP as u64);
    assert_eq!(starts, expected);
    for (offset, part) in right {
        let start = usize::try_from(offset).unwrap();
        assert!(part[..] == bytes[start..start + part.len()], "{offset}");
    }
    assert!(no_write_to(dir.path()));
    opened.store.close().await.unwrap();
}

/// Whether the damaged file is as it was.
fn no_write_to(dir: &Path) -> bool {
    let hex = hash().to_string();
    let stored = std::fs::read(dir.join("blobs").join(&hex[..2]).join(&hex)).unwrap();
    let mut expected = bytes();
    for at in WRONG {
        expected[at] ^= 1;
    }
    stored == expected
}
