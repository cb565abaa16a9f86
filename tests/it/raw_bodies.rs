//! Uploads without a form: the bytes of a file alone, as `curl -T` sends them.

use std::io::Write;
use std::net::Shutdown;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, start, until};
use crate::common::raw_http::{Answer, connect, get, head, read_answer, send};

/// What curl prints, run in a directory with these arguments and standard input.
fn curl(dir: &Path, arguments: &[&str], input: &[u8]) -> Value {
    let mut command = Command::new("curl");
    command.args(["-s", "--noproxy", "*"]).args(arguments);
    command
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut curl = command.spawn().unwrap();
    curl.stdin.take().unwrap().write_all(input).unwrap();
    let output = curl.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Checks that a file came of an upload, with the keys that an upload by a form has.
fn assert_kept(node: &Node, answer: &Value, name: &str, bytes: &[u8]) -> Value {
    let file = &answer["file"];
    assert_eq!(file["original_name"], name, "{answer}");
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    assert!(get(node.address, &path, &[]).body == bytes, "{answer}");
    file.clone()
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().unwrap().keys().collect()
}

#[test]
fn curl_uploads_a_file_by_its_path() {
    let (dir, node) = start();
    let files = dir.path().join("files");
    std::fs::create_dir(&files).unwrap();
    // Some go through a spool file.
    for (name, length) in [("a.txt", 6), ("none", 0), ("long.bin", 3 << 20)] {
        let bytes = content(1, length);
        std::fs::write(files.join(name), &bytes).unwrap();
        let named = node.url(&format!("/api/p2p/upload/as%20{name}"));
        let answer = curl(&files, &["-T", name, &named], b"");
        assert_kept(&node, &answer, &format!("as {name}"), &bytes);
        let folder = node.url("/api/p2p/upload/");
        let answer = curl(&files, &["-T", name, &folder], b"");
        let file = assert_kept(&node, &answer, name, &bytes);
        assert_eq!(keys(&file), keys(&uploaded(node.address, "by-form", b"x")));
    }
}

#[test]
fn what_comes_through_a_pipe_needs_no_length() {
    let (dir, node) = start();
    let bytes = content(2, 300_000);
    let url = node.url("/api/p2p/upload/dir/piped.bin?description=from%20a%20pipe");
    let answer = curl(dir.path(), &["-T", "-", &url], &bytes);
    let file = assert_kept(&node, &answer, "dir/piped.bin", &bytes);
    assert_eq!(file["description"], "from a pipe");
}

#[test]
fn a_name_in_the_query_makes_a_file_of_any_body() {
    let (dir, node) = start();
    let url = node.url("/api/p2p/upload?name=n%C3%A4me%2Fx.bin&description=d");
    for (method, kind, expected) in [
        // Which curl says of whatever it sends so.
        ("POST", "application/x-www-form-urlencoded", Value::Null),
        ("POST", "image/png", "image/png".into()),
        ("PUT", "text/x-odd", "text/x-odd".into()),
    ] {
        let kind = format!("Content-Type: {kind}");
        let arguments = ["-X", method, "-H", &kind, "--data-binary", "@-", &url];
        let answer = curl(dir.path(), &arguments, b"a=b&\0\xff");
        let file = assert_kept(&node, &answer, "n\u{e4}me/x.bin", b"a=b&\0\xff");
        assert_eq!(file["description"], "d");
        if expected != Value::Null {
            assert_eq!(file["content_type"], expected);
        }
    }
}

#[test]
fn a_form_stays_a_form_whatever_the_query_says() {
    let (dir, node) = start();
    std::fs::write(dir.path().join("own.txt"), b"own").unwrap();
    let url = node.url("/api/p2p/upload?name=other&name=another");
    let answer = curl(dir.path(), &["-F", "file=@own.txt", &url], b"");
    assert_kept(&node, &answer, "own.txt", b"own");
}

fn sent(node: &Node, method: &str, target: &str, lines: &[&str], body: &[u8]) -> Answer {
    send(node.address, &[&head(method, target, lines), body].concat())
}

/// Of every body that is refused.
const LENGTH: &str = "Content-Length: 5";

#[test]
fn what_is_not_the_whole_of_a_named_file_is_refused_and_nothing_kept() {
    let (_dir, node) = start();
    let form = "Content-Type: multipart/form-data; boundary=x";
    let long = format!("/api/p2p/upload/{}", "n".repeat(4097));
    let text = format!(
        "/api/p2p/upload/a?description={}",
        "d".repeat(16 * 1024 + 1)
    );
    for (method, target, lines, status, code) in [
        ("PUT", "/api/p2p/upload/", vec![LENGTH], 400, "no_file_name"),
        ("PUT", "/api/p2p/upload", vec![LENGTH], 400, "no_file_name"),
        (
            "POST",
            "/api/p2p/upload?name=",
            vec![LENGTH],
            400,
            "no_file_name",
        ),
        (
            "POST",
            "/api/p2p/upload",
            vec![LENGTH],
            415,
            "wrong_content_type",
        ),
        (
            "PUT",
            "/api/p2p/upload/a",
            vec![LENGTH, form],
            415,
            "wrong_content_type",
        ),
        ("PUT", "/api/p2p/upload/a", vec![], 411, "no_length"),
        ("POST", "/api/p2p/upload?name=a", vec![], 411, "no_length"),
        ("PUT", &long, vec![LENGTH], 400, "file_name_too_long"),
        ("PUT", &text, vec![LENGTH], 400, "description_too_long"),
        (
            "PUT",
            "/api/p2p/upload/a",
            vec![LENGTH, "Content-Range: bytes 5-9/10"],
            400,
            "partial_put",
        ),
        (
            "PUT",
            "/api/p2p/upload/a",
            vec![LENGTH, "Content-Encoding: gzip"],
            415,
            "content_encoded",
        ),
        (
            "POST",
            "/api/p2p/upload?name=a&name=b",
            vec![LENGTH],
            400,
            "bad_query",
        ),
    ] {
        let answer = sent(&node, method, target, &lines, b"12345");
        assert_eq!(
            answer.refusal(),
            (status, code.to_owned()),
            "{method} {target}"
        );
    }
    let status = get(node.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["local_files"], 0);
}

#[test]
fn a_body_cut_off_is_no_file() {
    let (_dir, node) = start();
    for (length, body) in [
        ("Content-Length: 9", &b"12345"[..]),
        ("Transfer-Encoding: chunked", b"5\r\n12345\r\n"),
    ] {
        let mut stream = connect(node.address);
        let request = [&head("PUT", "/api/p2p/upload/cut", &[length]), body].concat();
        stream.write_all(&request).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Only a server that is wrong answers 200.
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{length}");
    }
    let list = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(list["total_files"], 0, "{list}");
}

#[test]
fn what_does_not_fit_is_refused_before_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--max-upload", "1MiB", "--quota", "2MiB"]);
    let lines = ["Content-Length: 1048577", "Expect: 100-continue"];
    let mut stream = connect(node.address);
    stream
        .write_all(&head("PUT", "/api/p2p/upload/a", &lines))
        .unwrap();
    let refused = read_answer(&mut stream, false);
    assert_eq!(refused.refusal(), (413, "too_large".to_owned()));
    let lines = ["Transfer-Encoding: chunked"];
    let chunk = [
        &b"100001\r\n"[..],
        &content(3, (1 << 20) + 1),
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let refused = sent(&node, "PUT", "/api/p2p/upload/a", &lines, &chunk);
    assert_eq!(refused.refusal(), (413, "too_large".to_owned()));
    let fits = [
        &head("PUT", "/api/p2p/upload/a", &["Content-Length: 1048576"])[..],
        &content(3, 1 << 20),
    ];
    assert_eq!(send(node.address, &fits.concat()).status, 200);
}

#[test]
fn a_token_is_needed_as_for_a_form() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--token", "0123456789abcdef"]);
    for (method, target) in [
        ("PUT", "/api/p2p/upload/a"),
        ("POST", "/api/p2p/upload/a"),
        ("PUT", "/api/p2p/upload/?name=a"),
        ("POST", "/api/p2p/upload?name=a"),
    ] {
        let refused = sent(&node, method, target, &["Content-Length: 1"], b"x");
        assert_eq!(refused.refusal(), (401, "no_token".to_owned()), "{target}");
        let lines = [
            "Content-Length: 1",
            "Authorization: Bearer 0123456789abcdef",
        ];
        assert_eq!(
            sent(&node, method, target, &lines, b"x").status,
            200,
            "{target}"
        );
    }
}

