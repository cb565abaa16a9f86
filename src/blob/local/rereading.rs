//! Reading all that a storage directory keeps again, shard by shard: first what is in packs, in
//! the order in which it lies there, then what are files.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::{Advice, fadvise};

use super::super::{BlobError, InOrder, Next, Position, Rereading};
use super::checker::{Checker, Trouble};
use super::listing;
use super::packs::{Packs, ShortEntry};
use super::stored::{Absent, Stored};
use crate::blocking::{self, Wanted};
use crate::hash::BlobHash;
use crate::outboard::PIECE_BYTES;
use crate::place::Place;
use crate::stored_file::from_medium;

/// How many short contents are read in one turn on a blocking thread: each may move the head of a
/// disk.
const AT_ONCE: usize = 16;

/// All that a storage directory keeps.
pub(super) struct Shards {
    blobs: PathBuf,
    packs: Arc<Packs>,
    /// None behind the last one.
    next_shard: Option<u8>,
    short: VecDeque<ShortEntry>,
    long: VecDeque<BlobHash>,
    position: BlobHash,
}

impl Shards {
    pub(super) fn from(
        blobs: PathBuf,
        packs: Arc<Packs>,
        Position { place, .. }: Position,
    ) -> Self {
        let hash = place.content();
        let [shard, ..] = *hash.as_bytes();
        Self {
            blobs,
            packs,
            next_shard: Some(shard),
            short: VecDeque::new(),
            long: VecDeque::new(),
            position: hash,
        }
    }

    /// Lists the next shard that has anything behind the position; false where none has.
    async fn fill(&mut self) -> Result<bool, BlobError> {
        while self.short.is_empty() && self.long.is_empty() {
            let Some(shard) = self.next_shard else {
                return Ok(false);
            };
            self.next_shard = shard.checked_add(1);
            let start = start_of(shard);
            let from = self.position.max(start);
            self.position = from;
            let (blobs, packs) = (self.blobs.clone(), Arc::clone(&self.packs));
            let listed = blocking::run(move || {
                // What is in the middle of the files of a shard has its packs behind it.
                let short = (from == start).then(|| packs.entries_in(shard));
                let long = listing::files_in(&blobs, shard)?;
                Ok::<_, BlobError>((short.unwrap_or_default(), long))
            });
            let (short, mut long) = listed.await?;
            long.retain(|hash| *hash >= from);
            (self.short, self.long) = (short.into(), long.into());
        }
        Ok(true)
    }
}

/// The first hash that is at home in a shard.
fn start_of(shard: u8) -> BlobHash {
    let mut bytes = [0; 32];
    if let Some(first) = bytes.first_mut() {
        *first = shard;
    }
    BlobHash::from_bytes(bytes)
}

#[async_trait]
impl InOrder for Shards {
    async fn next(&mut self, most: u64) -> Result<Option<Next>, BlobError> {
        if !self.fill().await? {
            return Ok(None);
        }
        if self.short.is_empty() {
            let next = self.long.pop_front();
            return Ok(next.map(|hash| {
                self.position = hash;
                Next::Long(hash)
            }));
        }
        let (mut entries, mut left) = (Vec::new(), most);
        while left > 0
            && entries.len() < AT_ONCE
            && let Some(entry) = self.short.pop_front()
        {
            left = left.saturating_sub(entry.bytes());
            entries.push(entry);
        }
        Ok(Some(blocking::run(move || read_short(&entries)).await))
    }

    fn position(&self) -> Place {
        Place::of(&self.position)
    }
}

/// Reads short contents. Blocks.
fn read_short(entries: &[ShortEntry]) -> Next {
    let (mut whole, mut bytes, mut doubtful) = (0, 0, Vec::new());
    for entry in entries {
        match entry.reread() {
            Ok(len) => {
                whole += 1;
                bytes += len;
            }
            Err(hash) => doubtful.extend(hash),
        }
    }
    Next::Short {
        whole,
        bytes,
        doubtful,
    }
}

/// The file of a blob that is read again.
pub(super) struct LongReread {
    /// None while a part of it is read.
    file: Option<File>,
    position: u64,
}

struct File {
    blob: Arc<Stored>,
    proof: Proof,
    /// How much of it was read.
    at: u64,
    buffer: Vec<u8>,
}

