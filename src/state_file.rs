//! Small files that remember what is worth keeping across restarts.
//!
//! A file is one line, `<kind> <version> <BLAKE3 hash of the rest, in hex>`, and the
//! rest, which its owner defines. It is replaced whole, so a crash leaves the old one; and the
//! version before stays beside it as `<name>.before`, to be taken where the newer one turns out
//! to be damaged. Where neither can be read, the file is set aside as `<name>.damaged`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, RealDisk, open_stored, replace_file};
use crate::hash::BlobHash;
use crate::stored_file;

/// The longest file read, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// What the name of the version before ends with.
const BEFORE: &str = ".before";
/// What the name of a file ends with that was set aside.
const DAMAGED: &str = ".damaged";
/// What the names of files end with that belong to a state file.
pub const COMPANIONS: [&str; 3] = [BEFORE, DAMAGED, ".unfinished"];

/// A file of this kind at a place of its own.
#[derive(Clone)]
pub struct StateFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Where the version before is.
    before: PathBuf,
    /// Kind and version, such as `larder-peers 1`.
    kind: &'static str,
    /// Whose it is, and whether a content is that one's.
    of: Option<(String, IsOf)>,
}

/// Whether a content, which is whole, is that of an id.
type IsOf = fn(&str, &[u8]) -> bool;

/// What was found of what had been saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// What its owner had saved.
    pub content: Vec<u8>,
    /// Whether that is the version before the last, which is damaged.
    pub is_older: bool,
}

/// How a state file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// As it was saved, or never saved.
    Whole,
    /// The last version is damaged, and the one before it can be taken.
    Mendable,
    /// The last version is whole; the one before it, which nobody needs now, is damaged.
    BeforeDamaged,
    /// Nothing of it can be read.
    Lost,
    /// The system does not let this process read it now, which says nothing of what is in it.
    Unreadable,
    /// It was set aside once, since nothing of it could be read.
    SetAside,
}

impl Health {
    /// What is wrong, in words; None where nothing is.
    pub fn problem(self) -> Option<&'static str> {
        match self {
            Self::Whole => None,
            Self::Mendable => Some("damaged (the node takes the version before)"),
            Self::BeforeDamaged => Some("the version before it is damaged (the node removes that)"),
            Self::Lost => Some("damaged, and no version before can be taken"),
            Self::Unreadable => Some("cannot be read (look at its owner and rights, and the disk)"),
            Self::SetAside => Some("was damaged, and set aside beside it as *.damaged"),
        }
    }
}

impl StateFile {
    /// The file at `path`; `kind` is a word and a version. Nothing is touched yet.
    pub fn new(path: PathBuf, kind: &'static str) -> Self {
        let before = beside(&path, BEFORE);
        Self {
            disk: Arc::new(RealDisk),
            path,
            before,
            kind,
            of: None,
        }
    }

