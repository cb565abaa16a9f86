//! The directory: what the network holds, as its peers have told.
//!
//! All of it is hearsay: bounded per peer and in total, and gone with the peer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};

/// What a file costs beside its texts, in bytes: its places in the maps.
const FILE_BYTES: usize = 512;
/// An answer may be overtaken by what its peer tells meanwhile. By how much more its clock
/// must have been set back, in microseconds.
const SET_BACK: u64 = 120_000_000;

/// What a peer tells of a file. Two peers that tell of one id and one hash tell of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFile {
    /// The file's id, which the peer that took the upload chose.
    pub id: FileId,
    /// The hash of the content; None from peers that have no hashes.
    pub hash: Option<BlobHash>,
    /// The file's name.
    pub name: String,
    /// The length of the content, in bytes.
    pub size: u64,
    /// The content type, if the peer told one.
    pub content_type: Option<String>,
    /// When it was uploaded, as the peer wrote it.
    pub uploaded_at: String,
}

/// Where a file stands in the order of the directory.
pub type FileKey = (FileId, Option<BlobHash>);

/// A file and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What one of the peers told of it.
    pub file: NetworkFile,
    /// The peers that told of it, and those that told of the same content.
    pub peers: BTreeSet<PeerId>,
}

/// A peer that claims to hold a content, and the id it has it under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Provider {
    /// The peer.
    pub peer: PeerId,
    /// The id of the file there.
    pub file: FileId,
}

/// A directory that takes no more from a peer, or from any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the directory has no room left for files of this peer")]
pub struct NoRoom;

/// How much a directory keeps, in bytes of memory, estimated from above.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most for one peer.
    pub max_peer_bytes: usize,
    /// The most for all.
    pub max_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_peer_bytes: 64 << 20,
            max_bytes: 256 << 20,
        }
    }
}

/// What the network holds. Every method is short and does no I/O.
#[derive(Debug, Default)]
pub struct Directory {
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<FileKey, BTreeMap<PeerId, Told>>,
    by_hash: HashMap<BlobHash, BTreeSet<Provider>>,
    peers: HashMap<PeerId, Holdings>,
    bytes: usize,
    changes: u64,
    /// The last moment of each peer that was heard of.
    heard: HashMap<PeerId, u64>,
}

#[derive(Debug)]
struct Told {
    file: NetworkFile,
    at: Instant,
}

/// What one peer holds.
#[derive(Debug, Default)]
struct Holdings {
    files: BTreeSet<FileKey>,
    bytes: usize,
}

impl From<FileRecord> for NetworkFile {
    /// A file as the node that holds it tells of it.
    fn from(record: FileRecord) -> Self {
        let FileRecord {
            id,
            uploaded_at,
            file,
        } = record;
        Self {
            id,
            hash: Some(file.hash),
            name: file.name,
            size: file.size,
            content_type: file.content_type,
            uploaded_at: uploaded_at.to_string(),
        }
    }
}

impl NetworkFile {
    /// Where it stands.
    pub fn key(&self) -> FileKey {
        (self.id, self.hash)
    }

    fn bytes(&self) -> usize {
        let content_type = self.content_type.as_ref().map_or(0, String::len);
        FILE_BYTES + self.name.len() + self.uploaded_at.len() + content_type
    }
}

