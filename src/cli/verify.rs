//! `larder verify`: checks everything stored.

use std::env::temp_dir;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use tokio::sync::mpsc;

use super::client::{Connection, Credentials};
use super::findings::{Found, What, end, print_each};
use super::problems::{OTHERS, OTHERS_OF_COPIES, is_moving_in};
#[cfg(feature = "shared")]
use super::servers;
use super::storage::{NotChecked, Storage, keep_private, moving_in, unchecked};
use super::summary::OF_COPIES;
use super::{client, logging, verify_backups};
use crate::base_url::BaseUrl;
#[cfg(feature = "shared")]
use crate::blob::s3;
use crate::config::Log;
#[cfg(feature = "shared")]
use crate::config::shared::ServerSettings;
use crate::index::Totals;
#[cfg(feature = "shared")]
use crate::index::postgres;
use crate::peer::identity::Identity;
use crate::peer_id::PeerId;
use crate::store::local::{self, OpenError};
use crate::store::{self, COPIES_DIR, DirectoryError, Others, Unwritable};

/// How many findings may wait to be printed.
const QUEUE: usize = 64;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Directory of backups to check, in place of a storage directory.
    #[arg(value_name = "DEST", conflicts_with = "node")]
    dest: Option<PathBuf>,

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
    if let Some(dest) = &arguments.dest {
        return verify_backups::run(dest, arguments.json);
    }
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
        let checked = runtime.block_on(verify_shared(arguments, index, blobs))?;
        return end(arguments.json, checked, None);
    }
    match runtime.block_on(verify(arguments))? {
        Checked::Here(own, of_copies) => end(arguments.json, own, of_copies),
        Checked::InUse(error) => arguments.ask_its_node(error),
    }
}

/// What has come of the check.
enum Checked {
    /// It was made, also of what is held for others, if anything is.
    Here((Totals, Found), Option<(Totals, Found)>),
    /// A node has the directory, as this error says.
    InUse(anyhow::Error),
}

async fn verify(arguments: &Arguments) -> anyhow::Result<Checked> {
    let options = arguments.storage.options();
    if is_moving_in(&options.dir) {
        // What is there is the beginning, and says nothing of the rest.
        return Err(NotChecked(moving_in(&options.dir)).into());
    }
    tell_upgrade(&options);
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
    let what = What::Storage {
        changes: unwritable.is_none(),
    };
    let own = match check(&options, arguments.json, (what, "", OTHERS)).await? {
        Err(error @ OpenError::Directory(DirectoryError::Locked { .. })) => {
            return Ok(Checked::InUse(unchecked(error, &options.dir)));
        }
        Err(error) => return Err(unchecked(error, &options.dir)),
        Ok(own) => own,
    };
    let of_copies = local::Options {
        dir: options.dir.join(COPIES_DIR),
        ..options
    };
    if !store::is_storage_directory(&of_copies.dir) {
        return Ok(Checked::Here(own, None));
    }
    let copies = check(
        &of_copies,
        arguments.json,
        (what, OF_COPIES, OTHERS_OF_COPIES),
    )
    .await?;
    let copies = copies.map_err(|error| unchecked(error, &of_copies.dir))?;
    Ok(Checked::Here(own, Some(copies)))
}

/// Says what a start of a node will do first, where an older larder has written the directory.
fn tell_upgrade(options: &local::Options) {
    match local::look_at_upgrade(options) {
        Ok(Some(upgrade)) => client::say(&format!(
            "an older larder has written {}, which the next start brings up {upgrade}",
            options.dir.display()
        )),
        Err(error @ OpenError::NoRoomToUpgrade { .. }) => client::say(&error.to_string()),
        // Whatever else there is to tell, the check does.
        _ => {}
    }
}

/// Checks one storage directory, and prints what is found.
async fn check(
    options: &local::Options,
    is_json: bool,
    (what, of, others): (What, &str, Others),
) -> anyhow::Result<Result<(Totals, Found), OpenError>> {
    let (findings, found) = mpsc::channel(QUEUE);
    let printing = print_each(found, is_json, (what, of));
    let (totals, told) = tokio::join!(store::verify(options, findings, others), printing);
    Ok(match totals {
        Ok(totals) => Ok((totals, told?)),
        Err(error) => Err(error),
    })
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
    let shared = shared.map_err(|error| servers::unchecked(&error))?;
    let (findings, found) = mpsc::channel(QUEUE);
    let what = What::Storage { changes: false };
    let printing = print_each(found, arguments.json, (what, ""));
    let (totals, told) = tokio::join!(shared.verify(findings), printing);
    let totals = totals.context("the rest was not checked")?;
    Ok((totals, told?))
}
