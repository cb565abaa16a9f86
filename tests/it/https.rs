//! A node that speaks TLS itself.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use larder::web::server::{Options, serve};
use larder::web::tls::{CertificateFiles, Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::common::authority::Authority;
use crate::common::commands::{done, failed};
use crate::common::content::content;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::connect;

/// A directory with the certificate and key of a server, and perhaps a node.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new(authority: &Authority, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Self { dir };
        place.certify(authority, name);
        place
    }

    /// Replaces certificate and key.
    fn certify(&self, authority: &Authority, name: &str) {
        let (certificate, key) = authority.vouches(name, false);
        std::fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = larder(self.dir.path());
        command.args(["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
        command
    }

    fn start(&self) -> Node {
        Node::spawn(&self.dir, self.command())
    }
}

/// Runs curl, which believes this authority alone.
fn curl(authority: &Authority, arguments: &[&str]) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]);
    curl.arg(authority.file()).args(arguments).output().unwrap()
}

/// What is at a path of a node that is reached as `name`.
fn fetched(authority: &Authority, node: &Node, name: &str, path: &str) -> Output {
    let port = node.address.port();
    let resolve = format!("{name}:{port}:127.0.0.1");
    let url = format!("https://{name}:{port}{path}");
    curl(authority, &["--resolve", &resolve, &url])
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn clients_that_believe_the_certificate_are_served() {
    let authority = Authority::new();
    let place = Place::new(&authority, "localhost");
    let node = place.start();
    let bytes = content(1, 3 << 20);
    std::fs::write(place.path("sent"), &bytes).unwrap();
    let form = format!("file=@{}", place.path("sent").display());
    let url = |path: &str| format!("https://localhost:{}{path}", node.address.port());
    let upload = url("/api/p2p/upload");
    for version in [&["--tls-max", "1.2"], &["--tlsv1.3", "--http1.1"]] {
        let uploaded = curl(&authority, &[version, &["-F", &form, &upload][..]].concat());
        let file = &json(&uploaded)["file"];
        let download = file["download_url"].as_str().unwrap();
        assert!(download.starts_with(&url("/")), "{download}");
        let downloaded = curl(&authority, &[&version[..], &[download]].concat());
        assert!(downloaded.stdout == bytes, "{version:?}: {downloaded:?}");
    }
    // The other authority has the same name and another key: 35 is a failed handshake.
    let refused = curl(&Authority::new(), &[&upload]);
    assert_eq!(refused.status.code(), Some(35), "{refused:?}");
    let refused = fetched(&authority, &node, "other.example", "/health");
    assert_eq!(refused.status.code(), Some(60), "{refused:?}");
    let plain = format!("http://localhost:{}/health", node.address.port());
    let told = json(&curl(&authority, &[&plain]));
    assert_eq!(told["code"], "https_only");
    assert!(!curl(&authority, &["--fail", &plain]).status.success());
    node.stop();
}

/// A certificate that vouches for itself as that of an authority, as `openssl req -x509` makes
/// it, for localhost until then.
fn by_itself(place: &Place, until: i32) {
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    std::fs::write(place.path("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(place.path("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn a_certificate_that_vouches_for_itself_is_believed_where_it_is_named_itself() {
    let authority = Authority::new();
    let place = Place::new(&authority, "localhost");
    by_itself(&place, 4000);
    let node = place.start();
    let port = node.address.port();
    let here = place.dir.path();
    let (named, other) = (place.path("cert.pem"), authority.file());
    let ca = |file: &PathBuf| format!("--ca={}", file.display());
    let url = format!("https://localhost:{port}");
    done(here, &url, &["status", &ca(&named)]);
    for (url, ca, told) in [
        (&url, ca(&other), "name it itself with --ca"),
        // What it is named for counts all the same.
        (
            &format!("https://127.0.0.1:{port}"),
            ca(&named),
            "its certificate is for another name than this",
        ),
    ] {
        let (status, error) = failed(here, url, &["status", &ca]);
        assert_eq!((status, error.contains(told)), (5, true), "{error}");
    }
    drop(node);
    by_itself(&place, 2020);
    let node = place.start();
    let url = format!("https://localhost:{}", node.address.port());
    let (status, error) = failed(here, &url, &["status", &ca(&named)]);
    assert_eq!(
        (status, error.contains("has expired")),
        (5, true),
        "{error}"
    );
}

#[test]
fn files_that_are_wrong_stop_the_start_before_anything_is_done() {
    let authority = Authority::new();
    let place = Place::new(&authority, "localhost");
    let (_, other_key) = authority.vouches("localhost", false);
    std::fs::write(place.path("other.pem"), other_key.serialize_pem()).unwrap();
    std::fs::write(place.path("empty.pem"), "").unwrap();
    for (certificate, key, told) in [
        (
            "cert.pem",
            "other.pem",
            "cert.pem does not go with the key in other.pem",
        ),
        (
            "missing.pem",
            "key.pem",
            "the certificate in missing.pem cannot be read",
        ),
        (
            "empty.pem",
            "key.pem",
            "there is no certificate in empty.pem",
        ),
        (
            "cert.pem",
            "missing.pem",
            "the private key in missing.pem cannot be read",
        ),
        (
            "cert.pem",
            "cert.pem",
            "the private key in cert.pem cannot be read",
        ),
        ("key.pem", "key.pem", "there is no certificate in key.pem"),
    ] {
        let mut command = larder(place.dir.path());
        let output = command.args(["--tls-cert", certificate, "--tls-key", key]);
        let output = output.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains(told) && error.lines().count() == 1,
            "{error}"
        );
    }
    let alone = larder(place.dir.path())
        .args(["--tls-cert", "cert.pem"])
        .output();
    assert_eq!(alone.unwrap().status.code(), Some(2));
    assert!(!place.path("peer_storage").exists());
}

#[test]
fn a_new_certificate_is_taken_up_without_a_restart() {
    let authority = Authority::new();
    let place = Place::new(&authority, "old.example");
    // On loopback a node answers for its own names alone.
    let mut command = place.command();
    command.args(["--base-url", "https://new.example"]);
    let node = Node::spawn(&place.dir, command);
    let reached_as = |name| fetched(&authority, &node, name, "/health").status.code();
    assert_eq!(reached_as("old.example"), Some(0));
    assert_eq!(reached_as("new.example"), Some(60));

    std::fs::write(place.path("key.pem"), "broken").unwrap();
    node.signal(Signal::HUP);
    until("the log tells of it", || {
        let log = node.log();
        log.contains("the certificate stays what it was")
            .then_some(())
    });
    assert_eq!(reached_as("old.example"), Some(0));

    place.certify(&authority, "new.example");
    node.signal(Signal::HUP);
    until("the new one is shown", || {
        (reached_as("new.example") == Some(0)).then_some(())
    });
    assert_eq!(reached_as("old.example"), Some(60));
    node.stop();
}

#[test]
fn clients_that_do_not_go_on_with_the_handshake_hold_up_nobody() {
    let authority = Authority::new();
    let place = Place::new(&authority, "localhost");
    let node = place.start();
    let silent: Vec<_> = (0..100).map(|_| connect(node.address)).collect();
    // The head of a record that never comes (RFC 8446, section 5.1).
    for mut stream in &silent[50..] {
        stream.write_all(&[22, 3, 1, 2, 0]).unwrap();
    }
    let answer = fetched(&authority, &node, "localhost", "/health");
    assert_eq!(json(&answer)["status"], "healthy");
}

#[test]
fn a_handshake_ends_in_time() {
    let authority = Authority::new();
    let place = Place::new(&authority, "localhost");
    let tls = Tls::load(CertificateFiles {
        certificate: place.path("cert.pem"),
        key: place.path("key.pem"),
    });
    let options = Options {
        tls: Some(tls.unwrap()),
        handshake_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", on_get(|| async { "here" }));
    runtime.spawn(async move {
        let never = std::future::pending();
        serve(listener, router, &options, Arc::default(), never).await;
    });
    let mut silent = connect(address);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "it is closed");
}

#[test]
fn nodes_reach_each_other_over_tls() {
    let authority = Authority::new();
    let places = [(); 2].map(|()| Place::new(&authority, "localhost"));
    let start = |place: &Place, peer: &[&str]| {
        let mut command = place.command();
        command.arg("--peer-ca").arg(authority.file());
        command.args(["--discover-every", "1"]).args(peer);
        Node::spawn(&place.dir, command)
    };
    let holding = start(&places[0], &[]);
    let peer = format!("https://localhost:{}", holding.address.port());
    let asking = start(&places[1], &["--peer", &peer]);
    let bytes = content(2, 1 << 20);
    std::fs::write(places[0].path("sent"), &bytes).unwrap();
    let form = format!("file=@{}", places[0].path("sent").display());
    let uploaded = curl(
        &authority,
        &["-F", &form, &format!("{peer}/api/p2p/upload")],
    );
    let file = json(&uploaded)["file"].clone();
    let seen = until("the file is seen", || {
        let view = fetched(&authority, &asking, "localhost", "/api/p2p/network");
        let file = json(&view)["files"].as_array()?.first()?.clone();
        Some(file["hash"].as_str()?.to_owned())
    });
    assert_eq!(seen, file["hash"]);
    let path = format!("/api/p2p/blob/{seen}");
    let through = fetched(&authority, &asking, "localhost", &path);
    assert!(through.stdout == bytes, "{:?}", through.status);
    let peers = json(&fetched(&authority, &asking, "localhost", "/api/peers"));
    assert_eq!(peers["peers"][0]["address"], peer);
}
