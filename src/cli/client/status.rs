//! `larder status`: how the node is.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::connection::Connection;
use super::copies_told::Standing;
use super::failure::Failure;
use super::output;
use super::peers::Unanswered;
use super::running::run;
use super::scrub::Scrub;
use crate::cli::counted::counted;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Health {
    version: String,
    writable: bool,
    reason: Option<String>,
    // These are none of older nodes.
    #[serde(default)]
    writers: Option<String>,
    #[serde(default)]
    membership: Option<String>,
    #[serde(default)]
    may_write: Option<bool>,
    #[serde(default)]
    damaged: Option<u64>,
    #[serde(default)]
    unreadable: Option<u64>,
    #[serde(default)]
    unobtainable: Option<u64>,
}

#[derive(Deserialize)]
struct Counts {
    peer: Myself,
    peers_discovered: u64,
    #[serde(default)]
    peers_reachable: Option<u64>,
    local_files: u64,
    file_bytes: u64,
    blob_bytes: u64,
    network_files: u64,
    #[serde(default)]
    reachable: Option<bool>,
    #[serde(default)]
    key_also_at: Option<String>,
    #[serde(default)]
    unanswered: Vec<Unanswered>,
    #[serde(default)]
    partial: bool,
    #[serde(default)]
    room_bytes: Option<u64>,
    #[serde(default)]
    quota_bytes: Option<u64>,
    #[serde(default)]
    scrub: Option<Scrub>,
    #[serde(default)]
    trash: Option<Trash>,
    #[serde(default)]
    copies: Option<Standing>,
}

