//! Every refusal: its status and code, and that nothing is left of what was refused,
//! neither a file on disk nor a record.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{
    BOUNDARY, end, field, file, form, part, upload, upload_request, uploaded,
};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{connect, get, head, read_answer, send, until_read};

/// More than a spool keeps in memory.
const ON_DISK: usize = 1 << 20;

/// A node in a directory of its own.
fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

/// Fails unless the node holds nothing at all, and still takes files.
fn assert_nothing_left(node: &Node, after: &str) {
    // A dropped spool file is removed in the background.
    until(after, || node.content_files().is_empty().then_some(()));
    let list = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(list["files"], json!([]), "{after}");
    let status = get(node.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["local_files"], 0, "{after}");
}

/// Forms that can be read but are not what is asked for, and the code of each refusal.
fn wrong_forms() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let big = content(1, ON_DISK);
    let long_name = "x".repeat(4097);
    let long_text = field("description", &"x".repeat(16 * 1024 + 1));
    let no_file = form(&[field("description", "x")]);
    let two_files = form(&[file("a", &big), file("b", &big)]);
    let open_quote = "Content-Disposition: form-data; name=\"file\"; filename=\"a";
    vec![
        ("no part at all", end(), "no_file"),
        ("no file part", no_file, "no_file"),
        (
            "a text field 'file'",
            form(&[field("file", "x")]),
            "no_file_name",
        ),
        (
            "an empty file name",
            form(&[file("", &big)]),
            "no_file_name",
        ),
        (
            "a long file name",
            form(&[file(&long_name, &big)]),
            "file_name_too_long",
        ),
        (
            "a long description",
            form(&[file("a", &big), long_text]),
            "description_too_long",
        ),
        ("a second file", two_files, "second_file"),
        (
            "an open quote",
            form(&[part(open_quote, &big)]),
            "no_file_name",
        ),
        (
            "a head without a colon",
            form(&[part("nonsense", &big)]),
            "no_file",
        ),
        ("no disposition", form(&[part("A: b", &big)]), "no_file"),
    ]
}

/// Bodies that are no forms.
fn broken_forms() -> Vec<(&'static str, Vec<u8>)> {
    let big = content(1, ON_DISK);
    let disposition = "Content-Disposition: form-data; name=\"file\"";
    let long_head = format!("{disposition}; filename=\"{}\"", "x".repeat(40_000));
    let begun = format!("--{BOUNDARY}").into_bytes();
    let text_behind = format!("--{BOUNDARY}x").into_bytes();
    vec![
        ("nothing", vec![]),
        ("no closing boundary", file("a", &big)),
        ("half a closing boundary", [file("a", &big), begun].concat()),
        (
            "text behind a boundary",
            [text_behind, file("a", &big)].concat(),
        ),
        ("a head without an end", part(&long_head, &big)),
    ]
}

#[test]
fn bad_forms_leave_nothing() {
    let (_dir, node) = start(&[]);
    let broken = broken_forms()
        .into_iter()
        .map(|(what, body)| (what, body, "broken_multipart"));
    for (what, body, code) in wrong_forms().into_iter().chain(broken) {
        let answer = upload(node.address, &body);
        assert_eq!(answer.refusal(), (400, code.to_owned()), "{what}");
        assert_nothing_left(&node, what);
    }
    uploaded(node.address, "a", b"a good one");
}

