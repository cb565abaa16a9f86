//! Resumable uploads as the protocol tus 1.0.0 has them, request by request.

use std::io::Write;

use larder::hash::BlobHash;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::peers::{until_knows, until_sees};
use crate::common::process::Node;
use crate::common::raw_http::{connect, get, head, read_answer, send, until_read};
use crate::common::tus::{
    PART, TUS, create, created, look, offset, patch, patch_request, patched, path_from, path_of,
    request,
};

/// Longer than what is kept in memory or in packs.
const LONG: usize = 3 << 20;

fn node() -> (Node, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Node::start(&dir, &["--log", "debug"]), dir)
}

/// What the node tells of the file that an answer names.
fn file_of(node: &Node, answer: &crate::common::raw_http::Answer) -> Value {
    let id = answer.header("larder-file-id").to_owned();
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap();
    let file = files.iter().find(|file| file["file_id"] == *id);
    file.unwrap_or_else(|| panic!("{id} in {files:?}")).clone()
}

fn assert_is_whole(node: &Node, answer: &crate::common::raw_http::Answer, content: &[u8]) {
    let hash = BlobHash::of(content).to_string();
    assert_eq!(answer.header("larder-file-hash"), hash);
    let file = file_of(node, answer);
    assert_eq!(file["hash"], *hash);
    let path = format!("/api/p2p/file/{}", answer.header("larder-file-id"));
    let download = get(node.address, &path, &[]);
    assert!(download.status == 200 && download.body == content);
}

fn file_count(node: &Node) -> usize {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    files["files"].as_array().unwrap().len()
}

#[test]
fn an_upload_in_parts_becomes_a_file() {
    let (node, _dir) = node();
    for len in [5, 64 << 10, (64 << 10) + 1, LONG] {
        let content = content(7, len);
        // "naïve.txt", "text/plain" and "a b".
        let metadata = "filename bmHDr3ZlLnR4dA==,filetype dGV4dC9wbGFpbg==,description YSBi,x";
        let line = format!("Upload-Metadata: {metadata}");
        let answer = create(node.address, len, &[&line]);
        assert_eq!((answer.status, answer.header("upload-offset")), (201, "0"));
        assert_eq!(answer.header("tus-resumable"), "1.0.0");
        assert!(answer.header("upload-expires").ends_with(" GMT"));
        let upload = &path_of(&answer);
        // What a gateway took away before it asked is put before it again.
        let behind_gateway = path_from("/files/api/p2p/tus", &answer);
        assert_eq!(behind_gateway, format!("/files{upload}"));

        let (first, rest) = content.split_at(len / 2);
        patched(node.address, upload, 0, first);
        let halfway = look(node.address, upload);
        assert_eq!(halfway.status, 200);
        assert_eq!(halfway.header("upload-offset"), first.len().to_string());
        assert_eq!(halfway.header("upload-length"), len.to_string());
        assert_eq!(halfway.header("upload-metadata"), metadata);
        assert_eq!(halfway.header("cache-control"), "no-store");
        assert_eq!(halfway.header("larder-file-id"), "");

        let last = patched(node.address, upload, first.len(), rest);
        assert_is_whole(&node, &last, &content);
        let file = file_of(&node, &last);
        assert_eq!(file["original_name"], "na\u{ef}ve.txt");
        assert_eq!(file["content_type"], "text/plain");
        assert_eq!(file["description"], "a b");
        // Whose last answer was lost asks again.
        let again = look(node.address, upload);
        assert_eq!(again.header("upload-offset"), len.to_string());
        assert_eq!(
            again.header("larder-file-id"),
            last.header("larder-file-id")
        );
        assert_eq!(
            again.header("larder-file-hash"),
            last.header("larder-file-hash")
        );
        patched(node.address, upload, len, b"");
    }
    assert_eq!(file_count(&node), 4);
}

