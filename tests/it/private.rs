//! A private node: what leaves it, and what it answers to strangers. Everything that can hear
//! it writes down what it hears.

use std::net::SocketAddr;

use larder::peer::mdns::{self, Mdns};
use larder::peer_id::PeerId;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::forms::{field, file, form, upload_request, uploaded};
use crate::common::peers::{peer_id, post};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{get, head, send};
use crate::common::recorder::Recorder;

const TOKEN: &str = "0123456789abcdef";
const BEARER: &str = "Authorization: Bearer 0123456789abcdef";
const PRIVATE: [&str; 3] = ["--token", TOKEN, "--private"];

/// Everybody who can hear a node.
struct Listeners {
    named: Recorder,
    server: Recorder,
    stranger: Recorder,
}

/// What a node has, of which nobody shall hear.
struct Secrets(Vec<String>);

impl Listeners {
    fn start() -> Self {
        let [named, server, stranger] = [(); 3].map(|()| Recorder::start(&made_up()));
        Self {
            named,
            server,
            stranger,
        }
    }

    /// A node that is told of all of them, and looks for others by multicast DNS, too.
    fn node(&self, dir: &TempDir, arguments: &[&str]) -> Node {
        let mut command = larder(dir.path());
        command.env_remove("LARDER_NO_MDNS");
        command.args(["--discover-every", "1", "--token", TOKEN]);
        command.args([
            "--peer",
            &self.named.url(),
            "--bootstrap",
            &self.server.url(),
        ]);
        command.args(arguments);
        Node::spawn(dir, command)
    }

    fn all(&self) -> [&Recorder; 3] {
        [&self.named, &self.server, &self.stranger]
    }
}

fn made_up() -> String {
    Uuid::new_v4().to_string()
}

/// Uploads a file, tells of a stranger, and removes the file; what there was to tell.
fn live(node: &Node, stranger: &Recorder) -> Secrets {
    let message = registration(&made_up(), &stranger.url());
    post(node.address, "/api/peers", &message);
    let parts = [field("description", "of the board"), file("minutes", b"x")];
    let request = upload_request(&form(&parts), &[BEARER]);
    let file = send(node.address, &request).json()["file"].clone();
    let text = |key: &str| file[key].as_str().unwrap().to_owned();
    let removal = head(
        "DELETE",
        &format!("/api/p2p/file/{}", text("file_id")),
        &[BEARER],
    );
    assert_eq!(send(node.address, &removal).status, 200);
    let told = ["original_name", "description", "hash", "file_id", "peer_id"];
    Secrets(told.map(text).to_vec())
}

fn registration(id: &str, address: &str) -> String {
    json!({ "peer_id": id, "address": address, "timestamp": "2026-01-21T10:00:00" }).to_string()
}

fn sees(mdns: &Mdns, node: SocketAddr) -> bool {
    let peers = get(node, "/api/peers", &[BEARER]).json();
    let id: PeerId = peers["self"]["peer_id"].as_str().unwrap().parse().unwrap();
    mdns.neighbours().iter().any(|it| it.id == id)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_leaves_a_private_node_tells_what_it_has() {
    let observer = PeerId::of_public_key(&[1; 32]);
    let options = mdns::Options {
        listen: "127.0.0.1:1".parse().unwrap(),
        port: mdns::PORT,
    };
    let mdns = Mdns::start(observer, options).unwrap();
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (heard, unheard) = (Listeners::start(), Listeners::start());
    let private = unheard.node(&dirs[1], &["--private"]);
    let secrets = live(&private, &unheard.stranger);
    // The same of an open node is told, so that the silence of the other one means something.
    let open = heard.node(&dirs[0], &[]);
    until("the open node is seen", || {
        sees(&mdns, open.address).then_some(())
    });
    until("its peers were asked", || {
        (heard.named.asked() > 0).then_some(())
    });
    let Secrets(told) = live(&open, &heard.stranger);
    until("all is told of the open node", || {
        let text = heard.named.text();
        let all = told.iter().all(|it| text.contains(it));
        (all && text.contains("\"withdrawn\":true")).then_some(())
    });
    for recorder in [&heard.server, &heard.stranger] {
        until("the open node comes", || {
            (!recorder.connections().is_empty()).then_some(())
        });
    }
    let asked = unheard.named.asked();
    until("the private node asked for periods", || {
        (unheard.named.asked() >= asked + 3).then_some(())
    });
    for recorder in unheard.all() {
        let text = recorder.text();
        for secret in &secrets.0 {
            assert!(!text.contains(secret), "{secret} is told: {text}");
        }
        assert!(!text.contains("POST"), "{text}");
    }
    for recorder in [&unheard.server, &unheard.stranger] {
        assert_eq!(recorder.connections(), Vec::<Vec<u8>>::new());
    }
    assert!(!sees(&mdns, private.address));
    private.stop();
    assert!(!unheard.named.text().contains("POST"), "at its stop");
}

#[test]
fn whoever_has_no_token_gets_401_of_a_private_node_on_every_route_of_peers() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &PRIVATE);
    let announcement = json!({ "file_id": made_up(), "original_name": "a", "size": 1,
        "peer_id": made_up(), "uploaded_at": "2026-01-21T10:00:00" });
    let registration = registration(&made_up(), "http://127.0.0.1:1");
    for path in [
        "/api/peers",
        "/api/p2p/announce",
        "/api/p2p/announcements",
        "/api/p2p/network",
        "/api/p2p/files",
    ] {
        for method in ["GET", "PUT", "PATCH", "DELETE", "TRACE"] {
            let answer = send(node.address, &head(method, path, &[]));
            assert_eq!(answer.status, 401, "{method} {path}");
        }
        for message in [&announcement.to_string(), &registration, "", "nonsense"] {
            let answer = post(node.address, path, message);
            assert_eq!(answer.refusal(), (401, "no_token".to_owned()), "{path}");
        }
    }
    let bao = format!("/api/p2p/blob/{}/bao", "0".repeat(64));
    for target in [&bao, "/api/events", "/metrics", "/api/p2p/file/x", "/other"] {
        assert_eq!(get(node.address, target, &[]).status, 401, "{target}");
    }
    let status = get(node.address, "/api/p2p/status", &[BEARER]).json();
    assert_eq!(status["peers_discovered"], 0);
}

