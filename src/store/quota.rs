//! The quota: how many bytes of content a store keeps, and how many are on their way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::blob::BlobError;
use crate::client_key::ClientKey;
use crate::hash::BlobHash;
use crate::index::IndexBackend;
use crate::upload_rows::TakenElsewhere;

/// How many bytes may be on their way beyond the quota, in all: content of which nobody knows yet
/// whether it is kept already. One content alone may be longer.
const BEYOND: u64 = 64 << 20;

/// A limit of the bytes of all blobs, and of what is to become one.
pub(super) struct Quota {
    limit: u64,
    coming: Mutex<Coming>,
    /// Told when content is no longer on its way that the index has begun to count.
    counted: Notify,
    /// Counts what is kept.
    index: Arc<dyn IndexBackend>,
}

/// What is on its way, which the index does not count yet.
#[derive(Default)]
struct Coming {
    /// Contents that are being kept.
    contents: HashMap<BlobHash, BeingKept>,
    /// How long they are together, in bytes.
    bytes: u64,
    /// The room of what has not come to its end, each under a number of its own.
    rooms: HashMap<u64, Taken>,
    /// How many numbers were given.
    numbers: u64,
}

/// A content that is being kept.
struct BeingKept {
    /// How long it is, in bytes.
    bytes: u64,
    /// How many uploads bring it.
    uploads: usize,
    /// Whether the index may count it by now, so that it may count twice for a moment.
    may_be_counted: bool,
}

/// Why something has no room.
struct Refused {
    why: BlobError,
    /// Whether it has room if what may count twice does.
    is_unsure: bool,
}

/// Room for a content that is being kept; given back on drop, when the index counts the content.
pub(super) struct Reservation {
    quota: Arc<Quota>,
    hash: BlobHash,
    /// What it had before, which it has again unless the content was kept.
    before: Option<(Arc<TakenRoom>, Taken)>,
}

/// What one content takes.
#[derive(Debug, Clone)]
struct Taken {
    bytes: u64,
    kind: Kind,
    /// Who brings it, as far as that is told from others.
    client: Option<ClientKey>,
}

/// Why content may be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was there when the store was opened, whatever the quota is now.
    Found,
    /// There is room for it.
    Promised,
    /// It may be kept already, and then takes nothing.
    Beyond,
}

/// How many bytes content takes that is on its way over several requests; given back on drop.
pub struct TakenRoom {
    /// None where there is no quota.
    quota: Option<Arc<Quota>>,
    number: u64,
    client: Option<ClientKey>,
}

/// How much is on its way beside one, in bytes.
#[derive(Default)]
struct Beside {
    inside: u64,
    beyond: u64,
    /// Of both, what its own client brings.
    of_client: u64,
}

