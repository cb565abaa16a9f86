//! Bringing a storage directory that an older larder has written to the format of this one, before
//! anything else of it is opened.
//!
//! All that takes long, or room, is made beside what is there, in `upgrading/`. Only then
//! `larder.format` is written anew, at once: from then on an older larder refuses the directory.
//! What was made takes its place behind that. Whatever is cut off before leaves the older
//! directory, and what is cut off behind it is made anew by the next start.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ballast;
use super::directory::DirectoryError;
use super::layout::{UPGRADING, VERSION};
use super::version::{VersionError, version, write_version};
use crate::blob::local::note_small_files;
use crate::disk::Disk;
use crate::index::IndexError;
use crate::index::local as index;

/// The room that a record takes in a lookup database that is made, at most, in bytes.
const A_FILE: u64 = 1024;
/// How many entries of a journal are read and written in a second, by a slow machine.
const ENTRIES_A_SECOND: u64 = 25_000;
/// How often it is told how far an upgrade is.
const TOLD_EVERY: Duration = Duration::from_millis(100);
/// How often the log has a line of it.
const LOGGED_EVERY: Duration = Duration::from_secs(5);

/// What is done to a storage directory before this larder uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    /// The format that it has.
    pub from: u32,
    /// The format that it will have. The same where only what lookups are answered by is of an
    /// older larder.
    pub to: u32,
    /// How many files it has.
    pub files: u64,
    /// How many changes the journal tells of them, all of which are read.
    pub entries: u64,
    /// How much room it takes at most, in bytes.
    pub needs: u64,
    /// How much is free, in bytes, where the file system says so.
    pub free: Option<u64>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was changed yet.
    Begins,
    /// So many of the changes that the journal tells are read.
    Reads(u64),
    /// It is done.
    Done,
}

/// Hears of an upgrade and how far it is: before it begins, now and then, and at its end.
pub type Told = Arc<dyn Fn(&Upgrade, Progress) + Send + Sync>;

impl Upgrade {
    /// How long it takes, about.
    pub fn takes(&self) -> Duration {
        Duration::from_secs(1 + self.entries / ENTRIES_A_SECOND)
    }

    /// Whether there is room for it, as far as the file system says.
    pub fn has_room(&self) -> bool {
        self.free.is_none_or(|free| free >= self.needs)
    }
}

impl fmt::Display for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            write!(f, "what lookups are answered by is of an older larder")?;
        } else {
            write!(f, "from format {} to format {}", self.from, self.to)?;
        }
        let (files, needs) = (self.files, told(self.needs));
        write!(f, ": {files} files, at most {needs} of room")?;
        if let Some(free) = self.free {
            write!(f, " of which {} are free", told(free))?;
        }
        write!(f, ", about {} s", self.takes().as_secs())
    }
}

