//! Looking through what is stored beside contents: what the index has, and what is known of packs.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Store, StoreError};
use crate::blocking;

impl Store {
    /// What is wrong with files that are no contents, each by its path in the storage directory.
    /// What can be made anew at once is made so. What is not on a disk of this machine is not
    /// looked at.
    pub(super) async fn problems_beside(&self) -> Result<Vec<String>, StoreError> {
        let mut found = self.index.problems().await?;
        let blobs = Arc::clone(&self.blobs);
        let of_packs = blocking::run(move || match blobs.medium() {
            Some(medium) => medium.problems(),
            None => Ok(Vec::new()),
        });
        found.extend(of_packs.await?);
        Ok(found.into_iter().map(|it| self.told(it)).collect())
    }

    fn told(&self, (path, problem): (PathBuf, String)) -> String {
        let dir = self.storage.dir.as_deref();
        let below = dir.and_then(|dir| path.strip_prefix(dir).ok());
        format!("{}: {problem}", below.unwrap_or(&path).display())
    }
}
