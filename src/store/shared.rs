//! A store over a database and a bucket that several nodes share, with a directory of this node's
//! own for what it remembers and for what is on its way.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Store;
use super::belonging::bring_together;
use super::directory::{Directory, DirectoryError};
use super::local;
use super::servers_note;
pub use super::shared_error::OpenError;
use super::shared_medium::SharedMedium;
use super::storage::Storage;
use super::sweep::Sweeping;
use crate::blob::local::LocalBlobs;
use crate::blob::s3::{self, S3Blobs};
use crate::blocking;
use crate::disk::DiskError;
use crate::index::postgres::{self, PostgresIndex};
use crate::metrics::servers::Servers;
use crate::small_state::local::LocalState;
use crate::upload_rows::Ledger;

/// What a storage directory that keeps files itself begins with.
const JOURNAL: &str = "journal";

/// Where a shared store is kept.
pub struct Options {
    /// This node's own directory, and what holds wherever content is.
    pub own: local::Options,
    /// The database that keeps what is known of files.
    pub index: postgres::Options,
    /// The bucket that keeps their content.
    pub blobs: s3::Options,
    /// How often one of the nodes looks for what no row knows in the bucket.
    pub sweep_every: Duration,
    /// How old that has to be: far older than anybody may be late.
    pub sweep_age: Duration,
}

/// A store that this node shares with others.
pub struct SharedStore {
    /// The store.
    pub store: Store,
    /// What this node remembers, and no other does.
    pub state: Arc<LocalState>,
    index: Arc<PostgresIndex>,
    _sweeping: JoinSet<()>,
    /// While it lives, no other process uses the directory.
    _directory: Directory,
}

impl SharedStore {
    /// Opens it, and makes what it needs in the database and in the directory the first time.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let Options {
            own,
            mut index,
            blobs,
            sweep_every,
            sweep_age,
        } = options;
        index.quota = own.quota;
        let (dir, disk) = (own.dir.clone(), Arc::clone(&own.disk));
        let scratch = blobs.scratch.clone();
        let opening = move || -> Result<_, OpenError> {
            check_no_files(&own.dir)?;
            let directory = Directory::open_any(&own.dir, &own.disk)?;
            let made = fs::create_dir_all(&scratch);
            made.map_err(|it| DirectoryError::from(DiskError::new("create", &scratch, it)))?;
            Ok((directory, LocalBlobs::open(own.blobs())?, own))
        };
        let (directory, scratch, own) = blocking::run(opening).await?;
        tracing::info!(bucket = blobs.bucket, prefix = blobs.prefix, database = %index,
            "files are kept for several nodes");
        let bucket = blobs.url();
        let index = Arc::new(PostgresIndex::open(&index).await?);
        if index.is_moving().await? {
            return Err(OpenError::Moving);
        }
        let ledger = Arc::new(Ledger::new(index.uploads()));
        let blobs = S3Blobs::open(blobs, Arc::new(scratch)).await?;
        bring_together(&index, &blobs, &bucket).await?;
        note_servers(&own, &bucket).await?;
        let blobs = blobs.with_uploads(Arc::clone(&ledger));
        let blobs = Arc::new(blobs.with_packs(index.packs()));
        let servers = Servers {
            bucket: blobs.requests(),
            database: index.requests(),
        };
        let sweeping = Sweeping {
            index: Arc::clone(&index),
            blobs: Arc::clone(&blobs),
            every: sweep_every,
            age: sweep_age,
        };
        let mut store = store_of(&index, blobs, &own);
        store.ledger = Some(ledger);
        store.storage = Arc::new(storage(&dir, bucket, servers));
        Ok(Self {
            store,
            state: Arc::new(LocalState::new(dir, disk)),
            index,
            _sweeping: sweeping.begin(),
            _directory: directory,
        })
    }

    /// The secret key by which all nodes that share the store are one peer: `made` where none of
    /// them has kept one.
    pub async fn key(&self, made: [u8; 32]) -> Result<[u8; 32], OpenError> {
        Ok(self.index.fleet_key(made).await?)
    }
}

/// A store over both that other nodes have, too.
fn store_of(index: &Arc<PostgresIndex>, blobs: Arc<S3Blobs>, own: &local::Options) -> Store {
    let medium = SharedMedium {
        index: Arc::clone(index),
        blobs: Arc::clone(&blobs),
    };
    let mut store = local::limited(Store::new(blobs, Arc::clone(index) as _), own);
    store.is_shared = true;
    store.probe = Some(Arc::default());
    store.most_readers = Some(s3::MOST_READERS);
    store.keeps = Some(index.keeps());
    store.peers = Some(index.peers());
    store.care = Some(index.care());
    store.medium = Some(Arc::new(medium));
    store
}

/// What is told of where files are kept.
fn storage(own: &Path, bucket: String, servers: Servers) -> Storage {
    Storage {
        dir: Some(own.to_owned()),
        bucket: Some(bucket),
        verifies_reads: true,
        servers: Some(servers),
        ..Storage::default()
    }
}

/// Notes in this node's directory where its files are.
async fn note_servers(own: &local::Options, bucket: &str) -> Result<(), DirectoryError> {
    let (dir, disk, bucket) = (own.dir.clone(), Arc::clone(&own.disk), bucket.to_owned());
    Ok(blocking::run(move || servers_note::write(&dir, &*disk, &bucket)).await?)
}

/// Fails where a directory keeps files itself: all content in that of a node which shares its files
/// is on its way to the bucket, and what a crash has left of it is removed at a start. Blocks.
fn check_no_files(dir: &Path) -> Result<(), OpenError> {
    match dir.join(JOURNAL).symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(DirectoryError::from(DiskError::new("look at", dir, e)).into()),
        Ok(_) => Err(OpenError::HasFiles(dir.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::About;
    use crate::store::local::LocalStore;

    #[tokio::test]
    async fn a_directory_that_keeps_files_itself_is_refused_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let own = local::Options::new(dir.path());
        let opened = LocalStore::open(own.clone()).await.unwrap();
        let mut records = Vec::new();
        for content in [vec![7; 10], vec![8; 100_000]] {
            let mut receiving = opened.store.receive().await.unwrap();
            receiving.write(content.into()).await.unwrap();
            let content = receiving.finish().await.unwrap();
            records.push(
                opened
                    .store
                    .ingest(content, About::default())
                    .await
                    .unwrap(),
            );
        }
        opened.store.close().await.unwrap();
        drop(opened);
        let options = Options {
            own: own.clone(),
            index: postgres::Options::new("postgres://127.0.0.1:1/none").unwrap(),
            blobs: s3::Options::new("none", "", dir.path()),
            sweep_every: Duration::MAX,
            sweep_age: Duration::MAX,
        };
        let refused = SharedStore::open(options).await.err();
        assert!(
            matches!(refused, Some(OpenError::HasFiles(_))),
            "{refused:?}"
        );
        let opened = LocalStore::open(own).await.unwrap();
        for record in records {
            let blob = opened.store.open_file(&record).await.unwrap().unwrap();
            blob.prove().await.unwrap();
        }
    }
}
