//! What an id and a content mean, as those say that can be believed most.

use std::collections::BTreeMap;

use super::super::told::{Held, MAX_SHOWN, Provider};
use super::slab::Handle;
use super::{Row, Rows, standing};
use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// What is told of an id, for each content that somebody tells of: by whom, in the order in which
/// they are believed. Where keys have signed anything of it, nobody else is heard.
pub(in crate::peer::directory) type Told<'a> = BTreeMap<Option<BlobHash>, Vec<&'a Row>>;

impl Rows {
    /// What is told of each id from this one on.
    pub(in crate::peer::directory) fn told_from(
        &self,
        from: FileId,
    ) -> impl Iterator<Item = (FileId, Told<'_>)> {
        let rows = self
            .by_file
            .from(self.place_in(&self.by_file, (from, 0), 0));
        self.by_id(rows)
    }

    /// The same of those before this one, or of all, the last one first.
    pub(in crate::peer::directory) fn told_before(
        &self,
        before: Option<FileId>,
    ) -> impl Iterator<Item = (FileId, Told<'_>)> {
        let rows = match before {
            Some(id) => {
                let place = self.place_in(&self.by_file, (id, 0), 0);
                self.by_file.back_from(place)
            }
            None => self.by_file.back_from(self.by_file.end()),
        };
        self.by_id(rows)
    }

    fn by_id(
        &self,
        rows: impl Iterator<Item = Handle>,
    ) -> impl Iterator<Item = (FileId, Told<'_>)> {
        let mut rows = rows.map(|it| self.slab.get(it)).peekable();
        std::iter::from_fn(move || {
            let mut same = vec![rows.next()?];
            let id = same.first()?.id;
            while let Some(row) = rows.next_if(|it| it.id == id) {
                same.push(row);
            }
            Some((id, self.told(&same)))
        })
    }

    /// What is told of an id by those who can be believed most.
    pub(in crate::peer::directory) fn told_of(&self, id: FileId) -> Told<'_> {
        let next = self.told_from(id).next();
        next.filter(|it| it.0 == id)
            .map(|it| it.1)
            .unwrap_or_default()
    }

    /// What these rows, which are all of an id, tell by those who can be believed most.
    fn told<'a>(&self, rows: &[&'a Row]) -> Told<'a> {
        let nobody_signs = rows.iter().all(|it| self.is_unproven(it.number));
        let mut told = Told::new();
        for row in rows {
            if self.is_unproven(row.number) == nobody_signs {
                told.entry(row.hash()).or_default().push(*row);
            }
        }
        for rows in told.values_mut() {
            rows.sort_by_key(|row| standing(row));
        }
        told
    }

    /// What an id means, as those say that can be believed most. Where these do not agree on
    /// content and name there are several, and two that know no hash never agree.
    pub(in crate::peer::directory) fn meant(&self, id: FileId) -> Vec<Held> {
        let mut found = Vec::new();
        for (hash, mut told) in self.told_of(id) {
            while let Some(best) = told.first().copied() {
                let agrees = |row: &&Row| {
                    row.number == best.number || hash.is_some() && row.name() == best.name()
                };
                let (alike, others): (Vec<_>, _) = told.into_iter().partition(agrees);
                found.extend(self.held(&alike));
                told = others;
            }
        }
        found
    }

    /// The file that all of these tell of, the one that is believed most first.
    pub(in crate::peer::directory) fn held(&self, told: &[&Row]) -> Option<Held> {
        let best = told.first()?;
        let tellers = told.iter().filter_map(|it| self.teller(it));
        let same = best.hash().map(|hash| self.providers(&hash, MAX_SHOWN));
        let same = same.into_iter().flatten().map(|it| it.peer);
        Some(Held {
            file: self.file(best),
            peers: tellers.take(MAX_SHOWN).chain(same).collect(),
        })
    }

    fn teller(&self, row: &Row) -> Option<PeerId> {
        Some(self.slot_at(row.number)?.id)
    }

    /// The peers that have told of a file as one of their own, and not as a copy that they hold.
    pub(in crate::peer::directory) fn owners(&self, id: FileId) -> Vec<PeerId> {
        let told = self.told_of(id).into_values().flatten();
        let own = told.filter(|row| !row.is_copy());
        own.filter_map(|it| self.teller(it)).collect()
    }

    /// The first `most` peers that claim to hold a content, each with one of its files.
    pub(in crate::peer::directory) fn providers(
        &self,
        hash: &BlobHash,
        most: usize,
    ) -> Vec<Provider> {
        let content = self.keys.content(Some(*hash));
        let mut found = Vec::new();
        let mut from = Some(0);
        while let Some(next) = from
            && found.len() < most
        {
            let first = self.place_by_content(content, next, FileId::from_bytes([0; 16]));
            let row = self.by_content.get(first).map(|it| self.slab.get(it.row));
            let Some(row) = row.filter(|it| it.hash().as_ref() == Some(hash)) else {
                break;
            };
            if let Some(peer) = self.teller(row) {
                let file = row.id;
                found.push((row.order, Provider { peer, file }));
            }
            from = row.number.checked_add(1);
        }
        found.sort_unstable_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, it)| it).collect()
    }
}
