//! The settings: each a flag, an environment variable and a default.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use crate::base_url::{BaseUrl, NODE_PORT};
use crate::fetch;
use crate::http;
use crate::node;
use crate::peer::address::{Policy, network};
use crate::peer::reach::Reach;
use crate::peer::tls::Authorities;
use crate::peer::{discovery, mdns, registry};
use crate::web::origin::AllowedOrigin;
use crate::web::server;

mod access;
mod alike;
mod checked;
mod composed;
mod copying;
mod file;
mod gateways;
mod line;
mod listen;
mod log;
mod number;
mod own;
mod period;
pub mod reached;
mod room;
mod scrubbing;
mod secret;

#[cfg(feature = "shared")]
pub mod shared;
mod size;
mod source;
mod storing;
mod tls;
mod tokens;
mod uploading;
mod variables;
mod wrong;

pub use access::TokenFiles;
pub use composed::{Checked, Kept};
pub use copying::number_of_copies;
pub use file::{FileError, NamedFile, SettingsFile};
pub use gateways::GatewayArguments;
pub use listen::Listen;
pub use log::{Format, Log};
pub use number::number;
pub use period::{SECOND, period, shown as shown_period};
pub use secret::Secret;
pub use size::Size;
pub use source::{Source, Sources};
pub use tokens::{TokensError, add_token};
pub use variables::check as check_variables;
pub use wrong::WrongSetting;

/// How many requests a second peers may send from one address. A thousand signatures take some
/// tenth of a core to check; 200 nodes of one address that look for each other every second send a
/// fifth of it; and what a node announces beyond it, peers learn when they next ask.
pub const DEFAULT_PEER_RATE: u32 = 1000;

/// The settings of a node.
#[derive(Args, Debug)]
pub struct Settings {
    #[command(flatten)]
    file: NamedFile,

