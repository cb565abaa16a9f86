//! Hundreds of answers that stand still: the memory they hold together is bounded.

use std::io::Write;
use std::net::TcpStream;

use crate::common::content::content;
use crate::common::forms::{field, file, form, upload, uploaded};
use crate::common::process::{Node, until};
use crate::common::raw_http::{connect, get, head, send};

const MIB: usize = 1 << 20;
const CLIENTS: usize = 600;
/// The room of all pieces, what pieces of the shortest length take beside it, and the node.
const MOST_KIB: u64 = 420 << 10;
/// Fewer clients, each of which has a page of up to a mebibyte in memory, and what they take with
/// the node: no more than the room of all pieces.
const LISTS: usize = 150;
const MOST_OF_LISTS_KIB: u64 = 340 << 10;
/// Clients that want archives, and the most that the node takes for them: what it counts of the
/// names in them, as much again where those of four are put together, and what it holds itself.
const ARCHIVES: usize = 50;
const MOST_OF_ARCHIVES_KIB: u64 = 260 << 10;
/// So many clients as take all that room, and what each more may take beside it: the entries that
/// it has begun to read, and the connection.
const CROWD: usize = 700;
const MOST_EACH_KIB: u64 = 400;
/// What may be left of that a while later, beside what the node held before.
const GIVEN_BACK_KIB: u64 = 64 << 10;

/// A node with a small file and one that no buffer between it and a client holds; the paths
/// of the two.
fn start() -> (tempfile::TempDir, Node, [String; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--log=warn"]);
    let paths = [100, 64 * MIB].map(|length| {
        let file = uploaded(node.address, "file", &content(1, length));
        format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
    });
    (dir, node, paths)
}

/// So many clients that ask for this.
fn asking(node: &Node, path: &str, clients: usize) -> Vec<TcpStream> {
    let ask = |_| {
        let mut client = connect(node.address);
        client.write_all(&head("GET", path, &[])).unwrap();
        client
    };
    (0..clients).map(ask).collect()
}

/// The same, which read no more than that there is an answer.
fn standing_still(node: &Node, path: &str, clients: usize) -> Vec<TcpStream> {
    let clients = asking(node, path, clients);
    for client in &clients {
        assert_eq!(client.peek(&mut [0]).unwrap(), 1);
    }
    clients
}

#[test]
fn answers_that_nobody_reads() {
    let (_dir, node, [small, big]) = start();
    let _clients = standing_still(&node, &big, CLIENTS);
    assert_eq!(get(node.address, &small, &[]).body.len(), 100);
    let most = node.peak_memory();
    assert!(most < MOST_KIB, "{most} KiB");
}

/// How many files there are on all pages.
fn listed(node: &Node, path: &str) -> usize {
    let (mut listed, mut target) = (0, path.to_owned());
    loop {
        let page = get(node.address, &target, &[]).json();
        listed += page["files"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else {
            return listed;
        };
        target = format!("{path}?after={next}");
    }
}

/// A list of the longest names and descriptions has many megabytes, of which little is written
/// ahead of who reads it; and all is given back.
#[test]
fn lists_that_nobody_reads() {
    const FILES: usize = 700;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--log=warn"]);
    let before = node.resident_memory();
    let description = field("description", &"d".repeat(16 << 10));
    for number in 0..FILES {
        let name = format!("{number:0>4096}");
        let body = form(&[description.clone(), file(&name, b"")]);
        assert_eq!(upload(node.address, &body).status, 200);
    }
    for path in ["/api/p2p/files", "/api/p2p/network"] {
        let clients = standing_still(&node, path, LISTS);
        let most = node.peak_memory();
        println!("{path}: {most} KiB");
        assert!(most < MOST_OF_LISTS_KIB, "{path}: {most} KiB");
        // Nobody waits for those, and everybody gets all in the end.
        assert_eq!(listed(&node, path), FILES, "{path}");
        drop(clients);
        until("the memory is given back", || {
            (node.resident_memory() < before + GIVEN_BACK_KIB).then_some(())
        });
    }
}

/// An archive holds the names of what is in it as long as it is sent, so only some are sent at
/// once; others are refused, and have theirs as soon as those have gone.
#[test]
fn archives_that_nobody_reads() {
    const FILES: usize = 1000;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--log=warn", "--durability=relaxed"]);
    let folders = format!("long/{}", format!("{:d<250}/", "").repeat(16));
    for number in 0..FILES {
        let name = format!("{folders}{number}");
        uploaded(node.address, &name, b"");
    }
    // The newest is the first one in an archive.
    uploaded(
        node.address,
        &format!("{folders}first"),
        &content(1, 64 * MIB),
    );
    let before = node.peak_memory();
    let clients = asking(&node, "/api/p2p/zip/long", ARCHIVES);
    // Whoever comes late is refused, or takes the place of one that has not moved for long.
    let is_sent = |client: &&TcpStream| {
        let mut status = [0; 12];
        client.peek(&mut status).is_ok() && status == *b"HTTP/1.1 200"
    };
    let sent = clients.iter().filter(is_sent).count();
    let most = node.peak_memory();
    println!("{before} KiB, {most} KiB");
    assert!(most < MOST_OF_ARCHIVES_KIB, "{most} KiB");
    assert!((1..ARCHIVES).contains(&sent), "{sent}");
    drop(clients);
    let wanted = head("HEAD", "/api/p2p/zip/long", &[]);
    until("the others have gone", || {
        (send(node.address, &wanted).status == 200).then_some(())
    });
}

/// Where the room of all pieces is taken, each client more takes little, also of a list whose
/// single entries are far longer than what is left for a piece.
#[test]
fn long_entries_that_nobody_reads() {
    const FILES: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--log=warn"]);
    // Six bytes each in JSON.
    let description = field("description", &"\u{1}".repeat(16 << 10));
    for number in 0..FILES {
        let body = form(&[description.clone(), file(&number.to_string(), b"")]);
        assert_eq!(upload(node.address, &body).status, 200);
    }
    let _filling = standing_still(&node, "/api/p2p/files", CROWD);
    let before = node.resident_memory();
    let _more = standing_still(&node, "/api/p2p/files", CROWD);
    let each = node.peak_memory().saturating_sub(before) / CROWD as u64;
    assert!(each < MOST_EACH_KIB, "{each} KiB");
}
