//! Changing an index without a store.

use larder::index::{IndexBackend, IndexError};
use larder::record::{FileRecord, NewFile};

/// Adds a file as an upload does whose content was written.
pub(crate) async fn add(index: &dyn IndexBackend, file: NewFile) -> Result<FileRecord, IndexError> {
    let intent = index.intend(&file.hash, file.size).await?;
    Ok(index.put(file, intent).await?.record)
}
