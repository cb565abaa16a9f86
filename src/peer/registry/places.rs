//! The addresses that one key has spoken for lately. A node that moves leaves the one for good;
//! two nodes with one key, as where a storage directory is a copy of another, speak for theirs by
//! turns.

use std::time::{Duration, Instant};

use crate::peer::registration::Checked;
use crate::peer::signature::Trust;
use crate::record::Timestamp;

/// Within which time one node does not move and move back.
const SOON: Duration = Duration::from_mins(10);
/// How many addresses of one key are remembered.
const MAX_PLACES: usize = 4;
/// How often a key has spoken anew for an address that it had left when it is taken to be that of
/// two nodes.
const DOUBLE: u32 = 3;

/// What was signed with one key in the last minutes, if it names more than one address. Takes at
/// most [`MAX_PLACES`] addresses, and nothing as long as there is one only.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The one that was spoken for last is the last one.
    spoken_for: Vec<Place>,
    turns: u32,
    told: bool,
}

#[derive(Debug)]
struct Place {
    address: String,
    /// The first and the latest registration that name it, by the clock of who has signed them.
    first: Timestamp,
    latest: Timestamp,
    heard: Instant,
}

impl Place {
    fn of(told: &Checked, now: Instant) -> Self {
        Self {
            // What was signed; a private node asks at the address that its operator has named.
            address: told.registration.address.clone(),
            first: told.registered_at(),
            latest: told.registered_at(),
            heard: now,
        }
    }
}

impl Places {
    /// Notes what the key of a peer has signed, heard at `now`; `known` is what it had signed
    /// before.
    ///
    /// Two registrations of one second may name two addresses, or the clock of one be behind, and
    /// then the peer stays where it is; that both go on is seen here all the same. Whoever repeats
    /// old ones changes nothing: an address counts again only by a registration that is later than
    /// all that named it, and not before the first that named another one.
    pub(super) fn note(&mut self, known: &Checked, told: &Checked, now: Instant) {
        if known.trust != Trust::Verified || told.trust != Trust::Verified {
            return;
        }
        self.spoken_for
            .retain(|it| now.saturating_duration_since(it.heard) < SOON);
        let address = &told.registration.address;
        if self.spoken_for.is_empty() {
            *self = Self::default();
            if *address == known.registration.address {
                return;
            }
            self.spoken_for.push(Place::of(known, now));
        }
        let (at, count) = (told.registered_at(), self.spoken_for.len());
        let is_last = self
            .spoken_for
            .last()
            .is_some_and(|it| it.address == *address);
        let mut others = self.spoken_for.iter().filter(|it| it.address != *address);
        if !is_last && others.any(|it| at < it.first) {
            return;
        }
        let mut place = Place::of(told, now);
        let before = self.spoken_for.iter();
        let before = before.enumerate().find(|(_, it)| it.address == *address);
        if let Some((index, known)) = before {
            if at <= known.latest {
                return;
            }
            place.first = known.first;
            self.turns = self.turns.saturating_add(u32::from(!is_last));
            self.spoken_for.remove(index);
        } else if count == MAX_PLACES {
            self.spoken_for.remove(0);
        }
        self.spoken_for.push(place);
    }

    /// The last two addresses, where two nodes speak with the key; once.
    pub(super) fn newly_double(&mut self) -> Option<(String, String)> {
        let [.., one, other] = &self.spoken_for[..] else {
            return None;
        };
        let addresses = (one.address.clone(), other.address.clone());
        let newly = self.turns >= DOUBLE && !std::mem::replace(&mut self.told, true);
        newly.then_some(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::identity::Identity;
    use crate::peer::registration::samples;

    const ONE: &str = "http://one";
    const TWO: &str = "http://two";

    /// A node, and what was heard of it so far.
    struct Heard {
        identity: Identity,
        places: Places,
        known: Checked,
        start: Instant,
    }

    impl Heard {
        /// Of one that has registered at [`ONE`] in second 0.
        fn new() -> Self {
            let identity = Identity::generate().unwrap();
            let known = samples::signed_in_second(&identity, ONE, 0);
            Self {
                known: known.check().unwrap(),
                identity,
                places: Places::default(),
                start: Instant::now(),
            }
        }

        /// Hears a registration of that second, as many seconds after the first.
        fn hear(&mut self, address: &str, second: u8, after: u64) {
            let told = samples::signed_in_second(&self.identity, address, second);
            let now = self.start + Duration::from_secs(after);
            self.places.note(&self.known, &told.check().unwrap(), now);
        }

        fn is_double(&mut self) -> bool {
            self.places.newly_double().is_some()
        }
    }

    #[test]
    fn two_that_always_speak_in_one_second_are_seen() {
        let mut heard = Heard::new();
        for second in 0..3 {
            assert!(!heard.is_double(), "{second}");
            // Each time the one that is known already comes first.
            heard.hear(ONE, second, 0);
            heard.hear(TWO, second, 0);
        }
        let two = heard.places.newly_double();
        assert_eq!(two, Some((ONE.to_owned(), TWO.to_owned())));
        heard.hear(ONE, 9, 0);
        assert!(!heard.is_double());
    }

    #[test]
    fn two_whose_clocks_differ_are_seen() {
        for (ahead, behind) in [(ONE, TWO), (TWO, ONE)] {
            let mut heard = Heard::new();
            for second in 1..30 {
                heard.hear(ahead, second + 20, 0);
                heard.hear(behind, second, 0);
            }
            assert!(heard.is_double());
        }
    }

    #[test]
    fn three_with_one_key_are_seen() {
        let mut heard = Heard::new();
        for second in 1..4 {
            for address in [ONE, TWO, "http://three"] {
                heard.hear(address, second, 0);
            }
        }
        assert!(heard.is_double());
    }

    #[test]
    fn one_that_moves_is_one_whoever_repeats_what_it_has_signed() {
        let mut heard = Heard::new();
        let own = [(ONE, 1), (ONE, 5), (TWO, 5), (TWO, 6), (TWO, 20)];
        for told in 1..=own.len() {
            for _ in 0..3 {
                for (address, second) in &own[..told] {
                    heard.hear(address, *second, 0);
                }
            }
        }
        assert!(!heard.is_double());
        // Nor where it goes on elsewhere each time.
        for (port, second) in (1..20).zip(21..) {
            heard.hear(&format!("http://one:{port}"), second, 0);
        }
        assert!(!heard.is_double());
    }

    #[test]
    fn one_that_comes_back_now_and_then_is_one() {
        let mut heard = Heard::new();
        for (turn, second) in (1..20).zip(1..) {
            let address = if turn % 2 == 0 { ONE } else { TWO };
            heard.hear(address, second, turn * SOON.as_secs());
        }
        assert!(!heard.is_double());
    }

    #[test]
    fn however_many_addresses_are_told_of_few_are_remembered() {
        let mut heard = Heard::new();
        for port in 1..100 {
            heard.hear(&format!("http://one:{port}"), port, 0);
            assert!(heard.places.spoken_for.len() <= MAX_PLACES);
        }
        // A peer that stays takes nothing.
        let mut stays = Heard::new();
        for second in 0..100 {
            stays.hear(ONE, second, 0);
        }
        assert_eq!(stays.places.spoken_for.capacity(), 0);
    }
}