#[test]
fn wrong_content_types_are_refused() {
    let (_dir, node) = start(&[]);
    let body = form(&[file("a", b"x")]);
    let length = format!("Content-Length: {}", body.len());
    for (content_type, status, code) in [
        (None, 415, "wrong_content_type"),
        (Some("application/json"), 415, "wrong_content_type"),
        (
            Some("multipart/mixed; boundary=b"),
            415,
            "wrong_content_type",
        ),
        (
            Some("multipart/form-data; boundary"),
            400,
            "broken_multipart",
        ),
        (Some("multipart/form-data"), 400, "broken_multipart"),
        (
            Some("multipart/form-data; boundary=\"\""),
            400,
            "broken_multipart",
        ),
        (
            Some("multipart/form-data; boundary=other"),
            400,
            "broken_multipart",
        ),
    ] {
        let line = content_type.map(|it| format!("Content-Type: {it}"));
        let mut lines = vec![length.as_str()];
        lines.extend(line.as_deref());
        let request = [head("POST", "/api/p2p/upload", &lines), body.clone()].concat();
        let answer = send(node.address, &request);
        assert_eq!(
            answer.refusal(),
            (status, code.to_owned()),
            "{content_type:?}"
        );
        assert_nothing_left(&node, "a wrong content type");
    }
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let (_dir, node) = start(&["--max-upload", "2MiB"]);
    let too_large = |request: &[u8]| {
        let answer = send(node.address, request);
        assert_eq!(answer.refusal(), (413, "too_large".to_owned()));
        assert_nothing_left(&node, "too large");
    };
    // A little, so that it shows only when the last byte is read.
    let body = form(&[file("a", &content(1, (2 << 20) + 1))]);
    too_large(&upload_request(&body, &[]));
    // So much that the announced length gives it away.
    too_large(&upload_request(
        &form(&[file("a", &content(1, 4 << 20))]),
        &[],
    ));
    // Much, in a field that is not kept.
    let field = field("other", &"x".repeat(4 << 20));
    let chunk = [format!("{:x}\r\n", field.len()).as_bytes(), &field, b"\r\n"].concat();
    let content_type = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}");
    let lines = ["Transfer-Encoding: chunked", &content_type];
    too_large(&[head("POST", "/api/p2p/upload", &lines), chunk].concat());
    let largest = uploaded(node.address, "a", &content(1, 2 << 20));
    assert_eq!(largest["size"], 2 << 20);
}

#[test]
fn a_client_that_asks_first_is_told_before_it_sends() {
    let (_dir, node) = start(&["--max-upload", "1MiB"]);
    let content_type = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}");
    let lines = [
        "Content-Length: 5000000",
        "Expect: 100-continue",
        &content_type,
    ];
    let answer = send(node.address, &head("POST", "/api/p2p/upload", &lines));
    assert_eq!(answer.refusal(), (413, "too_large".to_owned()));
    let body = form(&[file("a", b"x")]);
    let length = format!("Content-Length: {}", body.len());
    let mut stream = connect(node.address);
    let lines = [&length, "Expect: 100-continue", &content_type];
    stream
        .write_all(&head("POST", "/api/p2p/upload", &lines))
        .unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 100);
    stream.write_all(&body).unwrap();
    assert_eq!(read_answer(&mut stream, false).status, 200);
}

#[test]
fn who_is_refused_before_it_sends_is_told_that_the_connection_ends() {
    let (_dir, node) = start(&[]);
    for length in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        for (method, path, status) in [
            ("POST", "/nowhere", 404),
            ("POST", "/api/p2p/upload", 415),
            ("GET", "/health", 200),
        ] {
            let lines = [length, "Expect: 100-continue"];
            let answer = send(node.address, &head(method, path, &lines));
            assert_eq!(answer.status, status, "{method} {path} {length}");
            assert_eq!(
                answer.header("connection"),
                "close",
                "{method} {path} {length}"
            );
        }
    }
}

#[test]
fn what_is_not_as_a_client_expects_is_neither_removed_nor_made() {
    let (_dir, node) = start(&[]);
    let file = uploaded(node.address, "a", b"x");
    let of_file = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    let etag = format!("If-Match: \"{}\"", file["hash"].as_str().unwrap());
    let remove = |line: &str| send(node.address, &head("DELETE", &of_file, &[line]));
    for line in [
        "If-Match: \"x\"",
        "If-None-Match: *",
        "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
    ] {
        assert_eq!(
            remove(line).refusal(),
            (412, "precondition_failed".to_owned()),
            "{line}"
        );
    }
    let put = head(
        "PUT",
        "/api/p2p/upload/b",
        &["If-Match: *", "Content-Length: 1"],
    );
    let refused = send(node.address, &[&put[..], b"x"].concat());
    assert_eq!(refused.refusal(), (412, "precondition_failed".to_owned()));
    assert_eq!(remove(&etag).status, 200);
    let listed = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(listed["total_files"], 0);
}

