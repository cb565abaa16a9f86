//! Downloads as RFC 9110 says, and the listing page by page.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{form, part, upload, uploaded};
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, connect, get, head, read_answer, send};

/// The length of the file that is read in parts; no multiple of anything.
const SIZE: usize = 3_000_001;

/// A node with one file.
struct World {
    _dir: TempDir,
    node: Node,
    bytes: Vec<u8>,
    etag: String,
    path: String,
}

impl World {
    fn new(size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let bytes = content(1, size);
        let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
            Content-Type: video/mp4";
        let answer = upload(node.address, &form(&[part(head, &bytes)])).json();
        let file = &answer["file"];
        Self {
            _dir: dir,
            node,
            bytes,
            etag: format!("\"{}\"", file["hash"].as_str().unwrap()),
            path: format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap()),
        }
    }

    /// Gets the file with more header lines.
    fn get(&self, headers: &[&str]) -> Answer {
        get(self.node.address, &self.path, headers)
    }

    fn assert_whole(&self, answer: &Answer, what: &str) {
        assert_eq!(answer.status, 200, "{what}");
        assert!(answer.body == self.bytes, "{what}");
        assert_eq!(answer.header("content-range"), "", "{what}");
    }
}

#[test]
fn a_download_is_described_exactly() {
    let world = World::new(SIZE);
    let whole = world.get(&[]);
    world.assert_whole(&whole, "whole");
    let head = send(world.node.address, &head("HEAD", &world.path, &[]));
    for answer in [&whole, &head] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), SIZE.to_string());
        assert_eq!(answer.header("content-type"), "video/mp4");
        assert_eq!(answer.header("etag"), world.etag);
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let disposition = "attachment; filename=\"a.bin\"";
        assert_eq!(answer.header("content-disposition"), disposition);
    }
    assert!(head.body.is_empty());
}

#[test]
fn one_range_is_206() {
    let world = World::new(SIZE);
    let last = SIZE - 1;
    for (range, part) in [
        ("0-0", 0..1),
        ("0-999999", 0..1_000_000),
        ("1048575-1048577", 1_048_575..1_048_578),
        ("2999999-", 2_999_999..SIZE),
        ("-7", SIZE - 7..SIZE),
        ("-99999999", 0..SIZE),
        ("5-99999999", 5..SIZE),
        // The other one lies beyond the end.
        ("3000001-,5-6", 5..7),
    ] {
        let answer = world.get(&[&format!("Range: bytes={range}")]);
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.body == world.bytes[part.clone()], "{range}");
        let expected = format!("bytes {}-{}/{SIZE}", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), expected);
        assert_eq!(answer.header("content-length"), part.len().to_string());
        assert_eq!(answer.header("content-type"), "video/mp4");
        assert_eq!(answer.header("etag"), world.etag);
    }
    let by_head = head("HEAD", &world.path, &[&format!("Range: bytes=0-{last}")]);
    assert_eq!(send(world.node.address, &by_head).status, 200);
}

#[test]
fn ranges_that_mean_nothing_are_ignored_and_those_beyond_the_end_are_416() {
    let world = World::new(1000);
    let many = format!("bytes={}", vec!["0-0"; 17].join(","));
    for range in ["lines=0-1", "bytes=2-1", "bytes=x", &many, "bytes=0-,0-"] {
        world.assert_whole(&world.get(&[&format!("Range: {range}")]), range);
    }
    for range in ["1000-", "1000-2000", "-0", "1000-,2000-"] {
        let answer = world.get(&[&format!("Range: bytes={range}")]);
        assert_eq!(answer.refusal(), (416, "range_not_satisfiable".to_owned()));
        assert_eq!(answer.header("content-range"), "bytes */1000");
    }
}

/// The parts of a `multipart/byteranges` body: `Content-Range` and bytes of each.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let content_type = answer.header("content-type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=");
    let delimiter = format!("\r\n--{}", boundary.unwrap());
    // Bytes as characters, so that text can be split.
    let body: String = answer.body.iter().map(|b| char::from(*b)).collect();
    let pieces = body.split(&delimiter).collect::<Vec<_>>();
    assert_eq!(pieces.first(), Some(&""));
    assert_eq!(pieces.last(), Some(&"--\r\n"));
    pieces[1..pieces.len() - 1]
        .iter()
        .map(|piece| {
            let (head, bytes) = piece.split_once("\r\n\r\n").unwrap();
            let range = head.strip_prefix("\r\nContent-Type: video/mp4\r\nContent-Range: ");
            let bytes = bytes.chars().map(|c| u8::try_from(c).unwrap()).collect();
            (range.unwrap().to_owned(), bytes)
        })
        .collect()
}

#[test]
fn several_ranges_come_as_parts() {
    let world = World::new(SIZE);
    let wanted: [Range<usize>; 3] = [100..200, 0..1, SIZE - 1_500_000..SIZE];
    let answer = world.get(&["Range: bytes=100-199, 0-0,3000001-3000002, -1500000"]);
    assert_eq!(answer.status, 206);
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    assert_eq!(answer.header("content-range"), "");
    let parts = parts(&answer);
    assert_eq!(parts.len(), wanted.len());
    for ((range, bytes), wanted) in parts.into_iter().zip(wanted) {
        let expected = format!("bytes {}-{}/{SIZE}", wanted.start, wanted.end - 1);
        assert_eq!(range, expected);
        assert!(bytes == world.bytes[wanted], "{range}");
    }
}

