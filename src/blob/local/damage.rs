//! Which contents are known to be damaged, and which the disk fails to give.
//!
//! Of each there is a small file, `damaged/<64 hex digits>` under the storage directory, so
//! that a restart does not forget it. It tells which file was found damaged: once another is
//! in its place, or that one has changed, the content is proven anew before anything of it
//! is given out. So a file that is out of date, or cannot be read, does no harm.
//!
//! That the disk fails proves nothing, and whoever reads the content after a restart finds it
//! again: of that nothing is written down.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use uuid::Uuid;

use super::super::BlobError;
use super::identity::Identity;
use super::refusal::Refusal;
use crate::disk::{Disk, remove_leftover, replace_file};
use crate::hash::BlobHash;
use crate::health::{Findings, Health};
use crate::metrics::Counter;
use crate::place::Place;
use crate::stored_file;

/// The directory of what is known to be damaged, under the storage directory.
const DIR: &str = "damaged";
/// The first line of each file there.
const KIND: &str = "larder-damaged 1";
/// The longest file read, in bytes.
const MAX_BYTES: u64 = 4096;

/// What was found damaged: a file as it was then, or content that no file has.
pub(super) type Found = Option<Identity>;

/// Which contents are known to be damaged or unreadable: a hundred bytes of memory for each.
pub(super) struct Damage {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    refusal: Arc<Refusal>,
    known: Mutex<HashMap<BlobHash, Found>>,
    /// Of the others those that could not be read the last time; changed while `known` is locked.
    unreadable: Mutex<HashSet<BlobHash>>,
    /// Held while a file here is changed, which nobody waits for who only looks.
    changing: Mutex<()>,
    found: Counter,
    read_errors: Counter,
    /// Who is told; whatever changes what is known tells it before the next change.
    findings: OnceLock<Arc<dyn Findings>>,
}

impl Damage {
    /// What is known under a storage directory. Blocks.
    pub(super) fn at(
        dir: &Path,
        disk: Arc<dyn Disk>,
        refusal: Arc<Refusal>,
    ) -> Result<Self, BlobError> {
        let dir = dir.join(DIR);
        let failed = |e| BlobError::io("read", &dir, e);
        let mut known = HashMap::new();
        for (path, hash) in entries(&dir).map_err(failed)? {
            match hash {
                Some(hash) => drop(known.insert(hash, read(&path))),
                // A crash left it.
                None if is_unfinished(&path) => {
                    let removed = remove_leftover(&*disk, &path);
                    removed.map_err(|e| BlobError::io("remove", path, e))?;
                }
                None => {}
            }
        }
        if !known.is_empty() {
            let count = known.len();
            tracing::warn!(count, "contents are known to be damaged");
        }
        Ok(Self {
            known: Mutex::new(known),
            unreadable: Mutex::default(),
            changing: Mutex::default(),
            found: Counter::default(),
            read_errors: Counter::default(),
            findings: OnceLock::new(),
            dir,
            disk,
            refusal,
        })
    }

    /// Tells from now on of damage, and where it is mended; first of all what is known.
    pub(super) fn report_to(&self, findings: Arc<dyn Findings>) {
        let known = self.known.lock();
        // Whoever is told already stays so.
        let findings = self.findings.get_or_init(|| findings);
        for hash in known.keys() {
            findings.found(Place::of(hash), Health::Damaged);
        }
    }

    fn tell(&self, hash: &BlobHash, health: Health) {
        if let Some(findings) = self.findings.get() {
            findings.found(Place::of(hash), health);
        }
    }

    /// Tells that a content was found whole, unless it is damaged by now.
    pub(super) fn note_whole(&self, hash: &BlobHash) {
        let known = self.known.lock();
        if !known.contains_key(hash) {
            self.unreadable.lock().remove(hash);
            self.tell(hash, Health::Whole);
        }
    }

    /// Remembers that the disk failed to give a content, for as long as the process lives; tells
    /// once in the log.
    pub(super) fn note_unreadable(&self, hash: &BlobHash, error: &BlobError) {
        self.read_errors.count();
        let known = self.known.lock();
        // What is known to be damaged stays so.
        if !known.contains_key(hash) && self.unreadable.lock().insert(*hash) {
            self.tell(hash, Health::Unreadable);
            let error = error as &dyn Error;
            tracing::error!(%hash, error, "content cannot be read from the disk");
        }
    }

