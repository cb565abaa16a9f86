//! The end of all writing after a failed sync.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use super::super::BlobError;

/// Why nothing is written any more; set by the first failed sync, for good.
#[derive(Default)]
pub(super) struct Refusal(OnceLock<String>);

impl Refusal {
    /// The reason, if there is one.
    pub(super) fn reason(&self) -> Option<String> {
        self.0.get().cloned()
    }

    /// Fails when nothing may be written.
    pub(super) fn check(&self) -> Result<(), BlobError> {
        self.reason()
            .map_or(Ok(()), |reason| Err(BlobError::Refused(reason)))
    }

    /// Passes on the result of a sync of `path`; a failed one ends all writing.
    pub(super) fn synced(&self, path: &Path, result: io::Result<()>) -> Result<(), BlobError> {
        result.map_err(|e| {
            self.set(format!("the sync of {} failed: {e}", path.display()));
            BlobError::io("sync", path, e)
        })
    }

    /// Ends all writing; only the first reason is kept.
    pub(super) fn set(&self, reason: String) {
        let _ = self.0.set(reason);
    }
}
