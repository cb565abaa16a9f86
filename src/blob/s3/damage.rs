//! What is known of damage, for as long as the process lives: an index remembers it beyond.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::health::{Findings, Health};
use crate::metrics::Counter;
use crate::place::Place;

/// The places of which what belongs there is known to be damaged, or not to be there.
#[derive(Default)]
pub(super) struct Damage {
    places: Mutex<BTreeSet<Place>>,
    /// How often damage was found.
    pub(super) found: Counter,
    findings: OnceLock<Arc<dyn Findings>>,
}

impl Damage {
    pub(super) fn is_known(&self, place: Place) -> bool {
        self.places.lock().contains(&place)
    }

    /// Remembers that what belongs in a place is damaged; tells whether that is news.
    pub(super) fn mark(&self, place: Place) -> bool {
        let mut places = self.places.lock();
        self.found.count();
        let is_news = places.insert(place);
        self.report(place, Health::Damaged);
        is_news
    }

    /// What belongs in a place was written there. That is told where it was known to be damaged
    /// alone: of what is new an index hears otherwise, and what others have found since would be
    /// overruled by whoever is late with it.
    pub(super) fn written(&self, place: Place) {
        if self.is_known(place) {
            self.clear(place);
        }
    }

    /// What is in a place is whole, or nothing is there that could be damaged.
    pub(super) fn clear(&self, place: Place) {
        let mut places = self.places.lock();
        places.remove(&place);
        self.report(place, Health::Whole);
    }

    /// The same of an object, and of all contents in it if that is a pack.
    pub(super) fn clear_all(&self, object: Place) {
        let mut places = self.places.lock();
        let of_it = places
            .range(object..)
            .take_while(|it| it.object() == object);
        for place in of_it.copied().collect::<Vec<_>>() {
            places.remove(&place);
            if place != object {
                self.report(place, Health::Whole);
            }
        }
        self.report(object, Health::Whole);
    }

    /// Tells from now on of damage, and where it is mended; first of all what is known.
    pub(super) fn report_to(&self, findings: Arc<dyn Findings>) {
        let places = self.places.lock();
        // Whoever is told already stays so.
        let findings = self.findings.get_or_init(|| findings);
        for place in &*places {
            findings.found(*place, Health::Damaged);
        }
    }

    /// Under the lock, so that what is told last is so.
    fn report(&self, place: Place, health: Health) {
        if let Some(findings) = self.findings.get() {
            findings.found(place, health);
        }
    }
}
