//! Places that clients can fill are shared out: what is worth nothing gives way, and nobody takes
//! more than a share.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, SystemTime};

use larder::state_file::StateFile;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, connect, get, head, read_answer, send};
use crate::common::relay::Relay;
use crate::common::tus::{TUS, created, look, patch_request, patched, path_of, request};

/// A client, as a gateway in front of the node tells of it.
fn from(number: u8) -> String {
    format!("X-Forwarded-For: 192.0.2.{number}")
}

const GATEWAY: [&str; 2] = ["--trusted-proxy", "127.0.0.1"];

/// Requests one after the other on one connection.
struct Asking(TcpStream);

impl Asking {
    fn at(address: SocketAddr) -> Self {
        Self(connect(address))
    }

    fn ask(&mut self, request: &[u8]) -> Answer {
        self.0.write_all(request).unwrap();
        read_answer(&mut self.0, false)
    }

    fn create(&mut self, headers: &[&str]) -> Answer {
        let headers = [&["Upload-Length: 9"], headers].concat();
        self.ask(&request("POST", TUS, &headers, b""))
    }
}

#[test]
fn uploads_without_a_byte_give_way_and_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let begun = created(node.address, 9);
    patched(node.address, &begun, 0, b"some");
    let mut asking = Asking::at(node.address);
    let mut create = || {
        let answer = asking.create(&[]);
        assert_eq!(answer.status, 201, "{answer:?}");
        path_of(&answer)
    };
    let empty: Vec<_> = (0..1_005).map(|_| create()).collect();
    // All but those that 1,000 have room for, the oldest first.
    for (number, upload) in empty.iter().enumerate() {
        let there = number >= empty.len() - 999;
        let expected = if there { 200 } else { 404 };
        assert_eq!(look(node.address, upload).status, expected, "{number}");
    }
    let left = std::fs::read_dir(dir.path().join("peer_storage/uploading")).unwrap();
    let id = |name: String| name.split('.').next().unwrap().to_owned();
    let left = left.map(|it| id(it.unwrap().file_name().into_string().unwrap()));
    assert_eq!(left.collect::<BTreeSet<_>>().len(), 1_000);
    patched(node.address, &begun, 4, b"bytes");
    node.stop();
}

#[test]
fn a_client_has_a_share_of_the_unfinished_uploads() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &GATEWAY);
    let mut asking = Asking::at(node.address);
    let (one, other) = (from(1), from(2));
    for _ in 0..250 {
        let upload = asking.create(&[&one]);
        assert_eq!(upload.status, 201, "{upload:?}");
        let upload = path_of(&upload);
        let begun = asking.ask(&patch_request(&upload, 0, b"x", &[&one]));
        assert_eq!(begun.status, 204, "{begun:?}");
    }
    let refused = asking.create(&[&one]);
    assert_eq!(refused.refusal(), (429, "too_many_uploads".to_owned()));
    assert!(!refused.header("retry-after").is_empty());
    let message = refused.json()["message"].to_string();
    assert!(message.contains("of this client"), "{message}");
    assert_eq!(asking.create(&[&other]).status, 201);
    // Nor is it another client that writes something there itself.
    let forged = format!("X-Forwarded-For: 192.0.2.3, {}", "192.0.2.1");
    assert_eq!(asking.create(&[&forged]).status, 429);
}

/// Does something with the path of each state of an upload, and makes everything about uploads so
/// old that their clients have let them wait for long.
fn let_wait(dir: &TempDir, change: impl Fn(&Path)) {
    let uploading = dir.path().join("peer_storage/uploading");
    for entry in fs::read_dir(uploading).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "state") {
            change(&path);
        }
        let long_ago = SystemTime::now() - Duration::from_mins(11);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(long_ago).unwrap();
    }
}

/// As an older larder wrote it, which did not remember whose an upload is.
fn forget_client(path: &Path) {
    let file = StateFile::new(path.to_owned(), "larder-upload 1");
    let mut state: Value = serde_json::from_slice(&file.load().unwrap().unwrap()).unwrap();
    assert!(state.as_object_mut().unwrap().remove("client").is_some());
    file.save(state.to_string().as_bytes()).unwrap();
    // The version before is of a directory of its own.
    fs::remove_file(path.with_extension("state.before")).unwrap();
}

