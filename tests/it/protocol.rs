//! HTTP as RFC 9110 and 9112 have it, on every route, with every method.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};

use serde_json::Value;

use crate::common::forms::uploaded;
use crate::common::process::{Node, start};
use crate::common::raw_http::{connect, get, head, read_answer, send};

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "OTHER",
];
/// What requests are sent with, one after the other.
const LINES: [&[&str]; 9] = [
    &[],
    &["Origin: http://localhost:3000"],
    &["Origin: https://evil.example"],
    &["Accept-Encoding: gzip, zstd"],
    &["Accept-Encoding: gzip", "Origin: http://localhost:3000"],
    &["If-None-Match: *"],
    &["If-Match: \"x\""],
    &["Range: bytes=0-0,2-2"],
    &["Range: bytes=999-"],
];

/// The head of an answer, and whether a byte follows it.
fn head_of(node: &Node, request: &[u8]) -> (u16, BTreeMap<String, String>, bool) {
    let mut stream = connect(node.address);
    stream.write_all(request).unwrap();
    let mut lines = BufReader::new(&stream);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let status = line[9..12].parse().unwrap();
    let mut fields = BTreeMap::new();
    loop {
        line.clear();
        lines.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let before = fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        assert!(before.is_none(), "two lines of {name}");
    }
    let is_endless = fields
        .get("content-type")
        .is_some_and(|it| it == "text/event-stream");
    let more = is_endless && !request.starts_with(b"HEAD ") || lines.read(&mut [0]).unwrap() > 0;
    (status, fields, more)
}

/// Every path of the document and those that it leaves out, with ids that are and that are not.
fn paths(node: &Node) -> Vec<String> {
    let file = uploaded(node.address, "a.txt", b"hello");
    let text = |key: &str| file[key].as_str().unwrap().to_owned();
    let document = get(node.address, "/api/openapi.json", &[]).json();
    let mut paths = Vec::new();
    for path in document["paths"].as_object().unwrap().keys() {
        let path = path
            .replace("{hash}", &text("hash"))
            .replace("{peer}", &text("peer_id"));
        let path = path
            .replace("{file}", &text("file_id"))
            .replace("{name}", "put.txt");
        paths.push(path.replace("{id}", &text("file_id")));
        paths.push(path.replace("{id}", "none"));
    }
    paths.dedup();
    let more = [
        "/",
        "/page/app.js",
        "/page/style.css",
        "/page/none",
        "/none",
        "/api/p2p/tus/",
    ];
    paths.into_iter().chain(more.map(str::to_owned)).collect()
}

fn assert_head(
    what: &str,
    method: &str,
    status: u16,
    fields: &BTreeMap<String, String>,
    more: bool,
) {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let date = field("date");
    assert!(httpdate::parse_http_date(date).is_ok(), "{what}: {date}");
    assert_ne!(field("cache-control"), "", "{what}");
    assert_ne!(field("x-request-id"), "", "{what}");
    let framed = [field("content-length"), field("transfer-encoding")];
    let framings = framed.iter().filter(|it| !it.is_empty()).count();
    assert!(framings <= 1, "{what}: {fields:?}");
    let is_empty = method == "HEAD" || matches!(status, 204 | 304);
    if is_empty {
        assert!(!more, "{what}: {fields:?}");
    } else {
        assert_eq!(framings, 1, "{what}: {fields:?}");
        assert!(!more || !field("content-type").is_empty(), "{what}");
    }
    if status == 204 {
        assert_eq!(framings, 0, "{what}");
    }
    for (of, name) in [
        (401, "www-authenticate"),
        (405, "allow"),
        (416, "content-range"),
        (206, "accept-ranges"),
        (304, "etag"),
    ] {
        assert!(
            status != of || fields.contains_key(name),
            "{what}: {fields:?}"
        );
    }
    for name in ["last-modified", "expires", "upload-expires"] {
        let date = field(name);
        assert!(
            date.is_empty() || httpdate::parse_http_date(date).is_ok(),
            "{what}: {date}"
        );
    }
    if status >= 400 && more {
        assert_eq!(field("content-type"), "application/json", "{what}");
    }
}

#[test]
fn every_answer_says_everything_once_and_what_its_status_needs() {
    let (_dir, node) = start();
    let mut seen = BTreeMap::<u16, u32>::new();
    for path in paths(&node) {
        for method in METHODS {
            if method == "DELETE" && path.contains("/file/") && !path.ends_with("none") {
                // Others ask for it yet.
                continue;
            }
            for lines in LINES {
                let lines = [&["Content-Length: 0", "Connection: close"], lines].concat();
                let what = format!("{method} {path} {lines:?}");
                let (status, fields, more) = head_of(&node, &head(method, &path, &lines));
                assert_head(&what, method, status, &fields, more);
                *seen.entry(status).or_default() += 1;
            }
        }
    }
    for status in [200, 204, 206, 304, 400, 403, 404, 405, 412, 415, 416] {
        assert!(seen.contains_key(&status), "{status} in {seen:?}");
    }
}

#[test]
fn head_says_what_get_says() {
    let (_dir, node) = start();
    for path in paths(&node) {
        if path == "/metrics" || path == "/api/events" {
            continue;
        }
        for lines in [&[][..], &["Accept-Encoding: gzip"], &["If-None-Match: *"]] {
            let lines = [&["Connection: close"], lines].concat();
            let of = |method| {
                let (status, mut fields, _) = head_of(&node, &head(method, &path, &lines));
                for name in ["date", "x-request-id", "transfer-encoding"] {
                    fields.remove(name);
                }
                (status, fields)
            };
            let got = of("GET");
            if got.0 != 405 && !path.contains("/tus") {
                assert_eq!(of("HEAD"), got, "{path} {lines:?}");
            }
        }
    }
}

