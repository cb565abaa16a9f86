//! `larder peers`: which peers the node knows.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::listed::utc;
use super::offered::Offered;
use super::output;
use super::running::run;
use crate::record::Timestamp;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Peers {
    peers: Vec<Value>,
}

/// Of the node's status what concerns its peers.
#[derive(Deserialize)]
struct Status {
    // An older node has none.
    #[serde(default)]
    unanswered: Vec<Unanswered>,
}

/// A peer or bootstrap server that the node's settings name, and that does not answer it.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Unanswered {
    /// `peer` or `bootstrap`.
    pub(super) named: String,
    pub(super) address: String,
    pub(super) reason: String,
}

/// How much a member holds for others, if that is known.
fn offered(peer: &Value) -> Option<String> {
    let offered = Offered::deserialize(peer.get("copies")?).ok()?;
    Some(format!("  {}", offered.told()))
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.list(api))
    }

    async fn list(&self, api: Api) -> Result<(), Failure> {
        let Peers { peers } = api.get("/api/peers", &[]).await?;
        let Status { mut unanswered } = api.get("/api/p2p/status", &[]).await?;
        unanswered.retain(|it| it.named == "peer");
        for mut peer in peers {
            let is_it = |it: &Unanswered| peer.get("address") == Some(&json!(it.address));
            let why = unanswered.iter().position(is_it);
            let why = why.map(|at| unanswered.remove(at).reason);
            if let (Some(why), Some(peer)) = (why, peer.as_object_mut()) {
                peer.insert("reason".to_owned(), why.into());
            }
            self.tell(&peer)?;
        }
        for it in unanswered {
            self.tell(&json!({
                "address": it.address, "reachable": false, "reason": it.reason,
            }))?;
        }
        Ok(())
    }

    fn tell(&self, peer: &Value) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(peer)?);
        }
        let text = |key| peer.get(key).and_then(Value::as_str);
        let shown = |key| output::field(text(key).unwrap_or("-"));
        let member = peer.get("member");
        let until = member.and_then(|it| it.get("expires")?.as_str());
        let is_over = until.is_some_and(|it| *it <= *Timestamp::now().to_string());
        let verified = match peer.get("verified").and_then(Value::as_bool) {
            _ if is_over => "expired   ",
            _ if member.is_some() => "member    ",
            Some(true) => "verified  ",
            _ => "unverified",
        };
        let (id, seen) = (shown("peer_id"), utc(text("last_seen").unwrap_or("-")));
        let address = output::plain(text("address").unwrap_or("-"));
        let mut reached = match peer.get("reachable").and_then(Value::as_bool) {
            Some(false) => "  not reachable now".to_owned(),
            _ => String::new(),
        };
        let until = until.map_or(String::new(), |it| format!("  until {}", utc(it)));
        let offered = offered(peer).unwrap_or_default();
        if let Some(why) = text("reason") {
            reached = format!("  not reachable now: {}", output::plain(why));
        }
        Ok(output::line(&format!(
            "{id:36}  {verified}  {seen:20}  {address}{until}{offered}{reached}"
        ))?)
    }
}
