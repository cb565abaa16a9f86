//! The node: composes what it is made of, and runs until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::base_url::BaseUrl;
use crate::blocking;
use crate::disk::Durability;
use crate::fetch::keep::{self, Keeper};
use crate::fetch::{self, Fetcher};
use crate::peer::announcing::announce_all;
use crate::peer::client::{Client, ClientError};
use crate::peer::discovery::{self, discover};
use crate::peer::greeting::say_goodbye;
use crate::peer::identity::{Identity, IdentityError};
use crate::peer::network::Network;
use crate::peer::reach::Reach;
use crate::peer::tls::Authorities;
use crate::peer::{directory, registry};
use crate::peer_id::PeerId;
use crate::resumable::{self, Uploads};
use crate::state_file::StateFile;
use crate::store::local::{self, LocalStore, OpenError, RELAXED_SYNC_EVERY};
use crate::store::{Store, StoreError};
use crate::timed_disk::{Syncs, TimedDisk};
use crate::web::Connections;
use crate::web::server;

pub mod disk_use;
mod problems;
pub mod view;

pub use problems::problems;

use view::View;

/// How a node is set up.
#[derive(Clone)]
pub struct Options {
    /// Where and how it keeps its files.
    pub store: local::Options,
    /// Where clients and peers reach it.
    pub base_url: BaseUrl,
    /// How it looks for peers.
    pub discovery: discovery::Options,
    /// Which peers it takes, and how many.
    pub registry: registry::Options,
    /// With whom it talks.
    pub reach: Reach,
    /// Who vouches for peers that are reached over TLS.
    pub authorities: Authorities,
    /// How it fetches what they hold.
    pub fetch: fetch::Options,
    /// Whether it keeps a copy of everything that is announced.
    pub keep_everything: bool,
    /// How long an upload that comes in parts may wait for its client.
    pub upload_expiry: Duration,
}

impl Options {
    /// A node that looks for nobody by itself; peers may still introduce themselves.
    pub fn alone(store: local::Options, base_url: BaseUrl) -> Self {
        Self {
            store,
            base_url,
            discovery: discovery::Options::default(),
            registry: registry::Options::default(),
            reach: Reach::default(),
            authorities: Authorities::default(),
            fetch: fetch::Options::default(),
            keep_everything: false,
            upload_expiry: UPLOAD_EXPIRY,
        }
    }
}

/// The file of the known peers in the storage directory.
const PEERS_FILE: &str = "known-peers";
const PEERS_KIND: &str = "larder-peers 1";
/// The directory of what is being fetched to be kept, in the storage directory.
const KEEPING_DIR: &str = "keeping";
/// The directory of uploads that come in parts, in the storage directory.
const UPLOADING_DIR: &str = "uploading";
/// How long those usually may wait for their clients: over a weekend.
pub const UPLOAD_EXPIRY: Duration = Duration::from_hours(72);

/// How long to wait with the collection after a crash where something is short.
const COLLECT_AGAIN: Duration = Duration::from_secs(30);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The storage directory cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The node's key cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The client that asks other nodes cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A node, as the surfaces see it.
pub struct Node {
    store: Store,
    peer_id: PeerId,
    network: Arc<Network>,
    fetcher: Arc<Fetcher>,
    keeper: Arc<Keeper>,
    uploads: Arc<Uploads>,
    options: Options,
    shutting_down: AtomicBool,
    connections: Arc<Connections>,
    syncs: Arc<Syncs>,
    /// While it lives, no other process opens the storage directory.
    opened: Option<LocalStore>,
}

impl Node {
    /// Opens the storage directory and the node's key in it, making both the first time.
    pub async fn open(mut options: Options) -> Result<Self, NodeError> {
        let syncs = Arc::<Syncs>::default();
        options.store.disk = Arc::new(TimedDisk::new(options.store.disk, Arc::clone(&syncs)));
        let opened = LocalStore::open(options.store.clone()).await?;
        let dir = options.store.dir.clone();
        let identity = blocking::run(move || Identity::load_or_create(&dir)).await?;
        let node = Self::over(opened.store.clone(), identity, options)?;
        Ok(Self {
            opened: Some(opened),
            syncs,
            ..node
        })
    }

    /// A node over a store of any kind, such as one in memory.
    pub fn over(store: Store, identity: Identity, options: Options) -> Result<Self, NodeError> {
        let peer_id = identity.peer_id();
        let network = Network::new(
            identity,
            options.base_url.clone(),
            Client::new(options.reach.clone(), &options.authorities)?,
            options.registry.clone(),
            directory::Options::default(),
        );
        let network = Arc::new(network);
        let fetcher = Fetcher::new(Arc::clone(&network), options.fetch.clone());
        let fetcher = Arc::new(fetcher);
        let every = options.discovery.every;
        let keeping = keep::Options {
            dir: options.store.dir.join(KEEPING_DIR),
            everything: options.keep_everything.then_some(every),
        };
        let keeper = Keeper::new(Arc::clone(&fetcher), store.clone(), keeping);
        let uploading = resumable::Options {
            dir: options.store.dir.join(UPLOADING_DIR),
            expiry: options.upload_expiry,
            spool: store.spool_options().clone(),
        };
        let uploads = Uploads::new(store.clone(), uploading);
        Ok(Self {
            store,
            peer_id,
            network,
            fetcher,
            keeper: Arc::new(keeper),
            uploads: Arc::new(uploads),
            options,
            shutting_down: AtomicBool::new(false),
            connections: Arc::default(),
            syncs: Arc::default(),
            opened: None,
        })
    }

