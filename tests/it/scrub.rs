//! Everything stored is read and proven once in a while, though nobody asks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::canned::{Canned, Reply};
use crate::common::clock::ShiftedClock;
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::in_memory::InMemory;
use crate::common::metrics::count;
use crate::common::process::{Node, larder, start, until};
use crate::common::raw_http::get;

/// Long enough for a file of its own.
const LONG: usize = 300_000;
/// Short enough for a pack.
const SHORT: usize = 5_000;

/// A storage directory in which such files are that nobody has read since.
fn stored(lengths: &[usize]) -> (TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--scrub-every", "off"]);
    let hash = |(n, length): (usize, &usize)| {
        let bytes = content(u32::try_from(n).unwrap(), *length);
        let file = uploaded(node.address, &n.to_string(), &bytes);
        file["hash"].as_str().unwrap().to_owned()
    };
    let hashes = lengths.iter().enumerate().map(hash).collect();
    node.stop();
    (dir, hashes)
}

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn flip_blob(dir: &TempDir, hash: &str) {
    flip(&storage(dir).join("blobs").join(&hash[..2]).join(hash));
}

fn rounds(node: &Node) -> u64 {
    count(node.address, "larder_scrub_rounds_total")
}

/// A clock that was ahead once, as on a machine without a battery, has nothing rest until then.
#[test]
fn a_round_of_a_time_that_has_not_come_holds_up_no_other() {
    let (dir, _) = stored(&[LONG]);
    let every = ["--scrub-every", "1h"];
    let ahead = ShiftedClock::new(&dir, "7200");
    let mut command = larder(dir.path());
    ahead.rules(command.args(every));
    let node = Node::spawn(&dir, command);
    until("a round ends", || (rounds(&node) == 1).then_some(()));
    node.stop();
    let node = Node::start(&dir, &every);
    until("another one does", || (rounds(&node) == 1).then_some(()));
    node.stop();
    // By this clock it was just now.
    let node = Node::start(&dir, &every);
    let told = get(node.address, "/api/p2p/scrub", &[]).json();
    assert!(told["now"].is_null() && rounds(&node) == 0, "{told}");
}

fn read_bytes(node: &Node) -> u64 {
    count(node.address, "larder_scrub_read_bytes_total")
}

fn scrub(node: &Node) -> Value {
    let status = get(node.address, "/api/p2p/status", &[]).json();
    status["scrub"].clone()
}

fn damaged(node: &Node) -> u64 {
    let health = get(node.address, "/health", &[]).json();
    health["damaged"].as_u64().unwrap()
}

#[test]
fn a_bit_that_flips_in_what_nobody_reads_is_found_and_told_once() {
    let (dir, hashes) = stored(&[LONG, SHORT, LONG, SHORT]);
    flip_blob(&dir, &hashes[0]);
    flip(&storage(&dir).join("packs/0000000001.pack"));
    let node = Node::start(&dir, &["--scrub-every", "1s"]);
    until("both are found", || (damaged(&node) == 2).then_some(()));
    let rounds_then = rounds(&node);
    until("two rounds more", || {
        (rounds(&node) >= rounds_then + 2).then_some(())
    });
    let told = scrub(&node);
    let last = &told["last"];
    assert_eq!(last["damaged"], 2, "{told}");
    assert_eq!(last["blobs"], 2, "{told}");
    assert_eq!(last["unchecked"], 0, "{told}");
    assert_eq!(damaged(&node), 2);
    let log = node.log();
    assert_eq!(log.matches("content is damaged").count(), 2, "{log}");
    assert!(log.contains(&hashes[0]), "{log}");
}

#[test]
fn content_that_is_gone_is_found_though_nobody_asks_for_it() {
    let (dir, hashes) = stored(&[LONG, LONG]);
    let hash = &hashes[1];
    fs::remove_file(storage(&dir).join("blobs").join(&hash[..2]).join(hash)).unwrap();
    let node = Node::start(&dir, &["--scrub-every", "1s"]);
    until("it is missed", || (damaged(&node) == 1).then_some(()));
    assert!(node.log().contains(hash));
}

