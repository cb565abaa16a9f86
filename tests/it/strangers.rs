//! What a stranger can make a node do: ask for larder's own paths, for a while, and nothing
//! more; and who is no stranger does not notice.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::canned::{Canned, Reply};
use crate::common::forms::uploaded;
use crate::common::peers::{peer_id, post, reaches, until_knows, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

/// Tells a node of a peer that signs nothing, whether there is one or not.
fn introduce(node: &Node, id: &str, address: &str) -> Value {
    let message = json!({ "peer_id": id, "address": address, "timestamp": "2026-01-21T10:00:00" });
    post(node.address, "/api/peers", &message.to_string()).json()
}

fn made_up() -> String {
    Uuid::new_v4().to_string()
}

/// The listing of a peer of the older service that holds files with these names.
fn listing(id: &str, names: &[String]) -> Reply {
    let file = |name| {
        json!({ "file_id": made_up(), "original_name": name, "size": 1,
        "description": "", "uploaded_at": "2026-01-21T10:00:00" })
    };
    let files: Vec<_> = names.iter().map(file).collect();
    Reply::Json(json!({ "peer_id": id, "files": files }).to_string())
}

/// A peer of the older service that answers to announcements as `hears` says.
fn older_peer(id: &str, names: &Arc<Mutex<Vec<String>>>, hears: fn() -> Reply) -> Canned {
    let (id, names) = (id.to_owned(), Arc::clone(names));
    Canned::start(move |_, request| {
        if request.starts_with("GET /api/p2p/files") {
            listing(&id, &names.lock().unwrap())
        } else if request.starts_with("POST /api/p2p/announce") {
            hears()
        } else {
            Reply::Head("404 Not Found".to_owned())
        }
    })
}

fn silent() -> Canned {
    Canned::start(|_, _| Reply::Silence)
}

fn peers_of(node: &Node) -> u64 {
    let status = get(node.address, "/api/p2p/status", &[]).json();
    status["peers_discovered"].as_u64().unwrap()
}

/// A peer of the older service that answers nothing while it is told to wait.
fn hesitant_peer(id: &str, waits: &Arc<AtomicBool>) -> Canned {
    let (id, waits) = (id.to_owned(), Arc::clone(waits));
    Canned::start(move |_, _| {
        while waits.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
        listing(&id, &[])
    })
}

#[test]
fn a_peer_that_signs_nothing_keeps_its_place_over_a_restart_whatever_a_stranger_tells() {
    let (dir, node) = start(&["--discover-every", "1"]);
    let (id, waits) = (made_up(), Arc::new(AtomicBool::new(false)));
    let honest = hesitant_peer(&id, &waits);
    let stranger = older_peer(&id, &Arc::default(), || Reply::Silence);
    introduce(&node, &id, &honest.url());
    let known = dir.path().join("peer_storage/known-peers");
    until("it is written down", || {
        let known = String::from_utf8_lossy(&fs::read(&known).ok()?).into_owned();
        known.contains(&honest.url()).then_some(())
    });
    let mut node = node;
    // At once, and when it was not answered in the first second.
    for asked_before in [0, 2] {
        node.stop();
        waits.store(true, Ordering::SeqCst);
        let before = honest.asked().len();
        node = Node::start(&dir, &["--discover-every", "1"]);
        until("it was asked", || {
            (honest.asked().len() >= before + asked_before).then_some(())
        });
        let newer = json!({ "peer_id": id, "address": stranger.url(),
            "timestamp": "2026-01-21T10:00:01" });
        post(node.address, "/api/peers", &newer.to_string()).json();
        waits.store(false, Ordering::SeqCst);
        until("it answers", || reaches(node.address, &id).then_some(()));
        let peers = get(node.address, "/api/peers", &[]).json();
        assert_eq!(peers["peers"][0]["address"], honest.url(), "{peers}");
    }
    assert_eq!(stranger.asked(), Vec::<String>::new());
}

#[test]
fn an_address_with_a_path_is_refused() {
    let (_dir, node) = start(&[]);
    let (_other, server) = start(&["bootstrap", "--listen", "127.0.0.1:0"]);
    for address in ["http://127.0.0.1:1/reboot.cgi", "http://127.0.0.1:1/a/..//"] {
        let message = json!({ "peer_id": made_up(), "address": address }).to_string();
        for (to, path) in [(node.address, "/api/peers"), (server.address, "/register")] {
            let refusal = post(to, path, &message).refusal();
            assert_eq!(refusal, (400, "bad_registration".to_owned()), "{address}");
        }
    }
    assert_eq!(peers_of(&node), 0);
}

#[test]
fn a_node_does_not_take_itself_for_a_peer() {
    let (_dir, node) = start(&["--discover-every", "1", "--log", "debug"]);
    introduce(&node, &made_up(), &node.url(""));
    assert_eq!(peers_of(&node), 0);
    // The same place in other words shows when it is asked.
    introduce(&node, &made_up(), &format!("http://{}", node.address));
    until("it is asked", || {
        let log = node.log();
        log.contains("another peer answers there").then_some(())
    });
    uploaded(node.address, "a", b"x");
    assert!(!node.log().contains("POST path=\"/api/p2p/announce\""));
}

#[test]
fn what_stands_at_a_made_up_address_is_asked_for_a_listing_and_told_nothing() {
    let elsewhere = Canned::start(|_, _| Reply::Json("{}".to_owned()));
    let target = elsewhere.url();
    let answers: [Box<dyn Fn() -> Reply + Send + Sync>; 4] = [
        Box::new(|| Reply::Json("{\"status\": \"success\"}".to_owned())),
        Box::new(|| listing("123e4567-e89b-42d3-a456-426614174000", &[])),
        Box::new(|| Reply::Head("200 OK".to_owned())),
        Box::new(move || Reply::Head(format!("302 Found\r\nLocation: {target}/api/p2p/files"))),
    ];
    let victims = answers.map(|it| Canned::start(move |_, _| it()));
    let (_dir, node) = start(&["--discover-every", "1"]);
    let (_other, honest) = start(&["--discover-every", "3600", "--peer", &node.url("")]);
    until_knows(node.address, 1);
    for victim in &victims {
        introduce(&node, &made_up(), &victim.url());
    }
    until("each was asked again", || {
        victims.iter().all(|it| it.asked().len() > 1).then_some(())
    });
    uploaded(node.address, "announced", b"x");
    until_sees(honest.address, &["announced"]);
    for victim in &victims {
        for request in victim.asked() {
            assert_eq!(request, "GET /api/p2p/files?limit=256");
        }
    }
    assert_eq!(elsewhere.asked(), Vec::<String>::new());
}

#[test]
fn nodes_that_are_told_to_be_each_other_do_not_ask_each_other_for_ever() {
    let (_dir, one) = start(&["--discover-every", "3600"]);
    let (_other, two) = start(&["--discover-every", "3600"]);
    let (phantom, file, hash) = (made_up(), made_up(), "0".repeat(64));
    introduce(&one, &phantom, &two.url(""));
    introduce(&two, &phantom, &one.url(""));
    let announced = json!({ "file_id": file, "original_name": "a", "size": 1, "hash": hash,
        "peer_id": phantom, "uploaded_at": "2026-01-21T10:00:00" });
    for node in [&one, &two] {
        let told = post(node.address, "/api/p2p/announce", &announced.to_string()).json();
        assert_eq!(told["kept"], false);
    }
    let target = format!("/api/p2p/download/{phantom}/{file}");
    let refusal = get(one.address, &target, &[]).refusal();
    assert_eq!(refusal, (502, "peer_failed".to_owned()));
    let refusal = get(one.address, &format!("/api/p2p/blob/{hash}"), &[]).refusal();
    assert_eq!(refusal, (404, "unknown_blob".to_owned()));
    let asked = [&one, &two].map(|it| it.log().matches("/api/p2p/download").count());
    assert_eq!(asked, [1, 0]);
}

#[test]
fn nobody_waits_for_strangers_that_never_answer() {
    let silent: Vec<_> = (0..100).map(|_| silent()).collect();
    let (_dir, node) = start(&["--discover-every", "1"]);
    let (id, names) = (made_up(), Arc::default());
    let known = older_peer(&id, &names, || Reply::Json("{}".to_owned()));
    introduce(&node, &id, &known.url());
    until("the peer was asked", || {
        (!known.asked().is_empty()).then_some(())
    });
    for address in silent.iter().map(Canned::url) {
        introduce(&node, &made_up(), &address);
    }
    until("the strangers are asked", || {
        let asked = silent.iter().filter(|it| !it.asked().is_empty()).count();
        (asked > 32).then_some(())
    });
    names.lock().unwrap().push("new".to_owned());
    until_sees(node.address, &["new"]);
    // Nor does another stranger wait for ever.
    let (_other, late) = start(&["--discover-every", "3600"]);
    uploaded(late.address, "late", b"x");
    introduce_itself(&late, node.address);
    until_sees(node.address, &["late", "new"]);
}

/// Tells `node` of `other` as that one would.
fn introduce_itself(other: &Node, node: SocketAddr) {
    let myself = get(other.address, "/api/peers", &[]).json()["self"].to_string();
    assert_eq!(post(node, "/api/peers", &myself).status, 200);
}

#[test]
fn nobody_waits_for_a_peer_that_does_not_hear() {
    let names = Arc::default();
    let ids = [(); 3].map(|()| made_up());
    let deaf = ids
        .each_ref()
        .map(|id| older_peer(id, &names, || Reply::Silence));
    let (_dir, node) = start(&["--discover-every", "3600"]);
    let (_other, honest) = start(&["--discover-every", "3600", "--peer", &node.url("")]);
    until_knows(node.address, 1);
    for (id, deaf) in ids.iter().zip(&deaf) {
        introduce(&node, id, &deaf.url());
    }
    until("all have answered once", || {
        deaf.iter().all(|it| !it.asked().is_empty()).then_some(())
    });
    let files: Vec<_> = (0..200).map(|it| it.to_string()).collect();
    for name in &files {
        uploaded(node.address, name, b"x");
    }
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    until_sees(honest.address, &files);
    assert_eq!(peers_of(&honest) + 3, peers_of(&node));
    assert_ne!(peer_id(honest.address), peer_id(node.address));
}

#[test]
fn long_answers_take_no_more_memory_than_they_may() {
    const SENDERS: usize = 12;
    // As long as it may be, and in memory many times that, if each element became a value.
    let nothing = "0,".repeat(8 << 20);
    let answers = ["peers", "files"].map(|key| {
        let rest = 100 + 36;
        let body = format!("{{\"{key}\":[{}0]", &nothing[..nothing.len() - 2 * rest]);
        format!("{body},\"peer_id\":\"123e4567-e89b-42d3-a456-426614174000\"}}")
    });
    let answers = Arc::new(answers);
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let answers = Arc::clone(&answers);
            Canned::start(move |_, request| {
                let [peers, files] = &*answers;
                Reply::Json(
                    if request.contains("files") {
                        files
                    } else {
                        peers
                    }
                    .clone(),
                )
            })
        })
        .collect();
    let urls = senders.iter().map(Canned::url).collect::<Vec<_>>();
    let named = urls.iter().flat_map(|url| ["--peer", url]);
    let arguments: Vec<_> = named.chain(["--discover-every", "1"]).collect();
    let (_dir, node) = start(&arguments);
    for url in &urls {
        introduce(&node, &made_up(), url);
    }
    until("each was asked for both", || {
        let files = |it: &Canned| it.asked().iter().any(|it| it.contains("/api/p2p/files"));
        let peers = |it: &Canned| {
            it.asked()
                .iter()
                .filter(|it| it.contains("/api/peers"))
                .count()
                > 1
        };
        senders
            .iter()
            .all(|it| files(it) && peers(it))
            .then_some(())
    });
    let most = node.peak_memory();
    println!("{most} KiB");
    assert!(most < 160 << 10, "{most} KiB");
}
