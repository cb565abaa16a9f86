//! Challenges: what shows that an answer comes from the peer that was asked, and was made for
//! this question.
//!
//! Whoever asks sends random digits. The peer signs them with what was asked and the hash of
//! what it answers, and puts the signature behind the last key of its JSON: so it need not
//! have the whole answer before it begins to send.

use std::str::FromStr;

use uuid::Uuid;

use super::identity::Identity;
use super::signature::{Proof, Signable, Trust};
use crate::hash::BlobHash;
use crate::peer_id::PeerId;

/// The header of a request that asks for a proof.
pub const HEADER: &str = "larder-challenge";
/// What an answer is signed for.
const PURPOSE: &str = "larder 2026-11 answer";
/// The digits of a challenge.
const DIGITS: usize = 32;

/// 32 random lowercase hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge(String);

/// A text that is not 32 lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a challenge is {DIGITS} lowercase hex digits")]
pub struct InvalidChallenge;

/// Proves an answer that is written piece by piece.
pub struct Prover {
    challenge: Challenge,
    target: String,
    hasher: blake3::Hasher,
}

impl Challenge {
    /// One that nobody can have foreseen.
    pub fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn signable(&self, target: &str, answer: BlobHash) -> Signable {
        Signable::new(PURPOSE)
            .field(&self.0)
            .field(target)
            .field(&answer.to_string())
    }

    /// Whether `peer`, whose id belongs to a key, has answered so to a request for `target`,
    /// the path and the query.
    pub fn is_met(&self, target: &str, peer: PeerId, answer: &[u8]) -> bool {
        let Some(at) = answer
            .len()
            .checked_sub(end(&Proof::default()).len() + 64 + 128)
        else {
            return false;
        };
        let (answer, end_of_it) = answer.split_at(at);
        let Some(proof) = read_end(end_of_it) else {
            return false;
        };
        let signed = self.signable(target, BlobHash::of(answer));
        proof.verify(peer, &signed) == Ok(Trust::Verified)
    }
}

impl FromStr for Challenge {
    type Err = InvalidChallenge;

    fn from_str(text: &str) -> Result<Self, InvalidChallenge> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != DIGITS || !text.bytes().all(digit) {
            return Err(InvalidChallenge);
        }
        Ok(Self(text.to_owned()))
    }
}

impl Prover {
    /// Begins the answer to a request for `target`, the path and the query.
    pub fn new(challenge: Challenge, target: String) -> Self {
        Self {
            challenge,
            target,
            hasher: blake3::Hasher::new(),
        }
    }

    /// Takes the next piece of the answer, an object without its closing brace.
    pub fn push(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
    }

    /// What stands at the end of the answer: two keys and the closing brace.
    pub fn finish(self, identity: &Identity) -> String {
        let hash = self.hasher.finalize().into();
        end(&identity.sign(&self.challenge.signable(&self.target, hash)))
    }
}

/// The end of an answer, always of the same length.
fn end(proof: &Proof) -> String {
    let key = proof.public_key.as_deref().unwrap_or_default();
    let signature = proof.signature.as_deref().unwrap_or_default();
    format!(r#","public_key":"{key}","signature":"{signature}"}}"#)
}

/// Whether this is the end of an answer that was asked to be proven.
pub(super) fn is_end(text: &[u8]) -> bool {
    read_end(text).is_some()
}

fn read_end(text: &[u8]) -> Option<Proof> {
    let text = std::str::from_utf8(text).ok()?;
    let object = format!("{{{}", text.strip_prefix(',')?);
    let proof: Proof = serde_json::from_str(&object).ok()?;
    (end(&proof) == text).then_some(proof)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(identity: &Identity, challenge: &Challenge, target: &str, text: &str) -> Vec<u8> {
        let mut prover = Prover::new(challenge.clone(), target.to_owned());
        prover.push(text.as_bytes());
        let end = prover.finish(identity);
        [text.as_bytes(), end.as_bytes()].concat()
    }

    #[test]
    fn only_the_answer_of_this_peer_to_this_question_meets_a_challenge() {
        let (me, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let challenge = Challenge::random();
        let right = answer(&me, &challenge, "/a?b", r#"{"files":[]"#);
        assert!(challenge.is_met("/a?b", me.peer_id(), &right));
        serde_json::from_slice::<serde_json::Value>(&right).unwrap();
        assert!(!challenge.is_met("/a?c", me.peer_id(), &right));
        assert!(!challenge.is_met("/a?b", other.peer_id(), &right));
        assert!(!Challenge::random().is_met("/a?b", me.peer_id(), &right));
        for at in 0..right.len() {
            let mut changed = right.clone();
            changed[at] ^= 1;
            assert!(!challenge.is_met("/a?b", me.peer_id(), &changed), "{at}");
        }
        let of_other = answer(&other, &challenge, "/a?b", r#"{"files":[]"#);
        assert!(!challenge.is_met("/a?b", me.peer_id(), &of_other));
    }

    #[test]
    fn a_challenge_has_one_form() {
        let challenge = Challenge::random();
        assert_eq!(challenge.as_str().parse(), Ok(challenge));
        for text in ["", "0", &"A".repeat(32), &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(text.parse::<Challenge>(), Err(InvalidChallenge), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(bytes: Vec<u8>) {
            let id = Identity::generate().unwrap().peer_id();
            prop_assert!(!Challenge::random().is_met("/", id, &bytes));
        }
    }
}
