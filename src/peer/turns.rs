//! Who comes first where not all have room: each source has its turn, and within one source
//! each set of announced addresses, so that nobody takes the room by coming often.

use std::collections::HashMap;
use std::hash::Hash;

use super::prefix::Key;
use super::sample::sample;

/// What decides when somebody has his turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim<S> {
    /// Who or what brought it; those of whom that is not known share one turn.
    pub source: S,
    /// Whether it comes after the others of its source, as who announces another place than
    /// the one it registered from.
    pub weak: bool,
    /// Where it says that it is.
    pub announced: Key,
}

/// At most so many of these: one of each source, then a second of each, and so on. Of one
/// source the weak come last, and else in turn those of each set of addresses. Which of several
/// with the same right come is left to chance. The `busy` have had their turns already.
pub fn in_turn<S: Copy + Ord + Hash, T>(
    all: Vec<(Claim<S>, T)>,
    busy: impl IntoIterator<Item = Claim<S>>,
    limit: usize,
) -> Vec<T> {
    let mut turns = with_turns(all, busy);
    turns.truncate(limit);
    turns.into_iter().map(|(_, it)| it).collect()
}

/// All of these in that order, each with the number of the turn that it is of its source.
pub fn with_turns<S: Copy + Ord + Hash, T>(
    all: Vec<(Claim<S>, T)>,
    busy: impl IntoIterator<Item = Claim<S>>,
) -> Vec<(usize, T)> {
    let count = all.len();
    let mut rounds: HashMap<Claim<S>, usize> = HashMap::new();
    let mut of_source: HashMap<S, usize> = HashMap::new();
    for claim in busy {
        *rounds.entry(claim).or_default() += 1;
        *of_source.entry(claim.source).or_default() += 1;
    }
    let claims = sample(all, count).into_iter().enumerate();
    let mut claims: Vec<_> = claims
        .map(|(chance, (claim, it))| {
            let round = rounds.entry(claim).or_default();
            *round += 1;
            ((claim.source, claim.weak, *round, chance), it)
        })
        .collect();
    claims.sort_unstable_by_key(|(key, _)| *key);
    let turns = claims.into_iter().map(|((source, _, _, chance), it)| {
        let turn = of_source.entry(source).or_default();
        *turn += 1;
        ((*turn, chance), it)
    });
    let mut turns: Vec<_> = turns.collect();
    turns.sort_unstable_by_key(|(key, _)| *key);
    let turns = turns.into_iter();
    turns.map(|((turn, _), it)| (turn, it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::prefix::narrow_of;

    fn claim(source: u8, weak: bool, announced: u8) -> Claim<Option<Key>> {
        let key = |number: u8| narrow_of([10, number, 0, 1].into());
        Claim {
            source: (source > 0).then(|| key(source)),
            weak,
            announced: key(announced),
        }
    }

    #[test]
    fn who_comes_often_has_no_more_turns_than_who_comes_once() {
        let mut all: Vec<_> = (0..200).map(|it| (claim(1, true, it), "many")).collect();
        all.extend((0..200).map(|it| (claim(0, true, it), "unknown")));
        all.push((claim(2, false, 2), "once"));
        all.push((claim(1, false, 1), "there"));
        let first = in_turn(all.clone(), [], 3);
        for one in ["once", "there", "unknown"] {
            assert!(first.contains(&one), "{one} {first:?}");
        }
        assert_eq!(in_turn(all.clone(), [], 0), Vec::<&str>::new());
        assert_eq!(in_turn(all, [], 1000).len(), 402);
    }

    #[test]
    fn within_a_source_each_set_of_addresses_has_its_turn() {
        let mut all = vec![(claim(1, true, 1), "crowd"); 200];
        all.push((claim(1, true, 2), "one"));
        let mut first = in_turn(all, [], 2);
        first.sort_unstable();
        assert_eq!(first, ["crowd", "one"]);
    }

    #[test]
    fn who_is_busy_has_had_his_turns() {
        let all = vec![(claim(1, false, 1), "crowd"), (claim(2, false, 2), "one")];
        let busy = [claim(1, false, 1); 3];
        assert_eq!(in_turn(all.clone(), busy, 2), ["one", "crowd"]);
        // Weak ones that are busy count for their source, too.
        let busy = [claim(2, true, 1); 3];
        assert_eq!(in_turn(all, busy, 2), ["crowd", "one"]);
    }
}
