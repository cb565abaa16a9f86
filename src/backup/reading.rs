//! What is in a backup.

use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::moments::List;
use super::{BackupError, Backups, Moment, lists};
use crate::file_line::FileLine;

impl Backups {
    /// The files of a backup, a piece of its list at a time, in the order of their ids.
    pub fn files<'a>(
        &'a self,
        moment: &'a Moment,
    ) -> BoxStream<'a, Result<Vec<FileLine>, BackupError>> {
        let lists = stream::iter(&moment.lists);
        lists.then(|list| self.files_of(*list)).boxed()
    }

    pub(super) async fn files_of(&self, list: List) -> Result<Vec<FileLine>, BackupError> {
        let damaged = |detail: String| BackupError::Damaged {
            path: self.files.dir.clone(),
            detail: format!("the list {}: {detail}", list.hash),
        };
        if list.size > lists::MAX_BYTES {
            return Err(damaged(format!("it has {} bytes", list.size)));
        }
        let opened = self.open(&list.hash).await?;
        if opened.size() != list.size {
            return Err(opened.refuse_size(list.size).await.into());
        }
        let pieces: Vec<_> = opened.read(0..list.size).try_collect().await?;
        lists::read(&pieces.concat()).map_err(|e| damaged(e.to_string()))
    }
}
