//! The requests to a bucket, and what their failures mean: whatever is no answer about an object
//! means that the store is out of reach.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    BackoffConfig, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};
use uuid::Uuid;

use super::connector::{self, Connector};
use super::credentials::Checked;
use super::options::{Options, StoreError};
use crate::blob::BlobError;
use crate::metrics::servers::BucketRequests;
use crate::place::Place;
use crate::unavailable::Unavailable;

/// Where contents are, under the prefix.
pub(super) const BLOBS: &str = "blobs";
/// Where the parts of uploads are that any node goes on with.
pub(super) const UPLOADING: &str = "uploading";
/// Where is what proves them.
pub(super) const OUTBOARDS: &str = "outboards";
/// What is written to find out whether that can be done.
pub(super) const TRIALS: &str = "trials";
/// After how long it is worth to ask again.
const RETRY: Duration = Duration::from_secs(5);
/// How often a request is tried again.
const RETRIES: usize = 3;

/// Nothing there says that larder writes to it.
#[derive(Debug, thiserror::Error)]
#[error("its `larder-format` is gone, so it was emptied, or is another one")]
struct Unmarked;

/// A bucket, under a prefix.
pub(super) struct Bucket {
    pub(super) store: AmazonS3,
    pub(super) client: reqwest::Client,
    pub(super) requests: Arc<BucketRequests>,
    prefix: Path,
    /// What it is, for the log.
    name: String,
}

