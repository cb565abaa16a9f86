//! What peers tell of their files is theirs and of now: nobody speaks in the name of another,
//! nothing that was removed comes back, and a removal that was not heard costs little.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::canned::{Canned, Reply};
use crate::common::forms::uploaded;
use crate::common::peers::{held, peer_id, post, until_knows, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};
use crate::common::relay::Relay;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[&["--discover-every", "1"], arguments].concat());
    (dir, node)
}

fn remove(node: &Node, file: &Value) {
    let target = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    assert_eq!(
        send(node.address, &head("DELETE", &target, &[])).status,
        200
    );
}

fn names(node: SocketAddr) -> Vec<Value> {
    let names = held(node).into_iter().map(|it| it["original_name"].clone());
    names.collect()
}

/// The listing of a peer with this id that holds one file with this name.
fn listing(id: &str, name: &str) -> Reply {
    let file = json!({ "file_id": "00000000-0000-7000-8000-000000000001",
        "original_name": name, "size": 9, "uploaded_at": "2026-01-21T10:00:00",
        "hash": "0".repeat(64) });
    let listing = json!({ "status": "success", "peer_id": id, "files": [file],
        "file_count": 1, "total_files": 1, "next": null });
    Reply::Json(listing.to_string())
}

#[test]
fn an_impostor_at_the_address_of_a_dead_peer_never_speaks_in_its_name() {
    let cable = Relay::new();
    let (_dir, dead) = start(&["--base-url", &cable.url()]);
    cable.connect(dead.address);
    let file = uploaded(dead.address, "true", b"x");
    let (_other, node) = start(&["--peer", &cable.url()]);
    until_sees(node.address, &["true"]);
    let id = peer_id(dead.address);
    dead.kill();
    let impostor = Canned::start(move |_, request| {
        if request.starts_with("GET /api/p2p/files") {
            listing(&id, "false")
        } else {
            Reply::Head("404 Not Found".to_owned())
        }
    });
    cable.connect(impostor.address);
    let listings = || {
        let asked = impostor.asked().into_iter();
        asked.filter(|it| it.contains("/api/p2p/files")).count()
    };
    until("the impostor is asked again", || {
        (listings() > 1).then_some(())
    });
    assert_eq!(names(node.address), ["true"]);
    // Nor does it tell of a file when it is asked for that one.
    let (id, other) = (
        held(node.address)[0]["peers"][0]
            .as_str()
            .unwrap()
            .to_owned(),
        "00000000-0000-7000-8000-000000000001",
    );
    let target = format!("/api/p2p/download/{id}/{other}");
    let (status, code) = get(node.address, &target, &[]).refusal();
    assert_eq!((status, code.as_str()), (502, "peer_failed"));
    assert_eq!(held(node.address)[0]["file_id"], file["file_id"]);
}

#[test]
fn a_removed_file_is_not_revived_by_a_replay() {
    let (_dir, holder) = start(&[]);
    uploaded(holder.address, "stays", b"z");
    let (_other, node) = start(&["--peer", &holder.url("")]);
    until_knows(holder.address, 1);
    // Whoever is a peer hears what is announced.
    let id = "123e4567-e89b-42d3-a456-426614174000";
    let eavesdropper = Canned::start(move |_, request| {
        if request.starts_with("GET /api/p2p/files") {
            Reply::Json(json!({ "peer_id": id, "files": [] }).to_string())
        } else {
            Reply::Json("{}".to_owned())
        }
    });
    let message = json!({ "peer_id": id, "address": eavesdropper.url(), "timestamp": "" });
    post(holder.address, "/api/peers", &message.to_string());
    until("the eavesdropper is asked", || eavesdropper.asked().pop());

    let file = until("an announcement is recorded", || {
        let file = uploaded(holder.address, "gone", b"x");
        remove(&holder, &file);
        let announced = eavesdropper.bodies("POST /api/p2p/announce");
        let said = |it: &String| it.contains(file["file_id"].as_str().unwrap());
        (announced.iter().filter(|it| said(it)).count() > 0).then_some(file)
    });
    let recorded = || -> Vec<Value> {
        let all = eavesdropper.bodies("POST /api/p2p/announce").into_iter();
        let all = all.map(|it| serde_json::from_str::<Value>(&it).unwrap());
        all.filter(|it| it["withdrawn"] == false).collect()
    };
    until("both were recorded", || {
        recorded()
            .iter()
            .any(|it| it["file_id"] == file["file_id"])
            .then_some(())
    });
    until_sees(node.address, &["stays"]);
    // One that comes late has heard nothing of all this.
    let (_late, latecomer) = start(&["--peer", &holder.url("")]);
    until_sees(latecomer.address, &["stays"]);
    for mut replay in recorded() {
        for part in ["", "told_signature", "told_at"] {
            replay.as_object_mut().unwrap().remove(part);
            for node in [&node, &latecomer] {
                let answer = post(node.address, "/api/p2p/announce", &replay.to_string());
                assert_ne!(answer.json()["kept"], true, "{replay}");
                assert_eq!(names(node.address), ["stays"]);
            }
        }
    }
    // What is new is heard at once, as before.
    uploaded(holder.address, "new", b"y");
    until_sees(node.address, &["stays", "new"]);
}

#[test]
fn a_removal_that_was_not_heard_costs_no_whole_reading() {
    let [there, here] = [Relay::new(), Relay::new()];
    let (_dir, holder) = start(&["--base-url", &there.url()]);
    there.connect(holder.address);
    // Announcements do not arrive.
    here.cut_after(0);
    let files: Vec<_> = (0..600)
        .map(|number| uploaded(holder.address, &format!("name {number}"), b"x"))
        .collect();
    let (_other, node) = start(&["--base-url", &here.url(), "--peer", &there.url()]);
    let total = || get(node.address, "/api/p2p/network", &[]).json()["total_files"].clone();
    until("all are seen", || (total() == 600).then_some(()));
    let whole = there.carried();
    assert!(whole > 30_000, "{whole}");
    for (removed, file) in files.iter().step_by(60).enumerate() {
        remove(&holder, file);
        until("the removal is seen", || {
            (total() == 599 - removed).then_some(())
        });
    }
    // Each of the ten costs less than a quarter of one, with all else that is said meanwhile.
    let carried = there.carried() - whole;
    assert!(carried < 10 * whole / 4, "{carried} of {whole}");
}
