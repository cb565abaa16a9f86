//! Compaction: a snapshot of the files that are left takes the place of the
//! finished segments, while the writing thread goes on behind them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::index::IndexError;
use crate::index::codec::Entry;
use crate::index::journal::{self, Damage, Piece, Segment, SnapshotWriter, refuse};
use crate::index::lookup::Lookup;
use crate::record::FileId;

/// A running compaction.
pub(super) struct Compaction {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(u64, u64), IndexError>>,
}

#[derive(Default)]
struct Shared {
    /// Files that were removed since it began: the snapshot is of the moment before.
    removed: Mutex<HashSet<FileId>>,
    cancelled: AtomicBool,
}

impl Compaction {
    /// Begins to replace all segments up to `number` by a snapshot of that number;
    /// `target` is (journal id, number, sequence number of the first change after).
    /// `on_end` is called on its thread when the result is ready.
    pub(super) fn begin(
        options: journal::Options,
        (id, number, seq): ([u8; 16], u64, u64),
        lookup: Arc<Lookup>,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Self, IndexError> {
        let (mut segments, _) = journal::list(&options.dir, &mut refuse)?;
        segments.retain(|segment| segment.header.number <= number);
        let shared = Arc::new(Shared::default());
        let in_thread = Arc::clone(&shared);
        let dir = options.dir.clone();
        let work = move || {
            let snapshot = SnapshotWriter::begin(options.clone(), id, number, seq);
            let count = snapshot.and_then(|it| in_thread.copy(&segments, &lookup, it, seq));
            if count.is_err() {
                // The room it took may be what was missing.
                let _ = options
                    .disk
                    .remove_file(&journal::unfinished_snapshot(&options.dir));
            }
            on_end();
            Ok((count?, seq))
        };
        let thread = std::thread::Builder::new()
            .name("compaction".into())
            .spawn(work);
        let thread = thread.map_err(|e| IndexError::io("start a thread for", dir, e))?;
        Ok(Self { shared, thread })
    }

    /// Tells of files that are about to be removed. Must be called before the
    /// lookup database forgets them.
    pub(super) fn keep(&self, removed: HashSet<FileId>) {
        self.shared.removed.lock().extend(removed);
    }

    /// Waits for the end: the number of files in the snapshot, and the sequence
    /// number of the first change after it.
    pub(super) fn end(self) -> Result<(u64, u64), IndexError> {
        self.thread.join().unwrap_or(Err(IndexError::Closed))
    }

    /// Stops it; the segments stay as they are.
    pub(super) fn cancel(self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        drop(self.thread.join());
    }
}

impl Shared {
    fn copy(
        &self,
        segments: &[Segment],
        lookup: &Lookup,
        mut snapshot: SnapshotWriter,
        seq: u64,
    ) -> Result<u64, IndexError> {
        let mut visit = |piece, _| {
            let (Piece::Snapshot(batch, _) | Piece::Log(batch)) = piece;
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(IndexError::Closed);
            }
            for entry in batch.entries {
                if let Entry::Added(record) = entry
                    && self.is_needed(lookup, record.id)?
                {
                    snapshot.add(record)?;
                }
            }
            Ok(())
        };
        let end = journal::read(segments, 0, &mut visit, &mut refuse)?;
        // The segments are finished, so an end before their end is damage.
        if let (true, Some((segment, offset))) = (end.next_seq != seq, end.last) {
            let detail = "the segment is cut off".into();
            return Err(Damage {
                path: segment.path,
                offset,
                detail,
                gives_up: true,
            }
            .into());
        }
        // What the database has not on disk yet no journal could tell it after a kill.
        lookup.hand_over()?;
        // The snapshot itself takes the place of the last of them.
        let before = segments.iter().rev().skip(1);
        snapshot.finish(before.map(|segment| segment.path.clone()))
    }

    fn is_needed(&self, lookup: &Lookup, id: FileId) -> Result<bool, IndexError> {
        // In this order: what the database has forgotten by now is in the set by now.
        Ok(lookup.digest_of(id)?.is_some() || self.removed.lock().contains(&id))
    }
}
