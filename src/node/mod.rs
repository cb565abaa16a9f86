//! The node: composes what it is made of, and runs until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::base_url::BaseUrl;
use crate::fetch::copies::{self, Copies};
use crate::fetch::keep::Keeper;
use crate::fetch::{self, Fetcher};
use crate::peer::announcing::announce_all;
use crate::peer::client::{Client, ClientError};
use crate::peer::discovery::{self, discover};
use crate::peer::greeting::say_goodbye;
use crate::peer::identity::Identity;
use crate::peer::known_peers::{self, KnownPeers};
use crate::peer::membership::{Channel, Joined};
use crate::peer::network::Network;
use crate::peer::reach::Reach;
use crate::peer::tls::Authorities;
use crate::peer::upkeep::Upkeep;
use crate::peer::{directory, registry};
use crate::peer_id::PeerId;
use crate::resumable::{Uploads, Wishes};
use crate::small_state::SmallState;
use crate::store::{Store, StoreError};
use crate::web::Connections;
use crate::web::server;

mod care;
mod count;
mod pace;
pub mod repair;
pub mod scrub;
pub mod turns;
pub mod view;
mod wishing;

use count::{Count, Everything};
use repair::Repair;
use scrub::Scrub;
use turns::Turns;
use view::View;
use wishing::Wishing;

/// How a node is set up.
#[derive(Clone)]
pub struct Options {
    /// Where clients and peers reach it.
    pub base_url: BaseUrl,
    /// How it looks for peers.
    pub discovery: discovery::Options,
    /// Which peers it takes, and how many.
    pub registry: registry::Options,
    /// How much memory it has for what they tell.
    pub directory: directory::Options,
    /// With whom it talks.
    pub reach: Reach,
    /// What makes it a member of a network, if it is one.
    pub membership: Option<Joined>,
    /// Who vouches for peers that are reached over TLS.
    pub authorities: Authorities,
    /// How it fetches what they hold.
    pub fetch: fetch::Options,
    /// Whether it keeps a copy of everything that is announced.
    pub keep_everything: bool,
    /// How it holds copies for other members of its network, if it does.
    pub copies: Option<Copying>,
    /// How long an upload that comes in parts may wait for its client.
    pub upload_expiry: Duration,
    /// How often and how fast everything stored is read.
    pub scrub: scrub::Options,
}

impl Options {
    /// A node that looks for nobody by itself; peers may still introduce themselves.
    pub fn alone(base_url: BaseUrl) -> Self {
        Self {
            base_url,
            discovery: discovery::Options::default(),
            registry: registry::Options::default(),
            directory: directory::Options::default(),
            reach: Reach::default(),
            membership: None,
            authorities: Authorities::default(),
            fetch: fetch::Options::default(),
            keep_everything: false,
            copies: None,
            upload_expiry: UPLOAD_EXPIRY,
            scrub: scrub::Options::default(),
        }
    }
}

/// Where and how a member holds copies for others.
#[derive(Clone)]
pub struct Copying {
    /// What it holds them in.
    pub store: Store,
    /// Where it remembers what belongs to that.
    pub state: Arc<dyn SmallState>,
    /// How many, and how long.
    pub options: copies::Options,
}

/// What a member does about copies, and what looks after those that it holds.
struct Holding {
    copies: Arc<Copies>,
    scrub: Arc<Scrub>,
    repair: Arc<Repair>,
}

/// What looks after the membership of a node that is a member.
fn upkeep(options: &Options, state: &Arc<dyn SmallState>) -> Option<Arc<Upkeep>> {
    let channel = options.reach.members.as_ref()?;
    let file = options.membership.as_ref().and_then(|it| it.file.clone());
    let upkeep = Upkeep::new(Arc::clone(channel), file, Arc::clone(state));
    Some(Arc::new(upkeep))
}

/// The same for a node that talks with members alone, where it is one: no server hears of it.
fn among_members(options: Options, identity: &Identity) -> Result<Options, ClientError> {
    let Some(joined) = options.membership.clone() else {
        return Ok(options);
    };
    let mut options = options;
    let network = joined.certificate.network;
    let channel = Channel::new(identity, joined.certificate, joined.admin)?;
    tracing::info!(
        %network,
        "a member of a network: talks with other members alone, those that --peer names, those \
         whom they know and those of the local network, and with no bootstrap server"
    );
    options.reach.members = Some(Arc::new(channel));
    options.discovery.bootstrap.clear();
    Ok(options)
}

impl Holding {
    /// What has files be on as many members as their uploaders say.
    fn wishes(&self) -> Arc<dyn Wishes> {
        Arc::new(Wishing(Arc::clone(&self.copies)))
    }

