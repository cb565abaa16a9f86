//! What other nodes hold, served through this one.

use std::sync::Arc;

use axum::http::HeaderValue;

use crate::blob::OpenBlob;
use crate::fetch::{Claim, UnverifiedContent, VerifiedContent};
use crate::hash::BlobHash;
use crate::node::Node;
use crate::peer::directory::{Held, NetworkFile};
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};
use crate::store::StoreError;
use crate::web::content::Content;
use crate::web::description::{Description, Facts};
use crate::web::error::ApiError;
use crate::web::own_content::OwnContent;
use crate::web::representation::Representation;
use crate::web::transfers::{SENDING, Transfer, TransferShare, WITHOUT_FILES};

/// How many of the contents are named that an id may mean.
const MAX_NAMED: usize = 8;

/// The file that `peer` holds under an id or a name.
pub(super) async fn of_peer(
    node: &Node,
    peer: PeerId,
    file: &str,
    share: &TransferShare,
) -> Result<Representation, ApiError> {
    let file = find(node, peer, file).await?;
    let ((content, transfer), tag) = if let Some(hash) = file.hash {
        let claim = Claim {
            peer,
            size: file.size,
        };
        let content = content(node, hash, Some(claim), share).await?;
        (content, hash.to_string())
    } else {
        let transfer = share.take(SENDING)?;
        let content = UnverifiedContent::new(Arc::clone(node.fetcher()), peer, &file);
        // An older peer never gives an id to another content.
        let tag = format!("{peer}-{}-{}", file.id, file.size);
        ((content.map(Content::Unverified), transfer), tag)
    };
    let content = content.ok_or(ApiError::UnknownFile)?;
    represent(&file, content, transfer, &tag)
}

/// The file that an id means which this node has not given.
pub(super) fn with_id(node: &Node, id: FileId) -> Result<Held, ApiError> {
    let mut found = node.network().directory.with_id(id);
    if found.len() > 1 {
        let hashes = found.iter().take(MAX_NAMED).map(|it| {
            let hash = it.file.hash.map(|hash| hash.to_string());
            hash.unwrap_or_else(|| "one without a hash".to_owned())
        });
        let mut hashes: Vec<_> = hashes.collect();
        hashes.dedup();
        return Err(ApiError::AmbiguousFile(hashes.join(", ")));
    }
    found
        .pop()
        .ok_or_else(|| unknown(node, ApiError::UnknownId))
}

/// The content of a file of another node, by the id of the file. Only what can be proven: a node
/// that is asked for anything else asks nobody, so that no nodes ask each other for ever.
pub(super) async fn by_id(
    node: &Node,
    id: FileId,
    share: &TransferShare,
) -> Result<Representation, ApiError> {
    let file = with_id(node, id)?.file;
    let hash = file.hash.ok_or(ApiError::UnknownId)?;
    let (content, transfer) = content(node, hash, None, share).await?;
    let content = content.ok_or(ApiError::UnknownId)?;
    represent(&file, content, transfer, &hash.to_string())
}

/// Content that is called as a peer calls its file.
fn represent(
    file: &NetworkFile,
    content: Content,
    transfer: Option<Transfer>,
    tag: &str,
) -> Result<Representation, ApiError> {
    let sendable = |it: &&str| HeaderValue::try_from(*it).is_ok();
    let about = Description::of(&Facts {
        tag,
        name: &file.name,
        content_type: file.content_type.as_deref().filter(sendable),
        // Others tell it.
        modified: None,
        is_immutable: false,
    })?;
    Ok(Representation {
        content,
        transfer,
        about: Arc::new(about),
        inline: false,
    })
}

/// What `peer` told of the file that it holds under an id or a name.
pub(super) async fn find(node: &Node, peer: PeerId, file: &str) -> Result<NetworkFile, ApiError> {
    if node.network().registry.get(peer).is_none() {
        return Err(unknown(node, ApiError::UnknownPeer));
    }
    let found = node.fetcher().find(peer, file).await?;
    found.ok_or_else(|| unknown(node, ApiError::UnknownFile))
}

/// What whoever asks is told for what is `unknown`: that may change in the first moments after a
/// start.
pub(super) fn unknown(node: &Node, unknown: ApiError) -> ApiError {
    if node.network().beginning.goes_on() {
        ApiError::NotYetKnown
    } else {
        unknown
    }
}

