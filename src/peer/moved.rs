//! Telling each peer that answers where this node is.
//!
//! Who knows this node from before asks it where it was then, and nobody else may know both. So
//! each peer is told once that answers and does not compare whom it knows with others, whoever
//! named it, and again when it has been away. As long
//! as another node speaks with this node's key, each is told again and again: nobody learns from
//! one word of each of the two that both are there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use reqwest::StatusCode;
use tokio::time::timeout;

use super::client::ClientError;
use super::greeting::greet;
use super::network::Network;
use super::registry::Peer;
use crate::base_url::BaseUrl;
use crate::open_files;
use crate::peer_id::PeerId;

/// How many peers are told at once.
const AT_ONCE: usize = 16;
/// How long one may take to hear it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between two tries, in periods.
const MAX_PAUSE: u32 = 8;

/// Who was told, where they were then.
#[derive(Default)]
pub(super) struct Words(HashMap<PeerId, Word>);

struct Word {
    to: BaseUrl,
    /// Whether it has heard it.
    heard: bool,
    /// When it is told again, if it has to be.
    again: Option<Instant>,
    /// How often it was told.
    times: u32,
}

/// Tells a node that has this node's key, too, where this one is. Others take both for one, and
/// may tell each of the two of itself alone; whoever learns of the other makes it known to both.
pub(super) async fn tell_the_copy(network: &Network, every: Duration) {
    let Some(other) = network.copied_key.other() else {
        return;
    };
    if network.is_leaving() || !network.client.reach().tells() {
        return;
    }
    match timeout(PATIENCE, greet(network, &other, every)).await {
        Ok(Ok(teller)) => network.hear_of_copy(&other, teller),
        // Somebody is there who hears it later.
        Ok(Err(ClientError::Status(StatusCode::TOO_MANY_REQUESTS, _))) => {}
        Ok(Err(error)) => {
            tracing::debug!(%other, %error, "does not hear that its key is this node's, too");
            network.copied_key.in_vain(&other, every);
        }
        Err(_) => network.copied_key.in_vain(&other, every),
    }
}

impl Words {
    /// Tells those that answer and have not heard it yet, or shall hear it again.
    pub(super) async fn tell(&mut self, network: &Arc<Network>, every: Duration) {
        if !network.client.reach().tells() {
            return;
        }
        let answering = network.registry.some_answering(usize::MAX);
        let ids: HashSet<_> = answering.iter().map(Peer::id).collect();
        self.0.retain(|id, _| ids.contains(id));
        let is_double = network.copied_key.other().is_some();
        let due = answering.into_iter();
        let due: Vec<_> = due.filter(|it| self.is_due(it, is_double)).collect();
        let told = stream::iter(due).map(|peer| async move {
            let heard = timeout(PATIENCE, greet(network, peer.address(), every)).await;
            let heard = heard.ok().map(|it| it.map(drop));
            (peer, heard)
        });
        let mut told = told.buffer_unordered(open_files::shares().of_peers(AT_ONCE));
        while let Some((peer, heard)) = told.next().await {
            if network.is_leaving() {
                return;
            }
            self.note(&peer, heard.as_ref(), every);
        }
    }

    /// Whether a peer shall be told; `is_double` where another node has this node's key.
    fn is_due(&self, peer: &Peer, is_double: bool) -> bool {
        // Others compare whom they know, and so hear of this node as soon as one of them does.
        if peer.exchanges() && !is_double {
            return false;
        }
        self.0.get(&peer.id()).is_none_or(|word| {
            let again = word.again.is_some_and(|at| at <= Instant::now());
            again && (is_double || !word.heard) || word.to != *peer.address()
        })
    }

    fn note(&mut self, peer: &Peer, heard: Option<&Result<(), ClientError>>, every: Duration) {
        let is_heard = match heard {
            Some(Ok(())) => true,
            // An older one has no such route; one that was told too much hears it later.
            Some(Err(ClientError::Status(status, _))) => *status != StatusCode::TOO_MANY_REQUESTS,
            _ => false,
        };
        if let Some(Err(error)) = heard {
            tracing::debug!(peer = %peer.id(), %error, "does not hear where this node is");
        }
        let before = self.0.get(&peer.id()).filter(|it| it.to == *peer.address());
        let times = before.map_or(0, |it| it.times).saturating_add(1);
        let pause = every.saturating_mul(2_u32.saturating_pow(times - 1).min(MAX_PAUSE));
        let word = Word {
            to: peer.address().clone(),
            heard: is_heard,
            again: Instant::now().checked_add(pause),
            times,
        };
        self.0.insert(peer.id(), word);
    }
}
