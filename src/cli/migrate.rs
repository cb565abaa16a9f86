//! `larder migrate`: moves all files of a storage directory to the servers that several nodes
//! share, or back.

use std::env::temp_dir;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use futures_util::TryFutureExt;
use indicatif::ProgressBar;
use serde_json::json;
use tokio::time::sleep;

use super::client;
use super::counted::counted;
use super::logging;
use super::servers;
use super::storage::{NotChecked, Storage, keep_private, moving_in, unchecked};
use crate::blob::Purpose;
use crate::blocking;
use crate::config::shared::ServerSettings;
use crate::config::{Log, WrongSetting};
use crate::index::Totals;
use crate::index::postgres::MoveBegun;
use crate::peer::identity::Identity;
use crate::small_state::SmallState;
use crate::store::local::LocalStore;
use crate::store::{MOVING_IN, Moved, Moving, Shared, Store, is_storage_directory};

/// How often to show how far it is.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// How often to look whether nodes are still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where the files go.
    #[arg(long, value_name = "WHERE")]
    to: To,

    #[command(flatten)]
    storage: Storage,

    #[command(flatten)]
    servers: ServerSettings,

    /// Directory for content on its way to the bucket [default: that of the system for temporary
    /// files].
    #[arg(long, env = "LARDER_SCRATCH", value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// Leave uploads and copies behind that have come in part; without this nothing is moved while
    /// there are any.
    #[arg(long)]
    leave_unfinished: bool,

    /// Print what has come of it as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// To the database and the bucket that --index and --blobs name.
    Servers,
    /// Into the storage directory.
    Storage,
}

impl Arguments {
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }
}

/// Both sides.
struct Sides {
    local: LocalStore,
    dir: PathBuf,
    shared: Shared,
    servers: Store,
}

/// Moves the files and proves them; what is cut off goes on with the next run.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    logging::start(&Log::of_warnings());
    keep_private();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(migrate(arguments))?;
    Ok(ExitCode::SUCCESS)
}

/// That nothing was begun, for this reason.
fn refused(why: impl Into<String>) -> anyhow::Error {
    NotChecked(why.into()).into()
}

async fn migrate(arguments: &Arguments) -> anyhow::Result<()> {
    let sides = open(arguments).await?;
    let Sides {
        local,
        shared,
        servers,
        ..
    } = &sides;
    let (source, target) = match arguments.to {
        To::Servers => (&local.store, servers),
        To::Storage => (servers, &local.store),
    };
    check_source(arguments, &sides, source).await?;
    let moved = Moved::default();
    let mut moving = Moving {
        source,
        target,
        moved: &moved,
        proven: None,
    };
    if !begin(arguments.to, &sides, &moving).await? {
        // The run before was cut off when all was done.
        return tell(arguments, target.totals(), &moved);
    }
    let totals = source.totals();
    client::say(&format!(
        "moving {} of {}; what a node knows of its peers, and is to keep of them, stays behind",
        counted(totals.files, "file"),
        counted(totals.blob_bytes, "byte"),
    ));
    let trashed = source.trash_totals().files;
    if trashed > 0 {
        let files = counted(trashed, "file");
        client::say(&format!("{files} in the trash stay behind"));
    }
    let was_there = target.totals().blob_bytes;
    let done = tokio::select! {
        done = run_to_end(arguments.to, shared, &mut moving) => done,
        never = show(&moved, totals, was_there) => never,
    };
    done.context("not all is moved, and the next run goes on from here")?;
    let totals = target.totals();
    match arguments.to {
        To::Servers => shared.index().end_move().await?,
        To::Storage => local.state.remove(&MOVING_IN).await?,
    }
    target.close().await?;
    source.close().await?;
    tell(arguments, totals, &moved)
}

