//! Of which contents the holders have changed, for whoever counts them: so that what is counted is
//! looked at again, and not everything.

use std::collections::HashMap;

use crate::hash::BlobHash;
use crate::record::FileId;

/// Of so many it is known at most, 80 bytes each; of more, all are to be looked at.
const MOST: usize = 65_536;

/// What has happened to the holders of contents.
#[derive(Debug, Default)]
pub struct Changed {
    /// By a content and the file by which it was told of: whether somebody holds it no more.
    pub of: HashMap<(BlobHash, FileId), bool>,
    /// Whether that is not all.
    pub is_cut: bool,
}

impl Changed {
    /// Notes that somebody holds a content by which he has told of a file, or no more; where there
    /// is one, and that is followed.
    pub(super) fn note(
        changed: &mut Option<Self>,
        file: FileId,
        hash: Option<BlobHash>,
        is_loss: bool,
    ) {
        if let (Some(changed), Some(hash)) = (changed, hash) {
            changed.add(hash, file, is_loss);
        }
    }

    fn add(&mut self, hash: BlobHash, file: FileId, is_loss: bool) {
        if self.of.len() >= MOST {
            (self.of, self.is_cut) = (HashMap::new(), true);
        }
        if !self.is_cut {
            *self.of.entry((hash, file)).or_default() |= is_loss;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_stays_one_and_too_many_are_all() {
        let (hash, file) = (BlobHash::of(b"x"), |it: u128| {
            FileId::from_bytes(it.to_be_bytes())
        });
        let mut changed = Changed::default();
        changed.add(hash, file(1), true);
        changed.add(hash, file(1), false);
        changed.add(hash, file(2), false);
        assert!(changed.of[&(hash, file(1))] && !changed.of[&(hash, file(2))]);
        for number in 0..=MOST as u128 {
            changed.add(hash, file(number), false);
        }
        assert!(changed.is_cut && changed.of.is_empty());
    }
}
