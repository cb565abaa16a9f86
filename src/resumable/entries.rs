//! Which uploads there are, in memory.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::id::UploadId;
use super::turns::Turns;
use crate::client_key::ClientKey;
use crate::record::FileId;
use crate::store::TakenRoom;

/// A client with more than one of so many shares of all places loses what it lets wait for long.
const SHARES: usize = 8;
/// How long that is.
const HOARDED: Duration = Duration::from_mins(10);

/// All uploads.
#[derive(Default)]
pub(super) struct Entries {
    all: Mutex<HashMap<UploadId, Arc<UploadEntry>>>,
    /// What final uploads are made of.
    parts: Mutex<HashMap<UploadId, BTreeSet<UploadId>>>,
}

/// An upload.
pub(super) struct UploadEntry {
    pub(super) turns: Turns,
    known: Mutex<Known>,
    /// To whose share it counts; None where that is nobody's.
    client: Option<ClientKey>,
    /// Whether any of its bytes have come.
    begun: AtomicBool,
    /// What it takes of the quota.
    pub(super) room: Arc<TakenRoom>,
    /// Whether what had come before this start was read and is what it was.
    proven: AtomicBool,
    /// Whether bytes that its notes tell of could not be made durable.
    unsynced: AtomicBool,
    /// The final upload that it is a part of.
    joined: Mutex<Option<UploadId>>,
}

/// Why there is no place for another upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All places are taken.
    All,
    /// The client has as many as one may.
    Share,
}

/// What is known of an upload without reading its state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// When it last went on, or ended, by the clock that nobody sets.
    pub(super) written: Instant,
    /// The file that it has become.
    pub(super) file: Option<FileId>,
}

impl UploadEntry {
    pub(super) fn new(
        known: Known,
        client: Option<ClientKey>,
        begun: bool,
        room: Arc<TakenRoom>,
    ) -> Self {
        Self {
            turns: Turns::default(),
            known: Mutex::new(known),
            client,
            begun: AtomicBool::new(begun),
            room,
            proven: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            joined: Mutex::default(),
        }
    }

    /// Bytes of it have come, so that it gives way to others only where its client holds very many.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Whether nothing would be lost with it: no byte has come, and nobody is sending.
    fn is_empty(&self) -> bool {
        !self.begun.load(Ordering::Relaxed) && self.turns.take_if_free().is_some()
    }

    /// Whether it is one of so many of a client that has let it wait for long.
    fn is_hoarded(&self, held: usize, max: usize) -> bool {
        let is_left = self.known().written.elapsed() >= HOARDED && self.client.is_some();
        is_left && held * SHARES > max && self.turns.take_if_free().is_some()
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    pub(super) fn set_proven(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Something went wrong with what has come: it is read before more is told of it.
    pub(super) fn doubt(&self) {
        self.proven.store(false, Ordering::Relaxed);
    }

    pub(super) fn has_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::Relaxed)
    }

    pub(super) fn note_unsynced(&self, unsynced: bool) {
        self.unsynced.store(unsynced, Ordering::Relaxed);
    }

    pub(super) fn known(&self) -> Known {
        *self.known.lock()
    }

    /// The final upload that has taken it in, and to which its content belongs.
    pub(super) fn joined(&self) -> Option<UploadId> {
        *self.joined.lock()
    }

    /// Whether its client has yet to bring it to its end.
    fn is_unfinished(&self) -> bool {
        self.known().file.is_none() && self.joined().is_none()
    }

    /// What others have written down of it, of which it may be a part.
    pub(super) fn set(&self, known: Known, joined: Option<UploadId>) {
        *self.known.lock() = known;
        *self.joined.lock() = joined;
    }

    /// It goes on, or has become `file`.
    pub(super) fn note(&self, file: Option<FileId>) {
        *self.known.lock() = Known {
            written: Instant::now(),
            file,
        };
    }
}

impl Entries {
    pub(super) fn get(&self, id: UploadId) -> Option<Arc<UploadEntry>> {
        self.all.lock().get(&id).map(Arc::clone)
    }

    /// One that other nodes have, too.
    pub(super) fn get_or_add(&self, id: UploadId, entry: UploadEntry) -> Arc<UploadEntry> {
        let mut entries = self.all.lock();
        Arc::clone(entries.entry(id).or_insert_with(|| Arc::new(entry)))
    }