#[test]
fn a_limit_of_the_lengths_of_files_is_told_as_that_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // No file may grow beyond 16 MiB.
    let mut command = Command::new("bash");
    let limited = "trap '' XFSZ; ulimit -f 16384; exec \"$0\"";
    let plain = larder(dir.path());
    command.args(["-c", limited]).arg(plain.get_program());
    command
        .current_dir(dir.path())
        .env_clear()
        .env("PEER_PORT", "0");
    let node = Node::spawn(&dir, command);
    let answer = upload(node.address, &form(&[file("a", &content(1, 20 << 20))]));
    assert_eq!(answer.refusal(), (507, "file_size_limit".to_owned()));
    assert_nothing_left(&node, "a limit");
    // The log tells what the client is not told.
    until("the cause is logged", || {
        node.log().contains("File too large").then_some(())
    });
    assert!(!String::from_utf8_lossy(&answer.body).contains("peer_storage"));
    uploaded(node.address, "a", &content(1, 10 << 20));
}

#[test]
fn what_is_not_there_is_404() {
    let (_dir, node) = start(&[]);
    let status = get(node.address, "/api/p2p/status", &[]).json();
    let own = status["peer"]["peer_id"].as_str().unwrap().to_owned();
    let id = "01a20831-60df-7192-a718-76572f743d37";
    let hash = "0".repeat(64);
    for (method, path, code) in [
        ("GET", "/none".to_owned(), "unknown_path"),
        ("GET", "/api/p2p/files/".to_owned(), "unknown_path"),
        ("POST", "/nothing".to_owned(), "unknown_path"),
        ("GET", format!("/api/p2p/file/{id}"), "unknown_file"),
        ("GET", "/api/p2p/file/no-id".to_owned(), "unknown_file"),
        ("GET", "/api/p2p/file/%ff".to_owned(), "unknown_file"),
        (
            "GET",
            "/api/p2p/file/..%2f..%2fetc%2fpasswd".to_owned(),
            "unknown_file",
        ),
        ("DELETE", format!("/api/p2p/file/{id}"), "unknown_file"),
        ("DELETE", "/api/p2p/file/no-id".to_owned(), "unknown_file"),
        (
            "GET",
            format!("/api/p2p/download/{own}/{id}"),
            "unknown_file",
        ),
        (
            "GET",
            format!("/api/p2p/download/{own}/name"),
            "unknown_file",
        ),
        (
            "GET",
            format!("/api/p2p/download/{id}/{id}"),
            "unknown_peer",
        ),
        (
            "GET",
            format!("/api/p2p/download/peer/{id}"),
            "unknown_peer",
        ),
        ("GET", format!("/api/p2p/blob/{hash}"), "unknown_blob"),
        (
            "GET",
            format!("/api/p2p/blob/{}", &hash[1..]),
            "unknown_blob",
        ),
        ("GET", "/api/p2p/blob/..%2fspool".to_owned(), "unknown_blob"),
    ] {
        let answer = send(node.address, &head(method, &path, &[]));
        assert_eq!(answer.refusal(), (404, code.to_owned()), "{method} {path}");
    }
}

#[test]
fn other_methods_are_405_and_told_the_right_ones() {
    let (_dir, node) = start(&[]);
    for (method, path, allowed) in [
        ("PUT", "/health", "GET,HEAD"),
        ("POST", "/api/p2p/files", "GET,HEAD"),
        ("GET", "/api/p2p/upload", "POST,PUT"),
        ("POST", "/api/p2p/file/x", "GET,HEAD,DELETE"),
    ] {
        let answer = send(node.address, &head(method, path, &["Content-Length: 0"]));
        assert_eq!(answer.refusal(), (405, "method_not_allowed".to_owned()));
        assert_eq!(answer.header("allow"), allowed);
    }
}