    /// The same file, read and changed by `disk`.
    #[must_use]
    pub fn on(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk, ..self }
    }

    /// The same file, which is about `id`: content that is not, as of a file that was copied over
    /// this one, counts as damaged.
    #[must_use]
    pub fn of(self, id: String, is_of: IsOf) -> Self {
        Self {
            of: Some((id, is_of)),
            ..self
        }
    }

    /// The same file, with the version before it at another place of the same file system, in
    /// a directory that exists once something is saved.
    #[must_use]
    pub fn with_before(self, before: PathBuf) -> Self {
        Self { before, ..self }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was saved last, as [`StateFile::recall`] finds it. Blocks.
    pub fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.recall()?.map(|recalled| recalled.content))
    }

    /// What was saved last. Where that is damaged, the version before is put in its place, with
    /// a warning; where there is none, the file is set aside, with an error in the log. On an
    /// error, such as a want of open files, of rights or of a disk that reads, nothing is known,
    /// and nothing was touched: only what was read can be damaged. Blocks.
    pub fn recall(&self) -> io::Result<Option<Recalled>> {
        let path = self.path.display();
        let (last, before) = (self.read(&self.path), self.read(&self.before));
        let error = match (last, before) {
            (Ok(Some(content)), before) => {
                if let Err(error) = before
                    && is_damage(&error)
                {
                    tracing::warn!(%path, %error, "the version before it is damaged; removed");
                    // What is left of it is told again.
                    let _ = self.disk.remove_file(&self.before);
                }
                let is_older = false;
                return Ok(Some(Recalled { content, is_older }));
            }
            (Err(error), _) | (_, Err(error)) if !is_damage(&error) => return Err(error),
            (Ok(None), Ok(None)) => return Ok(None),
            (last, Ok(Some(content))) => {
                let error = last.err();
                tracing::warn!(%path, ?error, "a state file is damaged; the one before is taken");
                // Nothing can be put in the place of a directory.
                if self.path.is_dir() {
                    let _ = self.disk.rename(&self.path, &beside(&self.path, DAMAGED));
                }
                if let Err(error) = self.replace(&content) {
                    tracing::warn!(%path, %error, "the version before was not put in its place");
                }
                let is_older = true;
                return Ok(Some(Recalled { content, is_older }));
            }
            (Err(error), _) | (Ok(None), Err(error)) => error,
        };
        tracing::error!(%path, %error, "a state file and any before it are damaged; set aside");
        self.set_aside();
        Ok(None)
    }

    /// The version before, where the file itself is gone: somebody has removed it, since saving
    /// leaves one in its place whenever a crash comes. Changes nothing. Blocks.
    pub fn forsaken(&self) -> io::Result<Option<Vec<u8>>> {
        match (self.read(&self.path), self.read(&self.before)) {
            (Ok(None), Ok(before)) => Ok(before),
            (Err(error), _) | (Ok(None), Err(error)) if !is_damage(&error) => Err(error),
            _ => Ok(None),
        }
    }

    /// How the file is, without changing anything. Blocks.
    pub fn health(&self) -> Health {
        match (self.read(&self.path), self.read(&self.before)) {
            (Ok(Some(_)), Ok(_)) | (Ok(None), Ok(None)) if beside(&self.path, DAMAGED).exists() => {
                Health::SetAside
            }
            (Ok(Some(_)), Ok(_)) | (Ok(None), Ok(None)) => Health::Whole,
            (Err(error), _) | (_, Err(error)) if !is_damage(&error) => Health::Unreadable,
            (Ok(Some(_)), Err(_)) => Health::BeforeDamaged,
            (_, Ok(Some(_))) => Health::Mendable,
            _ => Health::Lost,
        }
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = open_stored(&*self.disk, path);
        let bytes = match file.and_then(|file| stored_file::whole(file, MAX_BYTES)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, content) = bytes.split_at(end.unwrap_or(bytes.len()));
        let content = content.strip_prefix(b"\n").unwrap_or(content);
        if line != self.first_line(content).as_bytes() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let is_own = |(id, is_of): &(String, IsOf)| is_of(id, content);
        if !self.of.as_ref().is_none_or(is_own) {
            let told = "it is of something else";
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        Ok(Some(content.to_vec()))
    }

    /// Replaces what was saved, durably. Blocks; one call at a time.
    pub fn save(&self, content: &[u8]) -> io::Result<()> {
        let before = &self.before;
        self.disk.remove_file(before)?;
        // A file system without hard links has no version before; that is no reason to fail.
        if let Err(error) = self.disk.link(&self.path, before)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %before.display(), %error, "the version before is not kept");
        }
        self.replace(content)
    }

    /// Removes the file and what belongs to it, by `disk`; the file itself last but before what
    /// was set aside, so that no older version comes back, also after a power cut. Blocks.
    pub fn remove(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.remove_file(&self.before)?;
        // Nothing orders the changes of two directories.
        if let Some(dir) = self.before.parent()
            && self.path.parent() != Some(dir)
        {
            match disk.sync_dir(dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        disk.remove_file(&self.path)?;
        disk.remove_file(&beside(&self.path, DAMAGED))
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let line = self.first_line(content) + "\n";
        let bytes = [line.as_bytes(), content].concat();
        replace_file(&*self.disk, &self.path, &bytes)
    }

    fn set_aside(&self) {
        let (disk, aside) = (&self.disk, beside(&self.path, DAMAGED));
        let moved = match disk.rename(&self.path, &aside) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk.rename(&self.before, &aside),
            moved => moved.and_then(|()| disk.remove_file(&self.before)),
        };
        if let Err(error) = moved {
            let path = self.path.display();
            tracing::warn!(%path, %error, "a damaged state file stays in its place");
        }
    }

    fn first_line(&self, content: &[u8]) -> String {
        format!("{} {}", self.kind, BlobHash::of(content))
    }
}