#[test]
fn what_was_sent_whole_is_done_however_soon_its_sender_goes() {
    let (_dir, node) = start();
    // As ffmpeg uploads: in chunks, and gone after the last of them. A long body goes through a
    // spool file, and the sender is gone long before that is synced.
    for (name, length) in [("short", 5000), ("long", 5 << 20)] {
        for end in [Shutdown::Both, Shutdown::Write] {
            let bytes = content(4, length);
            let path = format!("/api/p2p/upload/{name}-{end:?}");
            let mut request = head("PUT", &path, &["Transfer-Encoding: chunked"]);
            write!(request, "{length:x}\r\n").unwrap();
            request.extend([&bytes[..], b"\r\n0\r\n\r\n"].concat());
            let mut stream = connect(node.address);
            stream.write_all(&request).unwrap();
            stream.shutdown(end).unwrap();
            if end == Shutdown::Write {
                assert_eq!(read_answer(&mut stream, false).status, 200, "{path}");
            }
            let name = path.rsplit('/').next().unwrap();
            let of_name = format!("/api/p2p/files?name={name}");
            until("the file is there", || {
                let found = get(node.address, &of_name, &[]).json();
                (found["files"][0]["original_name"] == name).then_some(())
            });
        }
    }
}

#[test]
fn who_has_asked_and_sends_no_more_is_answered() {
    let (_dir, node) = start();
    let bytes = content(3, 8 << 20);
    let file = uploaded(node.address, "a", &bytes);
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    let mut stream = connect(node.address);
    stream.write_all(&head("GET", &path, &[])).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = read_answer(&mut stream, false);
    assert_eq!(answer.status, 200);
    assert!(answer.body == bytes);
}
