//! `larder serve`: a node from start to end.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::own_nodes::OwnNode;
use super::stop::{Reloaded, StopSignal, hangup, reload_on_hangup};
use super::storage::{advised, keep_private, moving_in, of_owner};
use super::{allocator, limits, logging, service, upgrade};
use crate::access::Writers;
use crate::blocking;
use crate::config::{Checked, Kept, Settings, Source, Sources, WrongSetting, reached};
use crate::fetch::copies;
use crate::http;
use crate::index;
use crate::node::{self, Copying, Node};
use crate::open_files::{self, Shares};
use crate::peer::client::ClientError;
use crate::peer::identity::{Identity, IdentityError};
use crate::small_state::{SmallState, StateError};
use crate::store::local::{self, LocalStore, OpenError};
#[cfg(feature = "shared")]
use crate::store::shared::{self, SharedStore};
use crate::store::{COPIES_DIR, MOVING_IN, Store};
use crate::web::server;
use crate::web::transfers::SENDING;

/// How often to look whether the start goes on.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long work on other threads has to end after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

pub(super) fn run(settings: &Settings, sources: &Sources) -> anyhow::Result<ExitCode> {
    logging::start_for_server(settings.log());
    allocator::limit();
    keep_private();
    limits::raise_open_files();
    limits::be_told_of_the_end_of_time();
    let checked = settings.checked()?;
    let runtime = or_panic(|| Ok(limits::new_runtime()?)).context("cannot start the runtime")?;
    let served = or_panic(|| runtime.block_on(serve(settings, sources, checked)));
    if served.is_err() {
        // What hangs keeps nobody from ending.
        runtime.shutdown_timeout(AFTER_FAILURE);
    }
    served.map(|()| ExitCode::SUCCESS)
}

/// Does `work`, whose panic is an error: where no thread can be made, the runtime has no other
/// way to tell it.
fn or_panic<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("{}", said.unwrap_or("it panicked")))
    })
}

async fn serve(settings: &Settings, sources: &Sources, checked: Checked) -> anyhow::Result<()> {
    let Checked {
        http,
        kept,
        membership,
        authorities,
        tls,
    } = checked;
    // From here on the signals end the node in order.
    let mut stop = StopSignal::listen()?;
    let channel = Arc::new(OnceLock::new());
    let tokens = settings.token_files().map(Arc::new);
    let reloaded = Reloaded {
        tls: tls.clone(),
        tokens: tokens.map(|it| (it, http.access.clone())),
        membership: settings
            .network()
            .map(|it| (it.to_owned(), Arc::clone(&channel))),
    };
    tokio::spawn(reload_on_hangup(hangup()?, reloaded));
    let address = settings.listen();
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    let mut options = node::Options {
        membership,
        authorities,
        ..settings.node(bound)?
    };
    options.discovery.default_bootstrap = sources.of("bootstrap") == Some(Source::Default);
    let grace = settings.server().shutdown_grace;
    let _noted = match settings.own_certificate().map(Path::to_owned) {
        Some(certificate) => blocking::run(move || OwnNode::note(bound, &certificate)).await,
        None => None,
    };
    let Some(opened) = open(kept, options, &mut stop, grace).await? else {
        return Ok(());
    };
    let node = Arc::new(opened.node);
    let members = node.network().client.reach().members.clone();
    if let Some(members) = &members {
        let _ = channel.set(Arc::clone(members));
    }
    let writers = http.access.now().writers();
    warn_of_settings(&node, settings, bound, writers);
    let router = http::router(Arc::clone(&node), http);
    allocator::end_start();
    tell_serving(&node, settings, bound, writers);
    let server = server::Options {
        tls,
        members,
        files: files(node.store()),
        ..settings.server()
    };
    tokio::spawn(allocator::give_back_regularly());
    let shutdown = stop.wait_once(Arc::clone(&server.hurry));
    node.run(listener, router, &server, shutdown)
        .await
        .context("the last changes may not be on disk")
}

/// How many files its clients may have open.
fn files(store: &Store) -> Shares {
    let most_transfers = store.most_readers().map(|it| it * SENDING);
    open_files::shares().with_most_transfers(most_transfers)
}

/// Warns where what was set may not be what was meant.
fn warn_of_settings(node: &Node, settings: &Settings, bound: SocketAddr, writers: Writers) {
    if node.base_url().has_path() {
        tracing::warn!(
            base_url = %node.base_url(),
            "peers ask no node whose base URL has a path, so none reaches this one"
        );
    }
    if writers == Writers::Nobody {
        tracing::warn!(%bound, "takes no changes: {}", how_to_write(settings));
    }
    if writers == Writers::Anybody && settings.is_behind_gateway() && !settings.is_open() {
        tracing::warn!(
            "whoever reaches the gateway in front may write and delete: set --tokens, --token or \
             --token-file, or --open where that is meant"
        );
    }
}

/// Tells in the log, on standard output and to the service manager that the node serves, where, and
/// who may write.
fn tell_serving(node: &Node, settings: &Settings, bound: SocketAddr, writers: Writers) {
    let storage = node.store().storage();
    let is_member = node.network().client.reach().members.is_some();
    // Members talk with none, whatever is set.
    let servers = settings.bootstrap().iter().filter(|_| !is_member);
    let servers: Vec<_> = servers.map(ToString::to_string).collect();
    let bootstrap = servers.join(" ");
    tracing::info!(%bound, peer_id = %node.peer_id(), base_url = %node.base_url(), %storage,
        %bootstrap, "serving");
    let said = format!(
        "larder serves {storage} on {} as peer {}, and takes changes from {}",
        reached::shown(settings.scheme(), bound, node.base_url()),
        node.peer_id(),
        match writers {
            Writers::Anybody => "everybody who reaches it".to_owned(),
            Writers::Token => "whoever bears a token for that".to_owned(),
            Writers::Nobody => format!("nobody: {}", how_to_write(settings)),
        }
    );
    logging::say(&said);
    service::serves(&said);
}

