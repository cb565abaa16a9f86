//! What is there of contents that nothing but a list names, as those of backups.

use std::sync::Arc;

use super::super::BlobError;
use super::LocalBlobs;
use super::listing::stored_size;
use crate::blocking;
use crate::hash::BlobHash;

impl LocalBlobs {
    /// Whether all of these are there, with these sizes in bytes, as far as is known: none of them
    /// is read. Together they take one thread for a moment.
    pub(crate) async fn has_all(&self, contents: Vec<(BlobHash, u64)>) -> Result<bool, BlobError> {
        let (packs, long) = (Arc::clone(&self.packs), Arc::clone(&self.long));
        blocking::run(move || {
            for (hash, size) in contents {
                if long.shelf.damage.is_unusable(&hash) {
                    return Ok(false);
                }
                let found = match packs.size_now(&hash)? {
                    None => stored_size(&long.path(&hash))?,
                    found => found,
                };
                if found != Some(size) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// Removes packs of which the header is damaged and no entry is whole, so that nothing can be
    /// read from them: for who has nothing beside them that may need it.
    pub(crate) async fn remove_unreadable_packs(&self) -> Result<(), BlobError> {
        let (packs, disk) = (Arc::clone(&self.packs), Arc::clone(&self.spool.disk));
        blocking::run(move || {
            for path in packs.unreadable()? {
                tracing::warn!(path = %path.display(), "nothing of this pack is left: removed");
                let removed = disk.remove_file(&path);
                removed.map_err(|e| BlobError::io("remove", &path, e))?;
            }
            Ok(())
        })
        .await
    }
}