#[test]
fn conditions_decide_what_is_sent() {
    let world = World::new(1000);
    let (tag, other) = (&world.etag, "\"other\"");
    for (headers, status) in [
        (vec![format!("If-None-Match: {tag}")], 304),
        (vec![format!("If-None-Match: {other}, W/{tag}")], 304),
        (vec!["If-None-Match: *".to_owned()], 304),
        (vec![format!("If-None-Match: {other}")], 200),
        (vec![format!("If-Match: {tag}")], 200),
        (vec![format!("If-Match: {other}")], 412),
        (
            vec![
                format!("If-None-Match: {tag}"),
                "Range: bytes=0-1".to_owned(),
            ],
            304,
        ),
        (
            vec![format!("If-Range: {tag}"), "Range: bytes=0-1".to_owned()],
            206,
        ),
        (
            vec![format!("If-Range: {other}"), "Range: bytes=0-1".to_owned()],
            200,
        ),
        (
            vec![format!("If-Range: W/{tag}"), "Range: bytes=0-1".to_owned()],
            200,
        ),
        (
            vec![
                format!("If-Range: {other}"),
                "Range: bytes=2000-".to_owned(),
            ],
            200,
        ),
    ] {
        let lines: Vec<_> = headers.iter().map(String::as_str).collect();
        let answer = world.get(&lines);
        assert_eq!(answer.status, status, "{headers:?}");
        match status {
            200 => world.assert_whole(&answer, "condition"),
            304 => assert_eq!(answer.header("etag"), world.etag),
            206 => assert!(answer.body == world.bytes[..2]),
            _ => assert_eq!(answer.refusal().1, "precondition_failed"),
        }
    }
}

#[test]
fn content_is_had_by_its_hash_too() {
    let world = World::new(SIZE);
    let hash = world.etag.trim_matches('"');
    let path = format!("/api/p2p/blob/{hash}");
    let answer = get(world.node.address, &path, &[]);
    world.assert_whole(&answer, "by hash");
    assert_eq!(answer.header("etag"), world.etag);
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let part = get(world.node.address, &path, &["Range: bytes=1-2"]);
    assert!(part.body == world.bytes[1..3]);
    let head = send(world.node.address, &head("HEAD", &path, &[]));
    assert_eq!(head.header("content-length"), SIZE.to_string());
}

#[test]
fn an_empty_file_is_a_file() {
    let world = World::new(0);
    world.assert_whole(&world.get(&[]), "empty");
    world.assert_whole(&world.get(&["Range: bytes=-5"]), "empty");
    let answer = world.get(&["Range: bytes=0-"]);
    assert_eq!(answer.status, 416);
}

#[test]
fn names_of_any_kind_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let long = "x".repeat(4000) + ".txt";
    let longest = "\u{1f600}".repeat(1024);
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\Windows\\a.txt",
        "a\"b'c",
        "a\r\nSet-Cookie: b",
        "\u{1f600} caf\u{e9}.pdf",
        "%41%2f",
        ".",
        " ",
        &long,
        &longest,
    ] {
        let sent = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let target = format!("/api/p2p/upload/{sent}");
        let request = head("PUT", &target, &["Content-Length: 7"]);
        let answer = send(node.address, &[&request, &b"content"[..]].concat());
        let file = answer.json()["file"].clone();
        assert_eq!(file["original_name"], name);
        let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        let answer = get(node.address, &path, &[]);
        assert_eq!(answer.body, b"content");
        assert_eq!(answer.header("set-cookie"), "");
        assert_eq!(saved_as(answer.header("content-disposition")), name);
        // Nothing but the blob came to be, wherever the name points.
        assert_eq!(node.content_files().len(), 1);
    }
}

/// The name that a client saves a download under.
fn saved_as(disposition: &str) -> String {
    let plain = disposition.strip_prefix("attachment; filename=\"").unwrap();
    let (plain, extended) = plain.split_once('"').unwrap();
    let Some(encoded) = extended.strip_prefix("; filename*=UTF-8''") else {
        return plain.to_owned();
    };
    let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8();
    decoded.unwrap().into_owned()
}

