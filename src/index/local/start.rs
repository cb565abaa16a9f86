//! Opening a local index: whether the lookup database can be trusted is decided
//! here, and it is made anew where it cannot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;

use super::absence;
use super::generations::{make_anew, newest_generation, remove_other_generations};
use super::loss;
use super::mend::{self, By, Mended};
use super::options::Options;
use super::replay::{Check, Replayed, read_in_journal, replay};
use super::seal;
use super::shared::{Current, Shared};
use super::unhealed::Unhealed;
use super::writer::{Request, Writer};
use crate::disk::remove_leftover;
use crate::index::IndexError;
use crate::index::guard;
use crate::index::health::Healths;
use crate::index::journal::{self, Damage, Journal, OnDamage, Segment, refuse};
use crate::record::FileRecord;

/// How many requests may wait for the writing thread.
const QUEUE: usize = 1024;

/// A running index, and what its start found.
pub(super) struct Started {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) shared: Arc<Shared>,
    pub(super) clean: bool,
    pub(super) damaged: bool,
    pub(super) lost: Option<u64>,
    pub(super) unsettled: Vec<FileRecord>,
}

/// Opens what there is, creates what there is not, and starts the writing thread.
pub(super) fn start(options: &Options) -> Result<Started, IndexError> {
    let segments = prepare(options, &mut refuse)?;
    let (found, mut damaged) = read_seal(options);
    let generation = newest_generation(options)?;
    let holds = found
        .seal()
        .is_some_and(|seal| seal.holds(options, generation));
    if found.seal().is_none() {
        sync_after_crash(options)?;
    }
    let check = if holds { Check::Trust } else { Check::Full };
    let sealed_at = found.seal().filter(|it| it.is_proven(false, 0));
    let found_now = FoundNow {
        generation,
        check,
        sealed_at: sealed_at.map_or(0, |seal| seal.next_seq),
    };
    let BroughtUp {
        mut replayed,
        generation,
        reached,
    } = bring_up(options, segments, found_now)?;
    let ends_at = replayed.end.next_seq;
    damaged |= reached.is_some() || note_unproven(options)?;
    mend::tell_torn(options, &replayed.end);
    // A stop seals the end of the journal: a seal of less is of another time, or another store's.
    let known = reached.unwrap_or(ends_at);
    let believed = |it: &seal::Seal| it.is_proven(holds, known) && it.next_seq >= ends_at;
    let seal = found.seal().filter(believed);
    if let Some(seal) = seal {
        if reached.is_none_or(|reached| reached < seal.next_seq) {
            replayed.end.check_reaches(seal.next_seq)?;
        }
        replayed.end.durable_seq = ends_at - 1;
        replayed.unsettled.clear();
    } else if found.seal().is_some() {
        tracing::warn!("index.seal is damaged, or of another time, and does not count");
        damaged = true;
        sync_after_crash(options)?;
    }
    remove_other_generations(options, generation)?;
    seal::remove(options)?;
    let unsettled = std::mem::take(&mut replayed.unsettled);
    let start = Writing {
        replayed,
        generation,
        damaged,
    };
    let (requests, shared) = start_writer(options, start)?;
    Ok(Started {
        requests,
        shared,
        clean: seal.is_some(),
        damaged,
        lost: tell_lost(options),
        unsettled,
    })
}

/// The seal, and whether it is damaged, which is told.
fn read_seal(options: &Options) -> (seal::Found, bool) {
    let found = seal::read(options);
    let is_damaged = found == seal::Found::Damaged;
    if is_damaged {
        tracing::warn!("index.seal is damaged; the database is compared with the journal");
    }
    (found, is_damaged)
}

