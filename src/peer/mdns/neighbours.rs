//! Who was found on the local network, and whose turn it is to be asked.
//!
//! Anybody on the network can make neighbours up, as fast as he likes, and say of others where they
//! are or that they are gone. So whoever was found is asked once, whatever is said of it meanwhile;
//! those of each address have their turns; and where there are too many, one of the address with
//! the most gives way, those that were asked already first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ServiceEvent};

use super::daemon::SERVICE;
use crate::base_url::BaseUrl;
use crate::peer::address::Policy;
use crate::peer::prefix::{Key, Prefix};
use crate::peer::turns::{Claim, in_turn};
use crate::peer_id::PeerId;

/// The most neighbours remembered.
const MAX_NEIGHBOURS: usize = 256;
/// The most addresses taken of one.
const MAX_ADDRESSES: usize = 4;
/// How long a neighbour may be missed that is not known to be gone: as long as what it told of
/// itself is good for (RFC 6762, section 10).
const DOUBTED: Duration = Duration::from_mins(2);
/// The longest pause between two questions to one that does not answer, in periods.
const MAX_PAUSE: u32 = 8;

/// A node that seems to be on the same network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The id that it tells.
    pub id: PeerId,
    /// Where it may be reached, the likeliest address first; at least one.
    pub addresses: Vec<BaseUrl>,
}

/// A neighbour that is being asked who it is.
#[derive(Debug)]
pub struct Asked {
    /// Who.
    pub neighbour: Neighbour,
    /// Whether it was asked before, in vain.
    pub again: bool,
}

/// A peer and the first place where it is said to be: what others say of the same peer takes
/// nothing from it.
type Name = (PeerId, Key);

/// Where a neighbour is.
#[derive(Debug)]
struct Place {
    addresses: Vec<BaseUrl>,
    /// The address of the first, whatever its port.
    host: Key,
    /// Counts what was found, for the order.
    found: u64,
    /// Since when nobody would be told if it were gone.
    doubted: Option<Instant>,
    /// Whether it is said to be gone: it is forgotten once it was asked.
    gone: bool,
    /// When it was asked last.
    asked: Option<Instant>,
    /// How often it was.
    times: u32,
    under_way: bool,
}

/// Who was found.
#[derive(Debug)]
pub(super) struct Neighbours {
    own: PeerId,
    /// Where this node listens: who is elsewhere cannot be heard there.
    listen: IpAddr,
    places: BTreeMap<Name, Place>,
    /// How many are at each address.
    crowds: HashMap<Key, usize>,
    found: u64,
}

impl Place {
    fn is_due(&self, every: Duration, now: Instant) -> bool {
        let pause = 2_u32.saturating_pow(self.times.saturating_sub(1));
        let pause = every.saturating_mul(pause.min(MAX_PAUSE));
        let rested = |at| now.saturating_duration_since(at) >= pause;
        !self.under_way && self.asked.is_none_or(rested)
    }

    fn claim(&self, name: &Name) -> Claim<Key> {
        Claim {
            source: self.host,
            weak: false,
            announced: name.1,
        }
    }
}

impl Neighbours {
    pub(super) fn new(own: PeerId, listen: IpAddr) -> Self {
        Self {
            own,
            listen,
            places: BTreeMap::new(),
            crowds: HashMap::new(),
            found: 0,
        }
    }

    /// All of them, in the order of their ids.
    pub(super) fn all(&self) -> Vec<Neighbour> {
        let all = self.places.iter();
        all.map(|((id, _), place)| Neighbour {
            id: *id,
            addresses: place.addresses.clone(),
        })
        .collect()
    }

    /// Takes in what was found; whether somebody gave way whom nobody has asked yet.
    pub(super) fn take(&mut self, event: &ServiceEvent) -> bool {
        match event {
            ServiceEvent::ServiceResolved(service) => return self.resolved(service),
            ServiceEvent::ServiceRemoved(_, name) => {
                if let Some(id) = peer_of(name) {
                    self.gone(id);
                }
            }
            _ => {}
        }
        false
    }