impl Quota {
    pub(super) fn of(limit: u64, index: Arc<dyn IndexBackend>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            coming: Mutex::default(),
            counted: Notify::new(),
            index,
        })
    }

    /// How many bytes it is.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What is left of it where so many bytes are kept.
    pub(super) fn left(&self, kept: u64) -> u64 {
        let taken = kept.saturating_add(self.coming.lock().inside());
        self.limit.saturating_sub(taken)
    }

    /// Fails where there is no room for so many bytes more; `kept` tells how many the index counts.
    pub(super) async fn check(&self, bytes: u64, kept: impl Fn() -> u64) -> Result<(), BlobError> {
        let look = || self.check_beside(bytes, &kept, &self.coming.lock());
        self.decided(look).await
    }

    fn check_beside(
        &self,
        bytes: u64,
        kept: impl Fn() -> u64,
        coming: &Coming,
    ) -> Result<(), Refused> {
        // Looked at under the lock: what is no longer on its way is counted by now.
        let taken = kept().saturating_add(coming.inside());
        self.check_limit((taken, bytes), self.limit, coming)
    }

    /// Fails where `bytes` beside those that are taken are more than `limit`.
    fn check_limit(
        &self,
        (taken, bytes): (u64, u64),
        limit: u64,
        coming: &Coming,
    ) -> Result<(), Refused> {
        let all = taken.saturating_add(bytes);
        if all <= limit {
            return Ok(());
        }
        // What may be kept already, and then takes nothing, may be longer than all that is kept.
        let never_fits = bytes > self.limit && limit == self.limit;
        Err(Refused {
            why: BlobError::OverQuota {
                quota: self.limit,
                free: (!never_fits).then(|| self.limit.saturating_sub(taken)),
            },
            is_unsure: all.saturating_sub(coming.perhaps_counted()) <= limit,
        })
    }

    /// What `look` finds, under the lock of what is on its way. The index counts a content a moment
    /// before it is no longer on its way, and who would be refused for that alone looks once more
    /// when such a moment is over. Who is refused whatever counts twice waits for nobody, but for
    /// the index once, to count what other nodes may have given back.
    async fn decided<T>(&self, look: impl Fn() -> Result<T, Refused>) -> Result<T, BlobError> {
        let mut is_current = false;
        loop {
            // Made first, so that it hears of all that ends behind the look.
            let counted = self.counted.notified();
            match look() {
                Ok(found) => return Ok(found),
                Err(refused) if refused.is_unsure => counted.await,
                Err(refused) if is_current => return Err(refused.why),
                Err(_) => {
                    self.index.catch_up().await;
                    is_current = true;
                }
            }
        }
    }

    /// Reserves room for a content of so many bytes, which takes no more where others bring the
    /// same, and none where `room` was promised to it; `kept` as for [`Quota::check`].
    pub(super) async fn reserve(
        self: &Arc<Self>,
        hash: BlobHash,
        bytes: u64,
        room: Option<&Arc<TakenRoom>>,
        kept: impl Fn() -> u64,
    ) -> Result<Reservation, BlobError> {
        let look = || self.reserve_now(hash, bytes, room, &kept);
        let before = self.decided(look).await?;
        Ok(Reservation {
            quota: Arc::clone(self),
            hash,
            before,
        })
    }

    /// Does that where there is room, and returns what of it was promised before.
    fn reserve_now(
        &self,
        hash: BlobHash,
        bytes: u64,
        room: Option<&Arc<TakenRoom>>,
        kept: impl Fn() -> u64,
    ) -> Result<Option<(Arc<TakenRoom>, Taken)>, Refused> {
        let mut coming = self.coming.lock();
        if let Some(same) = coming.contents.get_mut(&hash) {
            same.uploads += 1;
            return Ok(None);
        }
        let before = room.and_then(|it| Some((Arc::clone(it), coming.rooms.remove(&it.number)?)));
        let promised = before.as_ref().filter(|(_, it)| it.kind == Kind::Promised);
        if promised.is_none_or(|(_, it)| it.bytes < bytes)
            && let Err(full) = self.check_beside(bytes, kept, &coming)
        {
            coming.put_back(before.as_ref());
            return Err(full);
        }
        let content = BeingKept {
            bytes,
            uploads: 1,
            may_be_counted: false,
        };
        coming.contents.insert(hash, content);
        coming.bytes += bytes;
        Ok(before)
    }

    /// A number for room that is taken.
    fn number(&self) -> u64 {
        let mut coming = self.coming.lock();
        coming.numbers += 1;
        coming.numbers
    }

    /// Takes room for what is on its way under this number, instead of what it has. The only
    /// place that decides what may come:
    ///
    /// - what is kept and what is promised are together no more than the quota;
    /// - what comes beyond, too, exceeds it by no more than a bound, or is one content;
    /// - of a client no more comes at once than half of what it finds free, or one content; of
    ///   which no more than that half is promised before it has come.
    fn take(
        &self,
        (number, wanted): (u64, &Taken),
        here: u64,
        elsewhere: &TakenElsewhere,
        kept: impl Fn() -> u64,
    ) -> Result<(), Refused> {
        let mut coming = self.coming.lock();
        let (mut beside, kept) = (coming.beside(number, wanted), kept());
        beside.inside += elsewhere.inside;
        beside.beyond += elsewhere.beyond;
        beside.of_client += elsewhere.of_client;
        let (limit, more) = match wanted.kind {
            Kind::Beyond if beside.beyond == 0 => (u64::MAX, 0),
            Kind::Beyond => (self.limit.saturating_add(BEYOND), beside.beyond),
            Kind::Found | Kind::Promised => (self.limit, 0),
        };
        let all = kept.saturating_add(beside.inside).saturating_add(more);
        self.check_limit((all, wanted.bytes), limit, &coming)?;
        let mut bytes = wanted.bytes;
        if wanted.client.is_some() {
            let share = self.limit.max(limit).saturating_sub(kept) / 2;
            if beside.of_client > 0 && beside.of_client.saturating_add(bytes) > share {
                return Err(Refused {
                    why: BlobError::OverShare,
                    is_unsure: false,
                });
            }
            bytes = bytes.min(here.max(share));
        }
        let taken = wanted.clone();
        coming.set(number, Taken { bytes, ..taken });
        Ok(())
    }

    /// Counts so many bytes under this number, whether or not there is room: what is on the disk
    /// already, or what is left of it.
    fn note(&self, number: u64, bytes: u64, client: Option<&ClientKey>) {
        let mut coming = self.coming.lock();
        let noted = coming.rooms.get(&number).cloned().unwrap_or(Taken {
            bytes,
            kind: Kind::Found,
            client: client.cloned(),
        });
        coming.set(number, Taken { bytes, ..noted });
    }

    /// How many bytes are taken under this number.
    fn taken(&self, number: u64) -> u64 {
        let coming = self.coming.lock();
        coming.rooms.get(&number).map_or(0, |it| it.bytes)
    }

    fn is_beyond(&self, number: u64) -> bool {
        let coming = self.coming.lock();
        let taken = coming.rooms.get(&number);
        taken.is_some_and(|it| it.kind == Kind::Beyond)
    }

    /// Whether this content is on its way.
    pub(super) fn expects(&self, hash: &BlobHash) -> bool {
        self.coming.lock().contents.contains_key(hash)
    }

    /// Whether a content of so many bytes is on its way.
    pub(super) fn expects_length(&self, bytes: u64) -> bool {
        let coming = self.coming.lock();
        coming.contents.values().any(|it| it.bytes == bytes)
    }
}