#[test]
fn bad_queries_are_400() {
    let (_dir, node) = start(&[]);
    for query in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=1&limit=2",
        "after=x",
        "after=",
    ] {
        let answer = get(node.address, &format!("/api/p2p/files?{query}"), &[]);
        assert_eq!(answer.refusal(), (400, "bad_query".to_owned()), "{query}");
    }
}

#[test]
fn bad_announcements_are_refused() {
    let (_dir, node) = start(&[]);
    let good = json!({
        "file_id": "f", "original_name": "n", "size": 1, "peer_id": "p",
        "uploaded_at": "2026-01-21T10:00:00", "more": [1]
    });
    let announce = |content_type: &str, body: &str| {
        let length = format!("Content-Length: {}", body.len());
        let lines = [&format!("Content-Type: {content_type}"), length.as_str()];
        let head = head("POST", "/api/p2p/announce", &lines);
        send(node.address, &[head, body.into()].concat())
    };
    assert_eq!(
        announce("application/json; charset=utf-8", &good.to_string()).status,
        200
    );
    let wrong_type = announce("text/plain", &good.to_string());
    assert_eq!(wrong_type.refusal(), (415, "wrong_content_type".to_owned()));
    let long = announce("application/json", &" ".repeat(70_000));
    assert_eq!(long.refusal(), (413, "too_large".to_owned()));
    let mut bad = vec![
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
    ];
    for (key, value) in [
        ("file_id", json!(null)),
        ("file_id", json!("")),
        ("file_id", json!("x".repeat(129))),
        ("original_name", json!(7)),
        ("original_name", json!("x".repeat(4097))),
        ("size", json!(-1)),
        ("size", json!("1")),
        ("peer_id", json!("")),
        ("uploaded_at", json!("x".repeat(129))),
        ("description", json!("x".repeat(17_000))),
    ] {
        let mut announcement = good.clone();
        announcement[key] = value;
        bad.push(announcement.to_string());
    }
    for key in ["file_id", "original_name", "size", "peer_id", "uploaded_at"] {
        let mut announcement = good.clone();
        announcement.as_object_mut().unwrap().remove(key);
        bad.push(announcement.to_string());
    }
    for body in bad {
        let answer = announce("application/json", &body);
        assert_eq!(
            answer.refusal(),
            (400, "bad_announcement".to_owned()),
            "{body}"
        );
    }
}

#[test]
fn pages_of_other_origins_reach_nothing() {
    let (_dir, node) = start(&["--cors-origin", "https://app.example"]);
    let body = form(&[file("a", b"x")]);
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
    ] {
        let line = format!("Origin: {origin}");
        let answer = send(node.address, &upload_request(&body, &[&line]));
        assert_eq!(
            answer.refusal(),
            (403, "origin_not_allowed".to_owned()),
            "{origin}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_nothing_left(&node, origin);
        let preflight = ["Access-Control-Request-Method: DELETE", &line];
        let answer = send(
            node.address,
            &head("OPTIONS", "/api/p2p/file/x", &preflight),
        );
        assert_eq!(answer.status, 403);
    }
    for origin in [
        "https://app.example",
        "http://localhost:3000",
        "http://127.0.0.1",
    ] {
        let line = format!("Origin: {origin}");
        let answer = send(node.address, &upload_request(&body, &[&line]));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        let preflight = ["Access-Control-Request-Method: DELETE", &line];
        let answer = send(
            node.address,
            &head("OPTIONS", "/api/p2p/file/x", &preflight),
        );
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert!(
            answer
                .header("access-control-allow-methods")
                .contains("DELETE")
        );
    }
}