/// Whether an error of reading says that what is there is not what was saved.
fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(path.as_os_str());
    path.push(ending);
    path.into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(dir: &tempfile::TempDir) -> (PathBuf, StateFile) {
        let path = dir.path().join("state");
        (path.clone(), StateFile::new(path, "test 1"))
    }

    #[test]
    fn what_was_saved_last_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = file(&dir);
        assert_eq!(file.load().unwrap(), None);
        for content in [&b"one"[..], b"", b"two\nlines\n"] {
            file.save(content).unwrap();
            assert_eq!(file.load().unwrap().as_deref(), Some(content));
            assert_eq!(file.health(), Health::Whole);
        }
        assert_eq!(StateFile::new(path, "test 2").load().unwrap(), None);
    }

    #[test]
    fn wherever_a_bit_flips_or_it_ends_the_version_before_is_taken_and_put_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = file(&dir);
        file.save(b"one").unwrap();
        file.save(b"two").unwrap();
        let whole = fs::read(&path).unwrap();
        let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
        let flipped = (0..whole.len() * 8).map(|bit| {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        for damaged in cut.chain(flipped) {
            file.save(b"one").unwrap();
            file.save(b"two").unwrap();
            fs::write(&path, damaged).unwrap();
            assert_eq!(file.health(), Health::Mendable);
            let recalled = file.recall().unwrap().unwrap();
            assert_eq!(recalled.content, b"one");
            assert!(recalled.is_older);
            assert_eq!(file.health(), Health::Whole);
            assert!(!file.recall().unwrap().unwrap().is_older);
        }
    }

    #[test]
    fn what_cannot_be_read_now_is_not_damaged_and_nothing_is_done_to_it() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (here, away) = (dir.path().join("here"), dir.path().join("away"));
        fs::create_dir(&here).unwrap();
        let path = here.join("state");
        let file = StateFile::new(path.clone(), "test 1").with_before(dir.path().join("before"));
        file.save(b"one").unwrap();
        file.save(b"two").unwrap();
        // The version before can be read, and is not taken for what was saved last.
        fs::rename(&here, &away).unwrap();
        symlink(&here, &here).unwrap();
        assert_eq!(file.recall().unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(file.health(), Health::Unreadable);
        fs::remove_file(&here).unwrap();
        fs::rename(&away, &here).unwrap();
        assert_eq!(file.load().unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(file.health(), Health::Whole);
        // Nor is the last one given up for damaged where the one before is not known.
        fs::write(&path, b"damaged").unwrap();
        let file = StateFile::new(path.clone(), "test 1").with_before(away.join("before"));
        symlink(&away, &away).unwrap();
        file.recall().unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"damaged");
    }

    #[test]
    fn what_cannot_be_mended_is_set_aside_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = file(&dir);
        file.save(b"one").unwrap();
        fs::write(&path, b"damaged").unwrap();
        assert_eq!(file.health(), Health::Lost);
        assert_eq!(file.load().unwrap(), None);
        assert_eq!(file.health(), Health::SetAside);
        file.save(b"two").unwrap();
        assert_eq!(file.health(), Health::SetAside);
        let aside = dir.path().join("state.damaged");
        assert_eq!(fs::read(&aside).unwrap(), b"damaged");
        assert_eq!(file.load().unwrap().as_deref(), Some(&b"two"[..]));
        file.remove(&RealDisk).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
