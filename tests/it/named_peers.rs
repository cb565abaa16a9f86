//! Peers and bootstrap servers that the operator has named and that are of no use: the log tells
//! each with the reason, once, and so do the status and the commands, until there is an answer.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::common::authority::Authority;
use crate::common::commands::done;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

/// What the log says of one that is of no use.
const TOLD: &str = "does not answer as it should";

/// A port at which nobody listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Something that is no HTTP; its port, and how often somebody has come.
fn no_http() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            // Whoever comes may be gone already.
            let _ = stream.unwrap().write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (port, count)
}

fn unanswered(node: &Node) -> Vec<Value> {
    let status = get(node.address, "/api/p2p/status", &[]).json();
    status["unanswered"].as_array().unwrap().clone()
}

/// What the node says of one that does not answer, once it does.
fn reason(node: &Node, address: &str) -> String {
    until("it is known not to answer", || {
        let all = unanswered(node);
        let one = all.iter().find(|it| it["address"] == address)?;
        Some(one["reason"].as_str().unwrap().to_owned())
    })
}

fn lines<'a>(log: &'a str, parts: &[&str]) -> Vec<&'a str> {
    let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
    log.lines().filter(has_all).collect()
}

fn command(node: &Node, arguments: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let told = done(dir.path(), &node.url(""), arguments);
    told.lines().map(str::to_owned).collect()
}

