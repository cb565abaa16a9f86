//! The directory: what the network holds, as its peers have told.
//!
//! All of it is hearsay: bounded per peer and in total, and gone with the peer. When it is full,
//! the peer that takes most gives way, its oldest files first, so that whoever comes new finds
//! room; those that this node's operator has named, that have served content, or that sign what
//! they tell may take more than others.

use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::{FileId, PAGE_BYTES};
use crate::revision::Revision;

mod changed;
mod rows;
mod told;

pub use changed::Changed;
pub use told::{FileKey, Held, NetworkFile, NoRoom, Options, Provider};

use parking_lot::Mutex;
use rows::{Row, Rows, Slot};
use tokio::sync::Notify;

/// In how many turns what is to be done with many rows is done at once; the others follow, each
/// with the next thing that is told, or where nobody waits for them.
const TURNS: usize = 8;
/// An answer may be overtaken by what its peer tells meanwhile. By how much more its clock
/// must have been set back, in microseconds.
const SET_BACK: u64 = 120_000_000;

/// What the network holds. Every method is short and does no I/O, however many files a peer has
/// told of: what has to be done with all of them is done some at a time, and until then some are
/// still as they were.
#[derive(Debug, Default)]
pub struct Directory {
    options: Options,
    rows: Mutex<Rows>,
    revision: Revision,
    /// Told when there is more to be done than was done at once.
    unfinished: Notify,
}

