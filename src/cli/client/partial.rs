//! What a download leaves where it ends early, and how a later command takes it over.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::safe_name::LONGEST_NAME;

/// How much of the hash is in the name of a partial file, in digits.
const DIGITS: usize = 12;
/// For whoever gets the file, until it has its final name.
pub(super) const MODE: u32 = 0o600;
pub(super) const SUFFIX: &str = ".part";
/// As long as the other, so that no name gets too long by it.
const SECOND_SUFFIX: &str = ".done";

/// Where a download stays until it is whole: by its hash, so that it goes on with nothing else.
pub(super) fn partial(target: &Path, content: &str) -> PathBuf {
    let content = content.get(..DIGITS).unwrap_or(content);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let room = LONGEST_NAME - ".".len() * 2 - content.len() - SUFFIX.len();
    let (name, _) = name.split_at(name.floor_char_boundary(room));
    target.with_file_name(format!(".{name}.{content}{SUFFIX}"))
}

/// What a partial file is called besides for the moment in which it replaces another.
pub(super) fn second(partial: &Path) -> PathBuf {
    let name = partial.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(SUFFIX).unwrap_or(&name);
    partial.with_file_name(format!("{name}{SECOND_SUFFIX}"))
}

/// The partial file at `path`, made if there is nothing; none if it is not this process's alone. A
/// process that was killed may have left it a second name.
pub(super) fn resumed(path: &Path, second: &Path) -> Option<File> {
    // To open a device or a pipe may do something or wait.
    let there = path.symlink_metadata();
    if there.is_ok_and(|it| !it.is_file()) {
        return None;
    }
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = options.mode(MODE).custom_flags(flags).open(path).ok()?;
    let mut about = file.metadata().ok()?;
    if about.nlink() == 2 && lock(&file) && is_at(&file, second) {
        fs::remove_file(second).ok()?;
        about = file.metadata().ok()?;
    }
    // Others could write to it, or it is a file that has another name, too.
    let is_own = about.is_file()
        && about.nlink() == 1
        && about.uid() == rustix::process::geteuid().as_raw()
        && about.mode() & 0o022 == 0;
    // Whoever had the lock may have given the file its name.
    let is_free = is_own && lock(&file) && is_at(&file, path);
    is_free.then_some(file)
}

/// Whether this very file is what the path names.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |it: Metadata| (it.dev(), it.ino());
    let there = path.symlink_metadata().map(identity);
    there.is_ok_and(|there| file.metadata().is_ok_and(|it| identity(it) == there))
}

/// Takes the lock of a partial file, if no other process has it: one that was killed may still be
/// about to end.
fn lock(file: &File) -> bool {
    const ENDING: Duration = Duration::from_secs(2);
    const OFTEN: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return true,
            Err(TryLockError::WouldBlock) if begun.elapsed() < ENDING => thread::sleep(OFTEN),
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_name_of_a_partial_file_is_never_too_long() {
        for name in ["a".repeat(255), "\u{3042}".repeat(85), "a".to_owned()] {
            let partial = partial(Path::new(&name), &"f".repeat(64));
            let made = partial.file_name().unwrap().len();
            assert!(made <= LONGEST_NAME, "{made}");
        }
        let short = partial(Path::new("dir/o"), "0123456789abcdef");
        assert_eq!(short, Path::new("dir/.o.0123456789ab.part"));
    }

    #[test]
    fn only_a_file_of_ones_own_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("partial");
        fs::write(&path, "begun").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let first = resumed(&path, &second(&path)).unwrap();
        assert!(resumed(&path, &second(&path)).is_none(), "another has it");
        drop(first);
        assert!(resumed(&path, &second(&path)).is_some());
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(
            resumed(&path, &second(&path)).is_none(),
            "others may write to it"
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link");
        fs::hard_link(&path, &link).unwrap();
        assert!(
            resumed(&path, &second(&path)).is_none(),
            "it has another name"
        );
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(resumed(&link, &second(&link)).is_none(), "it is a link");
        assert!(
            resumed(dir.path(), &second(dir.path())).is_none(),
            "it is a folder"
        );
        assert_eq!(fs::read(&path).unwrap(), b"begun");
    }

    #[test]
    fn what_a_process_has_that_is_about_to_end_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("partial");
        fs::write(&path, "begun").unwrap();
        let ending = resumed(&path, &second(&path)).unwrap();
        let ends = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            drop(ending);
        });
        assert!(resumed(&path, &second(&path)).is_some());
        ends.join().unwrap();
    }
}
