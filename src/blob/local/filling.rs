//! Partial content whose pieces come in any order: each is written where it belongs in its file,
//! and a file beside it tells which chunk groups are there.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::super::groups::Groups;
use super::super::{BlobError, Filling};
use super::spool::{Scratch, SpoolFile, check_room};
use crate::blocking;
use crate::disk::{Durability, open_stored};
use crate::stored_file;

/// What is written of it is so called, behind the name of the content.
pub(super) const GROUPS: &str = ".groups";

/// Content that is filled.
pub(super) struct LocalFilling(Arc<Files>);

struct Files {
    scratch: Scratch,
    content: SpoolFile,
    marks: SpoolFile,
    groups: Mutex<Groups>,
}

impl LocalFilling {
    /// The file at `path`, of content of `size` bytes, and what is known of it at `marks`. Where
    /// nothing is, what is there came in its order. Blocks.
    pub(super) fn open(
        scratch: Scratch,
        path: PathBuf,
        marks: PathBuf,
        size: u64,
    ) -> Result<Self, BlobError> {
        let content = SpoolFile::resume(&scratch, path)?;
        let unreadable = |e| BlobError::io("read", content.path(), e);
        let disk = &*scratch.disk;
        let there = open_stored(disk, content.path()).and_then(|it| it.metadata());
        let len = there.map_err(unreadable)?.len();
        let opened = open_stored(disk, &marks);
        let known = match opened.and_then(|it| stored_file::whole(it, Groups::max_bytes(size))) {
            Err(e) if stored_file::is_no_file(&e) => None,
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Some(Vec::new()),
            read => Some(read.map_err(|e| BlobError::io("read", &marks, e))?),
        };
        let groups = match known {
            None => Groups::up_to(size, len),
            // What is not what it says is not believed.
            Some(bytes) => Groups::read(size, &bytes)
                .filter(|it| it.end() <= len)
                .unwrap_or_else(|| Groups::up_to(size, 0)),
        };
        if len > size {
            let cut = content.file().set_len(size);
            cut.map_err(|e| BlobError::io("cut", content.path(), e))?;
        }
        check_room(&scratch, size.saturating_sub(groups.here()))?;
        // Before anything is written behind what is there.
        let marks = SpoolFile::resume(&scratch, marks)?;
        marks.write_all_at(groups.bytes(), 0)?;
        let cut = marks.file().set_len(groups.bytes().len() as u64);
        cut.map_err(|e| BlobError::io("cut", marks.path(), e))?;
        Ok(Self(Arc::new(Files {
            scratch,
            content,
            marks,
            groups: Mutex::new(groups),
        })))
    }
}

#[async_trait]
impl Filling for LocalFilling {
    fn here(&self) -> u64 {
        self.0.groups.lock().here()
    }

    fn missing(&self, range: Range<u64>) -> Option<Range<u64>> {
        self.0.groups.lock().missing(range)
    }

    async fn fill(&self, offset: u64, pieces: Vec<Bytes>) -> Result<u64, BlobError> {
        let files = Arc::clone(&self.0);
        blocking::run(move || files.fill(offset, &pieces)).await
    }
}

impl Files {
    fn fill(&self, offset: u64, pieces: &[Bytes]) -> Result<u64, BlobError> {
        let bytes = pieces.iter().map(|it| it.len() as u64).sum();
        check_room(&self.scratch, bytes)?;
        let mut end = offset;
        for piece in pieces {
            self.content.write_all_at(piece, end)?;
            end += piece.len() as u64;
        }
        if self.scratch.durability == Durability::Always {
            self.content.file().begin_sync(offset..end);
        }
        let mut groups = self.groups.lock();
        let (new, changed) = groups.set(offset..end);
        if let Some(bits) = groups.bytes().get(changed.clone()) {
            self.marks.write_all_at(bits, changed.start as u64)?;
        }
        Ok(new)
    }
}
