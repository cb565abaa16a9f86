//! Entries in an order, some four to ten bytes each: what the order is, whoever asks knows.
//!
//! They lie in chunks, each sorted and all behind each other. A tree of the standard library
//! holds its keys itself, in nodes that are half empty; these are handles, and what they stand
//! for is looked at where it is.

use std::iter;

/// The most entries of a chunk: so few that moving them takes a tenth of a microsecond.
const MOST: usize = 512;
/// Two chunks beside each other become one where they have no more together.
const TOGETHER: usize = MOST * 7 / 8;
/// How many entries a chunk grows by at once.
const GROWN: usize = 64;
/// The most that a chunk has room for besides its entries.
const SPARE: usize = 2 * GROWN;

/// Sorted entries.
#[derive(Debug)]
pub(super) struct Order<E> {
    chunks: Vec<Vec<E>>,
    len: usize,
}

/// Where an entry is, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    chunk: usize,
    at: usize,
}

impl<E> Default for Order<E> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<E: Copy> Order<E> {
    /// What an entry takes at most, in bytes, however they came and went: two chunks beside each
    /// other have more than [`TOGETHER`], and none has more room to spare than [`SPARE`].
    pub(super) const MOST_BYTES: usize =
        (size_of::<E>() * (TOGETHER / 2 + SPARE) + 3 * size_of::<Vec<E>>()).div_ceil(TOGETHER / 2);

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of the first entry that is not before what is looked for: those that are stand
    /// before all others.
    pub(super) fn place(&self, is_before: impl Fn(E) -> bool) -> Place {
        let ends_before = |chunk: &Vec<E>| chunk.last().is_some_and(|it| is_before(*it));
        // What is told mostly comes in its order.
        let chunk = match self.chunks.last() {
            Some(last) if !ends_before(last) => self.chunks.partition_point(ends_before),
            _ => self.chunks.len(),
        };
        let entries = self.chunks.get(chunk);
        let at = entries.map_or(0, |it| it.partition_point(|it| is_before(*it)));
        Place { chunk, at }
    }

    /// The entry that is there.
    pub(super) fn get(&self, place: Place) -> Option<E> {
        self.chunks.get(place.chunk)?.get(place.at).copied()
    }

    pub(super) fn first(&self) -> Option<E> {
        self.chunks.first()?.first().copied()
    }

    /// Those from a place on.
    pub(super) fn from(&self, place: Place) -> impl Iterator<Item = E> {
        let mut at = place;
        iter::from_fn(move || {
            loop {
                let chunk = self.chunks.get(at.chunk)?;
                if let Some(entry) = chunk.get(at.at) {
                    at.at += 1;
                    return Some(*entry);
                }
                let chunk = at.chunk + 1;
                at = Place { chunk, at: 0 };
            }
        })
    }

    /// Those before a place, the last one first.
    pub(super) fn back_from(&self, place: Place) -> impl Iterator<Item = E> {
        let chunks = self.chunks.get(..place.chunk).unwrap_or_default();
        let entries = self.chunks.get(place.chunk);
        let entries = entries.and_then(|it| it.get(..place.at));
        let earlier = chunks.iter().rev().flat_map(|it| it.iter().rev());
        entries
            .unwrap_or_default()
            .iter()
            .rev()
            .chain(earlier)
            .copied()
    }

    /// The place behind all.
    pub(super) fn end(&self) -> Place {
        let chunk = self.chunks.len();
        Place { chunk, at: 0 }
    }

    /// All, the last one first.
    pub(super) fn back(&self) -> impl Iterator<Item = E> {
        self.back_from(self.end())
    }

    /// Puts an entry there.
    pub(super) fn insert(&mut self, place: Place, entry: E) {
        let Place { mut chunk, mut at } = place;
        if chunk == self.chunks.len() {
            // Behind all: a chunk that is full stays so.
            match self.chunks.last() {
                Some(last) if last.len() < MOST => {
                    chunk -= 1;
                    at = last.len();
                }
                _ => self.chunks.push(Vec::new()),
            }
        }
        self.len += 1;
        let Some(entries) = self.chunks.get_mut(chunk) else {
            return;
        };
        if entries.len() < MOST {
            return add(entries, at, entry);
        }
        let mut behind = entries.split_off(MOST / 2);
        entries.shrink_to(MOST / 2 + GROWN);
        match at.checked_sub(entries.len()) {
            Some(at) if at > 0 => add(&mut behind, at, entry),
            _ => add(entries, at, entry),
        }
        self.chunks.insert(chunk + 1, behind);
    }