    /// Serves `router` to whoever connects to `listener`, until `shutdown`; then
    /// ends what is under way, makes everything durable and closes the store.
    pub async fn run(
        &self,
        listener: TcpListener,
        router: Router,
        options: &server::Options,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), StoreError> {
        let background = self.start_background_work();
        let (leaving, left) = oneshot::channel();
        let shutdown = async {
            shutdown.await;
            self.shutting_down.store(true, Ordering::Relaxed);
            self.uploads.stop();
            let servers = self.options.discovery.bootstrap.clone();
            let farewell = say_goodbye(Arc::clone(&self.network), servers);
            // While what is under way ends, so that it costs no time.
            let _ = leaving.send(tokio::spawn(farewell));
        };
        let connections = Arc::clone(&self.connections);
        server::serve(listener, router, options, connections, shutdown).await;
        if let Ok(farewell) = left.await {
            // Not worth a word if it failed.
            let _ = farewell.await;
        }
        // Aborts what is left of it.
        drop(background);
        self.store.close().await
    }

    fn start_background_work(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if self.opened.as_ref().is_some_and(|opened| opened.crashed) {
            tasks.spawn(collect(self.store.clone()));
        }
        if self.opened.as_ref().is_some_and(|opened| opened.damaged) {
            tasks.spawn(tell_missing(self.store.clone()));
        }
        let store = self.store.clone();
        tasks.spawn(async move { store.keep_ballast().await });
        if self.options.store.durability == Durability::Relaxed {
            tasks.spawn(sync_regularly(self.store.clone(), RELAXED_SYNC_EVERY));
        }
        let (network, store) = (Arc::clone(&self.network), self.store.clone());
        let changes = store.listen();
        tasks.spawn(announce_all(network, store, changes));
        let file = StateFile::new(self.storage_dir().join(PEERS_FILE), PEERS_KIND);
        let options = self.options.discovery.clone();
        tasks.spawn(Arc::clone(&self.keeper).run());
        tasks.spawn(Arc::clone(&self.uploads).run());
        tasks.spawn(discover(Arc::clone(&self.network), options, file));
        tasks
    }

    /// What the node keeps.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the node knows of others.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What the node and others hold.
    pub fn view(&self) -> View<'_> {
        View {
            myself: self.peer_id,
            store: &self.store,
            directory: &self.network.directory,
        }
    }

    /// How the node reads what others hold.
    pub fn fetcher(&self) -> &Arc<Fetcher> {
        &self.fetcher
    }

    /// What the node makes copies of.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// What is coming in over several requests.
    pub fn uploads(&self) -> &Arc<Uploads> {
        &self.uploads
    }

    /// Who the node is.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Where the node is reached.
    pub fn base_url(&self) -> &BaseUrl {
        &self.options.base_url
    }

    /// The storage directory, as it was configured.
    pub fn storage_dir(&self) -> &Path {
        &self.options.store.dir
    }

    /// Whether long content is proven against its hash before it is given out.
    pub fn verifies_reads(&self) -> bool {
        self.options.store.verify_reads
    }

    /// Its connections, while it runs.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// How long its disk takes to sync.
    pub fn syncs(&self) -> &Syncs {
        &self.syncs
    }

    /// Whether the node was told to stop.
    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Relaxed)
    }
}

/// Deletes the blobs without a record that a crash has left.
async fn collect(store: Store) {
    loop {
        match store.collect_all().await {
            Ok(0) => return,
            Ok(collected) => {
                return tracing::info!(collected, "blobs that no file needs were deleted");
            }
            Err(error) if error.is_shortage() => {
                tracing::warn!(%error, "blobs that no file needs are deleted later");
                tokio::time::sleep(COLLECT_AGAIN).await;
            }
            Err(error) => {
                return tracing::error!(%error, "blobs that no file needs were not all deleted");
            }
        }
    }
}

/// Tells which files came back without their content when the journal was mended.
async fn tell_missing(store: Store) {
    match store.tell_missing().await {
        Ok(0) => {}
        Ok(missing) => tracing::warn!(missing, "files are listed whose content is not there"),
        Err(error) => tracing::error!(%error, "it is not known which files have no content"),
    }
}

/// Keeps the promise of relaxed durability.
async fn sync_regularly(store: Store, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = store.sync().await {
            tracing::error!(%error, "the last changes are not durable");
        }
    }
}
