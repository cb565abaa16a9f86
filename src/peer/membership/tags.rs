//! Tags by which those who know a network recognise each other before anything is shown, and by
//! which nobody else recognises them.

use uuid::Uuid;

use super::PublicKey;
use crate::peer::signature::{from_hex, to_hex};

/// What each begins with.
const PREFIX: &str = "larder/";
/// How many bytes of a tag are random.
const RANDOM: usize = 16;

/// What makes the tags of one network.
pub(super) struct Tags([u8; 32]);

impl Tags {
    /// Those of this network.
    pub(super) fn of(network: PublicKey) -> Self {
        let context = "larder 2026-11 tags of a network";
        Self(blake3::derive_key(context, &network.0))
    }

    /// Another one: random bytes, and what only who knows the network makes of them.
    pub(super) fn make(&self) -> Vec<u8> {
        let random = *Uuid::new_v4().as_bytes();
        let proof = blake3::keyed_hash(&self.0, &random);
        format!("{PREFIX}{}{}", to_hex(&random), proof.to_hex()).into_bytes()
    }

    /// Whether this is one of the network.
    pub(super) fn has(&self, tag: &[u8]) -> bool {
        let parts = str::from_utf8(tag).ok().and_then(|it| {
            let (random, proof) = it.strip_prefix(PREFIX)?.split_at_checked(2 * RANDOM)?;
            Some((from_hex::<RANDOM>(random)?, from_hex::<32>(proof)?))
        });
        // Which takes as long whatever is wrong.
        parts.is_some_and(|(random, proof)| blake3::keyed_hash(&self.0, &random) == proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_one_network_and_no_two_have_anything_but_their_beginning_in_common() {
        let [one, other] = [1, 2].map(|it| Tags::of(PublicKey([it; 32])));
        let tags = [one.make(), one.make()];
        assert!(tags.iter().all(|it| one.has(it) && !other.has(it)));
        let [first, second] = tags.map(|it| it[PREFIX.len()..].to_vec());
        let alike = first.windows(16).filter(|it| {
            let mut parts = second.windows(16);
            parts.any(|part| part == *it)
        });
        assert_eq!(alike.count(), 0);
        let tag = one.make();
        for at in 0..tag.len() {
            let mut changed = tag.clone();
            changed[at] ^= 1;
            assert!(!one.has(&changed), "{at}");
        }
        for wrong in [&b"larder/"[..], b"h2", &[0xff; 103], &tag[..tag.len() - 2]] {
            assert!(!one.has(wrong));
        }
    }
}