#[test]
fn a_token_that_reads_makes_no_private_node_ask_a_stranger() {
    let (dir, stranger) = (tempfile::tempdir().unwrap(), Recorder::start(&made_up()));
    let node = Node::start(&dir, &[&PRIVATE[..], &["--discover-every", "1"]].concat());
    let message = registration(&stranger.id, &stranger.url());
    let length = format!("Content-Length: {}", message.len());
    let lines = ["Content-Type: application/json", &length, BEARER];
    let request = [head("POST", "/api/peers", &lines), message.into()].concat();
    let refusal = send(node.address, &request).refusal();
    assert_eq!(refusal, (400, "bad_registration".to_owned()));
    let status = get(node.address, "/api/p2p/status", &[BEARER]).json();
    assert_eq!(status["peers_discovered"], 0);
    assert_eq!(stranger.connections(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_private_node_reads_what_a_named_peer_holds_wherever_that_says_it_is() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let open = Node::start(&dirs[0], &["--bootstrap", "http://127.0.0.1:1"]);
    let file = uploaded(open.address, "shared", b"for all");
    // It calls itself localhost.
    let url = format!("http://{}", open.address);
    let private = Node::start(&dirs[1], &[&PRIVATE[..], &["--peer", &url]].concat());
    until("it sees the file", || {
        let network = get(private.address, "/api/p2p/network", &[BEARER]).json();
        (network["files"][0]["original_name"] == "shared").then_some(())
    });
    let id = file["file_id"].as_str().unwrap();
    let target = format!("/api/p2p/download/{}/{id}", peer_id(open.address));
    assert_eq!(get(private.address, &target, &[BEARER]).body, b"for all");
    assert_eq!(get(open.address, "/api/peers", &[]).json()["peer_count"], 0);
    assert!(
        private.log().contains("talks with nobody else"),
        "it says so"
    );
}

#[test]
fn a_node_made_private_forgets_the_strangers_that_it_knew() {
    let (dir, stranger) = (tempfile::tempdir().unwrap(), Recorder::start(&made_up()));
    let arguments = ["--discover-every", "1", "--token", TOKEN];
    let open = Node::start(&dir, &arguments);
    post(
        open.address,
        "/api/peers",
        &registration(&stranger.id, &stranger.url()),
    );
    until("the stranger is known", || {
        let known = std::fs::read_to_string(dir.path().join("peer_storage/known-peers"));
        known.ok()?.contains(&stranger.id).then_some(())
    });
    open.stop();
    let named = Recorder::start(&made_up());
    let before = stranger.connections().len();
    let url = named.url();
    let private = [&arguments[..], &["--private", "--peer", &url]].concat();
    let private = Node::start(&dir, &private);
    until("the private node asked for periods", || {
        (named.asked() >= 3).then_some(())
    });
    let peers = get(private.address, "/api/peers", &[BEARER]).json();
    assert_eq!(peers["peer_count"], 1);
    assert_eq!(stranger.connections().len(), before);
}

#[test]
fn a_stranger_is_not_told_what_is_wrong_with_what_a_private_node_stores() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &PRIVATE);
    for (lines, told) in [(&[][..], false), (&[BEARER][..], true)] {
        let health = get(node.address, "/health", lines).json();
        assert_eq!(health["status"], "healthy");
        for key in ["damaged", "lost_changes"] {
            assert_eq!(health.get(key).is_some(), told, "{key} {lines:?}");
        }
    }
}