/// Whether nobody can tell which contents the journal knows nothing of, since what was noted with
/// them is damaged or gone. Where it is gone, the contents may be another store's, or of another
/// time, and that is remembered. Blocks.
fn note_unproven(options: &Options) -> Result<bool, IndexError> {
    let journal = options.journal();
    if let Some(Damage { path, detail, .. }) = journal::unnoted(&journal) {
        tracing::error!(path = %path.display(), detail,
            "it is not known which records need the contents that are here");
        loss::note(options, 1)?;
        return Ok(true);
    }
    let kept = journal::tells_of_kept(&journal).filter(|_| loss::noted(&options.dir).is_none());
    if let Some(path) = kept {
        tracing::error!(path = %path.display(),
            "contents are kept that no record needs, and what told how many changes are lost is \
             gone");
        loss::note(options, 1)?;
        return Ok(true);
    }
    let is_silent = journal::has_silent_note(&journal);
    if is_silent {
        tracing::warn!(
            "what was noted with the contents of how far the journal has come is damaged or gone; \
             nothing is deleted until the next start"
        );
    }
    Ok(is_silent)
}

/// How much the journal has lost for good, with a line in the log at every start until that
/// is settled.
fn tell_lost(options: &Options) -> Option<u64> {
    let lost = loss::noted(&options.dir)?;
    tracing::error!(
        lost,
        "changes are lost, so content that no file needs may be that of a lost file and is \
         kept; `larder rebuild-index --forget-loss` has the node delete it"
    );
    Some(lost)
}

/// What a start knows before it reads the journal.
struct FoundNow {
    generation: u64,
    check: Check,
    /// Up to which entry a seal says that the journal goes; 0 where none says so.
    sealed_at: u64,
}

/// A lookup database that has come as far as the journal.
struct BroughtUp {
    replayed: Replayed,
    generation: u64,
    /// Where the journal had to be mended: up to which entry it is known again.
    reached: Option<u64>,
}

/// Brings the lookup database up to the journal, or makes it anew, and the journal back to
/// where it was, if its end has lost anything.
fn bring_up(
    options: &Options,
    mut segments: Vec<Segment>,
    FoundNow {
        mut generation,
        check,
        sealed_at,
    }: FoundNow,
) -> Result<BroughtUp, IndexError> {
    let mut reached = None;
    // Before anything is appended, from where on another end is noted.
    let durable_once = journal::reached(&options.journal(), &segments);
    let mut accounted = 0;
    let mut bring = |segments: &[Segment], makes_anew: bool| {
        if makes_anew {
            generation += 1;
            return make_anew(options, segments, generation, &mut refuse);
        }
        replay_or_make_anew(options, segments, &mut generation, check)
    };
    let mut replayed = or_in_journal(options, &segments, bring(&segments, false))?;
    loop {
        let mended = match mend::end(options, &segments, &replayed, sealed_at) {
            Err(IndexError::Lookup(reason)) => {
                tracing::error!(
                    reason,
                    "the journal cannot be mended from the lookup database"
                );
                Some(mend::note_unmended(options, &replayed)?)
            }
            mended => mended?,
        };
        let Some(Mended { by, up_to }) = mended else {
            break;
        };
        accounted = accounted.max(up_to);
        let known = replayed.progress.next_seq;
        // sled lets a database be opened once at a time.
        drop(replayed);
        (segments, _) = journal::list(&options.journal().dir, &mut refuse)?;
        replayed = or_in_journal(options, &segments, bring(&segments, by != By::Copy))?;
        let ends_at = replayed.end.next_seq;
        let known = if by == By::Lookup { known } else { ends_at };
        reached = reached.max(Some(known.max(ends_at)));
    }
    let ends_at = replayed.end.next_seq;
    // Where a seal says more the start is refused, and nothing is touched.
    if sealed_at <= ends_at && mend::note_earlier(options, accounted.max(ends_at), durable_once)? {
        reached = reached.max(Some(ends_at));
    }
    Ok(BroughtUp {
        replayed,
        generation,
        reached,
    })
}

/// What was brought up, or where there was no room for that what the journal says.
fn or_in_journal(
    options: &Options,
    segments: &[Segment],
    brought: Result<Replayed, IndexError>,
) -> Result<Replayed, IndexError> {
    match brought {
        Err(error) if error.is_full() => {
            tracing::warn!(%error,
                "there is no room for the lookup database, so the journal answers in its place, \
                 and no upload is taken before there is");
            Ok(Replayed {
                want: Some(error),
                ..read_in_journal(options, segments, &mut refuse)?
            })
        }
        brought => brought,
    }
}

