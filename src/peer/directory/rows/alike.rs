//! Files that are one to people: which of them stands for all.

use std::cmp::Ordering;

use super::super::told::NetworkFile;
use super::order::Place;
use super::{Hashed, Rows, Standing, standing};
use crate::name_form;
use crate::record::FileId;

/// How many files that are told of alike are looked at to find one that is shown so.
const MAX_LOOKED_AT: usize = 16;

impl Rows {
    /// Where the first row is that is not before one that stands so.
    pub(super) fn place_alike(
        &self,
        likeness: u64,
        stands: Standing,
        id: FileId,
        number: u16,
    ) -> Place {
        let first = Hashed::new(likeness, 0).first;
        self.alike.place(|it| {
            let ordering = it.first.cmp(&first).then_with(|| {
                let row = self.slab.get(it.row);
                let by_likeness = self.keys.likeness_of(row).cmp(&likeness);
                let place = || (standing(row), row.id, row.number);
                by_likeness.then_with(|| place().cmp(&(stands, id, number)))
            });
            ordering == Ordering::Less
        })
    }

    /// Those that are one to people, in the order in which they stand for all of them.
    pub(super) fn alike_from(&self, likeness: u64) -> impl Iterator<Item = (Standing, FileId)> {
        let first = Hashed::new(likeness, 0).first;
        let place = self.place_alike(likeness, (0, 0), FileId::from_bytes([0; 16]), 0);
        let alike = self
            .alike
            .from(place)
            .take_while(move |it| it.first == first);
        let alike = alike.map(|it| self.slab.get(it.row));
        let alike = alike.take_while(move |it| self.keys.likeness_of(it) == likeness);
        alike.map(|it| (standing(it), it.id))
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
            let row = told.get(&hash)?.first().copied()?;
            name_form::is_same(row.name(), &file.name).then(|| standing(row))
        };
        let last = (u8::MAX, u32::MAX);
        let place = (best(file.id).unwrap_or(last), file.id);
        let likeness = self.keys.likeness(hash, &file.name);
        let before = self.alike_from(likeness).take_while(|it| *it < place);
        let before = before.filter(|(_, id)| *id != file.id).take(MAX_LOOKED_AT);
        let alike = before.filter(|(standing, id)| best(*id) == Some(*standing));
        alike.map(|(_, id)| id).collect()
    }
}