impl Directory {
    /// An empty directory.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            state: Mutex::default(),
        }
    }

    /// Notes that `peer` holds a file.
    pub fn put(&self, peer: PeerId, file: NetworkFile) -> Result<(), NoRoom> {
        let mut state = self.state();
        state.remove(peer, &file.key());
        let bytes = file.bytes();
        let of_peer = state.peers.get(&peer).map_or(0, |holds| holds.bytes);
        if of_peer + bytes > self.options.max_peer_bytes
            || state.bytes + bytes > self.options.max_bytes
        {
            return Err(NoRoom);
        }
        state.insert(peer, file);
        Ok(())
    }

    /// Notes that `peer` no longer holds a file; with any hash where none is given.
    /// Returns whether it was thought to.
    pub fn withdraw(&self, peer: PeerId, id: FileId) -> bool {
        let mut state = self.state();
        let keys = state.keys_of(peer, id);
        for key in &keys {
            state.remove(peer, key);
        }
        !keys.is_empty()
    }

    /// Drops all that `peer` has told.
    pub fn forget(&self, peer: PeerId) {
        self.drop_where(peer, |_| true);
        self.state().heard.remove(&peer);
    }

    /// Whether `peer` tells something later than all that was heard and read of it before:
    /// so nothing is taken that somebody repeats. The moment is by the peer's own clock.
    pub fn hears(&self, peer: PeerId, moment: u64) -> bool {
        let mut state = self.state();
        let last = state.heard.entry(peer).or_default();
        let later = moment > *last;
        if later {
            *last = moment;
        }
        later
    }

    /// Notes that what `peer` holds was read as it was at a moment by its clock. The peer
    /// has proven that it is the present one, so it counts also if that clock was set back.
    pub fn read_at(&self, peer: PeerId, moment: u64) {
        let mut state = self.state();
        let last = state.heard.entry(peer).or_default();
        if moment > *last || moment < last.saturating_sub(SET_BACK) {
            *last = moment;
        }
    }

    /// Drops what `peer` has not told again since `began`, after it has told everything.
    pub fn keep_since(&self, peer: PeerId, began: Instant) {
        self.drop_where(peer, |told| told.at < began);
    }

    fn drop_where(&self, peer: PeerId, unwanted: impl Fn(&Told) -> bool) {
        let mut state = self.state();
        let Some(holds) = state.peers.get(&peer) else {
            return;
        };
        let told = |key| state.files.get(key)?.get(&peer);
        let keys = holds
            .files
            .iter()
            .filter(|key| told(key).is_some_and(&unwanted));
        let keys: Vec<FileKey> = keys.copied().collect();
        for key in keys {
            state.remove(peer, &key);
        }
    }

    /// At most `limit` files from the first behind `after` whose names hold `name`,
    /// given in lower case, whatever their own case. Looks at no more than `look` files;
    /// the key is that of the last one looked at, None when there is no more.
    pub fn page(
        &self,
        after: Option<FileKey>,
        name: Option<&str>,
        limit: usize,
        look: usize,
    ) -> (Vec<Held>, Option<FileKey>) {
        let state = self.state();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut files = state.files.range((start, Bound::Unbounded));
        let (mut found, mut last) = (Vec::new(), after);
        for (key, told) in files.by_ref().take(look) {
            last = Some(*key);
            found.extend(state.held(key, told).filter(|held| held.matches(name)));
            if found.len() >= limit {
                break;
            }
        }
        let more = files.next().is_some();
        (found, last.filter(|_| more))
    }

    /// What `peer` told of the file with this id.
    pub fn get(&self, peer: PeerId, id: FileId) -> Option<NetworkFile> {
        let state = self.state();
        let key = *state.keys_of(peer, id).first()?;
        let told = state.files.get(&key)?.get(&peer)?;
        Some(told.file.clone())
    }

    /// The newest of the files with exactly this name that `peer` told of.
    pub fn newest_named(&self, peer: PeerId, name: &str) -> Option<NetworkFile> {
        let state = self.state();
        let keys = state.peers.get(&peer)?.files.iter().rev();
        let mut files = keys.filter_map(|key| Some(&state.files.get(key)?.get(&peer)?.file));
        files.find(|file| file.name == name).cloned()
    }

    /// Every file with this id, by whomever: mostly one.
    pub fn with_id(&self, id: FileId) -> Vec<Held> {
        let state = self.state();
        let files = state.files.range(all_with(id));
        files
            .filter_map(|(key, told)| state.held(key, told))
            .collect()
    }

    /// The peers that claim to hold this content.
    pub fn providers(&self, hash: &BlobHash) -> Vec<Provider> {
        let state = self.state();
        let providers = state.by_hash.get(hash).into_iter().flatten();
        providers.copied().collect()
    }

    /// A number that grows with every change, and when something is told again.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// How many files `peer` has told of.
    pub fn count_of(&self, peer: PeerId) -> usize {
        self.state().peers.get(&peer).map_or(0, |it| it.files.len())
    }

    /// How many files the network holds.
    pub fn len(&self) -> usize {
        self.state().files.len()
    }

    /// Whether the network holds no file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A panic in here is a defect of this file; what it leaves is still hearsay.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all_with(id: FileId) -> std::ops::RangeInclusive<FileKey> {
    (id, None)..=(id, Some(BlobHash::from_bytes([0xff; 32])))
}

impl State {
    /// Adds a file that is not there.
    fn insert(&mut self, peer: PeerId, file: NetworkFile) {
        self.changes += 1;
        let (key, bytes) = (file.key(), file.bytes());
        if let Some(hash) = file.hash {
            let provider = Provider {
                peer,
                file: file.id,
            };
            self.by_hash.entry(hash).or_default().insert(provider);
        }
        let holds = self.peers.entry(peer).or_default();
        holds.files.insert(key);
        holds.bytes += bytes;
        self.bytes += bytes;
        let at = Instant::now();
        let told = self.files.entry(key).or_default();
        told.insert(peer, Told { file, at });
    }

    /// Removes what one peer told of a file, if it did, from every map.
    fn remove(&mut self, peer: PeerId, key: &FileKey) {
        let Entry::Occupied(mut file) = self.files.entry(*key) else {
            return;
        };
        let Some(told) = file.get_mut().remove(&peer) else {
            return;
        };
        if file.get().is_empty() {
            file.remove();
        }
        self.changes += 1;
        let bytes = told.file.bytes();
        self.bytes -= bytes;
        if let Some(holds) = self.peers.get_mut(&peer) {
            holds.bytes -= bytes;
            holds.files.remove(key);
            if holds.files.is_empty() {
                self.peers.remove(&peer);
            }
        }
        let (id, hash) = *key;
        if let Some(hash) = hash
            && let Some(providers) = self.by_hash.get_mut(&hash)
        {
            providers.remove(&Provider { peer, file: id });
            if providers.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
    }

    fn keys_of(&self, peer: PeerId, id: FileId) -> Vec<FileKey> {
        let Some(holds) = self.peers.get(&peer) else {
            return Vec::new();
        };
        holds.files.range(all_with(id)).copied().collect()
    }

    fn held(&self, key: &FileKey, told: &BTreeMap<PeerId, Told>) -> Option<Held> {
        let (_, first) = told.first_key_value()?;
        let (_, hash) = key;
        let same_content = hash.and_then(|hash| self.by_hash.get(&hash));
        let same_content = same_content.into_iter().flatten();
        let peers = told.keys().copied();
        Some(Held {
            file: first.file.clone(),
            peers: peers.chain(same_content.map(|it| it.peer)).collect(),
        })
    }
}

impl Held {
    fn matches(&self, name: Option<&str>) -> bool {
        name.is_none_or(|part| self.file.name.to_lowercase().contains(part))
    }
}

#[cfg(test)]
mod tests;