#[test]
fn a_file_that_came_in_parts_is_announced_as_any_other() {
    let (node, _dir) = node();
    let other_dir = tempfile::tempdir().unwrap();
    let other = Node::start(
        &other_dir,
        &["--discover-every", "1", "--peer", &node.url("")],
    );
    until_knows(node.address, 1);
    let content = content(9, LONG);
    // "parts.bin".
    let name = "Upload-Metadata: filename cGFydHMuYmlu";
    let answer = create(node.address, LONG, &[name]);
    let upload = &path_of(&answer);
    patched(node.address, upload, 0, &content[..LONG / 2]);
    let last = patched(node.address, upload, LONG / 2, &content[LONG / 2..]);
    until_sees(other.address, &["parts.bin"]);
    let hash = last.header("larder-file-hash");
    let through_other = get(other.address, &format!("/api/p2p/blob/{hash}"), &[]);
    assert!(through_other.status == 200 && through_other.body == content);
}

#[test]
fn an_upload_may_begin_with_its_creation_or_be_empty() {
    let (node, _dir) = node();
    let content = content(8, LONG);
    for first in [LONG / 3, LONG] {
        let length = format!("Upload-Length: {LONG}");
        let body = &content[..first];
        let begin = request("POST", &format!("{TUS}/"), &[&length, PART], body);
        let mut answer = send(node.address, &begin);
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("upload-offset"), first.to_string());
        if first < LONG {
            let upload = path_from(&format!("{TUS}/"), &answer);
            answer = patched(node.address, &upload, first, &content[first..]);
        }
        assert_is_whole(&node, &answer, &content);
    }
    let empty = create(node.address, 0, &[]);
    assert_eq!((empty.status, empty.header("upload-offset")), (201, "0"));
    assert_is_whole(&node, &empty, b"");
    // Without a name it is called as the upload.
    let upload = path_of(&empty);
    let name = file_of(&node, &empty)["original_name"].clone();
    assert_eq!(format!("{TUS}/{}", name.as_str().unwrap()), upload);
}

#[test]
fn the_node_tells_what_it_can_do() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--max-upload", "1000"]);
    let upload = created(node.address, 1000);
    for target in [TUS, &upload] {
        let answer = send(node.address, &head("OPTIONS", target, &[]));
        assert_eq!(answer.status, 204);
        for (name, value) in [
            ("tus-resumable", "1.0.0"),
            ("tus-version", "1.0.0"),
            (
                "tus-extension",
                concat!(
                    "creation,creation-with-upload,creation-defer-length,",
                    "expiration,termination,checksum,concatenation"
                ),
            ),
            ("tus-checksum-algorithm", "sha1,sha256,blake3"),
            ("tus-max-size", "1000"),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
    }
    let refused = create(node.address, 1001, &[]).refusal();
    assert_eq!(refused, (413, "too_large".to_owned()));
}

/// Sends a request that is refused like this.
fn assert_refused(node: &Node, wrong: &[u8], status: u16, code: &str) {
    let answer = send(node.address, wrong);
    let shown = String::from_utf8_lossy(wrong);
    assert_eq!(answer.refusal(), (status, code.to_owned()), "{shown}");
    assert_eq!(answer.header("tus-resumable"), "1.0.0", "{shown}");
    let versions = if status == 412 { "1.0.0" } else { "" };
    assert_eq!(answer.header("tus-version"), versions, "{shown}");
}