    /// Forgets those at which nobody is, and which other nodes know, once `leave` has; tells which
    /// those are.
    pub(super) fn leave_idle(&self, leave: impl Fn(UploadId)) -> Vec<UploadId> {
        let mut entries = self.all.lock();
        let idle = entries.extract_if(|_, it| Arc::strong_count(it) == 1);
        // Nobody comes before that.
        idle.map(|(id, _)| id).inspect(|id| leave(*id)).collect()
    }

    /// Adds one that was there before this start.
    pub(super) fn add(&self, id: UploadId, entry: UploadEntry) {
        self.all.lock().insert(id, Arc::new(entry));
    }

    /// Adds one unless `max` are unfinished already, or `each` of this client. Where that is so
    /// the oldest gives way of which nothing has come, of this client or of whoever has the
    /// most; where all places are taken and there is none, the one that has waited longest of a
    /// client with many. It is returned, to be removed.
    pub(super) fn add_unfinished(
        &self,
        id: UploadId,
        client: Option<ClientKey>,
        (max, each): (usize, usize),
        room: Arc<TakenRoom>,
    ) -> Result<Option<UploadId>, Full> {
        let mut entries = self.all.lock();
        let mut held: HashMap<&Option<ClientKey>, usize> = HashMap::new();
        let unfinished = || entries.iter().filter(|(_, it)| it.is_unfinished());
        for (_, entry) in unfinished() {
            *held.entry(&entry.client).or_default() += 1;
        }
        let own = held.get(&client).copied().unwrap_or(0);
        let full = if client.is_some() && own >= each {
            Some(Full::Share)
        } else {
            (held.values().sum::<usize>() >= max).then_some(Full::All)
        };
        let mut gone = None;
        if let Some(full) = full {
            let candidates =
                unfinished().filter(|(_, it)| full == Full::All || it.client == client);
            let empty = candidates.filter(|(_, it)| it.is_empty());
            let of_its_client = |it: &UploadEntry| held.get(&it.client).copied().unwrap_or(0);
            let first_of_most = |it: &UploadEntry| (of_its_client(it), Reverse(it.known().written));
            let first = empty.max_by_key(|(_, it)| first_of_most(it));
            let first = first.or_else(|| {
                let others =
                    unfinished().filter(|(_, it)| full == Full::All && it.client != client);
                let hoarded = others.filter(|(_, it)| it.is_hoarded(of_its_client(it), max));
                hoarded.max_by_key(|(_, it)| first_of_most(it))
            });
            gone = Some(first.map(|(id, _)| *id).ok_or(full)?);
        }
        if let Some(gone) = &gone {
            entries.remove(gone);
        }
        let known = Known {
            written: Instant::now(),
            file: None,
        };
        let entry = UploadEntry::new(known, client, false, room);
        // Nothing has come before.
        entry.set_proven();
        entries.insert(id, Arc::new(entry));
        Ok(gone)
    }

    /// Adds a final upload, which takes in its parts: they count no longer for themselves, so that
    /// whoever has as many as one may can still make a file of them.
    pub(super) fn add_final(
        &self,
        id: UploadId,
        parts: BTreeSet<UploadId>,
        client: Option<ClientKey>,
        room: Arc<TakenRoom>,
    ) {
        let known = Known {
            written: Instant::now(),
            file: None,
        };
        let entry = UploadEntry::new(known, client, true, room);
        // Nothing has come before.
        entry.set_proven();
        self.all.lock().insert(id, Arc::new(entry));
        self.join(id, parts);
    }

    /// Notes that a final upload is made of these parts.
    pub(super) fn join(&self, id: UploadId, parts: BTreeSet<UploadId>) {
        let entries = self.all.lock();
        for entry in parts.iter().filter_map(|part| entries.get(part)) {
            *entry.joined.lock() = Some(id);
        }
        self.parts.lock().insert(id, parts);
    }

    /// Forgets an upload, and tells the parts that it was made of, which stand for themselves again
    /// unless they are forgotten, too.
    pub(super) fn remove(&self, id: UploadId) -> BTreeSet<UploadId> {
        let mut entries = self.all.lock();
        entries.remove(&id);
        let parts = self.parts.lock().remove(&id).unwrap_or_default();
        for entry in parts.iter().filter_map(|part| entries.get(part)) {
            *entry.joined.lock() = None;
        }
        parts
    }

    /// The parts that a final upload is made of; none of any other.
    pub(super) fn parts_of(&self, id: UploadId) -> BTreeSet<UploadId> {
        self.parts.lock().get(&id).cloned().unwrap_or_default()
    }

