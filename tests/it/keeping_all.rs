//! Nodes that keep everything: what they hold is one file to people, what a user removes stays
//! removed, and no stranger keeps them from it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use larder::hash::BlobHash;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::canned::{Canned, Reply};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::liar::{Liar, Lie, Sends};
use crate::common::peers::{held, peer_id, post};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};

const FILES: u32 = 200;

fn start_in(dir: &TempDir, arguments: &[&str]) -> Node {
    let usual = ["--discover-every", "1", "--keep", "all"];
    Node::start(dir, &[&usual, arguments].concat())
}

/// The hashes of the files that a node itself has.
fn own(node: &Node) -> BTreeSet<String> {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    files
        .map(|it| it["hash"].as_str().unwrap().to_owned())
        .collect()
}

fn until_has(node: &Node, file: &Value) {
    let hash = file["hash"].as_str().unwrap();
    until("the file is kept", || {
        own(node).contains(hash).then_some(())
    });
}

#[test]
fn what_all_keep_is_one_row_and_a_removal_is_not_undone() {
    let dirs = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let first = start_in(&dirs[0], &[]);
    let url = first.url("");
    let by_first = ["--peer", &url];
    let [mut second, third, fourth] = [1, 2, 3].map(|it| start_in(&dirs[it], &by_first));
    let file = uploaded(first.address, "a", &content(1, 100_000));
    for node in [&first, &second, &third, &fourth] {
        until_has(node, &file);
        until("all hold it", || {
            let rows = held(node.address);
            let peers = rows.first()?["peers"].as_array()?.len();
            (peers == 4).then_some(())
        });
        let answer = get(node.address, "/api/p2p/network", &[]).json();
        assert_eq!(answer["files"].as_array().unwrap().len(), 1, "{answer}");
        // A node that holds it calls it as it does among its own.
        let own = get(node.address, "/api/p2p/files", &[]).json();
        assert_eq!(answer["files"][0]["file_id"], own["files"][0]["file_id"]);
        assert_eq!(
            (&answer["total_files"], &answer["next"]),
            (&json!(1), &Value::Null)
        );
        // However small the pages are.
        let page = get(node.address, "/api/p2p/network?limit=1", &[]).json();
        let names = page["files"].as_array().unwrap().len();
        assert_eq!((names, &page["next"]), (1, &Value::Null));
    }

    let listed = get(second.address, "/api/p2p/files", &[]).json();
    let copy = listed["files"][0]["file_id"].as_str().unwrap().to_owned();
    let removal = head("DELETE", &format!("/api/p2p/file/{copy}"), &[]);
    assert_eq!(send(second.address, &removal).status, 200);
    // What came later is kept, so it has looked at all that it could keep, also after a crash.
    for number in 2..6 {
        let later = uploaded(first.address, "later", &content(number, 1000));
        until_has(&second, &later);
        assert!(!own(&second).contains(file["hash"].as_str().unwrap()));
        if number == 3 {
            second.kill();
            second = start_in(&dirs[1], &by_first);
        }
    }
    until("three hold it", || {
        let rows = held(first.address);
        let row = rows.iter().find(|it| it["hash"] == file["hash"])?;
        (row["peers"].as_array()?.len() == 3).then_some(())
    });
    // A withdrawal of the one that took the upload takes back its own copy.
    let removal = head(
        "DELETE",
        &format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap()),
        &[],
    );
    assert_eq!(send(first.address, &removal).status, 200);
    let later = uploaded(fourth.address, "later", &content(9, 1000));
    until_has(&first, &later);
    assert!(!own(&first).contains(file["hash"].as_str().unwrap()));
    assert!(own(&third).contains(file["hash"].as_str().unwrap()));
    // Who asks for it has it.
    let what = json!({ "hash": file["hash"] }).to_string();
    assert_eq!(post(second.address, "/api/p2p/keep", &what).status, 202);
    until_has(&second, &file);
}

/// A stranger that holds these files, as it says, and never sends one.
fn silent(seed: u32) -> Liar {
    let contents: Vec<_> = (0..FILES).map(|it| content(seed + it, 64)).collect();
    let contents: Vec<_> = contents.iter().map(Vec::as_slice).collect();
    Liar::start(&contents, Lie::at_once(Sends::Nothing))
}

#[test]
fn silent_strangers_keep_no_honest_file_waiting() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody is given up for being silent as long as the test lasts.
    let by = start_in(&dir, &["--peer-stall", "3600"]);
    let strangers = [10_000, 20_000, 30_000].map(silent);
    for stranger in &strangers {
        let told = stranger.meet(by.address);
        assert_eq!(told.status, 200);
    }
    until("they keep it waiting", || {
        strangers.iter().all(Liar::is_answering).then_some(())
    });
    let other = tempfile::tempdir().unwrap();
    let honest = Node::start(&other, &["--discover-every", "1", "--peer", &by.url("")]);
    let file = uploaded(honest.address, "honest", &content(1, 300_000));
    until_has(&by, &file);
    assert!(strangers.iter().any(Liar::is_answering));
}

