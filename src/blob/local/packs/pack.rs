//! A pack, open for reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::super::super::BlobError;
use super::entry::Extent;
use super::open_packs::{Kept, Lent, OpenPacks};
use crate::blob::pack_format::{ENTRY_HEADER, EntryHeader, PACK_HEADER, PackId, decode_pack};
use crate::hash::BlobHash;
use crate::stored_file::{self, read_cached};

/// A pack. Who holds it can go on reading after it was removed, as long as it stays open.
pub(super) struct Pack {
    pub(super) number: u32,
    pub(super) id: PackId,
    pub(super) path: PathBuf,
    /// None where too many others are open.
    file: Option<Kept>,
}

/// The extension of packs.
pub(super) const EXTENSION: &str = "pack";

/// Whether a path is that of a pack.
pub fn is_pack(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == EXTENSION)
}

/// Where the pack with this number is, or with another extension a file about it.
pub(super) fn path(dir: &Path, number: u32, extension: &str) -> PathBuf {
    dir.join(format!("{number:010}.{extension}"))
}

impl Pack {
    /// Opens the pack with this number, among others that are open; None if its header is damaged,
    /// or no file is there. Blocks.
    pub(super) fn open(
        dir: &Path,
        number: u32,
        among: &Arc<OpenPacks>,
    ) -> Result<Option<Self>, BlobError> {
        let path = path(dir, number, EXTENSION);
        if !path.is_file() {
            return Ok(None);
        }
        let opened = stored_file::open(&path);
        Self::of(path, number, opened, among)
    }

    /// The pack with this number that was opened at `path`; None as [`Pack::open`] says. Blocks.
    pub(super) fn of(
        path: PathBuf,
        number: u32,
        opened: io::Result<File>,
        among: &Arc<OpenPacks>,
    ) -> Result<Option<Self>, BlobError> {
        let failed = |e| BlobError::io("open", &path, e);
        let file = match opened {
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(None),
            file => file.map_err(failed)?,
        };
        let id = id_in(&file).map_err(failed)?;
        Ok(id.map(|id| Self::with_id(path, (number, id), file, among)))
    }

    /// The pack with this number and id at `path`, whose file is open.
    pub(super) fn with_id(
        path: PathBuf,
        (number, id): (u32, PackId),
        file: File,
        among: &Arc<OpenPacks>,
    ) -> Self {
        Self {
            number,
            id,
            path,
            file: among.keep(file),
        }
    }

    /// The same pack among others that are open, of which it may not be one. Blocks.
    pub(super) fn among(&self, among: &Arc<OpenPacks>) -> io::Result<Self> {
        let file = match &self.file {
            Some(kept) => Some(kept.try_clone()?),
            None => None,
        };
        Ok(Self {
            number: self.number,
            id: self.id,
            path: self.path.clone(),
            file: file.and_then(|file| among.keep(file)),
        })
    }