/// What was removed and can be brought back.
#[derive(Serialize, Deserialize)]
struct Trash {
    keeps_seconds: Option<u64>,
    files: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Myself {
    peer_id: String,
    address: String,
}

impl Trash {
    /// What is there, where anything is or can be.
    fn told(&self) -> Option<String> {
        if self.keeps_seconds.is_none() && self.files == 0 {
            return None;
        }
        let (files, size) = (counted(self.files, "file"), output::size(self.bytes));
        Some(format!("{files} of {size} that `larder trash` can restore"))
    }
}

/// Everything about the node.
#[derive(Serialize)]
struct Report {
    peer_id: String,
    address: String,
    version: String,
    writable: bool,
    reason: Option<String>,
    /// Who may write; this and the next three are null where the node is an older one.
    writers: Option<String>,
    may_write: Option<bool>,
    /// How it stands with the node in its network; null where it is to be a member of none.
    membership: Option<String>,
    damaged: Option<u64>,
    unreadable: Option<u64>,
    files: u64,
    file_bytes: u64,
    blob_bytes: u64,
    /// How many bytes more can be kept now; null where the node is an older one.
    room_bytes: Option<u64>,
    /// How many it keeps at most; null where only the disk limits that.
    quota_bytes: Option<u64>,
    network_files: u64,
    peers: u64,
    /// How many of them answer; null where the node is an older one.
    peers_reachable: Option<u64>,
    reachable: Option<bool>,
    /// Where another node has this one's key.
    key_also_at: Option<String>,
    /// Those that the node's settings name and that do not answer it.
    unanswered: Vec<Unanswered>,
    partial: bool,
    /// How many contents are not whole and held by no peer that it knows; null where the node is an
    /// older one.
    unobtainable: Option<u64>,
    /// How far it is in reading everything; null where the node is an older one, and where it keeps
    /// contents on servers.
    scrub: Option<Scrub>,
    /// Null where the node is an older one.
    trash: Option<Trash>,
    /// How it stands with copies among the members of its network; null where the node has none.
    copies: Option<Standing>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.tell(api))
    }

    async fn tell(&self, api: Api) -> Result<(), Failure> {
        let health: Health = api.get("/health", &[]).await?;
        let counts: Counts = api.get("/api/p2p/status", &[]).await?;
        let told = Report {
            peer_id: counts.peer.peer_id,
            address: counts.peer.address,
            version: health.version,
            writable: health.writable,
            reason: health.reason,
            writers: health.writers,
            may_write: health.may_write,
            membership: health.membership,
            damaged: health.damaged,
            unreadable: health.unreadable,
            unobtainable: health.unobtainable,
            files: counts.local_files,
            file_bytes: counts.file_bytes,
            blob_bytes: counts.blob_bytes,
            room_bytes: counts.room_bytes,
            quota_bytes: counts.quota_bytes,
            network_files: counts.network_files,
            peers: counts.peers_discovered,
            peers_reachable: counts.peers_reachable,
            reachable: counts.reachable,
            key_also_at: counts.key_also_at,
            unanswered: counts.unanswered,
            partial: counts.partial,
            scrub: counts.scrub,
            trash: counts.trash,
            copies: counts.copies,
        };
        if self.connection.json {
            return Ok(output::json(&told)?);
        }
        for line in told.lines() {
            output::line(&line)?;
        }
        Ok(())
    }
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let writes = match &self.reason {
            None => format!("takes changes{}", self.writers_told()),
            Some(reason) => format!("takes no changes: {}", output::plain(reason)),
        };
        let (id, address) = (output::field(&self.peer_id), output::plain(&self.address));
        let version = output::field(&self.version);
        let trashed = self.trash.as_ref().map_or(0, |it| it.bytes);
        let all = self.file_bytes.saturating_add(trashed);
        let saved = output::size(all.saturating_sub(self.blob_bytes));
        let kept = output::size(self.blob_bytes);
        let own = [
            ("node", Some(format!("{id} at {address}{}", self.copy()))),
            ("version", Some(format!("{version}, {writes}"))),
            (
                "files",
                Some(format!(
                    "{}, {kept} kept, {saved} saved by deduplication{}",
                    self.files,
                    self.damage()
                )),
            ),
            ("trash", self.trash.as_ref().and_then(Trash::told)),
            ("room", self.room()),
            (
                "scrub",
                self.scrub.as_ref().and_then(|it| it.told(self.blob_bytes)),
            ),
            ("network", Some(self.network())),
            ("member", self.lost_membership().map(str::to_owned)),
        ];
        let of_copies = self.copies.iter().flat_map(Standing::told);
        let own = own.into_iter().chain(of_copies);
        let own = own.filter_map(|(what, told)| Some((what.to_owned(), told?)));
        let named = self.unanswered.iter().map(|it| {
            let (address, reason) = (output::plain(&it.address), output::plain(&it.reason));
            (output::field(&it.named), format!("{address}: {reason}"))
        });
        output::rows(own.chain(named).collect())
    }

    fn network(&self) -> String {
        let reached = match self.reachable {
            _ if self.lost_membership().is_some() => "",
            Some(false) => ", none of which reaches this node at its address: set --base-url",
            _ => "",
        };
        let partial = if self.partial {
            ", of some of which it knows the newest files only"
        } else {
            ""
        };
        let answer = match self.peers_reachable {
            Some(0) if self.peers > 0 => ", none of which answers".to_owned(),
            Some(1) if self.peers > 1 => ", 1 of which answers".to_owned(),
            Some(answer) if answer < self.peers => format!(", {answer} of which answer"),
            _ => String::new(),
        };
        let files = counted(self.network_files, "file");
        let peers = counted(self.peers, "peer");
        format!("{files}, {peers}{answer}{partial}{reached}")
    }

    /// Why no member of its network talks with the node, if that is so.
    fn lost_membership(&self) -> Option<&'static str> {
        match self.membership.as_deref()? {
            "revoked" => Some(
                "this node was revoked, and no member talks with it: its key cannot be one again",
            ),
            "expired" => Some(
                "the certificate of this node has ended, and no member talks with it: it takes a \
                 new invitation (`larder network join`)",
            ),
            _ => None,
        }
    }

    /// From whom it takes changes, where that is not from everybody.
    fn writers_told(&self) -> &'static str {
        match (self.writers.as_deref(), self.may_write) {
            (Some("token"), Some(true)) => " from whoever bears a token as yours",
            (Some("token"), _) => " from whoever bears a token for that, and not from you",
            _ => "",
        }
    }

    /// How much more it keeps, and of how much in all.
    fn room(&self) -> Option<String> {
        let room = output::size(self.room_bytes?);
        Some(match self.quota_bytes {
            Some(quota) => format!("for {room} more, of a quota of {}", output::size(quota)),
            None => format!("for {room} more"),
        })
    }

    fn copy(&self) -> String {
        match &self.key_also_at {
            None => String::new(),
            Some(other) => format!(
                ", and a copy of it with the same key at {}: stop one, remove node.key and \
                 node.key.check from it, and start it again",
                output::plain(other)
            ),
        }
    }

    fn damage(&self) -> String {
        let damaged = match self.damaged {
            None | Some(0) => String::new(),
            Some(damaged) => format!(
                "; {damaged} of their contents damaged (uploading them again mends them; `larder \
                 verify` names them)"
            ),
        };
        let unreadable = match self.unreadable {
            None | Some(0) => String::new(),
            Some(unreadable) => format!(
                "; {unreadable} of their contents cannot be read (the log of the node names their \
                 files, and says why)"
            ),
        };
        let lost = match self.unobtainable {
            None | Some(0) => String::new(),
            Some(lost) => format!("; {lost} of these are held by no other node that it knows"),
        };
        format!("{damaged}{unreadable}{lost}")
    }
}
