//! Some of many, any of them.

use uuid::Uuid;

/// At most so many of these, each as likely as any other. Takes as long as there are to be in
/// the sample.
pub fn sample<T>(mut all: Vec<T>, limit: usize) -> Vec<T> {
    let limit = limit.min(all.len());
    // One random number is the beginning of a sequence (splitmix64), since many cost a call of
    // the system each.
    let mut state = Uuid::new_v4().as_u64_pair().1;
    for at in 0..limit {
        let left = all.len() - at;
        let far = usize::try_from(next(&mut state) % left as u64).unwrap_or(0);
        all.swap(at, at + far);
    }
    all.truncate(limit);
    all
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_sample_has_as_many_as_asked_for_and_everybody_has_a_turn() {
        let all: Vec<_> = (0..10).collect();
        for (limit, size) in [(0, 0), (3, 3), (10, 10), (11, 10)] {
            let some: BTreeSet<_> = sample(all.clone(), limit).into_iter().collect();
            assert_eq!(some.len(), size);
        }
        // Each is left out of 200 samples in turn with a chance of 0.9 to the 200th.
        let seen: BTreeSet<_> = (0..200).flat_map(|_| sample(all.clone(), 1)).collect();
        assert_eq!(seen.len(), 10);
        assert_eq!(sample(Vec::<u8>::new(), 5), Vec::<u8>::new());
    }
}
