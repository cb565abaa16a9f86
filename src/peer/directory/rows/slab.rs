//! The rows themselves, one behind the other without a gap, and each found by its handle.

use super::row::Row;

/// Which row of a slab: it stays that until a row is removed.
pub(super) type Handle = u32;

/// How many rows are allocated at once: 96 KiB.
const CHUNK: usize = 1024;

/// Rows without a gap.
#[derive(Debug, Default)]
pub(super) struct Slab {
    chunks: Vec<Vec<Row>>,
    len: usize,
}

/// Where a row is.
fn place(handle: Handle) -> (usize, usize) {
    let at = usize::try_from(handle).unwrap_or(usize::MAX);
    (at / CHUNK, at % CHUNK)
}

impl Slab {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, handle: Handle) -> &Row {
        let (chunk, at) = place(handle);
        #[allow(clippy::indexing_slicing)] // Handles are given out here alone.
        &self.chunks[chunk][at]
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> &mut Row {
        let (chunk, at) = place(handle);
        #[allow(clippy::indexing_slicing)] // Handles are given out here alone.
        &mut self.chunks[chunk][at]
    }

    /// The handle of the row that was put last.
    pub(super) fn last(&self) -> Handle {
        self.len.saturating_sub(1).try_into().unwrap_or(Handle::MAX)
    }

    /// Whether one more has a handle.
    pub(super) fn has_room(&self) -> bool {
        self.len < 1 << 31
    }

    pub(super) fn push(&mut self, row: Row) -> Handle {
        if self.chunks.len() * CHUNK <= self.len {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let (chunk, _) = place(self.len.try_into().unwrap_or(Handle::MAX));
        if let Some(rows) = self.chunks.get_mut(chunk) {
            rows.push(row);
            self.len += 1;
        }
        self.last()
    }

    /// Takes a row out; the last one has its handle from then on.
    pub(super) fn take(&mut self, handle: Handle) -> Option<Row> {
        let (last, _) = place(self.last());
        let mut row = self.chunks.get_mut(last)?.pop()?;
        self.len -= 1;
        // One chunk is kept for whoever comes and goes at its beginning.
        self.chunks.truncate(last + 1);
        if usize::try_from(handle).ok()? < self.len {
            std::mem::swap(self.get_mut(handle), &mut row);
        }
        Some(row)
    }
}
