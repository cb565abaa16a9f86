//! Answering those who compare.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::items::{self, Items, MAX_BUCKETS, Standing};
use super::message::{self, Answer, MAX_TOLD, NoQuestion, Question};
use crate::peer::holdings::Holdings;
use crate::peer::network::Network;
use crate::peer::registration::Registration;
use crate::peer::registry::{Introducer, Peer};
use crate::peer::sample::sample;
use crate::peer_id::PeerId;

impl Items {
    /// The number of a peer that has told this, if it may have one.
    pub(super) fn number_of(&self, told: &Registration) -> Option<(PeerId, u64)> {
        let id = told.peer_id.parse().ok()?;
        let mut alone = Self::new(self.salt());
        alone.add_told(id, Standing::There, told);
        Some((id, alone.root()))
    }

    fn add_told(&mut self, id: PeerId, standing: Standing, told: &Registration) {
        let version = told.holdings.as_ref().map_or(0, |it| it.version);
        let membership = told.membership.as_deref().unwrap_or_default();
        self.add((id, standing), (&told.address, version, membership));
    }
}

impl Network {
    /// What this node knows: of itself, and of those who sign what they tell.
    pub(super) fn items(&self, salt: u64) -> Items {
        let mut items = Items::new(salt);
        // The number of its registration, without signing one for that.
        let address = self.base_url().to_string();
        let version = self.told_version().unwrap_or(0);
        let membership = self.membership().unwrap_or_default();
        let own = (self.peer_id(), Standing::There);
        items.add(own, (&address, version, &membership));
        self.registry.each(|peer, standing| {
            if peer.verified() {
                items.add_told(peer.id(), standing, &peer.told.registration);
            }
        });
        items
    }

    /// Answers one that compares, and takes in what it tells. `from` is where it came from; it is
    /// `near` on loopback.
    pub fn compare(
        &self,
        question: Question,
        from: Introducer,
        near: bool,
    ) -> Result<Answer, NoQuestion> {
        let asker: PeerId = question.peer_id.parse().map_err(|_| NoQuestion::PeerId)?;
        let [there, untried] = question.numbers()?;
        let salt = message::one(&question.salt).ok_or(NoQuestion::Numbers("salt"))?;
        let root = message::one(&question.root).ok_or(NoQuestion::Numbers("root"))?;
        if question.peers.len() > MAX_TOLD {
            return Err(NoQuestion::TooMany);
        }
        if let Some(told) = &question.holdings {
            self.hear_holdings(asker, told);
        }
        let items = self.items(salt);
        if !question.peers.is_empty() || !question.silent.is_empty() {
            let silent = items::read(&question.silent, message::MAX_NUMBERS);
            let silent = silent.ok_or(NoQuestion::Numbers("silent"))?;
            self.doubt_those(&silent, &items, false);
            return Ok(self.take_told(question.peers, &items, from, near));
        }
        if let Some(count) = question.buckets {
            let (count, differing) = buckets_of(count, &question.differing)?;
            return Ok(self.lists(&items, count, &differing, &there, &untried));
        }
        let tried = self.registry.reaches(asker);
        let mut answer = Answer {
            same: root == items.root(),
            reachable: tried.map(|(reached, _)| reached),
            tried_ms_ago: tried.map(|(_, tried)| {
                u64::try_from(tried.elapsed().as_millis() + 1).unwrap_or(u64::MAX)
            }),
            ..Answer::default()
        };
        if !answer.same {
            answer.this = Some(self.myself());
            answer.root = items::write([items.root()]);
            answer.buckets = items::write(items.buckets(items.count()));
        }
        Ok(answer)
    }

    /// Takes in what a known peer holds, where it has signed that.
    pub(super) fn hear_holdings(&self, id: PeerId, told: &Holdings) {
        let Some(peer) = self.registry.get(id).filter(Peer::verified) else {
            return;
        };
        let key = peer.told.registration.proof.public_key.as_deref();
        if told.check(id, key).is_ok() {
            self.registry.tells(id, told);
        }
    }

