//! Directories of contents in which nothing is although files need what belongs there: their disk
//! is not mounted, say, or was left out of a restore. Nothing is put there, since it would be gone
//! once the right one is back, and what is not found there is not taken for lost.

use std::sync::Arc;

use super::{Store, StoreError};
use crate::anchored_disk::AnchoredDisk;
use crate::blob::local::ContentDir;
use crate::blocking;
use crate::record::FileRecord;

/// How many files are looked at, from either end, to find contents that belong into a directory.
const FILES: usize = 1000;
/// How many of these contents are looked for at most.
const CONTENTS: usize = 8;
/// What is told of such a directory.
const WHY: &str = "is empty, although files need contents that belong there";

impl Store {
    /// Has nothing put into those of `bare` directories that should have contents, nor anything
    /// collected then, and remembers which they are.
    pub(super) async fn leave_bare(
        &mut self,
        bare: Vec<ContentDir>,
        anchored: &AnchoredDisk,
    ) -> Result<(), StoreError> {
        let mut missed = Vec::new();
        for it in bare {
            if !self.misses_all(&it).await? {
                continue;
            }
            tracing::error!(path = %it.dir.display(),
                "files need contents that belong there, and it is empty: is its disk mounted, or was \
                 it left out of a restore? Nothing is put there until a start that finds them. If \
                 they are gone for good, `larder verify` notes that, and the next start goes on \
                 without them");
            anchored.refuse(&it.dir, WHY);
            let name = it.dir.file_name().unwrap_or_default();
            missed.push(name.to_string_lossy().into_owned());
            blocking::run(move || it.leave_bare()).await;
        }
        self.orphans_stay |= !missed.is_empty();
        self.bare_dirs = Arc::new(missed);
        Ok(())
    }

    /// The directories of contents, by name, that were empty at the start although files need what
    /// belongs there.
    pub fn bare_dirs(&self) -> &[String] {
        &self.bare_dirs
    }

    /// Whether files need contents that belong into a directory, and none of a few is there. What
    /// is known to be damaged or missing was told before.
    async fn misses_all(&self, dir: &ContentDir) -> Result<bool, StoreError> {
        let first = self.page(None, FILES).await?;
        let last = self.page_back(None, FILES).await?;
        let mut missed = 0;
        for FileRecord { file, .. } in first.into_iter().chain(last) {
            if !dir.sizes.contains(&file.size) || self.is_damaged(&file.hash).await? {
                continue;
            }
            if self.stored_size(&file.hash).await?.is_some() {
                return Ok(false);
            }
            missed += 1;
            if missed == CONTENTS {
                break;
            }
        }
        Ok(missed > 0)
    }
}
