//! Addresses that no peer may have: what is not asked is not taken, not listed, not kept and
//! not passed on, whoever names it.

use std::io::Write;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::canned::{Canned, Reply};
use crate::common::peers::{post, until_knows};
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, connect, get, head, read_answer, send};
use crate::common::recorder::Recorder;

/// Places of machines' secrets, in every form that leads there, reserved ones, and texts that
/// a parser of URLs takes though they are more than a URL.
const NOT_ASKED: [&str; 58] = [
    "http://169.254.169.254",
    "http://169.254.169.254.",
    "http://2852039166",
    "http://0xa9fea9fe:80",
    "http://0251.0376.0251.0376",
    "http://[::ffff:169.254.169.254]",
    "http://[::ffff:a9fe:a9fe]:80",
    "http://[::169.254.169.254]",
    "http://[::ffff:0:a9fe:a9fe]",
    "http://[64:ff9b::a9fe:a9fe]",
    "http://[64:ff9b:1::a9fe:a9fe]",
    "http://[2002:a9fe:a9fe::1]",
    "http://[2001:0:a9fe:a9fe::1]",
    "http://[fd00:ec2::254]",
    "http://[fd20:ce::254]",
    "http://100.100.100.200",
    "http://168.63.129.16",
    "http://[fe80::1]",
    "http://0.0.0.0:5004",
    "http://0:5004",
    "http://[::]:5004",
    "http://[64:ff9b::1]",
    "http://[5f00::1]",
    "http://[100::1]",
    "http://[ff02::1]",
    "http://255.255.255.255",
    "http://224.0.0.251",
    "http://240.0.0.1",
    "http://192.0.0.192",
    "http://metadata.google.internal",
    "http://metadata.google.internal.",
    "http://METADATA.Google.Internal:80",
    "http://metadata.google.internal..",
    "http://www.metadata.google.internal",
    "http://metadata",
    "http://Metadata.:80",
    "http://metadata.goog",
    "http://instance-data",
    "http://instance-data.",
    "http://instance-data.ec2.internal",
    "http://instance-data.us-west-2.compute.internal",
    "http://metadata.azure.internal",
    "http://metadata%2Egoogle.internal",
    "http://metadata.tencentyun.com",
    "http://metadata.packet.net",
    "http://rancher-metadata",
    "http://[::ffff:127.0.0.1]:8279",
    "http://[::ffff:10.9.9.2]:8279",
    "http://[::127.0.0.1]:8279",
    "http://[fe80::1%25eth0]:8279",
    "http://10.9.9.2:0",
    "http://.:8279",
    "http://peer..example",
    "http://localhost..:1",
    "http://127.0.0.1:1\n",
    " http://127.0.0.1:1",
    "http://127.0.\t0.1:1",
    "http://b\u{fc}cher.example\u{202e}",
];

fn registration(address: &str) -> Value {
    json!({ "peer_id": Uuid::new_v4(), "address": address, "timestamp": "2026-01-21T10:00:00" })
}

#[test]
fn what_is_not_asked_is_refused_where_it_registers() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let node = Node::start(&dirs[0], &[]);
    let server = Node::start(&dirs[1], &["bootstrap", "--listen", "127.0.0.1:0"]);
    for (to, path) in [(node.address, "/api/peers"), (server.address, "/register")] {
        for address in NOT_ASKED {
            let refusal = post(to, path, &registration(address).to_string()).refusal();
            assert_eq!(refusal, (400, "bad_registration".to_owned()), "{address}");
        }
    }
    assert_eq!(get(node.address, "/api/peers", &[]).json()["peer_count"], 0);
    let registered = get(server.address, "/peers", &[]).json();
    assert_eq!(registered["peers"], json!([]));
}

#[test]
fn what_is_not_asked_is_not_taken_of_a_list_either() {
    let good = Recorder::start("123e4567-e89b-42d3-a456-426614174000");
    let mut peers: Vec<_> = NOT_ASKED.iter().map(|it| registration(it)).collect();
    peers.push(json!({ "peer_id": good.id, "address": good.url(), "timestamp": "" }));
    let list = json!({ "status": "registered", "peers": peers }).to_string();
    let server = Canned::start(move |_, _| Reply::Json(list.clone()));
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--bootstrap", &server.url()]);
    until_knows(node.address, 1);
    until("it is written down", || {
        let known = std::fs::read_to_string(dir.path().join("peer_storage/known-peers"));
        known.ok().filter(|it| it.contains(&good.id))
    });
    let known = get(node.address, "/api/peers", &[]).json();
    assert_eq!(known["peer_count"], 1);
    assert_eq!(known["peers"][0]["peer_id"], good.id);
}

#[test]
fn a_node_may_say_itself_where_it_is_whatever_that_is() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--base-url", "http://192.0.2.7:5004"]);
    let itself = &get(node.address, "/api/peers", &[]).json()["self"];
    assert_eq!(itself["address"], "http://192.0.2.7:5004");
}

#[test]
fn addresses_of_machines_houses_and_providers_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["bootstrap", "--listen", "127.0.0.1:0"]);
    for address in [
        "http://127.0.0.1:1",
        "http://localhost:1",
        "http://[::1]:1",
        "http://10.1.2.3",
        "http://192.168.1.2:5004",
        "http://100.64.0.1",
        "http://[fd00::1]:5004",
        "https://peer.example",
        "http://metadata.example",
        "http://ip-10-1-2-3.ec2.internal",
    ] {
        let answer = post(
            node.address,
            "/register",
            &registration(address).to_string(),
        );
        assert_eq!(answer.status, 200, "{address}: {answer:?}");
    }
}

