//! What is wrong with the files of uploads in a storage directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::remembered::{STATES, state_of};
use super::state::{UploadId, UploadState};
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
        let (mut problems, mut looked_at) = (Vec::new(), BTreeSet::new());
        for (path, id) in self.states.names(STATES)? {
            match id.parse() {
                Err(_) => problems.push((path, "belongs to no upload".to_owned())),
                Ok(id) if looked_at.insert(self.states.path(&state_of(id))) => {
                    problems.extend(self.problem(id)?);
                }
                Ok(_) => {}
            }
        }
        Ok(problems)
    }

    /// What is wrong with the files of an upload: its state, or what has come of it.
    fn problem(&self, id: UploadId) -> io::Result<Option<(PathBuf, String)>> {
        let state = state_of(id);
        if let Some(problem) = self.states.problem(&state) {
            return Ok(Some((self.states.path(&state), problem.to_owned())));
        }
        let of_content = |text: &str| Some((self.contents.path(&id.partial()), text.to_owned()));
        let state = self.states.load_now(&state)?;
        let Some(state) = state.and_then(|it| UploadState::from_bytes(id, &it)) else {
            return Ok(of_content("belongs to no upload"));
        };
        if state.finished.is_some() {
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
