//! Copies of what other nodes hold: the real binary, in processes of their own, killed and
//! brought back while they fetch.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::commands::done;
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::relay::Relay;

const MIB: usize = 1 << 20;

fn start_in(dir: &TempDir, arguments: &[&str]) -> Node {
    let usual = ["--discover-every", "1", "--peer-stall", "1"];
    Node::start(dir, &[&usual, arguments].concat())
}

/// A node behind a cable, with its directory.
fn holder(cable: &Relay) -> (Node, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &["--base-url", &cable.url()]);
    cable.connect(node.address);
    (node, dir)
}

fn id(node: &Node) -> Value {
    get(node.address, "/api/peers", &[]).json()["self"]["peer_id"].clone()
}

/// The peers that hold this content, as `node` sees it.
fn providers(node: &Node, hash: &Value) -> Vec<Value> {
    let held = get(node.address, "/api/p2p/network", &[]).json();
    let mut files = held["files"].as_array().unwrap().iter();
    let file = files.find(|file| file["hash"] == *hash);
    file.map_or(vec![], |file| file["peers"].as_array().unwrap().clone())
}

fn until_held(node: &Node, hash: &Value, peers: usize) {
    until("the content is known", || {
        (providers(node, hash).len() == peers).then_some(())
    });
}

fn ask(address: SocketAddr, method: &str, target: &str, message: &str) -> Answer {
    let length = format!("Content-Length: {}", message.len());
    let lines = ["Content-Type: application/json", &length];
    let request = [head(method, target, &lines), message.into()].concat();
    send(address, &request)
}

fn keep(node: &Node, what: &Value) -> Answer {
    ask(node.address, "POST", "/api/p2p/keep", &what.to_string())
}

#[test]
fn a_copy_has_the_longest_name_that_a_file_may_have_however_it_is_escaped() {
    let cable = Relay::new();
    let (other, _other) = holder(&cable);
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &["--peer", &cable.url()]);
    let names = [
        "\u{e9}".repeat(2048),
        "a".repeat(4096),
        "\u{1f600}".repeat(1024),
    ];
    for (number, name) in (1..).zip(&names) {
        assert_eq!(name.len(), 4096);
        let file = uploaded(other.address, "short", &content(number, 1000));
        until_held(&node, &file["hash"], 1);
        // Each byte of the longest is written as six.
        let units = name.encode_utf16();
        let escaped: Vec<_> = units.map(|it| format!("\\u{it:04x}")).collect();
        let escaped = escaped.concat();
        let hash = file["hash"].as_str().unwrap();
        let wanted = format!(r#"{{"hash":"{hash}","original_name":"{escaped}"}}"#);
        let answer = ask(node.address, "POST", "/api/p2p/keep", &wanted);
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["keep"]["original_name"], **name);
    }
    let too_long = json!({ "hash": "0".repeat(64), "original_name": "a".repeat(4097) });
    assert_eq!(
        keep(&node, &too_long).refusal(),
        (400, "bad_keep".to_owned())
    );
    let beyond = json!({ "hash": "0".repeat(64), "original_name": "a".repeat(32 << 10) });
    assert_eq!(
        keep(&node, &beyond).refusal(),
        (413, "too_large".to_owned())
    );
}

fn keep_of(node: &Node, hash: &Value) -> Value {
    let target = format!("/api/p2p/keep/{}", hash.as_str().unwrap());
    get(node.address, &target, &[]).json()["keep"].clone()
}

fn until_kept(node: &Node, hash: &Value) -> Value {
    until("a copy is here", || {
        let keep = keep_of(node, hash);
        (keep["state"] == "kept").then_some(keep)
    })
}

/// The content that is being received, of whatever is to be kept.
fn partial(dir: &TempDir, hash: &Value) -> PathBuf {
    let keeping = dir.path().join("peer_storage/keeping");
    keeping.join(hash.as_str().unwrap())
}

#[test]
fn a_copy_is_a_file_like_any_other() {
    let cable = Relay::new();
    let (from, _from_dir) = holder(&cable);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [by, third] = dirs
        .each_ref()
        .map(|dir| start_in(dir, &["--peer", &cable.url()]));
    for (name, bytes) in [
        ("empty", vec![]),
        ("short", content(1, 5000)),
        ("long", content(2, 5 * MIB)),
    ] {
        let file = uploaded(from.address, name, &bytes);
        let hash = &file["hash"];
        until_held(&by, hash, 1);
        let what = [json!({"hash": hash}), json!({"file_id": file["file_id"]})];
        let what = what[bytes.len() % 2].clone();
        let answer = keep(&by, &what);
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["keep"]["id"], *hash);
        let kept = until_kept(&by, hash);
        assert_eq!(
            (&kept["fetched"], &kept["error"]),
            (&json!(bytes.len()), &json!(null))
        );
        let copy = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
        let copy = get(by.address, &copy, &[]);
        assert_eq!(copy.body, bytes);
        assert!(copy.header("content-disposition").contains(name));
        assert!(!partial(&dirs[0], hash).exists());
        // The others hear of the copy.
        until("there are two providers", || {
            (providers(&third, hash).contains(&id(&by))).then_some(())
        });
        // Nothing is fetched twice.
        let carried = cable.carried();
        let again = keep(&by, &json!({"hash": hash}));
        assert_eq!(again.status, 202);
        until_kept(&by, hash);
        assert!(cable.carried() - carried < 100_000);
    }
    let files = get(by.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["total_files"], 3);
    let keeps = get(by.address, "/api/p2p/keep", &[]).json();
    assert_eq!(keeps["keeps"].as_array().unwrap().len(), 3);
}