#[test]
fn a_restart_forgets_nobodys_share_of_the_unfinished_uploads() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &GATEWAY);
    let mut asking = Asking::at(node.address);
    for number in 1..=4 {
        let client = from(number);
        for _ in 0..250 {
            let upload = path_of(&asking.create(&[&client]));
            let begun = asking.ask(&patch_request(&upload, 0, b"x", &[&client]));
            assert_eq!(begun.status, 204, "{begun:?}");
        }
    }
    let newcomer = from(9);
    node.kill();
    let node = Node::start(&dir, &GATEWAY);
    let refused = Asking::at(node.address).create(&[&from(1)]);
    assert_eq!(refused.refusal(), (429, "too_many_uploads".to_owned()));
    let message = refused.json()["message"].to_string();
    assert!(message.contains("of this client"), "{message}");
    // All places are taken by uploads that nobody has let wait.
    assert_eq!(Asking::at(node.address).create(&[&newcomer]).status, 429);
    node.kill();
    let changes: [fn(&Path); 2] = [|_| {}, forget_client];
    for change in changes {
        let_wait(&dir, change);
        let node = Node::start(&dir, &GATEWAY);
        let answer = Asking::at(node.address).create(&[&newcomer]);
        assert_eq!(answer.status, 201, "{answer:?}");
        let upload = path_of(&answer);
        let ended = send(node.address, &request("DELETE", &upload, &[], b""));
        assert_eq!(ended.status, 204);
        // Another takes the place that it has left.
        let upload = path_of(&Asking::at(node.address).create(&[]));
        let begun = patch_request(&upload, 0, b"x", &[]);
        assert_eq!(send(node.address, &begun).status, 204);
        node.kill();
    }
}

/// Has a node keep content, as a client asks for it.
fn keep(node: &Node, hash: &str, client: &str) -> Answer {
    let body = format!(r#"{{"hash":"{hash}"}}"#);
    let length = format!("Content-Length: {}", body.len());
    let lines = ["Content-Type: application/json", &length, client];
    let request = [head("POST", "/api/p2p/keep", &lines), body.into_bytes()].concat();
    send(node.address, &request)
}

#[test]
fn a_client_has_a_share_of_what_is_to_be_kept_and_what_was_tried_in_vain_gives_way() {
    let cable = Relay::new();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let holder = Node::start(&dirs[0], &["--base-url", &cable.url()]);
    cable.connect(holder.address);
    let hashes = (0..252).map(|n| {
        let content = format!("content {n}");
        let file = uploaded(holder.address, "file", content.as_bytes());
        file["hash"].as_str().unwrap().to_owned()
    });
    let hashes: Vec<_> = hashes.collect();
    let peer = ["--peer", &cable.url(), "--discover-every", "1"];
    let node = Node::start(&dirs[1], &[&GATEWAY[..], &peer].concat());
    until("all is known", || {
        let known = get(node.address, "/api/p2p/network?limit=1000", &[]).json();
        let known = known["files"].as_array().map_or(0, Vec::len);
        (known == hashes.len()).then_some(())
    });
    // From now on nobody answers.
    cable.stall_after(0);
    let (one, other) = (from(1), from(2));
    for hash in &hashes[..250] {
        let answer = keep(&node, hash, &one);
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let refused = keep(&node, &hashes[250], &one);
    assert_eq!(refused.refusal(), (429, "too_many_keeps".to_owned()));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(keep(&node, &hashes[251], &other).status, 202);
    // What fails gives way.
    cable.cut_after(0);
    until("one was tried in vain", || {
        (keep(&node, &hashes[250], &one).status == 202).then_some(())
    });
    let keeps = get(node.address, "/api/p2p/keep", &[]).json();
    let ids = keeps["keeps"].as_array().unwrap().iter();
    let ids: BTreeSet<_> = ids.map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 251);
    assert!(ids.contains(&*hashes[250]) && ids.contains(&*hashes[251]));
}

/// The first line of the answer to somebody who listens, and the connection.
fn listen(address: SocketAddr, headers: &[&str]) -> (String, BufReader<TcpStream>) {
    let mut stream = connect(address);
    let request = head("GET", "/api/events", headers);
    stream.write_all(&request).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    (line, stream)
}

#[test]
fn whoever_listens_gets_in_and_all_of_them_take_little() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &GATEWAY);
    let before = node.resident_memory();
    let mut listeners: Vec<_> = (0..1_024).map(|_| listen(node.address, &[])).collect();
    assert!(listeners.iter().all(|(line, _)| line.contains(" 200 ")));
    let each = (node.resident_memory() - before) / 1_024;
    assert!(each < 60, "{each} KiB");
    let (line, _newest) = listen(node.address, &[]);
    assert!(line.contains(" 200 "), "{line}");
    // The longest one ends, in order.
    let (_, oldest) = &mut listeners[0];
    let ended = oldest.lines().map_while(Result::ok).last();
    assert!(ended.is_some());
    drop(listeners);
    // One client has a share.
    let (one, other) = (from(1), from(2));
    until("the places are free", || {
        let (line, _) = listen(node.address, &[&other]);
        line.contains(" 200 ").then_some(())
    });
    let mut own: Vec<_> = (0..128).map(|_| listen(node.address, &[&one])).collect();
    let (line, _newest) = listen(node.address, &[&one]);
    assert!(line.contains(" 200 "), "{line}");
    // Its own longest one gives way, and nobody else's.
    let (_, oldest) = &mut own[0];
    assert!(oldest.lines().map_while(Result::ok).last().is_some());
    let (line, _) = listen(node.address, &[&other]);
    assert!(line.contains(" 200 "), "{line}");
}