    /// Puts another entry in the place of the one that is there.
    pub(super) fn replace(&mut self, place: Place, entry: E) {
        let entries = self.chunks.get_mut(place.chunk);
        if let Some(there) = entries.and_then(|it| it.get_mut(place.at)) {
            *there = entry;
        }
    }

    /// Removes the entry that is there.
    pub(super) fn remove(&mut self, place: Place) {
        let Some(entries) = self.chunks.get_mut(place.chunk) else {
            return;
        };
        if place.at >= entries.len() {
            return;
        }
        entries.remove(place.at);
        self.len -= 1;
        if entries.capacity() > entries.len() + SPARE {
            entries.shrink_to(entries.len() + GROWN);
        }
        if entries.is_empty() {
            self.chunks.remove(place.chunk);
            self.shrink();
        } else {
            self.join(place.chunk);
            if let Some(before) = place.chunk.checked_sub(1) {
                self.join(before);
            }
        }
    }

    /// Makes one of this chunk and the next where both are small.
    fn join(&mut self, chunk: usize) {
        let Some([one, next]) = self.chunks.get_mut(chunk..chunk + 2) else {
            return;
        };
        if one.len() + next.len() <= TOGETHER {
            one.reserve_exact(next.len());
            one.append(next);
            self.chunks.remove(chunk + 1);
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.chunks.capacity() > 4 * self.chunks.len() {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }
}

fn add<E>(entries: &mut Vec<E>, at: usize, entry: E) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact(GROWN);
    }
    entries.insert(at.min(entries.len()), entry);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(order: &Order<u32>) -> usize {
        let chunks = order.chunks.iter().map(|it| it.capacity() * 4);
        chunks.sum::<usize>() + order.chunks.capacity() * size_of::<Vec<u32>>()
    }

    fn put(order: &mut Order<u32>, number: u32) {
        let place = order.place(|it| it < number);
        if order.get(place) != Some(number) {
            order.insert(place, number);
        }
    }

    fn take(order: &mut Order<u32>, number: u32) {
        let place = order.place(|it| it < number);
        if order.get(place) == Some(number) {
            order.remove(place);
        }
    }

    #[test]
    fn what_comes_in_its_order_fills_its_chunks() {
        let mut order = Order::default();
        for number in 0..100_000 {
            put(&mut order, number);
        }
        assert!(bytes(&order) < 5 * order.len(), "{}", bytes(&order));
    }

    #[test]
    fn no_entry_takes_more_than_is_stated_however_they_came_and_went() {
        let scattered = |number: u32| number.wrapping_mul(0x9e37_79b9).rotate_left(7);
        let mut order = Order::default();
        for number in 0..200_000 {
            put(&mut order, scattered(number));
        }
        for left in [100_000, 20_000, 5_000] {
            while order.len() > left {
                let number = u32::try_from(order.len()).unwrap() - 1;
                take(&mut order, scattered(number));
            }
            let most = order.len() * Order::<u32>::MOST_BYTES + 4096;
            assert!(bytes(&order) < most, "{} > {most}", bytes(&order));
        }
        let in_order = order.from(Place { chunk: 0, at: 0 });
        assert!(in_order.is_sorted());
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_set(steps: Vec<(bool, u16)>, repeated in 1..40_u32) {
            let mut order = Order::default();
            let mut expected = std::collections::BTreeSet::new();
            for (is_put, number) in steps {
                for number in (0..repeated).map(|it| u32::from(number) + it * 7) {
                    if is_put {
                        put(&mut order, number);
                        expected.insert(number);
                    } else {
                        take(&mut order, number);
                        expected.remove(&number);
                    }
                }
                let from = order.place(|it| it < number.into());
                let behind = expected.range(u32::from(number)..).copied();
                prop_assert!(order.from(from).eq(behind));
                let before = expected.range(..u32::from(number)).rev().copied();
                prop_assert!(order.back_from(from).eq(before));
            }
            prop_assert_eq!(order.len(), expected.len());
            prop_assert!(order.back().eq(expected.iter().rev().copied()));
        }
    }
}
