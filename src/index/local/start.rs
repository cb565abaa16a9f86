//! Opening a local index: whether the lookup database can be trusted is decided
//! here, and it is made anew where it cannot.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use tokio::sync::mpsc;

use super::generations::{make_anew, newest_generation, remove_other_generations};
use super::options::Options;
use super::replay::{Check, replay};
use super::seal;
use super::shared::{Current, Shared};
use super::writer::{Request, Writer};
use crate::index::IndexError;
use crate::index::journal::{self, End, Journal, OnDamage, Segment, refuse};
use crate::index::lookup::{Lookup, Progress};
use crate::record::FileRecord;

/// How many requests may wait for the writing thread.
const QUEUE: usize = 1024;

/// A running index, and what its start found.
pub(super) struct Started {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) shared: Arc<Shared>,
    pub(super) clean: bool,
    pub(super) unsettled: Vec<FileRecord>,
}

/// Opens what there is, creates what there is not, and starts the writing thread.
pub(super) fn start(options: &Options) -> Result<Started, IndexError> {
    let segments = prepare(options, &mut refuse)?;
    let seal = seal::read(options);
    if seal.is_none() {
        sync_after_crash(options)?;
    }
    let generation = newest_generation(options)?;
    let check = match seal {
        Some(seal) if seal.holds(options, generation) => Check::Trust,
        _ => Check::Full,
    };
    let (mut replayed, generation) =
        match replay(options, &segments, generation, check, &mut refuse) {
            Err(IndexError::Lookup(reason)) => {
                tracing::error!(reason, "the lookup database is made anew from the journal");
                (
                    make_anew(options, &segments, generation + 1, &mut refuse)?,
                    generation + 1,
                )
            }
            replayed => (replayed?, generation),
        };
    if let Some(seal) = seal {
        replayed
            .end
            .check_reaches(seal.next_seq, &options.journal().dir)?;
        replayed.end.durable_seq = replayed.end.next_seq - 1;
        replayed.unsettled.clear();
    }
    remove_other_generations(options, generation)?;
    seal::remove(options)?;
    let (requests, shared) = start_writer(
        options,
        replayed.lookup,
        replayed.progress,
        &replayed.end,
        generation,
    )?;
    Ok(Started {
        requests,
        shared,
        clean: seal.is_some(),
        unsettled: replayed.unsettled,
    })
}

/// Makes durable what the page cache still holds of a killed process, so that what is
/// found may be built upon.
pub(super) fn sync_after_crash(options: &Options) -> Result<(), IndexError> {
    let sync = options.disk.sync_file_system(&options.dir);
    sync.map_err(|e| IndexError::io("sync", &options.dir, e))
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
    // The snapshot that makes others void must have its name for good before they go.
    let sync = options.disk.sync_dir(&journal_dir);
    sync.map_err(|e| IndexError::io("sync", &journal_dir, e))?;
    for path in void.into_iter().chain(journal::unfinished(&journal_dir)) {
        options
            .disk
            .remove_file(&path)
            .map_err(|e| IndexError::io("remove", path, e))?;
    }
    Ok(segments)
}

fn start_writer(
    options: &Options,
    lookup: Lookup,
    mut progress: Progress,
    end: &End,
    generation: u64,
) -> Result<(mpsc::Sender<Request>, Arc<Shared>), IndexError> {
    let refusal = Arc::new(OnceLock::new());
    let journal = Journal::open(options.journal(), end, Arc::clone(&refusal))?;
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
        compact_from: options.compact_entries,
        requests: requests.downgrade(),
    };
    let thread = std::thread::Builder::new().name("index".into());
    let thread = thread.spawn(move || writer.run(received));
    thread.map_err(|e| IndexError::io("start a thread for", &options.dir, e))?;
    Ok((requests, shared))
}
