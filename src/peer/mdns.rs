//! Nodes of the same local network, found by multicast DNS (RFC 6762 and 6763).
//!
//! A node tells of itself, and asks for others, on the interfaces that it listens on and
//! on no others: one that listens on loopback is found by nodes of the same machine alone.
//! Anybody on the network can answer with anything, so what is found is a hint where a
//! peer may be. Who it is, the peer proves when it is asked.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ServiceEvent};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::address::Policy;
use crate::base_url::BaseUrl;
use crate::peer_id::PeerId;

mod daemon;

pub use daemon::Options;
use daemon::{Reader, SERVICE, Told};

/// The UDP port of multicast DNS (RFC 6762, section 2).
pub const PORT: u16 = mdns_sd::MDNS_PORT;
/// The most neighbours remembered.
const MAX_NEIGHBOURS: usize = 256;
/// The most addresses taken of one.
const MAX_ADDRESSES: usize = 4;
/// How long a neighbour may be missed that is not known to be gone: as long as what it told of
/// itself is good for (RFC 6762, section 10).
const DOUBTED: Duration = Duration::from_mins(2);

/// A node that seems to be on the same network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The id that it tells.
    pub id: PeerId,
    /// Where it may be reached, the likeliest address first; at least one.
    pub addresses: Vec<BaseUrl>,
}

/// Multicast DNS could not be used.
#[derive(Debug, thiserror::Error)]
#[error("multicast DNS does not work: {0}")]
pub struct MdnsError(#[from] mdns_sd::Error);

/// Tells of this node and looks for others until it is dropped.
pub struct Mdns {
    found: Arc<Found>,
    reading: AbortHandle,
}

struct Found {
    neighbours: Mutex<Neighbours>,
    changed: Notify,
}

impl Mdns {
    /// Begins, as the node with this id. Within a runtime only.
    pub fn start(id: PeerId, options: Options) -> Result<Self, MdnsError> {
        let found = Arc::new(Found {
            neighbours: Mutex::new(Neighbours::new(id, options.listen.ip())),
            changed: Notify::new(),
        });
        let heard = Arc::clone(&found);
        let reader = Reader::start(id, options, move |told| heard.take(&told))?;
        Ok(Self {
            found,
            reading: tokio::spawn(reader.run()).abort_handle(),
        })
    }

    /// The nodes that are there now, in the order of their ids.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        let neighbours = self.found.neighbours.lock();
        neighbours
            .places
            .iter()
            .map(|(id, place)| Neighbour {
                id: *id,
                addresses: place.addresses.clone(),
            })
            .collect()
    }

    /// Waits until something is found, or was since the last call.
    pub async fn changed(&self) {
        self.found.changed.notified().await;
    }
}

