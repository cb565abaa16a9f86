//! All nodes of tests as members of one network, where `tests/members/run` has it so, and what
//! stands before peers that are made up, so that these are members, too.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use larder::peer::identity::Identity;
use larder::peer::membership::{self, Certificate, Channel, EXCHANGE, NetworkKey, PublicKey};
use rustls::client::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::Acceptor;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use super::member_network::printed;

/// What carries the connections of members that are made up.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// The network that all nodes of this process are members of, if they are to be.
static NETWORK: LazyLock<Option<NetworkKey>> = LazyLock::new(|| {
    std::env::var_os("ALL_MEMBERS")?;
    let dir = tempfile::tempdir().unwrap();
    Some(NetworkKey::create(&dir.path().join("key"), None).unwrap())
});

/// Whether all nodes are members.
pub(crate) fn are_all_members() -> bool {
    NETWORK.is_some()
}

fn invited(member: PublicKey) -> Option<Certificate> {
    let tomorrow = SystemTime::now() + Duration::from_hours(24);
    let network = NETWORK.as_ref()?;
    Some(network.invite(member, EXCHANGE, tomorrow).unwrap())
}

/// Has the command that starts a node in `dir` start a member, where all are to be; but not where
/// it says itself of which network the node is.
pub(crate) fn join(dir: &Path, command: &mut Command) {
    let says_itself = |it: &OsStr| it == "--network" || it == "bootstrap";
    if !are_all_members() || command.get_args().any(says_itself) {
        return;
    }
    let key = printed(dir, &["key"]).parse().unwrap();
    let file = dir.join("member");
    membership::file::write(&file, &invited(key).unwrap()).unwrap();
    command.arg("--network").arg(file);
}

/// What makes a peer a member that a test plays.
pub(crate) struct Front(Arc<Channel>);

impl Front {
    /// That of the peer with this identity, where all are to be members.
    pub(crate) fn of(identity: &Identity) -> Option<Self> {
        let certificate = invited(PublicKey(identity.public()))?;
        let channel = Channel::new(identity, certificate, None).unwrap();
        Some(Self(Arc::new(channel)))
    }

    pub(crate) fn certificate(&self) -> String {
        self.0.certificate().to_string()
    }

    /// Where other members reach what listens at `plain` and knows nothing of networks.
    pub(crate) fn before(&self, plain: SocketAddr) -> SocketAddr {
        let channel = Arc::clone(&self.0);
        passing_on(move |stream| from_member(Arc::clone(&channel), stream, plain))
    }

    /// Where one who knows nothing of networks reaches another member in the name of this one.
    pub(crate) fn way_to(&self, member: SocketAddr) -> SocketAddr {
        let channel = Arc::clone(&self.0);
        passing_on(move |stream| to_member(Arc::clone(&channel), stream, member))
    }
}

/// Listens, and does this with each connection.
fn passing_on<F>(pass: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    RUNTIME.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Either side may go away at any time.
            tokio::spawn(pass(stream));
        }
    });
    address
}

async fn from_member(
    channel: Arc<Channel>,
    stream: TcpStream,
    plain: SocketAddr,
) -> io::Result<()> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let config = channel.server(&start.client_hello());
    let config = config.ok_or(io::ErrorKind::PermissionDenied)?;
    let mut member = start.into_stream(config).await?;
    let shown = first(member.get_ref().1.peer_certificates());
    let received = channel.receive(&mut member, shown.as_deref()).await;
    received.map_err(io::Error::other)?;
    let mut plain = TcpStream::connect(plain).await?;
    copy_bidirectional(&mut member, &mut plain).await.map(drop)
}

async fn to_member(
    channel: Arc<Channel>,
    mut plain: TcpStream,
    member: SocketAddr,
) -> io::Result<()> {
    let config: ClientConfig = channel.client();
    let stream = TcpStream::connect(member).await?;
    let name = ServerName::from(member.ip());
    let connector = TlsConnector::from(Arc::new(config));
    let mut member = connector.connect(name, stream).await?;
    let shown = first(member.get_ref().1.peer_certificates());
    let greeted = channel.greet(&mut member, shown.as_deref()).await;
    greeted.map_err(io::Error::other)?;
    copy_bidirectional(&mut plain, &mut member).await.map(drop)
}

fn first(shown: Option<&[CertificateDer<'_>]>) -> Option<Vec<u8>> {
    Some(shown?.first()?.to_vec())
}
