//! Connections have their places, and nobody keeps all of them; what they bring has limits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::common::content::content;
use crate::common::forms::{file, form, upload};
use crate::common::process::{Node, limited, until};
use crate::common::raw_http::{Answer, connect, get, head, read_answer, send, until_read};

const MIB: u64 = 1024;

/// Idle connections, as many as asked for.
fn idle(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    (0..count).map(|_| connect(address)).collect()
}

fn open_connections(node: &Node) -> u64 {
    let page = get(node.address, "/metrics", &[]).body;
    let page = String::from_utf8(page).unwrap();
    let line = page
        .lines()
        .find(|it| it.starts_with("larder_connections "));
    line.unwrap().split_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn more_idle_connections_than_files_may_be_open_keep_nobody_out() {
    for durability in ["always", "relaxed"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = limited(dir.path(), "-n 100");
        command.args(["--durability", durability]);
        let node = Node::spawn(&dir, command);
        let held = idle(node.address, 300);
        for seed in 0..5 {
            let body = form(&[file("long", &content(seed, 70_000))]);
            let answer = upload(node.address, &body);
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(get(node.address, "/ready", &[]).status, 200);
        }
        assert!(!node.log().contains("ERROR"), "{}", node.log());
        drop(held);
        node.stop();
    }
}

#[test]
fn whoever_asks_gets_in_beside_as_many_idle_connections_as_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::spawn(&dir, limited(dir.path(), "-n 500"));
    let held = idle(node.address, 1000);
    for _ in 0..20 {
        assert_eq!(get(node.address, "/ready", &[]).status, 200);
    }
    let open = open_connections(&node);
    assert!((100..=400).contains(&open), "{open}");
    // The oldest went first, and each was told by its end.
    let mut first = held.into_iter().next().unwrap();
    assert_eq!(first.read(&mut [0]).unwrap_or(0), 0);
}

/// Has each of these connections asked once more.
fn ask_all(held: &mut [TcpStream]) {
    for stream in held {
        stream.write_all(&head("GET", "/health", &[])).unwrap();
        assert_eq!(read_answer(stream, false).status, 200);
    }
}

#[test]
fn connections_that_wait_for_their_next_request_take_5_kib_each() {
    let dir = tempfile::tempdir().unwrap();
    // A quarter of 9,216 places is for one address.
    let node = Node::spawn(&dir, limited(dir.path(), "-n 16384"));
    let until_at_rest = |count: usize| {
        until("they rest", || {
            let page = get(node.address, "/metrics", &[]).body;
            let line = format!("larder_connections_resting {count}\n");
            String::from_utf8(page)
                .unwrap()
                .contains(&line)
                .then_some(())
        });
    };
    // With what is made once, for the first of them.
    let mut held = idle(node.address, 500);
    ask_all(&mut held);
    until_at_rest(500);
    let before = node.memory("VmRSS:");
    held.extend(idle(node.address, 1500));
    ask_all(&mut held);
    until_at_rest(2000);
    // The allocator gives back what is free by and by.
    until("they take little", || {
        let taken = node.memory("VmRSS:").saturating_sub(before);
        (taken <= 1500 * 5).then_some(())
    });
    ask_all(&mut held);
}

#[test]
fn a_connection_without_a_request_holds_up_no_stop() {
    for begun in ["", "G", "GET /health HTTP/1.1\r\nHost: local", "\r\n"] {
        for asked_before in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let node = Node::start(&dir, &["--shutdown-grace", "3600"]);
            let mut held = connect(node.address);
            if asked_before {
                held.write_all(&head("GET", "/health", &[])).unwrap();
                assert_eq!(read_answer(&mut held, false).status, 200);
            }
            held.write_all(begun.as_bytes()).unwrap();
            until_read(&held);
            // Fails after half a minute, not after an hour.
            node.stop();
            assert_eq!(held.read(&mut [0]).unwrap_or(0), 0);
        }
    }
}

#[test]
fn a_request_names_its_host_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let ask = |version: &str, target: &str, hosts: &[&str]| {
        let hosts = hosts
            .iter()
            .fold(String::new(), |hosts, it| hosts + it + "\r\n");
        let request = format!("GET {target} HTTP/{version}\r\n{hosts}\r\n");
        status(node.address, request.as_bytes())
    };
    let host = "Host: localhost";
    for target in ["/health", "/api/p2p/files", "http://localhost/health"] {
        for hosts in [&[][..], &[host, host], &[host, "hOST: other"]] {
            assert_eq!(ask("1.1", target, hosts), 400);
        }
        assert_eq!(ask("1.1", target, &[host]), 200);
        assert_eq!(ask("1.0", target, &[]), 200);
        assert_eq!(ask("1.0", target, &[host, host]), 400);
    }
    let answer = send(node.address, b"GET /health HTTP/1.1\r\n\r\n");
    assert_eq!(answer.refusal(), (400, "bad_request".to_owned()));
}

