//! Which entries of a pack are dead: their offsets, appended to a file beside the pack.
//!
//! It goes with the pack, so nothing has to be carried on when the pack is compacted. It
//! is not synced: a blob that a power cut brings back is collected at start.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::super::super::BlobError;
use super::super::spool::clear_away;
use super::options::Options;
use super::pack::{Pack, path};
use crate::blob::pack_format::{ENTRY_HEADER, checksum};
use crate::disk::open_own;
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
    /// Where damaged ones are, which the next overwrite: what they told shows again when it is
    /// found that nobody needs it.
    damaged: Vec<u64>,
    /// Whether what is in its place can be no such file, and goes when one is made.
    is_foreign: bool,
}

impl Dead {
    /// Reads which entries of a pack are dead, and whether some that were may not be told of any
    /// more. Blocks.
    pub(super) fn read(
        options: &Options,
        pack: &Pack,
    ) -> Result<(Self, BTreeSet<u32>, bool), BlobError> {
        let mut dead = Self::none(options, pack);
        let bytes = match read(&options.dir, pack) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok((dead, BTreeSet::new(), false));
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                dead.is_foreign = true;
                Vec::new()
            }
            bytes => bytes.map_err(|e| BlobError::io("read", &dead.path, e))?,
        };
        // A part of an offset at the end is overwritten by the next.
        let Told {
            offsets,
            end,
            damaged,
        } = Told::by(pack, &bytes);
        let is_whole = damaged.is_empty() && !bytes.is_empty() && end == bytes.len() as u64;
        if !is_whole {
            tracing::warn!(path = %dead.path.display(),
                "is damaged; content that no file needs is looked for");
        }
        dead.end = (!dead.is_foreign).then_some(end);
        dead.damaged = damaged;
        Ok((dead, offsets, !is_whole))
    }

    /// The file of a pack in which no entry is dead.
    pub(super) fn none(options: &Options, pack: &Pack) -> Self {
        Self {
            path: path(&options.dir, pack.number, EXTENSION),
            end: None,
            damaged: Vec::new(),
            is_foreign: false,
        }
    }

    /// Writes down that the entry at `offset` is dead. Blocks.
    pub(super) fn add(
        &mut self,
        options: &Options,
        pack: &Pack,
        offset: u32,
    ) -> Result<(), BlobError> {
        let told = encode(pack, offset);
        let mut write = || {
            if self.is_foreign {
                clear_away(options.disk(), &self.path)?;
                self.is_foreign = false;
            }
            let file = match self.end {
                Some(_) => open_own(options.disk(), &self.path)?,
                None => options.disk().create(&self.path)?,
            };
            let end = *self.end.insert(self.end.unwrap_or(0));
            if let Some(damaged) = self.damaged.last() {
                file.write_all_at(&told, *damaged)?;
                self.damaged.pop();
                return Ok(());
            }
            file.write_all_at(&told, end)?;
            self.end = Some(end + LEN as u64);
            Ok(())
        };
        write().map_err(|e| BlobError::io("write", &self.path, e))
    }
}

/// What is wrong with the file of a pack in `dir`; None where nothing is. Blocks.
pub(super) fn problem(dir: &Path, pack: &Pack) -> Option<(PathBuf, String)> {
    let problem = match read(dir, pack) {
        Ok(bytes) if Told::by(pack, &bytes).damaged.is_empty() && !bytes.is_empty() => return None,
        Ok(_) => "damaged (the node looks for content that no file needs)".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
        Err(_) => return None,
    };
    Some((path(dir, pack.number, EXTENSION), problem))
}

/// What the bytes of such a file tell.
struct Told {
    offsets: BTreeSet<u32>,
    /// Where a part of an offset at the end begins.
    end: u64,
    /// Where what tells of an entry is damaged, in bytes.
    damaged: Vec<u64>,
}

impl Told {
    fn by(pack: &Pack, bytes: &[u8]) -> Self {
        let (pieces, _) = bytes.as_chunks::<LEN>();
        let mut told = Self {
            offsets: BTreeSet::new(),
            end: (pieces.len() * LEN) as u64,
            damaged: Vec::new(),
        };
        for (piece, at) in pieces.iter().zip((0..).step_by(LEN)) {
            match decode(pack, *piece) {
                Some(offset) => drop(told.offsets.insert(offset)),
                None => told.damaged.push(at),
            }
        }
        told
    }
}

/// The bytes of the file of a pack in `dir`, which are no more than its entries can need, each
/// told of a few times.
fn read(dir: &Path, pack: &Pack) -> io::Result<Vec<u8>> {
    let entries = pack.lend()?.metadata()?.len() / u64::from(ENTRY_HEADER) + 1;
    let longest = entries * LEN as u64 * TIMES;
    stored_file::read(&path(dir, pack.number, EXTENSION), longest)
}

fn encode(pack: &Pack, offset: u32) -> Vec<u8> {
    let offset = offset.to_le_bytes();
    let crc = checksum(&pack.id, &offset).to_le_bytes();
    [offset, crc].concat()
}

fn decode(pack: &Pack, told: [u8; LEN]) -> Option<u32> {
    let [a, b, c, d, crc @ ..] = told;
    let offset = [a, b, c, d];
    let whole = u32::from_le_bytes(crc) == checksum(&pack.id, &offset);
    whole.then_some(u32::from_le_bytes(offset))
}
