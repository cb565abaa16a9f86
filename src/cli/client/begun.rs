//! Uploads that were begun and have not ended, remembered across runs.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::base_url::BaseUrl;
use crate::cli::state::{open_state, state_directory};
use crate::hash::BlobHash;
use crate::resumable::UploadId;

/// The longest note that is read, in bytes; an id is shorter.
const LONGEST: u64 = 100;
/// How many uploads are remembered, in a small file each.
const MOST: usize = 10_000;
/// For how long an upload is remembered, which is longer than a node waits unless it is told to.
const OLDEST: Duration = Duration::from_hours(30 * 24);

/// What an upload is of. Another node, file, content as far as one can tell without reading it,
/// name or description is another upload.
pub(super) struct Subject<'a> {
    pub(super) node: &'a BaseUrl,
    pub(super) what: What<'a>,
    /// What the node is told of it.
    pub(super) metadata: &'a str,
}

/// What is sent.
pub(super) enum What<'a> {
    File(&'a Path, &'a Metadata),
    /// What came out of a pipe, by its hash.
    Copy(BlobHash),
}

/// A note of which upload a file belongs to until that is whole, in the user's state directory
/// (XDG Base Directory Specification). Without one, or where another process sends the same file
/// at this moment, nothing is remembered.
pub(super) struct Begun(Option<Note>);

/// A file that is locked as long as it is open.
struct Note {
    file: File,
    path: PathBuf,
}

impl Begun {
    /// The note of what is sent now, by the key of that. Blocks.
    pub(super) fn of(key: &str) -> Self {
        Self(directory().and_then(|dir| note(&dir.join(key)).ok()?))
    }

    /// The upload that was begun before, if there is one.
    pub(super) fn recall(&self) -> Option<UploadId> {
        let mut text = String::new();
        let mut file = &self.0.as_ref()?.file;
        file.rewind().ok()?;
        file.take(LONGEST).read_to_string(&mut text).ok()?;
        text.trim_end().parse().ok()
    }

    /// Where that fails, the upload can only go on while this process lives.
    pub(super) fn remember(&self, upload: UploadId) {
        if let Some(Note { file, .. }) = &self.0 {
            let mut file = file;
            let _ = file.set_len(0).and_then(|()| {
                file.rewind()?;
                writeln!(file, "{upload}")
            });
        }
    }

    /// The upload is no longer one to go on with; the next one is noted in its place.
    pub(super) fn disown(&self) {
        if let Some(Note { file, .. }) = &self.0 {
            let _ = file.set_len(0);
        }
    }

    pub(super) fn forget(&mut self) {
        if let Some(Note { path, .. }) = self.0.take() {
            let _ = fs::remove_file(path);
        }
    }
}

impl Subject<'_> {
    /// What it is known by in another run: 64 hexadecimal digits.
    pub(super) fn key(&self) -> String {
        let Self {
            node,
            what,
            metadata,
        } = self;
        let (path, about) = match what {
            What::File(path, about) => (path, about),
            What::Copy(hash) => {
                let all = format!("{node} {hash} {metadata}");
                return blake3::hash(all.as_bytes()).to_hex().to_string();
            }
        };
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        // The time of the last change is set by the system alone.
        let file = (
            about.dev(),
            about.ino(),
            about.len(),
            about.mtime(),
            about.mtime_nsec(),
        );
        let changed = (about.ctime(), about.ctime_nsec());
        let all = format!("{node} {} {file:?} {changed:?} {metadata}", whole.display());
        blake3::hash(all.as_bytes()).to_hex().to_string()
    }
}

/// Removes a note, unless it is in use.
fn forget(path: &Path) {
    let note = note(path).ok().flatten();
    Begun(note).forget();
}

/// Removes notes of uploads that nobody went on with. Blocks.
pub(super) fn sweep() {
    let found = directory().and_then(|dir| fs::read_dir(dir).ok());
    let notes = found.into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let about = path.symlink_metadata().ok().filter(Metadata::is_file)?;
        Some((about.modified().ok()?, path))
    });
    let mut notes: Vec<_> = notes.collect();
    notes.sort_unstable();
    let too_many = notes.len().saturating_sub(MOST);
    let now = SystemTime::now();
    for (number, (written, path)) in notes.into_iter().enumerate() {
        let age = now.duration_since(written).unwrap_or_default();
        if number < too_many || age > OLDEST {
            forget(&path);
        }
    }
}

fn directory() -> Option<PathBuf> {
    Some(state_directory()?.join("uploads"))
}

/// The note at `path`, made if there is none; nothing where another process has it.
fn note(path: &Path) -> io::Result<Option<Note>> {
    let file = open_state(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.nlink() != 1 || file.try_lock().is_err() {
        return Ok(None);
    }
    // Whoever had the lock may have removed it.
    let there = path.symlink_metadata()?;
    let is_there = (there.dev(), there.ino()) == (about.dev(), about.ino());
    Ok(is_there.then(|| Note {
        file,
        path: path.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "21a4100bccba4d56afe5ff49cfb4b7c1";

    fn begun(path: &Path) -> Begun {
        Begun(note(path).unwrap())
    }

    #[test]
    fn a_note_is_read_by_the_next_and_not_while_it_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/larder/note");
        let first = begun(&path);
        assert_eq!(first.recall(), None);
        first.remember(ID.parse().unwrap());
        assert!(begun(&path).0.is_none());
        drop(first);
        let mut second = begun(&path);
        assert_eq!(second.recall().unwrap().to_string(), ID);
        second.forget();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_note_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note");
        for text in [
            "",
            "/api/p2p/tus/x",
            "../../etc",
            &ID[1..],
            &format!("{ID}0"),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(begun(&path).recall(), None, "{text}");
        }
        fs::write(&path, vec![0xff; 1 << 20]).unwrap();
        assert_eq!(begun(&path).recall(), None);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(note(&link).is_err());
        assert!(note(dir.path()).is_err());
    }

    #[test]
    fn whatever_differs_is_another_upload() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for path in [&a, &b] {
            fs::write(path, "same").unwrap();
        }
        let key = |node: &str, path: &Path, metadata: &str| {
            let about = &path.metadata().unwrap();
            let node = &node.parse().unwrap();
            Subject {
                node,
                what: What::File(path, about),
                metadata,
            }
            .key()
        };
        let keys = [
            key("http://one", &a, "x"),
            key("http://two", &a, "x"),
            key("http://one", &b, "x"),
            key("http://one", &a, "y"),
        ];
        assert_eq!(keys[0], key("http://one", &a, "x"));
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }
}
