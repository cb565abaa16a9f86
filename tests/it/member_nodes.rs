//! Nodes that are members of a network: what they exchange, who hears anything of it, and who is
//! refused.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use uuid::Uuid;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::member_network::{Network, dirs, member};
use crate::common::peers::{held, peer_id, post, until_knows, until_sees};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;
use crate::common::recorder::Recorder;
use crate::common::relay::Relay;

/// Whether some bytes hold a text.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

/// What a node answers to curl over TLS.
fn curl(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--noproxy", "*", "--max-time", "20"]);
    let output = command.args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Reads all that comes back for a TLS greeting by a stranger.
fn greeted(node: SocketAddr, hello: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(node).unwrap();
    stream.write_all(hello).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn members_exchange_files_and_whoever_listens_hears_no_name_hash_or_token() {
    let (network, dirs, cable) = (Network::new(), dirs::<2>(), Relay::new());
    let token = ["--token", "0123456789abcdef"];
    let holding = network.member(&dirs[0], &[], &["--base-url", &cable.url()]);
    cable.connect(holding.address);
    let asking = network.member(&dirs[1], &[&cable.url()], &token);
    let bearer = "Authorization: Bearer 0123456789abcdef";
    let bytes = content(1, 300_000);
    let file = uploaded(holding.address, "of-the-board.txt", &bytes);
    let hash = file["hash"].as_str().unwrap();
    until("the file is seen", || {
        let answer = get(asking.address, "/api/p2p/network", &[bearer]).json();
        (answer["files"][0]["original_name"] == "of-the-board.txt").then_some(())
    });
    let target = format!("/api/p2p/blob/{hash}");
    assert_eq!(get(asking.address, &target, &[bearer]).body, bytes);
    let id = peer_id(holding.address);
    let log = holding.log();
    let served = log.lines().find(|it| it.contains(": serving "));
    // It asks none, and does not tell of one.
    assert!(!served.unwrap().contains("localhost:9000"), "{log}");
    let heard = cable.heard();
    assert!(heard.len() > bytes.len(), "it went over the cable");
    assert_eq!(heard[0], 0x16, "as TLS");
    let secrets = [
        "of-the-board",
        hash,
        "0123456789abcdef",
        &id,
        "HTTP/1.1",
        "/api/",
    ];
    for secret in secrets {
        assert!(!holds(&heard, secret), "{secret}");
    }
    assert!(!heard.windows(64).any(|it| it == &bytes[..64]));
}

#[test]
fn a_stranger_gets_an_alert_or_a_refusal_and_learns_nothing() {
    let (network, dirs) = (Network::new(), dirs::<3>());
    let token = ["--token", "0123456789abcdef"];
    let node = network.member(&dirs[0], &[], &token);
    let bearer = "Authorization: Bearer 0123456789abcdef";
    let id = get(node.address, "/api/p2p/status", &[bearer]).json()["peer"]["peer_id"].clone();
    let id = id.as_str().unwrap().to_owned();
    // Over TLS, by whatever knows no member's network.
    let (code, told) = curl(&["-k", &format!("https://{}/api/peers", node.address)]);
    assert_eq!(code, Some(35), "{told}");
    assert!(!told.contains(&id), "{told}");
    // In plain HTTP what peers tell is refused, and what they ask needs a token.
    let stranger = Recorder::start(&Uuid::new_v4().to_string());
    let registration = json!({ "peer_id": stranger.id, "address": stranger.url(),
        "timestamp": "2026-01-21T10:00:00" });
    for path in ["/api/peers", "/api/p2p/announce", "/api/p2p/announcements"] {
        let answer = post(node.address, path, &registration.to_string());
        assert_eq!(answer.refusal(), (403, "members_only".to_owned()), "{path}");
    }
    for path in [
        "/api/peers",
        "/api/p2p/network",
        "/api/p2p/files",
        "/api/p2p/status",
        "/metrics",
    ] {
        let answer = get(node.address, path, &[]);
        assert_eq!(answer.refusal(), (401, "no_token".to_owned()), "{path}");
    }
    // Half a handshake, and what is none, get an end without a word of the node.
    for hello in [&b"\x16\x03\x01\x00\x05hello"[..], &[0x16; 600]] {
        let answer = greeted(node.address, hello);
        let is_alert = answer.len() == 7 && answer[0] == 0x15;
        assert!(is_alert || answer.is_empty(), "{answer:?}");
    }
    // Nor is another node told anything that is of no network, or of another.
    let url = node.url("");
    let open = Node::start(&dirs[1], &["--discover-every", "1", "--peer", &url]);
    let other = Network::new().member(&dirs[2], &[&url], &[]);
    for stranger in [&open, &other] {
        let status = until("it was asked", || {
            let status = get(stranger.address, "/api/p2p/status", &[]).json();
            let unanswered = status["unanswered"].as_array()?.first()?.clone();
            Some((status["peers_discovered"].clone(), unanswered))
        });
        assert_eq!(status.0, 0, "{status:?}");
        assert!(!status.1.to_string().contains(&id), "{status:?}");
    }
    let peers = get(node.address, "/api/peers", &[bearer]).json();
    assert_eq!(peers["peer_count"], 0);
    assert_eq!(stranger.connections(), Vec::<Vec<u8>>::new());
}

#[test]
fn curl_goes_on_reading_and_writing_on_the_port_of_a_member() {
    let (network, dirs) = (Network::new(), dirs::<1>());
    let node = network.member(&dirs[0], &[], &["--token", "0123456789abcdef"]);
    let bearer = ["-H", "Authorization: Bearer 0123456789abcdef"];
    fs::write(dirs[0].path().join("a"), "by curl").unwrap();
    let form = format!("file=@{}", dirs[0].path().join("a").display());
    let upload = node.url("/api/p2p/upload");
    let (code, told) = curl(&[&bearer[..], &["-F", &form, &upload]].concat());
    assert_eq!(code, Some(0), "{told}");
    let (_, listed) = curl(&[&bearer[..], &[&node.url("/api/p2p/files")]].concat());
    let (_, file) = listed.split_once("\"file_id\":\"").unwrap();
    let target = node.url(&format!("/api/p2p/file/{}", &file[..36]));
    assert_eq!(curl(&[&bearer[..], &[&target]].concat()).1, "by curl");
}

#[test]
fn an_expired_member_is_refused_by_others_and_asks_nothing_of_them() {
    let (network, dirs) = (Network::new(), dirs::<2>());
    let node = network.member(&dirs[0], &[], &[]);
    uploaded(node.address, "secret", b"x");
    network.join(&dirs[1], "4s");
    until("it has expired", || {
        network.members().contains("  expired").then_some(())
    });
    let late = member(&dirs[1], &[&node.url("")], &[]);
    let told = until("it is refused", || {
        let status = get(late.address, "/api/p2p/status", &[]).json();
        Some(status["unanswered"][0]["reason"].as_str()?.to_owned())
    });
    assert!(
        told.contains("does not take this node's certificate (expired)"),
        "{told}"
    );
    assert!(late.log().contains("has expired"), "{}", late.log());
    assert_eq!(held(late.address), Vec::<serde_json::Value>::new());
    assert_eq!(get(node.address, "/api/peers", &[]).json()["peer_count"], 0);
}

#[test]
fn a_certificate_is_renewed_while_the_node_runs_and_not_by_one_of_another_network() {
    let (network, dirs) = (Network::new(), dirs::<2>());
    let node = network.member(&dirs[0], &[], &[]);
    uploaded(node.address, "seen", b"x");
    network.join(&dirs[1], "4s");
    until("it has expired", || {
        network.members().contains("  expired").then_some(())
    });
    let late = member(&dirs[1], &[&node.url("")], &[]);
    until("it is refused", || {
        let status = get(late.address, "/api/p2p/status", &[]).json();
        status["unanswered"][0]["reason"]
            .as_str()?
            .contains("(expired)")
            .then_some(())
    });
    let file = dirs[1].path().join("member");
    let own = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    Network::new().join(&dirs[1], "1d");
    late.signal(Signal::HUP);
    until("the other network's is refused", || {
        late.log().contains("stays what it was").then_some(())
    });
    fs::write(&file, own).unwrap();
    network.join(&dirs[1], "1d");
    late.signal(Signal::HUP);
    until_sees(late.address, &["seen"]);
    until_knows(node.address, 1);
}

#[test]
fn an_impostor_at_a_members_address_is_asked_nothing_and_never_shown() {
    let (network, dirs, cable) = (Network::new(), dirs::<3>(), Relay::new());
    let holding = network.member(&dirs[0], &[], &["--base-url", &cable.url()]);
    cable.connect(holding.address);
    uploaded(holding.address, "of-a-member", b"x");
    let asking = network.member(&dirs[1], &[&cable.url()], &[]);
    until_sees(asking.address, &["of-a-member"]);
    let known = peer_id(holding.address);
    holding.kill();
    // A member of another network takes its place, and an open node, which would both tell.
    let impostor = Network::new().member(&dirs[2], &[], &[]);
    uploaded(impostor.address, "of-an-impostor", b"y");
    let id = peer_id(impostor.address);
    cable.connect(impostor.address);
    let before = cable.heard().len();
    until("the impostor is found out", || {
        let peers = get(asking.address, "/api/peers", &[]).json();
        let peer = peers["peers"]
            .as_array()?
            .iter()
            .find(|it| it["peer_id"] == known)?;
        (peer["reachable"] == false && cable.heard().len() > before).then_some(())
    });
    for secret in ["of-a-member", "HTTP/1.1", "/api/"] {
        assert!(!holds(&cable.heard()[before..], secret), "{secret}");
    }
    until_sees(asking.address, &["of-a-member"]);
    let peers = get(asking.address, "/api/peers", &[]).json();
    assert!(!peers.to_string().contains(&id), "{peers}");
    until_knows(asking.address, 1);
}

#[test]
fn a_node_that_becomes_a_member_forgets_strangers_and_goes_to_no_server() {
    let (network, dirs) = (Network::new(), dirs::<1>());
    let [stranger, server] = [(); 2].map(|()| Recorder::start(&Uuid::new_v4().to_string()));
    let open = Node::start(&dirs[0], &["--discover-every", "1"]);
    let registration = json!({ "peer_id": stranger.id, "address": stranger.url(),
        "timestamp": "2026-01-21T10:00:00" });
    post(open.address, "/api/peers", &registration.to_string());
    until("the stranger is known", || {
        let known = fs::read_to_string(dirs[0].path().join("peer_storage/known-peers"));
        known.ok()?.contains(&stranger.id).then_some(())
    });
    open.stop();
    let before = stranger.connections().len();
    let named = Relay::new();
    let arguments = ["--bootstrap", &server.url()];
    let node = network.member(&dirs[0], &[&named.url()], &arguments);
    until("what is named was asked", || {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        status["unanswered"][0]["reason"].is_string().then_some(())
    });
    assert_eq!(get(node.address, "/api/peers", &[]).json()["peer_count"], 0);
    node.stop();
    assert_eq!(stranger.connections().len(), before);
    assert_eq!(server.connections(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_certificate_of_another_node_stops_the_start() {
    let (network, dirs) = (Network::new(), dirs::<2>());
    network.join(&dirs[0], "1d");
    fs::copy(dirs[0].path().join("member"), dirs[1].path().join("member")).unwrap();
    fs::write(dirs[1].path().join("empty"), "").unwrap();
    for (file, told) in [
        ("member", "it is of another member's key (other_member)"),
        ("empty", "empty does not hold the certificate of a member"),
        ("missing", "No such file"),
    ] {
        let output = larder(dirs[1].path()).args(["--network", file]).output();
        let output = output.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("--network") && error.contains(told),
            "{error}"
        );
    }
    let both = ["--network", "member", "--open"];
    let output = larder(dirs[0].path()).args(both).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