    /// The file, which is opened where it is not open, and has to be that of this pack. Blocks.
    pub(super) fn lend(&self) -> io::Result<Lent<'_>> {
        if let Some(kept) = &self.file {
            return Ok(kept.lend());
        }
        let file = stored_file::open(&self.path)?;
        if id_in(&file)? != Some(self.id) {
            return Err(rustix::io::Errno::STALE.into());
        }
        Ok(Lent::Opened(file))
    }

    /// The length of the file, in bytes. Blocks.
    pub(super) fn file_len(&self) -> Result<u64, BlobError> {
        let metadata = self.lend().and_then(|file| file.metadata());
        let metadata = metadata.map_err(|e| BlobError::io("look at", &self.path, e))?;
        Ok(metadata.len())
    }

    /// Whether the file is at its path: what is in one that somebody has removed or replaced
    /// is gone with the next start. Blocks.
    pub(super) fn is_in_place(&self) -> bool {
        let own = self.lend().and_then(|file| file.metadata());
        let look = own.and_then(|own| Ok((own, std::fs::metadata(&self.path)?)));
        look.is_ok_and(|(own, there)| (own.dev(), own.ino()) == (there.dev(), there.ino()))
    }

    /// The same pack, as somebody has put it in the place of this one, from a backup say. Blocks.
    pub(super) fn restored(&self) -> Option<Self> {
        if self.is_in_place() {
            return None;
        }
        let apart = OpenPacks::at_most(1);
        let there = Self::open(self.path.parent()?, self.number, &apart);
        let there = there.ok().flatten();
        there.filter(|it| it.id == self.id)
    }

    /// What keeps a pack of which `len` bytes were written from being appended to; None if
    /// nothing does. Blocks.
    pub(super) fn problem(&self, len: u32) -> Option<&'static str> {
        if !self.is_in_place() {
            return Some("it was removed or replaced");
        }
        if self.file_len().is_ok_and(|there| there < u64::from(len)) {
            return Some("it was cut");
        }
        let mut header = [0; PACK_HEADER as usize];
        match self.read_exact_at(&mut header, 0) {
            Ok(true) if decode_pack(&header) == Some(self.id) => None,
            Ok(_) => Some("its header is damaged"),
            Err(_) => Some("the disk does not give its header"),
        }
    }

    /// The hash of the blob at a place; None if the entry's header is damaged. Blocks.
    pub(super) fn hash_at(&self, extent: Extent) -> Result<Option<BlobHash>, BlobError> {
        let mut bytes = [0; ENTRY_HEADER as usize];
        let read = self.read_exact_at(&mut bytes, extent.offset)?;
        let header = EntryHeader::decode(&bytes, &self.id).filter(|_| read);
        let header = header.filter(|header| header.len == extent.len);
        Ok(header.map(|header| header.hash))
    }

    /// The entry at a place: its hash and its bytes, which may be damaged; None if its
    /// header is. Blocks.
    pub(super) fn entry_at(&self, extent: Extent) -> Result<Option<(BlobHash, Bytes)>, BlobError> {
        let mut bytes = room_for(extent);
        let read = self.read_exact_at(&mut bytes, extent.offset)?;
        Ok(read.then(|| self.entry_in(bytes, extent)).flatten())
    }

    /// The same where the system has the bytes in memory and the pack is open; None also where
    /// not. Waits for no disk.
    pub(super) fn entry_at_hand(&self, extent: Extent) -> Option<(BlobHash, Bytes)> {
        let mut bytes = room_for(extent);
        let file = self.file.as_ref()?.lend();
        read_cached(&file, &mut bytes, extent.offset.into()).ok()?;
        self.entry_in(bytes, extent)
    }

    /// Does `read` where the entry at a place comes from the medium. Blocks.
    pub(super) fn on_medium<T>(&self, extent: Extent, read: impl FnOnce() -> T) -> T {
        let Ok(file) = self.lend() else {
            return read();
        };
        let start = u64::from(extent.offset);
        stored_file::from_medium(&file, start..start + extent.bytes(), read)
    }

    /// The entry that has these bytes; None if its header is damaged.
    fn entry_in(&self, bytes: Vec<u8>, extent: Extent) -> Option<(BlobHash, Bytes)> {
        let (header, _) = bytes.split_at(ENTRY_HEADER as usize);
        let header = EntryHeader::decode(header, &self.id)?;
        let content = Bytes::from(bytes).slice(ENTRY_HEADER as usize..);
        (header.len == extent.len).then_some((header.hash, content))
    }

    /// Fills `bytes`; false where the file ends before.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u32) -> Result<bool, BlobError> {
        let file = self.lend();
        match file.and_then(|file| file.read_exact_at(bytes, u64::from(offset))) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(BlobError::io("read", &self.path, e)),
        }
    }
}

/// Room for the entry at a place.
fn room_for(extent: Extent) -> Vec<u8> {
    vec![0; usize::try_from(extent.bytes()).unwrap_or_default()]
}

/// The id in the header of a pack; None if that is damaged. Blocks.
fn id_in(file: &File) -> io::Result<Option<PackId>> {
    let mut header = [0; PACK_HEADER as usize];
    match file.read_exact_at(&mut header, 0) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| decode_pack(&header)),
    }
}
