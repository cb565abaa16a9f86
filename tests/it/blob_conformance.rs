//! What every blob backend promises, held against those that need no server.

use larder::disk::Durability;

use crate::common::blob_promises::conforms;
use crate::common::by_hash::ByHash;

#[tokio::test]
async fn memory() {
    conforms(&ByHash::memory()).await;
}

#[tokio::test]
async fn local_always() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&ByHash::local(dir.path(), Durability::Always)).await;
}

#[tokio::test]
async fn local_relaxed() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&ByHash::local(dir.path(), Durability::Relaxed)).await;
}
