//! Looking names up. Whoever runs the name server of a made-up address decides how long that
//! takes, so the names of strangers wait for each other only within bounds, and those that this
//! node's operator has named for none of them.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use url::Host;

use super::address::Policy;
use super::prefix::{Key, of_name};
use super::reach::Reach;
use crate::base_url::BaseUrl;
use crate::open_files;

/// How many names of strangers are looked up at once in each lane. Each takes a thread.
const AT_ONCE: usize = 32;
/// How many of them below one registered name, and how often at once one that is named.
const TOGETHER: usize = 4;
/// The longest that a lookup takes of a name that is looked up among the quick ones next time.
const QUICK: Duration = Duration::from_secs(1);
/// How long whoever only wants to know where a name leads waits for that.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many quick names are remembered: twice as many as there are peers.
const MAX_QUICK: usize = 2048;

/// Looks names up, and leads to allowed addresses alone, so that the address that was looked at
/// is the one that is connected to.
pub(super) struct Resolver {
    policy: Policy,
    lookups: Arc<Lookups>,
}

/// Who waits for whom.
struct Lookups {
    /// The names that the operator has given, each with places of its own.
    named: HashMap<String, Arc<Semaphore>>,
    /// The names that were quick when they were looked up last.
    quick: Mutex<HashSet<Key>>,
    /// Where those wait for each other.
    quick_ones: Lane,
    /// Where all others wait for each other.
    others: Lane,
}

/// Names that wait for each other.
struct Lane {
    all: Arc<Semaphore>,
    /// The places of each registered name that somebody waits for.
    shares: Mutex<HashMap<Key, Arc<Semaphore>>>,
}

/// The places that a lookup takes until it has ended.
type Permits = Vec<OwnedSemaphorePermit>;

/// Looks at where the names lead that strangers tell of, for who passes them on and asks nobody
/// there.
pub struct Names(Resolver);

impl Default for Names {
    fn default() -> Self {
        Self(Resolver::new(&Reach::default()))
    }
}

impl Names {
    /// Whether a peer may be at this address, as far as its name tells: not where that leads to
    /// this machine alone or to reserved addresses, and nowhere else. What cannot be looked up
    /// here, or not within two seconds, may be elsewhere; and whoever is told of it looks at it
    /// again.
    pub async fn may_lead_to_a_peer(&self, address: &BaseUrl) -> bool {
        let Some(Host::Domain(name)) = address.host() else {
            return true;
        };
        // The file of hosts knows no dot at the end.
        let Ok(name) = name.trim_end_matches('.').parse() else {
            return false;
        };
        match timeout(PATIENCE, self.0.resolve(name)).await {
            Ok(Err(error)) => !LeadsNowhere::is_cause_of(&*error),
            Ok(Ok(_)) | Err(_) => true,
        }
    }
}

/// A name that leads to addresses that no peer may have, and to no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name leads to addresses that this node does not ask")]
pub(super) struct LeadsNowhere;

impl LeadsNowhere {
    /// Whether this is why something failed.
    pub(super) fn is_cause_of(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<Self>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(open_files::shares().of_peers(AT_ONCE))),
            shares: Mutex::default(),
        }
    }

    /// Waits for a place of this registered name first, so that one such name is never more than
    /// its share of those that wait for a place of the lane.
    async fn enter(&self, registered: Key) -> Result<Permits, AcquireError> {
        let own = self.share(registered).acquire_owned().await?;
        let one = Arc::clone(&self.all).acquire_owned().await?;
        Ok(vec![own, one])
    }

    fn share(&self, registered: Key) -> Arc<Semaphore> {
        let mut shares = self.shares.lock();
        // Who waits or has a place holds one, too.
        shares.retain(|_, it| Arc::strong_count(it) > 1);
        let share = shares.entry(registered);
        Arc::clone(share.or_insert_with(|| Arc::new(Semaphore::new(TOGETHER))))
    }
}

impl Lookups {
    /// Waits until there is a place for a lookup of this name.
    async fn enter(&self, name: &str) -> Result<Permits, AcquireError> {
        if let Some(own) = self.named.get(name) {
            return Ok(vec![Arc::clone(own).acquire_owned().await?]);
        }
        let (registered, exact) = of_name(name);
        let is_quick = self.quick.lock().contains(&exact);
        let lane = if is_quick {
            &self.quick_ones
        } else {
            &self.others
        };
        lane.enter(registered).await
    }

    fn note(&self, name: &str, took: Duration) {
        let (_, exact) = of_name(name);
        let mut quick = self.quick.lock();
        if took > QUICK {
            quick.remove(&exact);
        } else {
            if quick.len() >= MAX_QUICK {
                // Those that are still asked show it again.
                quick.clear();
            }
            quick.insert(exact);
        }
    }
}

