//! Two nodes with one key among made-up peers: both are told of each other, however many those are
//! and however long they take.

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::peers::{key_also_at, post, with_key_of};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::crowd::{Crowd, introducing, post_from};
use crate::silent::Silent;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, arguments);
    (dir, node)
}

fn start_in(dir: &TempDir, arguments: &[&str]) -> Node {
    Node::start(dir, &[&["--discover-every", "1"], arguments].concat())
}

fn both_tell(one: &Node, two: &Node) -> Option<()> {
    let tells = |node: &Node, other: &Node| key_also_at(node) == other.url("");
    (tells(one, two) && tells(two, one)).then_some(())
}

#[test]
fn two_nodes_with_one_key_learn_of_each_other_by_a_bootstrap_server_full_of_made_up_peers() {
    let dir = tempfile::tempdir().unwrap();
    let listen = ["bootstrap", "--listen", "127.0.0.1:0", "--peer-rate", "0"];
    let server = Node::start(&dir, &listen);
    // They take connections and are silent, so each costs whoever asks it all his patience.
    let silent = Silent::start();
    let made_up = (0..10_000).map(|number| {
        json!({ "peer_id": Uuid::new_v4(), "address": silent.url(number),
            "timestamp": "2026-01-21T10:00:00" })
    });
    let made_up: Vec<_> = made_up.collect();
    post_from([127, 9, 9, 9], server.address, "/register", &made_up);
    // Nobody else is there who could tell the one of the other.
    let by = ["--bootstrap", &format!("http://{}", server.address)];
    let (dir, one) = start(&by);
    let copy = with_key_of(&dir);
    let two = start_in(&copy, &by);
    until("both know of the other", || both_tell(&one, &two));
}

#[test]
fn a_copy_is_told_however_many_peers_hear_no_greeting() {
    let crowd = Crowd::start_deaf(1000);
    let server = introducing(&crowd.registrations());
    let (dir, one) = start(&[]);
    let copy = with_key_of(&dir);
    let two = start_in(&copy, &["--bootstrap", &server.url()]);
    until("the crowd answers", || {
        let status = get(two.address, "/api/p2p/status", &[]).json();
        (status["peers_discovered"].as_u64()? > 300).then_some(())
    });
    until("both know of the other", || {
        // Only the second hears of the first, as from whoever meets it.
        let known = get(one.address, "/api/peers", &[]).json();
        post(two.address, "/api/peers", &known["self"].to_string());
        both_tell(&one, &two)
    });
}
