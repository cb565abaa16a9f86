//! What other nodes hold, served through this one.

use std::sync::Arc;

use axum::http::HeaderValue;

use crate::blob::BlobError;
use crate::fetch::{Claim, UnverifiedContent, VerifiedContent};
use crate::hash::BlobHash;
use crate::node::Node;
use crate::peer::directory::NetworkFile;
use crate::peer_id::PeerId;
use crate::store::StoreError;
use crate::web::content::Content;
use crate::web::error::ApiError;
use crate::web::representation::Representation;

/// The file that `peer` holds under an id or a name.
pub(super) async fn of_peer(
    node: &Node,
    peer: PeerId,
    file: &str,
) -> Result<Representation, ApiError> {
    let file = find(node, peer, file).await?;
    let (content, tag) = if let Some(hash) = file.hash {
        let claim = Claim {
            peer,
            size: file.size,
        };
        (content(node, hash, Some(claim)).await?, hash.to_string())
    } else {
        let content = UnverifiedContent::new(Arc::clone(node.fetcher()), peer, &file);
        // An older peer never gives an id to another content.
        let tag = format!("{peer}-{}-{}", file.id, file.size);
        (content.map(Content::Unverified), tag)
    };
    let sendable = |it: &String| HeaderValue::try_from(it).is_ok();
    Ok(Representation {
        content: content.ok_or(ApiError::UnknownFile)?,
        tag,
        name: file.name,
        content_type: file.content_type.filter(sendable),
    })
}

/// What `peer` told of the file that it holds under an id or a name.
pub(super) async fn find(node: &Node, peer: PeerId, file: &str) -> Result<NetworkFile, ApiError> {
    if node.network().registry.get(peer).is_none() {
        return Err(ApiError::UnknownPeer);
    }
    let found = node.fetcher().find(peer, file).await?;
    found.ok_or(ApiError::UnknownFile)
}

/// Content of this node, or else of another, also where this node's is damaged; the peer of
/// `first` is asked before others.
pub(super) async fn content(
    node: &Node,
    hash: BlobHash,
    first: Option<Claim>,
) -> Result<Option<Content>, ApiError> {
    let damaged = match node.store().open(&hash).await {
        Ok(Some(blob)) => return Ok(Some(Content::Local(blob))),
        Ok(None) => None,
        Err(error @ StoreError::Blob(BlobError::Damaged { .. })) => Some(error),
        Err(error) => return Err(error.into()),
    };
    let fetched = VerifiedContent::open(Arc::clone(node.fetcher()), hash, first).await;
    match (fetched, damaged) {
        (Ok(Some(content)), _) => Ok(Some(Content::Verified(content))),
        (_, Some(damaged)) => Err(damaged.into()),
        (fetched, None) => Ok(fetched?.map(Content::Verified)),
    }
}
