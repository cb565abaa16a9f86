//! Opening a local index: whether the lookup database can be trusted is decided
//! here, and it is made anew where it cannot.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use tokio::sync::mpsc;

use super::replay::{Check, Replayed, replay};
use super::writer::Writer;
use super::{Current, LocalIndex, Options, QUEUE, Shared, seal};
use crate::index::journal::{self, Journal, OnDamage, Segment};
use crate::index::{IndexError, journal::refuse};
use crate::record::FileRecord;

/// An open index, and what its opening found.
pub struct Opened {
    /// The index.
    pub index: LocalIndex,
    /// Whether the last stop was clean.
    pub clean: bool,
    /// Files that were acknowledged under relaxed durability shortly before a
    /// crash: their blobs may be incomplete.
    pub unsettled: VecDeque<FileRecord>,
}

/// Where the lookup database of this generation is.
pub(super) fn generation_dir(options: &Options, generation: u64) -> PathBuf {
    options.dir.join("index").join(format!("{generation:010}"))
}

/// See [`LocalIndex::open`].
pub(super) fn open(options: Options) -> Result<Opened, IndexError> {
    let segments = prepare(&options, &mut refuse)?;
    let seal = seal::take(&options)?;
    if seal.is_none() {
        // What the page cache still holds of a killed process becomes durable now,
        // so that everything found below may be built upon.
        let sync = options.disk.sync_file_system(&options.dir);
        sync.map_err(|e| IndexError::io("sync", &options.dir, e))?;
    }
    let generation = newest_generation(&options)?;
    let check = match seal {
        Some(seal) if seal.holds(&options, generation) => Check::Trust,
        _ => Check::Full,
    };
    let (mut replayed, generation) =
        match replay(&options, &segments, generation, check, &mut refuse) {
            Err(IndexError::Lookup(reason)) => {
                tracing::error!(reason, "the lookup database is made anew from the journal");
                (
                    make_anew(&options, &segments, generation + 1, &mut refuse)?,
                    generation + 1,
                )
            }
            replayed => (replayed?, generation),
        };
    if seal.is_some_and(|seal| seal.next_seq >= replayed.end.next_seq) {
        replayed.end.durable_seq = replayed.end.next_seq - 1;
        replayed.unsettled.clear();
    }
    remove_other_generations(&options, generation)?;
    start(&options, replayed, generation, seal.is_some())
}

/// A new lookup database from nothing but the journal.
pub(super) fn make_anew(
    options: &Options,
    segments: &[Segment],
    generation: u64,
    on_damage: OnDamage<'_>,
) -> Result<Replayed, IndexError> {
    remove_generation(options, generation)?;
    replay(options, segments, generation, Check::Fresh, on_damage)
}

/// Creates the directories, removes what a crash left, lists the segments.
pub(super) fn prepare(
    options: &Options,
    on_damage: OnDamage<'_>,
) -> Result<Vec<Segment>, IndexError> {
    let journal_dir = options.journal().dir;
    for dir in [&journal_dir, &options.dir.join("index")] {
        options
            .disk
            .create_dir(dir)
            .map_err(|e| IndexError::io("create", dir, e))?;
    }
    let sync = options.disk.sync_dir(&options.dir);
    sync.map_err(|e| IndexError::io("sync", &options.dir, e))?;
    let (segments, void) = journal::list(&journal_dir, on_damage)?;
    for path in void {
        options
            .disk
            .remove_file(&path)
            .map_err(|e| IndexError::io("remove", path, e))?;
    }
    Ok(segments)
}

fn start(
    options: &Options,
    replayed: Replayed,
    generation: u64,
    clean: bool,
) -> Result<Opened, IndexError> {
    let Replayed {
        lookup,
        mut progress,
        end,
        unsettled,
    } = replayed;
    let refusal = Arc::new(OnceLock::new());
    let journal = Journal::open(options.journal(), &end, Arc::clone(&refusal))?;
    progress.journal = journal.id();
    let shared = Arc::new(Shared {
        lookup: RwLock::new(Current {
            lookup: Some(Arc::new(lookup)),
            generation,
        }),
        totals: Mutex::new(progress.totals()),
        next_seq: AtomicU64::new(progress.next_seq),
        refusal,
    });
    let (requests, received) = mpsc::channel(QUEUE);
    let writer = Writer {
        options: options.clone(),
        shared: Arc::clone(&shared),
        journal,
        progress,
        entries: end.entries,
        compaction: None,
        requests: requests.downgrade(),
    };
    let thread = std::thread::Builder::new().name("index".into());
    let thread = thread.spawn(move || writer.run(received));
    thread.map_err(|e| IndexError::io("start a thread for", &options.dir, e))?;
    Ok(Opened {
        index: LocalIndex { requests, shared },
        clean,
        unsettled,
    })
}

/// The newest generation there is a directory of; 1 where there is none.
pub(super) fn newest_generation(options: &Options) -> Result<u64, IndexError> {
    Ok(generations(options)?.into_iter().max().unwrap_or(1))
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

fn remove_other_generations(options: &Options, kept: u64) -> Result<(), IndexError> {
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
    let dir = generation_dir(options, generation);
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
