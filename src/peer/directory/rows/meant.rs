//! What an id and a content mean, as those say that can be believed most.

use std::hash::BuildHasher;

use super::super::told::{Held, MAX_SHOWN, Provider};
use super::{Row, Rows};
use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::FileId;

impl Rows {
    /// What an id means, as those say that can be believed most. Where these do not agree on
    /// content and name there are several, and two that know no hash never agree.
    pub(in crate::peer::directory) fn meant(&self, id: FileId) -> Vec<Held> {
        let mut found = Vec::new();
        for (hash, mut told) in self.told_of(id) {
            while let Some((first, best)) = told.first().copied() {
                let agrees = |(number, row): &(u32, &Row)| {
                    *number == first || hash.is_some() && row.name() == best.name()
                };
                let (alike, others): (Vec<_>, _) = told.into_iter().partition(agrees);
                found.extend(self.held(id, hash, &alike));
                told = others;
            }
        }
        found
    }

    pub(in crate::peer::directory) fn held(
        &self,
        id: FileId,
        hash: Option<BlobHash>,
        told: &[(u32, &Row)],
    ) -> Option<Held> {
        let (_, best) = told.first()?;
        let tellers = told
            .iter()
            .filter_map(|(it, _)| Some(self.slot_at(*it)?.id));
        let same = hash.map(|hash| self.providers(&hash, MAX_SHOWN));
        let same = same.into_iter().flatten().map(|it| it.peer);
        Some(Held {
            file: best.file(id),
            peers: tellers.take(MAX_SHOWN).chain(same).collect(),
        })
    }

    /// The peers that have told of a file as one of their own, and not as a copy that they hold.
    pub(in crate::peer::directory) fn owners(&self, id: FileId) -> Vec<PeerId> {
        let told = self.told_of(id).into_values().flatten();
        let own = told.filter(|(_, row)| !row.is_copy);
        own.filter_map(|(it, _)| Some(self.slot_at(it)?.id))
            .collect()
    }

    /// The first `most` peers that claim to hold a content, each with one of its files.
    pub(in crate::peer::directory) fn providers(
        &self,
        hash: &BlobHash,
        most: usize,
    ) -> Vec<Provider> {
        let content = self.keys.hash_one(Some(hash));
        let mut found = Vec::new();
        let mut from = Some(0);
        while let Some(next) = from
            && found.len() < most
        {
            let first = FileId::from_bytes([0; 16]);
            let mut entries = self.by_content.range((content, next, first)..);
            let Some((_, number, file)) = entries.next().filter(|it| it.0 == content) else {
                break;
            };
            let row = self.row(*number, (*file, content));
            let right = row.filter(|row| row.hash.as_ref() == Some(hash));
            if let Some((row, slot)) = right.zip(self.slot_at(*number)) {
                let (peer, file) = (slot.id, *file);
                found.push((row.order, Provider { peer, file }));
            }
            from = number.checked_add(1);
        }
        found.sort_unstable_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, it)| it).collect()
    }
}
