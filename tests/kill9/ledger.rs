//! What the clients know of the node's files, and what a listing must hold by that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use larder::hash::BlobHash;

/// A file as the node lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) hash: BlobHash,
    pub(crate) size: u64,
}

/// The content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) hash: BlobHash,
    pub(crate) size: u64,
}

/// Every change that was asked for, by how it ended.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Every upload that was begun, by its name, which no two share.
    sent: HashMap<String, Content>,
    /// Files that must be there, by their ids.
    kept: BTreeMap<String, Content>,
    /// Files whose removal was asked for and not acknowledged (yet).
    doubtful: BTreeMap<String, Content>,
    /// Files that must not be there.
    removed: BTreeSet<String>,
    /// The last listing that was checked.
    listed: Vec<String>,
    /// How many requests were cut off under way.
    pub(crate) cut_off: usize,
    /// How many uploads and removals were acknowledged.
    pub(crate) acknowledged: usize,
}

impl Ledger {
    /// An upload is about to be sent.
    pub(crate) fn sends(&mut self, name: &str, content: Content) {
        self.sent.insert(name.to_owned(), content);
    }

    /// An upload was acknowledged.
    pub(crate) fn uploaded(&mut self, id: String, content: Content) {
        self.acknowledged += 1;
        let before = self.kept.insert(id, content);
        assert_eq!(before, None, "an id was given twice");
    }

    /// How many files must be there.
    pub(crate) fn count(&self) -> usize {
        self.kept.len()
    }

    /// The nth file that must be there; its removal is about to be asked for.
    pub(crate) fn removes(&mut self, n: usize) -> Option<String> {
        let id = self.kept.keys().nth(n)?.clone();
        let content = self.kept.remove(&id)?;
        self.doubtful.insert(id.clone(), content);
        Some(id)
    }

    /// A removal was acknowledged.
    pub(crate) fn removed(&mut self, id: String) {
        self.acknowledged += 1;
        self.doubtful.remove(&id);
        self.removed.insert(id);
    }

    /// Files that must be there, with their contents.
    pub(crate) fn files(&self) -> Vec<(String, Content)> {
        let files = self.kept.iter();
        files.map(|(id, content)| (id.clone(), *content)).collect()
    }

    /// Checks the whole listing of a node that was just started; what was in doubt is
    /// settled by it. Returns the files that no earlier listing had.
    pub(crate) fn check(&mut self, listing: &[Listed]) -> Vec<(String, Content)> {
        let present: BTreeSet<&str> = listing.iter().map(|file| file.id.as_str()).collect();
        for (id, content) in &self.kept {
            assert!(present.contains(id.as_str()), "lost: {id} {content:?}");
        }
        for id in &self.removed {
            assert!(!present.contains(id.as_str()), "back again: {id}");
        }
        for (id, _) in std::mem::take(&mut self.doubtful) {
            if !present.contains(id.as_str()) {
                self.removed.insert(id);
            }
        }
        for file in listing {
            let content = Content {
                hash: file.hash,
                size: file.size,
            };
            assert_eq!(self.sent.get(&file.name), Some(&content), "{file:?}");
            // One that was not acknowledged may be there, and then must stay.
            let known = self.kept.insert(file.id.clone(), content);
            assert!(known.is_none_or(|known| known == content), "{file:?}");
        }
        self.check_order(listing, &present)
    }

    /// Old files come first and in the order they had; new ones follow.
    fn check_order(
        &mut self,
        listing: &[Listed],
        present: &BTreeSet<&str>,
    ) -> Vec<(String, Content)> {
        let ids: Vec<_> = listing.iter().map(|file| file.id.clone()).collect();
        let mut old = std::mem::replace(&mut self.listed, ids);
        old.retain(|id| present.contains(id.as_str()));
        let (first, new) = listing.split_at(old.len());
        let first: Vec<_> = first.iter().map(|file| file.id.clone()).collect();
        assert_eq!(first, old, "the order changed");
        let new = new.iter();
        new.map(|file| {
            (
                file.id.clone(),
                Content {
                    hash: file.hash,
                    size: file.size,
                },
            )
        })
        .collect()
    }
}
