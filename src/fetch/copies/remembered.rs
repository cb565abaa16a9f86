//! How many removals are remembered: so many that whoever was away for months is told of them, and
//! never more, however many there are.
//!
//! What an owner has removed is remembered until there are too many; then the oldest go, those of
//! the owners first that have most. No clock decides that, since one that is wrong would have all
//! of them forgotten at once.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::peer_id::PeerId;

/// The most removals that are remembered. What an owner has signed of one is some 450 bytes: 120 MB
/// of these, for 2,900 removals a day over 90 days.
const MOST: u64 = 262_144;

/// How many removals are remembered of each owner.
pub(super) struct Remembered {
    most: u64,
    of: Mutex<HashMap<PeerId, u64>>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self::up_to(MOST)
    }
}

impl Remembered {
    fn up_to(most: u64) -> Self {
        Self {
            most,
            of: Mutex::default(),
        }
    }

    /// One more of an owner is.
    pub(super) fn add(&self, owner: PeerId) {
        *self.of.lock().entry(owner).or_default() += 1;
    }

    /// One fewer is.
    pub(super) fn forget_one(&self, owner: PeerId) {
        let mut of = self.of.lock();
        let Some(count) = of.get_mut(&owner) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            of.remove(&owner);
        }
    }

    /// Whether there are any of this owner.
    pub(super) fn has(&self, owner: PeerId) -> bool {
        self.of.lock().contains_key(&owner)
    }

    /// How many there are.
    pub(super) fn all(&self) -> u64 {
        self.of.lock().values().sum()
    }

    /// How many of each owner are to go, so that there are fewer than the most by a sixteenth;
    /// nothing where there are not too many.
    pub(super) fn too_many(&self) -> HashMap<PeerId, u64> {
        let of = self.of.lock();
        let mut left: u64 = of.values().sum();
        if left <= self.most {
            return HashMap::new();
        }
        left = self.most - self.most / 16;
        // Who has few keeps all of them, and the others share what is left.
        let mut counts: Vec<_> = of.values().copied().collect();
        counts.sort_unstable();
        let (mut sharing, mut share) = (counts.len() as u64, 0);
        for count in counts {
            share = left / sharing;
            if count > share {
                break;
            }
            left -= count;
            sharing -= 1;
        }
        let excess = of.iter().map(|(owner, count)| (*owner, *count));
        let excess = excess.map(|(owner, count)| (owner, count.saturating_sub(share)));
        excess.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(number: usize) -> PeerId {
        PeerId::of_public_key(&[u8::try_from(number).unwrap(); 32])
    }

    fn with(most: u64, counts: &[u64]) -> Remembered {
        let remembered = Remembered::up_to(most);
        let of = counts.iter().enumerate();
        let of = of.map(|(number, count)| (owner(number), *count));
        *remembered.of.lock() = of.filter(|it| it.1 > 0).collect();
        remembered
    }

    #[test]
    fn who_has_few_keeps_all_of_them() {
        let remembered = with(160, &[10, 100, 60]);
        let excess = remembered.too_many();
        assert_eq!(excess, HashMap::from([(owner(1), 20)]));
        assert_eq!(with(170, &[10, 100, 60]).too_many(), HashMap::new());
    }

    proptest! {
        #[test]
        fn as_many_are_left_as_may_be_and_nobody_who_has_fewer_loses_any(
            most in 16_u64..10_000, counts in prop::collection::vec(0_u64..5000, 1..20),
        ) {
            let remembered = with(most, &counts);
            let (excess, all) = (remembered.too_many(), remembered.all());
            if all <= most {
                prop_assert!(excess.is_empty());
                return Ok(());
            }
            let gone: u64 = excess.values().sum();
            let target = most - most / 16;
            prop_assert!(all - gone <= target);
            prop_assert!(all - gone + counts.len() as u64 >= target, "{} of {target}", all - gone);
            let left = |number: usize, count: u64| {
                count - excess.get(&owner(number)).copied().unwrap_or(0)
            };
            let cut = counts.iter().enumerate().filter(|(number, _)| {
                excess.contains_key(&owner(*number))
            });
            let least = cut.map(|(number, count)| left(number, *count)).min().unwrap();
            for (number, count) in counts.iter().enumerate() {
                let is_cut = excess.contains_key(&owner(number));
                prop_assert!(is_cut || *count <= least + 1);
            }
        }
    }
}
