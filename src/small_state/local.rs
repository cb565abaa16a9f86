//! Small state in files of a storage directory, each a [state file](crate::state_file).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Saved, SmallState, StateError, StateName, StateSet};
use crate::blocking;
use crate::disk::{Disk, DiskError, RealDisk, is_shortage};
use crate::state_file::{COMPANIONS, StateFile};
use crate::stored_file;

/// What the file of one of many ends with, behind the id.
const STATE: &str = ".state";
/// What the name of one ends with that was set aside.
const DAMAGED: &str = ".damaged";
/// What follows the name of a set in that of the directory of the versions before.
const BEFORE: &str = ".before";

/// The small state in a storage directory.
#[derive(Clone)]
pub struct LocalState {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// By which all that is no removal is done.
    saves_by: Arc<dyn Disk>,
}

impl LocalState {
    /// That in the storage directory `dir`, whose files are removed by `disk`. Nothing is touched
    /// yet.
    pub fn new(dir: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        Self {
            dir: dir.into(),
            disk,
            saves_by: Arc::new(RealDisk),
        }
    }

    /// The same, read and written by this disk.
    #[must_use]
    pub fn saving_by(self, disk: Arc<dyn Disk>) -> Self {
        Self {
            saves_by: disk,
            ..self
        }
    }

    /// Where a piece is.
    pub fn path(&self, name: &StateName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// What is wrong with a piece, without changing anything. Blocks.
    pub fn problem(&self, name: &StateName) -> Option<&'static str> {
        self.file(name).health().problem()
    }

    /// What was saved last, as [`SmallState::load`] says. Blocks.
    pub fn load_now(&self, name: &StateName) -> io::Result<Option<Vec<u8>>> {
        self.file(name).load()
    }

    /// The files about a set, each with the id that its name tells of. What else is in its
    /// directory is among them. Blocks.
    pub fn names(&self, set: StateSet) -> io::Result<Vec<(PathBuf, String)>> {
        let mut names = Vec::new();
        for dir in [self.dir_of(set), self.before_dir(set)] {
            let all = match self.saves_by.names(&dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                all => all?,
            };
            for name in all {
                let path = dir.join(&name);
                let name = name.to_string_lossy();
                let own = COMPANIONS.iter().find_map(|end| name.strip_suffix(end));
                let id = own.unwrap_or(&name);
                let id = id.strip_suffix(STATE).unwrap_or(id).to_owned();
                names.push((path, id));
            }
        }
        Ok(names)
    }

    /// Where the pieces of a set are.
    pub fn dir_of(&self, set: StateSet) -> PathBuf {
        self.dir.join(set.name)
    }

    fn before_dir(&self, set: StateSet) -> PathBuf {
        self.dir.join(format!("{}{BEFORE}", set.name))
    }

    fn file(&self, name: &StateName) -> StateFile {
        let file = StateFile::new(self.path(name), name.kind()).on(Arc::clone(&self.saves_by));
        match name {
            StateName::Single { .. } => file,
            StateName::OneOf(set, id) => file
                .with_before(self.before_dir(*set).join(id))
                .of(id.clone(), set.is_of),
        }
    }

    /// Does `work` with the file of a piece where that may block.
    async fn with_file<T: Send + 'static>(
        &self,
        action: &'static str,
        name: &StateName,
        work: impl FnOnce(&StateFile, &dyn Disk) -> io::Result<T> + Send + 'static,
    ) -> Result<T, DiskError> {
        let (file, disk) = (self.file(name), Arc::clone(&self.disk));
        blocking::run(move || {
            work(&file, &*disk).map_err(|e| DiskError::new(action, file.path(), e))
        })
        .await
    }

    fn prepare_now(&self, set: StateSet, keep_aside: Duration) -> io::Result<Vec<Saved>> {
        for dir in [self.dir_of(set), self.before_dir(set)] {
            self.saves_by.create_dir(&dir)?;
        }
        self.saves_by.sync_dir(&self.dir)?;
        let mut found: BTreeMap<String, Option<Saved>> = BTreeMap::new();
        for (path, id) in self.names(set)? {
            if !self.is_own(set, &path, &id) {
                continue;
            }
            let saved = match found.remove(&id) {
                Some(saved) => saved,
                // What was set aside is for people to look at, for a while.
                None => self
                    .saved(set, &id)?
                    .or_else(|| self.aside(set, &id, keep_aside)),
            };
            if saved.is_none()
                && let Err(error) = self.disk.remove_file(&path)
            {
                tracing::warn!(path = %path.display(), %error, "not removed");
            }
            found.insert(id, saved);
        }
        Ok(found.into_values().flatten().collect())
    }

    /// Whether a file is about a piece of the set that could have this id. Where they are, others
    /// have files whose names have no dot.
    fn is_own(&self, set: StateSet, path: &Path, id: &str) -> bool {
        if !(set.is_id)(id) {
            return false;
        }
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().contains(&b'.') || path.parent() == Some(&self.before_dir(set))
    }

    /// A piece that was set aside less than so long ago.
    fn aside(&self, set: StateSet, id: &str, keep_aside: Duration) -> Option<Saved> {
        let path = self.path(&StateName::OneOf(set, id.to_owned()));
        let mut path = path.into_os_string();
        path.push(DAMAGED);
        let age = stored_file::age(Path::new(&path)).ok()?;
        (age < keep_aside).then(|| Saved {
            id: id.to_owned(),
            content: None,
            age,
        })
    }

    fn saved(&self, set: StateSet, id: &str) -> io::Result<Option<Saved>> {
        let file = self.file(&StateName::OneOf(set, id.to_owned()));
        let content = match file.load() {
            Ok(None) => return Ok(None),
            // What others give back soon is worth to look through everything once more.
            Err(error) if is_shortage(&error) => return Err(error),
            Err(error) => {
                let path = file.path().display();
                tracing::warn!(%path, %error, "cannot be read; what it is about waits for that");
                None
            }
            Ok(content) => content,
        };
        let age = match stored_file::age(file.path()) {
            Err(_) if content.is_none() => Duration::ZERO,
            age => age?,
        };
        let id = id.to_owned();
        Ok(Some(Saved { id, content, age }))
    }
}

#[async_trait]
impl SmallState for LocalState {
    async fn load(&self, name: &StateName) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.with_file("read", name, |file, _| file.load()).await?)
    }

    async fn save(&self, name: &StateName, content: Vec<u8>) -> Result<(), StateError> {
        let save = move |file: &StateFile, _: &dyn Disk| file.save(&content);
        Ok(self.with_file("write", name, save).await?)
    }

    async fn remove(&self, name: &StateName) -> Result<(), StateError> {
        Ok(self.with_file("remove", name, StateFile::remove).await?)
    }

    async fn prepare(&self, set: StateSet, keep_aside: Duration) -> Result<Vec<Saved>, StateError> {
        let state = self.clone();
        blocking::run(move || {
            let found = state.prepare_now(set, keep_aside);
            found.map_err(|e| DiskError::new("look through", state.dir_of(set), e).into())
        })
        .await
    }
}
