//! The storage directory is moved away under a running node: nothing is taken for damaged or gone,
//! and all goes on when it is back.

use std::fs;
use std::net::SocketAddr;

use serde_json::Value;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::tus::{created, look, offset, patch, patched};

const LONG: usize = 200_000;
const SHORT: usize = 1_000;

/// What whoever asks is told until it is back.
fn assert_out_of_reach(answer: &Answer, what: &str) {
    let told = answer.json()["code"].as_str().map(str::to_owned);
    let codes = ["unavailable", "unreadable", "write_failed"];
    assert!(
        answer.status == 503 && told.is_some_and(|it| codes.contains(&&*it)),
        "{what}: {answer:?}"
    );
    assert!(
        !answer.header("retry-after").is_empty(),
        "{what}: {answer:?}"
    );
}

fn removed(address: SocketAddr, id: &str) -> Answer {
    send(
        address,
        &head("DELETE", &format!("/api/p2p/file/{id}"), &[]),
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn a_storage_directory_that_was_moved_away_is_out_of_reach_and_goes_on_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let (long, short) = (content(1, LONG), content(2, SHORT));
    let taken = uploaded(node.address, "long", &long);
    let (id, hash) = (text(&taken["file_id"]), text(&taken["hash"]));
    let brief = text(&uploaded(node.address, "short", &short)["file_id"]);
    let parts = created(node.address, LONG);
    patched(node.address, &parts, 0, &content(3, LONG)[..SHORT]);
    node.stop();
    // So that nothing is in memory yet.
    let node = Node::start(&dir, &[]);
    let address = node.address;
    let (storage, away) = (dir.path().join("peer_storage"), dir.path().join("away"));
    fs::rename(&storage, &away).unwrap();
    for _ in 0..2 {
        let file = format!("/api/p2p/file/{id}");
        assert_out_of_reach(&get(address, &file, &[]), "a file");
        let blob = format!("/api/p2p/blob/{hash}");
        assert_out_of_reach(&get(address, &blob, &[]), "content");
        assert_out_of_reach(&get(address, &format!("{blob}/bao"), &[]), "a proven range");
        let zip = format!("/api/p2p/zip?id={id}&name=all.zip");
        assert_out_of_reach(&get(address, &zip, &[]), "an archive");
        assert_eq!(look(address, &parts).status, 503);
        let more = &content(3, LONG)[SHORT..];
        assert_out_of_reach(&patch(address, &parts, SHORT, more), "a part");
        for len in [SHORT, LONG] {
            let body = form(&[file_of(len)]);
            assert_out_of_reach(&upload(address, &body), "an upload");
        }
        assert_out_of_reach(&removed(address, &brief), "a removal");
        let ready = get(address, "/ready", &[]);
        assert_eq!(ready.refusal(), (503, "write_failed".to_owned()));
        let health = get(address, "/health", &[]);
        assert_eq!(health.status, 200);
        assert_eq!(health.json()["writable"], false);
        assert_eq!(health.json()["damaged"], 0);
    }
    assert!(!storage.exists(), "something was made in its place");
    fs::rename(&away, &storage).unwrap();
    until("it is ready", || {
        (get(address, "/ready", &[]).status == 200).then_some(())
    });
    for (id, bytes) in [(&id, &long), (&brief, &short)] {
        let answer = get(address, &format!("/api/p2p/file/{id}"), &[]);
        assert!(answer.status == 200 && answer.body == *bytes, "{answer:?}");
    }
    assert_eq!(offset(address, &parts), SHORT);
    let last = patched(address, &parts, SHORT, &content(3, LONG)[SHORT..]);
    let whole = last.header("larder-file-id").to_owned();
    let answer = get(address, &format!("/api/p2p/file/{whole}"), &[]);
    assert!(answer.status == 200 && answer.body == content(3, LONG));
    assert_eq!(removed(address, &brief).status, 200);
    node.stop();
    let verified = larder(dir.path()).arg("verify").output().unwrap();
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{told}");
}

fn file_of(len: usize) -> Vec<u8> {
    file("refused", &content(9, len))
}