    /// What each of the two lacks of some buckets, where the other has told what it knows of them.
    fn lists(
        &self,
        items: &Items,
        count: usize,
        differing: &[usize],
        there: &[u64],
        untried: &[u64],
    ) -> Answer {
        let known: HashSet<_> = there.iter().chain(untried).copied().collect();
        let listed = items.of_buckets(differing, count);
        let own: HashMap<_, _> = listed.iter().map(|it| (it.number, it.standing)).collect();
        let lacked = listed
            .iter()
            .filter(|it| it.standing == Standing::There && !known.contains(&it.number));
        let lacked: Vec<_> = lacked.map(|it| it.number).collect();
        let wanted = there.iter().filter(|it| {
            own.get(it)
                .is_none_or(|standing| *standing == Standing::Silent)
        });
        Answer {
            peers: self.registrations_of(&lacked, items),
            wanted: items::write(sample(wanted.copied().collect(), MAX_TOLD)),
            ..Answer::default()
        }
    }

    /// Takes in registrations, and tells the numbers of those who do not answer here.
    fn take_told(
        &self,
        told: Vec<Registration>,
        items: &Items,
        from: Introducer,
        near: bool,
    ) -> Answer {
        let numbers: Vec<_> = told.iter().map(|it| items.number_of(it)).collect();
        for registration in told {
            if let Err(error) = self.meet(registration, from, near) {
                tracing::debug!(%error, "a registration is not taken");
            }
        }
        let numbers = numbers.into_iter().flatten();
        let every = self.news.period();
        let silent = numbers.filter(|(id, _)| self.is_silent_at(*id, every));
        Answer {
            silent: items::write(silent.map(|(_, number)| number)),
            ..Answer::default()
        }
    }

    /// The registrations of those who are there and have these numbers, as many as one message may
    /// have.
    pub(super) fn registrations_of(&self, numbers: &[u64], items: &Items) -> Vec<Registration> {
        let wanted: HashSet<_> = numbers.iter().copied().collect();
        let there = items.there().filter(|it| wanted.contains(&it.number));
        // Any of them, so that not all nodes hear of the same ones first.
        let some = sample(there.collect(), MAX_TOLD).into_iter();
        let registrations = some.filter_map(|it| {
            if it.id == self.peer_id() {
                return Some(self.myself());
            }
            let peer = self.registry.get(it.id)?;
            Some(peer.told.registration)
        });
        message::some_of(registrations)
    }

    /// Whether a peer does not answer this node although another says that it is there; then it is
    /// asked once more, and no oftener than once in a period.
    pub(super) fn is_silent_at(&self, id: PeerId, every: Duration) -> bool {
        let is_silent = self.registry.standing(id) == Some(Standing::Silent);
        if is_silent && self.registry.doubt(id, every) {
            self.met.send_replace(());
        }
        is_silent
    }

    /// Asks those once more that do not answer another, who has perhaps proven who it is.
    pub(super) fn doubt_those(&self, numbers: &[u64], items: &Items, is_proven: bool) {
        let silent: HashSet<_> = numbers.iter().copied().collect();
        let every = self.news.period();
        for item in items.there().filter(|it| silent.contains(&it.number)) {
            if item.id != self.peer_id()
                && self.news.may_doubt(is_proven)
                && self.registry.doubt(item.id, every)
            {
                self.met.send_replace(());
            }
        }
    }
}

fn buckets_of(count: u64, differing: &[u64]) -> Result<(usize, Vec<usize>), NoQuestion> {
    let count = usize::try_from(count).map_err(|_| NoQuestion::Buckets)?;
    if !(1..=MAX_BUCKETS).contains(&count) || differing.len() > count {
        return Err(NoQuestion::Buckets);
    }
    let differing = differing.iter().map(|it| {
        let number = usize::try_from(*it).map_err(|_| NoQuestion::Buckets)?;
        (number < count)
            .then_some(number)
            .ok_or(NoQuestion::Buckets)
    });
    Ok((count, differing.collect::<Result<_, _>>()?))
}
