//! Whatever clients hold, no more files are open than are shared out, and who comes from elsewhere
//! has an answer.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use larder::hash::BlobHash;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::liar::{Liar, Lie, Sends};
use crate::common::peers::{held, post};
use crate::common::process::{Node, limited, until};
use crate::common::raw_http::{Answer, connect, get, head, read_answer, send};
use crate::common::tus::{TUS, patch_request, path_of, request};

/// As many files as the node may have open.
const FILES: usize = 300;
/// Longer than what the buffers between node and client hold.
const LONG: usize = 16 << 20;

/// A client, as a gateway in front of the node tells of it.
fn from(number: u8) -> String {
    format!("X-Forwarded-For: 192.0.2.{number}")
}

/// How many files the node has open now.
fn open_files(node: &Node) -> usize {
    fs::read_dir(format!("/proc/{}/fd", node.id()))
        .unwrap()
        .count()
}

/// The status of the answer that has come on a connection, if one has.
fn status(stream: &TcpStream) -> Option<u16> {
    let mut start = [0; 12];
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut start);
    stream.set_nonblocking(false).unwrap();
    let is_whole = peeked.is_ok_and(|bytes| bytes == start.len());
    is_whole.then(|| std::str::from_utf8(&start[9..]).unwrap().parse().unwrap())
}

/// Sends a request on so many connections that most are refused, since there are no open files
/// for them, and are told when to come again; returns the others.
fn as_many_as_may_be(node: &Node, request: &[u8]) -> Vec<TcpStream> {
    let mut streams: Vec<_> = (0..40).map(|_| connect(node.address)).collect();
    for stream in &mut streams {
        stream.write_all(request).unwrap();
    }
    let is_refused = |stream: &TcpStream| status(stream) == Some(503);
    until("most are refused", || {
        let refused = streams.iter().filter(|it| is_refused(it)).count();
        (refused >= 25).then_some(())
    });
    let (refused, holding): (Vec<_>, Vec<_>) = streams.into_iter().partition(is_refused);
    for mut stream in refused {
        let answer = read_answer(&mut stream, false);
        assert_eq!(answer.refusal(), (503, "shortage".to_owned()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    holding
}

fn put(client: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {length}");
    let head = head("PUT", "/api/p2p/upload/put", &[&length, client]);
    [&head, body].concat()
}

fn answered(node: &Node, request: &[u8]) -> Answer {
    let answer = send(node.address, request);
    assert_eq!(answer.status / 100, 2, "{answer:?}");
    answer
}

#[test]
fn clients_that_hold_all_files_they_can_leave_the_others_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = limited(dir.path(), &format!("-n {FILES}"));
    command.args(["--trusted-proxy", "127.0.0.1"]);
    let node = Node::spawn(&dir, command);
    let [big, small] = [LONG, 100].map(|length| {
        let file = uploaded(node.address, "file", &content(1, length));
        format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
    });
    let hash = uploaded(node.address, "other", &content(2, LONG))["hash"].clone();
    let blob = format!("/api/p2p/blob/{}", hash.as_str().unwrap());
    let before = open_files(&node);
    let mut holding = Vec::new();
    for (client, target) in [(1, &big), (2, &blob), (3, &format!("{blob}/bao"))] {
        let client = from(client);
        let served = as_many_as_may_be(&node, &head("GET", target, &[&client]));
        until("some are served", || {
            let served = served.iter().filter(|it| status(it) == Some(200));
            (served.count() >= 3).then_some(())
        });
        holding.push(served);
    }
    let client = from(4);
    let body = content(3, 100_000);
    holding.push(as_many_as_may_be(&node, &put(&client, 1 << 20, &body)));
    let client = from(5);
    for number in 0..40 {
        let length = ["Upload-Length: 100000", client.as_str()];
        let created = send(node.address, &request("POST", TUS, &length, b""));
        if number == 0 {
            assert_eq!(created.status, 201, "{created:?}");
        }
        if created.status == 201 {
            let patch = patch_request(&path_of(&created), 0, &body[..10], &[&client]);
            send(node.address, &patch);
        }
    }
    let open = open_files(&node);
    assert!(open > before + 20 && open < FILES - 40, "{before} {open}");
    // Somebody else is served, and nothing is lost.
    let stranger = from(9);
    for _ in 0..5 {
        for target in ["/health", "/ready", &small, &big, &blob] {
            let answer = answered(&node, &head("GET", target, &[&stranger]));
            assert!(*target != *big || answer.body == content(1, LONG));
        }
        answered(&node, &put(&stranger, 10, b"0123456789"));
        answered(&node, &put(&stranger, 100_000, &body));
    }
    assert!(!node.log().contains("ERROR"), "{}", node.log());
    drop(holding);
    until("the files are closed", || {
        (open_files(&node) < before + 20).then_some(())
    });
    node.stop();
    let node = Node::start(&dir, &[]);
    let list = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(list["file_count"], 13);
}

/// Asks for a content until told otherwise, again whenever that is refused or cut.
fn insist(node: SocketAddr, target: &str, is_over: &AtomicBool) {
    let asking = head("GET", target, &["Connection: close"]);
    let mut gone = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        // However that ends, it is done once more.
        if let Ok(mut stream) = TcpStream::connect(node) {
            let _ = stream.write_all(&asking);
            let _ = stream.read_to_end(&mut gone);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn those_who_wait_for_a_silent_peer_keep_nobody_from_an_honest_one() {
    /// Less than a transfer may stand still that has begun.
    const SOON: Duration = Duration::from_secs(5);
    let silent = Liar::start(&[b"silent"], Lie::at_once(Sends::Nothing));
    let (other, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let honest = Node::start(&other, &[]);
    uploaded(honest.address, "honest", b"honest");
    let mut command = limited(dir.path(), "-n 256");
    // Nobody is given up for being silent as long as the test lasts.
    command.args(["--discover-every", "1", "--peer-stall", "3600"]);
    command.args(["--peer", &honest.url("")]);
    let node = Node::spawn(&dir, command);
    post(node.address, "/api/peers", &silent.registration());
    until("both are known", || {
        (held(node.address).len() == 2).then_some(())
    });
    let hash = BlobHash::of(b"honest");
    let honestly = head("GET", &format!("/api/p2p/blob/{hash}"), &[]);
    let (_, hash) = silent.file(0);
    let target = format!("/api/p2p/blob/{}", hash.as_str().unwrap());
    let (address, is_over) = (node.address, AtomicBool::new(false));
    let waited = thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| insist(address, &target, &is_over));
        }
        until("all is taken by those who wait", || {
            node.log().contains("status=503").then_some(())
        });
        let waited = [(); 5].map(|()| {
            let asked = Instant::now();
            until("the honest one is asked", || {
                (send(address, &honestly).body == b"honest").then_some(())
            });
            asked.elapsed()
        });
        is_over.store(true, Ordering::Relaxed);
        node.kill();
        waited
    });
    assert!(waited.iter().all(|it| *it < SOON), "{waited:?}");
}
