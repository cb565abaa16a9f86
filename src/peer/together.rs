//! What nodes that are one peer tell each other of others: who is there, and that they have news.
//! Whatever a peer sends to the address of all of them reaches one.

use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::known_peers::row;
use super::network::Network;
use super::registration::Registration;
use super::registry::Introducer;
use crate::peer_id::PeerId;
use crate::peer_rows::{PeerNews, PeerRows};
use crate::record::Timestamp;
use crate::unavailable::Unavailable;

/// How often they look.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often they look at most, whoever waits for it.
const LOOK_AT_MOST: Duration = Duration::from_millis(50);
/// How long it takes at most until the others are told what one has heard just now.
const TOLD: Duration = Duration::from_millis(100);
/// How long somebody waits at most for what others have heard.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// Of how many peers it is remembered what was heard; of others it is heard again.
const MAX_KNOWN: usize = 4096;

/// Tells the others what this node hears, and hears what they do, for ever.
pub(super) async fn tell_each_other(network: Arc<Network>, rows: Arc<dyn PeerRows>) {
    let mut known = HashMap::new();
    loop {
        sleep(LOOK_AT_MOST).await;
        let _ = timeout(LOOK_EVERY, network.fleet.wanted.notified()).await;
        if let Err(error) = look(&network, &*rows, &mut known).await {
            tracing::debug!(%error, "nobody knows what the other nodes hear");
        }
        network.fleet.looks.send_modify(|looks| *looks += 1);
    }
}

impl Network {
    /// Hears of peers what the other nodes that are this one have heard until now, before somebody
    /// is told that nothing was. Where there are none nothing is waited for.
    pub async fn hear_others(&self) {
        if !self.is_of_fleet() {
            return;
        }
        let hearing = async {
            self.look_now().await;
            sleep(TOLD).await;
            self.look_now().await;
            let mut unasked = self.fleet.unasked.subscribe();
            let awaited = unasked.borrow().clone();
            // It is never over while this one is there.
            let _ = unasked.wait_for(|it| it.is_disjoint(&awaited)).await;
        };
        // Otherwise what is known is told.
        let _ = timeout(HEARD_WITHIN, hearing).await;
    }

    async fn look_now(&self) {
        let mut looks = self.fleet.looks.subscribe();
        self.fleet.wanted.notify_one();
        let _ = looks.changed().await;
    }
}

/// `known` is how often something was heard of what each peer holds.
async fn look(
    network: &Network,
    rows: &dyn PeerRows,
    known: &mut HashMap<PeerId, i64>,
) -> Result<(), Unavailable> {
    let heard = take(&mut *network.fleet.heard.lock());
    if !heard.is_empty() {
        let now = Timestamp::now();
        // Who is not known any more holds nothing here either.
        let known_still = heard.iter().filter_map(|id| network.registry.get(*id));
        let told: Vec<_> = known_still.map(|it| row(&it, now)).collect();
        match rows.tell(&told).await {
            Ok(told) => {
                for news in told {
                    // One of them is this node's own.
                    let before = known.get(&news.id).copied().unwrap_or(news.count - 1);
                    known.insert(news.id, before + 1);
                }
            }
            Err(error) => {
                network.fleet.heard.lock().extend(heard);
                return Err(error);
            }
        }
    }
    let mut has_news = false;
    for PeerNews {
        id,
        count,
        registration,
    } in rows.hear().await?
    {
        let registration = serde_json::from_slice::<Registration>(&registration);
        if let Ok(registration) = registration {
            // What it says is looked at as if it had come itself.
            let _ = network.meet(registration, Introducer::Itself(None), true);
        }
        let before = known.insert(id, count);
        if count > 0 && before.is_none_or(|it| it < count) {
            network.fleet.to_ask.lock().insert(id);
            network.fleet.unasked.send_if_modified(|it| it.insert(id));
            has_news = true;
        }
    }
    if known.len() > MAX_KNOWN {
        known.clear();
    }
    if has_news {
        network.met.send_replace(());
    }
    Ok(())
}
