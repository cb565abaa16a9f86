//! What the clients were told of each node, and what a listing must have by that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::common::random::Random;
use crate::contents::Content;

/// A file as a node lists it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) size: u64,
}

impl Listed {
    pub(crate) fn of(file: &Value) -> Self {
        let text = |key: &str| file[key].as_str().unwrap().to_owned();
        Self {
            id: text("file_id"),
            name: text("original_name"),
            hash: text("hash"),
            size: file["size"].as_u64().unwrap(),
        }
    }
}

/// An upload in parts that has no end yet.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) content: Content,
    /// How far it is, as was answered.
    pub(crate) told: u64,
}

/// What a name was asked for.
struct Asked {
    content: Content,
    /// Whether all of its bytes were sent.
    whole: bool,
    /// The file that came of it.
    id: Option<String>,
}

/// What one node was asked for, by how that ended.
#[derive(Default)]
pub(crate) struct Files {
    /// By their names, which no two share.
    asked: HashMap<String, Asked>,
    /// Those that must be there, by their ids.
    pub(crate) there: BTreeMap<String, Content>,
    /// Those whose removal was asked for and not acknowledged (yet).
    leaving: BTreeMap<String, Content>,
    /// Those that must not be there.
    removed: BTreeSet<String>,
    pub(crate) begun: Vec<Begun>,
}

/// What a listing has that it may only have, or lacks that it may only lack, where a bit was
/// flipped.
#[derive(Debug, Default)]
pub(crate) struct Amiss {
    pub(crate) lost: Vec<String>,
    pub(crate) back: Vec<String>,
}

impl Files {
    /// A file of this name is about to be asked for; `whole` where all of it will be sent.
    pub(crate) fn asks(&mut self, name: &str, content: Content, whole: bool) {
        let asked = Asked {
            content,
            whole,
            id: None,
        };
        assert!(self.asked.insert(name.to_owned(), asked).is_none());
    }

    /// That file is there under this id, as was answered or listed. What the node did of its own
    /// accord may have been removed again before that was heard.
    pub(crate) fn came(&mut self, name: &str, id: &str) {
        let asked = self.asked.get_mut(name);
        let asked = asked.unwrap_or_else(|| panic!("nobody asked for {name:?}, {id}"));
        assert!(asked.whole, "{name}, {id} was never sent to its end");
        let before = asked.id.get_or_insert_with(|| id.to_owned());
        assert_eq!(before, id, "{name} is there twice");
        if !self.leaving.contains_key(id) && !self.removed.contains(id) {
            self.there.insert(id.to_owned(), asked.content);
        }
    }

    /// Any file that must be there.
    pub(crate) fn any(&self, random: &mut Random) -> Option<(String, Content)> {
        let at = random.below(self.there.len().max(1) as u64);
        let (id, content) = self.there.iter().nth(usize::try_from(at).unwrap())?;
        Some((id.clone(), *content))
    }

    /// One whose removal is about to be asked for.
    pub(crate) fn removes(&mut self, random: &mut Random) -> Option<String> {
        let (id, content) = self.any(random)?;
        self.there.remove(&id);
        self.leaving.insert(id.clone(), content);
        Some(id)
    }

    pub(crate) fn removed(&mut self, id: &str) {
        self.leaving.remove(id);
        self.removed.insert(id.to_owned());
    }

    /// The files that must not be there.
    pub(crate) fn removed_ids(&self) -> impl Iterator<Item = &String> {
        self.removed.iter()
    }

    /// Fails unless a file that was listed is one that was asked for.
    pub(crate) fn knows(&self, file: &Listed) {
        let asked = self.asked.get(&file.name);
        let asked = asked.unwrap_or_else(|| panic!("nobody asked for {file:?}"));
        let told = (asked.content.hash.to_string(), asked.content.size);
        assert_eq!(told, (file.hash.clone(), file.size), "{file:?}");
    }

    /// Holds the whole listing of a node that was just started against what was told; what was in
    /// doubt is settled by it.
    pub(crate) fn settle(&mut self, listing: &[Listed]) -> Amiss {
        let mut amiss = Amiss::default();
        assert!(
            listing.is_sorted_by(|one, next| one.id < next.id),
            "the order of the listing is wrong"
        );
        let listed: BTreeSet<&str> = listing.iter().map(|it| it.id.as_str()).collect();
        let lost = self.there.keys().filter(|id| !listed.contains(id.as_str()));
        amiss.lost = lost.cloned().collect();
        for id in &amiss.lost {
            self.there.remove(id);
            self.removed.insert(id.clone());
        }
        for (id, content) in std::mem::take(&mut self.leaving) {
            if listed.contains(id.as_str()) {
                self.there.insert(id, content);
            } else {
                self.removed.insert(id);
            }
        }
        for file in listing {
            self.knows(file);
            if self.removed.contains(&file.id) {
                amiss.back.push(file.id.clone());
            } else {
                self.came(&file.name, &file.id);
            }
        }
        amiss
    }
}