#[test]
fn a_node_on_loopback_answers_for_no_other_name() {
    let (_dir, node) = start(&["--base-url", "http://files.example"]);
    let body = form(&[file("a", b"x")]);
    for host in ["rebound.example", "rebound.example:5004"] {
        let line = format!("Host: {host}");
        let answer = send(node.address, &upload_request(&body, &[&line]));
        assert_eq!(
            answer.refusal(),
            (421, "host_not_allowed".to_owned()),
            "{host}"
        );
        assert_nothing_left(&node, host);
    }
    for host in [
        "localhost:1",
        "127.0.0.1",
        "[::1]:5004",
        "files.example",
        "10.1.2.3",
    ] {
        let line = format!("Host: {host}");
        assert_eq!(get(node.address, "/health", &[&line]).status, 200, "{host}");
    }
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let (_dir, node) = start(&[]);
    let body = form(&[file("a", &content(1, 4 << 20))]);
    let request = upload_request(&body, &[]);
    for sent in [request.len() / 2, request.len() - 1] {
        let mut stream = connect(node.address);
        stream.write_all(&request[..sent]).unwrap();
        until("the upload is under way", || {
            (!node.content_files().is_empty()).then_some(())
        });
        drop(stream);
        assert_nothing_left(&node, "a client that vanished");
    }
    // In the middle of a chunk that was announced longer.
    let mut stream = connect(node.address);
    let content_type = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}");
    let lines = ["Transfer-Encoding: chunked", &content_type];
    let head = head("POST", "/api/p2p/upload", &lines);
    stream
        .write_all(&[head, b"ffffff\r\n".to_vec(), body].concat())
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    // Nobody is there to be answered.
    let _ = stream.read_to_end(&mut answer);
    assert_nothing_left(&node, "a chunk cut short");
}

#[test]
fn a_refusal_reaches_a_client_that_first_sends_everything() {
    let (_dir, node) = start(&[]);
    // Refused for its first bytes, and far too long for the buffers between.
    let body = form(&[file("", &content(1, 64 << 20))]);
    let answer = upload(node.address, &body);
    assert_eq!(answer.refusal(), (400, "no_file_name".to_owned()));
}

/// Sends an upload up to its last byte, and waits until the node has the rest.
fn begin_upload(node: &Node, address: SocketAddr) -> (std::net::TcpStream, Vec<u8>) {
    let request = upload_request(&form(&[file("late", &content(1, ON_DISK))]), &[]);
    let (most, rest) = request.split_at(request.len() - 1);
    let mut stream = connect(address);
    stream.write_all(most).unwrap();
    until("the upload is under way", || {
        (!node.content_files().is_empty()).then_some(())
    });
    (stream, rest.to_vec())
}

#[test]
fn a_node_that_stops_ends_what_runs_and_takes_nothing_new() {
    let (dir, node) = start(&["--base-url", "http://localhost"]);
    let address = node.address;
    let (mut running, rest) = begin_upload(&node, address);
    let mut idle = connect(address);
    let half_asked = ["/health", "/ready"].map(|path| {
        let mut stream = connect(address);
        let line = format!("GET {path} HTTP/1.1\r\n");
        stream.write_all(line.as_bytes()).unwrap();
        until_read(&stream);
        stream
    });

    node.signal(Signal::TERM);
    let gone = || std::net::TcpStream::connect(address).is_err().then_some(());
    until("the node does not listen any more", gone);
    assert_eq!(
        idle.read(&mut [0]).unwrap(),
        0,
        "an idle connection is closed"
    );
    for mut stream in half_asked {
        stream.write_all(b"Host: localhost\r\n\r\n").unwrap();
        let refused = read_answer(&mut stream, false);
        assert_eq!(refused.refusal(), (503, "shutting_down".to_owned()));
    }
    running.write_all(&rest).unwrap();
    let answer = read_answer(&mut running, false);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(node.wait().success());

    let node = Node::start(&dir, &["--base-url", "http://localhost"]);
    let list = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(list["files"], json!([answer.json()["file"]]));
}

#[test]
fn a_node_that_stops_waits_no_longer_than_its_grace() {
    let (dir, node) = start(&["--shutdown-grace", "0"]);
    let (_running, _rest) = begin_upload(&node, node.address);
    node.signal(Signal::INT);
    assert!(node.wait().success());
    assert_nothing_left(&Node::start(&dir, &[]), "an upload cut off by the end");
}
