//! Looking through what the index has stored, while it is used.

use std::fs::File;
use std::path::PathBuf;

use super::options::Options;
use crate::index::IndexError;
use crate::index::journal::{self, Damage, Segment, damage_of_last, damage_of_reached};
use crate::seen_twice::seen_twice;
use crate::stored_file;

/// A file, and what is wrong with it.
pub(super) type Problem = (PathBuf, String);

/// What is wrong with the journal, which had entries before `reached`, and with what is noted of
/// it. What is written meanwhile may be seen in its midst, so only what shows twice counts. Blocks
/// as long as reading all of it does.
pub(super) fn problems(options: &Options, reached: u64) -> Result<Vec<Problem>, IndexError> {
    seen_twice(|| look(options, reached))
}

fn look(options: &Options, reached: u64) -> Result<Vec<Problem>, IndexError> {
    let (mut found, dir) = (Vec::new(), options.journal().dir);
    let mut note = |damage: Damage| {
        found.push(damage);
        Ok(())
    };
    let (segments, _) = journal::list(&dir, &mut note)?;
    segments.iter().for_each(forget_cached);
    let end = journal::read(&segments, 0, &mut |_, _| Ok(()), &mut note)?;
    if end.next_seq < reached {
        note(end.damage(reached))?;
    }
    found.extend(damage_of_last(&dir, &end));
    found.extend(damage_of_reached(&options.journal()));
    let told = found.into_iter().map(|it| {
        let detail = format!("at byte {}: {}", it.offset, it.detail);
        (it.path, detail)
    });
    Ok(told.collect())
}

/// Has a segment be read from its medium next, as far as it is there.
fn forget_cached(segment: &Segment) {
    let file = stored_file::open(&segment.path);
    let file = file.and_then(|it: File| Ok((it.metadata()?.len(), it)));
    if let Ok((len, file)) = file {
        stored_file::from_medium(&file, 0..len, || {});
    }
}
