//! Peers and bootstrap servers that are reached over TLS, as behind a proxy that ends it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::common::authority::Authority;
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

/// A server that an authority vouches for under one name, or did so until 2020.
fn server(authority: &Authority, name: &str, expired: bool) -> ServerConfig {
    let (certificate, key) = authority.vouches(name, expired);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

/// Ends TLS before a server that speaks plain HTTP.
struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    _runtime: Runtime,
}

#[derive(Default)]
struct State {
    behind: OnceLock<SocketAddr>,
    taken: AtomicUsize,
    refused: AtomicUsize,
}

impl Proxy {
    fn start(config: ServerConfig) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        runtime.spawn(accept(listener, config.into(), Arc::clone(&state)));
        Self {
            address,
            state,
            _runtime: runtime,
        }
    }

    fn url(&self, name: &str) -> String {
        format!("https://{name}:{}", self.address.port())
    }
}

async fn accept(listener: TcpListener, config: Arc<ServerConfig>, state: Arc<State>) {
    let acceptor = TlsAcceptor::from(config);
    while let Ok((near, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let near = acceptor.accept(near).await;
            let (Ok(mut near), Some(behind)) = (near, state.behind.get()) else {
                state.refused.fetch_add(1, Ordering::SeqCst);
                return;
            };
            state.taken.fetch_add(1, Ordering::SeqCst);
            let mut far = TcpStream::connect(behind).await.unwrap();
            // Either side may go at any moment.
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

/// A node that looks for peers every second and believes this authority.
fn start(dir: &TempDir, authority: &Authority, arguments: &[&str]) -> Node {
    let file = authority.file();
    let mut command = larder(dir.path());
    // No other authority is believed, whatever this machine knows.
    command.env("SSL_CERT_FILE", "/dev/null");
    command.args(["--discover-every", "1", "--log", "debug"]);
    command.arg("--peer-ca").arg(file).args(arguments);
    Node::spawn(dir, command)
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn peers_and_bootstrap_servers_are_reached_over_tls() {
    let authority = Authority::new();
    let dirs = [dir(), dir(), dir()];
    let bootstrap_node = Node::start(&dirs[0], &["bootstrap", "--listen", "127.0.0.1:0"]);
    let before_server = Proxy::start(server(&authority, "localhost", false));
    before_server
        .state
        .behind
        .set(bootstrap_node.address)
        .unwrap();
    let bootstrap = before_server.url("localhost");
    let before_node = Proxy::start(server(&authority, "127.0.0.1", false));
    let base_url = before_node.url("127.0.0.1");
    let arguments = ["--bootstrap", &bootstrap, "--base-url", &base_url];
    let holding = start(&dirs[1], &authority, &arguments);
    before_node.state.behind.set(holding.address).unwrap();

    let bytes = content(1, 5 << 20);
    let file = uploaded(holding.address, "a", &bytes);
    let asking = start(&dirs[2], &authority, &["--bootstrap", &bootstrap]);
    let found = until("the file is seen", || {
        let view = get(asking.address, "/api/p2p/network?name=a", &[]).json();
        let file = view["files"].as_array()?.first()?.clone();
        Some(file["hash"].as_str()?.to_owned())
    });
    assert_eq!(found, file["hash"].as_str().unwrap());
    let peers = get(asking.address, "/api/peers", &[]).json();
    assert_eq!(peers["peers"][0]["address"], base_url);
    let answer = get(asking.address, &format!("/api/p2p/blob/{found}"), &[]);
    assert!(answer.status == 200 && answer.body == bytes);
    for proxy in [&before_server, &before_node] {
        assert!(proxy.state.taken.load(Ordering::SeqCst) > 0);
        assert_eq!(proxy.state.refused.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_server_that_nobody_believed_vouches_for_is_not_asked() {
    let (believed, stranger) = (Authority::new(), Authority::new());
    for (what, config, told) in [
        (
            "a stranger of the same name vouches for it",
            server(&stranger, "localhost", false),
            "BadSignature",
        ),
        (
            "it has the name of another",
            server(&believed, "other.example", false),
            "its certificate is for another name than this",
        ),
        (
            "its certificate is too old",
            server(&believed, "localhost", true),
            "its certificate has expired",
        ),
    ] {
        let dirs = [dir(), dir()];
        let bootstrap_node = Node::start(&dirs[0], &["bootstrap", "--listen", "127.0.0.1:0"]);
        let proxy = Proxy::start(config);
        proxy.state.behind.set(bootstrap_node.address).unwrap();
        let url = proxy.url("localhost");
        let arguments = ["--bootstrap", &url, "--peer", &url];
        let node = start(&dirs[1], &believed, &arguments);
        until("it is refused", || {
            (proxy.state.refused.load(Ordering::SeqCst) >= 2).then_some(())
        });
        until("the log tells why", || {
            node.log().contains(told).then_some(())
        });
        assert_eq!(proxy.state.taken.load(Ordering::SeqCst), 0, "{what}");
        let registered = get(bootstrap_node.address, "/health", &[]).json();
        assert_eq!(registered["peers"], 0, "{what}");
    }
}

#[test]
fn a_file_without_authorities_stops_the_start() {
    let dir = dir();
    std::fs::write(dir.path().join("empty.pem"), "").unwrap();
    for file in ["empty.pem", "missing.pem"] {
        let output = larder(dir.path()).args(["--peer-ca", file]).output();
        let output = output.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains(file) && error.lines().count() == 1,
            "{error}"
        );
    }
}
