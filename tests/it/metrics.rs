//! What `GET /metrics` counts, read by Prometheus's own library.

use std::io::Write;

use serde_json::json;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::liar::{Liar, Lie, Sends};
use crate::common::metrics::Metrics;
use crate::common::peers::{peer_id, post, until_held, until_knows};
use crate::common::process::{Node, until};
use crate::common::raw_http::{connect, get, head, send};

/// Fails unless a value is this number.
fn assert_is(found: f64, expected: usize, what: &str) {
    let expected = f64::from(u32::try_from(expected).unwrap());
    assert!((found - expected).abs() < 0.5, "{what}: {found}");
}

fn start(arguments: &[&str]) -> (tempfile::TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

#[test]
fn what_is_kept_and_what_is_saved_is_counted() {
    const LARGE: usize = 300_000;
    let (_dir, node) = start(&[]);
    let before = Metrics::of(node.address);
    assert_is(before.get("larder_files", &[]), 0, "files at first");
    for (name, bytes) in [
        ("a", content(1, LARGE)),
        ("b", content(1, LARGE)),
        ("c", content(2, 1000)),
    ] {
        uploaded(node.address, name, &bytes);
    }
    let after = Metrics::of(node.address);
    for (name, expected) in [
        ("larder_files", 3),
        ("larder_blobs", 2),
        ("larder_file_bytes", 2 * LARGE + 1000),
        ("larder_blob_bytes", LARGE + 1000),
        ("larder_deduplicated_bytes", LARGE),
        ("larder_writable", 1),
    ] {
        assert_is(after.get(name, &[]), expected, name);
    }
    let received = |it: &Metrics| it.get("larder_received_bytes_total", &[]);
    let came = received(&after) - received(&before);
    assert!(came > 600_000.0 && came < 610_000.0, "{came}");
    for what in ["journal", "packs", "files", "directories"] {
        let count = |it: &Metrics| it.get("larder_sync_seconds_count", &[("what", what)]);
        assert!(count(&after) > count(&before), "no sync of {what} counts");
    }
    for (directory, grows) in [("journal", true), ("index", true), ("keeping", false)] {
        let labels = [("directory", directory)];
        let bytes = after.get("larder_directory_bytes", &labels);
        assert_eq!(bytes > 0.0, grows, "{directory}: {bytes}");
    }
}

#[test]
fn requests_are_counted_by_the_route_that_they_matched() {
    let (_dir, node) = start(&[]);
    let bytes = content(1, 100_000);
    let file = uploaded(node.address, "a", &bytes);
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    let sent = |it: &Metrics| it.get("larder_sent_bytes_total", &[]);
    let before = Metrics::of(node.address);
    for _ in 0..3 {
        assert_eq!(get(node.address, &path, &[]).status, 200);
    }
    assert_eq!(get(node.address, "/api/p2p/file/none", &[]).status, 404);
    assert_eq!(get(node.address, "/no/such/path", &[]).status, 404);
    assert_eq!(send(node.address, &head("HEAD", &path, &[])).status, 200);
    assert_eq!(
        send(node.address, &head("PROPFIND", &path, &[])).status,
        405
    );
    let after = Metrics::of(node.address);
    let went = sent(&after) - sent(&before);
    assert!(went > 300_000.0 && went < 320_000.0, "{went}");

    let route = "/api/p2p/file/{id}";
    for (route, method, status, expected) in [
        ("/api/p2p/upload", "POST", "2xx", 1),
        (route, "GET", "2xx", 3),
        (route, "GET", "4xx", 1),
        (route, "HEAD", "2xx", 1),
        (route, "other", "4xx", 1),
        ("none", "GET", "4xx", 1),
        ("/metrics", "GET", "2xx", 1),
    ] {
        let found = after.requests(route, method, status).unwrap_or_default();
        assert_is(found, expected, &format!("{method} {route} {status}"));
    }
    let labels = [("route", route), ("method", "GET")];
    let name = |suffix: &str| format!("larder_http_request_seconds_{suffix}");
    assert_is(after.get(&name("count"), &labels), 4, "durations");
    let sum = after.get(&name("sum"), &labels);
    assert!(sum > 0.0 && sum < 30.0, "{sum}");
    let longest = [labels[0], labels[1], ("le", "120")];
    assert_is(after.get(&name("bucket"), &longest), 4, "up to two minutes");
    let hot = |it: &Metrics, hit| it.get("larder_hot_reads_total", &[("in_memory", hit)]);
    assert_is(hot(&after, "no") - hot(&before, "no"), 1, "first read");
    assert_is(hot(&after, "yes") - hot(&before, "yes"), 3, "later reads");
    assert!(!format!("{:?}", after.0).contains("no/such"));
}

#[test]
fn what_is_under_way_is_counted_and_what_was_given_up() {
    let (_dir, node) = start(&[]);
    let in_progress = || {
        let labels = [("route", "/api/p2p/upload")];
        Metrics::of(node.address).get("larder_http_requests_in_progress", &labels)
    };
    let mut stream = connect(node.address);
    let lines = [
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Length: 1000",
    ];
    stream
        .write_all(&head("POST", "/api/p2p/upload", &lines))
        .unwrap();
    until("the upload counts", || (in_progress() > 0.5).then_some(()));
    let open = Metrics::of(node.address).get("larder_connections", &[]);
    assert_is(open, 2, "the upload's connection and this one");
    drop(stream);
    until("its end counts", || (in_progress() < 0.5).then_some(()));
    until("as cut", || {
        let metrics = Metrics::of(node.address);
        let answered = metrics.requests("/api/p2p/upload", "POST", "4xx");
        let cut = metrics.requests("/api/p2p/upload", "POST", "cut");
        cut.or(answered)
    });
}

#[test]
fn peers_and_what_they_tell_are_counted() {
    let (_dirs, holding) = start(&["--discover-every", "1"]);
    let url = holding.url("");
    let (_dir, hearing) = start(&["--discover-every", "1", "--peer", &url]);
    for node in [&holding, &hearing] {
        until_knows(node.address, 1);
        let peers = Metrics::of(node.address).get("larder_peers", &[]);
        assert_is(peers, 1, "peers");
    }
    let unsigned = json!({ "file_id": "01a20831-60df-7192-a718-76572f743d37",
        "original_name": "a", "size": 1, "uploaded_at": "2026-01-21T10:00:00",
        "peer_id": peer_id(holding.address) });
    let refused = post(hearing.address, "/api/p2p/announce", &unsigned.to_string());
    assert_eq!(refused.status, 400, "{refused:?}");
    uploaded(holding.address, "a", b"told");
    let outcome = |node: &Node, name, outcome| {
        let name = format!("larder_announcements_{name}_total");
        Metrics::of(node.address).get(&name, &[("outcome", outcome)])
    };
    until("it is told", || {
        (outcome(&holding, "sent", "taken") > 0.5).then_some(())
    });
    assert_is(outcome(&holding, "sent", "failed"), 0, "told in vain");
    let heard = ["new", "ignored"].map(|it| outcome(&hearing, "received", it));
    assert_is(heard.iter().sum(), 1, "heard");
    assert_is(outcome(&hearing, "received", "refused"), 1, "refused");
    let forged = Metrics::of(hearing.address).get("larder_forged_messages_total", &[]);
    assert_is(forged, 1, "forged");
}

#[test]
fn a_peer_that_lies_is_counted() {
    let (_dir, node) = start(&["--discover-every", "1", "--require-signed"]);
    let lie = Lie::at_once(Sends::WrongByte(0));
    let liar = Liar::start(&[&content(1, 200_000)], lie);
    assert_eq!(liar.meet(node.address).status, 200);
    let (file, hash) = liar.file(0);
    until_held(node.address, &hash, 1);
    let caught = || Metrics::of(node.address).get("larder_verification_failures_total", &[]);
    assert_is(caught(), 0, "before it is asked");
    let target = format!("/api/p2p/download/{}/{file}", liar.id());
    assert_eq!(get(node.address, &target, &[]).status, 502);
    assert_is(caught(), 1, "after");
}