#[test]
fn each_named_peer_that_is_of_no_use_is_told_once_with_what_is_wrong() {
    let authority = Authority::new();
    let tls = tempfile::tempdir().unwrap();
    let (certificate, key) = authority.vouches("localhost", false);
    std::fs::write(tls.path().join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(tls.path().join("key.pem"), key.serialize_pem()).unwrap();
    let secure = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let secure = Node::start(&tls, &secure);
    let plain_dir = tempfile::tempdir().unwrap();
    let plain = Node::start(&plain_dir, &[]);
    let server_dir = tempfile::tempdir().unwrap();
    let server = Node::start(&server_dir, &["bootstrap", "--listen", "127.0.0.1:0"]);
    let (noise, tries) = no_http();
    let refused = closed_port();
    let over_tls = |node: &Node| format!("https://localhost:{}", node.address.port());
    let wrong = [
        (format!("http://localhost:{refused}"), "Connection refused"),
        ("http://nobody.invalid:5004".to_owned(), "lookup"),
        (over_tls(&secure), "--peer-ca"),
        (over_tls(&plain), "begin with http://"),
        (secure.url(""), "begin with https://"),
        (server.url(""), "404"),
        (format!("http://127.0.0.1:{noise}"), "no HTTP"),
        ("http://10.0.0.1:5004".to_owned(), "--peer-networks"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let usual = [
        "--discover-every",
        "1",
        "--peer-networks",
        "127.0.0.0/8,::1/128",
    ];
    let named = wrong.iter().flat_map(|(it, _)| ["--peer", it]);
    let node = Node::start(&dir, &usual.into_iter().chain(named).collect::<Vec<_>>());
    for (address, why) in &wrong {
        let reason = reason(&node, address);
        assert!(reason.contains(why), "{address}: {reason}");
    }
    until("all were asked again", || {
        (tries.load(Ordering::Relaxed) > 4).then_some(())
    });
    let log = node.log();
    let (status, peers) = (command(&node, &["status"]), command(&node, &["peers"]));
    for (address, why) in &wrong {
        let told = lines(&log, &["WARN", TOLD, address]);
        assert_eq!(told.len(), 1, "{address}: {log}");
        assert!(
            told[0].contains(why) && told[0].contains("--peer"),
            "{told:?}"
        );
        for lines in [&status, &peers] {
            let is_told = |line: &&String| line.contains(address) && line.contains(why);
            assert_eq!(lines.iter().filter(is_told).count(), 1, "{lines:#?}");
        }
    }
    assert_eq!(unanswered(&node).len(), wrong.len());
    let listed = command(&node, &["peers", "--json"]);
    let listed: Vec<Value> = listed
        .iter()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(listed.len(), wrong.len());
    assert!(listed.iter().all(|it| it["reachable"] == false));
}

#[test]
fn a_peer_that_comes_later_is_told_no_longer_and_its_next_silence_anew() {
    let port = closed_port();
    let address = format!("http://localhost:{port}");
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "1", "--peer", &address]);
    assert!(reason(&node, &address).contains("refused"));
    let later_dir = tempfile::tempdir().unwrap();
    let later = Node::start(&later_dir, &["--port", &port.to_string()]);
    let answers = || unanswered(&node).is_empty().then_some(());
    until("it answers", answers);
    assert_eq!(
        lines(&node.log(), &["INFO", "answers now", &address]).len(),
        1
    );
    assert!(
        !command(&node, &["status"])
            .iter()
            .any(|it| it.contains("refused"))
    );
    later.kill();
    assert!(reason(&node, &address).contains("refused"));
    assert_eq!(lines(&node.log(), &["WARN", TOLD, &address]).len(), 2);
    // Of one that the node knows there is one line, with the reason.
    let peers = command(&node, &["peers"]);
    assert_eq!(peers.len(), 1, "{peers:?}");
    assert!(peers[0].contains(&address) && peers[0].contains("refused"));
    // Something else there is another reason, which is told, too.
    let _server = Node::start(
        &later_dir,
        &["bootstrap", "--listen", &format!("127.0.0.1:{port}")],
    );
    until("the reason is another", || {
        reason(&node, &address).contains("404").then_some(())
    });
    assert_eq!(
        lines(&node.log(), &["WARN", TOLD, &address, "404"]).len(),
        1
    );
}

#[test]
fn a_peer_that_is_this_node_itself_or_signs_nothing_where_it_must_is_told() {
    let port = closed_port();
    let address = format!("http://localhost:{port}");
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--port", &port.to_string(), "--peer", &address]);
    assert!(reason(&node, &address).contains("this node itself"));
}

#[test]
fn a_bootstrap_server_is_told_where_somebody_has_named_it_and_the_default_one_is_not() {
    let address = format!("http://localhost:{}", closed_port());
    let (noise, tries) = no_http();
    let noise = format!("http://127.0.0.1:{noise}");
    let by_flag = |command: &mut Command| {
        command.args(["--bootstrap", &address]);
    };
    let by_variable = |command: &mut Command| {
        command.env("BOOTSTRAP_SERVER", &address);
    };
    let by_file = |command: &mut Command| {
        let dir = command.get_current_dir().unwrap();
        std::fs::write(
            dir.join("larder.toml"),
            format!("bootstrap = [\"{address}\"]\n"),
        )
        .unwrap();
    };
    for set in [&by_flag as &dyn Fn(&mut Command), &by_variable, &by_file] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = larder(dir.path());
        set(&mut command);
        let node = Node::spawn(&dir, command);
        assert!(reason(&node, &address).contains("refused"));
        assert_eq!(unanswered(&node)[0]["named"], json!("bootstrap"));
        let told = lines(&node.log(), &["WARN", TOLD, &address]).len();
        assert_eq!(told, 1, "{}", node.log());
    }
    // Nobody has named the default one, where nobody or somebody else may be. The peer was asked
    // several times, and so was the server.
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "1", "--peer", &noise]);
    until("the peer was asked again and again", || {
        (tries.load(Ordering::Relaxed) > 2).then_some(())
    });
    assert!(unanswered(&node).iter().all(|it| it["address"] == noise));
    assert!(
        lines(&node.log(), &["WARN", "9000"]).is_empty(),
        "{}",
        node.log()
    );
}

#[test]
fn a_bootstrap_server_that_refuses_the_address_of_a_node_is_quoted_to_its_operator() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let server = Node::start(&dirs[0], &["bootstrap", "--listen", "127.0.0.1:0"]);
    let server = server.url("");
    // Addresses of this range are for documents alone (RFC 5737).
    let own = "http://203.0.113.5:5004";
    let node = Node::start(&dirs[1], &["--bootstrap", &server, "--base-url", own]);
    let told = "it answers: the registration is not valid: address is one at which no other node \
                can be reached; the address that this node tells of itself is \
                http://203.0.113.5:5004, and --base-url sets it";
    assert_eq!(reason(&node, &server), told);
    let told = lines(&node.log(), &["WARN", TOLD, &server, told]).len();
    assert_eq!(told, 1, "{}", node.log());
}