impl Coming {
    /// How many bytes count against the quota.
    fn inside(&self) -> u64 {
        let rooms = self.rooms.values();
        let inside = rooms.filter(|it| it.kind != Kind::Beyond);
        self.bytes + inside.map(|it| it.bytes).sum::<u64>()
    }

    /// How many of these bytes the index may count, too, for a moment.
    fn perhaps_counted(&self) -> u64 {
        let contents = self.contents.values();
        contents
            .filter(|it| it.may_be_counted)
            .map(|it| it.bytes)
            .sum()
    }

    fn beside(&self, number: u64, wanted: &Taken) -> Beside {
        let mut beside = Beside {
            inside: self.bytes,
            ..Beside::default()
        };
        for (_, it) in self.rooms.iter().filter(|(other, _)| **other != number) {
            if it.kind == Kind::Beyond {
                beside.beyond += it.bytes;
            } else {
                beside.inside += it.bytes;
            }
            if it.client == wanted.client {
                beside.of_client += it.bytes;
            }
        }
        beside
    }

    fn set(&mut self, number: u64, taken: Taken) {
        if taken.bytes == 0 {
            self.rooms.remove(&number);
        } else {
            self.rooms.insert(number, taken);
        }
    }

    fn put_back(&mut self, before: Option<&(Arc<TakenRoom>, Taken)>) {
        if let Some((room, taken)) = before {
            self.set(room.number, taken.clone());
        }
    }
}

impl Reservation {
    /// The index is asked to count the content.
    pub(super) fn begin_counting(&self) {
        let mut coming = self.quota.coming.lock();
        if let Some(content) = coming.contents.get_mut(&self.hash) {
            content.may_be_counted = true;
        }
    }

    /// The index counts the content, so that nothing of it is on its way.
    pub(super) fn end(mut self) {
        self.before = None;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut coming = self.quota.coming.lock();
        coming.put_back(self.before.as_ref());
        let Some(content) = coming.contents.get_mut(&self.hash) else {
            return;
        };
        let bytes = content.bytes;
        content.uploads -= 1;
        if content.uploads == 0 {
            coming.contents.remove(&self.hash);
            coming.bytes -= bytes;
            drop(coming);
            self.quota.counted.notify_waiters();
        }
    }
}

impl TakenRoom {
    pub(super) fn none_yet(quota: Option<Arc<Quota>>, client: Option<ClientKey>) -> Arc<Self> {
        let number = quota.as_ref().map_or(0, |it| it.number());
        Arc::new(Self {
            quota,
            number,
            client,
        })
    }

    /// Takes room for `bytes` in all, of which `here` have come; `kept` tells how many bytes the
    /// index counts.
    pub(super) async fn take(
        &self,
        bytes: u64,
        here: u64,
        kind: Kind,
        kept: impl Fn() -> u64,
    ) -> Result<(), BlobError> {
        let elsewhere = TakenElsewhere::default();
        self.take_beside(&elsewhere, (bytes, here, kind), kept)
            .await
    }

    /// The same beside what takes room elsewhere.
    pub(super) async fn take_beside(
        &self,
        elsewhere: &TakenElsewhere,
        (bytes, here, kind): (u64, u64, Kind),
        kept: impl Fn() -> u64,
    ) -> Result<(), BlobError> {
        let Some(quota) = &self.quota else {
            return Ok(());
        };
        let client = self.client.clone();
        let wanted = Taken {
            bytes,
            kind,
            client,
        };
        let look = || quota.take((self.number, &wanted), here, elsewhere, &kept);
        quota.decided(look).await
    }

    /// Who brings it, as far as that is told from others.
    pub(super) fn client(&self) -> Option<&ClientKey> {
        self.client.as_ref()
    }

    /// Whether there is none for it, but that it may be kept already.
    pub fn is_beyond(&self) -> bool {
        let quota = self.quota.as_ref();
        quota.is_some_and(|it| it.is_beyond(self.number))
    }

    /// Counts as many bytes as are there, whether or not there is room for them: those that were
    /// there at the start, or that are left of what came.
    pub fn note(&self, bytes: u64) {
        if let Some(quota) = &self.quota {
            quota.note(self.number, bytes, self.client.as_ref());
        }
    }

    /// How many bytes it takes; none where there is no quota.
    pub fn bytes(&self) -> u64 {
        let quota = self.quota.as_ref();
        quota.map_or(0, |it| it.taken(self.number))
    }
}

impl Drop for TakenRoom {
    fn drop(&mut self) {
        self.note(0);
    }
}

#[cfg(test)]
mod tests;