fn replay_or_make_anew(
    options: &Options,
    segments: &[Segment],
    generation: &mut u64,
    check: Check,
) -> Result<Replayed, IndexError> {
    match replay(options, segments, *generation, check, &mut refuse) {
        Err(IndexError::Lookup(reason)) => {
            tracing::error!(reason, "the lookup database is made anew from the journal");
            *generation += 1;
            make_anew(options, segments, *generation, &mut refuse)
        }
        replayed => replayed,
    }
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
    for dir in [&journal_dir, &options.index_dir()] {
        options
            .disk
            .create_dir(dir)
            .map_err(|e| IndexError::io("create", dir, e))?;
    }
    let sync = options.disk.sync_dir(&options.dir);
    sync.map_err(|e| IndexError::io("sync", &options.dir, e))?;
    let (segments, void) = journal::list(&journal_dir, on_damage)?;
    if let Some(damage) = absence::of_journal(options)? {
        on_damage(damage)?;
    }
    if let Some(damage) = journal::stranger(&options.journal(), &segments) {
        on_damage(damage)?;
    }
    // The snapshot that makes others void must have its name for good before they go.
    let sync = options.disk.sync_dir(&journal_dir);
    sync.map_err(|e| IndexError::io("sync", &journal_dir, e))?;
    for path in void.into_iter().chain(journal::unfinished(&journal_dir)) {
        let removed = remove_leftover(&*options.disk, &path);
        removed.map_err(|e| IndexError::io("remove", path, e))?;
    }
    Ok(segments)
}

/// What the writing thread begins with.
struct Writing {
    replayed: Replayed,
    generation: u64,
    damaged: bool,
}

fn start_writer(
    options: &Options,
    Writing {
        replayed,
        generation,
        damaged,
    }: Writing,
) -> Result<(mpsc::Sender<Request>, Arc<Shared>), IndexError> {
    let Replayed {
        lookup,
        mut progress,
        end,
        want,
        ..
    } = replayed;
    let refusal = Arc::new(OnceLock::new());
    let keeps = loss::noted(&options.dir).is_some();
    let journal = Journal::open(options.journal(), &end, Arc::clone(&refusal), keeps)?;
    progress.journal = journal.id();
    let shared = Arc::new(Shared {
        lookup: RwLock::new(Current {
            lookup: Some(Arc::new(lookup)),
            generation,
        }),
        totals: Mutex::new(progress.totals()),
        next_seq: AtomicU64::new(progress.next_seq),
        refusal,
        in_use: Arc::default(),
        healths: Healths::default(),
    });
    let (requests, received) = mpsc::channel(QUEUE);
    let writer = Writer {
        options: options.clone(),
        shared: Arc::clone(&shared),
        journal,
        progress,
        entries: end.entries,
        compaction: None,
        compact_from: 0,
        compacted_at: None,
        tidied_at: 0,
        shrunk_at: None,
        seals: !damaged,
        requests: requests.downgrade(),
        unhealed: want.map(Unhealed::now),
    };
    let thread = std::thread::Builder::new().name("index".into());
    let thread = thread.spawn(move || writing(writer, received));
    thread.map_err(|e| IndexError::io("start a thread for", &options.dir, e))?;
    Ok((requests, shared))
}

/// What the writing thread does. Where it ends by a panic, nothing more is written until the next
/// start, and why is told before anybody finds that nobody answers.
fn writing(writer: Writer, mut requests: mpsc::Receiver<Request>) {
    let shared = Arc::clone(&writer.shared);
    let work = AssertUnwindSafe(|| writer.run(&mut requests));
    if let Err(panic) = catch_unwind(work) {
        let cause = guard::words_of(&*panic);
        tracing::error!(
            cause,
            "the thread that writes the index has ended by a panic"
        );
        let reason = format!("the thread that writes the index has failed: {cause}");
        // A reason from before tells more of what came first.
        let _ = shared.refusal.set(reason);
    }
    // Whoever waits for an answer goes by this.
    drop(requests);
}
