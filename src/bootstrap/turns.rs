//! Who is in a sample where not all have room: each source has its turn, and within one source
//! each set of announced addresses, so that nobody fills a sample by coming often.

use std::collections::HashMap;

use crate::peer::prefix::Key;
use crate::peer::sample::sample;

/// What decides when somebody has his turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Claim {
    /// Where it registered from; those of whom that is not known share one turn.
    pub(super) source: Option<Key>,
    /// Whether it announces another place than the one it registered from.
    pub(super) elsewhere: bool,
    /// Where it says that it is.
    pub(super) announced: Key,
}

/// At most so many of these: one of each source, then a second of each, and so on. Of one
/// source those come first that are where they register from, and then in turn those of each
/// set of addresses. Which of several with the same right come is left to chance.
pub(super) fn in_turn<T>(all: Vec<(Claim, T)>, limit: usize) -> Vec<T> {
    let count = all.len();
    let mut rounds: HashMap<Claim, usize> = HashMap::new();
    let claims = sample(all, count).into_iter().enumerate();
    let mut claims: Vec<_> = claims
        .map(|(chance, (claim, it))| {
            let round = rounds.entry(claim).or_default();
            *round += 1;
            ((claim.source, claim.elsewhere, *round, chance), it)
        })
        .collect();
    claims.sort_unstable_by_key(|(key, _)| *key);
    let mut of_source: HashMap<Option<Key>, usize> = HashMap::new();
    let turns = claims.into_iter().map(|((source, _, _, chance), it)| {
        let turn = of_source.entry(source).or_default();
        *turn += 1;
        ((*turn, chance), it)
    });
    let mut turns: Vec<_> = turns.collect();
    turns.sort_unstable_by_key(|(key, _)| *key);
    turns.truncate(limit);
    turns.into_iter().map(|(_, it)| it).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::prefix::narrow_of;

    fn claim(source: u8, elsewhere: bool, announced: u8) -> Claim {
        let key = |number: u8| narrow_of([10, number, 0, 1].into());
        Claim {
            source: (source > 0).then(|| key(source)),
            elsewhere,
            announced: key(announced),
        }
    }

    #[test]
    fn who_comes_often_has_no_more_turns_than_who_comes_once() {
        let mut all: Vec<_> = (0..200).map(|it| (claim(1, true, it), "many")).collect();
        all.extend((0..200).map(|it| (claim(0, true, it), "unknown")));
        all.push((claim(2, false, 2), "once"));
        all.push((claim(1, false, 1), "there"));
        let first = in_turn(all.clone(), 3);
        for one in ["once", "there", "unknown"] {
            assert!(first.contains(&one), "{one} {first:?}");
        }
        assert_eq!(in_turn(all.clone(), 0), Vec::<&str>::new());
        assert_eq!(in_turn(all, 1000).len(), 402);
    }

    #[test]
    fn within_a_source_each_set_of_addresses_has_its_turn() {
        let mut all = vec![(claim(1, true, 1), "crowd"); 200];
        all.push((claim(1, true, 2), "one"));
        let mut first = in_turn(all, 2);
        first.sort_unstable();
        assert_eq!(first, ["crowd", "one"]);
    }
}
