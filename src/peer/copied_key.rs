//! Whether another node speaks with this node's key, as one whose storage directory is a copy of
//! this one's. Both are one peer to all others, who see now the one and now the other.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::registration::Checked;
use crate::base_url::BaseUrl;
use crate::record::Timestamp;

/// How long after its last word the other one is taken to be there at most.
const FRESH: Duration = Duration::from_mins(10);
/// How many periods after it the same, where it does not answer this node and never has.
const FRESH_PERIODS: u32 = 10;
/// How often in a row one that has answered is asked in vain until it is taken to be gone.
const GONE: u32 = 2;

/// What was heard that this node's key has signed and this node has not.
#[derive(Debug)]
pub struct CopiedKey {
    /// What is older may be of an earlier run of this node, which was elsewhere then.
    since: Timestamp,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// The latest registration, as its time says.
    latest: Option<Timestamp>,
    other: Option<Other>,
    logged: bool,
}

/// Another node with this node's key.
#[derive(Debug)]
struct Other {
    address: BaseUrl,
    /// When it was heard last.
    at: Instant,
    /// Whether it has answered this node there, and how often it has not since.
    answered: bool,
    in_vain: u32,
}

impl Default for CopiedKey {
    fn default() -> Self {
        Self {
            since: Timestamp::now(),
            heard: Mutex::default(),
        }
    }
}

impl CopiedKey {
    /// Where another node with this node's key was heard of lately.
    pub fn other(&self) -> Option<BaseUrl> {
        let heard = self.heard.lock();
        let other = heard.other.as_ref();
        let other = other.filter(|it| it.at.elapsed() < FRESH);
        other.map(|it| it.address.clone())
    }

    /// Notes a registration of this node's key that names another address than this node's. One
    /// may be of an earlier run whose clock was ahead; a later one shows that somebody goes on.
    pub(super) fn note(&self, told: &Checked) {
        let at = told.registered_at();
        let mut heard = self.heard.lock();
        if at <= self.since || heard.latest.is_some_and(|latest| at <= latest) {
            return;
        }
        if heard.latest.replace(at).is_none() {
            return;
        }
        let now = Instant::now();
        match heard.other.as_mut().filter(|it| it.address == told.address) {
            Some(other) => other.at = now,
            None => {
                heard.other = Some(Other {
                    address: told.address.clone(),
                    at: now,
                    answered: false,
                    in_vain: 0,
                });
            }
        }
        if !std::mem::replace(&mut heard.logged, true) {
            tracing::warn!(
                address = %told.address,
                "another node has this node's key: one's storage directory is a copy of the \
                 other's, and peers take both for one; stop the copy, remove node.key and \
                 node.key.check from it, and it gets a key of its own"
            );
        }
    }

    /// Notes that this node's key has said goodbye for another address.
    pub(super) fn left(&self, told: &Checked) {
        let mut heard = self.heard.lock();
        // An old one that somebody repeats changes nothing.
        if heard.latest.is_none_or(|it| told.registered_at() >= it) {
            heard.forget(&told.address, "it has said goodbye");
        }
    }

    /// Notes that the node with this node's key has answered there.
    pub(super) fn answers(&self, address: &BaseUrl) {
        if let Some(other) = self.heard.lock().at(address) {
            *other = Other {
                address: address.clone(),
                at: Instant::now(),
                answered: true,
                in_vain: 0,
            };
        }
    }

    /// Notes that a node with another key has answered there.
    pub(super) fn is_another(&self, address: &BaseUrl) {
        let mut heard = self.heard.lock();
        heard.forget(address, "a node with another key answers there");
    }

    /// Notes that nobody has answered there, who is asked every period.
    pub(super) fn in_vain(&self, address: &BaseUrl, every: Duration) {
        let mut heard = self.heard.lock();
        let Some(other) = heard.at(address) else {
            return;
        };
        other.in_vain = other.in_vain.saturating_add(1);
        // One that this node does not reach may be heard of by way of others.
        let is_silent = other.at.elapsed() >= every.saturating_mul(FRESH_PERIODS);
        if other.in_vain >= GONE && (other.answered || is_silent) {
            heard.forget(address, "it does not answer any more");
        }
    }
}

impl Heard {
    fn at(&mut self, address: &BaseUrl) -> Option<&mut Other> {
        self.other.as_mut().filter(|it| it.address == *address)
    }

    /// Forgets the other one, if it is there.
    fn forget(&mut self, address: &BaseUrl, why: &str) {
        if self.at(address).is_none() {
            return;
        }
        self.other = None;
        self.logged = false;
        // What it has said before still goes round.
        self.latest = self.latest.max(Some(Timestamp::now()));
        tracing::info!(%address, why, "no other node has this node's key now");
    }
}
