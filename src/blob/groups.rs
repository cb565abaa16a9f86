//! Which chunk groups of a content are here, where its pieces come in any order.

use std::ops::Range;

use crate::outboard::GROUP_BYTES;

/// How what is written of it begins; the size of the content follows, and then a bit for each
/// group. No checksum: whoever has all of the content proves it as a whole.
const BEGINNING: &[u8; 16] = b"larder-groups 1\n";
/// How many bytes stand before the bits.
const HEAD: usize = 24;
/// How far from each other groups are that are asked for together, at most.
const BETWEEN: u64 = 4;

/// Which groups of 16 KiB are here. Takes a byte of memory for 128 KiB of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Groups {
    size: u64,
    /// As it is written: the head and the bits.
    bytes: Vec<u8>,
    here: u64,
}

impl Groups {
    /// Of a content of `size` bytes, of which the groups within the first `len` bytes are here.
    pub(super) fn up_to(size: u64, len: u64) -> Self {
        let mut groups = Self {
            size,
            bytes: Vec::new(),
            here: 0,
        };
        let bits = usize::try_from(groups.count().div_ceil(8)).unwrap_or(usize::MAX);
        groups.bytes.extend_from_slice(BEGINNING);
        groups.bytes.extend_from_slice(&size.to_le_bytes());
        groups.bytes.resize(HEAD + bits, 0);
        groups.set(0..len.min(size));
        groups
    }

    /// As it was written for a content of `size` bytes; None where that is not such.
    pub(super) fn read(size: u64, bytes: &[u8]) -> Option<Self> {
        let mut groups = Self::up_to(size, 0);
        let head = bytes.get(..HEAD)?;
        if bytes.len() != groups.bytes.len() || head != groups.bytes.get(..HEAD)? {
            return None;
        }
        groups.bytes = bytes.to_vec();
        let here = (0..groups.count()).filter(|it| groups.has(*it));
        groups.here = here.map(|it| groups.len_of(it)).sum();
        Some(groups)
    }

    /// How it is written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The longest that is written of a content of `size` bytes.
    pub(super) fn max_bytes(size: u64) -> u64 {
        HEAD as u64 + size.div_ceil(GROUP_BYTES).div_ceil(8)
    }

    /// How many bytes of the content are here.
    pub(super) fn here(&self) -> u64 {
        self.here
    }

    /// Where the last group that is here ends, in bytes.
    pub(super) fn end(&self) -> u64 {
        let last = (0..self.count()).rev().find(|it| self.has(*it));
        last.map_or(0, |it| start_of(it) + self.len_of(it))
    }

    /// Notes that the groups which are wholly in `range` are here; how many bytes are new, and
    /// which part of what is written has changed.
    pub(super) fn set(&mut self, range: Range<u64>) -> (u64, Range<usize>) {
        let first = range.start.div_ceil(GROUP_BYTES);
        let end = if range.end >= self.size {
            self.count()
        } else {
            range.end / GROUP_BYTES
        };
        let mut new = 0;
        for group in first..end {
            if !self.has(group) {
                new += self.len_of(group);
                if let Some(byte) = self.bytes.get_mut(at(group)) {
                    *byte |= 1 << (group % 8);
                }
            }
        }
        self.here += new;
        let changed = if first < end {
            at(first)..at(end - 1) + 1
        } else {
            0..0
        };
        (new, changed)
    }

    /// The bytes of `range` that are missing first, by whole groups, with the few that may be here
    /// between them: to ask for those once more takes less than another question. None where all
    /// are here.
    pub(super) fn missing(&self, range: Range<u64>) -> Option<Range<u64>> {
        let groups = range.start / GROUP_BYTES..range.end.min(self.size).div_ceil(GROUP_BYTES);
        let mut missing = groups.filter(|it| !self.has(*it));
        let first = missing.next()?;
        let mut last = first;
        for group in missing {
            if group - last > BETWEEN {
                break;
            }
            last = group;
        }
        Some(start_of(first)..start_of(last) + self.len_of(last))
    }

    fn count(&self) -> u64 {
        self.size.div_ceil(GROUP_BYTES)
    }

    fn len_of(&self, group: u64) -> u64 {
        GROUP_BYTES.min(self.size - start_of(group))
    }

    fn has(&self, group: u64) -> bool {
        let byte = self.bytes.get(at(group)).copied().unwrap_or(0);
        byte & 1 << (group % 8) != 0
    }
}

/// Where a group begins, in bytes.
fn start_of(group: u64) -> u64 {
    group * GROUP_BYTES
}

/// Where the byte with the bit of a group stands.
fn at(group: u64) -> usize {
    usize::try_from(group / 8).map_or(usize::MAX, |it| HEAD.saturating_add(it))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const G: u64 = GROUP_BYTES;

    #[test]
    fn what_is_set_is_here_and_the_rest_is_missing() {
        let mut groups = Groups::up_to(10 * G + 5, 2 * G + 1);
        assert_eq!((groups.here(), groups.end()), (2 * G, 2 * G));
        assert_eq!(groups.missing(0..11 * G), Some(2 * G..10 * G + 5));
        // Half a group at either end does not count, but for the last, which is short.
        assert_eq!(groups.set(4 * G - 1..7 * G + 1).0, 3 * G);
        assert_eq!(groups.set(4 * G..6 * G).0, 0);
        assert_eq!(groups.set(10 * G..10 * G + 5).0, 5);
        assert_eq!(groups.missing(4 * G..7 * G), None);
        assert_eq!(groups.missing(3 * G..9 * G), Some(3 * G..9 * G));
        groups.set(7 * G..8 * G);
        assert_eq!(groups.missing(3 * G..9 * G), Some(3 * G..4 * G));
        groups.set(3 * G..4 * G);
        assert_eq!(groups.missing(3 * G..9 * G), Some(8 * G..9 * G));
        assert_eq!(groups.end(), 10 * G + 5);
        assert_eq!(groups.here(), 7 * G + 5);
    }

    #[test]
    fn what_is_written_for_another_content_or_cut_is_not_taken() {
        let groups = Groups::up_to(9 * G, 3 * G);
        let bytes = groups.bytes();
        assert_eq!(bytes.len() as u64, Groups::max_bytes(9 * G));
        assert_eq!(Groups::read(9 * G, bytes), Some(groups.clone()));
        assert_eq!(Groups::read(9 * G + 1, bytes), None);
        assert_eq!(Groups::read(9 * G, &bytes[..bytes.len() - 1]), None);
        let mut other = bytes.to_vec();
        other[3] ^= 1;
        assert_eq!(Groups::read(9 * G, &other), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_in_any_order_is_all_here_in_the_end(
            size in 0..40 * G, order in Just((0..45_u64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut groups = Groups::up_to(size, 0);
            let mut new = 0;
            for group in order {
                let range = (group * G).min(size)..((group + 1) * G).min(size);
                new += groups.set(range).0;
                let written = Groups::read(size, groups.bytes());
                prop_assert_eq!(written.as_ref(), Some(&groups));
            }
            prop_assert_eq!((new, groups.here(), groups.end()), (size, size, size));
            prop_assert_eq!(groups.missing(0..size), None);
        }
    }
}
