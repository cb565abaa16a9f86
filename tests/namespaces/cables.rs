//! Nodes with addresses of their own on a local network, whose cables are cut: the real
//! binary in network namespaces. Where the machine does not allow those, that is said.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;

use crate::common::all_members::are_all_members;
use crate::common::content::content;
use crate::common::process::{Node, until};
use crate::lan::Lan;

const MIB: usize = 1 << 20;

/// A node that others reach and may write to, with its directory.
fn start(lan: &Lan, node: u8, arguments: &[&str]) -> (Node, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let usual = [
        "--listen",
        "0.0.0.0:5004",
        "--open",
        "--discover-every",
        "1",
    ];
    let node = lan.start(node, &dir, &[&usual, arguments].concat());
    (node, dir)
}

/// A file for uploads; its name is that of the upload.
fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn until_knows(lan: &Lan, node: u8, peers: usize) {
    until("the peers are met", || {
        let status = lan.json(node, "/api/p2p/status");
        (status["peers_discovered"] == peers).then_some(())
    });
}

fn download_url(by: u8, file: &serde_json::Value) -> String {
    let text = |key: &str| file[key].as_str().unwrap();
    let path = format!("/api/p2p/download/{}/{}", text("peer_id"), text("file_id"));
    Lan::url(by, &path)
}

#[test]
fn nodes_of_one_network_need_no_introduction() {
    let Some(lan) = Lan::of(3) else { return };
    let nodes = [1, 2, 3].map(|node| start(&lan, node, &[]));
    for node in 1..=3 {
        until_knows(&lan, node, 2);
        let peers = lan.json(node, "/api/peers");
        assert_eq!(peers["self"]["address"], Lan::url(node, ""));
    }
    let bytes = content(1, 3 * MIB);
    let file = lan.upload(1, &file(&nodes[0].1, "file", &bytes));
    for node in [2, 3] {
        lan.until_held(node, &file["hash"], 1);
        assert!(lan.curl(node, &[&download_url(node, &file)]) == bytes);
    }
}

/// Opens connections to a node, each with an upload that never goes on, and holds them until
/// its input ends.
const MANY_CONNECTIONS: &str = r#"
import socket, sys
address, count = sys.argv[1], int(sys.argv[2])
head = (
    f"POST /api/p2p/upload HTTP/1.1\r\nHost: {address}:5004\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9\r\n\r\n"
)
held = []
for _ in range(count):
    held.append(socket.create_connection((address, 5004), 10))
    try:
        held[-1].sendall(head.encode())
    except OSError:
        pass
print("all", flush=True)
sys.stdin.read()
"#;

#[test]
fn a_host_with_more_connections_than_there_are_places_keeps_no_other_host_out() {
    let Some(lan) = Lan::of(3) else { return };
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--listen", "0.0.0.0:5004", "--open", "--no-mdns"];
    let _node = lan.start_with_files(1, &dir, (256, &arguments));
    let mut many = lan.command(2, "python3");
    many.args(["-c", MANY_CONNECTIONS, &Lan::address(1), "400"]);
    let mut many = many
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(many.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "all\n");
    let path = file(&dir, "honest", b"honest");
    let form = format!("file=@{}", path.display());
    for _ in 0..10 {
        // Each on a connection of its own.
        lan.curl(3, &["-F", &form, &Lan::url(1, "/api/p2p/upload")]);
    }
    let status: serde_json::Value =
        serde_json::from_slice(&lan.curl(3, &[&Lan::url(1, "/api/p2p/status")])).unwrap();
    assert_eq!(status["local_files"], 10);
    drop(many.stdin.take());
    assert!(many.wait().unwrap().success());
}

#[test]
fn a_cut_cable_stops_no_download_and_loses_no_file() {
    let Some(lan) = Lan::of(4) else { return };
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = ["bootstrap", "--listen", "0.0.0.0:9000"];
    let _bootstrap = lan.start(4, &dir, &bootstrap);
    let url = format!("http://{}:9000", Lan::address(4));
    // Members go to no server, so that they name one of themselves.
    let first = Lan::url(1, "");
    let introduced = if are_all_members() {
        ["--peer", &first]
    } else {
        ["--bootstrap", &url]
    };
    let usual = ["--no-mdns", "--peer-stall", "1"];
    let arguments = [&usual[..], &introduced].concat();
    let nodes = [1, 2, 3].map(|node| start(&lan, node, &arguments));
    for node in 1..=3 {
        until_knows(&lan, node, 2);
    }
    let bytes = content(2, 48 * MIB);
    let path = file(&dir, "same", &bytes);
    let [first, _] = [1, 2].map(|node| lan.upload(node, &path));
    lan.until_held(3, &first["hash"], 2);

    let received = dir.path().join("received");
    let output = received.to_str().unwrap();
    let arguments = [
        "--limit-rate",
        "16M",
        "-o",
        output,
        &download_url(3, &first),
    ];
    let mut curl = lan.curl_command(3, &arguments).spawn().unwrap();
    let length = || fs::metadata(&received).map_or(0, |it| it.len());
    until("some has come", || (length() > 8 << 20).then_some(()));
    lan.cut(1);
    assert!(length() < 40 << 20, "the cable was cut too late");
    assert!(curl.wait().unwrap().success());
    assert!(fs::read(&received).unwrap() == bytes);
    let log = nodes[2].0.log();
    assert!(log.contains("a slow peer is left for another"), "{log}");

    // What happens on one side of the cut is known on the other once it is mended.
    let missed = lan.upload(2, &file(&dir, "missed", b"missed"));
    let apart = lan.upload(1, &file(&dir, "apart", b"apart"));
    lan.until_held(3, &missed["hash"], 1);
    lan.mend(1);
    lan.until_held(1, &missed["hash"], 1);
    assert_eq!(lan.curl(1, &[&download_url(1, &missed)]), b"missed");
    for node in [2, 3] {
        lan.until_held(node, &apart["hash"], 1);
        assert_eq!(lan.curl(node, &[&download_url(node, &apart)]), b"apart");
    }
}

#[test]
fn a_slow_and_lossy_network_only_takes_longer() {
    let Some(lan) = Lan::of(3) else { return };
    let Some(switch) = lan.disturb() else { return };
    let nodes = [1, 2, 3].map(|node| start(&lan, node, &[]));
    for node in 1..=3 {
        until_knows(&lan, node, 2);
    }
    let bytes = content(3, MIB);
    let file = lan.upload(1, &file(&nodes[0].1, "file", &bytes));
    // Each hears of it at its own time.
    for node in [2, 3] {
        lan.until_held(node, &file["hash"], 1);
    }
    assert!(lan.curl(3, &[&download_url(3, &file)]) == bytes);

    let wanted = json!({ "hash": file["hash"] }).to_string();
    let json = ["-H", "Content-Type: application/json", "-d", &wanted];
    lan.curl(2, &[&json, &[&*Lan::url(2, "/api/p2p/keep")][..]].concat());
    // A third node hears of the copy.
    lan.until_held(3, &file["hash"], 2);
    let blob = format!("/api/p2p/blob/{}", file["hash"].as_str().unwrap());
    assert!(lan.curl(2, &[&Lan::url(2, &blob)]) == bytes);
    assert!(switch.stop() > 0, "no frame was lost");
}