#[test]
fn a_node_or_server_on_all_addresses_prints_one_that_can_be_opened() {
    for start in [&["--open"][..], &["bootstrap"]] {
        for all in ["0.0.0.0", "[::]"] {
            let dir = tempfile::tempdir().unwrap();
            let listen = format!("{all}:0");
            let node = Node::start(&dir, &[start, &["--listen", &listen]].concat());
            let port = node.address.port();
            let (_, url) = node.said.split_once("http://").unwrap();
            let (url, more) = url.split_once(' ').unwrap();
            assert!(
                more.starts_with(&format!("(listens on {all}:{port})")),
                "{more}"
            );
            let (host, shown) = url.rsplit_once(':').unwrap();
            assert_eq!(shown, port.to_string());
            assert!(!host.contains("0.0.0.0") && host != "[::]", "{url}");
            let mut curl = Command::new("curl");
            let health = format!("http://{url}/health");
            curl.args(["-fsS", "--noproxy", "*", "--max-time", "30", &health]);
            let output = curl.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
    // What the operator says of where it is reached is what is printed.
    let dir = tempfile::tempdir().unwrap();
    let base = [
        "--open",
        "--listen",
        "0.0.0.0:0",
        "--base-url",
        "https://files.example/larder",
    ];
    let node = Node::start(&dir, &base);
    assert!(
        node.said
            .contains(" on https://files.example/larder (listens on 0.0.0.0:")
    );
}

#[test]
fn a_bootstrap_server_needs_no_port_where_a_node_needs_none() {
    // The port that it takes then may be taken on this machine: then the message tells it.
    for (listen, address) in [
        ("127.0.0.1", "127.0.0.1:9000"),
        ("localhost", "127.0.0.1:9000"),
        ("::1", "[::1]:9000"),
        ("[::1]", "[::1]:9000"),
    ] {
        let _taken = TcpListener::bind(address);
        let dir = tempfile::tempdir().unwrap();
        let output = larder(dir.path())
            .args(["bootstrap", "--listen", listen])
            .output();
        let told = String::from_utf8(output.unwrap().stderr).unwrap();
        assert!(
            told.contains(&format!("cannot listen on {address}")),
            "{told}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let output = larder(dir.path())
        .args(["bootstrap", "--listen", "nonsense"])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("with or without a port"));
}

/// Where the second column of a line begins.
fn second_column(line: &str) -> usize {
    let (_, rest) = line.split_once(' ').unwrap();
    line.len() - rest.trim_start().len()
}

#[test]
fn columns_stand_below_each_other_whatever_is_in_them() {
    let [peer, server] = [(); 2].map(|()| format!("http://localhost:{}", closed_port()));
    let met_dir = tempfile::tempdir().unwrap();
    let met = Node::start(&met_dir, &[]);
    crate::common::forms::uploaded(met.address, "of-one.txt", b"1");
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        ["--discover-every", "1"],
        ["--bootstrap", &server],
        ["--peer", &peer],
        ["--peer", &met.url("")],
    ];
    let node = Node::start(&dir, &arguments.concat());
    reason(&node, &peer);
    reason(&node, &server);
    crate::common::peers::until_sees(node.address, &["of-one.txt"]);
    crate::common::forms::uploaded(node.address, "of-two.txt", b"2");
    crate::common::forms::uploaded(met.address, "of-two.txt", b"2");
    until("both have it", || {
        let files = crate::common::peers::held(node.address);
        let two = files
            .iter()
            .find(|it| it["original_name"] == "of-two.txt")?;
        (two["peers"].as_array()?.len() == 2).then_some(())
    });
    let status = command(&node, &["status"]);
    let labels = status.iter().map(|it| it.split(' ').next().unwrap());
    assert!(labels.clone().any(|it| it == "bootstrap"), "{status:#?}");
    let column = second_column(&status[0]);
    assert!(
        status.iter().all(|it| second_column(it) == column),
        "{status:#?}"
    );
    for (arguments, what) in [
        (&["peers"][..], "http://"),
        (&["ls", "--network"], "of-"),
        (&["ls", "--network", "-l"], "text/plain"),
    ] {
        let lines = command(&node, arguments);
        assert!(lines.len() >= 2, "{lines:#?}");
        let column = lines[0].find(what).unwrap();
        assert!(
            lines.iter().all(|it| it.find(what) == Some(column)),
            "{lines:#?}"
        );
    }
}