#[test]
fn a_restart_goes_on_where_the_last_one_stopped() {
    let cable = Relay::new();
    let (from, _from_dir) = holder(&cable);
    let bytes = content(3, 32 * MIB);
    let hash = &uploaded(from.address, "file", &bytes)["hash"];
    let dir = tempfile::tempdir().unwrap();
    let by = start_in(&dir, &["--peer", &cable.url()]);
    until_held(&by, hash, 1);
    cable.stall_after(20 << 20);
    assert_eq!(keep(&by, &json!({"hash": hash})).status, 202);
    let received = || keep_of(&by, hash)["fetched"].as_u64().unwrap();
    let here = until("much has come", || {
        Some(received()).filter(|here| *here >= 12 << 20)
    });
    by.kill();
    assert!(here < 32 << 20);
    let carried = cable.carried();
    cable.mend();
    let by = start_in(&dir, &["--peer", &cable.url()]);
    let kept = until_kept(&by, hash);
    let missing = (32 << 20) - here;
    let fetched = cable.carried() - carried;
    // What proves the bytes comes on top: one part in 256.
    assert!(fetched < missing + (2 << 20), "{fetched} for {missing}");
    let copy = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
    assert!(get(by.address, &copy, &[]).body == bytes);
}

#[test]
fn a_copy_of_three_holders_that_is_killed_goes_on_with_all_that_each_has_brought() {
    let cables = [(); 3].map(|()| Relay::new());
    let holders = cables.each_ref().map(holder);
    let bytes = content(8, 24 * MIB);
    let size = bytes.len() as u64;
    let hashes = holders
        .each_ref()
        .map(|(node, _)| uploaded(node.address, "file", &bytes)["hash"].clone());
    let hash = &hashes[0];
    let dir = tempfile::tempdir().unwrap();
    let urls = cables.each_ref().map(Relay::url).join(",");
    let by = start_in(&dir, &["--peer", &urls]);
    until_held(&by, hash, 3);
    let carried = || cables.iter().map(Relay::carried).sum::<u64>();
    let before = carried();
    // Each stands still in the middle of other windows than the others.
    for (cable, mib) in cables.iter().zip([6, 4, 3]) {
        cable.stall_after((mib << 20) + 300_000);
    }
    assert_eq!(keep(&by, &json!({"hash": hash})).status, 202);
    // All that was carried counts, but for two windows of 1 MiB.
    let here = until("what was carried is written", || {
        let here = keep_of(&by, hash)["fetched"].as_u64().unwrap();
        (here >= 12 << 20).then_some(here)
    });
    by.kill();
    let first = carried() - before;
    assert!(first < here + (2 << 20), "{here} of {first}");
    assert!(partial(&dir, hash).exists());
    cables.iter().for_each(Relay::mend);
    let before = carried();
    let by = start_in(&dir, &["--peer", &urls]);
    let kept = until_kept(&by, hash);
    // What proves the bytes comes on top, and what two bring at the end.
    let again = carried() - before;
    assert!(again < size - here + (4 << 20), "{again} for {here}");
    let copy = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
    assert!(get(by.address, &copy, &[]).body == bytes);
    // Nothing of it is left.
    let left = std::fs::read_dir(dir.path().join("peer_storage/keeping")).unwrap();
    let left = left.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut left = left.filter(|it| it.starts_with(hash.as_str().unwrap()));
    assert_eq!(left.next(), None);
}

#[test]
fn what_was_received_and_is_damaged_is_fetched_anew() {
    let cable = Relay::new();
    let (from, _from_dir) = holder(&cable);
    let bytes = content(4, 8 * MIB);
    let hash = &uploaded(from.address, "file", &bytes)["hash"];
    let dir = tempfile::tempdir().unwrap();
    let by = start_in(&dir, &["--peer", &cable.url()]);
    until_held(&by, hash, 1);
    // As a power cut may leave it: the length of what was received, and zeros in it.
    std::fs::write(partial(&dir, hash), vec![0; 3 * MIB]).unwrap();
    assert_eq!(keep(&by, &json!({"hash": hash})).status, 202);
    let kept = until_kept(&by, hash);
    let copy = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
    assert!(get(by.address, &copy, &[]).body == bytes);
}