#[test]
fn an_upload_that_cannot_be_is_not_created() {
    let (node, dir) = node();
    for (headers, body, status, code) in [
        (&[][..], "", 400, "bad_header"),
        (&["Upload-Length: -1"], "", 400, "bad_header"),
        (&["Upload-Length: 1.5"], "", 400, "bad_header"),
        (
            &["Upload-Concat: part", "Upload-Length: 1"],
            "",
            400,
            "bad_header",
        ),
        (
            &["Upload-Length: 1", "Upload-Metadata: a *"],
            "",
            400,
            "bad_metadata",
        ),
        (&["Upload-Length: 1"], "x", 415, "wrong_content_type"),
        (&["Upload-Length: 1", PART], "xy", 413, "too_large"),
        (
            &["Upload-Length: 1", PART, "Upload-Checksum: a b"],
            "x",
            400,
            "unknown_checksum",
        ),
    ] {
        let wrong = request("POST", TUS, headers, body.as_bytes());
        assert_refused(&node, &wrong, status, code);
    }
    let old = head("POST", TUS, &["Upload-Length: 1", "Tus-Resumable: 0.2.2"]);
    assert_refused(&node, &old, 412, "tus_version");
    assert_refused(
        &node,
        &request("PUT", TUS, &[], b""),
        405,
        "method_not_allowed",
    );
    assert_eq!(files_in(&dir), [] as [String; 0]);
}

#[test]
fn a_part_that_does_not_fit_changes_nothing() {
    let (node, _dir) = node();
    let upload = &created(node.address, 100);
    patched(node.address, upload, 0, &[0; 40]);
    for (target, headers, len, status, code) in [
        (
            "00000000000040008000000000000000",
            &[PART, "Upload-Offset: 0"][..],
            1,
            404,
            "unknown_upload",
        ),
        (
            "..%2flarder.lock",
            &[PART, "Upload-Offset: 0"],
            1,
            404,
            "unknown_upload",
        ),
        ("", &[PART, "Upload-Offset: 39"], 1, 409, "wrong_offset"),
        ("", &[PART, "Upload-Offset: 41"], 1, 409, "wrong_offset"),
        ("", &[PART, "Upload-Offset: 40"], 61, 413, "too_large"),
        ("", &["Upload-Offset: 40"], 1, 415, "wrong_content_type"),
        ("", &[PART], 1, 400, "bad_header"),
        ("", &[PART, "Upload-Offset: x"], 1, 400, "bad_header"),
    ] {
        let other = format!("{TUS}/{target}");
        let target = if target.is_empty() { upload } else { &other };
        let wrong = request("PATCH", target, headers, &vec![1; len]);
        assert_refused(&node, &wrong, status, code);
    }
    assert_refused(&node, &head("DELETE", upload, &[]), 412, "tus_version");
    assert_refused(
        &node,
        &request("GET", upload, &[], b""),
        405,
        "method_not_allowed",
    );
    assert_eq!(offset(node.address, upload), 40);
    let last = patched(node.address, upload, 40, &[0; 60]);
    assert_is_whole(&node, &last, &[0; 100]);
}

#[test]
fn a_body_that_is_longer_than_it_says_ends_where_the_upload_does() {
    let (node, _dir) = node();
    let upload = created(node.address, 10);
    let headers = [
        PART,
        "Upload-Offset: 0",
        "Tus-Resumable: 1.0.0",
        "Transfer-Encoding: chunked",
    ];
    let body = b"4\r\nabcd\r\n8\r\nefghijkl\r\n0\r\n\r\n";
    let answer = send(
        node.address,
        &[&head("PATCH", &upload, &headers)[..], body].concat(),
    );
    assert_eq!(answer.refusal(), (413, "too_large".to_owned()));
    let here = offset(node.address, &upload);
    assert!(here <= 4, "{here}");
    let last = patched(node.address, &upload, here, &b"abcdefghij"[here..]);
    assert_is_whole(&node, &last, b"abcdefghij");
}

