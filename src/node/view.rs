//! What the network holds, as a node sees it: its own files and those that peers told of,
//! in one order, a page at a time.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::turns::Claimant;
use crate::index::Alike;
use crate::name_form;
use crate::peer::directory::{Directory, FileKey, Held};
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord, Order};
use crate::store::{Store, StoreError};

/// How many files of the store and of the directory are taken at once, at most.
const CHUNK: usize = 256;
/// Behind all ids that are given.
const LAST: FileId = FileId::from_bytes([u8::MAX; 16]);

/// The whole network, as the node `myself` sees it.
pub struct View<'a> {
    /// Who sees it.
    pub myself: PeerId,
    /// What the node itself holds.
    pub store: &'a Store,
    /// What peers told it.
    pub directory: &'a Directory,
}

/// Which files are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// From which end on.
    pub order: Order,
    /// Only those behind this one.
    pub after: Option<FileKey>,
    /// Only those before this one.
    pub before: Option<FileKey>,
    /// Only those whose names hold this text, folded, whatever their own case.
    pub name: Option<&'a str>,
    /// At most so many; at least one.
    pub limit: usize,
    /// About how many bytes they take as an answer at most, if one alone does not take more.
    pub bytes: usize,
    /// About how many are looked at for them at most.
    pub look: usize,
    /// Whose turn it has to be where many are looked at; None where whoever wants them has it.
    pub searcher: Option<Claimant<'a>>,
}

/// Some files in the order of their keys, each with all who hold its content. Of those that
/// are one to people, since content and name are the same, there is the first that this
/// node holds, or else the first that a peer signs, or else the first.
#[derive(Debug, PartialEq, Eq)]
pub struct NetworkPage {
    /// The files.
    pub files: Vec<Held>,
    /// Which of them this node has itself: it holds their content and calls it so.
    pub own: BTreeSet<FileId>,
    /// Where to go on: what `after`, or newest first `before`, has to be; None where there is no
    /// more.
    pub next: Option<FileKey>,
}

/// Files of one source behind a key, or newest first before it.
struct Chunk<T> {
    files: Vec<T>,
    /// The last one looked at, if there are more behind it.
    end: Option<FileKey>,
}

