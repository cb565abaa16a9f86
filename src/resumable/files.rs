//! The files of uploads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::error::UploadError;
use super::state::{State, UploadId};
use crate::disk::{Disk, RealDisk};
use crate::state_file::StateFile;

/// What the name of a state file ends with, behind the id.
const STATE: &str = ".state";

/// Where the files of uploads are.
#[derive(Clone)]
pub(super) struct Files {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

/// An upload that was found.
pub(super) struct Found {
    pub(super) id: UploadId,
    pub(super) state: State,
    /// When something was last written.
    pub(super) written: SystemTime,
    /// Whether any of its bytes have come.
    pub(super) begun: bool,
}

impl Files {
    pub(super) fn new(dir: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { dir, disk }
    }

    /// The file of what has come.
    pub(super) fn content(&self, id: UploadId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    fn state(&self, id: UploadId) -> StateFile {
        StateFile::new(self.state_path(id), "larder-upload 1")
    }

    fn state_path(&self, id: UploadId) -> PathBuf {
        self.dir.join(format!("{id}{STATE}"))
    }

    /// Writes down what an upload is, durably.
    pub(super) async fn save(&self, id: UploadId, state: &State) -> Result<(), UploadError> {
        let (files, bytes) = (self.clone(), state.to_bytes());
        blocking(move || {
            let saved = files.state(id).save(&bytes);
            saved.map_err(|e| UploadError::io("write", files.state_path(id), e))
        })
        .await
    }

    /// What an upload is.
    pub(super) async fn load(&self, id: UploadId) -> Result<State, UploadError> {
        let files = self.clone();
        let load = move || files.load_blocking(id).ok_or(UploadError::Unknown);
        blocking(load).await
    }

    fn load_blocking(&self, id: UploadId) -> Option<State> {
        State::from_bytes(&self.state(id).load()?)
    }

    /// Cuts off whatever of the content does not count, and tells how much does: `trusted`
    /// is asked with the length of the file.
    pub(super) async fn cut(
        &self,
        id: UploadId,
        trusted: impl FnOnce(u64) -> u64 + Send + 'static,
    ) -> Result<u64, UploadError> {
        let (path, disk) = (self.content(id), Arc::clone(&self.disk));
        blocking(move || {
            let len = len(&path).map_err(|e| UploadError::io("look at", &path, e))?;
            let counts = trusted(len);
            if counts < len {
                let cut = disk.open(&path).and_then(|file| file.set_len(counts));
                cut.map_err(|e| UploadError::io("cut", path, e))?;
            }
            Ok(counts)
        })
        .await
    }

    /// Removes the content of an upload that is a file now.
    pub(super) async fn remove_content(&self, id: UploadId) {
        let files = self.clone();
        let remove = move || {
            files.remove_blocking(&files.content(id));
            Ok(())
        };
        // That it failed was logged; what is left goes with the upload.
        let _ = blocking(remove).await;
    }

    /// Removes all of an upload; its state first, without which the rest is removed at start.
    pub(super) async fn remove(&self, id: UploadId) {
        let files = self.clone();
        let remove = move || {
            files.remove_blocking(&files.state_path(id));
            files.remove_blocking(&files.content(id));
            Ok(())
        };
        let _ = blocking(remove).await;
    }

    fn remove_blocking(&self, path: &Path) {
        if let Err(error) = self.disk.remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "file of an upload not removed");
        }
    }

    /// Makes the directory, removes what belongs to no upload, and finds all there are.
    pub(super) async fn find_all(&self) -> Result<Vec<Found>, UploadError> {
        let files = self.clone();
        blocking(move || {
            let found = files.find_all_blocking();
            found.map_err(|e| UploadError::io("look through", files.dir, e))
        })
        .await
    }

    fn find_all_blocking(&self) -> io::Result<Vec<Found>> {
        RealDisk.create_dir(&self.dir)?;
        RealDisk.sync_dir(self.dir.parent().unwrap_or(&self.dir))?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let id = name.strip_suffix(STATE).unwrap_or(&name).parse();
            let state = id.ok().and_then(|id| Some((id, self.load_blocking(id)?)));
            match state {
                None => self.remove_blocking(&path),
                Some((id, state)) if name.ends_with(STATE) => found.push(Found {
                    id,
                    state,
                    written: self.written(id)?,
                    begun: len(&self.content(id))? > 0,
                }),
                Some(_) => {}
            }
        }
        Ok(found)
    }

    fn written(&self, id: UploadId) -> io::Result<SystemTime> {
        let of_state = fs::metadata(self.state_path(id))?.modified()?;
        match fs::metadata(self.content(id)) {
            Ok(look) => Ok(look.modified()?.max(of_state)),
            Err(_) => Ok(of_state),
        }
    }
}

fn len(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        look => Ok(look?.len()),
    }
}

/// What the kernel calls the time since the machine was started; another text each time
/// where it does not tell.
pub(super) fn boot() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    told.map_or_else(|_| UploadId::new().to_string(), |id| id.trim().to_owned())
}

/// Runs `work` on a thread where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(UploadError::io(
            "work on",
            "an upload",
            io::Error::other(error),
        )),
    }
}
