//! What is wrong with the files of uploads in a storage directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::concat::Concat;
use super::id::UploadId;
use super::remembered::{STATES, state_of};
use super::state::UploadState;
use crate::blob::local::PartialFiles;
use crate::blob::{Proven, Purpose};
use crate::disk::RealDisk;
use crate::small_state::local::LocalState;

/// The files of uploads.
struct Files {
    states: LocalState,
    contents: PartialFiles,
}

/// What is wrong with the uploads in a storage directory that no node uses, each with the path of
/// a file, without changing anything. Blocks.
pub fn problems(storage: &Path) -> Vec<(PathBuf, String)> {
    let files = Files {
        states: LocalState::new(storage, Arc::new(RealDisk)),
        contents: PartialFiles::at(storage, Purpose::Uploads),
    };
    files.problems().unwrap_or_else(|error| {
        let problem = format!("cannot be read: {error}");
        vec![(files.states.dir_of(STATES), problem)]
    })
}

impl Files {
    fn problems(&self) -> io::Result<Vec<(PathBuf, String)>> {
        let (mut problems, mut ids) = (Vec::new(), BTreeSet::new());
        for (path, id) in self.states.names(STATES)? {
            match id.parse() {
                Err(_) => problems.push((path, "belongs to no upload".to_owned())),
                Ok(id) => drop(ids.insert(id)),
            }
        }
        let mut taken_in = BTreeSet::new();
        for id in &ids {
            taken_in.append(&mut self.taken_in(*id)?);
        }
        for id in ids {
            problems.extend(self.problem(id, taken_in.contains(&id))?);
        }
        Ok(problems)
    }

    /// What is remembered of an upload; None where that is damaged, too, since to load it would
    /// mend it.
    fn state(&self, id: UploadId) -> io::Result<Option<UploadState>> {
        if self.states.problem(&state_of(id)).is_some() {
            return Ok(None);
        }
        let state = self.states.load_now(&state_of(id))?;
        Ok(state.and_then(|it| UploadState::from_bytes(id, &it)))
    }

    /// The parts of a final upload whose content is in it already.
    fn taken_in(&self, id: UploadId) -> io::Result<BTreeSet<UploadId>> {
        let Some(state) = self.state(id)? else {
            return Ok(BTreeSet::new());
        };
        let Some(Concat::Final(parts)) = &state.upload.concat else {
            return Ok(BTreeSet::new());
        };
        if state.finished.is_some() || state.ending.is_some() {
            return Ok(parts.ids.iter().copied().collect());
        }
        // The first may have been renamed before that was told.
        let here = state.offset.max(self.contents.len_of(&id.partial())?);
        let (mut taken_in, mut end) = (BTreeSet::new(), 0);
        for part in parts.ids.iter().copied() {
            let length = self.state(part)?.and_then(|it| it.upload.length);
            end += length.unwrap_or(0);
            if end <= here {
                taken_in.insert(part);
            }
        }
        Ok(taken_in)
    }

    /// What is wrong with the files of an upload: its state, or what has come of it unless that was
    /// taken in by another one.
    fn problem(&self, id: UploadId, is_taken_in: bool) -> io::Result<Option<(PathBuf, String)>> {
        let state = state_of(id);
        if let Some(problem) = self.states.problem(&state) {
            return Ok(Some((self.states.path(&state), problem.to_owned())));
        }
        let of_content = |text: &str| Some((self.contents.path(&id.partial()), text.to_owned()));
        let Some(state) = self.state(id)? else {
            return Ok(of_content("belongs to no upload"));
        };
        if state.finished.is_some() || is_taken_in {
            return Ok(None);
        }
        if self.contents.len_of(&id.partial())? < state.offset {
            let text = "is shorter than what was acknowledged of the upload";
            return Ok(of_content(text));
        }
        let len = state.offset;
        let acknowledged = state.proof.map(|hash| Proven { len, hash });
        Ok(match acknowledged {
            Some(it) if !self.contents.begins_with(&id.partial(), it)? => {
                of_content("is not what was acknowledged of the upload (the node gives it up)")
            }
            _ => None,
        })
    }
}
