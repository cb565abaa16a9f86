//! Windows of a content in a bucket, fetched ahead of whoever reads it.
//!
//! The next windows are on their way while one is sent. All readers share the memory for that: the
//! less is left of it, the shorter are the windows, and where nothing is left each reader has one
//! piece at a time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::long::LongBlob;
use super::task::Task;
use crate::blob::{BlobError, ByteStream};
use crate::blocking;
use crate::outboard::{Mismatch, PIECE_BYTES, PieceEncoder, PieceValues};

/// The longest window, in bytes, and the first one of a reader, of whom nobody knows how much is
/// wanted.
const LONGEST: u64 = 4 << 20;
const FIRST: u64 = 1 << 20;
/// How many windows are fetched ahead.
const AHEAD: usize = 2;
/// The room of all windows together, in bytes; beyond it each is one piece.
const BUDGET: u64 = 256 << 20;
/// How many readers there may be at once: beside that room each has a piece of its own, since
/// nothing shorter can be proven.
pub const MOST_READERS: usize = 512;
/// No window takes more than this part of what is left.
const PART: u64 = 16;
/// The longest piece handed out, in bytes.
const PIECE: usize = 256 * 1024;

static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Room in memory for a window; given back on drop.
struct Room(u64);

/// A window that was proven: whole pieces of a content.
pub(super) struct Window {
    /// Where it begins in the content, in bytes.
    pub(super) start: u64,
    pub(super) bytes: Bytes,
}

/// The bytes of a window with the room that they take.
struct Held {
    bytes: Bytes,
    _room: Room,
}

/// The windows of a range, one after the other.
pub(super) struct Windows {
    blob: LongBlob,
    values: Arc<PieceValues>,
    /// What is not asked for yet.
    left: Range<u64>,
    /// How long the next one may be, in bytes.
    longest: u64,
    coming: VecDeque<Task<Result<Window, BlobError>>>,
}

impl Room {
    fn take(wanted: u64) -> Self {
        let bytes = wanted.min(length(TAKEN.load(Ordering::Relaxed)));
        TAKEN.fetch_add(bytes, Ordering::Relaxed);
        Self(bytes)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// How long a window may be where so much is taken: whole pieces.
fn length(taken: u64) -> u64 {
    let part = BUDGET.saturating_sub(taken) / PART;
    part.clamp(PIECE_BYTES, LONGEST) / PIECE_BYTES * PIECE_BYTES
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Windows {
    /// Those of a range that begins with a piece and ends with one. Nothing is asked for yet.
    pub(super) fn new(blob: LongBlob, values: Arc<PieceValues>, range: Range<u64>) -> Self {
        Self {
            blob,
            values,
            left: range,
            longest: FIRST,
            coming: VecDeque::new(),
        }
    }

    /// The next one; after an error the content is not gone on with.
    pub(super) async fn next(&mut self) -> Option<Result<Window, BlobError>> {
        self.ask();
        let next = self.coming.pop_front()?.await;
        if next.is_ok() {
            self.ask();
        }
        Some(next)
    }

    /// Asks for as many as may be under way.
    fn ask(&mut self) {
        while !self.left.is_empty() && self.coming.len() < AHEAD {
            let room = Room::take(self.longest.min(LONGEST));
            if room.0 == PIECE_BYTES && !self.coming.is_empty() {
                // Little is left for all the others.
                return;
            }
            self.longest = LONGEST.min(self.longest * 2);
            let start = self.left.start;
            let range = start..self.left.end.min(start + room.0);
            self.left.start = range.end;
            let (blob, values) = (self.blob.clone(), Arc::clone(&self.values));
            self.coming.push_back(Task::begin(async move {
                let bytes = blob.fetch(&values, range).await?;
                let bytes = Bytes::from_owner(Held { bytes, _room: room });
                Ok(Window { start, bytes })
            }));
        }
    }
}

/// The bytes of a range within a content.
pub(super) fn read(blob: LongBlob, range: Range<u64>) -> ByteStream {
    if range.is_empty() {
        return stream::empty().boxed();
    }
    // Nothing is read before the first piece is asked for: a HEAD asks for none.
    let begun = stream::once(async move {
        let values = blob.values().await?;
        let start = range.start / PIECE_BYTES * PIECE_BYTES;
        let end = range.end.next_multiple_of(PIECE_BYTES).min(blob.size);
        let windows = Windows::new(blob, values, start..end);
        Ok::<_, BlobError>(stream::unfold(Some(windows), move |windows| {
            let range = range.clone();
            async move {
                let mut windows = windows?;
                match windows.next().await? {
                    Ok(window) => Some((Ok(wanted(&window, &range)), Some(windows))),
                    Err(error) => Some((Err(error), None)),
                }
            }
        }))
    });
    let windows = begun.try_flatten();
    windows
        .map_ok(|bytes| stream::iter(pieces(bytes).map(Ok)))
        .try_flatten()
        .boxed()
}

/// What of a window belongs to a range.
fn wanted(window: &Window, range: &Range<u64>) -> Bytes {
    let len = window.bytes.len();
    let within = |at: u64| {
        let at = at.saturating_sub(window.start);
        usize::try_from(at).unwrap_or(usize::MAX).min(len)
    };
    window.bytes.slice(within(range.start)..within(range.end))
}

fn pieces(mut rest: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some(piece)
    })
}

/// The answer to a range of a content.
pub(super) fn encoded(blob: LongBlob, range: Range<u64>) -> ByteStream {
    let begun = stream::once(async move {
        let values = blob.values().await?;
        let encoder = PieceEncoder::new(Arc::clone(&values), &range);
        let hash = blob.hash;
        let windows = Windows::new(blob, values, encoder.needs());
        Ok::<_, BlobError>(stream::unfold(
            Some((windows, encoder)),
            move |state| async move {
                let (mut windows, mut encoder) = state?;
                let window = match windows.next().await? {
                    Ok(window) => window,
                    Err(error) => return Some((Err(error), None)),
                };
                let answer = blocking::run(move || {
                    let answer = encode(&mut encoder, &window);
                    answer.map(|pieces| (pieces, encoder))
                });
                match answer.await {
                    Ok((pieces, encoder)) => Some((Ok(pieces), Some((windows, encoder)))),
                    Err(mismatch) => Some((Err(BlobError::damaged(hash, &mismatch)), None)),
                }
            },
        ))
    });
    let windows = begun.try_flatten();
    windows
        .map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

/// What the answer holds of a window, a piece of the content at a time.
fn encode(encoder: &mut PieceEncoder, window: &Window) -> Result<Vec<Bytes>, Mismatch> {
    let step = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
    let mut answers = Vec::new();
    for piece in window.bytes.chunks(step) {
        let mut answer = Vec::with_capacity(piece.len() + piece.len() / 128);
        encoder.next_piece(&mut answer)?;
        encoder.put(piece, &mut answer)?;
        answers.push(answer.into());
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_get_shorter_where_little_is_left_and_are_whole_pieces() {
        assert_eq!(length(0), LONGEST);
        assert_eq!(length(BUDGET - PART * LONGEST), LONGEST);
        assert_eq!(length(BUDGET - PART * (PIECE_BYTES + 5)), PIECE_BYTES);
        assert_eq!(length(2 * BUDGET), PIECE_BYTES);
        let (mut taken, many) = (0, 4_096);
        for _ in 0..many {
            taken += length(taken);
        }
        assert!(taken <= BUDGET + many * PIECE_BYTES, "{taken}");
    }
}
