//! Whether a file is still the one that was looked at before.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How much older than now the last change of a file must be, so that the next one gets
/// another time: the kernel's clock of files ticks every 10 ms at least.
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// The same where the file system only knows whole seconds, or every other one.
const SETTLED_AFTER_WHOLE: Duration = Duration::from_secs(3);

/// What of a file differs after any change to it, or when another takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    inode: u64,
    /// The length, in bytes.
    pub(super) size: u64,
    /// In nanoseconds.
    modified: i128,
    /// In nanoseconds; nobody can set it back.
    changed: i128,
}

impl Identity {
    /// That of an open file. Blocks.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// That of whatever is at `path`. Blocks.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::symlink_metadata(path)?))
    }

    /// Whether a change from now on is sure to show.
    pub(super) fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_nanos().cast_signed());
        let is_whole = self.changed % 1_000_000_000 == 0;
        let after = if is_whole {
            SETTLED_AFTER_WHOLE
        } else {
            SETTLED_AFTER
        };
        now - self.changed > after.as_nanos().cast_signed()
    }
}

impl From<&Metadata> for Identity {
    fn from(look: &Metadata) -> Self {
        let nanos = |seconds, nanos| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            inode: look.ino(),
            size: look.len(),
            modified: nanos(look.mtime(), look.mtime_nsec()),
            changed: nanos(look.ctime(), look.ctime_nsec()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inode,
            size,
            modified,
            changed,
        } = self;
        write!(f, "{inode} {size} {modified} {changed}")
    }
}

/// A text that is no identity.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoIdentity;

impl FromStr for Identity {
    type Err = NoIdentity;

    fn from_str(text: &str) -> Result<Self, NoIdentity> {
        let words: Vec<_> = text.split(' ').collect();
        let [inode, size, modified, changed] = words[..] else {
            return Err(NoIdentity);
        };
        Ok(Self {
            inode: inode.parse().map_err(|_| NoIdentity)?,
            size: size.parse().map_err(|_| NoIdentity)?,
            modified: modified.parse().map_err(|_| NoIdentity)?,
            changed: changed.parse().map_err(|_| NoIdentity)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_being_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let one = Identity::at(&path).unwrap();
        let text = one.to_string();
        assert_eq!(text.parse::<Identity>().unwrap(), one);
        for cut in [&text[1..], &text[..text.len() - 1], "", "1 2 3", "1 2 3 x"] {
            assert!(cut.parse::<Identity>().ok() != Some(one), "{cut}");
        }
        std::fs::write(&path, "contents").unwrap();
        assert_ne!(Identity::at(&path).unwrap(), one);
    }
}
