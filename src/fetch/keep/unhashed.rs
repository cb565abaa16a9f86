//! Which files of peers without hashes are here already.
//!
//! Nothing in what such a peer tells says what the content is, so what came of it is
//! written down, or every restart would fetch it again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::blocking;
use crate::hash::BlobHash;
use crate::record::FileId;
use crate::state_file::StateFile;

/// The file, beside the content received so far.
const FILE: &str = "kept-without-hash";
/// The most remembered; further ones may be fetched again after a restart.
const MAX: usize = 100_000;

/// The hashes of what was kept.
pub(super) struct Unhashed {
    known: Mutex<BTreeMap<FileId, BlobHash>>,
    /// Held while they are written down.
    file: AsyncMutex<StateFile>,
}

/// The file of the hashes of what was kept.
pub(super) fn unhashed_file(dir: &Path) -> StateFile {
    StateFile::new(dir.join(FILE), "larder-kept-without-hash 1")
}

impl Unhashed {
    /// Knows nothing before [`Unhashed::recall`].
    pub(super) fn new(dir: &Path) -> Self {
        let file = unhashed_file(dir);
        Self {
            known: Mutex::default(),
            file: AsyncMutex::new(file),
        }
    }

    /// The hash of what was kept of a peer's file.
    pub(super) fn get(&self, id: FileId) -> Option<BlobHash> {
        self.known.lock().get(&id).copied()
    }

    /// Remembers what was kept of a peer's file.
    pub(super) async fn note(&self, id: FileId, hash: BlobHash) -> io::Result<()> {
        let file = self.file.lock().await;
        let text = {
            let mut known = self.known.lock();
            if known.len() < MAX {
                known.insert(id, hash);
            }
            serde_json::json!(*known).to_string()
        };
        let writing = file.clone();
        blocking::run(move || writing.save(text.as_bytes())).await
    }

    /// Reads what was written down.
    pub(super) async fn recall(&self) -> io::Result<()> {
        let file = self.file.lock().await.clone();
        let text = blocking::run(move || file.load()).await?;
        let text = text.unwrap_or_default();
        let written: BTreeMap<FileId, BlobHash> = serde_json::from_slice(&text).unwrap_or_default();
        self.known.lock().extend(written);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_noted_is_recalled() {
        let dir = tempfile::tempdir().unwrap();
        let (id, hash) = (FileId::from_bytes([1; 16]), BlobHash::of(b"content"));
        let before = Unhashed::new(dir.path());
        before.recall().await.unwrap();
        assert_eq!(before.get(id), None);
        before.note(id, hash).await.unwrap();
        let after = Unhashed::new(dir.path());
        after.recall().await.unwrap();
        assert_eq!(after.get(id), Some(hash));
    }
}