#[test]
fn a_removed_upload_is_gone_with_its_bytes() {
    let (node, dir) = node();
    let upload = created(node.address, LONG);
    patched(node.address, &upload, 0, &content(1, LONG - 1));
    for (method, headers) in [
        ("DELETE", &[][..]),
        ("POST", &["X-HTTP-Method-Override: DELETE"][..]),
    ] {
        let upload = created(node.address, LONG);
        patched(node.address, &upload, 0, &content(1, LONG - 1));
        let removed = send(node.address, &request(method, &upload, headers, b""));
        assert_eq!(
            (removed.status, removed.header("tus-resumable")),
            (204, "1.0.0")
        );
        assert_eq!(look(node.address, &upload).status, 404);
        assert_eq!(patch(node.address, &upload, LONG - 1, b"x").status, 404);
    }
    let left = files_in(&dir);
    assert_eq!(left.len(), 2, "only those of the first upload: {left:?}");
    // A file that came of an upload is no part of it.
    let last = patched(node.address, &upload, LONG - 1, b"x");
    let removed = send(node.address, &request("DELETE", &upload, &[], b""));
    assert_eq!(removed.status, 204);
    assert_eq!(look(node.address, &upload).status, 404);
    file_of(&node, &last);
    assert_eq!(files_in(&dir), [] as [String; 0]);
}

/// The names of what is kept of uploads.
fn files_in(dir: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path().join("peer_storage/uploading")).unwrap();
    entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn another_method_is_meant_only_where_the_right_to_write_was_asked_for() {
    const TOKEN: &str = "0123456789abcdef";
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--token", TOKEN]);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(
        create(node.address, 5, &[]).refusal(),
        (401, "no_token".to_owned())
    );
    let answer = create(node.address, 5, &[&bearer]);
    let upload = &path_of(&answer);
    for method in ["PATCH", "DELETE"] {
        let refused = send(node.address, &request(method, upload, &[], b""));
        assert_eq!(refused.refusal(), (401, "no_token".to_owned()));
    }
    let meant = "X-HTTP-Method-Override: DELETE";
    let refused = send(node.address, &request("GET", upload, &[meant], b""));
    assert_eq!(refused.status, 405);
    // The id is secret enough to ask how far it is.
    assert_eq!(offset(node.address, upload), 0);
    let meant = "X-HTTP-Method-Override: PATCH";
    let headers = [PART, "Upload-Offset: 0", meant, &bearer];
    let answer = send(node.address, &request("POST", upload, &headers, b"hello"));
    assert_eq!((answer.status, answer.header("upload-offset")), (204, "5"));
}

#[test]
fn a_checksum_that_does_not_hold_takes_nothing() {
    let (node, _dir) = node();
    let upload = &created(node.address, 22);
    let right = "Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";
    let wrong = "Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu1=";
    let other = "Upload-Checksum: md5 XrY7u+Ae7tCTyyK7j1rNww==";
    let send_part = |offset, checksum| {
        let part = patch_request(upload, offset, b"hello world", &[checksum]);
        send(node.address, &part)
    };
    let different = patch_request(upload, 0, b"hello worle", &[right]);
    let refused = send(node.address, &different).refusal();
    assert_eq!(refused, (460, "checksum_mismatch".to_owned()));
    assert_eq!(send_part(0, wrong).refusal().0, 400, "not even Base64");
    assert_eq!(
        send_part(0, other).refusal(),
        (400, "unknown_checksum".to_owned())
    );
    assert_eq!(offset(node.address, upload), 0);
    assert_eq!(send_part(0, right).status, 204);
    let different = patch_request(upload, 11, b"hello worle", &[right]);
    assert_eq!(send(node.address, &different).refusal().0, 460);
    assert_eq!(offset(node.address, upload), 11);
    // The last part decides whether there is a file.
    let last = send_part(11, right);
    assert_is_whole(&node, &last, b"hello worldhello world");
}

#[test]
fn what_came_before_the_connection_was_cut_counts_unless_it_was_to_be_checked() {
    let (node, _dir) = node();
    let content = content(3, LONG);
    for (checked, counts) in [(false, LONG / 2), (true, 0)] {
        let upload = created(node.address, LONG);
        let checksum = "Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";
        let checksum: &[&str] = if checked { &[checksum] } else { &[] };
        let whole = patch_request(&upload, 0, &content, checksum);
        let head = whole.len() - LONG;
        let mut stream = connect(node.address);
        stream.write_all(&whole[..head + LONG / 2]).unwrap();
        until_read(&stream);
        drop(stream);
        assert_eq!(offset(node.address, &upload), counts);
        let last = patched(node.address, &upload, counts, &content[counts..]);
        assert_is_whole(&node, &last, &content);
    }
}

