//! Storage directories as older larders have left them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use larder::disk::{Durability, RealDisk};
use larder::index::IndexBackend;
use larder::index::local::{LocalIndex, Options};
use tempfile::TempDir;

use super::indexing::add;

/// Unpacks an archive of `tests/fixtures` into an empty directory.
pub(crate) fn unpack_into(archive: &str, storage: &Path) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(archive);
    let status = Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .current_dir(storage)
        .status();
    assert!(status.unwrap().success());
}

/// A directory with the storage directory of an archive in it.
pub(crate) fn unpack_storage(archive: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let storage = dir.path().join("peer_storage");
    fs::create_dir(&storage).unwrap();
    unpack_into(archive, &storage);
    fs::set_permissions(&storage, Permissions::from_mode(0o700)).unwrap();
    dir
}

/// Has a storage directory of format 1, as a crash has left it, tell of so many files more, all
/// with the content of the first.
pub(crate) async fn grow(storage: &Path, files: u32) {
    let mut options = Options::new(storage, Arc::new(RealDisk), Durability::Relaxed);
    // Nothing here tells of what format 1 did not have.
    options.contents = Vec::new();
    let index = LocalIndex::open(&options).unwrap().index;
    let first = index.page(None, 1).await.unwrap().remove(0).file;
    for from in (0..files).step_by(128) {
        let some = (from..files.min(from + 128)).map(|_| add(&index, first.clone()));
        futures_util::future::try_join_all(some).await.unwrap();
    }
    index.close().await.unwrap();
    drop(index);
    std::fs::remove_dir_all(storage.join("index")).unwrap();
    std::fs::remove_file(storage.join("index.seal")).unwrap();
    for file in beside_segments(storage) {
        std::fs::remove_file(file).unwrap();
    }
}

/// What newer larders keep of the journal beside its segments.
fn beside_segments(storage: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(storage.join("journal")).unwrap();
    let paths = names.map(|it| it.unwrap().path());
    let beside = paths.filter(|it| it.extension().is_none_or(|it| it != "journal"));
    let beside_journal = std::fs::read_dir(storage).unwrap();
    let beside_journal = beside_journal.map(|it| it.unwrap().path());
    let noted = beside_journal.filter(|it| it.to_string_lossy().ends_with("journal.reached"));
    beside.chain(noted).collect()
}
