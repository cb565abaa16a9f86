//! The daemon that speaks multicast DNS. It remembers whatever the network answers, true or made
//! up, for as long as the answer says, and has no limit of its own. So it is asked how much that
//! is, and where it is too much a new one takes its place, which asks the network anew. What came
//! meanwhile may be lost, so once that is over the network is asked once more.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mdns_sd::{DaemonStatus, IfKind, Metrics, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::again::Again;
use crate::peer::lines::Lines;
use crate::peer_id::PeerId;

/// The type of the service, as DNS-SD names it.
pub(super) const SERVICE: &str = "_larder._tcp.local.";
/// How many records a daemon remembers before another takes its place: those of some 700
/// nodes. A record takes some 400 bytes with its names, and no more than a packet has, 9 KB.
const MAX_RECORDS: i64 = 4096;
/// How many points in time at which it wants to look at a record, 16 bytes each; every answer
/// adds three, also one that is known.
const MAX_TIMERS: i64 = 1 << 17;
/// How often it is asked.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// How long to wait before asking anew, when more was answered than could be read.
const PAUSE: Duration = Duration::from_secs(5);

/// What it counts of what it remembers.
const RECORDS: [&str; 6] = [
    "cached-ptr",
    "cached-srv",
    "cached-txt",
    "cached-addr",
    "cached-nsec",
    "cached-subtype",
];

/// How neighbours are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Where this node listens.
    pub listen: SocketAddr,
    /// The UDP port of multicast DNS: [`super::PORT`], or one that all neighbours have agreed on.
    pub port: u16,
}

/// What whoever wants to know the neighbours is told.
pub(super) enum Told {
    /// What the daemon has found.
    Found(ServiceEvent),
    /// Nobody will be told who goes of those that were found so far.
    Doubt,
    /// Some time has passed.
    Tick,
}

/// Reads what a daemon finds, and looks after it.
pub(super) struct Reader {
    id: PeerId,
    options: Options,
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    /// Takes in what was found, and says whether somebody was lost by it whom nobody has asked.
    tell: Box<dyn FnMut(Told) -> bool + Send>,
    again: Again,
    log: Lines,
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Says goodbye; neighbours that miss it find out when they ask.
        let _ = self.daemon.shutdown();
    }
}

fn begin(
    id: PeerId,
    options: Options,
) -> Result<(ServiceDaemon, Receiver<ServiceEvent>), mdns_sd::Error> {
    let daemon = ServiceDaemon::new_with_port(options.port)?;
    let interfaces = interfaces(options.listen.ip());
    daemon.disable_interface(IfKind::All)?;
    daemon.enable_interface(interfaces.clone())?;
    daemon.register(service(id, options.listen.port(), interfaces)?)?;
    let events = daemon.browse(SERVICE)?;
    Ok((daemon, events))
}

/// The interfaces behind an address that a node listens on.
fn interfaces(listen: IpAddr) -> IfKind {
    match listen {
        IpAddr::V4(ip) if ip.is_unspecified() => IfKind::IPv4,
        IpAddr::V6(ip) if ip.is_unspecified() => IfKind::All,
        IpAddr::V4(ip) if ip.is_loopback() => IfKind::LoopbackV4,
        IpAddr::V6(ip) if ip.is_loopback() => IfKind::LoopbackV6,
        ip => IfKind::Addr(ip),
    }
}

fn service(id: PeerId, port: u16, interfaces: IfKind) -> Result<ServiceInfo, mdns_sd::Error> {
    let name = id.to_string();
    let host = format!("{name}.local.");
    let service = ServiceInfo::new(SERVICE, &name, &host, (), port, None)?;
    let mut service = service.enable_addr_auto();
    service.set_interfaces(vec![interfaces]);
    Ok(service)
}

impl Reader {
    /// Starts a daemon, which tells of this node and looks for others.
    pub(super) fn start(
        id: PeerId,
        options: Options,
        tell: impl FnMut(Told) -> bool + Send + 'static,
    ) -> Result<Self, mdns_sd::Error> {
        let (daemon, events) = begin(id, options)?;
        Ok(Self {
            id,
            options,
            daemon,
            events,
            tell: Box::new(tell),
            again: Again::default(),
            log: Lines::default(),
        })
    }

    /// Takes in what the network answers, for ever.
    pub(super) async fn run(mut self) {
        let mut check = interval(CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.recv_async() => match event {
                    Ok(event) => if (self.tell)(Told::Found(event)) {
                        self.again.missed(Instant::now());
                    },
                    // The daemon gives up a reader that is too slow for what comes.
                    Err(_) => self.ask_anew().await,
                },
                _ = check.tick() => {
                    (self.tell)(Told::Tick);
                    if self.is_full().await {
                        self.forget().await;
                    } else if self.again.is_due(Instant::now()) {
                        self.start_anew().await;
                    }
                }
            }
        }
    }

    /// Whether the daemon remembers too much. It tells as soon as it has read what has come.
    async fn is_full(&mut self) -> bool {
        let Ok(told) = self.daemon.get_metrics() else {
            return false;
        };
        let told = told.recv_async().await;
        told.is_ok_and(|it| is_too_much(&it))
    }

    async fn ask_anew(&mut self) {
        if self.is_full().await {
            return self.forget().await;
        }
        sleep(PAUSE).await;
        self.again.missed(Instant::now());
        match self.daemon.browse(SERVICE) {
            Ok(events) => self.events = events,
            Err(error) => tracing::debug!(%error, "multicast DNS does not answer"),
        }
    }

    /// Has all be forgotten that was answered, which was too much.
    async fn forget(&mut self) {
        self.start_anew().await;
        self.again.missed(Instant::now());
        self.log.tell(|left_out| {
            tracing::info!(
                left_out,
                "more answers by multicast DNS than nodes have: forgotten, and asked anew"
            );
        });
    }

    /// Has a new daemon take the place of this one, once that has said its goodbye: said later, it
    /// would make neighbours forget the new one.
    async fn start_anew(&mut self) {
        if let Ok(stopping) = self.daemon.shutdown() {
            while !matches!(
                stopping.recv_async().await,
                Ok(DaemonStatus::Shutdown) | Err(_)
            ) {}
        }
        (self.tell)(Told::Doubt);
        loop {
            match begin(self.id, self.options) {
                Ok((daemon, events)) => {
                    (self.daemon, self.events) = (daemon, events);
                    break;
                }
                Err(error) => tracing::debug!(%error, "multicast DNS does not start anew"),
            }
            sleep(PAUSE).await;
        }
    }
}

fn is_too_much(metrics: &Metrics) -> bool {
    let count = |name| metrics.get(name).copied().unwrap_or(0);
    let records: i64 = RECORDS.into_iter().map(count).sum();
    records > MAX_RECORDS || count("timer") > MAX_TIMERS
}