/// What to do where nobody may write.
fn how_to_write(settings: &Settings) -> &'static str {
    if settings.has_tokens() {
        "no token has the right to it; `larder token` adds one"
    } else {
        "set --tokens, --token, --token-file or --open"
    }
}

/// A node over what keeps its files.
struct Opened {
    node: Node,
    /// While it lives, no other process opens the directory.
    _storage: Box<dyn Any + Send>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
enum NotOpened {
    /// The storage directory cannot be opened.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// What others share cannot be opened.
    #[cfg(feature = "shared")]
    #[error(transparent)]
    Shared(#[from] shared::OpenError),
    /// Not all files are there yet.
    #[error("{}", moving_in(.0))]
    Moving(PathBuf),
    /// What the directory remembers cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The node's key cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The client that asks other nodes cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Opens what keeps the files and the node's key, making both the first time.
async fn compose(kept: Kept, mut options: node::Options) -> Result<Opened, NotOpened> {
    let dir = kept.dir().to_owned();
    let state: Arc<dyn SmallState>;
    let storage: Box<dyn Any + Send>;
    let (store, identity) = match kept {
        Kept::Here(store, copies) => {
            let of_copies = copies_dir(&store, copies.as_ref());
            let opened = LocalStore::open(local::Options {
                upgrade_told: Some(upgrade::told()),
                ..store
            });
            let opened = opened.await?;
            if opened.state.load(&MOVING_IN).await?.is_some() {
                return Err(NotOpened::Moving(dir));
            }
            let store = opened.store.clone();
            state = opened.state.clone();
            let held = match of_copies.zip(copies) {
                Some((dir, copies)) => Some(open_copies(dir, copies, &mut options).await?),
                None => None,
            };
            storage = Box::new((opened, held));
            let identity = blocking::run(move || Identity::load_or_create(&dir)).await?;
            (store, identity)
        }
        #[cfg(feature = "shared")]
        Kept::Shared(store) => {
            let opened = SharedStore::open(*store).await?;
            let key = opened.key(Identity::generate()?.secret()).await?;
            let store = opened.store.clone();
            (state, storage) = (opened.state.clone(), Box::new(opened));
            (store, Identity::of_fleet(&key))
        }
    };
    // Before anything asks how many files it may have open.
    blocking::run(limits::share_out_files).await;
    Ok(Opened {
        node: Node::new(store, identity, state, options)?,
        _storage: storage,
    })
}

/// Where a member holds copies for others.
fn copies_dir(own: &local::Options, copies: Option<&copies::Options>) -> Option<local::Options> {
    let dir = own.dir.join(COPIES_DIR);
    Some(local::Options {
        dir,
        max_upload: None,
        quota: Some(copies?.offer),
        // What its owner has removed is gone, and nobody else brings it back.
        trash: None,
        ..own.clone()
    })
}

/// Opens it; while what is given back lives, no other process does.
async fn open_copies(
    dir: local::Options,
    copies: copies::Options,
    options: &mut node::Options,
) -> Result<LocalStore, OpenError> {
    let opened = LocalStore::open(dir).await?;
    options.copies = Some(Copying {
        store: opened.store.clone(),
        state: opened.state.clone(),
        options: copies,
    });
    Ok(opened)
}

/// Opens the node; None where it was told to stop meanwhile, and has. Neither that nor a thread
/// that could not be made is waited for without end.
async fn open(
    kept: Kept,
    options: node::Options,
    stop: &mut StopSignal,
    grace: Duration,
) -> anyhow::Result<Option<Opened>> {
    let dir = kept.dir().to_owned();
    let mut opening = tokio::spawn(compose(kept, options));
    let opened = tokio::select! {
        opened = &mut opening => opened,
        cause = stuck() => return Err(anyhow!("the lookup database cannot be opened: {cause}")),
        () = stop.wait() => {
            tracing::info!("stopping");
            service::stops();
            let cut = || anyhow!("stopped while the start was under way");
            let opened = tokio::select! {
                opened = timeout(grace, opening) => opened.map_err(|_| cut())?,
                () = stop.wait() => return Err(cut()),
            };
            if let Ok(Ok(opened)) = opened {
                opened.node.store().close().await?;
            }
            return Ok(None);
        }
    };
    let opened = opened.context("the start ended by a panic")?;
    opened.map(Some).map_err(|error| match error {
        NotOpened::Storage(error) => advised(error, &dir),
        NotOpened::Identity(IdentityError::Disk(error)) => of_owner(error, &dir),
        NotOpened::Client(ClientError::Channel(error)) => {
            WrongSetting::of("network", &error).into()
        }
        #[cfg(feature = "shared")]
        NotOpened::Shared(error) if !error.settings().is_empty() => {
            WrongSetting::of_several(error.settings(), &error).into()
        }
        other => other.into(),
    })
}

/// Returns once the lookup database waits for ever, with the reason.
async fn stuck() -> String {
    loop {
        sleep(LOOK_EVERY).await;
        if let Some(cause) = index::stuck() {
            return cause;
        }
    }
}