/// An amount of room for people.
fn told(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Why a storage directory is not brought up.
#[derive(Debug)]
pub(super) enum UpgradeError {
    /// It cannot be used.
    Directory(DirectoryError),
    /// Its journal cannot be read, or something cannot be written.
    Index(IndexError),
    /// There is no room for it.
    NoRoom(Upgrade),
}

impl From<VersionError> for UpgradeError {
    fn from(error: VersionError) -> Self {
        Self::Directory(error.into())
    }
}

impl From<IndexError> for UpgradeError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

/// A storage directory that is brought up if need be.
pub(super) struct Upgrading {
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index: index::Options,
    pub(super) told: Option<Told>,
}

/// Whether an upgrade was begun that has not come to its end. Blocks.
pub(super) fn was_cut(dir: &Path) -> bool {
    dir.join(UPGRADING).symlink_metadata().is_ok()
}

/// How much is free, in bytes, where that is told, and how much has to stay so besides.
fn room(dir: &Path) -> (Option<u64>, u64) {
    let Ok(space) = rustix::fs::statvfs(dir) else {
        return (None, ballast::BESIDE_DATABASE);
    };
    let all = space.f_blocks.saturating_mul(space.f_frsize);
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    (
        Some(free),
        ballast::BESIDE_DATABASE.min(all / ballast::SHARE),
    )
}

impl Upgrading {
    /// What has to be done, if anything; nothing is changed, and the directory may be in use.
    /// Blocks as long as reading the journal does.
    pub(super) fn find(&self) -> Result<Option<Upgrade>, UpgradeError> {
        let from = version(&self.dir)?;
        let is_older = from == Some(1) || was_cut(&self.dir);
        if !is_older && !index::has_older_lookup(&self.index)? {
            return Ok(None);
        }
        let from = from.unwrap_or(VERSION);
        let index::Counted { files, entries } = index::count(&self.index)?;
        let (free, beside) = room(&self.dir);
        Ok(Some(Upgrade {
            from,
            to: from.max(VERSION),
            files,
            entries,
            needs: files * A_FILE + beside,
            free,
        }))
    }

    /// Brings it up, if anything is to be done, and tells what. Nobody else may use the directory.
    /// Blocks for long.
    pub(super) fn run(&self) -> Result<Option<Upgrade>, UpgradeError> {
        let found = self.find()?;
        index::remove_unfinished(&self.making())?;
        let Some(upgrade) = found else {
            return Ok(None);
        };
        if !upgrade.has_room() {
            return Err(UpgradeError::NoRoom(upgrade));
        }
        let dir = self.dir.display();
        tracing::warn!(%dir, "an older larder has written it, and it is brought up {upgrade}");
        let telling = Telling::begin(upgrade, self.told.clone());
        self.make(&telling).map_err(|error| match error {
            error if error.is_full() => UpgradeError::NoRoom(upgrade),
            error => error.into(),
        })?;
        telling.end();
        tracing::warn!(%dir, format = upgrade.to, "it is brought up");
        Ok(Some(upgrade))
    }

    /// How what is made is kept until it is whole.
    fn making(&self) -> index::Options {
        index::Options {
            elsewhere: Some(self.dir.join(UPGRADING)),
            ..self.index.clone()
        }
    }

    fn make(&self, telling: &Arc<Telling>) -> Result<(), IndexError> {
        let (dir, disk, mut making) = (&self.dir, &*self.disk, self.making());
        let unfinished = dir.join(UPGRADING);
        let created = disk.create_dir(&unfinished);
        created.map_err(|e| IndexError::io("create", &unfinished, e))?;
        let hearing = Arc::clone(telling);
        making.told = Some(Arc::new(move |entries| hearing.reads(entries)));
        let renewed = index::renew(&making);
        if renewed.is_err() {
            // Its room is what was missing, as it may be.
            let _ = index::remove_unfinished(&making);
        }
        let renewed = renewed?;
        if telling.upgrade.from < VERSION {
            // Contents that are short are files there, and stay so.
            note_small_files(dir, disk).map_err(|e| IndexError::io("upgrade", dir, e))?;
            write_version::<IndexError>(dir, VERSION, disk)?;
        }
        renewed.take_place()?;
        index::remove_unfinished(&making)
    }
}

/// Tells how far an upgrade is, no oftener than anybody can see.
struct Telling {
    upgrade: Upgrade,
    told: Option<Told>,
    last: Mutex<(Instant, Instant)>,
}

impl Telling {
    fn begin(upgrade: Upgrade, told: Option<Told>) -> Arc<Self> {
        let now = Instant::now();
        let telling = Self {
            upgrade,
            told,
            last: Mutex::new((now, now)),
        };
        telling.tell(Progress::Begins);
        Arc::new(telling)
    }

    fn tell(&self, progress: Progress) {
        if let Some(told) = &self.told {
            told(&self.upgrade, progress);
        }
    }

    fn reads(&self, entries: u64) {
        let now = Instant::now();
        let (mut is_told, mut is_logged) = (false, false);
        {
            let (told, logged) = &mut *self.last.lock();
            if now.duration_since(*told) >= TOLD_EVERY {
                (*told, is_told) = (now, true);
            }
            if now.duration_since(*logged) >= LOGGED_EVERY {
                (*logged, is_logged) = (now, true);
            }
        }
        if is_told {
            self.tell(Progress::Reads(entries));
        }
        if is_logged {
            tracing::info!(
                done = entries,
                of = self.upgrade.entries,
                "brought up so far"
            );
        }
    }

    fn end(&self) {
        self.tell(Progress::Done);
    }
}
