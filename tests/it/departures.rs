//! Clients that leave, and nodes that stop, while something long is done for a request.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{connect, get, head, read_answer};
use crate::common::traced::TracedCalls;
use crate::common::tus;

/// How many ask for an archive at once, so that to plan all takes minutes.
const CLIENTS: usize = 200;
/// How many files are in it.
const FILES: usize = 1000;

/// A node with a folder, whose running requests have an hour at a stop.
fn with_folder() -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let patient = ["--durability", "relaxed", "--shutdown-grace", "3600"];
    let node = Node::start(&dir, &patient);
    for number in 0..FILES {
        uploaded(node.address, &format!("folder/{number}"), b"x");
    }
    (dir, node)
}

/// Asks for the folder as an archive, on a connection of its own.
fn asking(node: &Node) -> TcpStream {
    let mut stream = connect(node.address);
    let request = head("GET", "/api/p2p/zip/folder", &[]);
    stream.write_all(&request).unwrap();
    stream
}

fn all_asking(node: &Node) -> Vec<TcpStream> {
    let asking: Vec<_> = (0..CLIENTS).map(|_| asking(node)).collect();
    // Some may have theirs already, where the machine is busy.
    until("all have asked for their archives", || {
        let done = counted(node, "larder_http_requests_total", "");
        (planned(node) + done == CLIENTS).then_some(())
    });
    asking
}

/// The sum of what is counted under this name of archives of folders, and with these words.
fn counted(node: &Node, name: &str, words: &str) -> usize {
    let page = get(node.address, "/metrics", &[]);
    let page = String::from_utf8(page.body).unwrap();
    let begin = format!("{name}{{route=\"/api/p2p/zip/{{");
    let lines = page.lines().filter(|it| it.starts_with(&begin));
    let values = lines.filter(|it| it.contains(words)).map(|line| {
        let (_, value) = line.rsplit_once(' ').unwrap();
        value.parse::<usize>().unwrap()
    });
    values.sum()
}

/// How many archives are planned now.
fn planned(node: &Node) -> usize {
    counted(node, "larder_http_requests_in_progress", "")
}

#[test]
fn an_archive_is_planned_no_longer_once_its_client_has_left() {
    let (_dir, node) = with_folder();
    drop(all_asking(&node));
    until("none is planned any more", || {
        (planned(&node) == 0).then_some(())
    });
    let cut = counted(&node, "larder_http_requests_total", "status=\"cut\"");
    // The others had theirs already.
    assert!(cut > CLIENTS / 4, "{cut}");
    // Who only sends no more is there.
    let mut stream = asking(&node);
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_answer(&mut stream, false);
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with(b"PK"));
    node.stop();
}

#[test]
fn a_stop_waits_for_no_archive_to_be_planned() {
    let (_dir, node) = with_folder();
    let clients = all_asking(&node);
    node.stop();
    let refused = clients.into_iter().map(|mut stream| {
        let answer = read_answer(&mut stream, false);
        (answer.status != 200).then(|| answer.refusal())
    });
    let refused: Vec<_> = refused.flatten().collect();
    assert!(refused.len() > CLIENTS / 2, "{}", refused.len());
    let stops = (503, "shutting_down".to_owned());
    assert!(refused.iter().all(|it| *it == stops), "{refused:?}");
}

/// Long enough that its pieces take minutes where each takes a second.
const LONG: usize = 32 << 20;

/// A node with long content, and where that is.
struct Long {
    dir: TempDir,
    node: Node,
    hash: String,
}

impl Long {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let file = uploaded(node.address, "long", &content(5, LONG));
        let hash = file["hash"].as_str().unwrap().to_owned();
        Self { dir, node, hash }
    }

    fn in_shard(&self, dir: &str) -> PathBuf {
        let dir = self.dir.path().join("peer_storage").join(dir);
        dir.join(&self.hash[..2]).join(&self.hash)
    }

    /// Asks what has the node read the file at `path`, and stops it then, which takes no longer
    /// than a few of those reads.
    fn stops_while_reading(self, path: PathBuf, arguments: &[&str], request: &[u8]) {
        self.node.stop();
        let arguments = [&["--shutdown-grace", "1"], arguments].concat();
        let node = Node::start(&self.dir, &arguments);
        let path = fs::canonicalize(path).unwrap();
        let reads = TracedCalls::of_reads(&node, &path, "delay_enter=1000000");
        let mut stream = connect(node.address);
        stream.write_all(request).unwrap();
        reads.until_called();
        node.stop();
    }
}

#[test]
fn a_stop_waits_for_no_outboard_to_be_derived() {
    let long = Long::new();
    fs::remove_file(long.in_shard("outboards")).unwrap();
    let request = head("GET", &format!("/api/p2p/blob/{}", long.hash), &[]);
    let blob = long.in_shard("blobs");
    long.stops_while_reading(blob, &[], &request);
}

#[test]
fn a_stop_waits_for_no_content_that_is_read_to_be_proven() {
    let long = Long::new();
    fs::remove_file(long.in_shard("outboards")).unwrap();
    let request = head("GET", &format!("/api/p2p/blob/{}", long.hash), &[]);
    let blob = long.in_shard("blobs");
    // Nothing can be written down, as on a full disk.
    long.stops_while_reading(blob, &["--min-free", "8000TiB"], &request);
}

#[test]
fn a_stop_waits_for_no_upload_of_which_what_is_there_is_read() {
    let long = Long::new();
    let address = long.node.address;
    let upload = tus::created(address, LONG + 1);
    tus::patched(address, &upload, 0, &content(6, LONG));
    let (_, id) = upload.rsplit_once('/').unwrap();
    let path = long.dir.path().join("peer_storage/uploading").join(id);
    let request = tus::request("HEAD", &upload, &[], &[]);
    long.stops_while_reading(path, &[], &request);
}

#[test]
fn a_stop_waits_for_no_content_that_came_again_to_be_compared() {
    let long = Long::new();
    let bytes = content(5, LONG);
    let length = format!("Content-Length: {LONG}");
    let request = head("PUT", "/api/p2p/upload/again", &[&length]);
    let blob = long.in_shard("blobs");
    long.stops_while_reading(blob, &[], &[request, bytes].concat());
}
