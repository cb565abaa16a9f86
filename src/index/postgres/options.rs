//! Which database, and how it is used.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustls::ClientConfig;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::failure;
use super::link::Server;
use super::rollout;
use super::tls::Tls;

/// What the URL of a database begins with.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Which database, and how it is used.
#[derive(Clone)]
pub struct Options {
    config: Config,
    /// How long somebody may write content who says nothing: a node that is stopped so long has
    /// written in vain. At least a few round trips to the server.
    pub lease: Duration,
    /// How long content stays that no file needs any more: longer than any pause within a download,
    /// and than the database may be set back to an earlier time.
    pub grace: Duration,
    /// How many bytes of content there may be; nothing limits them where it is none. Looked at
    /// under the lock under which all nodes make changes, so that they never exceed it together.
    pub quota: Option<u64>,
    /// Whether a crash of the server may lose what was acknowledged, so that settings of the server
    /// are taken by which it does.
    pub is_relaxed: bool,
    /// Whether it is a node that serves what is there, and no command that looks or moves: others
    /// see the nodes that are connected.
    pub is_node: bool,
    /// How to speak TLS, for servers whose URL asks for it.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Why a text names no database.
#[derive(Debug, thiserror::Error)]
#[error("it names no database, as postgres://user@host/database does: {0}")]
pub struct InvalidDatabase(String);

impl Options {
    /// The usual settings for a database, `postgres://user:password@host:port/database`. With
    /// `?sslmode=require` behind it there is TLS, and the server has to prove who it is; without,
    /// there is none.
    pub fn new(url: &str) -> Result<Self, InvalidDatabase> {
        if !SCHEMES.iter().any(|it| url.starts_with(it)) {
            return Err(InvalidDatabase("it is no such URL".to_owned()));
        }
        let mut config: Config = url
            .parse()
            .map_err(|error| InvalidDatabase(refusal(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(InvalidDatabase("it has no host".to_owned()));
        }
        config.keepalives_idle(Duration::from_secs(10));
        config.tcp_user_timeout(Duration::from_secs(10));
        if config.get_ssl_mode() == SslMode::Prefer {
            // What is only preferred keeps nobody from listening.
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Self {
            config,
            lease: Duration::from_mins(1),
            grace: Duration::from_hours(1),
            quota: None,
            is_relaxed: false,
            is_node: false,
            tls: None,
        })
    }

    /// Whether the server is to be spoken with over TLS, for which [`Options::tls`] is needed.
    pub fn wants_tls(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }

    pub(super) fn server(&self) -> Server {
        let mut config = self.config.clone();
        // Others see by it which tables this node knows.
        config.application_name(if self.is_node {
            rollout::NAME
        } else {
            rollout::COMMAND
        });
        Server {
            config,
            tls: self.tls.clone().map(Tls),
            name: format!("the database at {self}").into(),
            requests: Arc::default(),
            connected: AtomicU64::new(0),
        }
    }
}

/// Why a URL cannot be read.
fn refusal(error: &tokio_postgres::Error) -> String {
    let told = failure::told(error);
    if told.contains("sslmode") {
        // Other clients know more of them.
        return "sslmode is require, by which the server has to prove who it is, or disable".into();
    }
    told
}

/// Where its server is, without what is secret.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate();
        let hosts = hosts.map(|(number, host)| {
            let port = ports.get(number).or_else(|| ports.first());
            let port = port.copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(dir) => dir.display().to_string(),
            }
        });
        f.write_str(&hosts.collect::<Vec<_>>().join(","))
    }
}