#[test]
fn what_is_on_a_disk_that_is_not_there_is_not_taken_for_damaged_and_fills_no_log() {
    let (dir, _) = stored(&[LONG, LONG, LONG]);
    let blobs = storage(&dir).join("blobs");
    fs::rename(&blobs, dir.path().join("elsewhere")).unwrap();
    fs::create_dir(&blobs).unwrap();
    let node = Node::start(&dir, &["--scrub-every", "1s"]);
    let last = until("a round ends", || {
        let last = scrub(&node)["last"].clone();
        last.is_object().then_some(last)
    });
    assert_eq!(
        (&last["unchecked"], &last["damaged"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(damaged(&node), 0);
    let told = node.log().matches("cannot be read again").count();
    assert!(told > 0 && told <= 1 + usize::try_from(rounds(&node)).unwrap());
}

#[test]
fn what_has_no_outboard_is_proven_as_a_whole() {
    let (dir, hashes) = stored(&[3 * LONG, 3 * LONG]);
    fs::remove_dir_all(storage(&dir).join("outboards")).unwrap();
    flip_blob(&dir, &hashes[0]);
    let node = Node::start(&dir, &["--scrub-every", "1s"]);
    until("it is found", || (damaged(&node) == 1).then_some(()));
    let last = until("a round ends", || {
        let last = scrub(&node)["last"].clone();
        (last["damaged"] == 1).then_some(last)
    });
    assert_eq!(last["blobs"], 1, "{last}");
}

#[test]
fn a_round_goes_on_where_it_was_when_the_node_was_killed() {
    const SIZES: [usize; 13] = [LONG; 13];
    let (dir, _) = stored(&[&SIZES[..], &[20 * LONG]].concat());
    let all = 33 * u64::try_from(LONG).unwrap();
    let slow = ["--scrub-every", "30d", "--scrub-rate", "1MiB"];
    let node = Node::start(&dir, &slow);
    let state = storage(&dir).join("scrub");
    until("how far it is is written down", || {
        state.exists().then_some(())
    });
    node.kill();
    let node = Node::start(&dir, &["--scrub-every", "30d"]);
    // By the log, since whoever asks the node is served before that.
    until("the round ends", || {
        node.log()
            .contains("the scrub has come to its end")
            .then_some(())
    });
    let last = scrub(&node)["last"].clone();
    assert_eq!(last["number"], 1, "{last}");
    assert_eq!(last["blobs"], 14, "each is read once: {last}");
    assert_eq!(last["bytes"], all, "{last}");
    let read = read_bytes(&node);
    assert!(read > 0 && read + 2_000_000 < all, "{read} were read again");
    assert_eq!(damaged(&node), 0);
    node.stop();
    let node = Node::start(&dir, &["--scrub-every", "30d"]);
    until("what was before is known", || {
        scrub(&node)["last"].is_object().then_some(())
    });
    assert_eq!(scrub(&node)["last"], last);
    assert!(scrub(&node)["round"].is_null(), "it is not due");
}

#[test]
fn no_more_is_read_in_a_second_than_is_set() {
    const RATE: u64 = 1 << 20;
    // One step, and what is read while the clock is looked at.
    const AT_ONCE: u64 = 512 << 10;
    let (dir, _) = stored(&[3 << 20]);
    let began = Instant::now();
    let node = Node::start(&dir, &["--scrub-every", "1s", "--scrub-rate", "1MiB"]);
    loop {
        let read = read_bytes(&node);
        let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap();
        let most = AT_ONCE + RATE * elapsed / 1000;
        assert!(read <= most, "{read} bytes in {elapsed} ms");
        if read >= 2 << 20 {
            break;
        }
    }
}

/// What `larder verify` of a node tells, and its exit status.
fn verified(dir: &TempDir, arguments: &[&str]) -> (Vec<String>, i32) {
    let mut command = larder(dir.path());
    let output = command.arg("verify").args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    let lines = said.lines().map(str::to_owned).collect();
    (lines, output.status.code().unwrap())
}

#[test]
fn a_running_node_reads_everything_at_once_when_verify_asks_it_and_else_nothing_where_that_is_off()
{
    let (dir, hashes) = stored(&[LONG, SHORT, 7 * LONG]);
    let all = 8 * LONG + SHORT;
    let node = Node::start(&dir, &["--scrub-every", "off", "--scrub-rate", "1"]);
    let ask = ["--node", &node.url("")];
    let told = |problems| format!("3 files, 3 blobs of {all} bytes: {problems}");
    assert_eq!(verified(&dir, &ask), (vec![told("0 problems")], 0));
    assert_eq!(read_bytes(&node), u64::try_from(all).unwrap());
    let last = &scrub(&node)["last"];
    assert_eq!(last["number"], 1, "none was before: {last}");
    flip_blob(&dir, &hashes[2]);
    let damage = format!(
        "blob {}: damaged or missing, and a file needs it",
        hashes[2]
    );
    let (lines, status) = verified(&dir, &ask);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let mut files = files["files"].as_array().unwrap().iter();
    let file = files.find(|it| it["hash"] == hashes[2]).unwrap();
    let id = file["file_id"].as_str().unwrap();
    let concerned = format!("file {id} (2): its content {} is not whole", hashes[2]);
    let expected = vec![damage.clone(), concerned.clone(), told("1 problem")];
    assert_eq!((lines, status), (expected, 1));
    let (lines, status) = verified(&dir, &["--json", ask[0], ask[1]]);
    let lines: Vec<Value> = lines.iter().map(|it| it.parse().unwrap()).collect();
    let counts = json!({ "files": 3, "blobs": 3, "blob_bytes": all, "problems": 1,
        "left_over": 0 });
    let (problem, file) = (json!({ "problem": damage }), json!({ "file": concerned }));
    assert_eq!((lines, status), (vec![problem, file, counts], 1));
    assert_eq!(rounds(&node), 3, "each was asked for");
}

#[test]
fn verify_of_a_directory_in_use_asks_the_node_that_has_it_and_no_other() {
    let (dir, hashes) = stored(&[LONG]);
    let (_other_dir, other) = start();
    flip_blob(&dir, &hashes[0]);
    let node = Node::start(&dir, &["--scrub-every", "off"]);
    let verify = |port: u16| {
        let mut command = larder(dir.path());
        let command = command.arg("verify").env("PEER_PORT", port.to_string());
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (String::from_utf8(said).unwrap(), output.status.code())
    };
    let (said, status) = verify(node.address.port());
    assert!(said.contains(&hashes[0]), "{said}");
    assert_eq!(status, Some(1));
    let (said, status) = verify(other.address.port());
    assert!(said.contains("in use by another larder"), "{said}");
    assert_eq!(status, Some(2));
}

#[test]
fn whoever_may_only_read_has_nothing_read() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--scrub-every", "off", "--token", "a-token-of-this-node"];
    let node = Node::start(&dir, &arguments);
    let (lines, status) = verified(&dir, &["--node", &node.url("")]);
    assert_eq!(status, 6, "{lines:?}");
    assert!(scrub(&node)["last"].is_null());
}

#[tokio::test]
async fn a_node_that_keeps_its_contents_on_no_disk_says_that_it_reads_none() {
    let node = InMemory::new();
    let asked = node.ask("POST", "/api/p2p/scrub", b"").await.unwrap();
    let told: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(
        (asked.status.as_u16(), &told["code"]),
        (501, &json!("no_scrub"))
    );
    let looked = node.ask("GET", "/api/p2p/scrub", b"").await.unwrap();
    let looked: Value = serde_json::from_slice(&looked.body).unwrap();
    assert_eq!(looked["status"], "success");
    assert!(looked["scrub"].is_null(), "{looked}");
}

#[test]
fn a_node_that_was_restarted_meanwhile_is_asked_until_it_knows_how_far_it_is() {
    let looks = AtomicU32::new(0);
    let node = Canned::start(move |_, line| {
        let round = json!({ "number": 7, "began_at": "", "ended_at": "", "blobs": 0, "bytes": 0,
            "unchecked": 0, "damaged": 0, "unreadable": 0 });
        let scrub = json!({ "every_seconds": null, "round": null, "last": round });
        let mut looked = json!({ "scrub": null, "files": 0, "blobs": 0, "blob_bytes": 0,
            "unsound": [], "next": null });
        Reply::Json(if line.starts_with("POST") {
            json!({ "number": 7 }).to_string()
        } else {
            if looks.fetch_add(1, Ordering::Relaxed) > 2 {
                looked["scrub"] = scrub;
            }
            looked.to_string()
        })
    });
    let dir = tempfile::tempdir().unwrap();
    let mut command = larder(dir.path());
    let output = command
        .args(["verify", "--node", &node.url()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(node.asked().len() > 4, "{:?}", node.asked());
}
