//! The files of a node beside those of its store, and what is wrong with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::RealDisk;
use crate::fetch::{copies, keep};
use crate::node::scrub;
use crate::peer::identity::{self, Identity};
use crate::peer::known_peers;
use crate::peer::upkeep;
use crate::resumable;
use crate::small_state::StateName;
use crate::small_state::local::LocalState;
use crate::store::{MOVING_IN, Others};

/// Who keeps files in a storage directory beside the store.
pub(super) const OTHERS: Others = Others {
    problems,
    names: &[
        identity::FILE,
        identity::CHECK,
        named(&known_peers::PEERS),
        named(&scrub::SCRUB),
        named(&copies::MEMBERS),
        named(&upkeep::REVOKED),
        named(&MOVING_IN),
    ],
    is_note: None,
};

/// The same where it is what a member holds for others.
pub(super) const OTHERS_OF_COPIES: Others = Others {
    is_note: Some(copies::is_note),
    ..OTHERS
};

/// What the file of a piece of state is called that is there once.
const fn named(state: &StateName) -> &'static str {
    match state {
        StateName::Single { name, .. } => name,
        StateName::OneOf(..) => "",
    }
}

/// Whether files are being moved into a storage directory, so that not all are there. Blocks.
pub(super) fn is_moving_in(dir: &Path) -> bool {
    let state = LocalState::new(dir, Arc::new(RealDisk));
    state.path(&MOVING_IN).is_file() && state.problem(&MOVING_IN).is_none()
}

/// The damaged files in a storage directory that no node uses, each with what is wrong: the key,
/// what is known of peers, what is to be kept, and uploads in parts. Blocks.
fn problems(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut problems: Vec<_> = Identity::problem(dir).into_iter().collect();
    let state = LocalState::new(dir, Arc::new(RealDisk));
    for name in [
        &known_peers::PEERS,
        &scrub::SCRUB,
        &copies::MEMBERS,
        &upkeep::REVOKED,
        &MOVING_IN,
    ] {
        if let Some(problem) = state.problem(name) {
            problems.push((state.path(name), problem.to_owned()));
        }
    }
    problems.extend(keep::problems(dir));
    problems.extend(resumable::problems(dir));
    problems
}
