//! How much members hold for others, as a node tells of them, in the same words everywhere.

use std::collections::HashMap;
use std::process::ExitCode;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::output;
use super::running::run;
use crate::peer_id::PeerId;

/// How much a member holds for others.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub(in crate::cli) struct Offered {
    offer_bytes: u64,
    // Older nodes do not tell it.
    #[serde(default)]
    used_bytes: u64,
    /// Older nodes do not tell it of themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_bytes: Option<u64>,
    gone: bool,
}

#[derive(Deserialize)]
struct Peers {
    peers: Vec<Peer>,
    #[serde(rename = "self")]
    this: Peer,
}

#[derive(Deserialize)]
struct Peer {
    peer_id: String,
    copies: Option<Offered>,
}

impl Offered {
    /// The same in words.
    pub(in crate::cli) fn told(&self) -> String {
        let size = output::size;
        let offer = match (self.offer_bytes, self.used_bytes) {
            (0, 0) => "offers no room".to_owned(),
            (offer, used) => format!("offers {}, {} used", size(offer), size(used)),
        };
        let left = self.left_bytes.filter(|_| self.offer_bytes > 0);
        let left = left.map_or(String::new(), |it| format!(", {} left", size(it)));
        let gone = if self.gone { ", gone" } else { "" };
        format!("{offer}{left}{gone}")
    }
}

/// How much each member of its network holds for others, as far as a node knows; where the node
/// does not tell, that is said, and the exit status says why.
pub(in crate::cli) fn offers(
    connection: &Connection,
) -> anyhow::Result<(ExitCode, HashMap<PeerId, Offered>)> {
    let mut offers = HashMap::new();
    let code = run(connection, |api| {
        let offers = &mut offers;
        async move {
            let told: Peers = api.json(api.request(Method::GET, "/api/peers")).await?;
            let all = told.peers.into_iter().chain([told.this]);
            let known = all.filter_map(|it| Some((it.peer_id.parse().ok()?, it.copies?)));
            *offers = known.collect();
            Ok(())
        }
    })?;
    Ok((code, offers))
}