    /// That of a node with these files of its own, where it holds copies for others.
    fn of(
        options: &Options,
        own: &Store,
        fetcher: &Arc<Fetcher>,
        connections: &Arc<Connections>,
    ) -> Option<Self> {
        let Copying {
            store,
            state,
            options: copying,
        } = options.copies.clone()?;
        let (files, states) = (store.clone(), Arc::clone(&state));
        let pausing = Arc::clone(connections);
        let scrub = Scrub::new(files, states, pausing, options.scrub.clone());
        let (network, pausing) = (fetcher.network(), Arc::clone(connections));
        let repair = Repair::new(
            store.clone(),
            Arc::clone(fetcher),
            network,
            pausing,
            options.scrub.rate,
        );
        let copies = Copies::new(own.clone(), store, Arc::clone(fetcher), state, copying);
        Some(Self {
            copies: Arc::new(copies),
            scrub: Arc::new(scrub),
            repair: Arc::new(repair),
        })
    }
}

/// How long uploads in parts usually may wait for their clients: over a weekend.
pub const UPLOAD_EXPIRY: Duration = Duration::from_hours(72);

/// How long a start waits for what it knew of peers: the disk may have more to do.
const RECALLING: Duration = Duration::from_secs(1);

/// How many archives of either kind are put together at once.
const ARCHIVES: usize = 4;

/// A node, as the surfaces see it.
pub struct Node {
    store: Store,
    known_peers: KnownPeers,
    upkeep: Option<Arc<Upkeep>>,
    peer_id: PeerId,
    network: Arc<Network>,
    fetcher: Arc<Fetcher>,
    keeper: Arc<Keeper>,
    holding: Option<Holding>,
    uploads: Arc<Uploads>,
    scrub: Arc<Scrub>,
    repair: Arc<Repair>,
    count: Arc<Count>,
    searches: Turns,
    folders: Turns,
    choices: Turns,
    options: Options,
    shutting_down: watch::Sender<bool>,
    connections: Arc<Connections>,
}