    fn resolved(&mut self, service: &ResolvedService) -> bool {
        let Some(id) = peer_of(&service.fullname).filter(|id| *id != self.own) else {
            return false;
        };
        let addresses = addresses(service, self.listen);
        let Some((first, host)) = addresses.first().and_then(|it| Some((it, host_of(it)?))) else {
            return false;
        };
        let name = (id, Prefix::of(first).exact);
        if let Some(known) = self.places.get_mut(&name) {
            (known.addresses, known.doubted, known.gone) = (addresses, None, false);
            return false;
        }
        let lost = self.places.len() >= MAX_NEIGHBOURS && self.make_room();
        self.found += 1;
        *self.crowds.entry(host).or_default() += 1;
        let place = Place {
            addresses,
            host,
            found: self.found,
            doubted: None,
            gone: false,
            asked: None,
            times: 0,
            under_way: false,
        };
        self.places.insert(name, place);
        lost
    }

    /// Has one give way; whether nobody has asked it yet.
    fn make_room(&mut self) -> bool {
        let crowd = |it: &Place| self.crowds.get(&it.host).copied().unwrap_or(0);
        let all = self.places.iter();
        let first = all.max_by_key(|(_, it)| (it.times > 0, crowd(it), Reverse(it.found)));
        let Some(name) = first.map(|(name, _)| *name) else {
            return false;
        };
        self.remove(&name).is_some_and(|it| it.times == 0)
    }

    fn remove(&mut self, name: &Name) -> Option<Place> {
        let place = self.places.remove(name)?;
        if let Some(count) = self.crowds.get_mut(&place.host) {
            *count -= 1;
            if *count == 0 {
                self.crowds.remove(&place.host);
            }
        }
        Some(place)
    }

    fn gone(&mut self, id: PeerId) {
        let of_it = self.places.iter_mut().filter(|((it, _), _)| *it == id);
        of_it.for_each(|(_, place)| place.gone = true);
        self.forget_gone();
    }

    fn forget_gone(&mut self) {
        self.forget(|_, place| place.gone && place.times > 0 && !place.under_way);
    }

    fn forget(&mut self, which: impl Fn(&Name, &Place) -> bool) {
        let such = self
            .places
            .iter()
            .filter(|(name, place)| which(name, place));
        let such: Vec<_> = such.map(|(name, _)| *name).collect();
        for name in such {
            self.remove(&name);
        }
    }

    pub(super) fn doubt(&mut self, now: Instant) {
        let known = self.places.values_mut();
        known.for_each(|it| it.doubted = it.doubted.or(Some(now)));
    }

    /// Forgets those that were not found again since they are doubted.
    pub(super) fn forget_doubted(&mut self, now: Instant) {
        self.forget(|_, it| {
            let since = it.doubted.map(|since| now.saturating_duration_since(since));
            since.is_some_and(|it| it >= DOUBTED)
        });
    }

    /// At most so many that are to be asked at `now`, which are noted as being asked.
    pub(super) fn next(
        &mut self,
        limit: usize,
        every: Duration,
        now: Instant,
        known: impl Fn(PeerId) -> bool,
    ) -> Vec<Asked> {
        // They may have been known before they were asked.
        self.forget(|name, place| place.gone && !place.under_way && known(name.0));
        let claims = |which: &dyn Fn(&Name, &Place) -> bool| {
            let such = self.places.iter().filter(|(name, it)| which(name, it));
            such.map(|(name, it)| (it.claim(name), *name)).collect()
        };
        let busy: Vec<(Claim<Key>, Name)> = claims(&|_, it| it.under_way);
        let busy = || busy.iter().map(|(claim, _)| *claim);
        let due = |name: &Name, it: &Place| it.is_due(every, now) && !known(name.0);
        let new = claims(&|name, it| it.times == 0 && due(name, it));
        let again = claims(&|name, it| it.times > 0 && due(name, it));
        let mut next = in_turn(new, busy(), limit);
        next.extend(in_turn(again, busy(), limit - next.len()));
        let asked = next.into_iter().filter_map(|name| {
            let place = self.places.get_mut(&name)?;
            (place.asked, place.under_way) = (Some(now), true);
            let again = place.times > 0;
            place.times = place.times.saturating_add(1);
            let (id, addresses) = (name.0, place.addresses.clone());
            Some(Asked {
                neighbour: Neighbour { id, addresses },
                again,
            })
        });
        asked.collect()
    }

    /// Notes that one was asked.
    pub(super) fn ended(&mut self, neighbour: &Neighbour) {
        let first = neighbour.addresses.first().map(|it| Prefix::of(it).exact);
        let place = first.and_then(|first| self.places.get_mut(&(neighbour.id, first)));
        if let Some(place) = place {
            place.under_way = false;
        }
        self.forget_gone();
    }
}

