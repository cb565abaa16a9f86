//! The lookup databases of a storage directory: each one that is made anew has a
//! directory of its own, so that the old one stays until it is ready.

use std::fs;
use std::io;
use std::path::Path;

use super::options::Options;
use super::replay::{Check, Replayed, replay};
use crate::disk::{Disk, RealDisk};
use crate::index::journal::{OnDamage, Segment};
use crate::index::{IndexError, sled_files};
use crate::stored_file;

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
    let dir = options.index_dir();
    let failed = |e| IndexError::io("list", &dir, e);
    let mut generations = Vec::new();
    let entries = match fs::read_dir(&dir) {
        // Whoever only looks makes none.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(generations),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        generations.extend(name.to_str().and_then(generation_of));
    }
    Ok(generations)
}

/// The generation that a directory of this name is of; None where it is none of larder's.
fn generation_of(name: &str) -> Option<u64> {
    let generation = name.parse().ok();
    generation.filter(|generation| name == format!("{generation:010}"))
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

/// Removes a lookup database, whatever became of its directory, but nothing that is not of it.
pub(super) fn remove_generation(options: &Options, generation: u64) -> Result<(), IndexError> {
    let dir = options.generation_dir(generation);
    let removed = match fs::symlink_metadata(&dir) {
        Err(_) => return Ok(()),
        Ok(look) if look.is_dir() => sled_files::remove(&dir),
        Ok(_) => options.disk.remove_file(&dir),
    };
    removed.map_err(|e| IndexError::io("remove", dir, e))
}

/// Copies the newest lookup database of the storage directory to where `options` has them made, so
/// that it can be opened, which changes it. What is no file is left out. Blocks.
pub(super) fn copy_newest(options: &Options) -> Result<(), IndexError> {
    let stored = Options {
        elsewhere: None,
        ..options.clone()
    };
    let generation = newest_generation(&stored)?;
    let (from, to) = (
        stored.generation_dir(generation),
        options.generation_dir(generation),
    );
    let make = |dir: &Path| {
        let made = RealDisk.create_dir(dir);
        made.map_err(|e| IndexError::io("create", dir, e))
    };
    if let Some(elsewhere) = &options.elsewhere {
        make(elsewhere)?;
    }
    make(&options.index_dir())?;
    if !from.is_dir() {
        return Ok(());
    }
    make(&to)?;
    let failed = |e| IndexError::io("copy", &from, e);
    for entry in fs::read_dir(&from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy(&entry.path(), &to.join(entry.file_name())).map_err(failed)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    // sled keeps long values in a directory of their own, and larder has none that are so long.
    if from.is_dir() {
        return RealDisk.create_dir(to);
    }
    let mut file = match stored_file::open(from) {
        Err(e) if stored_file::is_no_file(&e) => return Ok(()),
        file => file?,
    };
    let mut options = fs::OpenOptions::new();
    io::copy(
        &mut file,
        &mut options.write(true).create_new(true).open(to)?,
    )
    .map(drop)
}
