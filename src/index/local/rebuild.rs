//! Making the lookup database anew on demand, and going on behind damage.

use super::generations::{make_anew, newest_generation, remove_other_generations};
use super::loss;
use super::mend;
use super::options::Options;
use super::replay::Replayed;
use super::rescue::{Rescue, Rescued};
use super::seal;
use super::start::{prepare, sync_after_crash};
use crate::index::journal::{
    self, Damage, OnDamage, SnapshotWriter, forget_last, forget_reached, refuse,
};
use crate::index::{IndexError, Totals};

/// How many files are copied at once.
const PAGE: usize = 1024;

/// What a rebuild did.
#[derive(Debug)]
pub struct Rebuilt {
    /// How much the index holds now.
    pub totals: Totals,
    /// The damage that was passed over.
    pub skipped: Vec<Damage>,
    /// How many changes are given up; None where nothing is, whatever was damaged.
    pub lost: Option<u64>,
}

/// Makes the lookup database anew from nothing but the journal. Blocks for long.
///
/// Damage in the journal stops it, unless `skip_damage` gives up what cannot be
/// read: then the rest, with what the lookup database and the copy of the last batch have,
/// becomes a new journal, and the damaged segments stay beside it as `*.damaged`.
pub fn rebuild(options: &Options, skip_damage: bool) -> Result<Rebuilt, IndexError> {
    let mut skipped = Vec::new();
    let mut skip = |damage: Damage| {
        tell_skipped(&damage);
        skipped.push(damage);
        Ok(())
    };
    let on_damage: OnDamage<'_> = if skip_damage { &mut skip } else { &mut refuse };
    let mut segments = prepare(options, on_damage)?;
    let seal = seal::read(options).seal();
    // After a crash the next start has more to put in order than the database.
    let clean = seal.is_some();
    if !clean {
        sync_after_crash(options)?;
    }
    let old = newest_generation(options)?;
    let reached = journal::reached(&options.journal(), &segments);
    let is_mixed = journal::stranger(&options.journal(), &segments).is_some();
    let mut replayed = replay_mended(options, &mut segments, old + 1, on_damage)?;
    let sealed_at = sealed_at(seal);
    let reached = reached.max(sealed_at);
    if reached > replayed.end.next_seq {
        on_damage(replayed.end.damage(reached))?;
    }
    let (mut generation, mut lost) = (old + 1, None);
    if !skipped.is_empty() {
        let rescue = Rescue {
            options,
            segments: &segments,
            sealed_at,
            reached,
            gives_up: skipped.iter().any(|damage| damage.gives_up),
        };
        Rescued {
            replayed,
            generation,
            lost,
        } = rescue.best(old, replayed)?;
        if is_mixed && lost.is_none() {
            // Of what another store's journal tells nothing is known here.
            loss::note(options, 1)?;
            lost = Some(1);
        }
        replace_journal(options, &replayed, &skipped)?;
    }
    let progress = replayed.progress;
    replayed.lookup.close()?;
    remove_other_generations(options, generation)?;
    if lost.is_some() {
        // It tells of what is given up.
        seal::remove(options)?;
    } else if clean {
        seal::write(options, generation, progress.next_seq)?;
    }
    Ok(Rebuilt {
        totals: progress.totals(),
        skipped,
        lost,
    })
}

/// Makes the database anew by the journal, whose end is mended first where a copy tells of it.
fn replay_mended(
    options: &Options,
    segments: &mut Vec<journal::Segment>,
    generation: u64,
    on_damage: OnDamage<'_>,
) -> Result<Replayed, IndexError> {
    let replayed = make_anew(options, segments, generation, on_damage)?;
    if !mend::end_by_copy(options, &replayed.end)? {
        return Ok(replayed);
    }
    drop(replayed);
    (*segments, _) = journal::list(&options.journal().dir, on_damage)?;
    make_anew(options, segments, generation, on_damage)
}

/// Before which change the store was sealed, as far as the seal is proven.
fn sealed_at(seal: Option<seal::Seal>) -> u64 {
    let proven = seal.filter(|it| it.is_proven(false, 0));
    proven.map_or(0, |seal| seal.next_seq)
}

fn tell_skipped(damage: &Damage) {
    tracing::error!(path = %damage.path.display(), offset = damage.offset, damage.detail,
        "damage in the journal is passed over");
}

/// Takes what the journal of a storage directory has lost as settled: the next start deletes
/// content that no file needs. Blocks.
pub fn forget_loss(options: &Options) -> Result<(), IndexError> {
    // A start after a clean stop looks for no such content.
    seal::remove(options)?;
    let settled = journal::settle_kept(&options.journal());
    settled.map_err(|e| IndexError::io("write into", &options.dir, e))?;
    loss::settle(options)
}

/// Writes what could be read as a snapshot, and sets the damaged segments aside.
fn replace_journal(
    options: &Options,
    Replayed {
        lookup, progress, ..
    }: &Replayed,
    damaged: &[Damage],
) -> Result<(), IndexError> {
    let journal = options.journal();
    let last = crate::index::journal::last_number(&journal.dir)?;
    let id = match progress.journal {
        // Neither journal nor database was left that said it.
        id if id == [0; 16] => *uuid::Uuid::new_v4().as_bytes(),
        id => id,
    };
    let mut snapshot = SnapshotWriter::begin(journal, id, last + 1, progress.next_seq)?;
    let mut after = None;
    loop {
        let page = lookup.page(after, PAGE)?;
        let Some(newest) = page.last() else { break };
        after = Some(newest.id);
        page.into_iter()
            .try_for_each(|record| snapshot.add(record))?;
    }
    snapshot.finish([])?;
    // The end is another one from now on.
    let forgotten = forget_last(&options.journal().dir, &*options.disk)
        .and_then(|()| forget_reached(&options.journal()));
    forgotten.map_err(|e| IndexError::io("remove from", &options.dir, e))?;
    for Damage { path, .. } in damaged.iter().filter(|damage| damage.path.is_file()) {
        let aside = path.with_extension("damaged");
        let moved = options.disk.rename(path, &aside);
        moved.map_err(|e| IndexError::io("rename", path, e))?;
    }
    Ok(())
}