/// The address of a URL, whatever its port; what multicast DNS tells has one.
fn host_of(url: &BaseUrl) -> Option<Key> {
    let host = url.host()?;
    let host: BaseUrl = format!("http://{host}").parse().ok()?;
    Some(Prefix::of(&host).exact)
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

    const EVERY: Duration = Duration::from_secs(1);

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
        // Whoever says goodbye is gone once it was asked.
        for asked in neighbours.next(usize::MAX, EVERY, Instant::now(), |_| false) {
            neighbours.ended(&asked.neighbour);
        }
        let shown = |addresses: Vec<BaseUrl>| addresses.iter().map(BaseUrl::to_string).collect();
        let found = neighbours.all().into_iter();
        found.map(|it| (it.id, shown(it.addresses))).collect()
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

    /// Made-up neighbours, each at the address that this makes of its number.
    fn flood(many: u64, at: impl Fn(u64) -> (String, u16)) -> Vec<ServiceEvent> {
        let made_up = (0..many).map(|number| {
            let name = uuid::Uuid::from_u64_pair(number, number).to_string();
            let (ip, port) = at(number);
            resolved(&name, &ip, port)
        });
        made_up.collect()
    }

    fn empty() -> Neighbours {
        Neighbours::new(peer(0), [0, 0, 0, 0].into())
    }

    fn asked(neighbours: &mut Neighbours, limit: usize, now: Instant) -> Vec<PeerId> {
        let next = neighbours.next(limit, EVERY, now, |_| false);
        next.iter().map(|it| it.neighbour.id).collect()
    }

    #[test]
    fn a_flood_at_few_addresses_takes_no_place_and_no_turn_of_another() {
        let mut neighbours = empty();
        let mut lost = false;
        for (number, event) in flood(5000, |it| (format!("10.0.0.{}", it % 9), 5004))
            .iter()
            .enumerate()
        {
            lost |= neighbours.take(event);
            if number == 300 {
                neighbours.take(&resolved(&peer(1).to_string(), "10.0.0.77", 5004));
            }
        }
        assert!(lost && neighbours.places.len() == MAX_NEIGHBOURS);
        let first = asked(&mut neighbours, 10, Instant::now());
        assert!(first.contains(&peer(1)), "{first:?}");
    }

    #[test]
    fn whoever_was_found_is_asked_once_whatever_others_say_of_it() {
        let mut neighbours = empty();
        let name = peer(1).to_string();
        neighbours.take(&resolved(&name, "10.0.0.77", 5004));
        neighbours.take(&resolved(&name, "10.0.0.66", 5004));
        let gone = ServiceEvent::ServiceRemoved(SERVICE.to_owned(), format!("{name}.{SERVICE}"));
        neighbours.take(&gone);
        let asked = neighbours.next(9, EVERY, Instant::now(), |_| false);
        let there = asked.iter().filter(|it| {
            let first = it.neighbour.addresses.first();
            first.is_some_and(|it| it.to_string() == "http://10.0.0.77:5004")
        });
        assert_eq!((asked.len(), there.count()), (2, 1));
        for asked in &asked {
            neighbours.ended(&asked.neighbour);
        }
        assert_eq!(neighbours.all(), []);
        assert!(neighbours.crowds.is_empty());
    }

    #[test]
    fn one_that_does_not_answer_is_asked_again_less_and_less_often() {
        let mut neighbours = empty();
        neighbours.take(&resolved(&peer(1).to_string(), "10.0.0.77", 5004));
        let start = Instant::now();
        let mut at = Vec::new();
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            for asked in neighbours.next(9, EVERY, now, |_| false) {
                assert_eq!(asked.again, !at.is_empty());
                neighbours.ended(&asked.neighbour);
                at.push(second);
            }
        }
        assert_eq!(at, [0, 1, 3, 7, 15, 23, 31, 39]);
        // Whoever is known is not asked.
        let later = start + Duration::from_hours(1);
        assert!(neighbours.next(9, EVERY, later, |_| true).is_empty());
        // Nor one that is being asked.
        assert_eq!(neighbours.next(9, EVERY, later, |_| false).len(), 1);
        let later = later + Duration::from_hours(1);
        assert!(neighbours.next(9, EVERY, later, |_| false).is_empty());
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
