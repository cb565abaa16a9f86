//! Files of which copies are held here and which their owners, though they are there, do not know,
//! as one that was set back to an older backup: they stand like those of an owner that is gone.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::peer::copies::CopyKey;
use crate::peer_id::PeerId;

/// The most that are noted.
const MOST: usize = 65_536;
/// The most owners that are told, and taken of one who tells.
pub(super) const MOST_OWNERS: usize = 64;

/// The files of which an owner has said that it does not know them; whether it has said so before,
/// since its order to remove one may only be on its way.
#[derive(Default)]
pub(super) struct Unknown(Mutex<HashMap<CopyKey, bool>>);

/// What owners say while all copies are gone through.
#[derive(Default)]
pub(super) struct Round(HashMap<CopyKey, bool>);

impl Unknown {
    /// Notes whether the owner of a file knows it; None where it has not answered.
    pub(super) fn note(&self, round: &mut Round, key: CopyKey, is_known: Option<bool>) {
        let before = self.0.lock().get(&key).copied();
        let now = match is_known {
            Some(true) => None,
            Some(false) => Some(before.is_some()),
            None => before,
        };
        if let Some(is_certain) = now
            && round.0.len() < MOST
        {
            round.0.insert(key, is_certain);
        }
    }

    /// All copies were gone through; whether files count now that did not, or the other way round.
    pub(super) fn end(&self, round: Round) -> bool {
        let before = std::mem::replace(&mut *self.0.lock(), round.0);
        let certain = |of: &HashMap<CopyKey, bool>| {
            let certain = of.iter().filter(|(_, is_certain)| **is_certain);
            certain.map(|(key, _)| *key).collect::<BTreeSet<_>>()
        };
        certain(&before) != certain(&self.0.lock())
    }

    /// Whether the owner of a file, if it is there, does not know it.
    pub(super) fn has(&self, key: CopyKey) -> bool {
        self.0.lock().get(&key).is_some_and(|it| *it)
    }

    /// Whose files those are.
    pub(super) fn owners(&self) -> BTreeSet<PeerId> {
        let all = self.0.lock();
        let certain = all.iter().filter(|(_, is_certain)| **is_certain);
        let owners: BTreeSet<_> = certain.map(|(key, _)| key.owner).collect();
        owners.into_iter().take(MOST_OWNERS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FileId;

    #[test]
    fn an_owner_has_to_say_it_twice_and_can_take_it_back() {
        let owner = PeerId::of_public_key(&[1; 32]);
        let [one, other] = [1, 2].map(|it| CopyKey {
            owner,
            file: FileId::from_bytes([it; 16]),
        });
        let unknown = Unknown::default();
        let round = |said: [Option<bool>; 2]| {
            let mut round = Round::default();
            unknown.note(&mut round, one, said[0]);
            unknown.note(&mut round, other, said[1]);
            let is_news = unknown.end(round);
            (is_news, [one, other].map(|it| unknown.has(it)))
        };
        assert_eq!(round([Some(false), Some(true)]), (false, [false, false]));
        assert_eq!(round([None, None]), (false, [false, false]));
        assert_eq!(round([Some(false), Some(false)]), (true, [true, false]));
        assert_eq!(unknown.owners(), BTreeSet::from([owner]));
        assert_eq!(round([None, Some(true)]), (false, [true, false]));
        assert_eq!(round([Some(true), None]), (true, [false, false]));
        assert_eq!(unknown.owners(), BTreeSet::new());
    }
}