impl Directory {
    /// An empty directory.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            rows: Mutex::default(),
            revision: Revision::default(),
            unfinished: Notify::new(),
        }
    }

    /// Does `work`, and tells where it has changed what is known.
    fn change<T>(&self, work: impl FnOnce(&mut Rows) -> T) -> T {
        let mut rows = self.rows.lock();
        let before = rows.changes;
        let done = work(&mut rows);
        if rows.changes != before {
            self.revision.advance();
        }
        done
    }

    /// The same, where much may have to be done then, of which this does the beginning.
    fn change_many(&self, work: impl FnOnce(&mut Rows)) {
        self.change(work);
        let mut turns = 0..TURNS;
        while turns.next().is_some() && self.change(Rows::work) {}
        if self.rows.lock().has_work() {
            self.unfinished.notify_one();
        }
    }

    /// Does what is left to be done with many files, some at a time, for ever.
    pub async fn finish(&self) {
        loop {
            while self.change(Rows::work) {
                tokio::task::yield_now().await;
            }
            self.unfinished.notified().await;
        }
    }

    /// Notes that this node's operator has named `peer`.
    pub fn name(&self, peer: PeerId) {
        self.change_many(|rows| rows.change(peer, |slot| slot.named = true));
    }

    /// Notes that `peer` has served content that was right.
    pub fn serves(&self, peer: PeerId) {
        self.change_many(|rows| rows.change(peer, |slot| slot.served = true));
    }

    /// Notes that `peer` holds a file. Where there is no room older files make it, of this peer
    /// or of one that takes more than its share.
    #[allow(clippy::needless_pass_by_value)] // Who tells of a file is done with it.
    pub fn put(&self, peer: PeerId, file: NetworkFile) -> Result<(), NoRoom> {
        self.change(|rows| {
            rows.work();
            if rows.put(peer, &file, false, &self.options) {
                Ok(())
            } else {
                rows.slot(peer).cut.note();
                Err(NoRoom)
            }
        })
    }

    /// Notes that `peer` holds a copy of a file of another, which is no file of its own listing.
    pub fn put_copy(&self, peer: PeerId, file: &NetworkFile) -> Result<(), NoRoom> {
        let put = self.change(|rows| rows.put(peer, file, true, &self.options));
        put.then_some(()).ok_or(NoRoom)
    }

    /// Drops what `peer` has told of copies.
    pub fn forget_copies(&self, peer: PeerId) {
        self.change_many(|rows| rows.drop_copies(peer));
    }

    /// Notes that `peer` no longer holds a file. Returns whether it was thought to.
    pub fn withdraw(&self, peer: PeerId, id: FileId) -> bool {
        self.change(|rows| rows.withdraw(peer, id))
    }

    /// Drops all that `peer` has told.
    pub fn forget(&self, peer: PeerId) {
        self.change_many(|rows| rows.forget(peer));
    }

    /// Whether `peer` tells something later than all that was heard and read of it before:
    /// so nothing is taken that somebody repeats. The moment is by the peer's own clock.
    pub fn hears(&self, peer: PeerId, moment: u64) -> bool {
        let mut rows = self.rows.lock();
        let last = &mut rows.slot(peer).heard;
        let later = moment > *last;
        if later {
            *last = moment;
        }
        later
    }

    /// The last moment that was heard or read of `peer`, in microseconds by its clock; zero
    /// where there is none.
    pub fn last_heard(&self, peer: PeerId) -> u64 {
        self.rows
            .lock()
            .known_slot(peer)
            .map_or(0, |slot| slot.heard)
    }

    /// Notes that what `peer` holds was read as it was at a moment by its clock. The peer
    /// has proven that it is the present one, so it counts also if that clock was set back.
    pub fn read_at(&self, peer: PeerId, moment: u64) {
        let mut rows = self.rows.lock();
        let last = &mut rows.slot(peer).heard;
        if moment > *last || moment < last.saturating_sub(SET_BACK) {
            *last = moment;
        }
    }

    /// Notes that all that `peer` holds is read from here on.
    pub fn begin_reading(&self, peer: PeerId) {
        let mut rows = self.rows.lock();
        let slot = rows.slot(peer);
        slot.reading = slot.reading.wrapping_add(1);
        slot.cut.since_reading = false;
    }

    /// Drops what `peer` has not told since its reading began, now that it has told everything.
    pub fn end_reading(&self, peer: PeerId) {
        self.change_many(|rows| rows.drop_unread(peer));
    }

    /// Whether there was no room for all that `peer` has told.
    pub fn is_partial(&self, peer: PeerId) -> bool {
        let rows = self.rows.lock();
        rows.known_slot(peer)
            .is_some_and(|slot| slot.cut.is_partial)
    }

    /// Whether there was no room for all that `peer` has told since its reading began.
    pub fn is_cut(&self, peer: PeerId) -> bool {
        let rows = self.rows.lock();
        rows.known_slot(peer)
            .is_some_and(|slot| slot.cut.since_reading)
    }

    /// How many peers there was not enough room for.
    pub fn partial_peers(&self) -> usize {
        self.rows.lock().partial_peers()
    }

    /// Whether there is room again for much more of `peer`.
    pub fn has_room_for(&self, peer: PeerId) -> bool {
        let rows = self.rows.lock();
        let Options {
            max_peer_bytes,
            max_bytes,
        } = self.options;
        let of_peer = rows.known_slot(peer).map_or(0, |slot| slot.bytes);
        rows.bytes < max_bytes / 4 * 3 && of_peer < max_peer_bytes / 4 * 3
    }

    /// At most `limit` files from the first behind `after` whose names hold `name`,
    /// folded, whatever their own case; fewer where they are longer than [`PAGE_BYTES`]. Looks at
    /// no more than `look` files; the key is that of the last one looked at, None when there is no
    /// more.
    pub fn page(
        &self,
        after: Option<FileKey>,
        name: Option<&str>,
        limit: usize,
        look: usize,
    ) -> (Vec<Held>, Option<FileKey>) {
        let rows = self.rows.lock();
        let from = after.map_or(FileId::from_bytes([0; 16]), |(id, _)| id);
        let files = rows.told_from(from).flat_map(|(id, told)| {
            let told = told.into_iter();
            told.map(move |(hash, told)| ((id, hash), told))
        });
        let files = files.filter(|(key, _)| Some(*key) > after);
        gather(&rows, files, after, name, (limit, look))
    }

    /// The same from the other end: from the last before `before`, the newest first.
    pub fn page_back(
        &self,
        before: Option<FileKey>,
        name: Option<&str>,
        limit: usize,
        look: usize,
    ) -> (Vec<Held>, Option<FileKey>) {
        let rows = self.rows.lock();
        // The greatest id has none behind it, and all are before that.
        let behind = before.and_then(|(id, _)| id.after());
        let files = rows.told_before(behind).flat_map(|(id, told)| {
            let told = told.into_iter().rev();
            told.map(move |(hash, told)| ((id, hash), told))
        });
        let files = files.filter(|(key, _)| before.is_none_or(|before| *key < before));
        gather(&rows, files, before, name, (limit, look))
    }

    /// What `peer` told of the file with this id.
    pub fn get(&self, peer: PeerId, id: FileId) -> Option<NetworkFile> {
        self.rows.lock().told_by(peer, id)
    }

    /// The newest of the files with exactly this name that `peer` told of.
    pub fn newest_named(&self, peer: PeerId, name: &str) -> Option<NetworkFile> {
        self.rows.lock().newest_named(peer, name)
    }

    /// What `peer` told of the file with this id and this content, whatever else it told of
    /// that id.
    pub fn get_with(&self, peer: PeerId, id: FileId, hash: &BlobHash) -> Option<NetworkFile> {
        self.rows.lock().told_with(peer, id, hash)
    }

    /// The file that this id means: one, or several where those who can be believed most do not
    /// agree. What is signed comes before what is not, and nobody else is heard of it then.
    pub fn with_id(&self, id: FileId) -> Vec<Held> {
        self.rows.lock().meant(id)
    }

    /// The peers that have told of a file as one of their own, and not as a copy that they hold for
    /// another.
    pub fn owners(&self, id: FileId) -> Vec<PeerId> {
        self.rows.lock().owners(id)
    }

    /// Some of the first files before this one with its content and its name: to people they
    /// are one. Before what is not signed stands all that is.
    pub fn earlier(&self, file: &NetworkFile) -> Vec<FileId> {
        self.rows.lock().earlier(file)
    }

    /// From now on remembers of which contents the holders change.
    pub fn follow_holders(&self) {
        self.rows.lock().changed = Some(Changed::default());
    }

    /// Of which contents the holders have changed since the last such question, where that is
    /// followed.
    pub fn take_changed_holders(&self) -> Changed {
        let mut rows = self.rows.lock();
        rows.changed
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The peers that claim to hold this content, each with one of its files, in the order in
    /// which they were heard of it.
    pub fn providers(&self, hash: &BlobHash) -> Vec<Provider> {
        self.rows.lock().providers(hash, usize::MAX)
    }

    /// That something has changed, or was told again.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// How many files of its own `peer` has told of.
    pub fn count_of(&self, peer: PeerId) -> usize {
        let rows = self.rows.lock();
        rows.known_slot(peer).map_or(0, Slot::own_files)
    }

    /// How many files the network holds, those with one content and one name counted once.
    pub fn len(&self) -> usize {
        self.rows.lock().files
    }

    /// Whether the network holds no file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A page of at most `limit` of these files, of which it looks at no more than `look`, as
/// [`Directory::page`] says. `from` is where the page before it ended.
fn gather<'a>(
    rows: &'a Rows,
    files: impl Iterator<Item = (FileKey, Vec<&'a Row>)>,
    from: Option<FileKey>,
    name: Option<&str>,
    (limit, look): (usize, usize),
) -> (Vec<Held>, Option<FileKey>) {
    let (mut found, mut last, mut bytes) = (Vec::new(), from, 0);
    for (looked, (key, told)) in files.enumerate() {
        if looked == look || found.len() >= limit || bytes >= PAGE_BYTES {
            return (found, last);
        }
        last = Some(key);
        if told.first().is_some_and(|row| row.has_name(name)) {
            let held = rows.held(&told);
            bytes += held.as_ref().map_or(0, Held::bytes);
            found.extend(held);
        }
    }
    (found, None)
}

#[cfg(test)]
mod tests;