impl View<'_> {
    /// At most how many files there are: what this node holds and peers tell of, too, is counted
    /// twice, and so is what is not shown, since others are believed more.
    pub fn most(&self) -> u64 {
        self.store.totals().files + self.directory.len() as u64
    }

    /// The files that are wanted: fewer than the limit, or none, where looking for them took
    /// too long; then there is a place to go on.
    pub async fn page(&self, wanted: Selection<'_>) -> Result<NetworkPage, StoreError> {
        let order = wanted.order;
        let (start, until) = match order {
            Order::OldestFirst => (wanted.after, wanted.before),
            Order::NewestFirst => (wanted.before, wanted.after),
        };
        let mut page = NetworkPage {
            files: Vec::new(),
            own: BTreeSet::new(),
            next: start,
        };
        let (mut looked, mut bytes) = (0, 0);
        while looked < wanted.look {
            let searcher = wanted.searcher;
            let searcher = searcher.filter(|_| wanted.name.is_some() || looked > 0);
            let _turn = match searcher {
                Some(searcher) => Some(searcher.turn().await),
                None => None,
            };
            let size = wanted.chunk(page.files.len(), looked);
            looked += size;
            let own = self.own(page.next, size, order).await?;
            let told = self.told(page.next, wanted.name, size, order);
            // Beyond the end of one chunk only the other source is known.
            let ends = own.end.into_iter().chain(told.end);
            let end = ends.reduce(|one, other| order.first(one, other));
            let (merged, own_ids) = self.merged(page.next, own.files, told.files, wanted);
            // All at once, since the index may be a server's.
            let earlier = self.earlier(&merged, &own_ids).await?;
            for (held, earlier) in merged.into_iter().zip(earlier) {
                let key = held.file.key();
                if end.is_some_and(|end| order.is_behind(key, end)) {
                    break;
                }
                if until.is_some_and(|until| !order.is_behind(until, key)) {
                    page.next = None;
                    return Ok(page);
                }
                // The holders of all that are one to people stand at the first.
                if !self.has_earlier(&held, earlier, &own_ids).await? {
                    if page.files.len() == wanted.limit || bytes >= wanted.bytes {
                        return Ok(page);
                    }
                    if own_ids.contains(&held.file.id) {
                        page.own.insert(held.file.id);
                    }
                    let held = self.with_myself(held).await?;
                    bytes += held.answer_bytes();
                    page.files.push(held);
                }
                page.next = Some(key);
            }
            page.next = end;
            if end.is_none() {
                break;
            }
        }
        Ok(page)
    }

    /// The file that this id means: one, or several where those who can be believed most do not
    /// agree. What this node holds under it itself comes before all that others say.
    pub async fn with_id(&self, id: FileId) -> Result<Vec<Held>, StoreError> {
        if let Some(own) = self.store.get(id).await? {
            return Ok(vec![self.held(own)]);
        }
        let mut files = Vec::new();
        for held in self.directory.with_id(id) {
            files.push(self.with_myself(held).await?);
        }
        Ok(files)
    }

    async fn own(
        &self,
        from: Option<FileKey>,
        size: usize,
        order: Order,
    ) -> Result<Chunk<FileRecord>, StoreError> {
        // What is told of the id may stand behind the own file, and the own one behind it.
        let files = match order {
            Order::OldestFirst => {
                let before = from.and_then(|(id, _)| id.before());
                self.store.page(before, size).await?
            }
            Order::NewestFirst => {
                let behind = from.and_then(|(id, _)| id.after());
                self.store.page_back(behind, size).await?
            }
        };
        let may_go_on = FileRecord::fill_a_page(&files, size);
        let end = files.last().filter(|_| may_go_on).map(key_of);
        Ok(Chunk { files, end })
    }

    fn told(
        &self,
        from: Option<FileKey>,
        name: Option<&str>,
        size: usize,
        order: Order,
    ) -> Chunk<Held> {
        let (files, end) = match order {
            Order::OldestFirst => self.directory.page(from, name, size, size),
            Order::NewestFirst => self.directory.page_back(from, name, size, size),
        };
        Chunk { files, end }
    }

    /// All of them behind a key, in the order of their keys. Of an id that this node holds a
    /// peer says neither what its content is nor what it is called. Also the ids of the own files.
    fn merged(
        &self,
        from: Option<FileKey>,
        own: Vec<FileRecord>,
        mut told: Vec<Held>,
        wanted: Selection<'_>,
    ) -> (Vec<Held>, HashSet<FileId>) {
        let order = wanted.order;
        let ids: HashSet<_> = own.iter().map(|record| record.id).collect();
        told.retain(|held| !ids.contains(&held.file.id));
        let told = told.into_iter().map(|held| (held.file.key(), held));
        let mut merged: BTreeMap<FileKey, Held> = told.collect();
        for record in own {
            let key = key_of(&record);
            let is_behind = from.is_none_or(|from| order.is_behind(key, from));
            if is_behind && has_name(&record, wanted.name) {
                merged.insert(key, self.held(record));
            }
        }
        let mut merged: Vec<_> = merged.into_values().collect();
        if order == Order::NewestFirst {
            merged.reverse();
        }
        (merged, ids)
    }

    fn held(&self, record: FileRecord) -> Held {
        let providers = self.directory.providers(&record.file.hash).into_iter();
        Held {
            peers: providers.map(|it| it.peer).chain([self.myself]).collect(),
            file: record.into(),
        }
    }

    /// Of each of these the own file with the same content and name that stands before it; of one
    /// that only others tell of the first.
    async fn earlier(
        &self,
        all: &[Held],
        own: &HashSet<FileId>,
    ) -> Result<Vec<Option<FileId>>, StoreError> {
        let asked = all.iter().map(|Held { file, .. }| {
            let is_own = own.contains(&file.id);
            let (than, known) = if is_own { (file.id, 1) } else { (LAST, 0) };
            file.hash.map(|hash| Alike {
                name: &file.name,
                hash,
                than,
                known,
            })
        });
        let asked: Vec<_> = asked.collect();
        let known: Vec<_> = asked.iter().copied().flatten().collect();
        let mut found = self.store.earlier(&known).await?.into_iter();
        let found = asked
            .iter()
            .map(|it| it.and_then(|_| found.next().flatten()));
        Ok(found.collect())
    }

    /// Whether a file with the same content and name stands before this one: of those that
    /// this node holds itself the first, `earlier`, so that nobody says how they are called and
    /// dated; else of what others tell.
    async fn has_earlier(
        &self,
        Held { file, .. }: &Held,
        earlier: Option<FileId>,
        own: &HashSet<FileId>,
    ) -> Result<bool, StoreError> {
        let Some(hash) = file.hash else {
            return Ok(false);
        };
        if own.contains(&file.id) || earlier.is_some() {
            return Ok(earlier.is_some());
        }
        for id in self.directory.earlier(file) {
            // What this node holds under that id is what it says itself, and so called.
            let own = self.store.get(id).await?.map(|it| it.file);
            if own.is_none_or(|it| it.hash == hash && name_form::is_same(&it.name, &file.name)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A file with this node among those who hold it, if it has the content.
    async fn with_myself(&self, mut held: Held) -> Result<Held, StoreError> {
        if let Some(hash) = held.file.hash
            && !held.peers.contains(&self.myself)
            && self.store.holds(&hash).await?
        {
            held.peers.insert(self.myself);
        }
        Ok(held)
    }
}

impl Selection<'_> {
    /// How many files to take at once when so many are found, and were looked at.
    fn chunk(&self, found: usize, looked: usize) -> usize {
        // One to know whether there is more, and one that may stand at `after`.
        let left = (self.limit - found).saturating_add(2);
        if self.name.is_some() || looked > 0 {
            CHUNK
        } else {
            left.min(CHUNK)
        }
    }
}

impl Order {
    /// Whether a file with the first key comes behind one with the second.
    fn is_behind(self, key: FileKey, other: FileKey) -> bool {
        match self {
            Self::OldestFirst => key > other,
            Self::NewestFirst => key < other,
        }
    }

    /// The key of the file that comes first.
    fn first(self, one: FileKey, other: FileKey) -> FileKey {
        if self.is_behind(one, other) {
            other
        } else {
            one
        }
    }
}

fn key_of(record: &FileRecord) -> FileKey {
    (record.id, Some(record.file.hash))
}

fn has_name(record: &FileRecord, name: Option<&str>) -> bool {
    name.is_none_or(|part| name_form::holds(&record.file.name, part))
}
