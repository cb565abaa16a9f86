//! The files of uploads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::UploadError;
use super::state::{State, UploadId};
use crate::blob::spool::Proven;
use crate::blocking;
use crate::disk::{Disk, RealDisk};
use crate::hash::BlobHash;
use crate::state_file::{COMPANIONS, StateFile};
use crate::stored_file;

/// What the name of a state file ends with, behind the id.
const STATE: &str = ".state";
/// The extension of one that was set aside.
const DAMAGED: &str = "damaged";
/// What follows the name of the directory in that of the versions before.
const BEFORE: &str = ".before";
/// Kind and version of state files.
const KIND: &str = "larder-upload 1";

/// An upload that seems to be older waits since now: it is the clock that was set.
const OLDEST: Duration = Duration::from_hours(365 * 24);

/// Where the files of uploads are.
#[derive(Clone)]
pub(super) struct Files {
    dir: PathBuf,
    /// Where the versions before of the states are.
    before: PathBuf,
    disk: Arc<dyn Disk>,
}

/// An upload that was found.
pub(super) struct Found {
    pub(super) id: UploadId,
    pub(super) state: State,
    /// How long ago something was last written.
    pub(super) age: Duration,
    /// Whether any of its bytes have come.
    pub(super) begun: bool,
}

impl Files {
    pub(super) fn new(dir: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let mut before = dir.clone().into_os_string();
        before.push(BEFORE);
        let before = before.into();
        Self { dir, before, disk }
    }

    /// The file of what has come.
    pub(super) fn content(&self, id: UploadId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    fn state(&self, id: UploadId) -> StateFile {
        let before = self.before.join(id.to_string());
        StateFile::new(self.state_path(id), KIND).with_before(before)
    }

    fn state_path(&self, id: UploadId) -> PathBuf {
        self.dir.join(format!("{id}{STATE}"))
    }

    /// Writes down what an upload is, durably.
    pub(super) async fn save(&self, id: UploadId, state: &State) -> Result<(), UploadError> {
        let (files, bytes) = (self.clone(), state.to_bytes());
        blocking::run(move || {
            let saved = files.state(id).save(&bytes);
            saved.map_err(|e| UploadError::io("write", files.state_path(id), e))
        })
        .await
    }

    /// What an upload is.
    pub(super) async fn load(&self, id: UploadId) -> Result<State, UploadError> {
        let files = self.clone();
        blocking::run(move || {
            let loaded = files.load_blocking(id);
            let state = loaded.map_err(|e| UploadError::io("read", files.state_path(id), e))?;
            state.ok_or(UploadError::Unknown)
        })
        .await
    }

    /// What an upload is; None if that is not known, and an error where it may be known later.
    fn load_blocking(&self, id: UploadId) -> io::Result<Option<State>> {
        let Some(recalled) = self.state(id).recall()? else {
            return Ok(None);
        };
        Ok(State::from_bytes(&recalled.content))
    }

    /// Cuts off whatever of the content is behind its first `counts` bytes, and tells how many
    /// of them are there.
    pub(super) async fn cut(&self, id: UploadId, counts: u64) -> Result<u64, UploadError> {
        let (path, disk) = (self.content(id), Arc::clone(&self.disk));
        blocking::run(move || {
            let len = len(&path).map_err(|e| UploadError::io("look at", &path, e))?;
            if counts < len {
                let cut = disk.open(&path).and_then(|file| file.set_len(counts));
                cut.map_err(|e| UploadError::io("cut", path, e))?;
            }
            Ok(counts.min(len))
        })
        .await
    }

    /// The longest of `beginnings`, which are in order, that the content still has; it is
    /// durable then.
    pub(super) async fn longest(
        &self,
        id: UploadId,
        beginnings: Vec<Proven>,
    ) -> Result<Option<Proven>, UploadError> {
        let (path, disk) = (self.content(id), Arc::clone(&self.disk));
        blocking::run(move || {
            let longest = longest(&path, &beginnings);
            let longest = longest.map_err(|e| UploadError::io("read", &path, e))?;
            if longest.is_some() {
                let synced = disk.open(&path).and_then(|file| file.sync());
                synced.map_err(|e| UploadError::io("sync", path, e))?;
            }
            Ok(longest)
        })
        .await
    }

    /// Removes the content of an upload that is a file now.
    pub(super) async fn remove_content(&self, id: UploadId) {
        let files = self.clone();
        // That it failed is logged; what is left goes with the upload.
        blocking::run(move || files.remove_blocking(&files.content(id))).await;
    }

    /// Removes all of an upload; its state first, without which the rest is removed at start.
    pub(super) async fn remove(&self, id: UploadId) {
        let files = self.clone();
        blocking::run(move || {
            if let Err(error) = files.state(id).remove(&*files.disk) {
                let path = files.state_path(id);
                tracing::warn!(path = %path.display(), %error, "a file of an upload stays");
            }
            files.remove_blocking(&files.content(id));
        })
        .await;
    }

    fn remove_blocking(&self, path: &Path) {
        if let Err(error) = self.disk.remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "a file of an upload stays");
        }
    }

    /// Makes the directory, removes what belongs to no upload, and finds all there are; what was
    /// set aside since it was damaged stays for `expiry`.
    pub(super) async fn find_all(&self, expiry: Duration) -> Result<Vec<Found>, UploadError> {
        let files = self.clone();
        blocking::run(move || {
            let found = files.find_all_blocking(expiry);
            found.map_err(|e| UploadError::io("look through", files.dir, e))
        })
        .await
    }

    fn find_all_blocking(&self, expiry: Duration) -> io::Result<Vec<Found>> {
        for dir in [&self.dir, &self.before] {
            RealDisk.create_dir(dir)?;
        }
        RealDisk.sync_dir(self.dir.parent().unwrap_or(&self.dir))?;
        let mut found = BTreeMap::new();
        for (path, id) in self.names()? {
            if let Some(id) = id
                && !found.contains_key(&self.state_path(id))
                && let Some(state) = self.load_blocking(id)?
            {
                let of_upload = Found {
                    id,
                    state,
                    age: self.age(id)?,
                    begun: len(&self.content(id))? > 0,
                };
                found.insert(self.state_path(id), of_upload);
            }
            let is_known = id.is_some_and(|id| found.contains_key(&self.state_path(id)));
            // What was set aside is for people to look at, for a while.
            let is_aside = path.extension().is_some_and(|it| it == DAMAGED);
            let stays = is_known || (is_aside && is_younger(&path, expiry));
            if !stays {
                self.remove_blocking(&path);
            }
        }
        Ok(found.into_values().collect())
    }

    /// The files there are, each with the upload that its name tells of.
    fn names(&self) -> io::Result<Vec<(PathBuf, Option<UploadId>)>> {
        let mut names = Vec::new();
        for dir in [&self.dir, &self.before] {
            let entries = match fs::read_dir(dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let own = COMPANIONS.iter().find_map(|end| name.strip_suffix(end));
                let id = own.unwrap_or(&name);
                let id = id.strip_suffix(STATE).unwrap_or(id).parse().ok();
                names.push((path, id));
            }
        }
        Ok(names)
    }

    /// What is wrong with the files of an upload: its state, or what has come of it.
    fn problem(&self, id: UploadId) -> io::Result<Option<(PathBuf, String)>> {
        let state = self.state(id);
        let health = state.health();
        if let Some(problem) = health.problem() {
            return Ok(Some((self.state_path(id), problem.to_owned())));
        }
        let content = self.content(id);
        let Some(state) = state.load()?.and_then(|it| State::from_bytes(&it)) else {
            return Ok(Some((content, "belongs to no upload".to_owned())));
        };
        let problem = |text: &str| Ok(Some((content.clone(), text.to_owned())));
        if state.finished.is_some() {
            return Ok(None);
        }
        let here = len(&content)?;
        if here < state.offset {
            return problem("is shorter than what was acknowledged of the upload");
        }
        match state.proof {
            Some(proof) if !begins_with(&content, state.offset, proof)? => {
                problem("is not what was acknowledged of the upload (the node gives it up)")
            }
            _ => Ok(None),
        }
    }

    /// How long ago something of it was last written. Where the clock was set so that this is in
    /// time to come, or too far back, its files get the present time, so that the upload neither
    /// goes at once nor stays for ever, however often the node is restarted.
    fn age(&self, id: UploadId) -> io::Result<Duration> {
        let state = self.state_path(id);
        let of_state = fs::metadata(&state)?.modified()?;
        let content = self.content(id);
        let written = match fs::metadata(&content) {
            Ok(look) => look.modified()?.max(of_state),
            Err(_) => of_state,
        };
        let now = SystemTime::now();
        match now.duration_since(written) {
            Ok(age) if age < OLDEST => return Ok(age),
            _ => tracing::warn!(%id, "the clock was set; this upload waits since now"),
        }
        for path in [state, content] {
            match stored_file::open(&path) {
                // What is no file waits for nothing.
                Err(e) if is_no_file(&e) => {}
                file => file?.set_modified(now)?,
            }
        }
        Ok(Duration::ZERO)
    }
}