impl Bucket {
    /// The bucket of these settings. Nothing is asked of it yet. Blocks.
    pub(super) fn new(options: &Options) -> Result<Self, StoreError> {
        let client = connector::client(options.request_timeout, options.tls.as_deref())?;
        let requests = Arc::<BucketRequests>::default();
        let mut builder = AmazonS3Builder::new();
        for (name, value) in &options.variables {
            let known = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
            if let Ok(key) = known {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let builder = builder
            .with_bucket_name(&options.bucket)
            // Contents are proven when they are read, and their MD5 goes with them.
            .with_unsigned_payload(true)
            .with_allow_http(true)
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(2),
                    base: 3.0,
                },
                max_retries: RETRIES,
                retry_timeout: options.retry_within,
            })
            .with_http_connector(Connector::new(
                client.clone(),
                options.request_timeout,
                Arc::clone(&requests),
            ));
        let given = Arc::clone(builder.clone().build()?.credentials());
        let store = builder.with_credentials(Arc::new(Checked::new(given, options)));
        let store = store.build()?;
        let prefix = Path::parse(options.prefix.trim_matches('/'));
        let prefix = prefix.map_err(|error| StoreError::Settings(error.into()))?;
        let name = format!("the bucket {}", options.bucket);
        Ok(Self {
            store,
            client,
            requests,
            prefix,
            name,
        })
    }

    /// The key of the object that is kept for a place.
    pub(super) fn key(&self, folder: &str, place: Place) -> Path {
        self.folder(folder).join(place.object().to_string())
    }

    pub(super) fn folder(&self, folder: &str) -> Path {
        self.prefix.clone().join(folder)
    }

    /// What all keys begin with.
    pub(super) fn root(&self) -> &Path {
        &self.prefix
    }

    /// The key of an object of no meaning, which nobody else has.
    pub(super) fn trial(&self) -> Path {
        self.folder(TRIALS).join(Uuid::new_v4().to_string())
    }

    /// The bytes of an object from `start` on, at most up to `end`, with the size of all of it, in
    /// bytes; None where there is none. No bytes are there behind its end.
    pub(super) async fn get(
        &self,
        key: &Path,
        start: u64,
        end: u64,
    ) -> Result<Option<(Bytes, u64)>, BlobError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..end)),
            ..GetOptions::default()
        };
        let got = async {
            let answer = self.store.get_opts(key, options).await?;
            let (size, range) = (answer.meta.size, answer.range.clone());
            Ok((answer.bytes().await?, size, range))
        };
        match got.await {
            Ok((bytes, size, range)) if bytes.len() as u64 == range.end - range.start => {
                Ok(Some((bytes, size)))
            }
            Ok(_) => Err(self.away("an answer was cut short".into())),
            Err(object_store::Error::NotFound { .. }) => self.check_mark().await.map(|()| None),
            // Of nothing there is no range.
            Err(error) if is_about_range(&error) => match self.size(key).await? {
                Some(size) if size <= start => Ok(Some((Bytes::new(), size))),
                _ => Err(self.away(error.into())),
            },
            Err(error) => Err(self.away(error.into())),
        }
    }

    /// The size of an object, in bytes; None where there is none.
    pub(super) async fn size(&self, key: &Path) -> Result<Option<u64>, BlobError> {
        match self.store.head(key).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => self.check_mark().await.map(|()| None),
            Err(error) => Err(self.away(error.into())),
        }
    }

    /// Writes an object, in place of any that is there.
    pub(super) async fn put(&self, key: &Path, bytes: Bytes) -> Result<(), BlobError> {
        let put = self.store.put(key, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|error| self.away(error.into()))
    }

    /// Deletes an object; that there is none is fine.
    pub(super) async fn delete(&self, key: &Path) -> Result<(), BlobError> {
        match self.store.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.away(error.into())),
        }
    }

    /// Every place with an object in a folder, and its size in bytes, in the order of the keys.
    pub(super) fn list(
        self: &Arc<Self>,
        folder: &str,
    ) -> BoxStream<'static, Result<(Place, u64), BlobError>> {
        let bucket = Arc::clone(self);
        let listed = self.store.list(Some(&self.folder(folder)));
        listed
            .map_err(move |error| bucket.away(error.into()))
            .try_filter_map(|object| {
                let name = object.location.filename();
                // Whatever is called otherwise is somebody else's.
                let place = name.and_then(|it| it.parse::<Place>().ok());
                future::ok(place.map(|place| (place, object.size)))
            })
            .boxed()
    }

    /// Deletes every object in a folder.
    pub(super) async fn clear(&self, folder: &Path) -> Result<(), BlobError> {
        let listed = self.store.list(Some(folder));
        let listed: Vec<_> = listed
            .map_err(|error| self.away(error.into()))
            .try_collect()
            .await?;
        for object in listed {
            self.delete(&object.location).await?;
        }
        Ok(())
    }

    /// Begins an object that comes in parts, and tells the id of that.
    pub(super) async fn begin(&self, key: &Path) -> Result<String, BlobError> {
        let begun = self.store.create_multipart(key).await;
        begun.map_err(|error| self.away(error.into()))
    }

    /// Writes a part, which is durable then, and counts from 0.
    pub(super) async fn put_part(
        &self,
        key: &Path,
        id: &String,
        number: usize,
        bytes: Bytes,
    ) -> Result<PartId, BlobError> {
        let part = PutPayload::from_bytes(bytes);
        let put = self.store.put_part(key, id, number, part).await;
        put.map_err(|error| self.away(error.into()))
    }

    /// Makes an object of its parts, which then has `size` bytes, and nobody but the caller writes
    /// to. What the store says of it counts less than that it is there.
    pub(super) async fn complete(
        &self,
        key: &Path,
        id: &String,
        parts: Vec<PartId>,
        size: u64,
    ) -> Result<(), BlobError> {
        let completed = self.store.complete_multipart(key, id, parts).await;
        if self.size(key).await? == Some(size) {
            return Ok(());
        }
        Err(match completed {
            Ok(_) => self.away("an object that was acknowledged is not there".into()),
            Err(error) => self.away(error.into()),
        })
    }

    /// Gives up an object that comes in parts; that there is none is fine.
    pub(super) async fn abort(&self, key: &Path, id: &String) -> Result<(), BlobError> {
        match self.store.abort_multipart(key, id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.away(error.into())),
        }
    }

    /// Writes an object of no meaning and deletes it.
    pub(super) async fn try_to_write(&self) -> Result<(), object_store::Error> {
        let key = self.trial();
        let trial = PutPayload::from_static(b"trial");
        self.store.put(&key, trial).await?;
        match self.store.delete(&key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            deleted => deleted,
        }
    }

    /// Fails where the bucket is not the one that it was: one that was emptied, or another one of
    /// its name, tells nothing of contents, also not that they are missing.
    pub(super) async fn check_mark(&self) -> Result<(), BlobError> {
        match self.store.head(&self.mark()).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => Err(self.away(Box::new(Unmarked))),
            Err(error) => Err(self.away(error.into())),
        }
    }

    /// The error for a store that does not do what it is asked.
    pub(super) fn away(&self, source: Box<dyn std::error::Error + Send + Sync>) -> BlobError {
        BlobError::Unavailable(Unavailable {
            what: self.name.clone(),
            retry: RETRY,
            source: source.into(),
        })
    }
}

/// Whether a store has no range of an object such as was asked for.
fn is_about_range(error: &object_store::Error) -> bool {
    let said = error.to_string();
    said.contains("416") || said.contains("non-partial")
}