fn with_field(length: usize) -> Vec<u8> {
    head("GET", "/health", &[&format!("X: {}", "a".repeat(length))])
}

#[test]
fn a_head_has_a_longest_length_and_a_most_of_fields() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    assert_eq!(send(node.address, &with_field(30_000)).status, 200);
    let fields: Vec<_> = (0..98).map(|n| format!("X-{n}: a")).collect();
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    assert_eq!(get(node.address, "/health", &fields).status, 200);
    let too_many: Vec<_> = fields
        .iter()
        .copied()
        .chain(["Y: 1", "Y: 2", "Y: 3"])
        .collect();
    let answer = status(node.address, &head("GET", "/health", &too_many));
    assert_eq!(answer, 431);
    assert_eq!(status(node.address, &with_field(33_000)), 431);
    // Also one that never ends.
    assert_eq!(status(node.address, &with_field(500_000)[..400_000]), 431);
}

/// The status of an answer without a body, also where the node closes before all is sent.
fn status(address: SocketAddr, request: &[u8]) -> u16 {
    let mut stream = connect(address);
    let _ = stream.write_all(request);
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
}

/// Connections with a head of this length that never ends.
fn fat_heads(node: &Node, count: usize, length: usize) -> Vec<TcpStream> {
    let request = with_field(length);
    let (half, _) = request.split_at(length);
    let mut held = idle(node.address, count);
    for stream in &mut held {
        // One that gave way meanwhile takes no more.
        let _ = stream.write_all(half);
    }
    held
}

#[test]
fn the_heads_of_all_requests_together_have_a_bound_and_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let before = node.resident_memory();
    // Of each 400 kB once.
    let held = fat_heads(&node, 1_000, 31_000);
    let beside = node.resident_memory();
    assert!(beside < before + 100 * MIB, "{before} {beside}");
    drop(held);
    // More than all may hold together: 64 MiB of heads, beside what connections take. Without a
    // bound it would be 1,600.
    let held = fat_heads(&node, 4_000, 31_000);
    let beside = node.resident_memory();
    assert!(beside < before + 300 * MIB, "{before} {beside}");
    assert_eq!(get(node.address, "/ready", &[]).status, 200);
    drop(held);
    until("the memory is given back", || {
        (node.resident_memory() < before + 16 * MIB).then_some(())
    });
}

/// The log's line of the newest request.
fn last_line(node: &Node) -> String {
    node.log().lines().next_back().unwrap().to_owned()
}

fn announce(node: &Node, headers: &[&str]) -> Answer {
    let lines = [
        &["Content-Type: application/json", "Content-Length: 2"],
        headers,
    ]
    .concat();
    let request = [head("POST", "/api/p2p/announce", &lines), b"{}".to_vec()].concat();
    send(node.address, &request)
}

#[test]
fn a_gateway_that_is_trusted_tells_who_its_clients_are() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "--peer-rate",
        "1",
        "--trusted-proxy",
        "127.0.0.1,10.0.0.0/8",
    ];
    let node = Node::start(&dir, &arguments);
    let one = "X-Forwarded-For: 198.51.100.9, 192.0.2.1, 10.0.0.7";
    until("one client has asked too often", || {
        (announce(&node, &[one]).status == 429).then_some(())
    });
    until("the line is written", || {
        last_line(&node).contains("client=192.0.2.1 ").then_some(())
    });
    // Its share is its own.
    for other in ["X-Forwarded-For: 192.0.2.2", "Forwarded: for=192.0.2.3"] {
        assert_eq!(announce(&node, &[other]).status, 400, "{other}");
    }
    assert_eq!(announce(&node, &[one]).status, 429);
}

#[test]
fn nobody_else_is_believed_who_its_clients_are() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--peer-rate", "1", "--trusted-proxy", "10.0.0.0/8"]);
    let mut asked = 0..;
    until("the client has asked too often", || {
        let field = format!("X-Forwarded-For: 192.0.2.{}", asked.next().unwrap() % 250);
        (announce(&node, &[&field]).status == 429).then_some(())
    });
    assert!(node.log().contains("client=127.0.0.1:"));
    assert!(!node.log().contains("client=192"));
}

#[test]
fn a_connection_that_was_used_serves_again_while_there_are_places() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let mut stream = connect(node.address);
    for _ in 0..3 {
        stream.write_all(&head("GET", "/health", &[])).unwrap();
        assert_eq!(read_answer(&mut stream, false).status, 200);
    }
}