/// What proves the bytes.
enum Proof {
    Outboard(Checker),
    /// The hash of all of them: there is no outboard that would.
    Whole(Box<blake3::Hasher>),
}

impl LongReread {
    pub(super) fn new(blob: Arc<Stored>, from: u64) -> Self {
        // Where it is shorter than it was, it is looked at from its beginning on.
        let from = if from > blob.size { 0 } else { from };
        let at = if from == blob.size {
            from
        } else {
            from / PIECE_BYTES * PIECE_BYTES
        };
        // What is read ahead would be given up, and read once more.
        let _ = fadvise(&*blob.file, 0, None, Advice::Random);
        let file = File {
            proof: Proof::Outboard(Checker::new(Arc::clone(&blob))),
            blob,
            at,
            buffer: Vec::new(),
        };
        Self {
            file: Some(file),
            position: at,
        }
    }
}

#[async_trait]
impl Rereading for LongReread {
    async fn next(&mut self, most: u64) -> Result<u64, BlobError> {
        let Some(mut file) = self.file.take() else {
            return Ok(0);
        };
        let turn = blocking::run_while_wanted(move |wanted| {
            let read = file.read(most, wanted)?;
            Ok::<_, BlobError>((file, read))
        });
        let (file, read) = turn.await?;
        self.position = file.resumable_at();
        self.file = Some(file);
        Ok(read)
    }

    fn position(&self) -> u64 {
        self.position
    }
}

impl File {
    /// Reads and proves about so many bytes more. Blocks.
    fn read(&mut self, most: u64, wanted: &Wanted) -> Result<u64, BlobError> {
        let mut read = 0;
        while read < most && self.at < self.blob.size {
            self.blob.check(wanted)?;
            let blob = Arc::clone(&self.blob);
            let piece = self.at..blob.size.min(self.at + PIECE_BYTES);
            let before = self.at;
            from_medium(&blob.file, piece, || self.read_piece())?;
            read += self.at.saturating_sub(before);
            if self.at == self.blob.size {
                self.end()?;
            }
        }
        Ok(read)
    }

    fn read_piece(&mut self) -> Result<(), BlobError> {
        let ahead = self.at..self.blob.size;
        match &mut self.proof {
            Proof::Outboard(checker) => {
                match checker.read(&ahead, PIECE_BYTES, &mut self.buffer, Absent::Await) {
                    Ok(proven) => self.at = proven.end,
                    Err(Trouble::NoProof(error)) => {
                        let hash = self.blob.hash;
                        tracing::debug!(%hash, %error, "read whole, since no outboard proves it");
                        self.proof = Proof::Whole(Box::default());
                        self.at = 0;
                    }
                    Err(Trouble::Blob(error)) => return Err(error),
                }
            }
            Proof::Whole(hasher) => {
                let end = self.blob.size.min(self.at + PIECE_BYTES);
                let len = usize::try_from(end - self.at).unwrap_or(usize::MAX);
                self.blob
                    .read(&mut self.buffer, len, self.at, Absent::Await)?;
                hasher.update(&self.buffer);
                self.at = end;
            }
        }
        Ok(())
    }

    /// All of it was read.
    fn end(&self) -> Result<(), BlobError> {
        if let Proof::Whole(hasher) = &self.proof
            && BlobHash::from(hasher.finalize()) != self.blob.hash
        {
            return Err(self.blob.damaged("its bytes have another hash"));
        }
        self.blob.shelf.damage.note_whole(&self.blob.hash);
        self.prove_outboard()
    }

    /// Removes the outboard where it is not right below what has proven the pieces: it is derived
    /// again when it is needed.
    fn prove_outboard(&self) -> Result<(), BlobError> {
        let (hash, outboards) = (self.blob.hash, &self.blob.shelf.outboards);
        if outboards.is_sound(hash, self.blob.size) || !outboards.can_be_derived() {
            return Ok(());
        }
        tracing::info!(%hash, "an outboard is damaged, and made anew when it is needed");
        outboards.remove(&hash)
    }

    fn resumable_at(&self) -> u64 {
        match self.proof {
            Proof::Outboard(_) => self.at,
            Proof::Whole(_) => 0,
        }
    }
}