#[test]
fn no_page_of_a_browser_registers_an_address_at_a_bootstrap_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Node::start(&dir, &["bootstrap", "--listen", "127.0.0.1:0"]);
    let body = registration("http://127.0.0.1:1").to_string();
    let ask = |method: &str, path: &str, host: &str, origin: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = connect(server.address);
        stream.write_all(head.as_bytes()).unwrap();
        read_answer(&mut stream, false)
    };
    let own = server.address.to_string();
    let of_a_page = ask("POST", "/register", &own, "Origin: http://page.example\r\n");
    assert_eq!(of_a_page.refusal(), (403, "origin_not_allowed".to_owned()));
    for (method, path) in [("POST", "/register"), ("GET", "/peers")] {
        let rebound = ask(method, path, "page.example", "");
        assert_eq!(
            rebound.refusal(),
            (421, "host_not_allowed".to_owned()),
            "{path}"
        );
    }
    let listed = get(server.address, "/peers", &[]).json();
    assert_eq!(listed["peers"], json!([]));
    assert_eq!(ask("POST", "/register", &own, "").status, 200);

    let dir = tempfile::tempdir().unwrap();
    let behind = [
        "bootstrap",
        "--listen",
        "127.0.0.1:0",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let server = Node::start(&dir, &behind);
    let head = "GET /peers HTTP/1.1\r\nHost: bootstrap.example\r\nConnection: close\r\n\r\n";
    let mut stream = connect(server.address);
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 200);
}

#[test]
fn a_peer_whose_name_leads_where_no_peer_may_be_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    // This machine is outside, so its name leads to no peer.
    let outside = ["--discover-every", "1", "--peer-networks", "10.0.0.0/8"];
    let node = Node::start(&dir, &outside);
    let told = post(
        node.address,
        "/api/peers",
        &registration("http://localhost:1").to_string(),
    );
    assert_eq!(told.json()["introduced"], "new");
    until("it is forgotten", || {
        let peers = get(node.address, "/api/peers", &[]).json();
        (peers["peers"] == json!([])).then_some(())
    });
    until_knows(node.address, 0);
}

#[test]
fn peers_that_have_not_answered_are_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "1"]);
    let silent = registration("http://127.0.0.1:1");
    post(node.address, "/api/peers", &silent.to_string());
    let other = tempfile::tempdir().unwrap();
    let there = Node::start(&other, &["--discover-every", "1", "--peer", &node.url("")]);
    until("one answers", || {
        let peers = get(node.address, "/api/peers", &[]).json();
        let mut peers = peers["peers"].as_array().unwrap().iter();
        let answers = peers.find(|it| it["reachable"] == true)?;
        assert_eq!(answers["address"], there.url(""));
        Some(())
    });
    let peers = get(node.address, "/api/peers", &[]).json();
    let mut peers = peers["peers"].as_array().unwrap().iter();
    let made_up = peers.find(|it| it["peer_id"] == silent["peer_id"]).unwrap();
    assert_eq!(made_up["reachable"], false);
}

/// This machine itself, in forms that a parser of URLs takes.
const LOOPBACK: [&str; 12] = [
    "http://127.0.0.1:8279",
    "http://127.0.0.1.:8279",
    "http://127.9.9.9:8279",
    "http://127.1:8279",
    "http://2130706433:8279",
    "http://0x7f.1:8279",
    "http://0177.0.0.1:8279",
    "http://[::1]:8279",
    "http://[0:0:0:0:0:0:0:1]:8279",
    "http://localhost:8279",
    "http://LOCALHOST.:8279",
    "http://any.localhost:8279",
];

/// What is said to whoever registers at a node through a gateway, as one from elsewhere.
fn from_elsewhere(node: &Node, path: &str, address: &str) -> Answer {
    let message = registration(address).to_string();
    let length = format!("Content-Length: {}", message.len());
    let lines = [
        "Content-Type: application/json",
        "X-Forwarded-For: 10.9.9.2",
        &length,
    ];
    send(
        node.address,
        &[head("POST", path, &lines), message.into()].concat(),
    )
}

#[test]
fn who_is_elsewhere_names_no_address_of_this_machine() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let gateway = ["--trusted-proxy", "127.0.0.0/8"];
    let node = Node::start(&dirs[0], &gateway);
    let server = ["bootstrap", "--listen", "127.0.0.1:0"];
    let server = Node::start(&dirs[1], &[&server[..], &gateway].concat());
    for (to, path) in [(&node, "/api/peers"), (&server, "/register")] {
        for address in LOOPBACK {
            let refusal = from_elsewhere(to, path, address).refusal();
            assert_eq!(refusal, (400, "bad_registration".to_owned()), "{address}");
        }
        assert_eq!(from_elsewhere(to, path, "http://10.9.9.2:8279").status, 200);
        // Who is on this machine may say so.
        for address in LOOPBACK {
            let taken = post(to.address, path, &registration(address).to_string());
            assert_eq!(taken.status, 200, "{address}");
        }
    }
}