#[test]
fn several_peers_serve_one_copy() {
    let cables = [Relay::new(), Relay::new()];
    let holders = cables.each_ref().map(holder);
    let bytes = content(5, 24 * MIB);
    let hashes = holders
        .each_ref()
        .map(|(node, _)| uploaded(node.address, "file", &bytes)["hash"].clone());
    let dir = tempfile::tempdir().unwrap();
    let urls = cables.each_ref().map(Relay::url).join(",");
    let by = start_in(&dir, &["--peer", &urls]);
    until_held(&by, &hashes[0], 2);
    let before = cables.each_ref().map(Relay::carried);
    // So that the cables are what everything waits for, also on a machine with much else to do.
    for cable in &cables {
        cable.slow_to(8 << 20);
    }
    keep(&by, &json!({"hash": hashes[0]}));
    let kept = until_kept(&by, &hashes[0]);
    for (cable, before) in cables.iter().zip(before) {
        let carried = cable.carried() - before;
        assert!(carried > 4 << 20, "{carried}");
    }
    let copy = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
    assert!(get(by.address, &copy, &[]).body == bytes);
}

#[test]
fn what_is_given_up_leaves_nothing() {
    let cable = Relay::new();
    let (from, _from_dir) = holder(&cable);
    let bytes = content(6, 16 * MIB);
    let hash = &uploaded(from.address, "file", &bytes)["hash"];
    let dir = tempfile::tempdir().unwrap();
    let by = start_in(&dir, &["--peer", &cable.url()]);
    until_held(&by, hash, 1);
    cable.stall_after(8 << 20);
    keep(&by, &json!({"hash": hash}));
    let file = partial(&dir, hash);
    until("something has come", || file.exists().then_some(()));
    let target = format!("/api/p2p/keep/{}", hash.as_str().unwrap());
    assert_eq!(ask(by.address, "DELETE", &target, "").status, 200);
    until("it is gone", || (!file.exists()).then_some(()));
    let unknown = (404, "unknown_keep".to_owned());
    assert_eq!(get(by.address, &target, &[]).refusal(), unknown);
    assert_eq!(ask(by.address, "DELETE", &target, "").refusal(), unknown);
    // A restart does not take it up again.
    by.kill();
    cable.mend();
    let by = start_in(&dir, &["--peer", &cable.url()]);
    let keeps = get(by.address, "/api/p2p/keep", &[]).json();
    assert_eq!(keeps["keeps"], json!([]));
    let files = get(by.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["total_files"], 0);
}

#[test]
fn everything_is_kept_where_that_is_asked_for() {
    let cable = Relay::new();
    let (from, _from_dir) = holder(&cable);
    for number in 0..70u8 {
        uploaded(from.address, "before", &[number; 100]);
    }
    let dir = tempfile::tempdir().unwrap();
    let by = start_in(&dir, &["--peer", &cable.url(), "--keep", "all"]);
    uploaded(from.address, "after", &content(7, 3 * MIB));
    until("everything is here", || {
        let files = get(by.address, "/api/p2p/files", &[]).json();
        (files["total_files"] == 71).then_some(())
    });
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &[]);
    let nobody = "123e4567-e89b-42d3-a456-426614174000";
    for (what, status, code) in [
        (json!({}), 400, "bad_keep"),
        (json!({"hash": 1}), 400, "bad_keep"),
        (json!({"hash": "a", "file_id": "b"}), 400, "bad_keep"),
        (json!({"peer_id": nobody}), 400, "bad_keep"),
        (json!({"hash": "0".repeat(64), "other": 1}), 400, "bad_keep"),
        (json!([]), 400, "bad_keep"),
        (json!({"hash": "0".repeat(64)}), 404, "unknown_blob"),
        (json!({"hash": "no hash"}), 404, "unknown_blob"),
        (json!({"file_id": nobody}), 404, "unknown_file"),
        (
            json!({"file_id": nobody, "peer_id": nobody}),
            404,
            "unknown_peer",
        ),
        (
            json!({"file_id": nobody, "peer_id": "x"}),
            404,
            "unknown_peer",
        ),
    ] {
        let answer = keep(&node, &what);
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{what}");
    }
}

#[test]
fn what_only_this_node_holds_is_kept_already() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &["--bootstrap", "http://127.0.0.1:1"]);
    let file = uploaded(node.address, "mine", b"only here");
    let (hash, file_id) = (&file["hash"], &file["file_id"]);
    for (what, copy) in [
        (json!({ "hash": hash }), &json!(null)),
        (json!({ "file_id": file_id }), file_id),
        (json!({ "file_id": file_id, "peer_id": id(&node) }), file_id),
    ] {
        let answer = keep(&node, &what);
        assert_eq!(answer.status, 200, "{answer:?}");
        let told = answer.json()["keep"].clone();
        let expected = (&json!("kept"), &json!(9), copy);
        assert_eq!(
            (&told["state"], &told["fetched"], &told["file_id"]),
            expected
        );
        assert_eq!(keep_of(&node, hash), told);
    }
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    for called in ["mine".to_owned(), text(hash), text(file_id)] {
        let told = done(dir.path(), &node.url(""), &["keep", &called]);
        assert!(told.starts_with("keeps "), "{told}");
    }
    let target = format!("/api/p2p/file/{}", text(file_id));
    assert_eq!(ask(node.address, "DELETE", &target, "").status, 200);
    assert_eq!(keep(&node, &json!({ "hash": hash })).status, 404);
    assert_eq!(keep(&node, &json!({ "file_id": file_id })).status, 404);
}