    /// Those that were last written before `time`, but for parts, which go with what they are in.
    pub(super) fn written_before(&self, time: Instant) -> Vec<UploadId> {
        let entries = self.all.lock();
        let old = entries.iter().filter(|(_, it)| it.known().written < time);
        let old = old.filter(|(_, it)| it.joined().is_none());
        old.map(|(id, _)| *id).collect()
    }

    /// The one that ended first, if more than `max` have, parts of others among them.
    pub(super) fn first_ended_beyond(&self, max: usize) -> Option<UploadId> {
        let entries = self.all.lock();
        if entries.values().filter(|it| !it.is_unfinished()).count() <= max {
            return None;
        }
        entries
            .iter()
            .filter(|(_, it)| it.known().file.is_some())
            .min_by_key(|(_, it)| it.known().written)
            .map(|(id, _)| *id)
    }

    /// Whether an upload has become this file.
    pub(super) fn has_become(&self, file: FileId) -> bool {
        self.all
            .lock()
            .values()
            .any(|it| it.known().file == Some(file))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::blob::memory::MemoryBlobs;
    use crate::index::memory::MemoryIndex;
    use crate::store::Store;

    const PLACES: (usize, usize) = (16, 8);

    fn no_room() -> Arc<TakenRoom> {
        let (blobs, index) = (MemoryBlobs::default(), MemoryIndex::default());
        Store::new(Arc::new(blobs), Arc::new(index)).no_room_yet(None)
    }

    fn client(last: u8) -> ClientKey {
        ClientKey::Address(IpAddr::from([192, 0, 2, last]))
    }

    /// Uploads of which bytes have come, and which wait since so long.
    fn hold(entries: &Entries, client: Option<&ClientKey>, count: usize, since: Duration) {
        for _ in 0..count {
            let written = Instant::now().checked_sub(since).unwrap();
            let known = Known {
                written,
                file: None,
            };
            let entry = UploadEntry::new(known, client.cloned(), true, no_room());
            entries.all.lock().insert(UploadId::new(), Arc::new(entry));
        }
    }

    fn begin(entries: &Entries, client: Option<ClientKey>) -> Result<bool, Full> {
        let added = entries.add_unfinished(UploadId::new(), client, PLACES, no_room());
        added.map(|gone| gone.is_some())
    }

    #[test]
    fn parts_that_are_joined_take_no_places_and_come_and_go_with_the_whole() {
        let entries = Entries::default();
        hold(&entries, Some(&client(1)), PLACES.1, HOARDED / 2);
        assert_eq!(begin(&entries, Some(client(1))), Err(Full::Share));
        let parts: BTreeSet<_> = entries.all.lock().keys().copied().collect();
        let whole = UploadId::new();
        entries.add_final(whole, parts.clone(), Some(client(1)), no_room());
        assert_eq!(begin(&entries, Some(client(1))), Ok(false));
        let first = *parts.first().unwrap();
        assert_eq!(entries.get(first).unwrap().joined(), Some(whole));
        assert!(entries.written_before(Instant::now()).len() <= 2);
        // They count among those that have ended, and the whole goes for all.
        let file = FileId::next(None);
        entries.get(whole).unwrap().note(Some(file));
        assert_eq!(entries.first_ended_beyond(PLACES.1), Some(whole));
        assert_eq!(entries.first_ended_beyond(PLACES.1 + 1), None);
        assert_eq!(entries.parts_of(whole), parts);
        assert_eq!(entries.remove(whole), parts);
        assert_eq!(entries.get(first).unwrap().joined(), None);
    }

    #[test]
    fn who_holds_many_places_and_lets_them_wait_keeps_nobody_out() {
        for (others, since, taken) in [
            ([8, 8], HOARDED, Ok(true)),
            ([8, 8], HOARDED / 2, Err(Full::All)),
        ] {
            let entries = Entries::default();
            for (last, count) in (1..).zip(others) {
                hold(&entries, Some(&client(last)), count, since);
            }
            assert_eq!(begin(&entries, Some(client(1))), Err(Full::Share));
            assert_eq!(begin(&entries, Some(client(9))), taken);
        }
        // Of those who hold little, and of nobody known, nothing is taken.
        let entries = Entries::default();
        hold(&entries, None, 8, HOARDED);
        for last in 1..=4 {
            hold(&entries, Some(&client(last)), 2, HOARDED);
        }
        assert_eq!(begin(&entries, Some(client(9))), Err(Full::All));
    }
}