#[test]
fn the_request_id_comes_back_and_stands_in_the_log() {
    let world = World::new(10);
    let answer = world.get(&["X-Request-Id: from-the.client_7"]);
    assert_eq!(answer.header("x-request-id"), "from-the.client_7");
    let too_long = format!("X-Request-Id: {}", "x".repeat(65));
    let mut given = BTreeSet::new();
    for bad in [
        "X-Request-Id: a b",
        "X-Request-Id: a\"b",
        "X-Request-Id:",
        &too_long,
    ] {
        let id = world.get(&[bad]).header("x-request-id").to_owned();
        assert!(
            bad != format!("X-Request-Id: {id}") && !id.is_empty(),
            "{bad}"
        );
        // It is this request's own.
        assert!(given.insert(id), "{bad}");
    }
    // It is written when the answer has been sent.
    let lines = until("the request is logged", || {
        let log = world.node.log();
        let lines = log.lines().filter(|it| it.contains("from-the.client_7"));
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    for part in [&world.path, "method=GET", "status=200", "sent=10"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let world = World::new(1000);
    let mut stream = connect(world.node.address);
    for _ in 0..3 {
        stream.write_all(&head("GET", &world.path, &[])).unwrap();
        world.assert_whole(&read_answer(&mut stream, false), "kept alive");
        stream.write_all(&head("GET", "/nothing", &[])).unwrap();
        assert_eq!(read_answer(&mut stream, false).status, 404);
    }
}

/// A node with files of these names, in their order.
fn with_files(names: &[&str]) -> (TempDir, Node, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let upload = |name: &&str| uploaded(node.address, name, name.as_bytes());
    let files = names.iter().map(upload).collect();
    (dir, node, files)
}

fn list(node: &Node, query: &str) -> Value {
    let answer = get(node.address, &format!("/api/p2p/files{query}"), &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

#[test]
fn pages_together_are_the_listing() {
    let (_dir, node, files) = with_files(&["a", "b", "c", "d", "e"]);
    let whole = list(&node, "");
    assert_eq!(whole["files"], json!(files));
    assert_eq!(whole["next"], Value::Null);
    for limit in 1..=6 {
        let (mut paged, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let page = list(&node, &query);
            let page_files = page["files"].as_array().unwrap();
            assert_eq!(page["file_count"], page_files.len());
            assert_eq!(page["total_files"], 5);
            assert!((1..=limit).contains(&page_files.len()));
            paged.extend(page_files.iter().cloned());
            let Some(next) = page["next"].as_str() else {
                break;
            };
            query = format!("?limit={limit}&after={next}");
        }
        assert_eq!(paged, files, "{limit}");
    }
    let behind_the_end = format!("?after={}", files[4]["file_id"].as_str().unwrap());
    assert_eq!(list(&node, &behind_the_end)["files"], json!([]));
}

#[test]
fn a_cursor_outlives_its_file() {
    let (_dir, node, files) = with_files(&["a", "b", "c"]);
    let id = files[1]["file_id"].as_str().unwrap();
    let removed = send(
        node.address,
        &head("DELETE", &format!("/api/p2p/file/{id}"), &[]),
    );
    assert_eq!(removed.status, 200);
    assert_eq!(
        list(&node, &format!("?after={id}"))["files"],
        json!([files[2]])
    );
}

#[test]
fn names_are_searched_whatever_the_case() {
    let (_dir, node, files) = with_files(&["Report.PDF", "notes", "my \u{c4}rger.pdf", "x"]);
    for (name, found) in [
        ("pdf", json!([files[0], files[2]])),
        ("REPORT", json!([files[0]])),
        ("%C3%A4rger", json!([files[2]])),
        ("r.p", json!([files[2]])),
        ("", json!(files)),
        ("none", json!([])),
    ] {
        let answer = list(&node, &format!("?name={name}"));
        assert_eq!(answer["files"], found, "{name}");
        assert_eq!(answer["total_files"], 4);
    }
    let first = list(&node, "?name=pdf&limit=1");
    assert_eq!(first["files"], json!([files[0]]));
    let after = first["next"].as_str().unwrap();
    let second = list(&node, &format!("?name=pdf&limit=1&after={after}"));
    assert_eq!(second["files"], json!([files[2]]));
}

#[test]
fn a_listing_of_many_pages_is_whole() {
    let names: Vec<_> = (0..600).map(|n| n.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (_dir, node, files) = with_files(&names);
    assert_eq!(list(&node, "")["files"], json!(files));
    let page = list(&node, "?limit=300");
    assert_eq!(page["files"], json!(files[..300]));
    assert_eq!(page["next"], files[299]["file_id"]);
}

#[test]
fn the_ids_of_requests_tell_nobody_how_many_there_were() {
    let world = World::new(10);
    let ids: Vec<String> = (0..64)
        .map(|_| world.get(&[]).header("x-request-id").to_owned())
        .collect();
    let mut parts = [BTreeSet::new(), BTreeSet::new()];
    for id in &ids {
        let (first, last) = id.split_at(16);
        for (seen, part) in parts.iter_mut().zip([first, last]) {
            assert_eq!(part.len(), 16, "{id}");
            seen.insert(u64::from_str_radix(part, 16).unwrap());
        }
    }
    for seen in parts {
        assert_eq!(seen.len(), ids.len());
        // What counts, in whatever steps, has its numbers near each other.
        let (least, most) = (seen.first().unwrap(), seen.last().unwrap());
        assert!(most - least > u64::MAX / 2, "{ids:?}");
        let steps: BTreeSet<u64> = ids
            .windows(2)
            .map(|pair| {
                let number = |id: &str| u64::from_str_radix(&id[17..], 16).unwrap();
                number(&pair[1]).wrapping_sub(number(&pair[0]))
            })
            .collect();
        assert_eq!(steps.len(), ids.len() - 1);
    }
}