impl Node {
    /// A node that keeps its files in `store`, is who `identity` says, and remembers in `state`
    /// what else is worth that.
    pub fn new(
        store: Store,
        identity: Identity,
        state: Arc<dyn SmallState>,
        options: Options,
    ) -> Result<Self, ClientError> {
        let options = among_members(options, &identity)?;
        let peer_id = identity.peer_id();
        let network = Network::new(
            identity,
            options.base_url.clone(),
            Client::new(options.reach.clone(), &options.authorities)?,
            options.registry.clone(),
            options.directory.clone(),
        );
        let network = Arc::new(network);
        let fetcher = Fetcher::new(Arc::clone(&network), options.fetch.clone());
        let fetcher = Arc::new(fetcher);
        let everything = options.keep_everything.then_some(options.discovery.every);
        let (files, states) = (store.clone(), Arc::clone(&state));
        let keeper = Keeper::new(Arc::clone(&fetcher), files, states, everything);
        let connections = Arc::<Connections>::default();
        let (files, states) = (store.clone(), Arc::clone(&state));
        let pausing = Arc::clone(&connections);
        let scrub = Scrub::new(files, states, pausing, options.scrub.clone());
        let repair = Repair::new(
            store.clone(),
            Arc::clone(&fetcher),
            Arc::clone(&network),
            Arc::clone(&connections),
            options.scrub.rate,
        );
        let holding = Holding::of(&options, &store, &fetcher, &connections);
        let (files, states) = (store.clone(), Arc::clone(&state));
        let uploads = Uploads::new(files, states, options.upload_expiry)
            .heeded_by(holding.as_ref().map(Holding::wishes));
        let upkeep = upkeep(&options, &state);
        let shared = store.peers().map(KnownPeers::Shared);
        let known_peers = shared.unwrap_or(KnownPeers::Own(state));
        Ok(Self {
            store,
            known_peers,
            upkeep,
            peer_id,
            network,
            fetcher,
            keeper: Arc::new(keeper),
            holding,
            uploads: Arc::new(uploads),
            scrub: Arc::new(scrub),
            repair: Arc::new(repair),
            count: Arc::default(),
            searches: Turns::new(1),
            folders: Turns::new(ARCHIVES),
            choices: Turns::new(ARCHIVES),
            options,
            shutting_down: watch::Sender::new(false),
            connections,
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
        if self.store.has_quota() {
            // What is unfinished takes room before anybody brings more. Where that cannot be
            // listed, whoever needs it next looks again, and tells why.
            let _ = self.uploads.recall().await;
            let _ = self.keeper.recall().await;
        }
        if let Some(upkeep) = &self.upkeep {
            upkeep.recall().await;
        }
        self.network.own_version.count(self.store.totals().files);
        let recalling = known_peers::recall(&self.network, &self.known_peers);
        let has_recalled = timeout(RECALLING, recalling).await.is_ok();
        let background = self.start_background_work(has_recalled);
        let (leaving, left) = oneshot::channel();
        let shutdown = async {
            shutdown.await;
            self.shutting_down.send_replace(true);
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
        self.keeper.leave().await;
        self.scrub.stop().await;
        if let Some(holding) = &self.holding {
            holding.scrub.stop().await;
        }
        known_peers::write_down(&self.network, &self.known_peers).await;
        let closed = self.store.close().await;
        match &self.holding {
            Some(holding) => closed.and(holding.copies.store().close().await),
            None => closed,
        }
    }

    fn start_background_work(&self, has_recalled: bool) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        self.store.keep_up(&mut tasks);
        let (network, store) = (Arc::clone(&self.network), self.store.clone());
        let changes = store.listen();
        tasks.spawn(announce_all(network, store, changes));
        let network = Arc::clone(&self.network);
        tasks.spawn(async move { network.directory.finish().await });
        let options = self.options.discovery.clone();
        // Of whom nobody is known or named nothing is found out that anybody should wait for.
        if !(options.peers.is_empty() && self.network.registry.is_empty()) {
            self.network.beginning.begin(options.peers.len());
        }
        tasks.spawn(Arc::clone(&self.keeper).run());
        tasks.spawn(Arc::clone(&self.uploads).run());
        tasks.spawn(Arc::clone(&self.scrub).run());
        tasks.spawn(Arc::clone(&self.repair).run());
        if let Some(holding) = &self.holding {
            holding.copies.store().keep_up(&mut tasks);
            tasks.spawn(Arc::clone(&holding.copies).run());
            tasks.spawn(Arc::clone(&holding.scrub).run());
            tasks.spawn(Arc::clone(&holding.repair).run());
        }
        let (network, known) = (Arc::clone(&self.network), self.known_peers.clone());
        if let Some(upkeep) = self.upkeep.clone() {
            tasks.spawn(upkeep.run(Arc::clone(&network), options.every));
        }
        tasks.spawn(discover(network, options, known, has_recalled));
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

    /// Turns at searches by name: each of them is a look at some names, and one looks at a time, so
    /// that a processor is free for whoever wants anything else.
    pub fn searches(&self) -> &Turns {
        &self.searches
    }

    /// Turns at putting archives of folders together, which looks for their files and gathers the
    /// names of all of them.
    pub fn folders(&self) -> &Turns {
        &self.folders
    }

    /// The same of archives of files that were chosen, which takes little beside that.
    pub fn choices(&self) -> &Turns {
        &self.choices
    }

    /// How many files the network holds: as many as are listed, exact up to a thousand, and beyond
    /// that as of the last count, with what came and went since.
    pub async fn network_files(&self) -> u64 {
        let all = Everything {
            myself: self.peer_id,
            store: self.store.clone(),
            network: Arc::clone(&self.network),
        };
        self.count.now(all).await
    }

    /// How the node reads what others hold.
    pub fn fetcher(&self) -> &Arc<Fetcher> {
        &self.fetcher
    }

    /// What the node makes copies of.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// The copies that it holds for other members of its network, and they of its files.
    pub fn copies(&self) -> Option<&Arc<Copies>> {
        self.holding.as_ref().map(|it| &it.copies)
    }

    /// What is coming in over several requests.
    pub fn uploads(&self) -> &Arc<Uploads> {
        &self.uploads
    }

    /// How everything stored is read once in a while.
    pub fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    /// How what is stored and not whole comes again.
    pub fn repair(&self) -> &Repair {
        &self.repair
    }

    /// How what it holds for other members is read once in a while, and comes again.
    pub fn care_of_copies(&self) -> Option<(&Scrub, &Repair)> {
        let holding = self.holding.as_ref()?;
        Some((&holding.scrub, &holding.repair))
    }

    /// Who the node is.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Where the node is reached.
    pub fn base_url(&self) -> &BaseUrl {
        &self.options.base_url
    }

    /// Its connections, while it runs.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Whether the node was told to stop.
    pub fn is_shutting_down(&self) -> bool {
        *self.shutting_down.borrow()
    }

    /// The same, for who waits for it.
    pub fn shutting_down(&self) -> watch::Receiver<bool> {
        self.shutting_down.subscribe()
    }
}
