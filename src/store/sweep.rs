//! Looking through the bucket that several nodes share, for objects that no row knows: what was
//! written by whoever came too late, after all that knew of it was gone.
//!
//! Only what is far older than anybody may be late is looked at, by the clock of the store. That
//! no row knows it the database decides, which has it collected as all garbage is; keys are never
//! used again, so none is needed later.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use super::StoreError;
use crate::blob::s3::{Object, ObjectPurpose, S3Blobs};
use crate::causes::with_causes;
use crate::index::IndexError;
use crate::index::postgres::PostgresIndex;

/// How many objects are looked at together.
const OBJECTS: usize = 256;
/// How often to ask whether it is time at most.
const ASK_EVERY: Duration = Duration::from_hours(1);

/// Looks through the bucket now and then, by turns with the other nodes.
pub(super) struct Sweeping {
    pub(super) index: Arc<PostgresIndex>,
    pub(super) blobs: Arc<S3Blobs>,
    /// How long after the last time.
    pub(super) every: Duration,
    /// How old what is looked at has to be.
    pub(super) age: Duration,
}

/// What was found of what no row knows, and what came of it.
#[derive(Debug, Default)]
struct Swept {
    /// Objects that are collected now.
    objects: usize,
    /// Uploads of objects in parts that nobody goes on with.
    unfinished: u64,
}

impl Sweeping {
    /// Does so until that is dropped.
    pub(super) fn begin(self) -> JoinSet<()> {
        let mut sweeping = JoinSet::new();
        sweeping.spawn(self.run());
        sweeping
    }

    async fn run(self) {
        loop {
            sleep(self.every.min(ASK_EVERY)).await;
            match self.sweep_if_due().await {
                Ok(None) => {}
                Ok(Some(Swept {
                    objects,
                    unfinished,
                })) => {
                    tracing::info!(objects, unfinished, "what no row knows of the bucket goes");
                }
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(error, "the bucket was not looked through to its end");
                }
            }
        }
    }

    /// None where it is not time, or another node does it.
    async fn sweep_if_due(&self) -> Result<Option<Swept>, StoreError> {
        let sweeper = Uuid::new_v4();
        if !self.index.begin_sweep(sweeper, self.every).await? {
            return Ok(None);
        }
        // What another database tells of, this one knows nothing of.
        if !self.is_own().await? {
            self.index.end_sweep(sweeper).await?;
            return Ok(None);
        }
        let age = TimeDelta::from_std(self.age).unwrap_or(TimeDelta::MAX);
        let before = self.blobs.now().await?.checked_sub_signed(age);
        let before = before.unwrap_or(DateTime::<Utc>::MIN_UTC);
        let (mut swept, mut listed) = (Swept::default(), self.blobs.objects().chunks(OBJECTS));
        while let Some(objects) = listed.next().await {
            if !self.index.go_on_with_sweep(sweeper).await? {
                return Ok(None);
            }
            let objects: Result<Vec<_>, _> = objects.into_iter().collect();
            let mut objects = objects?;
            objects.retain(|it| it.written < before);
            swept.objects += self.sweep(&objects).await?;
        }
        swept.unfinished = self.blobs.abort_old().await?;
        self.index.end_sweep(sweeper).await?;
        Ok(Some(swept))
    }

    /// Whether these rows are what tells of the bucket.
    async fn is_own(&self) -> Result<bool, StoreError> {
        let own = self.index.owner().await?.to_string();
        let is_own = self.blobs.owner_now().await? == Some(own);
        if !is_own {
            tracing::error!(
                "the content of another database's nodes is in the bucket, under the same prefix"
            );
        }
        Ok(is_own)
    }

    /// Has those of these objects go that no row knows, and tells how many those are.
    async fn sweep(&self, objects: &[Object]) -> Result<usize, StoreError> {
        let (mut places, mut removed) = (Vec::new(), 0);
        for object in unknown(&self.index, objects).await? {
            match object.purpose {
                ObjectPurpose::Place(place) => places.push(place),
                // Nobody goes on with an upload of which there is no row.
                ObjectPurpose::Upload(_) | ObjectPurpose::Trial => {
                    self.blobs.remove(object).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed + self.index.condemn(&places).await?)
    }
}

/// Those of these objects that no row knows.
pub(super) async fn unknown<'a>(
    index: &PostgresIndex,
    objects: &'a [Object],
) -> Result<Vec<&'a Object>, IndexError> {
    let places = objects.iter().filter_map(|it| match it.purpose {
        ObjectPurpose::Place(place) => Some(place),
        _ => None,
    });
    let uploads = objects.iter().filter_map(|it| match it.purpose {
        ObjectPurpose::Upload(upload) => Some(upload),
        _ => None,
    });
    let places = index.unknown(&places.collect::<Vec<_>>()).await?;
    let uploads = index.unknown_uploads(&uploads.collect::<Vec<_>>()).await?;
    let unknown = objects.iter().filter(|it| match it.purpose {
        ObjectPurpose::Place(place) => places.contains(&place),
        ObjectPurpose::Upload(upload) => uploads.contains(&upload),
        ObjectPurpose::Trial => true,
    });
    Ok(unknown.collect())
}
