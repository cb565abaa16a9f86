//! What is derived from the records and kept in memory: which files have a name, and how
//! many need a content.
//!
//! In the database each of both would be a key at a random place for every file, which
//! took twice the room of the record itself and most of the time to write it. Here a file
//! takes 20 bytes for its name and 20 for its content, about 50 with the trees' nodes. A
//! clean stop writes them down; after any other they are derived from the records again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::IndexError;
use super::guard::failed;
use super::sled_files::SECONDARY;
use crate::hash::BlobHash;
use crate::name_form;
use crate::record::{FileId, FileRecord};
use crate::stored_file;

/// The file in the database's directory, and what it begins with.
const FILE: &str = SECONDARY;
const MAGIC: [u8; 8] = *b"larderD\n";

/// How many of the first files of a name are looked at to find one with a certain content.
const FIRST_NAMED: usize = 64;

/// What a content is told by: the beginning of the hash of its hash. The beginning of the hash
/// itself would not do, since anybody can ask for a content that begins as another one.
type Content = [u8; 16];
/// The beginning of the hash of a name in the form in which names are compared; other names may
/// share it.
type Tag = [u8; 4];

/// The secondary indexes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Secondary {
    names: BTreeSet<(Tag, [u8; 16])>,
    users: BTreeMap<Content, u32>,
}

fn content(hash: &BlobHash) -> Content {
    let told_by = blake3::hash(hash.as_bytes());
    told_by
        .as_bytes()
        .first_chunk()
        .copied()
        .unwrap_or_default()
}

fn tag(name: &str) -> Tag {
    let hash = blake3::hash(name_form::composed(name).as_bytes());
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Files that secondary indexes are made from at once.
#[derive(Default)]
pub(super) struct Unindexed {
    names: Vec<(Tag, [u8; 16])>,
    contents: Vec<Content>,
}

impl Unindexed {
    /// Adds a file.
    pub(super) fn add(&mut self, FileRecord { id, file, .. }: &FileRecord) {
        self.names.push((tag(&file.name), *id.as_bytes()));
        self.contents.push(content(&file.hash));
    }

    /// The indexes of all files that were added. Trees made from sorted entries at once
    /// have no room left in their nodes, and take a third less.
    pub(super) fn index(mut self) -> Secondary {
        self.contents.sort_unstable();
        let groups = self.contents.chunk_by(|one, other| one == other);
        let users = groups.filter_map(|group| {
            let users = u32::try_from(group.len()).unwrap_or(u32::MAX);
            Some((*group.first()?, users))
        });
        Secondary {
            users: users.collect(),
            names: self.names.into_iter().collect(),
        }
    }
}

impl Secondary {
    /// Adds a file.
    pub(super) fn add(&mut self, FileRecord { id, file, .. }: &FileRecord) {
        self.names.insert((tag(&file.name), *id.as_bytes()));
        let users = self.users.entry(content(&file.hash)).or_default();
        *users = users.saturating_add(1);
    }

    /// Takes a file out that was added.
    pub(super) fn remove(&mut self, FileRecord { id, file, .. }: &FileRecord) {
        self.names.remove(&(tag(&file.name), *id.as_bytes()));
        let content = content(&file.hash);
        match self.users.get_mut(&content) {
            Some(users) if *users > 1 => *users -= 1,
            _ => drop(self.users.remove(&content)),
        }
    }

    /// How many files need this content.
    pub(super) fn users(&self, hash: &BlobHash) -> u32 {
        self.users.get(&content(hash)).copied().unwrap_or(0)
    }

    /// The newest file before `before` that may have this name.
    pub(super) fn named(&self, name: &str, before: Option<FileId>) -> Option<FileId> {
        let tag = tag(name);
        let first = (tag, [0; 16]);
        let last = match before {
            Some(id) => self.names.range(first..(tag, *id.as_bytes())).next_back(),
            None => self.names.range(first..=(tag, [0xff; 16])).next_back(),
        };
        last.map(|(_, id)| FileId::from_bytes(*id))
    }

    /// The first files before `before` that may have this name.
    pub(super) fn first_named(&self, name: &str, before: FileId) -> Vec<FileId> {
        let tag = tag(name);
        let names = self.names.range((tag, [0; 16])..(tag, *before.as_bytes()));
        let first = names.take(FIRST_NAMED);
        first.map(|(_, id)| FileId::from_bytes(*id)).collect()
    }

    /// Writes everything down. Blocks.
    pub(super) fn save(&self, dir: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(dir.join(FILE))?);
        file.write_all(&MAGIC)?;
        file.write_all(&(self.names.len() as u64).to_le_bytes())?;
        for (tag, id) in &self.names {
            file.write_all(tag)?;
            file.write_all(id)?;
        }
        for (content, users) in &self.users {
            file.write_all(content)?;
            file.write_all(&users.to_le_bytes())?;
        }
        file.into_inner()?.sync_all()
    }

    /// Reads what [`Secondary::save`] wrote, which the caller knows to be unchanged since;
    /// None if there is nothing. Blocks.
    pub(super) fn load(dir: &Path) -> io::Result<Option<Self>> {
        let file = match stored_file::open(&dir.join(FILE)) {
            Err(e) if stored_file::is_no_file(&e) => return Ok(None),
            file => file?,
        };
        let mut file = BufReader::new(file);
        let [magic, count] = [take(&mut file)?, take(&mut file)?];
        if magic != Some(MAGIC) {
            return Ok(None);
        }
        let count = u64::from_le_bytes(count.unwrap_or_default());
        let mut names = Vec::new();
        for _ in 0..count {
            let Some(name) = take(&mut file)?.zip(take(&mut file)?) else {
                break;
            };
            names.push(name);
        }
        let mut users = Vec::new();
        while let Some(content) = take(&mut file)? {
            let count = take(&mut file)?.map_or(0, u32::from_le_bytes);
            users.push((content, count));
        }
        Ok(Some(Self {
            names: names.into_iter().collect(),
            users: users.into_iter().collect(),
        }))
    }

    /// Removes what was written down: it no longer holds once anything changes. Blocks.
    pub(super) fn discard(dir: &Path) -> Result<(), IndexError> {
        match std::fs::remove_file(dir.join(FILE)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            // A directory in its place is somebody else's.
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => Err(failed(e)),
            removed => removed.map_err(|e| IndexError::io("remove from", dir, e)),
        }
    }
}

/// The next `N` bytes; None at the end.
fn take<const N: usize>(file: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}