    /// How often the disk failed to give content since the start.
    pub(super) fn read_errors(&self) -> u64 {
        self.read_errors.get()
    }

    /// Whether a content is known to be damaged, or could not be read the last time.
    pub(super) fn is_unusable(&self, hash: &BlobHash) -> bool {
        self.known.lock().contains_key(hash) || self.unreadable.lock().contains(hash)
    }

    /// At most so many contents that are known to be damaged or unreadable, in order, from the
    /// first behind `after`.
    pub(super) fn not_whole(
        &self,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Vec<(BlobHash, Health)> {
        let known = self.known.lock();
        let unreadable = self.unreadable.lock();
        let damaged = known.keys().map(|it| (*it, Health::Damaged));
        let unreadable = unreadable.iter().map(|it| (*it, Health::Unreadable));
        let all = damaged.chain(unreadable);
        let mut behind: Vec<_> = all
            .filter(|(hash, _)| after.is_none_or(|after| *hash > after))
            .collect();
        behind.sort_unstable_by_key(|(hash, _)| *hash);
        behind.truncate(limit);
        behind
    }

    /// How often damage was found since the start.
    pub(super) fn found(&self) -> u64 {
        self.found.get()
    }

    /// What was found damaged of a content; None if nothing was.
    pub(super) fn get(&self, hash: &BlobHash) -> Option<Found> {
        self.known.lock().get(hash).copied()
    }

    /// Remembers that a content is damaged, unless what is at `path` is no longer what was
    /// `found` so; tells once in the log. Where it cannot be written down it is remembered
    /// until the end of the process. Blocks.
    pub(super) fn mark(&self, hash: BlobHash, path: Option<&Path>, found: Found, detail: &str) {
        let before = self.known.lock().insert(hash, found);
        // Behind that, since whoever puts another file there forgets what is known afterwards; and
        // not under the lock, for which everybody waits who looks something up.
        let is_another = matches!((path, found), (Some(path), Some(found))
            if Identity::at(path).ok() != Some(found));
        {
            let mut known = self.known.lock();
            if known.get(&hash) != Some(&found) {
                // Others know better by now.
                return;
            }
            if is_another {
                match before {
                    Some(before) => known.insert(hash, before),
                    None => known.remove(&hash),
                };
                return;
            }
            self.found.count();
            self.unreadable.lock().remove(&hash);
            self.tell(&hash, Health::Damaged);
            match before {
                Some(before) if before == found => return,
                Some(_) => {}
                None => tracing::error!(%hash, detail, "content is damaged"),
            }
        }
        let _changing = self.changing.lock();
        if self.get(&hash) == Some(found)
            && let Err(error) = self.write(&hash, found, detail)
        {
            tracing::warn!(%hash, %error, "it could not be written down that content is damaged");
        }
    }

    fn write(&self, hash: &BlobHash, found: Found, detail: &str) -> io::Result<()> {
        if self.refusal.reason().is_some() {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.create()?;
        let found = found.map_or_else(|| "none".to_owned(), |it| it.to_string());
        let text = format!("{KIND}\n{found}\n{detail}\n");
        replace_file(&*self.disk, &self.path(hash), text.as_bytes())
    }

    /// Forgets what was found of a content, which is whole again or gone. Blocks.
    pub(super) fn forget(&self, hash: &BlobHash) {
        {
            let mut known = self.known.lock();
            let was_damaged = known.remove(hash).is_some();
            let was_unreadable = self.unreadable.lock().remove(hash);
            if was_damaged || was_unreadable {
                self.tell(hash, Health::Whole);
            }
            if !was_damaged {
                return;
            }
        }
        let _changing = self.changing.lock();
        let path = self.path(hash);
        if self.get(hash).is_none()
            && let Err(error) = self.disk.remove_file(&path)
        {
            // Whoever opens the content after the next start finds that it is out of date.
            tracing::warn!(path = %path.display(), %error, "a note of mended damage stays");
        }
    }

    /// Moves away what is at `path` if it is a directory: no file can take its place. Blocks.
    pub(super) fn set_aside(&self, path: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(path).is_ok_and(|look| look.is_dir()) {
            return Ok(());
        }
        self.create()?;
        let aside = self.dir.join(format!("{}.foreign", Uuid::new_v4()));
        tracing::warn!(path = %path.display(), aside = %aside.display(),
            "a directory is in the place of a blob, and is moved away");
        self.disk.rename(path, &aside)
    }

    /// Every path here that tells of no content. Blocks.
    pub(super) fn strays(&self) -> Result<Vec<PathBuf>, BlobError> {
        let entries = entries(&self.dir).map_err(|e| BlobError::io("read", &self.dir, e))?;
        let strays = entries.into_iter().filter(|(_, hash)| hash.is_none());
        Ok(strays.map(|(path, _)| path).collect())
    }

    fn create(&self) -> io::Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        self.disk.create_dir(&self.dir)?;
        self.disk.sync_dir(self.dir.parent().unwrap_or(&self.dir))
    }

    fn path(&self, hash: &BlobHash) -> PathBuf {
        self.dir.join(hash.to_string())
    }
}

/// Every path in `dir`, in order, with the content that it is named for.
fn entries(dir: &Path) -> io::Result<Vec<(PathBuf, Option<BlobHash>)>> {
    let names = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let mut entries = Vec::new();
    for entry in names {
        let entry = entry?;
        let name = entry.file_name();
        let hash = name.to_str().and_then(|name| name.parse().ok());
        let is_file = entry.file_type()?.is_file();
        entries.push((entry.path(), hash.filter(|_| is_file)));
    }
    entries.sort();
    Ok(entries)
}

/// Whether a file is called as one that is being written here.
fn is_unfinished(path: &Path) -> bool {
    let stem = path.file_stem().and_then(OsStr::to_str);
    let is_of_content = stem.is_some_and(|stem| stem.parse::<BlobHash>().is_ok());
    is_of_content && path.extension().is_some_and(|it| it == "unfinished")
}

/// What a file tells was found; None also where it tells nothing that can be read.
fn read(path: &Path) -> Found {
    let text = String::from_utf8(stored_file::read(path, MAX_BYTES).ok()?).ok()?;
    let rest = text.strip_prefix(KIND)?.strip_prefix('\n')?;
    rest.lines().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::disk::RealDisk;

    struct World {
        dir: tempfile::TempDir,
        damage: Damage,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let damage = Damage::at(dir.path(), Arc::new(RealDisk), Arc::default());
            Self {
                damage: damage.unwrap(),
                dir,
            }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("blob")
        }

        /// Puts another file there, as an upload of the same content does.
        fn replace(&self, bytes: &str) -> Identity {
            let new = self.dir.path().join("new");
            fs::write(&new, bytes).unwrap();
            fs::rename(&new, self.path()).unwrap();
            Identity::at(&self.path()).unwrap()
        }
    }

    #[test]
    fn a_file_that_was_replaced_before_it_is_called_damaged_is_not() {
        let (world, hash) = (World::new(), BlobHash::of(b"content"));
        let first = world.replace("first");
        let second = world.replace("second");
        let mark = |found| {
            let path = world.path();
            world.damage.mark(hash, Some(&path), Some(found), "tried");
        };
        mark(first);
        assert_eq!((world.damage.get(&hash), world.damage.found()), (None, 0));
        mark(second);
        assert_eq!(world.damage.get(&hash), Some(Some(second)));
        // What is known of the one that is there stays.
        mark(first);
        assert_eq!(world.damage.get(&hash), Some(Some(second)));
        assert_eq!(world.damage.found(), 1);
    }

    #[test]
    fn a_file_that_is_replaced_as_it_is_called_damaged_is_not_in_the_end() {
        let (world, hash) = (World::new(), BlobHash::of(b"content"));
        for _ in 0..500 {
            let found = world.replace("damaged");
            let together = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    together.wait();
                    let path = world.path();
                    world.damage.mark(hash, Some(&path), Some(found), "tried");
                });
                together.wait();
                world.replace("whole");
                world.damage.forget(&hash);
            });
            assert_eq!(world.damage.get(&hash), None);
        }
    }
}
