//! Connections to peers that are kept from period to period, so that what is asked again and again
//! costs no handshake each time.
//!
//! Of each peer one at most is kept for a next request, and of so many peers as few open files
//! allow; what is asked of others has a connection of its own. What members have shown each other
//! at the beginning of a connection counts no longer than that: all connections are made anew where
//! it changes, before it ends, and at the latest after some minutes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::membership::Channel;
use crate::base_url::BaseUrl;
use crate::open_files;

/// How long a connection is kept for a next request. Nodes end those that are idle for a minute,
/// and this one has to be quicker than that: so connections are kept where periods are shorter.
const IDLE: Duration = Duration::from_secs(50);
/// How long what has been sent may stay unheard until a connection is taken to be cut.
const UNHEARD: Duration = Duration::from_secs(10);
/// The longest that a connection is used.
const MAX_AGE: Duration = Duration::from_mins(10);
/// What part of the time that a member has left its connections last at most: so it meets whoever
/// renews it in time.
const PART_OF_MEMBERSHIP: u32 = 8;

/// Makes clients, all in the same way but for how they keep connections.
type Build = Box<dyn Fn() -> reqwest::ClientBuilder + Send + Sync>;

/// Connections that are kept.
pub(super) struct Kept {
    build: Build,
    members: Option<Arc<Channel>>,
    current: Mutex<Current>,
}

struct Current {
    http: reqwest::Client,
    since: Instant,
    /// What this node was a member by, and how many it knew to be revoked.
    member_by: Option<(u64, usize)>,
    /// Whom connections are kept of, and when they were asked last.
    asked: HashMap<BaseUrl, Instant>,
}

impl Kept {
    /// Those of clients that are made so, for a member of this network, if for one.
    pub(super) fn new(build: Build, members: Option<Arc<Channel>>) -> reqwest::Result<Self> {
        let current = Mutex::new(Current {
            http: made(&build)?,
            since: Instant::now(),
            member_by: member_by(members.as_deref()),
            asked: HashMap::new(),
        });
        Ok(Self {
            build,
            members,
            current,
        })
    }

    /// The client by which to ask this node; none where connections of others are kept already, as
    /// many as may be.
    pub(super) fn client_for(&self, node: &BaseUrl) -> Option<reqwest::Client> {
        let most = open_files::shares().kept;
        let mut current = self.current.lock();
        if self.are_old(&current) {
            self.make_anew(&mut current);
        }
        let now = Instant::now();
        if let Some(at) = current.asked.get_mut(node) {
            *at = now;
            return Some(current.http.clone());
        }
        if current.asked.len() >= most {
            current.asked.retain(|_, at| now - *at < IDLE);
        }
        if current.asked.len() >= most {
            return None;
        }
        current.asked.insert(node.clone(), now);
        Some(current.http.clone())
    }

    /// Whether what was shown when the connections were made may not count any longer.
    fn are_old(&self, current: &Current) -> bool {
        let age = current.since.elapsed();
        let Some(channel) = &self.members else {
            return age >= MAX_AGE;
        };
        let now = SystemTime::now();
        age >= MAX_AGE.min(channel.certificate().left_at(now) / PART_OF_MEMBERSHIP)
            || current.member_by != member_by(Some(channel))
            || channel.has_met_who_is_no_member_at(now)
    }

    fn make_anew(&self, current: &mut Current) {
        match made(&self.build) {
            Ok(http) => current.http = http,
            // Nothing else was asked for than before; and whoever answers checks each request.
            Err(error) => return tracing::warn!(%error, "connections are not made anew"),
        }
        current.since = Instant::now();
        current.member_by = member_by(self.members.as_deref());
        current.asked.clear();
    }
}

fn made(build: &Build) -> reqwest::Result<reqwest::Client> {
    build()
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .tcp_user_timeout(UNHEARD)
        .build()
}

fn member_by(members: Option<&Channel>) -> Option<(u64, usize)> {
    let channel = members?;
    Some((channel.certificate().expires, channel.revoked().len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::tls::{self, Authorities};

    #[test]
    fn connections_of_no_more_peers_are_kept_than_may_be_and_those_go_on() {
        let tls = tls::config(&Authorities::default()).unwrap();
        let build = move || reqwest::Client::builder().tls_backend_preconfigured(tls.clone());
        let kept = Kept::new(Box::new(build), None).unwrap();
        let node = |it: usize| format!("http://10.0.0.1:{}", 1 + it).parse().unwrap();
        let kept_of = |it| kept.client_for(&node(it)).is_some();
        let most = open_files::shares().kept;
        assert!((0..most).all(kept_of));
        assert!(!kept_of(most) && kept_of(0));
        // Those that were asked long ago give way to others.
        let long_ago = Instant::now().checked_sub(IDLE).unwrap();
        let mut current = kept.current.lock();
        current.asked.values_mut().for_each(|at| *at = long_ago);
        drop(current);
        assert!(kept_of(most));
        assert_eq!(kept.current.lock().asked.len(), 1);
    }
}
