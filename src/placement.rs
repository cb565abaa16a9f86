//! Which members of a network hold copies of a content: weighted rendezvous.
//!
//! Each member has a score for each content, from a hash of both and from how much room the member
//! offers; those with the highest scores hold it. So everybody who knows of the same members finds
//! the same holders without asking anybody, each member holds as much as it offers in proportion,
//! and where a member comes or goes only what it holds moves.

use crate::hash::BlobHash;
use crate::peer_id::PeerId;

/// For what the hash of a content and a member is made.
const CONTEXT: &str = "larder 2026-11 placement of copies";
/// How many bits of a hash make a fraction.
const FRACTION_BITS: u32 = 53;

/// A member that may hold copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub id: PeerId,
    /// How much room it offers for copies of others, in bytes.
    pub offer: u64,
}

impl Candidate {
    /// How well this member suits a content; the higher, the better. None of one that offers
    /// nothing.
    pub fn score(&self, content: &BlobHash) -> Option<f64> {
        if self.offer == 0 {
            return None;
        }
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(content.as_bytes());
        hasher.update(self.id.to_string().as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(hasher.finalize().as_bytes().split_at(8).0);
        let bits = u64::from_le_bytes(first) >> (u64::BITS - FRACTION_BITS);
        // Between 0 and 1, and neither of them.
        let fraction = (to_float(bits) + 0.5) / to_float(1 << FRACTION_BITS);
        Some(-to_float(self.offer) / fraction.ln())
    }
}

/// These members in the order in which they are to hold a content, the best first, without those
/// that offer nothing. The order of equals is that of their ids.
pub fn ranked(
    content: &BlobHash,
    candidates: impl IntoIterator<Item = Candidate>,
) -> Vec<Candidate> {
    let scored = candidates.into_iter().filter_map(|it| {
        let score = it.score(content)?;
        Some((score, it))
    });
    let mut scored: Vec<_> = scored.collect();
    scored.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(one.id.cmp(&other.id)));
    scored.into_iter().map(|(_, it)| it).collect()
}

#[allow(clippy::cast_precision_loss, reason = "a score need not be exact")]
fn to_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn members(offers: &[u64]) -> Vec<Candidate> {
        let of = |(number, offer): (u8, &u64)| Candidate {
            id: PeerId::of_public_key(&[number; 32]),
            offer: *offer,
        };
        (0..).zip(offers).map(of).collect()
    }

    fn content(number: u32) -> BlobHash {
        BlobHash::of(&number.to_le_bytes())
    }

    proptest! {
        #[test]
        fn who_leaves_changes_the_order_of_nobody_else(
            offers in prop::collection::vec(0_u64..1 << 50, 1..12), left: usize, number: u32,
        ) {
            let all = members(&offers);
            let left = all[left % all.len()];
            let before = ranked(&content(number), all.iter().copied());
            let rest = all.iter().copied().filter(|it| *it != left);
            let after = ranked(&content(number), rest.clone().rev());
            let expected: Vec<_> = before.into_iter().filter(|it| *it != left).collect();
            prop_assert_eq!(&after, &expected);
            prop_assert!(after.iter().all(|it| it.offer > 0));
            prop_assert_eq!(after.len(), rest.filter(|it| it.offer > 0).count());
        }

        #[test]
        fn who_offers_more_stands_nowhere_lower(
            offers in prop::collection::vec(1_u64..1 << 50, 2..12), which: usize, number: u32,
        ) {
            let before = members(&offers);
            let which = which % before.len();
            let mut after = before.clone();
            after[which].offer *= 2;
            let place = |all: &[Candidate]| {
                let ranked = ranked(&content(number), all.iter().copied());
                ranked.iter().position(|it| it.id == before[which].id)
            };
            prop_assert!(place(&after) <= place(&before));
        }
    }

    #[test]
    fn members_hold_in_proportion_to_what_they_offer() {
        let offers = [1, 1, 2, 4].map(|it| it << 30);
        let all = members(&offers);
        let mut held = HashMap::<PeerId, f64>::new();
        for number in 0..20_000 {
            let best = ranked(&content(number), all.iter().copied());
            *held.entry(best[0].id).or_default() += 1.0;
        }
        for (member, share) in all.iter().zip([1.0, 1.0, 2.0, 4.0]) {
            let expected = 20_000.0 * share / 8.0;
            let found = held[&member.id];
            assert!(
                (found - expected).abs() < expected * 0.1,
                "{found} of {expected}"
            );
        }
    }
}
