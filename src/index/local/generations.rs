//! The lookup databases of a storage directory: each one that is made anew has a
//! directory of its own, so that the old one stays until it is ready.

use super::options::Options;
use super::replay::{Check, Replayed, replay};
use crate::index::IndexError;
use crate::index::journal::{OnDamage, Segment};

/// The generation of a database that is made for a comparison and never used: a start that finds
/// it removes it.
pub(super) const SCRATCH: u64 = 0;

/// A new lookup database from nothing but the journal.
pub(super) fn make_anew(
    options: &Options,
    segments: &[Segment],
    generation: u64,
    on_damage: OnDamage<'_>,
) -> Result<Replayed, IndexError> {
    remove_generation(options, generation)?;
    let made = replay(options, segments, generation, Check::Fresh, on_damage);
    if made.is_err() {
        // What there is of it only takes room, and would be taken for the newest.
        let _ = remove_generation(options, generation);
    }
    made
}

/// The newest generation there is a directory of; 1 where there is none.
pub(super) fn newest_generation(options: &Options) -> Result<u64, IndexError> {
    Ok(generations(options)?.into_iter().fold(1, u64::max))
}

fn generations(options: &Options) -> Result<Vec<u64>, IndexError> {
    let dir = options.dir.join("index");
    let failed = |e| IndexError::io("list", &dir, e);
    let mut generations = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        generations.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(generations)
}

pub(super) fn remove_other_generations(options: &Options, kept: u64) -> Result<(), IndexError> {
    for generation in generations(options)?
        .into_iter()
        .filter(|other| *other != kept)
    {
        remove_generation(options, generation)?;
    }
    Ok(())
}

/// Removes a lookup database, whatever became of its directory.
pub(super) fn remove_generation(options: &Options, generation: u64) -> Result<(), IndexError> {
    let dir = options.generation_dir(generation);
    if !dir.exists() {
        return Ok(());
    }
    let removed = if dir.is_dir() {
        std::fs::remove_dir_all(&dir)
    } else {
        options.disk.remove_file(&dir)
    };
    removed.map_err(|e| IndexError::io("remove", dir, e))
}
