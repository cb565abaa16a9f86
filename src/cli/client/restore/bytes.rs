//! The contents of a backup, piece by piece.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::backup::{BackupError, Backups};
use crate::blob::{BlobError, ByteStream};
use crate::cli::client::failure::Failure;
use crate::file_line::FileLine;

/// The content of a file, as it is read.
pub(super) struct Content(ByteStream);

/// Opens the content of a file.
pub(super) async fn open(backups: &Backups, file: &FileLine) -> Result<Content, Failure> {
    let opened = backups.open(&file.hash).await?;
    if opened.size() != file.size {
        return Err(BackupError::from(opened.refuse_size(file.size).await).into());
    }
    Ok(Content(opened.read(0..file.size)))
}

impl Content {
    /// The next piece, which is proven; None at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let piece = self.0.next().await.transpose();
        Ok(piece.map_err(|it: BlobError| BackupError::from(it))?)
    }
}

/// Whether it is only this content that cannot be read: it is damaged, or the disk does not give
/// it.
pub(super) fn is_of_content(failure: &Failure) -> bool {
    match failure {
        Failure::Backup(BackupError::Content(error)) => !error.is_shortage(),
        Failure::Backup(error) => error.is_damage(),
        _ => false,
    }
}
