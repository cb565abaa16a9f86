//! Crowds of peers that take connections and never answer: nobody who answers waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::canned::{Canned, Reply};
use crate::common::peers::{peer_id, post, reaches, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::crowd::{Crowd, introducing, post_from, signed};
use crate::silent::Silent;

/// A node that knows nobody, and takes as many registrations as come.
fn alone(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let alone = ["--discover-every", "1", "--peer-rate", "0"];
    let node = Node::start(&dir, &[&alone, arguments].concat());
    (dir, node)
}

/// What a node tells of itself.
fn registration(node: &Node) -> Value {
    get(node.address, "/api/peers", &[]).json()["self"].clone()
}

#[test]
fn newcomers_are_asked_before_a_silent_crowd_that_registered_itself() {
    let silent = Silent::start();
    let (_dir, node) = alone(&[]);
    let crowd: Vec<_> = (0..3000).map(|it| signed(&silent.url(it))).collect();
    post_from([127, 9, 9, 9], node.address, "/api/peers", &crowd);
    until("the crowd is asked", || {
        (silent.connections() > 48).then_some(())
    });
    let newcomers = [(); 4].map(|()| alone(&[]));
    for (_, newcomer) in &newcomers {
        let before = silent.connections();
        let told = registration(newcomer).to_string();
        let answer = post(node.address, "/api/peers", &told);
        assert_eq!(answer.json()["introduced"], "new");
        let id = peer_id(newcomer.address);
        until("it is reached", || reaches(node.address, &id).then_some(()));
        // No more than two rounds of those of one set of addresses.
        let meanwhile = silent.connections() - before;
        assert!(meanwhile < 96, "{meanwhile} of the crowd were asked first");
    }
}

#[test]
fn a_silent_crowd_that_others_tell_of_hides_nobody_whom_they_tell_of() {
    let silent = Silent::start();
    let (_dir, honest) = alone(&[]);
    let id = peer_id(honest.address);
    let mut peers: Vec<_> = (0..3000).map(|it| signed(&silent.url(it))).collect();
    let liar = introducing(&peers);
    peers.push(registration(&honest));
    let mixed = introducing(&peers);
    // By one that tells of both, or beside one that tells of the crowd alone.
    for (arguments, introducers) in [
        (vec!["--peer"], vec![mixed.url()]),
        (vec!["--bootstrap"], vec![mixed.url()]),
        (vec!["--peer", "--peer"], vec![liar.url(), mixed.url()]),
    ] {
        let arguments = arguments.into_iter().zip(&introducers);
        let arguments = arguments.flat_map(|(flag, url)| [flag, url.as_str()]);
        let (_dir, node) = alone(&arguments.collect::<Vec<_>>());
        until("the honest node is reached", || {
            reaches(node.address, &id).then_some(())
        });
    }
}

#[test]
fn a_crowd_that_told_once_and_fell_silent_keeps_nobody_waiting() {
    let crowd = Crowd::start(1000);
    let server = introducing(&crowd.registrations());
    let (dir, node) = alone(&["--bootstrap", &server.url()]);
    until("the crowd answers", || {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        (status["peers_reachable"].as_u64().unwrap() > 300).then_some(())
    });
    let id = "11111111-0000-4000-8000-000000000000";
    let has_more = Arc::new(AtomicBool::new(false));
    let more = Arc::clone(&has_more);
    let honest = Canned::start(move |_, asked| {
        let count = 1 + usize::from(more.load(Ordering::Relaxed));
        let ids = [1, 2].map(|it| format!("1111111{it}-0000-7000-8000-000000000000"));
        let after = asked.split_once("after=").map_or("", |(_, after)| after);
        let files = ids.iter().zip(["first", "second"]).take(count);
        let files = files.filter(|(id, _)| id.as_str() > after);
        let files =
            files.map(|(id, name)| json!({ "file_id": id, "original_name": name, "size": 1 }));
        let files: Vec<_> = files.collect();
        Reply::Json(json!({ "peer_id": id, "files": files, "total_files": count }).to_string())
    });
    let told = json!({ "peer_id": id, "address": honest.url(), "timestamp": "" });
    post(node.address, "/api/peers", &told.to_string());
    until_sees(node.address, &["first"]);
    crowd.fall_silent();
    until("the crowd is waited for", || {
        (crowd.ignored() >= 12).then_some(())
    });
    has_more.store(true, Ordering::Relaxed);
    until_sees(node.address, &["first", "second"]);
    // After a restart all of them have to show anew that they are there.
    node.stop();
    let node = Node::start(&dir, &["--discover-every", "1"]);
    until_sees(node.address, &["first", "second"]);
}
