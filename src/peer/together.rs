//! What nodes that are one peer tell each other of others: who is there, and that they have news.
//! Whatever a peer sends to the address of all of them reaches one.

use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::network::Network;
use super::registration::Registration;
use super::registry::Introducer;
use crate::peer_id::PeerId;
use crate::peer_rows::{PeerNews, PeerRows};
use crate::unavailable::Unavailable;

/// How often they look.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Of how many peers it is remembered what was heard; of others it is heard again.
const MAX_KNOWN: usize = 4096;

/// Tells the others what this node hears, and hears what they do, for ever.
pub(super) async fn tell_each_other(network: Arc<Network>, rows: Arc<dyn PeerRows>) {
    let mut known = HashMap::new();
    loop {
        sleep(LOOK_EVERY).await;
        if let Err(error) = look(&network, &*rows, &mut known).await {
            tracing::debug!(%error, "nobody knows what the other nodes hear");
        }
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
        let ids: Vec<_> = heard.iter().copied().collect();
        match rows.tell(&ids).await {
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
