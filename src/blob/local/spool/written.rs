//! What a spool file has taken so far: blocking work, each step on a thread of its own.

use std::path::PathBuf;

use bytes::Bytes;

use super::file::{SpoolFile, check_room, check_space};
use super::outboard::OutboardWriter;
use super::scratch::{MEMORY_LIMIT, Scratch};
use super::spooled::{Content, SpooledBlob};
use crate::blob::{BlobError, Proven};
use crate::blocking::Wanted;
use crate::disk::{Durability, open_stored};
use crate::hash::BlobHash;
use crate::stored_file;

/// How many bytes are gathered before the disk begins to write them.
const SYNC_AHEAD: u64 = 8 << 20;

/// What a spool file has taken so far.
pub(super) struct Written {
    scratch: Scratch,
    file: SpoolFile,
    outboard: OutboardWriter,
    pub(super) size: u64,
    /// How many bytes the disk was asked to write.
    sent_to_disk: u64,
}

impl Written {
    /// The files of content of which nothing has come yet. Blocks.
    pub(super) fn start(scratch: Scratch) -> Result<Self, BlobError> {
        check_space(&scratch)?;
        let file = SpoolFile::create(&scratch)?;
        match OutboardWriter::create(&scratch) {
            Ok(outboard) => Ok(Self {
                scratch,
                file,
                outboard,
                size: 0,
                sent_to_disk: 0,
            }),
            Err(error) => {
                file.discard();
                Err(error)
            }
        }
    }

    /// Goes on after what the file at `path` holds, of content of `size` bytes. Blocks.
    pub(super) fn resume(
        scratch: Scratch,
        path: PathBuf,
        size: u64,
        proven: Option<Proven>,
        wanted: &Wanted,
    ) -> Result<Self, BlobError> {
        let file = SpoolFile::resume(&scratch, path)?;
        let mut outboard = OutboardWriter::create(&scratch)?;
        let unreadable = |e| BlobError::io("read", file.path(), e);
        let content = open_stored(&*scratch.disk, file.path()).map_err(unreadable)?;
        // What is longer than it can be is not read to its end; its hash will be another.
        let counts = proven.map_or(size.saturating_add(1), |it| it.len);
        let here = outboard.update_from(&content, file.path(), 0..counts, wanted)?;
        if let Some(Proven { len, hash }) = proven {
            if here != len || outboard.hash_so_far() != hash {
                return Err(BlobError::other_hash(hash));
            }
            let cut = file.file().set_len(len);
            cut.map_err(|e| BlobError::io("cut", file.path(), e))?;
        }
        check_room(&scratch, size.saturating_sub(here))?;
        Ok(Self {
            scratch,
            file,
            outboard,
            size: here,
            sent_to_disk: 0,
        })
    }

    /// Hashes and writes a batch; where that fails the files are discarded. Blocks.
    pub(super) fn append(mut self, pieces: &[Bytes]) -> Result<Self, BlobError> {
        let bytes = pieces.iter().map(|it| it.len() as u64).sum();
        let mut pieces = pieces.iter();
        let room = check_room(&self.scratch, bytes);
        // What somebody has cut off meanwhile would become a hole.
        let whole = room.and_then(|()| self.file.check_own(self.size));
        match whole.and_then(|()| pieces.try_for_each(|piece| self.append_piece(piece))) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.file.discard();
                self.outboard.discard();
                Err(error)
            }
        }
    }

    /// What is written, and its hash.
    pub(super) fn proven(&self) -> Proven {
        Proven {
            len: self.size,
            hash: self.outboard.hash_so_far(),
        }
    }

    /// Makes it durable, where its path leads to it. Blocks.
    pub(super) fn synced(self) -> Result<Self, BlobError> {
        self.file.check_own(self.size)?;
        let path = self.file.path();
        let synced = self.file.file().sync();
        synced.map_err(|e| BlobError::io("sync", path, e))?;
        Ok(self)
    }

    /// The content is complete, and its file stays. Blocks.
    pub(super) fn finish_copy(self) -> Result<SpooledBlob, BlobError> {
        let (hash, outboard) = self.outboard.finish()?;
        let path = self.file.path();
        let content = if self.size <= MEMORY_LIMIT {
            outboard.discard();
            let opened = open_stored(&*self.scratch.disk, path);
            let bytes = opened.and_then(|it| stored_file::whole(it, MEMORY_LIMIT));
            let bytes = bytes.map_err(|e| BlobError::io("read", path, e))?;
            if BlobHash::of(&bytes) != hash {
                return Err(BlobError::other_hash(hash));
            }
            Content::Memory(bytes)
        } else {
            let blob = self.file.link(&self.scratch, self.size)?;
            Content::File { blob, outboard }
        };
        Ok(SpooledBlob {
            hash,
            size: self.size,
            content,
        })
    }

    /// The content is complete. Blocks.
    pub(super) fn finish(self) -> Result<SpooledBlob, BlobError> {
        match self.outboard.finish() {
            Ok((hash, outboard)) => Ok(SpooledBlob {
                hash,
                size: self.size,
                content: Content::File {
                    blob: self.file,
                    outboard,
                },
            }),
            Err(error) => {
                self.file.discard();
                Err(error)
            }
        }
    }

    fn append_piece(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.outboard.update(piece)?;
        self.file.write_all_at(piece, self.size)?;
        self.size += piece.len() as u64;
        self.begin_sync();
        Ok(())
    }

    fn begin_sync(&mut self) {
        let due = self.size - self.sent_to_disk >= SYNC_AHEAD;
        if due && self.scratch.durability == Durability::Always {
            self.file.file().begin_sync(self.sent_to_disk..self.size);
            self.sent_to_disk = self.size;
        }
    }
}
