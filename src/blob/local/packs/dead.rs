//! Which entries of a pack are dead: their offsets, appended to a file beside the pack.
//!
//! It goes with the pack, so nothing has to be carried on when the pack is compacted. It
//! is not synced: a blob that a power cut brings back is collected at start.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::super::super::BlobError;
use super::format::{ENTRY_HEADER, checksum};
use super::options::Options;
use super::pack::{Pack, path};
use crate::stored_file;

/// The extension of these files.
pub(super) const EXTENSION: &str = "dead";
/// The length of what tells of one entry, in bytes: its offset and a checksum.
const LEN: usize = 8;
/// How often the file may tell of the same entry, which a power cut may bring back.
const TIMES: u64 = 16;

/// The file of one pack, made when the first entry dies.
pub(super) struct Dead {
    path: PathBuf,
    /// Where the next offset is written; None where there is no file yet.
    end: Option<u64>,
}

impl Dead {
    /// Reads which entries of a pack are dead. Blocks.
    pub(super) fn read(options: &Options, pack: &Pack) -> Result<(Self, BTreeSet<u32>), BlobError> {
        let path = path(&options.dir, pack.number, EXTENSION);
        let bytes = match read(&options.dir, pack) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            // What is dead shows again when it is found that nobody needs it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(path = %path.display(), %error, "removed, and made anew at need");
                let removed = options.disk().remove_file(&path);
                removed.map_err(|e| BlobError::io("remove", &path, e))?;
                None
            }
            Err(e) => return Err(BlobError::io("read", path, e)),
        };
        // A part of an offset at the end is overwritten by the next.
        let (told, _) = bytes.as_deref().unwrap_or_default().as_chunks::<LEN>();
        let offsets = told.iter().filter_map(|told| decode(pack, *told)).collect();
        let end = bytes.is_some().then_some((told.len() * LEN) as u64);
        Ok((Self { path, end }, offsets))
    }

    /// The file of a pack in which no entry is dead.
    pub(super) fn none(options: &Options, pack: &Pack) -> Self {
        Self {
            path: path(&options.dir, pack.number, EXTENSION),
            end: None,
        }
    }

    /// Writes down that the entry at `offset` is dead. Blocks.
    pub(super) fn add(
        &mut self,
        options: &Options,
        pack: &Pack,
        offset: u32,
    ) -> Result<(), BlobError> {
        let offset = offset.to_le_bytes();
        let crc = checksum(&pack.id, &offset).to_le_bytes();
        let told = [offset, crc].concat();
        let mut write = || {
            let file = match self.end {
                Some(_) => options.disk().open(&self.path)?,
                None => options.disk().create(&self.path)?,
            };
            let end = *self.end.insert(self.end.unwrap_or(0));
            file.write_all_at(&told, end)?;
            self.end = Some(end + LEN as u64);
            Ok(())
        };
        write().map_err(|e| BlobError::io("write", &self.path, e))
    }
}

/// What is wrong with the file of a pack in `dir`; None where nothing is. Blocks.
pub(super) fn problem(dir: &Path, pack: &Pack) -> Option<(PathBuf, String)> {
    let error = read(dir, pack).err()?;
    let is_wrong = error.kind() == io::ErrorKind::InvalidData;
    is_wrong.then(|| (path(dir, pack.number, EXTENSION), error.to_string()))
}

/// The bytes of the file of a pack in `dir`, which are no more than its entries can need, each
/// told of a few times.
fn read(dir: &Path, pack: &Pack) -> io::Result<Vec<u8>> {
    let entries = pack.file.metadata()?.len() / u64::from(ENTRY_HEADER) + 1;
    let longest = entries * LEN as u64 * TIMES;
    stored_file::read(&path(dir, pack.number, EXTENSION), longest)
}

fn decode(pack: &Pack, told: [u8; LEN]) -> Option<u32> {
    let [a, b, c, d, crc @ ..] = told;
    let offset = [a, b, c, d];
    let whole = u32::from_le_bytes(crc) == checksum(&pack.id, &offset);
    whole.then_some(u32::from_le_bytes(offset))
}
