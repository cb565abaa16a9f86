//! Answers to a range of a content: only true bytes come out, however the answer is cut and
//! whatever its size is said to be.
//!
//!     cargo +nightly fuzz run range

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/any_range.rs"]
mod any_range;
#[path = "../../tests/common/blob.rs"]
mod blob;

use any_range::verified;
use blob::Blob;

/// Of several chunk groups, the last one not whole.
const SIZE: usize = 5 * 16 * 1024 + 1000;

fuzz_target!(
    |input: (u8, Option<u64>, u64, u16, Vec<(u32, u8)>, &[u8], u16)| {
        let (byte, said, start, length, edits, behind, piece) = input;
        let content: Vec<u8> = (0_u8..=250)
            .cycle()
            .map(|it| it ^ byte)
            .take(SIZE)
            .collect();
        let blob = Blob::new(content, &[SIZE]);
        let start = start % (SIZE as u64 + 1);
        let range = start..start + u64::from(length);
        let mut answer = blob.answer(&range, usize::MAX);
        for (at, change) in edits {
            let at = at as usize % answer.len().max(1);
            if let Some(it) = answer.get_mut(at) {
                *it ^= change;
            }
        }
        answer.extend_from_slice(behind);
        let size = said.unwrap_or(SIZE as u64);
        verified(&blob.content, size, range, &answer, piece.into());
    }
);
