//! A file that comes into being beside its final name, and is given that once its bytes are right.
//!
//! What else is in the directory may be anybody's: another command that gets the same file, what
//! an earlier one has left, a link or a pipe that somebody has put where it would be written. So
//! only a file that is this process's alone is written; all of it is hashed as it lies there; and
//! the file that was hashed is named, not whatever a name leads to by then.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blake3::Hasher;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile, TempPath};

use super::failure::Failure;
use super::partial::{MODE, SUFFIX, is_at, partial, resumed, second};
use crate::hash::BlobHash;

const PREFIX: &str = ".larder.";

/// A file on its way to its name. All calls block.
pub(super) struct Landing {
    file: File,
    name: Name,
    target: PathBuf,
}

/// What the file is called until then.
enum Name {
    /// By its target and its content, so that a later command goes on with it.
    Partial(PathBuf),
    /// At random, where somebody else has that name; it goes when dropped.
    Temporary(TempPath),
    /// Nothing at all, where the file system has such files.
    None,
}

/// What tells that nobody has written to a file.
type Stamp = (u64, Option<SystemTime>);

impl Landing {
    /// The file for what will be `target` and have this hash, or no hash but this id: one that
    /// an earlier command has begun, if that has ended, or a new one.
    pub(super) fn open(target: &Path, content: &str) -> Result<Self, Failure> {
        let partial = partial(target, content);
        let identity = |path: &Path| path.symlink_metadata().map(|it| (it.dev(), it.ino())).ok();
        if identity(target).is_some_and(|it| identity(&partial) == Some(it)) {
            // The earlier one was killed just when it had given the file its name.
            let _ = fs::remove_file(&partial);
        }
        let (file, name) = match resumed(&partial, &second(&partial)) {
            Some(file) => (file, Name::Partial(partial)),
            None => Failure::of_file(target, new(dir_of(target)))?,
        };
        let target = target.to_owned();
        Ok(Self { file, name, target })
    }

