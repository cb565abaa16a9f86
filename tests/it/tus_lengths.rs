//! Uploads in parts whose length is not known when they begin (tus: creation-defer-length).

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use larder::hash::BlobHash;

use crate::common::content::content;
use crate::common::npm;
use crate::common::process::{Node, start};
use crate::common::raw_http::{Answer, get, send};
use crate::common::tus::{TUS, created, look, patch, patch_request, patched, path_of, request};

/// Begins an upload without a length, and returns its path.
fn begun(node: SocketAddr) -> String {
    let answer = send(
        node,
        &request("POST", TUS, &["Upload-Defer-Length: 1"], b""),
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    path_of(&answer)
}

/// Brings bytes, and tells the length.
fn told(node: SocketAddr, upload: &str, offset: usize, body: &[u8], length: usize) -> Answer {
    let length = format!("Upload-Length: {length}");
    send(node, &patch_request(upload, offset, body, &[&length]))
}

fn assert_is_whole(node: &Node, answer: &Answer, bytes: &[u8]) {
    assert_eq!(
        answer.header("larder-file-hash"),
        BlobHash::of(bytes).to_string(),
        "{answer:?}"
    );
    let path = format!("/api/p2p/file/{}", answer.header("larder-file-id"));
    assert!(get(node.address, &path, &[]).body == bytes);
}

#[test]
fn an_upload_may_learn_its_length_with_any_part_or_after_the_last() {
    let (_dir, node) = start();
    for length in [0, 9, 100_000, 3 << 20] {
        let bytes = content(1, length);
        let (first, rest) = bytes.split_at(length / 3);
        for when in ["first", "last", "after"] {
            let upload = begun(node.address);
            let before = look(node.address, &upload);
            assert_eq!(before.header("upload-defer-length"), "1");
            assert_eq!(before.header("upload-length"), "");
            let mut answer = match when {
                "first" => told(node.address, &upload, 0, first, length),
                _ => patched(node.address, &upload, 0, first),
            };
            if length > 0 || when != "first" {
                answer = match when {
                    "last" => told(node.address, &upload, first.len(), rest, length),
                    _ => patched(node.address, &upload, first.len(), rest),
                };
            }
            if when == "after" {
                assert_eq!(answer.header("larder-file-id"), "");
                answer = told(node.address, &upload, length, b"", length);
            }
            assert_eq!(answer.status, 204, "{length} {when}: {answer:?}");
            assert_is_whole(&node, &answer, &bytes);
            let after = look(node.address, &upload);
            assert_eq!(after.header("upload-length"), length.to_string());
            assert_eq!(after.header("upload-defer-length"), "");
        }
    }
}

#[test]
fn a_length_is_told_once_and_is_not_less_than_what_is_here() {
    let (dir, node) = start();
    let bytes = content(2, 200_000);
    let upload = begun(node.address);
    patched(node.address, &upload, 0, &bytes[..100_000]);
    let less = told(node.address, &upload, 100_000, b"", 99_999);
    assert_eq!(less.refusal(), (400, "bad_header".to_owned()));
    let answer = told(node.address, &upload, 100_000, b"", 200_000);
    assert_eq!(answer.status, 204, "{answer:?}");
    // What is told is never taken back.
    node.kill();
    let node = Node::start(&dir, &[]);
    let known = look(node.address, &upload);
    assert_eq!(known.header("upload-length"), "200000");
    for other in [199_999, 200_001] {
        let refused = told(node.address, &upload, 100_000, b"", other);
        assert_eq!(refused.refusal(), (400, "bad_header".to_owned()));
    }
    let more = patch(node.address, &upload, 100_000, &content(6, 100_001));
    assert_eq!(more.refusal(), (413, "too_large".to_owned()));
    let last = told(node.address, &upload, 100_000, &bytes[100_000..], 200_000);
    assert_is_whole(&node, &last, &bytes);
    // Of one whose length was told at the start.
    let fixed = created(node.address, 5);
    let refused = told(node.address, &fixed, 0, b"12345", 6);
    assert_eq!(refused.refusal(), (400, "bad_header".to_owned()));
    let answer = told(node.address, &fixed, 0, b"12345", 5);
    assert_is_whole(&node, &answer, b"12345");
}

#[test]
fn what_came_without_a_length_goes_on_after_a_kill() {
    let (dir, node) = start();
    let bytes = content(3, 150_000);
    let upload = begun(node.address);
    patched(node.address, &upload, 0, &bytes[..70_000]);
    node.kill();
    let node = Node::start(&dir, &[]);
    let here = look(node.address, &upload);
    assert_eq!(here.header("upload-offset"), "70000");
    assert_eq!(here.header("upload-defer-length"), "1");
    let last = told(node.address, &upload, 70_000, &bytes[70_000..], 150_000);
    assert_is_whole(&node, &last, &bytes);
}

#[test]
fn limits_hold_without_a_length() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--max-upload", "100KiB"]);
    let upload = begun(node.address);
    let longer = patch(node.address, &upload, 0, &content(4, 100 * 1024 + 1));
    assert_eq!(longer.refusal(), (413, "too_large".to_owned()));
    let upload = begun(node.address);
    let longer = told(node.address, &upload, 0, b"", 100 * 1024 + 1);
    assert_eq!(longer.refusal(), (413, "too_large".to_owned()));
    let upload = begun(node.address);
    let fits = content(4, 100 * 1024);
    let answer = told(node.address, &upload, 0, &fits, fits.len());
    assert_is_whole(&node, &answer, &fits);

    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--quota", "100KiB"]);
    let upload = begun(node.address);
    let longer = patch(node.address, &upload, 0, &content(4, 100 * 1024 + 1));
    assert_eq!(longer.refusal(), (507, "over_quota".to_owned()));
}

#[test]
fn what_is_no_length_and_no_word_on_it_is_refused() {
    let (_dir, node) = start();
    for headers in [
        &["Upload-Defer-Length: 0"][..],
        &["Upload-Defer-Length: 2"],
        &["Upload-Defer-Length: "],
        &["Upload-Defer-Length: 1", "Upload-Length: 1"],
    ] {
        let refused = send(node.address, &request("POST", TUS, headers, b""));
        assert_eq!(
            refused.refusal(),
            (400, "bad_header".to_owned()),
            "{headers:?}"
        );
    }
}

#[test]
fn tus_js_client_uploads_a_pipe() {
    let (_dir, node) = start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/deferred.mjs");
    let mut client = npm::node();
    client.arg(script).arg(node.url("/api/p2p/tus"));
    client.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn().unwrap();
    // No multiple of what it sends at once: at the end of one it waits for more for ever.
    let bytes = content(5, 950_001);
    client.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let id = String::from_utf8(output.stdout).unwrap();
    let path = format!("/api/p2p/file/{}", id.trim());
    assert!(get(node.address, &path, &[]).body == bytes);
}
