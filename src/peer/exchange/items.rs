//! What a node knows of who is there, as short numbers: two nodes find out by a few of them whether
//! and where they differ.
//!
//! Each question brings a salt of its own, so nobody can make peers up whose numbers cancel out.

use std::fmt::Write;

use crate::peer_id::PeerId;

/// About how many peers one bucket has.
const OF_A_BUCKET: usize = 8;
/// The most buckets.
pub(super) const MAX_BUCKETS: usize = 512;
/// The digits of one number.
pub(super) const DIGITS: usize = 16;

/// How it stands with a peer that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has answered when it was last asked.
    There,
    /// It was not asked yet, since it was heard of.
    Untried,
    /// It was asked in vain.
    Silent,
}

/// One peer, as a number: another one where it is elsewhere, or holds something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) id: PeerId,
    pub(super) number: u64,
    pub(super) standing: Standing,
}

/// What is known, as of one moment.
#[derive(Debug)]
pub(super) struct Items {
    salt: u64,
    all: Vec<Item>,
    /// What was hashed last, whose room the next one takes.
    hashed: Vec<u8>,
}

impl Items {
    pub(super) fn new(salt: u64) -> Self {
        Self {
            salt,
            all: Vec::new(),
            hashed: Vec::new(),
        }
    }

    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    /// Adds a peer, of whom these things differ where two do not know the same.
    pub(super) fn add(
        &mut self,
        (id, standing): (PeerId, Standing),
        (address, version, membership): (&str, u64, &str),
    ) {
        // In one piece: an incremental hasher is twenty times as large as what it would hash.
        self.hashed.clear();
        self.hashed.extend_from_slice(&self.salt.to_le_bytes());
        self.hashed.extend_from_slice(&id.to_bytes());
        self.hashed.extend_from_slice(&version.to_le_bytes());
        let length = address.len() as u64;
        self.hashed.extend_from_slice(&length.to_le_bytes());
        self.hashed.extend_from_slice(address.as_bytes());
        self.hashed.extend_from_slice(membership.as_bytes());
        self.all.push(Item {
            id,
            number: first(blake3::hash(&self.hashed).as_bytes()),
            standing,
        });
    }

    /// One number of all who are there.
    pub(super) fn root(&self) -> u64 {
        let there = self.there();
        there.fold(0, |root, it| root ^ it.number)
    }

    /// Those who are there.
    pub(super) fn there(&self) -> impl Iterator<Item = &Item> {
        let all = self.all.iter();
        all.filter(|it| it.standing == Standing::There)
    }

    /// How many buckets make each small.
    pub(super) fn count(&self) -> usize {
        let count = (self.all.len() / OF_A_BUCKET).next_power_of_two();
        count.clamp(1, MAX_BUCKETS)
    }

    /// One number of those who are there in each bucket.
    pub(super) fn buckets(&self, count: usize) -> Vec<u64> {
        let mut buckets = vec![0; count];
        for item in self.there() {
            if let Some(bucket) = buckets.get_mut(self.bucket(item, count)) {
                *bucket ^= item.number;
            }
        }
        buckets
    }

    /// All in these of so many buckets.
    pub(super) fn of_buckets(&self, wanted: &[usize], count: usize) -> Vec<Item> {
        let all = self.all.iter();
        let of_those = all.filter(|it| wanted.contains(&self.bucket(it, count)));
        of_those.copied().collect()
    }

    /// The bucket of a peer does not depend on what is known of it.
    fn bucket(&self, item: &Item, count: usize) -> usize {
        let salted = [&self.salt.to_be_bytes()[..], &item.id.to_bytes()].concat();
        let number = first(blake3::hash(&salted).as_bytes());
        usize::try_from(number % count.max(1) as u64).unwrap_or(0)
    }
}

fn first(hash: &[u8; 32]) -> u64 {
    hash.iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Numbers as digits, one after the other.
pub(super) fn write(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut text = String::new();
    for number in numbers {
        // Writing to a text does not fail.
        let _ = write!(text, "{number:016x}");
    }
    text
}

/// The numbers of such a text, at most so many; None where it is none.
pub(super) fn read(text: &str, most: usize) -> Option<Vec<u64>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(DIGITS) || bytes.len() / DIGITS > most {
        return None;
    }
    let numbers = bytes.chunks_exact(DIGITS).map(|digits| {
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = digits.iter().all(digit).then_some(digits)?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> PeerId {
        format!("00000000-0000-4000-8000-0000000000{number:02x}")
            .parse()
            .unwrap()
    }

    fn items(salt: u64, peers: impl IntoIterator<Item = (u8, u64, Standing)>) -> Items {
        let mut items = Items::new(salt);
        for (number, version, standing) in peers {
            items.add((id(number), standing), ("http://10.0.0.1", version, ""));
        }
        items
    }

    #[test]
    fn who_knows_the_same_has_the_same_root_whatever_else_is_known() {
        use Standing::{Silent, There, Untried};
        let one = items(7, [(1, 1, There), (2, 5, There), (3, 1, Silent)]);
        let other = items(7, [(2, 5, There), (4, 1, Untried), (1, 1, There)]);
        assert_eq!(one.root(), other.root());
        assert_eq!(one.buckets(4), other.buckets(4));
        for different in [
            items(7, [(1, 1, There)]),
            items(7, [(1, 1, There), (2, 6, There)]),
            items(8, [(1, 1, There), (2, 5, There)]),
        ] {
            assert_ne!(one.root(), different.root());
        }
    }

    #[test]
    fn a_peer_that_differs_is_in_the_one_bucket_that_differs() {
        let peers = |version| (0..100).map(move |it| (it, version, Standing::There));
        let changed = |(it, version, there)| (it, if it == 42 { 2 } else { version }, there);
        let (one, other) = (items(3, peers(1)), items(3, peers(1).map(changed)));
        let count = one.count();
        let (ours, theirs) = (one.buckets(count), other.buckets(count));
        let differing: Vec<_> = (0..count).filter(|it| ours[*it] != theirs[*it]).collect();
        assert_eq!(differing.len(), 1);
        let there = one.of_buckets(&differing, count);
        assert!(there.iter().any(|it| it.id == id(42)));
        assert!(there.len() < 40);
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(numbers: Vec<u64>) {
            let text = write(numbers.iter().copied());
            prop_assert_eq!(read(&text, numbers.len()), Some(numbers.clone()));
            if !numbers.is_empty() {
                prop_assert_eq!(read(&text, numbers.len() - 1), None);
            }
        }

        #[test]
        fn no_text_makes_reading_panic(text in ".{0,64}") {
            let _ = read(&text, 4);
        }
    }
}