/// Content of this node, or else of another, also where this node's is damaged or cannot be read;
/// the peer of `first` is asked before others. With it is the transfer that its files count to.
pub(super) async fn content(
    node: &Node,
    hash: BlobHash,
    first: Option<Claim>,
    share: &TransferShare,
) -> Result<(Option<Content>, Option<Transfer>), ApiError> {
    let transfer = of_own(node, &hash, share).await?;
    let opened = match node.store().open(&hash).await {
        Ok(None) => held_for_others(node, &hash).await,
        opened => opened,
    };
    let unusable = match opened {
        Ok(Some(blob)) => return Ok((Some(own(node, hash, blob, share)), transfer)),
        Ok(None) => None,
        Err(error) if error.may_be_elsewhere() => Some(error),
        Err(error) => return Err(error.into()),
    };
    drop(transfer);
    elsewhere(node, hash, first, unusable, share).await
}

/// Content of a file of this node. What is damaged is repaired first where that takes but a moment,
/// and else comes as others have it.
pub(super) async fn of_own_file(
    node: &Node,
    record: &FileRecord,
    share: &TransferShare,
) -> Result<(Content, Option<Transfer>), ApiError> {
    let (hash, size) = (record.file.hash, record.file.size);
    let transfer = share.take(SENDING)?;
    let mut opened = node.store().open_file(record).await;
    if opened.as_ref().is_err_and(StoreError::may_be_elsewhere)
        && node.repair().in_time(hash, size).await
    {
        opened = node.store().open_file(record).await;
    }
    let unusable = match opened {
        Ok(Some(blob)) => return Ok((own(node, hash, blob, share), transfer)),
        // The file was removed since it was looked up, with its content.
        Ok(None) => return Err(ApiError::UnknownFile),
        Err(error) if error.may_be_elsewhere() => error,
        Err(error) => return Err(error.into()),
    };
    drop(transfer);
    let (content, transfer) = elsewhere(node, hash, None, Some(unusable), share).await?;
    Ok((content.ok_or(ApiError::UnknownFile)?, transfer))
}

fn own(node: &Node, hash: BlobHash, blob: Arc<dyn OpenBlob>, share: &TransferShare) -> Content {
    Content::Local(OwnContent {
        hash,
        blob,
        fetcher: Arc::clone(node.fetcher()),
        share: share.clone(),
    })
}

/// Content of other nodes, where that of this one is `unusable` or none.
async fn elsewhere(
    node: &Node,
    hash: BlobHash,
    first: Option<Claim>,
    unusable: Option<StoreError>,
    share: &TransferShare,
) -> Result<(Option<Content>, Option<Transfer>), ApiError> {
    let network = node.network();
    let is_told = || first.is_some() || !network.directory.providers(&hash).is_empty();
    if !is_told() {
        network.hear_others().await;
    }
    if !is_told() {
        return unusable.map_or(Ok((None, None)), |unusable| Err(unusable.into()));
    }
    let asked = node.fetcher().first_asked(&hash, first);
    let opening = VerifiedContent::open(Arc::clone(node.fetcher()), hash, first);
    let (fetched, transfer) = share.take_and_open(asked, opening).await?;
    match (fetched, unusable) {
        (Ok(Some(content)), _) => Ok((Some(Content::Verified(content)), transfer)),
        (_, Some(unusable)) => Err(unusable.into()),
        (fetched, None) => Ok((fetched?.map(Content::Verified), transfer)),
    }
}

/// Content that this node has as a copy of another's alone.
pub(super) async fn held_for_others(
    node: &Node,
    hash: &BlobHash,
) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
    match node.copies() {
        Some(copies) => copies.store().open(hash).await,
        None => Ok(None),
    }
}

/// A transfer for content of this node, if it is so long that files are open while it is sent.
pub(super) async fn of_own(
    node: &Node,
    hash: &BlobHash,
    share: &TransferShare,
) -> Result<Option<Transfer>, ApiError> {
    let size = match (node.store().stored_size(hash).await, node.copies()) {
        (Ok(None), Some(copies)) => copies.store().stored_size(hash).await,
        (size, _) => size,
    };
    match size {
        Ok(size) if size.is_some_and(|size| size > WITHOUT_FILES) => share.take(SENDING),
        // What is wrong shows when it is opened.
        _ => Ok(None),
    }
}
