//! `larder network members`: who was invited, and what each holds for others.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use serde::Serialize;

use super::client::{self, Connection, Credentials, Offered};
use crate::base_url::BaseUrl;
use crate::config::shown_period;
use crate::peer::membership::{Entry, NetworkKey, PublicKey, Refusal, Roll, revocations};
use crate::peer_id::PeerId;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// File with the key of the network.
    file: PathBuf,

    /// A member to ask how much each offers for copies of others' files, and how much of that is
    /// used: a host, at port 5004 unless it has another behind a colon, or a URL.
    #[arg(long, value_name = "URL", value_parser = client::node_url)]
    node: Option<BaseUrl>,

    #[command(flatten)]
    credentials: Credentials,

    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Who was invited.
#[derive(Serialize)]
struct Member {
    peer_id: String,
    key: String,
    /// None of one that was revoked and is not on the roll.
    expires: Option<String>,
    rights: Option<String>,
    /// For how long it is renewed, in seconds; None where it is not.
    renewed_for: Option<u64>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<Offered>,
}

/// A line for each member.
pub(super) fn list(out: &mut impl Write, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let all = all(&arguments.file)?;
    let (mut code, mut offers) = (ExitCode::SUCCESS, None);
    if let Some(node) = &arguments.node {
        let credentials = arguments.credentials.clone();
        let connection = Connection::new(Some(node.clone()), credentials, arguments.json);
        let told = client::offers(&connection)?;
        (code, offers) = (told.0, Some(told.1));
    }
    for mut member in all {
        let id = member.peer_id.parse().ok();
        let known = offers.as_ref().zip(id);
        member.copies =
            known.and_then(|(offers, id): (&HashMap<PeerId, _>, _)| offers.get(&id).copied());
        if arguments.json {
            writeln!(out, "{}", serde_json::to_string(&member)?)?;
        } else {
            writeln!(out, "{}", member.told(offers.is_some()))?;
        }
    }
    Ok(code)
}

/// All who were invited or revoked.
fn all(file: &Path) -> anyhow::Result<Vec<Member>> {
    let (network, roll) = (NetworkKey::read(file)?.public(), Roll::beside(file)?);
    let revoked = revocations(file)?;
    let mut members: Vec<_> = Vec::new();
    let mut invited = HashSet::new();
    for entry in roll.members() {
        let member = entry.certificate.member;
        invited.insert(member);
        let is_revoked = revoked.iter().any(|it| it.member == member);
        members.push(Member::of(entry, network, is_revoked));
    }
    let others = revoked.iter().map(|it| it.member);
    members.extend(
        others
            .filter(|it| !invited.contains(it))
            .map(Member::revoked),
    );
    Ok(members)
}

impl Member {
    fn of(entry: &Entry, network: PublicKey, is_revoked: bool) -> Self {
        let (certificate, now) = (&entry.certificate, SystemTime::now());
        let state = match certificate.check(network, certificate.member, now) {
            Err(why) if why != Refusal::Expired && !is_revoked => why.code(),
            _ => entry.standing(is_revoked, now).code(),
        };
        Self {
            expires: Some(certificate.expires_at().to_string()),
            rights: Some(certificate.rights.clone()),
            renewed_for: entry.renewed_for.map(|it| it.as_secs()),
            state,
            ..Self::revoked(certificate.member)
        }
    }

    fn revoked(member: PublicKey) -> Self {
        Self {
            peer_id: member.peer_id().to_string(),
            key: member.to_string(),
            expires: None,
            rights: None,
            renewed_for: None,
            state: Refusal::Revoked.code(),
            copies: None,
        }
    }

    /// The same in words; how much it offers where somebody was asked.
    fn told(&self, is_asked: bool) -> String {
        let Self {
            peer_id,
            key,
            state,
            ..
        } = self;
        let of = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let renewed = match (self.renewed_for, &self.expires) {
            (Some(seconds), _) => shown_period(seconds),
            (None, Some(_)) => "once".to_owned(),
            (None, None) => "-".to_owned(),
        };
        let offered = self.copies.map_or("-".to_owned(), |it| it.told());
        let offered = if is_asked {
            format!("  {offered}")
        } else {
            String::new()
        };
        let (end, rights) = (of(&self.expires), of(&self.rights));
        format!("{peer_id}  {key}  {end}  {rights}  {renewed}  {state}{offered}")
    }
}