/// Moves all files. From servers it has not come to its end while nodes are connected to them, who
/// are given files and remove some at any time.
async fn run_to_end(to: To, shared: &Shared, moving: &mut Moving<'_>) -> anyhow::Result<()> {
    let mut is_told = false;
    loop {
        let has_nodes = to == To::Storage && shared.index().has_nodes().await?;
        moving.run().await?;
        if !has_nodes {
            return Ok(());
        }
        if !is_told {
            client::say(
                "all is there, and nodes are still connected to the database: this ends when they \
                 are stopped, with what they are given until then",
            );
            is_told = true;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn tell(arguments: &Arguments, totals: Totals, moved: &Moved) -> anyhow::Result<()> {
    let Totals {
        files,
        blobs,
        blob_bytes,
        ..
    } = totals;
    if arguments.json {
        let copied = moved.copied.load(Ordering::Relaxed);
        client::json(
            &json!({ "files": files, "blobs": blobs, "blob_bytes": blob_bytes,
            "copied_bytes": copied }),
        )?;
        return Ok(());
    }
    client::line(&format!(
        "{} of {}, all moved and proven",
        counted(files, "file"),
        counted(blob_bytes, "byte")
    ))?;
    Ok(())
}

async fn open(arguments: &Arguments) -> anyhow::Result<Sides> {
    let scratch = arguments.scratch.clone().unwrap_or_else(temp_dir);
    let Some((index, blobs)) = arguments.servers.servers(&scratch)? else {
        let told = "a database and a bucket are needed, which files are moved to or from";
        return Err(WrongSetting::new(&["index", "blobs"], told).into());
    };
    let options = arguments.storage.options();
    let dir = options.dir.clone();
    check_directory(arguments.to, &dir)?;
    let opening = LocalStore::open(options);
    let opening = opening.map_err(|error| unchecked(error, &dir));
    // Where files come from first, so that nothing is made where they go before that is there.
    let (local, shared) = match arguments.to {
        To::Servers => {
            let local = opening.await?;
            (local, Shared::open_or_make(&index, blobs).await)
        }
        To::Storage => {
            let shared = Shared::open(&index, blobs).await;
            let shared = shared.map_err(|error| servers::unchecked(&error))?;
            (opening.await?, Ok(shared))
        }
    };
    let shared = shared.map_err(|error| servers::unchecked(&error))?;
    Ok(Sides {
        local,
        dir,
        servers: shared.store(),
        shared,
    })
}

/// Fails where the files cannot be in the directory, or would come to be beside something else.
fn check_directory(to: To, dir: &Path) -> anyhow::Result<()> {
    if is_storage_directory(dir) {
        return Ok(());
    }
    let told = dir.display();
    if to == To::Servers {
        return Err(refused(format!("{told} is no storage directory of larder")));
    }
    let is_empty = fs::read_dir(dir).map_or(!dir.exists(), |mut it| it.next().is_none());
    if !is_empty {
        return Err(refused(format!("something else is in {told}")));
    }
    Ok(())
}

/// Fails where something cannot be moved that is there.
async fn check_source(arguments: &Arguments, sides: &Sides, source: &Store) -> anyhow::Result<()> {
    if arguments.to == To::Servers && sides.local.state.load(&MOVING_IN).await?.is_some() {
        return Err(refused(moving_in(&sides.dir)));
    }
    let damage = source.damage();
    let not_whole = damage.known + damage.unreadable;
    if not_whole > 0 {
        let contents = counted(not_whole, "content");
        return Err(refused(format!(
            "{contents} known to be damaged or missing: `larder verify` tells which; upload what is \
             lost again, or remove its files"
        )));
    }
    if source.lost_changes() > 0 || (arguments.to == To::Servers && sides.local.damaged) {
        return Err(refused(
            "the journal is damaged, or has lost changes: `larder verify` tells of it",
        ));
    }
    if arguments.leave_unfinished {
        return Ok(());
    }
    let unfinished = match arguments.to {
        To::Servers => {
            let mut unfinished = 0;
            for purpose in [Purpose::Uploads, Purpose::Copies] {
                unfinished += source.partials(purpose).prepare().await?.len() as u64;
            }
            unfinished
        }
        To::Storage => sides.shared.index().unfinished().await?,
    };
    if unfinished > 0 {
        return Err(refused(format!(
            "unfinished uploads and copies cannot be moved, and {unfinished} of them are there: \
             wait for their end, or leave them with --leave-unfinished"
        )));
    }
    Ok(())
}

/// Writes down where the files come from, so that only this may go on and no node serves them
/// before their end, and tells whether there is anything to do; fails where other files are there.
async fn begin(to: To, sides: &Sides, moving: &Moving<'_>) -> anyhow::Result<bool> {
    let Sides {
        local, dir, shared, ..
    } = sides;
    let others = || refused("files are there already that have come otherwise");
    let own = dir.clone();
    match to {
        To::Servers => {
            let identity = blocking::run(move || Identity::load_or_create(&own)).await?;
            match shared.index().begin_move(identity.public()).await? {
                MoveBegun::Begun => {}
                MoveBegun::HasEnded if moving.is_done().await? => return Ok(false),
                MoveBegun::HasEnded => {
                    return Err(refused(
                        "they were moved there already, and have changed since",
                    ));
                }
                MoveBegun::HasOthers => return Err(others()),
            }
            // So that the nodes are the peer that the one before was.
            if shared.index().fleet_key(identity.secret()).await? != identity.secret() {
                client::say("the nodes there have a key, and stay another peer than this one");
            }
        }
        To::Storage => {
            let secret = shared
                .index()
                .fleet_key(Identity::generate()?.secret())
                .await?;
            if shared.index().is_moving().await? {
                return Err(refused("files are being moved there"));
            }
            let from = Identity::of_fleet(&secret).public().to_vec();
            match local.state.load(&MOVING_IN).await? {
                Some(before) if before == from => return Ok(true),
                None if local.store.totals().files == 0 => {}
                None if moving.is_done().await? => return Ok(false),
                _ => return Err(others()),
            }
            local.state.save(&MOVING_IN, from).await?;
            let kept = blocking::run(move || Identity::keep_first(&own, &secret)).await?;
            if kept.secret() != secret {
                client::say("the node there has a key, and stays another peer than those");
            }
        }
    }
    Ok(true)
}

/// Shows how far it is, for ever.
async fn show(moved: &Moved, totals: Totals, was_there: u64) -> anyhow::Result<()> {
    let bar = client::bar("moving", totals.blob_bytes);
    let proving: ProgressBar;
    loop {
        bar.set_position(was_there + moved.copied.load(Ordering::Relaxed));
        if moved.proven.load(Ordering::Relaxed) > 0 {
            bar.finish_and_clear();
            proving = client::bar("checking", totals.blob_bytes);
            break;
        }
        sleep(SHOW_EVERY).await;
    }
    loop {
        proving.set_position(moved.proven.load(Ordering::Relaxed));
        sleep(SHOW_EVERY).await;
    }
}