    /// How many bytes are there.
    pub(super) fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |it| it.len())
    }

    /// The file for writing behind its first `length` bytes; there are no others then.
    pub(super) fn writer(&self, length: u64) -> Result<File, Failure> {
        let writer = || {
            self.file.set_len(length)?;
            let mut file = self.file.try_clone()?;
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        };
        Failure::of_file(&self.target, writer())
    }

    /// The name that it will have.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the file its name if it has `size` bytes and this hash; whatever it is called in
    /// errors. What is there already is only replaced where `replace` says so.
    pub(super) fn publish(
        &self,
        size: u64,
        hash: Option<BlobHash>,
        called: &str,
        replace: bool,
    ) -> Result<(), Failure> {
        let target = self.target.clone();
        let wrong = || Failure::WrongBytes(called.to_owned(), "nothing was kept of them");
        let told = |error| Failure::File(target.clone(), error);
        // A name for bytes that a power cut takes would be worth nothing.
        self.file.sync_all().map_err(told)?;
        if self.path().is_some() && self.file.metadata().map_err(told)?.nlink() == 0 {
            // Another command that got the same may have tidied up behind itself.
            let is_there = is_same(&target, size, hash).then_some(());
            let removed = "somebody has removed the partial file; get it once more";
            return is_there.ok_or_else(|| told(io::Error::other(removed)));
        }
        let stamp = stamp(&self.file).map_err(told)?;
        if stamp.0 != size || !has_hash(&self.file, hash).map_err(told)? {
            self.discard();
            return Err(wrong());
        }
        let old = if replace {
            replaced(&target, replace)?
        } else {
            None
        };
        self.take_mode(old.as_ref()).map_err(told)?;
        if let Err(error) = self.take_name(replace) {
            // Another command may have got the same.
            if is_same(&target, size, hash) {
                self.discard();
                return Ok(());
            }
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::Exists(target),
                _ => told(error),
            });
        }
        if self.is_at(&target) && self::stamp(&self.file).map_err(told)? != stamp {
            // Somebody has written to it since it was hashed.
            fs::remove_file(&target).map_err(told)?;
            return Err(wrong());
        }
        // Of some directories this cannot be asked; then a power cut may take the name.
        let _ = File::open(dir_of(&target)).and_then(|dir| dir.sync_all());
        self.discard();
        Ok(())
    }

    /// Leaves what is there to a later command that goes on with it: where, if that is anything
    /// and such a command finds it.
    pub(super) fn leave(self) -> Option<PathBuf> {
        if self.length() == 0 {
            self.discard();
            return None;
        }
        match self.name {
            Name::Partial(path) => Some(path),
            Name::Temporary(_) | Name::None => None,
        }
    }

    /// Removes the name that the file has had until now, if it has it still.
    pub(super) fn discard(&self) {
        if let Name::Partial(path) = &self.name
            && self.is_at(path)
        {
            // Who cannot remove it could not have made it.
            let _ = fs::remove_file(path);
        }
    }

    /// Has the file's mode be that of the one which it replaces, or what a new file has.
    fn take_mode(&self, replaced: Option<&Metadata>) -> io::Result<()> {
        let mode = match replaced {
            None => 0o666 & !umask(),
            Some(old) if old.gid() == self.file.metadata()?.gid() => old.mode() & 0o777,
            Some(old) => match fchown(&self.file, None, Some(old.gid())) {
                Ok(()) => old.mode() & 0o777,
                // It would be another group that may read it.
                Err(_) => old.mode() & 0o707,
            },
        };
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    fn take_name(&self, replace: bool) -> io::Result<()> {
        let linked = if replace {
            // A name of its own, which only then replaces the old one.
            self.link_beside()
        } else {
            match link(&self.file, &self.target) {
                Ok(()) => return Ok(()),
                Err(error) => Err(error),
            }
        };
        match (linked, self.path()) {
            (Ok(name), _) => name.persist(&self.target).map_err(|it| it.error),
            (Err(error), _) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A file system without hard links.
            (Err(_), Some(path)) if self.is_at(path) => {
                if replace {
                    fs::rename(path, &self.target)
                } else {
                    rename_new(path, &self.target)
                }
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Gives the file one more name in the directory of its target: one that a later command
    /// knows, where it has the partial one, or else any.
    fn link_beside(&self) -> io::Result<TempPath> {
        if let Name::Partial(partial) = &self.name {
            let second = second(partial);
            if link(&self.file, &second).is_ok() {
                return TempPath::try_from_path(second);
            }
        }
        let random = Builder::new().prefix(PREFIX).suffix(SUFFIX).to_owned();
        let linked = random.make_in(dir_of(&self.target), |path| link(&self.file, path));
        linked.map(NamedTempFile::into_temp_path)
    }

    fn path(&self) -> Option<&Path> {
        match &self.name {
            Name::Partial(path) => Some(path),
            Name::Temporary(path) => Some(path),
            Name::None => None,
        }
    }

    /// Whether this very file is what the path names.
    fn is_at(&self, path: &Path) -> bool {
        is_at(&self.file, path)
    }
}

/// What is at a target and would be replaced: nothing, or a file where `replace` allows that.
pub(super) fn replaced(target: &Path, replace: bool) -> Result<Option<Metadata>, Failure> {
    let not = |kind| Err(Failure::NotReplaced(target.to_owned(), kind));
    if target.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return not("the name of a folder");
    }
    match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::File(target.to_owned(), error)),
        Ok(there) if there.is_dir() => not("a folder"),
        Ok(_) if !replace => Err(Failure::Exists(target.to_owned())),
        Ok(there) if there.is_file() => Ok(Some(there)),
        Ok(there) if there.is_symlink() => not("a link"),
        Ok(_) => not("no file"),
    }
}

fn dir_of(target: &Path) -> &Path {
    match target.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// A file that no other process has.
fn new(dir: &Path) -> io::Result<(File, Name)> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    // Without this directory it could be given no name.
    if Path::new("/proc/self/fd").exists()
        && let Ok(file) = rustix::fs::open(dir, flags, Mode::from_raw_mode(MODE))
    {
        return Ok((file.into(), Name::None));
    }
    let random = Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
        .tempfile_in(dir)?;
    let (file, path) = random.into_parts();
    Ok((file, Name::Temporary(path)))
}

