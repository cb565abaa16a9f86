//! Objects that come in parts and were never completed: what a crash leaves of an upload.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use reqwest::Method;
use serde::Deserialize;

use super::bucket::{BLOBS, Bucket};
use super::{bounded, counted};
use crate::blob::BlobError;
use crate::metrics::servers::Outcome;

/// For how long the store takes the request, once it is signed.
const SIGNED_FOR: Duration = Duration::from_mins(1);
/// Nobody brings parts of what was begun before so many days.
const GIVEN_UP: i64 = 3;

/// An object that comes in parts.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Unfinished {
    key: String,
    upload_id: String,
    initiated: Option<DateTime<Utc>>,
}

/// A page of them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default, rename = "Upload")]
    uploads: Vec<Unfinished>,
}

impl Bucket {
    /// Gives up whatever comes in parts to become the object of this key.
    pub(super) async fn abort_all(&self, key: &Path) -> Result<(), BlobError> {
        let is_it = |it: &Unfinished| it.key == key.as_ref();
        self.abort_those(Some(key), is_it).await.map(drop)
    }

    /// Gives up what was begun so long ago that nobody goes on with it, and tells how many.
    pub(super) async fn abort_old(&self) -> Result<u64, BlobError> {
        let old = Utc::now() - TimeDelta::days(GIVEN_UP);
        let folder = self.folder(BLOBS);
        // Some stores tell nothing of those whose keys only begin as is asked.
        self.abort_those(None, |it| {
            let is_old = it.initiated.is_some_and(|it| it < old);
            is_old && Path::from(it.key.as_str()).prefix_matches(&folder)
        })
        .await
    }

    async fn abort_those(
        &self,
        prefix: Option<&Path>,
        which: impl Fn(&Unfinished) -> bool + Send + Sync,
    ) -> Result<u64, BlobError> {
        let (mut after, mut aborted) = ((String::new(), String::new()), 0);
        loop {
            let page = self.unfinished(prefix, &after).await?;
            for it in page.uploads.iter().filter(|it| which(it)) {
                self.abort(&Path::from(it.key.as_str()), &it.upload_id)
                    .await?;
                aborted += 1;
            }
            let next = (page.next_key_marker, page.next_upload_id_marker);
            // Some stores lead nowhere.
            if !page.is_truncated || next == after {
                return Ok(aborted);
            }
            after = next;
        }
    }

    /// The objects that come in parts and whose keys begin with `prefix`, behind `after`.
    async fn unfinished(
        &self,
        prefix: Option<&Path>,
        after: &(String, String),
    ) -> Result<Page, BlobError> {
        let mut query = vec![("uploads", String::new())];
        query.extend(prefix.map(|it| ("prefix", it.to_string())));
        if !after.0.is_empty() {
            query.push(("key-marker", after.0.clone()));
            query.push(("upload-id-marker", after.1.clone()));
        }
        let options = SignedUrlOptions::new().with_query(query);
        let asked = async {
            let bucket = Path::default();
            let url = self
                .store
                .signed_url_opts(Method::GET, &bucket, SIGNED_FOR, &options);
            let url = url.await?;
            let under_way = self.requests.list_multipart_uploads.begin();
            let answer = self.client.get(url).send().await;
            under_way.end(match &answer {
                Ok(answer) => counted::outcome(answer.status()),
                Err(_) => Outcome::Unavailable,
            });
            let answer = answer.and_then(reqwest::Response::error_for_status);
            // Its query holds the signature, which belongs into no log.
            let answer = answer.map_err(reqwest::Error::without_url)?;
            let told = bounded::bytes(answer).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(quick_xml::de::from_reader(&*told)?)
        };
        asked.await.map_err(|error| self.away(error))
    }
}
