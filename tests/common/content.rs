//! Content to store.

/// Content of this length that differs from place to place and from seed to seed.
pub(crate) fn content(seed: u32, len: usize) -> Vec<u8> {
    let numbers = (0u32..).map(move |n| n.wrapping_mul(2_654_435_761) ^ seed);
    numbers.flat_map(u32::to_le_bytes).take(len).collect()
}
