//! Whether another node speaks with this node's key, as one whose storage directory is a copy of
//! this one's. Both are one peer to all others, who see now the one and now the other.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::registration::Checked;
use crate::base_url::BaseUrl;
use crate::record::Timestamp;

/// How long after its last word the other one is taken to be there.
const FRESH: Duration = Duration::from_mins(10);

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
    /// Where the other one is, and when it was heard last.
    other: Option<(BaseUrl, Instant)>,
    logged: bool,
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
        let other = other.filter(|(_, at)| at.elapsed() < FRESH);
        other.map(|(address, _)| address.clone())
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
        heard.other = Some((told.address.clone(), Instant::now()));
        if !std::mem::replace(&mut heard.logged, true) {
            tracing::warn!(
                address = %told.address,
                "another node has this node's key: one's storage directory is a copy of the \
                 other's, and peers take both for one; stop the copy, remove node.key and \
                 node.key.check from it, and it gets a key of its own"
            );
        }
    }
}
