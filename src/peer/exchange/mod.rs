//! Exchanges: a few times in a period a node compares with another one, chosen in turn, whom both
//! know to be there, where, and with which holdings. Where that is the same, which it is as long as
//! nothing changes, a few bytes say so; where not, each tells the other what that one lacks.
//!
//! Nobody is told of whom the teller has not asked itself, and nobody is taken to be silent on
//! another's word: it is asked once more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep_until, timeout};
use uuid::Uuid;

use super::client::{ClientError, Json};
use super::network::Network;
use super::prefix::Prefix;
use super::registration::Registration;
use super::registry::{Introducer, Peer};
use super::sample::sample;
use crate::base_url::BaseUrl;
use crate::peer_id::PeerId;

mod answering;
mod items;
mod message;
mod news;

pub use items::Standing;
pub use message::{Answer, MAX_QUESTION, MAX_TOLD_BYTES, NoQuestion, Question};
pub use news::News;

use items::Items;
use message::{Heard, MAX_ANSWER};

/// Where nodes compare.
pub const PATH: &str = "/api/p2p/exchange";
/// With how many others a node compares in a period.
pub(super) const IN_A_PERIOD: u32 = 4;
/// How many comparisons may be under way, some of which with nodes that do not answer.
const AT_ONCE: usize = 4;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The shortest and the longest pause between two of them while there are news.
const QUICK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// What part of a period it is between these.
const QUICK_PART: u32 = 32;

/// Compares with others, for ever. A private node tells nobody whom it knows.
pub(super) async fn exchange(network: Arc<Network>, every: Duration) {
    if !network.client.reach().tells() {
        return;
    }
    network.news.set_period(every);
    let (mut round, mut due) = (Round::default(), Instant::now());
    let mut under_way = FuturesUnordered::new();
    while !network.is_leaving() {
        tokio::select! {
            () = sleep_until(due.into()) => {}
            () = network.news.heard() => {
                due = due.min(Instant::now() + pause(&network, every));
                continue;
            }
            Some(()) = under_way.next() => continue,
        }
        network.news.count_quick();
        due = Instant::now() + pause(&network, every);
        if under_way.len() < AT_ONCE
            && let Some(partner) = round.next(&network)
        {
            under_way.push(compare(&network, partner, every));
        }
    }
}

/// How long after one comparison the next one follows.
fn pause(network: &Network, every: Duration) -> Duration {
    if network.news.are_to_be_spread() {
        let (least, most) = QUICK;
        return jittered((every / QUICK_PART).clamp(least, most));
    }
    let partners = network.registry.partners().len();
    let partners = u32::try_from(partners).unwrap_or(IN_A_PERIOD);
    jittered(every / partners.clamp(1, IN_A_PERIOD))
}

/// Something between half as long and half as long again, so that nodes do not keep step.
fn jittered(pause: Duration) -> Duration {
    let percent = u32::try_from(Uuid::new_v4().as_u64_pair().1 % 101).unwrap_or(50);
    pause / 100 * (50 + percent)
}

/// Whose turn it is: each has its own before anybody has another, in an order left to chance.
#[derive(Debug, Default)]
struct Round(VecDeque<PeerId>);

impl Round {
    fn next(&mut self, network: &Network) -> Option<Peer> {
        for again in [false, true] {
            while let Some(id) = self.0.pop_front() {
                let partner = network.registry.get(id).filter(Peer::exchanges);
                if partner.is_some() {
                    return partner;
                }
            }
            if !again {
                let partners = network.registry.partners();
                let count = partners.len();
                self.0.extend(sample(partners, count));
            }
        }
        None
    }
}

/// Compares with a peer that the operator has named, if it is known to do so; not where it has
/// answered within this period already. None where it has to be asked in another way.
pub(super) async fn with_named(
    network: &Network,
    address: &BaseUrl,
    every: Duration,
) -> Option<Result<(), ClientError>> {
    let is_there = |peer: &Peer| peer.exchanges() && peer.address() == address;
    let partner = network.registry.first(is_there)?;
    if !network.client.reach().tells() {
        return None;
    }
    let reached = network.registry.reaches(partner.id());
    if reached.is_some_and(|(reaches, tried)| reaches && tried.elapsed() < every) {
        return Some(Ok(()));
    }
    let partner = &partner;
    let comparison = Comparison {
        network,
        partner,
        every,
    };
    Some(comparison.run().await)
}