impl Resolver {
    /// A resolver of the system's names, for a node that talks with these.
    pub(super) fn new(reach: &Reach) -> Self {
        let name = |it: &BaseUrl| match it.host()? {
            Host::Domain(name) => Some(comparable(name)),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        };
        let given = reach.named.iter().filter_map(name);
        let places = given.map(|it| (it, Arc::new(Semaphore::new(TOGETHER))));
        let lookups = Lookups {
            named: places.collect(),
            quick: Mutex::default(),
            quick_ones: Lane::new(),
            others: Lane::new(),
        };
        Self {
            policy: reach.addresses.clone(),
            lookups: Arc::new(lookups),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookups) = (self.policy.clone(), Arc::clone(&self.lookups));
        Box::pin(async move {
            let known_as = comparable(name.as_str());
            // Such a name is taken only of who is on this machine.
            let near = lookups.named.contains_key(&known_as) || is_of_loopback(&known_as);
            let places = lookups.enter(&known_as).await?;
            let look_up = move || {
                // Whoever asked may have given up long before the answer comes.
                let _places = places;
                let began = Instant::now();
                let found = addresses(name.as_str());
                lookups.note(&known_as, began.elapsed());
                found
            };
            let found = on_a_thread(look_up).await??;
            let leads = |it: &SocketAddr| leads_to(&policy, it.ip(), near);
            let allowed: Vec<SocketAddr> = found.into_iter().filter(leads).collect();
            if allowed.is_empty() {
                return Err(LeadsNowhere.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Where a name leads. Blocks.
fn addresses(name: &str) -> io::Result<Vec<SocketAddr>> {
    if is_of_loopback(&comparable(name)) {
        return Ok(of_loopback().into());
    }
    Ok((name, 0).to_socket_addrs()?.collect())
}

/// Where a name leads that means this machine, also where no file of hosts says so (RFC 6761,
/// section 6.3).
pub(crate) fn of_loopback() -> [SocketAddr; 2] {
    [
        (Ipv4Addr::LOCALHOST, 0).into(),
        (Ipv6Addr::LOCALHOST, 0).into(),
    ]
}

/// Does `work` on a thread of its own, for which nobody waits when the node stops: the system
/// cannot be told to give a lookup up.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, done) = oneshot::channel();
    let thread = thread::Builder::new().name("lookup".to_owned());
    thread.spawn(move || {
        // Whoever asked may have given up.
        let _ = sender.send(work());
    })?;
    done.await.map_err(io::Error::other)
}

/// Whether a name may lead to this address: to this machine alone only one that says so, or
/// that the operator has given.
fn leads_to(policy: &Policy, ip: IpAddr, near: bool) -> bool {
    policy.allows(ip) && (near || !ip.to_canonical().is_loopback())
}

/// Whether a comparable name means this machine itself.
fn is_of_loopback(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// A name as it is compared: its case and a dot at its end mean nothing.
fn comparable(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_name_leads_only_where_an_address_may() {
        let resolve = async |networks: &[&str]| {
            let networks = networks.iter().map(|it| it.parse().unwrap()).collect();
            let resolver = Resolver::new(&Reach {
                addresses: Policy { networks },
                ..Reach::default()
            });
            let found = resolver.resolve("localhost".parse().unwrap()).await;
            found
                .ok()
                .map(|it| it.map(|it| it.ip()).collect::<Vec<_>>())
        };
        let found = resolve(&[]).await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
        assert_eq!(resolve(&["10.0.0.0/8"]).await, None);
    }

    #[test]
    fn the_name_of_a_stranger_leads_to_no_loopback() {
        let policy = Policy::default();
        for (ip, near, leads) in [
            ("127.0.0.1", false, false),
            ("127.0.1.1", false, false),
            ("::1", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("127.0.0.1", true, true),
            ("::1", true, true),
            ("10.0.0.1", false, true),
            ("169.254.169.254", true, false),
        ] {
            let led = leads_to(&policy, ip.parse().unwrap(), near);
            assert_eq!(led, leads, "{ip} {near}");
        }
        assert!(is_of_loopback(&comparable("A.LocalHost.")));
        assert!(!is_of_loopback(&comparable("localhost.example")));
    }

    #[test]
    fn one_registered_name_has_a_share_and_named_and_quick_ones_wait_for_no_other() {
        let resolver = Resolver::new(&Reach {
            named: vec!["http://Named.slow.example:1".parse().unwrap()],
            ..Reach::default()
        });
        let lookups = &resolver.lookups;
        lookups.note("quick.slow.example", Duration::ZERO);
        let mut taken = Vec::new();
        for domain in 0..AT_ONCE {
            for number in 0..=TOGETHER {
                let name = format!("{number}.slow{domain}.example");
                if let Some(Ok(places)) = lookups.enter(&name).now_or_never() {
                    taken.push(places);
                }
            }
            assert!(taken.len() <= (domain + 1) * TOGETHER);
        }
        assert_eq!(taken.len(), AT_ONCE);
        assert!(lookups.enter("new.example").now_or_never().is_none());
        for name in ["named.slow.example", "quick.slow.example"] {
            assert!(lookups.enter(name).now_or_never().is_some(), "{name}");
        }
        lookups.note("quick.slow.example", QUICK * 2);
        let slow = lookups.enter("quick.slow.example").now_or_never();
        assert!(slow.is_none());
        drop(taken);
        assert!(lookups.enter("new.example").now_or_never().is_some());
        assert!(lookups.others.shares.lock().len() <= 1);
    }
}
