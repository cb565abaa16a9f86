//! `larder verify`: checks everything stored.

use std::collections::BTreeSet;
use std::env::temp_dir;
use std::fmt::Display;
use std::io::{self, Write, stdout};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use tokio::sync::mpsc;

use super::client::{Connection, Credentials};
use super::concerned::not_whole;
use super::counted::counted;
use super::problems::OTHERS;
#[cfg(feature = "shared")]
use super::storage::NotChecked;
use super::storage::{ADVICE, Storage, keep_private, unchecked};
use super::summary::Summary;
use super::{client, logging};
use crate::base_url::BaseUrl;
#[cfg(feature = "shared")]
use crate::blob::s3;
#[cfg(feature = "shared")]
use crate::causes::with_causes;
use crate::config::Log;
#[cfg(feature = "shared")]
use crate::config::shared::ServerSettings;
use crate::index::local::IndexFinding;
#[cfg(feature = "shared")]
use crate::index::postgres::{self, Bereft};
use crate::index::{Damage, Totals};
use crate::peer::identity::Identity;
use crate::peer_id::PeerId;
use crate::store::local::OpenError;
use crate::store::{self, DirectoryError, Finding, Unwritable, Weight};

/// How many findings may wait to be printed.
const QUEUE: usize = 64;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    storage: Storage,

    #[cfg(feature = "shared")]
    #[command(flatten)]
    servers: ServerSettings,

    /// The running node to ask, with a token that has the right to write, in place of looking at a
    /// storage directory: a host, at port 5004 unless it has another behind a colon, or a URL.
    #[arg(long, value_name = "URL", value_parser = client::node_url)]
    node: Option<BaseUrl>,

    #[command(flatten)]
    credentials: Credentials,

    /// Print JSON, one object a line: each problem and what is left over, and counts at the end.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// How the node is asked that is named, or the one that the settings here are of.
    fn connection(&self) -> Connection {
        Connection::new(self.node.clone(), self.credentials.clone(), self.json)
    }

    /// Has the node check everything that has the storage directory in use, where that is the one
    /// of the settings here.
    fn ask_its_node(&self, in_use: anyhow::Error) -> anyhow::Result<ExitCode> {
        let connection = self.connection();
        let key = Identity::public_key_in(&self.storage.options().dir);
        if let Ok(Some(key)) = key
            && client::is_peer(&connection, PeerId::of_public_key(&key))?
        {
            return client::verify(&connection);
        }
        Err(in_use)
    }
}

/// Prints each finding as it comes; exit status 1 if anything is damaged or missing.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.node.is_some() {
        return client::verify(&arguments.connection());
    }
    if arguments.credentials.is_given() {
        // Also where nobody will be asked: what is given and wrong is a mistake.
        client::check(&arguments.connection())?;
    }
    logging::start(&Log::of_warnings());
    keep_private();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    #[cfg(feature = "shared")]
    if let Some((index, blobs)) = arguments.servers.servers(&temp_dir())? {
        let (totals, found) = runtime.block_on(verify_shared(arguments, index, blobs))?;
        return end(arguments, totals, found);
    }
    match runtime.block_on(verify(arguments))? {
        Checked::Here(totals, found) => end(arguments, totals, found),
        Checked::InUse(error) => arguments.ask_its_node(error),
    }
}

