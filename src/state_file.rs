//! Small files that remember what is worth keeping across restarts and can be lost.
//!
//! A file is one line, `<kind> <version> <BLAKE3 hash of the rest, in hex>`, and the
//! rest, which its owner defines. It is replaced whole, so a crash leaves the old one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, RealDisk};
use crate::hash::BlobHash;

/// The longest file read, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// A file of this kind at a place of its own.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
    /// Kind and version, such as `larder-peers 1`.
    kind: &'static str,
}

impl StateFile {
    /// The file at `path`; `kind` is a word and a version. Nothing is touched yet.
    pub fn new(path: PathBuf, kind: &'static str) -> Self {
        Self { path, kind }
    }

    /// What was saved last; nothing, with a warning, where it cannot be read. Blocks.
    pub fn load(&self) -> Option<Vec<u8>> {
        match self.read() {
            Ok(content) => content,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "begins anew, without what this file kept");
                None
            }
        }
    }

    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let bytes = match fs::metadata(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(look) if look.len() > MAX_BYTES => return Err(io::ErrorKind::FileTooLarge.into()),
            _ => fs::read(&self.path)?,
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, content) = bytes.split_at(end.unwrap_or(bytes.len()));
        let content = content.strip_prefix(b"\n").unwrap_or(content);
        if line != self.first_line(content).as_bytes() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some(content.to_vec()))
    }

    /// Replaces what was saved, durably. Blocks; one call at a time.
    pub fn save(&self, content: &[u8]) -> io::Result<()> {
        let unfinished = self.path.with_extension("unfinished");
        let disk = RealDisk;
        disk.remove_file(&unfinished)?;
        let file = disk.create(&unfinished)?;
        let line = self.first_line(content) + "\n";
        file.write_all_at(line.as_bytes(), 0)?;
        file.write_all_at(content, line.len() as u64)?;
        file.sync()?;
        disk.rename(&unfinished, &self.path)?;
        disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
    }

    fn first_line(&self, content: &[u8]) -> String {
        format!("{} {}", self.kind, BlobHash::of(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_damage_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let file = StateFile::new(path.clone(), "test 1");
        assert_eq!(file.load(), None);
        for content in [&b"one"[..], b"", b"two\nlines\n"] {
            file.save(content).unwrap();
            assert_eq!(file.load().as_deref(), Some(content));
        }
        assert_eq!(StateFile::new(path.clone(), "test 2").load(), None);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(file.load(), None, "cut to {length}");
        }
    }
}
