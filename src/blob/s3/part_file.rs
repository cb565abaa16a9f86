//! A part of content on its way to a bucket, in scratch.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::depot::{Depot, RoomToSend};
use super::multipart::PART_BYTES;
use crate::blob::BlobError;
use crate::blocking;
use crate::disk;

/// Fails where scratch has less room than a part of content of so many bytes takes. Blocks.
pub(super) fn check_room(dir: &Path, bytes: u64) -> Result<(), BlobError> {
    Ok(disk::check_room(dir, bytes.min(PART_BYTES), 0)?)
}

/// Fails where no part could be written in scratch. Blocks.
pub(super) fn try_to_write(dir: &Path) -> Result<(), BlobError> {
    check_room(dir, PART_BYTES)?;
    PartFile::create(dir)?.append(b"trial")
}

/// A part in scratch.
pub(super) struct PartFile {
    file: File,
    dir: PathBuf,
    /// In bytes.
    pub(super) len: u64,
}

impl PartFile {
    /// An empty one. Blocks.
    pub(super) fn create(dir: &Path) -> Result<Self, BlobError> {
        let file = tempfile::tempfile_in(dir);
        Ok(Self {
            file: file.map_err(|e| BlobError::io("create a file in", dir, e))?,
            dir: dir.to_owned(),
            len: 0,
        })
    }

    /// Writes what follows. Blocks.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let written = self.file.write_all_at(bytes, self.len);
        written.map_err(|e| BlobError::io("write to", &self.dir, e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// All of it, in memory once there is room.
    pub(super) async fn read(self, depot: Arc<Depot>) -> Result<(Bytes, RoomToSend), BlobError> {
        let room = depot.room_to_send(self.len).await;
        blocking::run(move || {
            let bytes = self.bytes()?;
            Ok((bytes, room))
        })
        .await
    }

    /// All of it, in memory. Blocks.
    pub(super) fn bytes(&self) -> Result<Bytes, BlobError> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        let read = self.file.read_exact_at(&mut bytes, 0);
        read.map_err(|e| BlobError::io("read", &self.dir, e))?;
        Ok(bytes.into())
    }
}
