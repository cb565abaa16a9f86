//! Content given to a blob backend, as the network would bring it.

use bytes::Bytes;
use larder::blob::{BlobBackend, BlobError, Limit, Received, Receiving};
use larder::hash::BlobHash;
use larder::place::Place;

/// How long the pieces are, in bytes.
const PIECE: usize = 40_000;

/// Writes content in pieces.
pub(crate) async fn write(receiving: &mut dyn Receiving, bytes: &[u8]) -> Result<(), BlobError> {
    for piece in bytes.chunks(PIECE) {
        receiving.write(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(())
}

/// Content that was received whole, and is not kept yet.
pub(crate) async fn received(
    blobs: &dyn BlobBackend,
    bytes: &[u8],
) -> Result<Box<dyn Received>, BlobError> {
    let mut receiving = blobs.receive(Limit::default()).await?;
    write(&mut *receiving, bytes).await?;
    receiving.finish().await
}

/// Keeps content in the place that is named for it, and tells its hash.
pub(crate) async fn keep(blobs: &dyn BlobBackend, bytes: &[u8]) -> Result<BlobHash, BlobError> {
    let content = received(blobs, bytes).await?;
    let hash = content.hash();
    keep_received(content).await?;
    Ok(hash)
}

/// Keeps content that was received in the place that is named for it.
pub(crate) async fn keep_received(content: Box<dyn Received>) -> Result<(), BlobError> {
    let place = Place::of(&content.hash());
    content.keep(place).await
}