impl Drop for Mdns {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Found {
    fn take(&self, told: &Told) {
        let mut neighbours = self.neighbours.lock();
        match told {
            Told::Found(event) => {
                neighbours.take(event);
                self.changed.notify_one();
            }
            Told::Doubt => neighbours.doubt(Instant::now()),
            Told::Tick => neighbours.forget_doubted(Instant::now()),
        }
    }
}

/// Where a neighbour is.
#[derive(Debug)]
struct Place {
    addresses: Vec<BaseUrl>,
    /// Since when nobody would be told if it were gone.
    doubted: Option<Instant>,
}

/// Who was found.
#[derive(Debug)]
struct Neighbours {
    own: PeerId,
    /// Where this node listens: who is elsewhere cannot be heard there.
    listen: IpAddr,
    places: BTreeMap<PeerId, Place>,
    /// In the order in which they were found. Where there are too many the first gives way: it
    /// was asked by now, so whoever makes up many keeps no newcomer out.
    order: VecDeque<PeerId>,
}

impl Neighbours {
    fn new(own: PeerId, listen: IpAddr) -> Self {
        Self {
            own,
            listen,
            places: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    fn take(&mut self, event: &ServiceEvent) {
        match event {
            ServiceEvent::ServiceResolved(service) => self.resolved(service),
            ServiceEvent::ServiceRemoved(_, name) => {
                if let Some(id) = peer_of(name) {
                    self.places.remove(&id);
                    self.order.retain(|other| *other != id);
                }
            }
            _ => {}
        }
    }

    fn resolved(&mut self, service: &ResolvedService) {
        let Some(id) = peer_of(&service.fullname).filter(|id| *id != self.own) else {
            return;
        };
        let addresses = addresses(service, self.listen);
        if addresses.is_empty() {
            return;
        }
        let place = Place {
            addresses,
            doubted: None,
        };
        if self.places.insert(id, place).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_NEIGHBOURS
            && let Some(first) = self.order.pop_front()
        {
            self.places.remove(&first);
        }
    }

    fn doubt(&mut self, now: Instant) {
        let known = self.places.values_mut();
        known.for_each(|it| it.doubted = it.doubted.or(Some(now)));
    }

    /// Forgets those that were not found again since they are doubted.
    fn forget_doubted(&mut self, now: Instant) {
        self.places.retain(|_, it| {
            let since = it.doubted.map(|since| now.saturating_duration_since(since));
            since.is_none_or(|it| it < DOUBTED)
        });
        self.order.retain(|id| self.places.contains_key(id));
    }
}

/// The peer that the name of a service tells.
pub fn peer_of(name: &str) -> Option<PeerId> {
    let name = name.strip_suffix(SERVICE)?.strip_suffix('.')?;
    name.parse().ok()
}

/// Where a service is reached, IPv4 first. Anybody may announce any address: a node that listens
/// on loopback meets those on loopback alone, and no other node meets these.
fn addresses(service: &ResolvedService, listen: IpAddr) -> Vec<BaseUrl> {
    let ips = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
    let ips = ips.filter(|ip| ip.to_canonical().is_loopback() == listen.is_loopback());
    let mut ips: Vec<_> = ips.collect();
    ips.sort_unstable();
    ips.dedup();
    let urls = ips.into_iter().map(|ip| SocketAddr::new(ip, service.port));
    let urls = urls.filter_map(|address| format!("http://{address}").parse().ok());
    let urls = urls.filter(|url| Policy::default().allows_url(url));
    urls.take(MAX_ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use mdns_sd::ServiceInfo;
    use proptest::prelude::*;

    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::of_public_key(&[number; 32])
    }

    fn resolved(name: &str, ips: &str, port: u16) -> ServiceEvent {
        let service = ServiceInfo::new(SERVICE, name, "host.local.", ips, port, None).unwrap();
        ServiceEvent::ServiceResolved(Box::new(service.as_resolved_service()))
    }

    /// Neighbours of peer 0 after these events.
    fn after(events: &[ServiceEvent]) -> Vec<(PeerId, Vec<String>)> {
        after_on("0.0.0.0", events)
    }

    /// The same where it listens here.
    fn after_on(listen: &str, events: &[ServiceEvent]) -> Vec<(PeerId, Vec<String>)> {
        let mut neighbours = Neighbours::new(peer(0), listen.parse().unwrap());
        for event in events {
            neighbours.take(event);
        }
        let shown = |addresses: Vec<BaseUrl>| addresses.iter().map(BaseUrl::to_string).collect();
        let found = neighbours.places.into_iter();
        found.map(|(id, it)| (id, shown(it.addresses))).collect()
    }

    #[test]
    fn a_neighbour_is_there_until_it_says_goodbye() {
        let name = peer(1).to_string();
        let come = resolved(&name, "fd00::7,192.168.1.7", 5004);
        let gone = ServiceEvent::ServiceRemoved(SERVICE.to_owned(), format!("{name}.{SERVICE}"));
        let addresses = ["http://192.168.1.7:5004", "http://[fd00::7]:5004"];
        let there = (peer(1), addresses.map(str::to_owned).to_vec());
        assert_eq!(after(std::slice::from_ref(&come)), [there]);
        assert_eq!(after(&[come, gone]), []);
    }

    #[test]
    fn an_announcement_leads_nowhere_but_where_the_node_listens() {
        let name = peer(1).to_string();
        let come = [resolved(&name, "127.0.0.1,192.168.1.7,fd00::7,::1", 5004)];
        let here = ["http://127.0.0.1:5004", "http://[::1]:5004"];
        let elsewhere = ["http://192.168.1.7:5004", "http://[fd00::7]:5004"];
        for (listen, expected) in [
            ("127.0.0.1", here),
            ("::1", here),
            ("0.0.0.0", elsewhere),
            ("192.168.1.5", elsewhere),
        ] {
            let there = (peer(1), expected.map(str::to_owned).to_vec());
            assert_eq!(after_on(listen, &come), [there], "{listen}");
        }
        let outside = [resolved(&name, "192.168.1.7", 5004)];
        assert_eq!(after_on("127.0.0.1", &outside), []);
    }

    #[test]
    fn what_is_no_neighbour_is_left_out() {
        let itself = resolved(&peer(0).to_string(), "192.168.1.7", 5004);
        let nobody = resolved("a printer", "192.168.1.7", 5004);
        let nowhere = resolved(&peer(1).to_string(), "", 5004);
        assert_eq!(after(&[itself, nobody, nowhere]), []);
    }

    #[test]
    fn a_flood_has_an_end() {
        let ips: Vec<_> = (1..100).map(|n| format!("10.0.0.{n}")).collect();
        let flood: Vec<_> = (0..u64::try_from(2 * MAX_NEIGHBOURS).unwrap())
            .map(|n| {
                let name = uuid::Uuid::from_u64_pair(n, n).to_string();
                resolved(&name, &ips.join(","), 5004)
            })
            .collect();
        let found = after(&flood);
        assert_eq!(found.len(), MAX_NEIGHBOURS);
        assert!(found.iter().all(|(_, urls)| urls.len() == MAX_ADDRESSES));
        // Whoever comes last is there.
        let number = u64::try_from(2 * MAX_NEIGHBOURS - 1).unwrap();
        let last = uuid::Uuid::from_u64_pair(number, number).to_string();
        assert!(found.iter().any(|(id, _)| id.to_string() == last));
    }

    /// Waits until `mdns` has these neighbours.
    async fn wait_for(mdns: &Mdns, expected: &[Neighbour]) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while mdns.neighbours() != expected {
            let found = mdns.neighbours();
            assert!(Instant::now() < deadline, "{found:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn two_nodes_of_one_machine_find_each_other() {
        // A free port of their own, so that they meet nobody else.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let start = |number, listen: &str| {
            let listen = listen.parse().unwrap();
            Mdns::start(peer(number), Options { listen, port }).unwrap()
        };
        let neighbour = |number, address: &str| Neighbour {
            id: peer(number),
            addresses: vec![address.parse().unwrap()],
        };
        let one = start(1, "127.0.0.1:5004");
        let two = start(2, "127.0.0.1:5005");
        wait_for(&one, &[neighbour(2, "http://127.0.0.1:5005")]).await;
        wait_for(&two, &[neighbour(1, "http://127.0.0.1:5004")]).await;
        drop(two);
        wait_for(&one, &[]).await;
    }

    proptest! {
        #[test]
        fn an_id_is_read_of_a_name_that_has_one(
            text in "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", other in ".{0,80}",
        ) {
            let read = peer_of(&format!("{text}.{SERVICE}"));
            prop_assert_eq!(read.map(|id| id.to_string()), Some(text.clone()));
            prop_assert_eq!(peer_of(&text), None);
            prop_assert_eq!(peer_of(&format!("{text}{other}.{text}.{SERVICE}")), None);
            prop_assert_eq!(peer_of(&other), None);
        }
    }
}
