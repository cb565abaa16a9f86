//! How often one address may ask, by the generic cell rate algorithm: a bucket for each
//! client, kept as the moment at which it will be full again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::clients::network_of;

/// A client that was silent for so long has this time's requests at once.
const BURST: Duration = Duration::from_secs(10);
/// The most clients remembered.
const MAX_CLIENTS: usize = 16_384;

/// A limit of requests for each client: an IPv4 address, or a /64 of IPv6, which is what
/// one customer gets.
#[derive(Debug)]
pub struct RateLimit {
    /// The time that one request takes out of [`BURST`]; zero is no limit.
    interval: Duration,
    /// When each client will again have all of [`BURST`].
    full_again: Mutex<HashMap<IpAddr, Instant>>,
}

/// The client asked too often; the next request is taken after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOften(pub Duration);

impl RateLimit {
    /// A limit of so many requests a second, if there is one.
    pub fn new(per_second: Option<NonZeroU32>) -> Self {
        Self {
            interval: per_second.map_or(Duration::ZERO, |it| Duration::from_secs(1) / it.get()),
            full_again: Mutex::default(),
        }
    }

    /// Takes a request of a client, if it has one left at `now`. A refused one is not
    /// counted, so that whoever waits as told is taken.
    pub fn take(&self, client: IpAddr, now: Instant) -> Result<(), TooOften> {
        if self.interval.is_zero() {
            return Ok(());
        }
        let mut clients = self.full_again.lock();
        let client = network_of(client);
        let full = clients.get(&client).copied().unwrap_or(now);
        let owed = full.saturating_duration_since(now) + self.interval;
        let wait = owed.saturating_sub(BURST);
        if !wait.is_zero() {
            return Err(TooOften(wait));
        }
        if clients.len() >= MAX_CLIENTS {
            make_room(&mut clients, now);
        }
        clients.insert(client, now + owed);
        Ok(())
    }
}

/// Forgets those whom nothing is held against. If that leaves more than half, all are
/// forgotten: whoever has so many addresses is stopped by no limit of one, and a full table
/// that is looked through for each request would serve him better.
fn make_room(clients: &mut HashMap<IpAddr, Instant>, now: Instant) {
    clients.retain(|_, full| *full > now);
    if clients.len() > MAX_CLIENTS / 2 {
        clients.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u32) -> RateLimit {
        RateLimit::new(NonZeroU32::new(per_second))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many requests are taken before one is refused, and how long it has to wait.
    fn taken(limit: &RateLimit, client: &str, now: Instant) -> (usize, Duration) {
        let mut refusals = (0..100_000).map(|n| (n, limit.take(ip(client), now)));
        let refused = refusals.find_map(|(n, it)| Some((n, it.err()?.0)));
        refused.unwrap_or((usize::MAX, Duration::ZERO))
    }

    #[test]
    fn who_was_silent_has_ten_seconds_at_once_and_then_one_after_the_other() {
        let (limit, start) = (limit(4), Instant::now());
        let quarter = Duration::from_millis(250);
        assert_eq!(taken(&limit, "10.0.0.1", start), (40, quarter));
        let refused = limit.take(ip("10.0.0.1"), start + quarter / 5);
        assert_eq!(refused, Err(TooOften(quarter / 5 * 4)));
        assert_eq!(taken(&limit, "10.0.0.1", start + quarter), (1, quarter));
        let later = start + Duration::from_secs(3);
        assert_eq!(taken(&limit, "10.0.0.1", later), (11, quarter));
        let much_later = start + Duration::from_hours(1);
        assert_eq!(taken(&limit, "10.0.0.1", much_later), (40, quarter));
    }

    #[test]
    fn one_client_takes_nothing_from_another() {
        let (limit, now) = (limit(1), Instant::now());
        for client in ["10.0.0.1", "10.0.0.2", "2001:db8:0:1::1", "2001:db8:0:2::1"] {
            assert_eq!(taken(&limit, client, now).0, 10, "{client}");
        }
        // Those of one customer, and one address written in two ways, are one client.
        for client in ["2001:db8:0:1:ffff::1", "::ffff:10.0.0.1"] {
            assert_eq!(taken(&limit, client, now).0, 0, "{client}");
        }
    }

    #[test]
    fn without_a_limit_nothing_is_refused_or_remembered() {
        let limit = RateLimit::new(None);
        assert_eq!(taken(&limit, "10.0.0.1", Instant::now()).0, usize::MAX);
        assert!(limit.full_again.lock().is_empty());
    }

    #[test]
    fn a_flood_of_addresses_has_an_end() {
        let (limit, mut now) = (limit(1000), Instant::now());
        let exhausted = taken(&limit, "192.168.0.1", now);
        assert_eq!(exhausted, (10_000, Duration::from_millis(1)));
        for number in 0..4 * u32::try_from(MAX_CLIENTS).unwrap() {
            now += Duration::from_micros(1);
            limit.take(IpAddr::from(number.to_be_bytes()), now).unwrap();
            assert!(limit.full_again.lock().len() <= MAX_CLIENTS);
        }
    }

    #[test]
    fn who_asked_too_often_is_remembered_while_others_come_and_go() {
        let (limit, start) = (limit(1000), Instant::now());
        taken(&limit, "192.168.0.1", start);
        // As many as the table holds, but each only once, so that they are soon forgotten.
        for number in 0..u32::try_from(MAX_CLIENTS).unwrap() {
            let now = start + Duration::from_micros(10) * number;
            limit.take(IpAddr::from(number.to_be_bytes()), now).unwrap();
        }
        let owed = taken(&limit, "192.168.0.1", start + Duration::from_millis(164));
        assert_eq!(owed.0, 164);
    }
}