#[test]
fn a_stranger_fills_a_part_of_the_room_and_others_have_theirs() {
    let contents: Vec<_> = (0..40).map(|it| content(50_000 + it, 64 << 10)).collect();
    let slices: Vec<_> = contents.iter().map(Vec::as_slice).collect();
    let stranger = Liar::start(&slices, Lie::TRUTH);
    let dir = tempfile::tempdir().unwrap();
    let by = start_in(&dir, &["--quota", "2MiB"]);
    assert_eq!(stranger.meet(by.address).status, 200);
    until("some is kept", || (own(&by).len() >= 5).then_some(()));
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for dir in &dirs {
        let honest = Node::start(dir, &["--discover-every", "1", "--peer", &by.url("")]);
        let file = uploaded(
            honest.address,
            &peer_id(honest.address),
            &content(1, 64 << 10),
        );
        until_has(&by, &file);
    }
    // A quarter of 2 MiB are eight of these, and there is less room for each that is kept.
    assert!(own(&by).len() <= 8 + 1, "{}", own(&by).len());
}

#[test]
fn what_the_quota_has_no_room_for_is_told_once_and_the_rest_is_kept() {
    let (holder_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let holder = Node::start(&holder_dir, &["--discover-every", "1"]);
    let large = uploaded(holder.address, "large", &content(1, 300_000));
    let url = holder.url("");
    let node = start_in(&dir, &["--peer", &url, "--quota", "100kB"]);
    let told = "makes no copy of files for which the quota";
    until("it is told", || node.log().contains(told).then_some(()));
    let small = uploaded(holder.address, "small", &content(2, 10_000));
    until_has(&node, &small);
    // Several looks later.
    let last = uploaded(holder.address, "last", &content(3, 10_000));
    until_has(&node, &last);
    assert!(!own(&node).contains(large["hash"].as_str().unwrap()));
    assert_eq!(node.log().matches(told).count(), 1);
}

/// The names of the files that a node itself has, in their order.
fn own_names(node: &Node) -> Vec<String> {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    let names = files.map(|it| it["original_name"].as_str().unwrap().to_owned());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

/// A peer that signs nothing, and what it tells of files: each holds its own name many times.
struct Unsigned {
    peer: Canned,
    id: String,
    claims: Arc<Mutex<Vec<Value>>>,
}

impl Unsigned {
    fn start() -> Self {
        let id = Uuid::new_v4().to_string();
        let claims = Arc::<Mutex<Vec<Value>>>::default();
        let (own_id, told) = (id.clone(), Arc::clone(&claims));
        let peer = Canned::start(move |_, request| {
            let files = told.lock().unwrap().clone();
            if request.starts_with("GET /api/p2p/files") {
                return Reply::Json(json!({ "peer_id": own_id, "files": files }).to_string());
            }
            let id = request.strip_prefix("GET /api/p2p/file/");
            let file = files.iter().find(|it| id == it["file_id"].as_str());
            let Some(name) = file.and_then(|it| it["original_name"].as_str()) else {
                return Reply::Head("404 Not Found".to_owned());
            };
            let content = Self::content(name);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", content.len());
            Reply::Whole(format!("{head}Connection: close\r\n\r\n{content}").into_bytes())
        });
        Self { peer, id, claims }
    }

    fn content(name: &str) -> String {
        name.repeat(50)
    }

    fn registration(&self) -> String {
        json!({ "peer_id": self.id, "address": self.peer.url(),
            "timestamp": "2026-01-21T10:00:00" })
        .to_string()
    }

    /// Tells of a file from now on, of content with this hash or without one.
    fn claim(&self, id: &str, name: &str, hash: Option<BlobHash>) {
        let size = Self::content(name).len();
        let file = json!({ "file_id": id, "original_name": name, "size": size, "description": "",
            "uploaded_at": "2026-01-21T10:00:00", "hash": hash.map(|it| it.to_string()) });
        self.claims.lock().unwrap().push(file);
    }
}

fn made_up() -> String {
    Uuid::new_v4().to_string()
}

#[test]
fn a_claim_for_an_id_that_the_node_itself_holds_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &[]);
    let file = uploaded(node.address, "own", &content(1, 1000));
    let id = file["file_id"].as_str().unwrap();
    let stranger = Unsigned::start();
    stranger.claim(id, "own", None);
    let told = post(node.address, "/api/peers", &stranger.registration());
    assert_eq!(told.status, 200);
    // What comes later is kept, so all that could be kept before was looked at.
    for name in ["first", "later"] {
        stranger.claim(&made_up(), name, None);
        until("another is kept", || {
            own_names(&node).iter().any(|it| it == name).then_some(())
        });
    }
    assert_eq!(own_names(&node), ["first", "later", "own"]);
    let asked = stranger.peer.asked();
    let of_id = asked.iter().find(|it| it.contains(&format!("/{id}")));
    assert_eq!(of_id, None);
}

#[test]
fn a_claim_that_does_not_count_names_no_copy() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &[]);
    let file = uploaded(node.address, "own", &content(1, 1000));
    let id = file["file_id"].as_str().unwrap();
    // It signs what it tells, is believed more than others, and has the content.
    let bytes = Unsigned::content("listed");
    let own_id = [(id.parse().unwrap(), bytes.as_bytes())];
    let signed = Liar::under(own_id, Lie::TRUTH);
    let told = signed.meet(node.address);
    assert_eq!(told.status, 200);
    until("its listing is read", || {
        let target = format!("/api/p2p/download/{}/{id}", signed.id());
        (get(node.address, &target, &[]).status == 200).then_some(())
    });
    let other = Unsigned::start();
    other.claim(&made_up(), "listed", Some(BlobHash::of(bytes.as_bytes())));
    let told = post(node.address, "/api/peers", &other.registration());
    assert_eq!(told.status, 200);
    until("the content is kept", || {
        (own_names(&node).len() > 1).then_some(())
    });
    assert_eq!(own_names(&node), ["listed", "own"]);
}
