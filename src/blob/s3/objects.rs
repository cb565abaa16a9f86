//! Looking through all that is in a bucket, whether anybody knows it or not.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use uuid::Uuid;

use super::S3Blobs;
use super::bucket::{BLOBS, Bucket, OUTBOARDS, TRIALS, UPLOADING};
use crate::blob::BlobError;
use crate::place::Place;

/// An object in a bucket that larder has written.
#[derive(Debug, Clone)]
pub struct Object {
    key: Path,
    /// What it is there for.
    pub purpose: Purpose,
    /// How long it is.
    pub bytes: u64,
    /// When it was written, by the clock of the store.
    pub written: DateTime<Utc>,
}

/// What an object is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// For what is kept in a place.
    Place(Place),
    /// For an upload in parts.
    Upload(Uuid),
    /// To find out whether the store takes anything.
    Trial,
}

impl Object {
    /// None where somebody else has written it.
    fn of(prefix: &Path, about: ObjectMeta) -> Option<Self> {
        let below: Vec<_> = about.location.prefix_match(prefix)?.collect();
        let below: Vec<_> = below.iter().map(AsRef::as_ref).collect();
        let purpose = match below[..] {
            [BLOBS | OUTBOARDS, place] => Purpose::Place(place.parse().ok()?),
            [UPLOADING, upload, _] => Purpose::Upload(simple(upload)?),
            [TRIALS, trial] => {
                Uuid::try_parse(trial).ok()?;
                Purpose::Trial
            }
            _ => return None,
        };
        Some(Self {
            key: about.location,
            purpose,
            bytes: about.size,
            written: about.last_modified,
        })
    }

    /// Its key in the bucket.
    pub fn key(&self) -> &str {
        self.key.as_ref()
    }
}

/// The id of an upload as keys have it.
fn simple(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.simple().to_string() == text).then_some(id)
}

impl Bucket {
    /// The time by the clock of the store, by which objects are as old as they are.
    async fn now(&self) -> Result<DateTime<Utc>, BlobError> {
        let key = self.trial();
        self.put(&key, "now".into()).await?;
        let found = self.store.head(&key).await;
        let found = found.map_err(|error| self.away(error.into()));
        self.delete(&key).await?;
        Ok(found?.last_modified)
    }
}

impl S3Blobs {
    /// Everything that larder has written to the bucket, in no order that could be relied upon.
    pub fn objects(&self) -> BoxStream<'static, Result<Object, BlobError>> {
        let bucket = Arc::clone(&self.depot.bucket);
        let prefix = bucket.root().clone();
        let listed = bucket.store.list(Some(&prefix));
        listed
            .map_err(move |error| bucket.away(error.into()))
            .try_filter_map(move |about| future::ok(Object::of(&prefix, about)))
            .boxed()
    }

    /// The time by the clock of the store.
    pub async fn now(&self) -> Result<DateTime<Utc>, BlobError> {
        self.depot.bucket.now().await
    }

    /// Whether an object is there still.
    pub async fn has(&self, object: &Object) -> Result<bool, BlobError> {
        Ok(self.depot.bucket.size(&object.key).await?.is_some())
    }

    /// Removes an object.
    pub async fn remove(&self, object: &Object) -> Result<(), BlobError> {
        self.depot.bucket.delete(&object.key).await
    }

    /// Gives up what was begun in parts so long ago that nobody goes on with it.
    pub async fn abort_old(&self) -> Result<u64, BlobError> {
        self.depot.bucket.abort_old().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose(key: &str) -> Option<Purpose> {
        let about = ObjectMeta {
            location: Path::from(key),
            last_modified: DateTime::default(),
            size: 1,
            e_tag: None,
            version: None,
        };
        Object::of(&Path::from("some/prefix"), about).map(|it| it.purpose)
    }

    #[test]
    fn what_is_named_otherwise_than_larder_names_it_is_somebody_elses() {
        let (place, upload) = (Place::numbered(7), Uuid::from_u128(7));
        let known = [
            (format!("blobs/{place}"), Purpose::Place(place)),
            (format!("outboards/{place}"), Purpose::Place(place)),
            (
                format!("uploading/{}/0-1", upload.simple()),
                Purpose::Upload(upload),
            ),
            (format!("trials/{upload}"), Purpose::Trial),
        ];
        for (key, expected) in known {
            assert_eq!(purpose(&format!("some/prefix/{key}")), Some(expected));
            assert_eq!(purpose(&format!("some/{key}")), None);
            assert_eq!(purpose(&format!("some/prefix/{key}/more")), None);
            assert_eq!(purpose(&format!("some/prefix/other/{key}")), None);
        }
        for key in [
            "larder-format".to_owned(),
            "trials/notes".to_owned(),
            "notes".to_owned(),
            "blobs/notes".to_owned(),
            format!("blobs/{place}.old"),
            format!("uploading/{upload}/0-1"),
        ] {
            assert_eq!(purpose(&format!("some/prefix/{key}")), None, "{key}");
        }
    }
}
