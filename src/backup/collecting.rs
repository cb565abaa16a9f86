//! Giving up old backups, and the contents that none of those that are left needs.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;

use super::moments::MomentFiles;
use super::{BackupError, Backups, Found, Moment};
use crate::blob::BlobBackend;
use crate::hash::BlobHash;
use crate::place::Place;

/// What was given up.
#[derive(Debug, Default, Clone)]
pub struct Collected {
    /// The numbers of the backups.
    pub backups: Vec<u32>,
    /// How many contents were removed that none needs.
    pub contents: u64,
    /// Of how many bytes.
    pub bytes: u64,
    /// Why nothing was: a backup cannot be read, and nobody knows what it needs.
    pub unknown: Option<String>,
}

/// Takes out of these backups, the oldest first, those that are older than the newest `keep` of
/// their node that can be read. One that cannot counts as of the node of the next one.
fn take_older(found: &mut Vec<Found>, keep: Option<usize>) -> Vec<Found> {
    let mut kept = HashMap::<String, usize>::new();
    let mut node = String::new();
    let (mut older, mut newer) = (Vec::new(), Vec::new());
    for found in found.drain(..).rev() {
        if let Ok(moment) = &found.moment {
            node.clone_from(&moment.peer_id);
        }
        let of_node = kept.entry(node.clone()).or_default();
        if keep.is_some_and(|keep| *of_node >= keep) {
            older.push(found);
        } else {
            *of_node += usize::from(found.moment.is_ok());
            newer.push(found);
        }
    }
    newer.reverse();
    older.reverse();
    *found = newer;
    older
}

fn readable(found: Vec<Found>) -> Vec<Moment> {
    let moments = found.into_iter().filter_map(|it| it.moment.ok());
    moments.collect()
}

/// The pieces of the lists of these backups.
fn lists(moments: &[Moment]) -> HashSet<BlobHash> {
    let lists = moments.iter().flat_map(|it| &it.lists);
    lists.map(|it| it.hash).collect()
}

impl Backups {
    /// Gives up all but the newest `keep` backups of each node that can be read, or none, and
    /// removes the contents that none of the others needs; where nothing is given up, those are
    /// only looked for after a backup that `was_cut`. Nothing is where one cannot be read that is
    /// to stay.
    pub async fn collect(
        &self,
        keep: Option<usize>,
        was_cut: bool,
    ) -> Result<Collected, BackupError> {
        if was_cut {
            // What is needed is whole by now.
            self.give_up_all().await?;
        }
        // From what nothing whole can be read nobody needs anything.
        self.contents.remove_unreadable_packs().await?;
        let mut kept = self.moments().await?;
        let found = take_older(&mut kept, keep);
        if let Some(error) = kept.iter().find_map(|it| it.moment.as_ref().err()) {
            return Ok(Collected {
                unknown: Some(error.to_string()),
                ..Collected::default()
            });
        }
        let numbers: Vec<_> = found.iter().map(|it| it.number).collect();
        // What one needed that cannot be read nobody knows.
        let was_cut = was_cut || found.iter().any(|it| it.moment.is_err());
        let (given_up, kept) = (readable(found), readable(kept));
        let mut collected = Collected {
            backups: numbers.clone(),
            ..Collected::default()
        };
        if !numbers.is_empty() {
            self.on_disk(move |it| it.give_up(&numbers)).await?;
        }
        if was_cut || !lists(&given_up).is_subset(&lists(&kept)) {
            self.remove_unneeded(&kept, &mut collected).await?;
        }
        self.on_disk(MomentFiles::forget_unfinished).await?;
        Ok(collected)
    }

    /// Removes what none of these backups needs: 32 bytes of memory for each content that they do.
    async fn remove_unneeded(
        &self,
        kept: &[Moment],
        collected: &mut Collected,
    ) -> Result<(), BackupError> {
        let mut needed = HashSet::<BlobHash>::new();
        for list in kept.iter().flat_map(|it| &it.lists) {
            // What stays the same from one to the next is read once.
            if needed.insert(list.hash) {
                let files = match self.files_of(*list).await {
                    Err(error) if error.is_damage() => {
                        collected.unknown = Some(error.to_string());
                        return Ok(());
                    }
                    files => files?,
                };
                needed.extend(files.into_iter().map(|it| it.hash));
            }
        }
        let mut stored = self.contents.in_order();
        while let Some((hash, size)) = stored.try_next().await? {
            if !needed.contains(&hash) {
                self.contents.delete(Place::of(&hash)).await?;
                collected.contents += 1;
                collected.bytes += size;
            }
        }
        self.contents.sweep().await?;
        Ok(())
    }
}
