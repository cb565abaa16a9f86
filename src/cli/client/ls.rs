//! `larder ls`: what the node holds, or the network.

use std::collections::VecDeque;
use std::process::ExitCode;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::listed::{File, Where};
use super::output::{self, field, plain};
use super::pages::{Limits, Pages};
use super::pattern::{Match, Pattern, literal};
use super::running::run;
use crate::config::number;
use crate::name_form::{folded, holds};

#[derive(clap::Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag.
pub(in crate::cli) struct Arguments {
    /// Only files whose names hold this text, whatever the case, or match this pattern, such as
    /// 'a*' or 'photos/**'.
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

/// Which files are listed, and how many were.
struct Listing<'a> {
    name: Option<&'a str>,
    pattern: Option<Pattern>,
    list: Where,
    limit: usize,
    listed: usize,
    /// Whether folders match the pattern.
    folders_match: bool,
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
        let name = self.name.as_deref();
        let mut listing = Listing {
            name,
            pattern: name.and_then(Pattern::of),
            list,
            limit: limit.unwrap_or(usize::MAX),
            listed: 0,
            folders_match: false,
        };
        if self.oldest || !self.list_newest(&api, &mut listing).await? {
            self.list_oldest(&api, &mut listing).await?;
        }
        listing.end()
    }

    /// Lists the newest first, as the node tells them; false where it is an older one, which tells
    /// the oldest first.
    async fn list_newest(&self, api: &Api, listing: &mut Listing<'_>) -> Result<bool, Failure> {
        // Of what the node finds for a pattern only some matches.
        let count = listing
            .pattern
            .as_ref()
            .map_or(listing.limit, |_| usize::MAX);
        let mut pages = Pages::newest(api, listing.list, listing.asked(), count);
        let mut is_first = true;
        while let Some(files) = pages.next().await? {
            let is_ascending = files.windows(2).any(|two| match two {
                [a, b] => a.id < b.id,
                _ => false,
            });
            if std::mem::take(&mut is_first) && is_ascending {
                return Ok(false);
            }
            for file in files {
                if listing.has(&file) && self.print_in(listing, &file)? {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// Lists them as they come, or, where the newest shall come first, keeps what comes last until
    /// it is known to be that.
    async fn list_oldest(&self, api: &Api, listing: &mut Listing<'_>) -> Result<(), Failure> {
        let limits = if self.oldest || self.limit.is_some() {
            Limits::SHOWING
        } else {
            Limits::LOOKING
        };
        let mut pages = Pages::of(api, listing.list, listing.asked(), limits);
        let mut newest = VecDeque::new();
        while let Some(files) = pages.next().await? {
            for file in files {
                if !listing.has(&file) {
                    continue;
                }
                if !self.oldest {
                    newest.push_back(file);
                    if newest.len() > listing.limit {
                        newest.pop_front();
                    }
                } else if self.print_in(listing, &file)? {
                    return Ok(());
                }
            }
        }
        for file in newest.iter().rev() {
            self.print_in(listing, file)?;
        }
        Ok(())
    }

    /// Lists a file; whether no more are to be listed.
    fn print_in(&self, listing: &mut Listing<'_>, file: &File) -> Result<bool, Failure> {
        self.print(file)?;
        listing.listed += 1;
        Ok(listing.listed == listing.limit)
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
            0 if file.damaged == Some(true) => ("   0 nodes".to_owned(), "  (damaged)"),
            0 => ("   0 nodes".to_owned(), "  (not reachable now)"),
            1 => ("   1 node ".to_owned(), ""),
            many => (format!("{many:>4} nodes"), ""),
        }
    }
}

impl<'a> Listing<'a> {
    /// What the names have that the node is asked for.
    fn asked(&self) -> Option<&'a str> {
        match self.pattern {
            Some(_) => self.name.and_then(literal),
            None => self.name,
        }
    }

    /// Whether a file is listed that the node has found: with a pattern also where its name holds
    /// that as it is written.
    fn has(&mut self, file: &File) -> bool {
        let (Some(name), Some(pattern)) = (self.name, &self.pattern) else {
            return true;
        };
        let look = pattern.look(&file.original_name);
        self.folders_match |= look == Match::FolderAlone;
        look == Match::Yes || holds(&file.original_name, &folded(name))
    }

    /// Fails where something was looked for and is nowhere.
    fn end(&self) -> Result<(), Failure> {
        let Some(name) = self.name.filter(|_| self.listed == 0) else {
            return Ok(());
        };
        if self.folders_match {
            return Err(Failure::OnlyFolders(name.to_owned()));
        }
        let what = match self.pattern {
            Some(_) => "matches",
            None => "has a name that holds",
        };
        let (place, more) = match self.list {
            Where::Here => ("of this node", "; --network looks at those of all nodes"),
            Where::Network => ("of the network", ""),
        };
        Err(Failure::NotListed(format!(
            "no file {place} {what} {name}{more}"
        )))
    }
}