/// What is wrong with the files of uploads in `dir`, each with its path, without changing
/// anything. Blocks.
pub fn problems(dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let files = Files::new(dir.to_owned(), Arc::new(RealDisk));
    let (mut problems, mut looked_at) = (Vec::new(), BTreeSet::new());
    for (path, id) in files.names()? {
        match id {
            None => problems.push((path, "belongs to no upload".to_owned())),
            Some(id) if looked_at.insert(files.state_path(id)) => {
                problems.extend(files.problem(id)?);
            }
            Some(_) => {}
        }
    }
    Ok(problems)
}

fn is_no_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound};
    matches!(error.kind(), NotFound | InvalidData)
}

fn is_younger(path: &Path, than: Duration) -> bool {
    let written = fs::metadata(path).and_then(|look| look.modified());
    let age = written.map(|it| it.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age < than)
}

fn len(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        look => Ok(look?.len()),
    }
}

/// The longest of `beginnings`, which are in order, that a file has; none where there is no file.
fn longest(path: &Path, beginnings: &[Proven]) -> io::Result<Option<Proven>> {
    let file = match stored_file::open(path) {
        Err(e) if is_no_file(&e) => return Ok(None),
        file => file?,
    };
    let (mut hasher, mut longest, mut here) = (blake3::Hasher::new(), None, 0);
    for beginning in beginnings {
        hasher.update_reader((&file).take(beginning.len.saturating_sub(here)))?;
        here = hasher.count();
        // Whatever is not what it was makes all that are longer something else, too.
        if here != beginning.len || BlobHash::from(hasher.finalize()) != beginning.hash {
            break;
        }
        longest = Some(*beginning);
    }
    Ok(longest)
}

/// Whether the first `len` bytes of a file have this hash.
fn begins_with(path: &Path, len: u64, hash: BlobHash) -> io::Result<bool> {
    let mut hasher = blake3::Hasher::new();
    if len > 0 {
        hasher.update_reader(stored_file::open(path)?.take(len))?;
    }
    Ok(BlobHash::from(hasher.finalize()) == hash)
}
