//! `larder peers`: which peers the node knows.

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::Value;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::output;
use super::running::run;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Peers {
    peers: Vec<Value>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.list(api))
    }

    async fn list(&self, api: Api) -> Result<(), Failure> {
        let Peers { peers } = api.get("/api/peers", &[]).await?;
        for peer in peers {
            if self.connection.json {
                output::json(&peer)?;
                continue;
            }
            let text = |key| peer.get(key).and_then(Value::as_str).unwrap_or("-");
            let verified = match peer.get("verified").and_then(Value::as_bool) {
                Some(true) => "verified  ",
                _ => "unverified",
            };
            let (id, seen) = (
                output::field(text("peer_id")),
                output::field(text("last_seen")),
            );
            let address = output::plain(text("address"));
            let reached = match peer.get("reachable").and_then(Value::as_bool) {
                Some(false) => "  not reachable now",
                _ => "",
            };
            output::line(&format!("{id}  {verified}  {seen}  {address}{reached}"))?;
        }
        Ok(())
    }
}
