//! Files that are one to people: which of them stands for all.

use std::cmp::Reverse;
use std::hash::BuildHasher;

use super::super::told::NetworkFile;
use super::{Content, RowKey, Rows, Slot, Standing};
use crate::name_form;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// How many files that are told of alike are looked at to find one that is shown so.
const MAX_LOOKED_AT: usize = 16;

impl Rows {
    /// Changes what is known of a peer, by which its rows stand. Takes as long as it has rows.
    pub(in crate::peer::directory) fn change(
        &mut self,
        peer: PeerId,
        change: impl FnOnce(&mut Slot),
    ) {
        let files = self.slot(peer).files.clone();
        let Some(number) = self.number(peer) else {
            return;
        };
        let places = |rows: &Self| -> Vec<_> {
            let place = |key: &RowKey| {
                let row = rows.row(number, *key).filter(|row| row.hash.is_some())?;
                Some((
                    rows.likeness(row),
                    rows.standing(number, row),
                    key.0,
                    number,
                ))
            };
            files.iter().filter_map(place).collect()
        };
        for place in places(self) {
            self.alike.remove(&place);
        }
        change(self.slot(peer));
        let places = places(self);
        self.alike.extend(places);
    }

    /// Those that are one to people, in the order in which they stand for all of them.
    pub(super) fn alike_from(&self, likeness: Content) -> impl Iterator<Item = (Standing, FileId)> {
        let least = (false, Reverse(usize::MAX), 0);
        let first = (likeness, least, FileId::from_bytes([0; 16]), 0);
        let alike = self.alike.range(first..);
        let alike = alike.take_while(move |it| it.0 == likeness);
        alike.map(|(_, standing, id, _)| (*standing, *id))
    }

    /// Those of the first files that stand before this one and have its content and its name, as
    /// whoever is believed most of each id says. A content has one size, so who tells another of it
    /// tells of no other file. What a key has signed stands before all
    /// else, what named peers and those that have served content tell before what others do, and
    /// what was told first before what came later: nobody who comes then says when and under
    /// which id it is held.
    pub(in crate::peer::directory) fn earlier(&self, file: &NetworkFile) -> Vec<FileId> {
        let hash = file.hash;
        let best = |id| {
            let told = self.told_of(id);
            let (number, row) = told.get(&hash)?.first().copied()?;
            name_form::is_same(row.name(), &file.name).then(|| self.standing(number, row))
        };
        let last = (true, Reverse(0), u32::MAX);
        let place = (best(file.id).unwrap_or(last), file.id);
        let name = name_form::composed(&file.name);
        let likeness = self.keys.hash_one((hash, name));
        let before = self.alike_from(likeness).take_while(|it| *it < place);
        let before = before.filter(|(_, id)| *id != file.id).take(MAX_LOOKED_AT);
        let alike = before.filter(|(standing, id)| best(*id) == Some(*standing));
        alike.map(|(_, id)| id).collect()
    }
}