/// Gives this very file one more name, which must be free.
fn link(file: &File, to: &Path) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(
        CWD,
        from,
        CWD,
        to,
        AtFlags::SYMLINK_FOLLOW,
    )?)
}

/// Renames a file to what must be free.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot promise that nothing comes in between.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match to.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        },
        renamed => Ok(renamed?),
    }
}

/// Removes what earlier commands have left of this content beside its target, where that is whole:
/// one that was killed when it had just given the file its name, or one that somebody else has
/// overtaken. Blocks.
pub(super) fn tidy(target: &Path, content: &str) {
    let partial = partial(target, content);
    let identity = |path: &Path| path.symlink_metadata().map(|it| (it.dev(), it.ino())).ok();
    let there = identity(&partial);
    // Held until it is removed, so that nobody begins to write to it meanwhile.
    let left = there.and_then(|_| resumed(&partial, &second(&partial)));
    if there.is_some() && (there == identity(target) || left.is_some()) {
        let _ = fs::remove_file(&partial);
    }
}

/// Whether a file with these bytes is at `path`. Blocks.
pub(super) fn is_same(path: &Path, size: u64, hash: Option<BlobHash>) -> bool {
    let about = path.symlink_metadata();
    let may_be = about.is_ok_and(|it| it.is_file() && it.len() == size);
    may_be
        && hash.is_some()
        && File::open(path).is_ok_and(|it| has_hash(&it, hash).is_ok_and(|it| it))
}

fn has_hash(mut file: &File, hash: Option<BlobHash>) -> io::Result<bool> {
    let Some(hash) = hash else {
        return Ok(true);
    };
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Hasher::new();
    hasher.update_reader(file)?;
    Ok(BlobHash::from(hasher.finalize()) == hash)
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let about = file.metadata()?;
    Ok((about.len(), about.modified().ok()))
}

/// The bits that new files do not have, as this process was told.
fn umask() -> u32 {
    let umask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(umask);
    umask.bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_name_that_a_killed_process_has_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (target, hash) = (dir.path().join("o"), BlobHash::of(b"right"));
        fs::write(&target, "old").unwrap();
        let partial = partial(&target, &hash.to_string());
        fs::write(&partial, "right").unwrap();
        fs::hard_link(&partial, second(&partial)).unwrap();
        let landing = Landing::open(&target, &hash.to_string()).unwrap();
        assert_eq!(landing.length(), 5);
        landing.publish(5, Some(hash), "o", true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"right");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_only_renamed_to_what_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        let refused = rename_new(&from, &to).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"old");
        fs::remove_file(&to).unwrap();
        rename_new(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }

    #[test]
    fn the_second_name_of_a_file_that_was_just_named_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, hash) = (dir.path().join("o"), BlobHash::of(b"right"));
        let partial = partial(&target, &hash.to_string());
        fs::write(&target, "right").unwrap();
        fs::hard_link(&target, &partial).unwrap();
        let landing = Landing::open(&target, &hash.to_string()).unwrap();
        std::io::Write::write_all(&mut landing.writer(0).unwrap(), b"right").unwrap();
        landing.publish(5, Some(hash), "o", true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"right");
        assert!(!partial.exists());
    }

    #[test]
    fn what_was_hashed_is_published_wherever_its_name_leads_by_then() {
        let dir = tempfile::tempdir().unwrap();
        let (target, hash) = (dir.path().join("o"), BlobHash::of(b"right"));
        let landing = Landing::open(&target, &hash.to_string()).unwrap();
        std::io::Write::write_all(&mut landing.writer(0).unwrap(), b"right").unwrap();
        // The name is taken by another file at the last moment.
        let partial = partial(&target, &hash.to_string());
        fs::rename(&partial, dir.path().join("aside")).unwrap();
        fs::write(&partial, "wrong").unwrap();
        landing.publish(5, Some(hash), "o", false).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"right");
    }
}