    /// Address to listen on: an IP address, with or without a port.
    #[arg(
        long,
        env = "LARDER_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1"
    )]
    listen: Listen,

    /// Port to listen on where --listen names none; 0 takes any free one.
    #[arg(
        long,
        env = "PEER_PORT",
        default_value_t = NODE_PORT,
        value_parser = |it: &str| number(it, 0..=u16::MAX)
    )]
    port: u16,

    /// Directory that keeps the files; made if it does not exist.
    #[arg(
        long,
        env = "STORAGE_DIR",
        value_name = "DIR",
        default_value = "peer_storage"
    )]
    storage: PathBuf,

    /// Bootstrap server that introduces peers: a host with its port, or a URL; can be repeated.
    #[arg(
        long,
        env = "BOOTSTRAP_SERVER",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://localhost:9000",
        value_parser = BaseUrl::of_peer
    )]
    bootstrap: Vec<BaseUrl>,

    /// Peer to exchange files with, no bootstrap server needed: a host with its port, or a URL;
    /// can be repeated.
    #[arg(
        long,
        env = "LARDER_PEER",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = BaseUrl::of_peer
    )]
    peer: Vec<BaseUrl>,

    /// Do not look for nodes on the local network by multicast DNS, and do not tell of this
    /// one there.
    #[arg(long, env = "LARDER_NO_MDNS")]
    no_mdns: bool,

    /// How often to look for peers and ask them what they hold, such as 30s or 5m; a bare number
    /// is seconds.
    #[arg(
        long,
        env = "LARDER_DISCOVER_EVERY",
        value_name = "TIME",
        default_value = "30",
        value_parser = |it: &str| period(it, SECOND, 1..=86_400)
    )]
    discover_every: Duration,

    /// Refuse peers that do not sign what they tell, such as those of the Python service.
    #[arg(long, env = "LARDER_REQUIRE_SIGNED")]
    require_signed: bool,

    /// Network that peers may be in, such as 10.0.0.0/8; can be repeated
    /// [default: everywhere but reserved ranges].
    #[arg(
        long,
        env = "LARDER_PEER_NETWORKS",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = network
    )]
    peer_networks: Vec<IpNet>,

    /// File of certificates (PEM) of authorities that vouch for peers and bootstrap servers
    /// with https addresses, beside those that this system knows.
    #[arg(long, env = "LARDER_PEER_CA", value_name = "FILE")]
    peer_ca: Option<PathBuf>,

    /// How many requests a second peers may send from one address (IPv6: a /64), ten times
    /// as many at once; 0: no limit.
    #[arg(
        long,
        env = "LARDER_PEER_RATE",
        value_name = "NUMBER",
        default_value_t = DEFAULT_PEER_RATE,
        value_parser = |it: &str| number(it, 0..=u32::MAX)
    )]
    peer_rate: u32,

    /// What to keep a copy of.
    #[arg(
        long,
        env = "LARDER_KEEP",
        value_name = "WHAT",
        default_value = "asked"
    )]
    keep: KeepArg,

    /// Give up a peer that brings nothing forward for so long, such as 10s, and go on from another
    /// that has the same content; a bare number is seconds.
    #[arg(
        long,
        env = "LARDER_PEER_STALL",
        value_name = "TIME",
        default_value = "10",
        value_parser = |it: &str| period(it, SECOND, 1..=3600)
    )]
    peer_stall: Duration,

    #[arg(
        long,
        env = "BASE_URL",
        value_name = "URL",
        help = "Where clients and other peers reach this node; where --listen is not for this \
                machine alone, its address takes localhost's place \
                [default: http://localhost:<port>]"
    )]
    base_url: Option<BaseUrl>,

    /// Largest file taken, such as 500MB or 10GiB [default: no limit].
    #[arg(long, env = "LARDER_MAX_UPLOAD", value_name = "SIZE")]
    max_upload: Option<Size>,

    #[cfg(feature = "shared")]
    #[command(flatten)]
    shared: shared::SharedSettings,

    #[command(flatten)]
    room: room::RoomArguments,

    /// When an upload is acknowledged.
    #[arg(
        long,
        env = "LARDER_DURABILITY",
        value_name = "WHEN",
        default_value = "always"
    )]
    durability: DurabilityArg,

    /// Whether every byte of content is proven against its hash before it is given out.
    #[arg(
        long,
        env = "LARDER_VERIFY_READS",
        value_name = "WHETHER",
        default_value = "on"
    )]
    verify_reads: VerifyArg,

    /// Web origin whose pages may use this node, or * for all; can be repeated.
    /// Always allowed are the node's own and those of this machine.
    #[arg(
        long,
        env = "LARDER_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    cors_origin: Vec<AllowedOrigin>,

    #[command(flatten)]
    access: access::AccessSettings,

    #[command(flatten)]
    uploading: uploading::UploadArguments,

    #[command(flatten)]
    scrubbing: scrubbing::ScrubArguments,

    #[command(flatten)]
    gateways: GatewayArguments,

    #[command(flatten)]
    tls: tls::TlsSettings,

    /// How long running requests may go on after Ctrl-C or SIGTERM, such as 30s or 2m; a second
    /// signal ends them at once. A bare number is seconds.
    #[arg(
        long,
        env = "LARDER_SHUTDOWN_GRACE",
        value_name = "TIME",
        default_value = "30",
        value_parser = |it: &str| period(it, SECOND, 0..=31_536_000)
    )]
    shutdown_grace: Duration,

    #[command(flatten)]
    log: Log,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DurabilityArg {
    /// Once it survives a power cut.
    Always,
    /// Once it survives kill -9; it survives a power cut about a second later.
    Relaxed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerifyArg {
    /// It is: what is damaged on the disk gives an error.
    On,
    /// Only content of up to 64 KiB, what other nodes ask for, and the length of the rest.
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeepArg {
    /// What was uploaded here or asked for with POST /api/p2p/keep.
    Asked,
    /// Everything that the network holds; what is deleted here stays deleted.
    All,
}

impl Settings {
    /// The address to listen on.
    pub fn listen(&self) -> SocketAddr {
        self.listen.with_port(self.port)
    }

    /// What to log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The settings file to read.
    pub fn file(&self) -> Option<&Path> {
        self.file.path()
    }

    /// The servers that introduce peers.
    pub fn bootstrap(&self) -> &[BaseUrl] {
        &self.bootstrap
    }

    /// Whether the settings say that a gateway stands in front, so that others reach the node
    /// wherever it listens.
    pub fn is_behind_gateway(&self) -> bool {
        let elsewhere = self.base_url.as_ref().is_some_and(|it| !it.is_loopback());
        elsewhere || !self.gateways.is_empty()
    }

    /// Whether everyone who reaches the node may write because the operator said so.
    pub fn is_open(&self) -> bool {
        self.access.is_open()
    }

    /// Whether there is a place of tokens, be it empty.
    pub fn has_tokens(&self) -> bool {
        self.access.giver_of_tokens().is_some()
    }

    /// How the node is set up that listens on `bound`, without the authorities of [`Checked`].
    pub fn node(&self, bound: SocketAddr) -> Result<node::Options, WrongSetting> {
        let base_url = match &self.base_url {
            Some(base_url) => base_url.clone(),
            None => {
                reached::at(self.scheme(), bound).map_err(|it| WrongSetting::of("base-url", &it))?
            }
        };
        let mdns = mdns::Options {
            listen: bound,
            port: mdns::PORT,
        };
        Ok(node::Options {
            discovery: discovery::Options {
                bootstrap: self.bootstrap.clone(),
                default_bootstrap: false,
                peers: self.peer.clone(),
                mdns: (!self.no_mdns).then_some(mdns),
                every: self.discover_every,
            },
            registry: registry::Options {
                require_signed: self.require_signed,
                ..registry::Options::default()
            },
            directory: self.room.directory(),
            reach: Reach {
                addresses: Policy {
                    networks: self.peer_networks.clone(),
                },
                only: (self.access.is_private() && !self.access.is_member())
                    .then(|| self.peer.clone()),
                members: None,
                named: [&self.peer[..], &self.bootstrap].concat(),
            },
            fetch: fetch::Options {
                stall: self.peer_stall,
            },
            keep_everything: self.keep == KeepArg::All,
            upload_expiry: self.uploading.expiry(),
            scrub: self.scrubbing.options(),
            ..node::Options::alone(base_url)
        })
    }

    /// Who vouches for peers that are reached over TLS. Reads their certificates.
    fn authorities(&self) -> Result<Authorities, WrongSetting> {
        let mut authorities = Authorities::of_system();
        if let Some(file) = &self.peer_ca {
            let added = authorities.add_file(file);
            added.map_err(|it| WrongSetting::of("peer-ca", &it))?;
        }
        Ok(authorities)
    }

    /// How the REST interface is set up. Reads the files of tokens.
    fn http(&self) -> Result<http::Options, WrongSetting> {
        Ok(http::Options {
            allowed_origins: self.cors_origin.clone(),
            over_tls: self.tls.is_on(),
            on_loopback: self.listen.ip.is_loopback(),
            access: self.access.access(self.listen.ip)?.into(),
            peer_rate: NonZeroU32::new(self.peer_rate),
        })
    }

    /// The files of tokens, which can be read again.
    pub fn token_files(&self) -> Option<TokenFiles> {
        self.access.files(self.listen.ip)
    }

    /// The scheme of the node's URLs: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        self.tls.scheme()
    }

    /// The limits of the server.
    pub fn server(&self) -> server::Options {
        server::Options {
            shutdown_grace: self.shutdown_grace,
            gateways: self.gateways.gateways(),
            ..server::Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::disk::Durability;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(arguments: &[&str]) -> Settings {
        Line::parse_from([&["larder"], arguments].concat()).settings
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let settings = settings(&[]);
        assert_eq!(settings.listen().to_string(), "127.0.0.1:5004");
        assert_eq!(settings.bootstrap()[0].to_string(), "http://localhost:9000");
        let node = settings.node(settings.listen()).unwrap();
        assert_eq!(node.base_url.to_string(), "http://localhost:5004");
        let store = settings.store();
        assert_eq!(store.dir.to_str(), Some("peer_storage"));
        assert_eq!(store.max_upload, None);
        assert_eq!(store.durability, Durability::Always);
    }

    #[test]
    fn a_node_that_others_reach_is_not_localhost_to_them() {
        let own = reached::outward_ip(false).map_or("localhost".to_owned(), |ip| ip.to_string());
        for (bound, base_url) in [
            ("127.0.0.1:1", "http://localhost:1".to_owned()),
            ("[::1]:1", "http://localhost:1".to_owned()),
            ("192.168.1.7:1", "http://192.168.1.7:1".to_owned()),
            ("[fd00::7]:1", "http://[fd00::7]:1".to_owned()),
            ("0.0.0.0:1", format!("http://{own}:1")),
        ] {
            let node = settings(&[]).node(bound.parse().unwrap()).unwrap();
            assert_eq!(node.base_url.to_string(), base_url, "{bound}");
        }
    }

    #[test]
    fn the_port_counts_where_the_address_has_none() {
        for (arguments, address) in [
            (&["--port", "1"][..], "127.0.0.1:1"),
            (&["--port", "1", "--listen", "0.0.0.0"], "0.0.0.0:1"),
            (&["--port", "1", "--listen", "0.0.0.0:2"], "0.0.0.0:2"),
            (&["--listen", "::1"], "[::1]:5004"),
            (&["--listen", "[::1]:2"], "[::1]:2"),
            (&["--listen", "localhost:2"], "127.0.0.1:2"),
            (&["--listen", "localhost"], "127.0.0.1:5004"),
            (&["--listen", "[::1]"], "[::1]:5004"),
        ] {
            assert_eq!(settings(arguments).listen().to_string(), address);
        }
        for text in [
            "",
            "example.com",
            "1.2.3",
            "1.2.3.4:",
            "1.2.3.4:x",
            "localhost:99999",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
