//! A lookup database that takes the place of one that an older larder has written.

use std::fs;
use std::io;
use std::path::Path;

use super::generations::{
    make_anew, newest_generation, remove_generation, remove_other_generations,
};
use super::options::Options;
use super::seal;
use super::start::{prepare, sync_after_crash};
use crate::index::IndexError;
use crate::index::codec::Entry;
use crate::index::journal::{self, Piece, refuse};
use crate::index::sled_files::SECONDARY;

/// What a journal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// How many files there are.
    pub files: u64,
    /// How many entries tell of them, with those of files that are gone.
    pub entries: u64,
}

/// Counts what the journal has, and changes nothing; its damage is an error. Blocks as long as
/// reading all of it does.
pub fn count(options: &Options) -> Result<Counted, IndexError> {
    let (segments, _) = journal::list(&options.journal().dir, &mut refuse)?;
    let (mut added, mut removed) = (0, 0);
    let visit = &mut |piece, _| {
        let (Piece::Snapshot(batch, _) | Piece::Log(batch)) = piece;
        for entry in batch.entries {
            match entry {
                Entry::Added(_) => added += 1,
                Entry::Removed { .. } => removed += 1,
            }
        }
        Ok(())
    };
    journal::read(&segments, 0, visit, &mut refuse)?;
    Ok(Counted {
        files: u64::saturating_sub(added, removed),
        entries: added + removed,
    })
}

/// Whether the last clean stop was one of a larder that kept its lookups in another way, whose
/// database cannot be used. Of one that has not stopped cleanly only opening the database tells.
/// Blocks.
pub fn has_older_lookup(options: &Options) -> Result<bool, IndexError> {
    let is_old = seal::read(options).seal().is_some_and(|it| it.is_old());
    let dir = options.generation_dir(newest_generation(options)?);
    Ok(is_old && dir.is_dir() && !dir.join(SECONDARY).exists())
}

/// A lookup database that is whole and not in its place yet.
pub struct Renewed {
    options: Options,
    generation: u64,
    /// Up to where the last clean stop says that the journal goes, if that is so.
    sealed_at: Option<u64>,
}

/// Makes a lookup database from the journal in [`Options::elsewhere`], and leaves the one that is
/// there, and all else, as it is. Blocks for long.
pub fn renew(options: &Options) -> Result<Renewed, IndexError> {
    let in_place = in_place(options);
    let segments = prepare(options, &mut refuse)?;
    let seal = seal::read(&in_place).seal();
    if seal.is_none() {
        sync_after_crash(&in_place)?;
    }
    let generation = newest_generation(&in_place)? + 1;
    let made = make_anew(options, &segments, generation, &mut refuse)?;
    let next_seq = made.progress.next_seq;
    made.lookup.close()?;
    Ok(Renewed {
        options: options.clone(),
        generation,
        sealed_at: seal.map(|it| it.next_seq).filter(|it| *it == next_seq),
    })
}

impl Renewed {
    /// Puts it in its place, and removes the one that was there. A crash in between leaves one
    /// that the next start makes anew. Blocks.
    pub fn take_place(self) -> Result<(), IndexError> {
        let in_place = in_place(&self.options);
        // A seal of a database that is not there yet only has the one that is there looked at.
        if let Some(next_seq) = self.sealed_at {
            seal::write(&self.options, self.generation, next_seq)?;
        }
        let from = self.options.generation_dir(self.generation);
        let to = in_place.generation_dir(self.generation);
        let disk = &in_place.disk;
        let renamed = disk
            .create_dir(&in_place.index_dir())
            .and_then(|()| disk.rename(&from, &to))
            .and_then(|()| disk.sync_dir(&in_place.index_dir()));
        renamed.map_err(|e| IndexError::io("rename to", to, e))?;
        remove_other_generations(&in_place, self.generation)
    }
}

/// Removes what is left elsewhere of lookup databases that have not taken their place. Blocks.
pub fn remove_unfinished(options: &Options) -> Result<(), IndexError> {
    let Some(elsewhere) = options.elsewhere.as_deref().filter(|it| it.exists()) else {
        return Ok(());
    };
    remove_other_generations(options, 0)?;
    remove_generation(options, 0)?;
    for dir in [&options.index_dir(), elsewhere] {
        let removed = remove_if_empty(dir);
        removed.map_err(|e| IndexError::io("remove", dir, e))?;
    }
    Ok(())
}

/// What somebody else has put there stays.
fn remove_if_empty(dir: &Path) -> io::Result<()> {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound};
    match fs::remove_dir(dir) {
        Err(e) if matches!(e.kind(), DirectoryNotEmpty | NotFound) => Ok(()),
        removed => removed,
    }
}

fn in_place(options: &Options) -> Options {
    Options {
        elsewhere: None,
        ..options.clone()
    }
}
