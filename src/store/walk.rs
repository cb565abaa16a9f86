//! All files, one after the other.

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::{Store, StoreError};
use crate::record::{FileId, FileRecord};

/// How many files are read at once.
const PAGE: usize = 1024;

impl Store {
    /// All files behind `after`, in the order of their ids, those too that come meanwhile.
    pub fn files(&self, after: Option<FileId>) -> BoxStream<'_, Result<FileRecord, StoreError>> {
        let pages = stream::try_unfold(after, move |after| async move {
            let page = self.page(after, PAGE).await?;
            let last = page.last().map(|it| it.id);
            let page = stream::iter(page.into_iter().map(Ok));
            Ok::<_, StoreError>(last.map(|last| (page, Some(last))))
        });
        pages.try_flatten().boxed()
    }
}
