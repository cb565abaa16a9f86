//! `larder ls`: what the node holds, or the network.

use std::collections::VecDeque;
use std::process::ExitCode;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::listed::{File, Where};
use super::output::{self, field, plain};
use super::pages::{Limits, Pages};
use super::running::run;
use crate::config::number;

#[derive(clap::Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag.
pub(in crate::cli) struct Arguments {
    /// Only files whose names hold this text, whatever the case.
    name: Option<String>,

    /// List what the whole network holds, and how many nodes hold it.
    #[arg(long)]
    network: bool,

    /// The newest first, which is so unless --oldest is there.
    #[arg(long, conflicts_with = "oldest")]
    newest: bool,

    /// The oldest first.
    #[arg(long)]
    oldest: bool,

    /// At most so many files.
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        value_parser = |it: &str| number(it, 1..=u64::MAX)
    )]
    limit: Option<u64>,

    /// All that is known: the exact size, the hash, the content type, and what was said of it.
    #[arg(short, long)]
    long: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.list(api))
    }

    async fn list(&self, api: Api) -> Result<(), Failure> {
        let list = if self.network {
            Where::Network
        } else {
            Where::Here
        };
        let limit = self.limit.and_then(|it| usize::try_from(it).ok());
        let limit = limit.unwrap_or(usize::MAX);
        if !self.oldest && self.list_newest(&api, list, limit).await? {
            return Ok(());
        }
        self.list_oldest(&api, list, limit).await
    }

    /// Lists the newest first, as the node tells them; false where it is an older one, which tells
    /// the oldest first.
    async fn list_newest(&self, api: &Api, list: Where, limit: usize) -> Result<bool, Failure> {
        let mut pages = Pages::newest(api, list, self.name.as_deref(), limit);
        let (mut listed, mut is_first) = (0, true);
        while let Some(files) = pages.next().await? {
            let is_ascending = files.windows(2).any(|two| match two {
                [a, b] => a.id < b.id,
                _ => false,
            });
            if std::mem::take(&mut is_first) && is_ascending {
                return Ok(false);
            }
            for file in &files {
                self.print(file)?;
                listed += 1;
                if listed == limit {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// Lists them as they come, or, where the newest shall come first, keeps what comes last until
    /// it is known to be that.
    async fn list_oldest(&self, api: &Api, list: Where, limit: usize) -> Result<(), Failure> {
        let limits = if self.oldest || self.limit.is_some() {
            Limits::SHOWING
        } else {
            Limits::LOOKING
        };
        let mut pages = Pages::of(api, list, self.name.as_deref(), limits);
        let (mut newest, mut listed) = (VecDeque::new(), 0);
        while let Some(files) = pages.next().await? {
            for file in files {
                if !self.oldest {
                    newest.push_back(file);
                    if newest.len() > limit {
                        newest.pop_front();
                    }
                    continue;
                }
                self.print(&file)?;
                listed += 1;
                if listed == limit {
                    return Ok(());
                }
            }
        }
        newest.iter().rev().try_for_each(|file| self.print(file))
    }

    fn print(&self, file: &File) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(file)?);
        }
        let (nodes, unreachable) = self.nodes(file);
        let (id, at) = (field(&file.id), file.uploaded());
        let name = plain(&file.original_name);
        if !self.long {
            let size = output::size(file.size);
            return Ok(output::line(&format!(
                "{id:36}  {size:>11}  {at:20}{nodes}  {name}{unreachable}"
            ))?);
        }
        let text = |it: &Option<String>| it.as_deref().map_or("-".to_owned(), field);
        let (hash, kind) = (text(&file.hash), text(&file.content_type));
        let said = file.description.as_deref().filter(|it| !it.is_empty());
        let said = said.map(|it| format!("  ({})", plain(it)));
        let said = said.unwrap_or_default();
        let size = file.size;
        Ok(output::line(&format!(
            "{id:36}  {size:>13}  {at:20}{nodes}  {hash:64}  {kind}  {name}{said}{unreachable}"
        ))?)
    }

    /// How many nodes hold it, of those that answer, and what is said behind the name where that
    /// is none.
    fn nodes(&self, file: &File) -> (String, &'static str) {
        let answering = file.reachable_peers.as_ref().unwrap_or(&file.peers);
        match answering.len() {
            _ if !self.network => (String::new(), ""),
            0 => ("   0 nodes".to_owned(), "  (not reachable now)"),
            1 => ("   1 node ".to_owned(), ""),
            many => (format!("{many:>4} nodes"), ""),
        }
    }
}