#[test]
fn who_takes_no_coding_that_there_is_is_answered_as_if_it_had_not_said_so() {
    let (_dir, node) = start();
    let answer = |path: &str, lines: &[&str]| {
        let lines = [&["Connection: close"], lines].concat();
        let (status, fields, _) = head_of(&node, &head("GET", path, &lines));
        (status, fields.get("content-encoding").cloned())
    };
    for path in paths(&node) {
        let plain = answer(&path, &[]);
        for taken in ["identity;q=0", "*;q=0", "gzip;q=0, zstd;q=0, identity;q=0"] {
            let line = format!("Accept-Encoding: {taken}");
            assert_eq!(answer(&path, &[&line]), plain, "{path} {line}");
        }
    }
    let listed = get(node.address, "/api/p2p/files", &["Accept-Encoding: *;q=0"]);
    assert_eq!(
        (listed.status, listed.json()["file_count"].as_u64()),
        (200, Some(1))
    );
}

#[test]
fn a_head_that_cannot_be_read_is_told_so_and_no_content_that_looks_like_that_is_touched() {
    let (_dir, node) = start();
    let refusal = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
    let bytes = refusal.repeat(5000);
    let file = uploaded(node.address, "a.txt", &bytes);
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    let begin = format!("Range: bytes=0-{}", refusal.len() - 1);
    let mut stream = connect(node.address);
    let mut ask = |request: &[u8]| {
        stream.write_all(request).unwrap();
        read_answer(&mut stream, false)
    };
    for _ in 0..3 {
        assert!(ask(&head("GET", &path, &[])).body == bytes);
        assert_eq!(ask(&head("GET", &path, &[&begin])).body, refusal);
    }
    // What comes behind them on the same connection.
    let long = head("GET", "/health", &[&format!("X: {}", "a".repeat(33_000))]);
    assert_eq!(ask(&long).refusal(), (431, "head_too_large".to_owned()));
}

#[test]
fn a_request_that_a_proxy_may_take_for_another_one_is_refused() {
    let (_dir, node) = start();
    for (request, status) in [
        ("GET /ready HTTP/1.1\r\n\r\n", 400),
        (
            "GET /ready HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            400,
        ),
        (
            "GET /ready HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            400,
        ),
        (
            "GET /ready HTTP/1.1\r\nHost: 127.0.0.1/evil.example\r\n\r\n",
            400,
        ),
        ("GET /ready HTTP/1.1\r\nHost: a@localhost\r\n\r\n", 400),
        (
            "GET /ready HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n",
            400,
        ),
        ("GET /ready HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET /ready HTTP/1.1\r\nHost: not a host\r\n\r\n", 400),
        (
            "GET /ready HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\
             Origin: https://evil.example\r\n\r\n",
            400,
        ),
        (
            "GET /ready HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\n\
             Authorization: Bearer b\r\n\r\n",
            400,
        ),
        ("GET /ready HTTP/1.0\r\n\r\n", 200),
        (
            "GET http://localhost/ready HTTP/1.1\r\nHost: localhost\r\n\r\n",
            200,
        ),
        ("GET /ready HTTP/1.1\r\nHost: localhost:\r\n\r\n", 200),
        ("GET /ready HTTP/1.1\r\nhOsT:localhost\r\n\r\n", 200),
    ] {
        let answer = send(node.address, request.as_bytes());
        assert_eq!(answer.status, status, "{request}");
        if status != 200 {
            assert_eq!(answer.refusal(), (status, "bad_request".to_owned()));
        }
    }
}

#[test]
fn coded_bodies_are_refused_and_never_kept_as_files() {
    let (_dir, node) = start();
    let form = "Content-Type: multipart/form-data; boundary=x";
    let part = "Content-Type: application/offset+octet-stream";
    let tus = "Tus-Resumable: 1.0.0";
    let chunked = "Transfer-Encoding: gzip, chunked";
    for (method, path, lines, status) in [
        ("POST", "/api/p2p/upload", vec![form, chunked], 501),
        ("PUT", "/api/p2p/upload/a", vec![chunked], 501),
        (
            "POST",
            "/api/p2p/tus",
            vec![tus, "Upload-Length: 3", part, chunked],
            501,
        ),
        (
            "PUT",
            "/api/p2p/upload/a",
            vec!["Content-Length: 3", "Content-Encoding: gzip"],
            415,
        ),
        (
            "POST",
            "/api/p2p/tus",
            vec![
                tus,
                "Upload-Length: 3",
                part,
                "Content-Length: 3",
                "Content-Encoding: br",
            ],
            415,
        ),
        (
            "POST",
            "/api/p2p/upload",
            vec![
                form,
                "Content-Length: 3",
                "Content-Encoding: gzip, identity",
            ],
            415,
        ),
        (
            "POST",
            "/api/p2p/keep",
            vec![
                "Content-Type: application/json",
                "Content-Length: 3",
                "Content-Encoding: zstd",
            ],
            415,
        ),
    ] {
        let request = [&head(method, path, &lines), &b"3\r\nabc\r\n0\r\n\r\n"[..]].concat();
        let answer = send(node.address, &request);
        assert_eq!(answer.status, status, "{method} {path} {lines:?}");
        if status == 415 {
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
    }
    let plain = ["Content-Length: 3", "Content-Encoding: identity"];
    let request = [&head("PUT", "/api/p2p/upload/a", &plain), &b"abc"[..]].concat();
    assert_eq!(send(node.address, &request).status, 200);
    let listed = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(listed["total_files"], Value::from(1));
}
