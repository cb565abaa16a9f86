//! Random choices that can be made again.

use std::time::{SystemTime, UNIX_EPOCH};

/// The `SplitMix64` generator (Steele, Lea and Flood, 2014): small, and good enough here.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Begins where `LARDER_SEED` says, or anywhere; prints the number to begin with again.
    pub(crate) fn from_environment() -> Self {
        let given = std::env::var("LARDER_SEED").ok();
        let seed = given.map_or_else(seed_of_now, |seed| seed.parse().unwrap());
        println!("LARDER_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() << 32 | u64::from(now.subsec_nanos())
}
