//! `GET /api/p2p/blob/{hash}/bao`: a range of content with what proves it.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::remote;
use crate::blob::OpenBlob;
use crate::hash::BlobHash;
use crate::node::Node;
use crate::outboard::Tree;
use crate::store::StoreError;
use crate::web::description::FOR_EVER;
use crate::web::error::ApiError;
use crate::web::query;
use crate::web::transfers::{self, TransferShare};

/// The header that tells how many bytes the whole content has.
const BLOB_SIZE: HeaderName = HeaderName::from_static("blob-size");

/// Which bytes are asked for: from `start` up to, but without, `end`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RangeQuery {
    /// The first byte; 0 without it.
    #[param(value_type = Option<usize>, maximum = 18_446_744_073_709_551_615_usize)]
    #[serde(default, deserialize_with = "query::number")]
    start: Option<u64>,
    /// The byte behind the last; the end of the content without it.
    #[param(value_type = Option<usize>, maximum = 18_446_744_073_709_551_615_usize)]
    #[serde(default, deserialize_with = "query::number")]
    end: Option<u64>,
}

/// Answers with the encoding of [`crate::outboard`]: whole chunk groups, at least one.
pub(super) async fn encoded(
    State(node): State<Arc<Node>>,
    hash: Result<Path<String>, PathRejection>,
    query: Result<Query<RangeQuery>, QueryRejection>,
    share: TransferShare,
    method: Method,
) -> Result<Response, ApiError> {
    let Path(hash) = hash.map_err(|_| ApiError::UnknownBlob)?;
    let hash: BlobHash = hash.parse().map_err(|_| ApiError::UnknownBlob)?;
    let Query(query) = query?;
    let transfer = remote::of_own(&node, &hash, &share).await?;
    let opened = match node.store().open(&hash).await {
        Ok(None) => remote::held_for_others(&node, &hash).await,
        opened => opened,
    };
    let blob = match opened {
        // Whoever repairs his own may need just what is right of this one.
        Err(error) if error.may_be_elsewhere() && method == Method::GET => {
            in_part(&node, &hash).await?.ok_or(error)?
        }
        opened => opened?.ok_or(ApiError::UnknownBlob)?,
    };
    let tree = Tree::new(blob.size());
    let range = query.within(tree.size())?;
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let mut pieces = blob.encoded(range.clone());
        // An error in the first piece can still be told as such.
        let first = pieces.next().await.transpose()?;
        Body::from_stream(stream::iter(first.map(Ok)).chain(pieces))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    headers.insert(header::CACHE_CONTROL, FOR_EVER);
    headers.insert(header::CONTENT_LENGTH, tree.encoded_len(&range).into());
    headers.insert(BLOB_SIZE, tree.size().into());
    Ok(transfers::during(transfer, response))
}

/// What is right of content that is damaged here, as a file's or as a copy of another's.
async fn in_part(node: &Node, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
    match (node.store().open_in_part(hash).await?, node.copies()) {
        (None, Some(copies)) => copies.store().open_in_part(hash).await,
        (opened, _) => Ok(opened),
    }
}

impl RangeQuery {
    /// The range of content with so many bytes; it may reach beyond the end.
    fn within(self, size: u64) -> Result<Range<u64>, ApiError> {
        let start = self.start.unwrap_or(0);
        if start > size {
            let message = format!("start is beyond the end; the content has {size} bytes");
            return Err(ApiError::Query(message));
        }
        let end = self.end.unwrap_or(size);
        if start > end {
            return Err(ApiError::Query("start is after end".to_owned()));
        }
        Ok(start..end)
    }
}
