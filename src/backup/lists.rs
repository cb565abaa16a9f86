//! The list of all files of a moment, cut into pieces.
//!
//! Where it is cut depends on the ids of the files alone. So a file that comes or goes changes one
//! piece, and all others are what they were in the backup before.

use crate::file_line::FileLine;
use crate::hash::BlobHash;
use crate::record::FileId;

/// One in so many files ends a piece.
const FILES: u16 = 2048;
/// The most files of a piece.
const MOST_FILES: usize = 4 * FILES as usize;
/// How long the texts of a piece are together, in bytes, unless one alone is longer.
const BYTES: usize = 4 << 20;
/// The longest piece that is read, in bytes.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// Files that are gathered into pieces of a list.
#[derive(Default)]
pub struct Gathering {
    files: Vec<FileLine>,
    bytes: usize,
}

impl Gathering {
    /// Adds the next file, and gives out the piece that it ends.
    pub fn add(&mut self, file: FileLine) -> Option<Vec<FileLine>> {
        let ends = ends_piece(file.id);
        self.bytes += file.name.len() + file.description.len();
        self.files.push(file);
        let is_full = self.files.len() >= MOST_FILES || self.bytes >= BYTES;
        (ends || is_full).then(|| self.take())
    }

    /// What is left at the end; nothing where that is nothing.
    pub fn end(mut self) -> Option<Vec<FileLine>> {
        (!self.files.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Vec<FileLine> {
        self.bytes = 0;
        std::mem::take(&mut self.files)
    }
}

fn ends_piece(id: FileId) -> bool {
    let hash = BlobHash::of(id.as_bytes());
    let [first, second, ..] = *hash.as_bytes();
    u16::from_le_bytes([first, second]).is_multiple_of(FILES)
}

/// A piece as it is kept: a line of JSON for each file.
pub(super) fn written(files: &[FileLine]) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    for file in files {
        serde_json::to_writer(&mut text, file)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// The files of a piece.
pub(super) fn read(text: &[u8]) -> Result<Vec<FileLine>, serde_json::Error> {
    let lines = text.split(|it| *it == b'\n').filter(|it| !it.is_empty());
    lines.map(serde_json::from_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u32) -> FileLine {
        FileLine {
            id: FileId::from_bytes(u128::from(number).to_be_bytes()),
            at: 0,
            name: number.to_string(),
            content_type: None,
            description: String::new(),
            size: 0,
            hash: BlobHash::of(b""),
            lacks: false,
        }
    }

    fn pieces(files: impl Iterator<Item = u32>) -> Vec<Vec<u8>> {
        let mut gathering = Gathering::default();
        let mut pieces: Vec<_> = files.filter_map(|it| gathering.add(file(it))).collect();
        pieces.extend(gathering.end());
        pieces.iter().map(|it| written(it).unwrap()).collect()
    }

    #[test]
    fn a_file_that_goes_or_comes_changes_one_piece() {
        let before = pieces(0..50_000);
        assert!(before.len() > 10, "{}", before.len());
        let joined = before.concat();
        assert_eq!(read(&joined).unwrap().len(), 50_000);
        for after in [
            pieces((0..50_000).filter(|it| *it != 25_000)),
            pieces(0..50_001),
        ] {
            let new = after.iter().filter(|it| !before.contains(it)).count();
            assert!((1..=2).contains(&new), "{new}");
        }
    }

    #[test]
    fn a_piece_of_long_texts_ends() {
        let mut gathering = Gathering::default();
        let long = (0..).map(|number| FileLine {
            description: "x".repeat(16 << 10),
            ..file(number)
        });
        let first = long.take(1000).find_map(|it| gathering.add(it)).unwrap();
        assert!(first.len() <= 256, "{}", first.len());
    }
}