/// Prints what it has come to.
fn end(arguments: &Arguments, totals: Totals, found: Found) -> anyhow::Result<ExitCode> {
    let Found {
        problems,
        left_over,
        advice,
    } = found;
    let Totals {
        files,
        blobs,
        blob_bytes,
        ..
    } = totals;
    let summary = Summary {
        files,
        blobs,
        blob_bytes,
        problems,
        left_over,
    };
    print(&summary.told(arguments.json))?;
    for advice in advice {
        client::say(advice);
    }
    Ok(if problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(line: &impl Display) -> io::Result<()> {
    writeln!(stdout().lock(), "{line}")
}

/// How many problems there are, and things that nobody needs; and what helps.
#[derive(Default)]
struct Found {
    problems: u64,
    left_over: u64,
    advice: BTreeSet<&'static str>,
}

/// What has come of the check.
enum Checked {
    /// It was made.
    Here(Totals, Found),
    /// A node has the directory, as this error says.
    InUse(anyhow::Error),
}

async fn verify(arguments: &Arguments) -> anyhow::Result<Checked> {
    let options = arguments.storage.options();
    let unwritable = store::unwritable(&options.dir);
    if let Some(unwritable) = unwritable {
        let dir = options.dir.display();
        let why = match unwritable {
            Unwritable::Frozen => format!("nothing can be written in {dir}"),
            Unwritable::Full => format!("the disk of {dir} is full"),
        };
        client::say(&format!(
            "{why}, and nothing is changed there; what the check makes for itself is in {} until \
             its end",
            temp_dir().display()
        ));
    }
    let changes = unwritable.is_none();
    let (findings, found) = mpsc::channel(QUEUE);
    let printing = print_each(found, arguments.json, changes);
    let (totals, told) = tokio::join!(store::verify(&options, findings, OTHERS), printing);
    match totals {
        Err(error @ OpenError::Directory(DirectoryError::Locked { .. })) => {
            Ok(Checked::InUse(unchecked(error, &options.dir)))
        }
        Err(error) => Err(unchecked(error, &options.dir)),
        Ok(totals) => Ok(Checked::Here(totals, told?)),
    }
}

/// Checks what several nodes share, beside those.
#[cfg(feature = "shared")]
async fn verify_shared(
    arguments: &Arguments,
    mut index: postgres::Options,
    blobs: s3::Options,
) -> anyhow::Result<(Totals, Found)> {
    // Nothing but what is found is written, which is found again where it is lost.
    index.is_relaxed = true;
    let shared = store::Shared::open(&index, blobs).await;
    let shared = shared.map_err(|error| NotChecked(with_causes(&error)))?;
    let (findings, found) = mpsc::channel(QUEUE);
    let printing = print_each(found, arguments.json, false);
    let (totals, told) = tokio::join!(shared.verify(findings), printing);
    let totals = totals.context("the rest was not checked")?;
    Ok((totals, told?))
}

/// Prints each finding, and counts them.
async fn print_each(
    mut found: mpsc::Receiver<Finding>,
    is_json: bool,
    changes: bool,
) -> anyhow::Result<Found> {
    let mut told = Found::default();
    while let Some(finding) = found.recv().await {
        let text = describe(&finding, changes);
        let key = match finding.weight() {
            Weight::Problem => {
                told.problems += 1;
                "problem"
            }
            Weight::LeftOver => {
                told.left_over += 1;
                "left_over"
            }
            Weight::Consequence => "file",
        };
        if is_json {
            client::json(&json!({ key: text }))?;
        } else {
            // Names may be anybody's.
            print(&client::plain(&text))?;
        }
        told.advice.extend(advice(&finding));
    }
    Ok(told)
}

/// What helps, where whoever looks has to do something.
fn advice(finding: &Finding) -> Option<&'static str> {
    match finding {
        Finding::BlobMissing(_) | Finding::BlobDamaged(_) => Some(
            "a node that runs repairs what is damaged or missing from other nodes that have it; to \
             upload content again mends it, too",
        ),
        Finding::Index(IndexFinding::Journal(damage)) if damage.gives_up => Some(ADVICE),
        Finding::ChangesLost(_) => Some(
            "`larder rebuild-index --forget-loss` has the node delete content that no file needs",
        ),
        _ => None,
    }
}

/// What was found, in words; whether the check `changes` what it can put in order.
fn describe(finding: &Finding, changes: bool) -> String {
    match finding {
        Finding::BlobMissing(hash) => format!("blob {hash}: missing, and a file needs it"),
        Finding::BlobDamaged(hash) => format!("blob {hash}: damaged, its bytes have another hash"),
        Finding::OutboardDamaged(hash) => {
            let done = if changes { ", removed" } else { "" };
            format!("outboard of {hash}: damaged{done} (the node derives it anew)")
        }
        Finding::OutboardsLeft(count) => {
            let outboards = counted(*count, "outboard");
            let done = if changes { "removed" } else { "left there" };
            format!("{outboards} of blobs that are gone: {done}")
        }
        Finding::Orphan(hash, size) => {
            let bytes = counted(*size, "byte");
            format!("blob {hash}: orphan, no file needs its {bytes} (the node deletes it)")
        }
        Finding::Unclaimed(hash, size) => {
            let bytes = counted(*size, "byte");
            format!(
                "blob {hash}: no file that the journal tells of needs its {bytes} (kept, since \
                 the journal has lost changes)"
            )
        }
        Finding::ChangesLost(1) => {
            "journal: 1 change is lost, and whatever file it was of".to_owned()
        }
        Finding::ChangesLost(changes) => {
            format!("journal: {changes} changes are lost, and whatever files they were of")
        }
        Finding::Unchecked(reason) => format!("not checked: {reason}"),
        Finding::File(path, problem) => format!("{}: {problem}", path.display()),
        Finding::Stray(path) => format!("{}: does not belong there", path.display()),
        Finding::FileConcerned { id, name, hash } => not_whole(id, name, hash),
        #[cfg(feature = "shared")]
        Finding::NotLive(hash) => {
            format!("blob {hash}: its place is none that files need, and may be emptied")
        }
        #[cfg(feature = "shared")]
        Finding::Unknown(key, size) => {
            let bytes = counted(*size, "byte");
            format!("object {key}: no row knows its {bytes} (a node removes it once it is old)")
        }
        #[cfg(feature = "shared")]
        Finding::Bereft(Bereft {
            id,
            name,
            hash,
            is_lost,
        }) if *is_lost => format!("file {id} ({name}): its content {hash} has no row"),
        #[cfg(feature = "shared")]
        Finding::Bereft(Bereft { id, name, hash, .. }) => not_whole(id, name, hash),
        Finding::Index(finding) => describe_index(finding),
    }
}

fn describe_index(finding: &IndexFinding) -> String {
    match finding {
        IndexFinding::Journal(Damage {
            path,
            offset,
            detail,
            ..
        }) => {
            format!("journal {} at byte {offset}: {detail}", path.display())
        }
        IndexFinding::Unchecked(error) => format!("index: not checked: {error}"),
        IndexFinding::Unusable(reason) => format!("index: cannot be used: {reason}"),
        IndexFinding::Missing(record) => {
            format!("index: file {} is in the journal and not here", record.id)
        }
        IndexFinding::Extra(record) => {
            format!("index: file {} is here and not in the journal", record.id)
        }
        IndexFinding::Different(id) => format!("index: file {id} differs from the journal"),
        IndexFinding::Inconsistent(reason) => format!("index: {reason}"),
        IndexFinding::Seal => {
            "index.seal: damaged (the node compares everything, and makes it anew)".to_owned()
        }
        IndexFinding::Unsealed => {
            "index: its files are not as the last stop left them (the node compares everything)"
                .to_owned()
        }
    }
}
