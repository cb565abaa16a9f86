//! A peer that tells of more files than there is room for: the newest are listed, and that it is
//! not all of them is told.

use serde_json::{Value, json};

use crate::common::canned::{Canned, Reply};
use crate::common::peers::post;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

/// More than three quarters of [`ROOM`] of them.
const FILES: usize = 2_000;
const ROOM: &str = "8MiB";
const NAME_BYTES: usize = 4000;
const ID: &str = "11111111-1111-4111-8111-111111111111";

fn id(number: usize) -> String {
    format!("00000000-0000-7000-8000-{number:012x}")
}

fn file(number: usize) -> Value {
    let name = format!("number {number} {}", "n".repeat(NAME_BYTES));
    json!({ "file_id": id(number), "original_name": name, "size": 1,
        "uploaded_at": "2026-01-21T10:00:00", "hash": format!("{number:064x}") })
}

/// A page of the listing that a request asks for.
fn page(request: &str) -> Reply {
    let after = request.split_once("after=").map(|(_, after)| after);
    let first = after.map_or(0, |after| {
        let digits = after.split('&').next().unwrap().rsplit('-').next();
        usize::from_str_radix(digits.unwrap(), 16).unwrap() + 1
    });
    let end = FILES.min(first + 256);
    let files: Vec<_> = (first..end).map(file).collect();
    let next = (end < FILES).then(|| id(end - 1));
    let listing = json!({ "status": "success", "peer_id": ID, "files": files,
        "file_count": files.len(), "total_files": FILES, "next": next });
    Reply::Json(listing.to_string())
}

#[test]
fn of_a_peer_that_tells_too_much_the_newest_are_shown_and_all_is_told_as_partial() {
    let stranger = Canned::start(|_, request| page(request));
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "1", "--directory", ROOM]);
    let status = || get(node.address, "/api/p2p/status", &[]).json();
    assert_eq!(status()["partial"], false);
    let message = json!({ "peer_id": ID, "address": stranger.url(), "timestamp": "" });
    post(node.address, "/api/peers", &message.to_string());
    let newest = format!("/api/p2p/network?limit=1&name=number%20{}%20", FILES - 1);
    let shown = until("the newest is shown", || {
        let answer = get(node.address, &newest, &[]).json();
        (answer["files"] != json!([])).then_some(answer)
    });
    assert_eq!(shown["files"][0]["file_id"], id(FILES - 1));
    assert_eq!(
        (&shown["partial"], &status()["partial"]),
        (&json!(true), &json!(true))
    );
    assert!(shown["total_files"].as_u64().unwrap() < FILES as u64);
    let mut told = larder(dir.path());
    told.args(["status", "--node", &node.url("")]);
    let told = String::from_utf8(told.output().unwrap().stdout).unwrap();
    assert!(told.contains("the newest files only"), "{told}");
}