async fn compare(network: &Network, partner: Peer, every: Duration) {
    let comparing = Comparison {
        network,
        partner: &partner,
        every,
    };
    let failed = match timeout(PATIENCE, comparing.run()).await {
        Ok(Ok(())) => return network.news.exchanges.count(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it takes too long".to_owned(),
    };
    network.news.failed.count();
    tracing::debug!(peer = %partner.id(), error = failed, "no exchange");
    // It is asked what it holds, and counts as silent where that is in vain as well.
    if network.registry.doubt(partner.id(), Duration::ZERO) {
        network.met.send_replace(());
    }
}

/// One comparison with another node.
struct Comparison<'a> {
    network: &'a Network,
    partner: &'a Peer,
    every: Duration,
}

impl Comparison<'_> {
    async fn run(&self) -> Result<(), ClientError> {
        let (network, salt) = (self.network, Uuid::new_v4().as_u64_pair().1);
        let items = network.items(salt);
        let mut opening = Question::opening(network.peer_id().to_string(), salt, &items);
        let changed = network.own_version.changed_within(2 * self.every);
        opening.holdings = changed.and_then(|now| network.holdings(now));
        let answer = self.ask(&opening).await?;
        let heard: Heard<'_> = answer.read()?;
        network.answered(self.partner.id());
        let tried = heard.tried_ms_ago.map(Duration::from_millis);
        let word = heard.reachable.map(|reached| (reached, tried));
        network.note_word(self.partner.address(), word, self.every);
        if heard.same {
            network.registry.all_seen();
            return Ok(());
        }
        if let Some(this) = heard.teller() {
            if let Some(told) = &this.holdings {
                // Also where the rest is not taken, as where its clock is far ahead.
                network.hear_holdings(self.partner.id(), told);
            }
            let place = Prefix::of(self.partner.address()).narrow;
            self.meet(this, Introducer::Itself(Some(place)));
        }
        let (items, root, buckets) = (network.items(salt), heard.root(), heard.buckets());
        if root == Some(items.root()) || buckets.is_empty() {
            return Ok(());
        }
        self.compare_buckets(&opening, &items, &buckets).await
    }

    async fn compare_buckets(
        &self,
        opening: &Question,
        items: &Items,
        buckets: &[u64],
    ) -> Result<(), ClientError> {
        let network = self.network;
        let count = buckets.len();
        let own = items.buckets(count);
        let differing = (0..count).filter(|it| own.get(*it) != buckets.get(*it));
        let differing: Vec<_> = differing.collect();
        let listed = items.of_buckets(&differing, count);
        let numbers = |standing| {
            let such = listed.iter().filter(move |it| it.standing == standing);
            items::write(such.map(|it| it.number).take(message::MAX_NUMBERS))
        };
        let opening = Question {
            holdings: None,
            ..opening.clone()
        };
        let question = Question {
            buckets: Some(count as u64),
            differing: differing.iter().map(|it| *it as u64).collect(),
            there: numbers(Standing::There),
            untried: numbers(Standing::Untried),
            ..opening.clone()
        };
        let answer = self.ask(&question).await?;
        let heard: Heard<'_> = answer.read()?;
        let told = heard.registrations();
        let silent = self.take(told, items);
        let peers = network.registrations_of(&heard.wanted(), items);
        if peers.is_empty() && silent.is_empty() {
            return Ok(());
        }
        let question = Question {
            peers,
            silent: items::write(silent),
            ..opening.clone()
        };
        let answer = self.ask(&question).await?;
        let heard: Heard<'_> = answer.read()?;
        network.doubt_those(&heard.silent(), items, true);
        Ok(())
    }

    /// Takes in who is there by the other's word, and tells the numbers of those who do not answer
    /// this node, which asks them once more.
    fn take(&self, told: Vec<Registration>, items: &Items) -> Vec<u64> {
        let by = Introducer::Other(Prefix::of(self.partner.address()).narrow);
        let ids = told.iter().map(|it| items.number_of(it));
        let numbers: Vec<_> = ids.collect();
        for registration in told {
            self.meet(registration, by);
        }
        let numbers = numbers.into_iter().flatten();
        let silent = numbers.filter(|(id, _)| self.network.is_silent_at(*id, self.every));
        silent.map(|(_, number)| number).collect()
    }

    fn meet(&self, registration: Registration, by: Introducer) {
        let near = self.partner.address().is_loopback();
        if let Err(error) = self.network.meet(registration, by, near) {
            tracing::debug!(%error, "a registration is not taken");
        }
    }

    async fn ask(&self, question: &Question) -> Result<Json, ClientError> {
        let (id, address) = (self.partner.id(), self.partner.address());
        let client = &self.network.client;
        client
            .post_to(id, address, PATH, question, MAX_ANSWER)
            .await
    }
}