#[test]
fn an_upload_whose_file_was_removed_is_gone() {
    let (node, _dir) = node();
    let content = content(5, LONG);
    // Another file has the same content and the same name.
    let twin = created(node.address, LONG);
    patched(node.address, &twin, 0, &content);
    for (length, content) in [(LONG, &content[..]), (0, &[])] {
        let upload = created(node.address, length);
        if length > 0 {
            patched(node.address, &upload, 0, content);
        }
        let file = look(node.address, &upload)
            .header("larder-file-id")
            .to_owned();
        let path = format!("/api/p2p/file/{file}");
        assert_eq!(send(node.address, &head("DELETE", &path, &[])).status, 200);
        assert_eq!(look(node.address, &upload).status, 410);
        let again = patch(node.address, &upload, length, b"");
        assert_eq!(again.refusal(), (410, "file_removed".to_owned()));
        let removed = send(node.address, &request("DELETE", &upload, &[], b""));
        assert_eq!(removed.status, 204);
        assert_eq!(look(node.address, &upload).status, 404);
    }
    assert_eq!(look(node.address, &twin).status, 200);
}

#[test]
fn whoever_comes_back_takes_over_from_a_connection_that_hangs() {
    let (node, _dir) = node();
    let content = content(4, LONG);
    let upload = created(node.address, LONG);
    let whole = patch_request(&upload, 0, &content, &[]);
    let mut hanging = connect(node.address);
    hanging.write_all(&whole[..whole.len() - LONG / 2]).unwrap();
    until_read(&hanging);
    assert_eq!(offset(node.address, &upload), LONG / 2);
    let answer = read_answer(&mut hanging, false);
    assert_eq!(answer.refusal(), (409, "upload_taken_over".to_owned()));

    // A part takes over as well, and one who waits for its turn makes way, too.
    let part = |len: usize| {
        let offset = LONG / 2;
        let whole = patch_request(&upload, offset, &content[offset..], &[]);
        let mut stream = connect(node.address);
        let end = whole.len() - (LONG - offset) + len;
        stream.write_all(&whole[..end]).unwrap();
        until_read(&stream);
        stream
    };
    let mut second = part(0);
    let mut third = part(LONG / 4);
    let answer = read_answer(&mut second, false);
    assert_eq!(answer.refusal(), (409, "upload_taken_over".to_owned()));
    third.write_all(&content[LONG / 2 + LONG / 4..]).unwrap();
    let last = read_answer(&mut third, false);
    assert_eq!(last.status, 204, "{last:?}");
    assert_is_whole(&node, &last, &content);
}

#[test]
fn pages_of_allowed_origins_may_use_it() {
    let (node, _dir) = node();
    let origin = "Origin: http://localhost:3000";
    let preflight = head(
        "OPTIONS",
        TUS,
        &[
            origin,
            "Access-Control-Request-Method: PATCH",
            "Access-Control-Request-Headers: tus-resumable,upload-offset",
        ],
    );
    let answer = send(node.address, &preflight);
    let allowed = answer.header("access-control-allow-methods");
    assert!(allowed.contains("PATCH"), "{allowed}");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "tus-resumable,upload-offset"
    );
    let answer = create(node.address, 1, &[origin]);
    let exposed = answer.header("access-control-expose-headers");
    for name in [
        "location",
        "upload-offset",
        "upload-length",
        "larder-file-id",
    ] {
        assert!(exposed.split(',').any(|it| it == name), "{name}: {exposed}");
    }
}
