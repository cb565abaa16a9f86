//! What commands say where somebody has meant something else, or has to wait: each line names what
//! it is about, and what helps does help.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::common::canned::{Canned, Reply};
use crate::common::commands::{command, done, failed, json, run};
use crate::common::forms::uploaded;
use crate::common::peers::{neighbours, until_sees};
use crate::common::process::{Node, larder, start};
use crate::common::raw_http::{Answer, get, head, send};

/// What a command that fails says, which has one status.
fn refused(command: &mut Command, status: i32) -> String {
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{told}");
    told
}

#[test]
fn each_file_that_a_text_means_is_told_with_its_holders_by_whatever_it_is_called() {
    let (dir, node) = start();
    let (url, here) = (node.url(""), dir.path());
    let first = uploaded(node.address, "twice.txt", b"the same");
    let second = uploaded(node.address, "twice.txt", b"the same");
    let (first, second) = (first["file_id"].clone(), second["file_id"].clone());
    let hash = uploaded(node.address, "other.txt", b"another")["hash"].clone();
    let listed = json(here, &url, &["ls", "twice.txt"]);
    let same = listed[0]["hash"].as_str().unwrap().to_owned();
    let both = [&first, &second];
    for wanted in ["twice.txt", "twice*", &same, &same[..12], "*.txt"] {
        let told = json(here, &url, &["info", wanted]);
        let told: Vec<_> = told.iter().filter(|it| it["hash"] != hash).collect();
        let ids: Vec<_> = told.iter().map(|it| &it["file_id"]).collect();
        assert_eq!(ids, both, "{wanted}");
        for file in told {
            let peers = file["peers"].as_array().map(Vec::len);
            assert_eq!(peers, Some(1), "{wanted}: {file}");
        }
    }
    for id in both {
        let id = id.as_str().unwrap();
        let told = json(here, &url, &["info", id]);
        assert_eq!((told.len(), &told[0]["file_id"]), (1, &Value::from(id)));
        assert_eq!(told[0]["peers"].as_array().unwrap().len(), 1, "{told:?}");
    }
}

#[test]
fn what_only_another_node_removes_is_told_with_where_that_is() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, other) = neighbours(&dirs);
    uploaded(other.address, "theirs", b"bytes");
    until_sees(one.address, &["theirs"]);
    let here = dirs[0].path();
    for wanted in ["theirs", "their*"] {
        let (status, told) = failed(here, &one.url(""), &["rm", wanted]);
        let url = other.url("");
        let helps = format!("`larder rm --node {url} …`");
        assert!(status == 3 && told.contains(&helps), "{told}");
        assert!(told.contains(wanted), "{told}");
    }
    done(here, &other.url(""), &["rm", "theirs"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_told_as_one() {
    let (dir, node) = start();
    for verb in ["get", "rm", "info", "keep", "ls"] {
        let (status, told) = failed(dir.path(), &node.url(""), &[verb, "nothing*"]);
        assert_eq!(status, 3, "{told}");
        assert!(told.contains("matches nothing*"), "{verb}: {told}");
        assert!(!told.contains("the id, hash or name"), "{verb}: {told}");
    }
}

#[test]
fn an_empty_text_is_told_as_that() {
    let (dir, node) = start();
    for verb in ["put", "get", "rm", "info", "keep"] {
        let (status, told) = failed(dir.path(), &node.url(""), &[verb, ""]);
        assert_eq!(status, 2, "{verb}: {told}");
        assert!(told.contains("an empty text"), "{verb}: {told}");
    }
    let told = refused(&mut command(dir.path(), "", &["ls"]), 2);
    assert!(told.contains("LARDER_NODE"), "{told}");
    assert!(told.contains("it is empty; leave it away"), "{told}");
}

#[test]
fn a_folder_that_is_in_the_way_is_not_said_to_be_replaced() {
    let (dir, node) = start();
    uploaded(node.address, "f", b"bytes");
    fs::create_dir(dir.path().join("f")).unwrap();
    for more in [&[][..], &["--force"]] {
        let arguments = [&["get", "f"], more].concat();
        let (status, told) = failed(dir.path(), &node.url(""), &arguments);
        let expected = "larder: f is a folder, which is not replaced; -o names another file\n";
        assert_eq!((status, &*told), (1, expected));
    }
}

#[test]
fn what_answers_at_another_path_is_told_with_its_address() {
    let (dir, node) = start();
    let url = node.url("/elsewhere");
    let (status, told) = failed(dir.path(), &url, &["status"]);
    assert!(status == 1 && told.contains(&url), "{told}");
    let other = Canned::start(|_, _| Reply::Head("404 Not Found".to_owned()));
    let (status, told) = failed(dir.path(), &other.url(), &["status"]);
    let what = format!("what answers at {} is something else", other.url());
    assert!(status == 1 && told.contains(&what), "{told}");
}

#[test]
fn standard_input_is_called_that() {
    let (dir, node) = start();
    // What is refused by its path has one here that nobody has typed.
    let mut put = command(dir.path(), &node.url(""), &["put", "-", "--name", "x"]);
    let key = fs::File::open(dir.path().join("peer_storage/node.key")).unwrap();
    let told = refused(put.stdin(Stdio::from(key)), 2);
    assert!(told.starts_with("larder: standard input is the"), "{told}");
    assert!(!told.contains("/dev/stdin"), "{told}");
}

#[test]
fn commands_and_variables_of_other_programs_are_told_by_their_names_here() {
    let here = tempfile::tempdir().unwrap();
    for (typed, meant) in [
        ("start", "serve"),
        ("delete", "rm"),
        ("remove", "rm"),
        ("upload", "put"),
        ("download", "get"),
        ("list", "ls"),
    ] {
        let told = refused(larder(here.path()).arg(typed), 2);
        let meant = format!("did you mean {meant}?");
        assert!(told.contains(&meant), "{typed}: {told}");
    }
    let told = refused(larder(here.path()).env("LARDER_HOME", "/x"), 2);
    assert!(told.contains("did you mean STORAGE_DIR?"), "{told}");
}

#[test]
fn status_tells_the_quota_and_how_much_more_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let node = crate::common::process::Node::start(&dir, &["--quota", "1MiB"]);
    uploaded(node.address, "f", &vec![7; 256 << 10]);
    let told = json(dir.path(), &node.url(""), &["status"]).remove(0);
    assert_eq!(told["quota_bytes"], 1 << 20, "{told}");
    assert_eq!(told["room_bytes"], 768 << 10, "{told}");
    let told = done(dir.path(), &node.url(""), &["status"]);
    let line = told.lines().find(|it| it.starts_with("room"));
    let line = line.map(|it| it.trim_start_matches("room").trim());
    assert_eq!(
        line,
        Some("for 768.00 KiB more, of a quota of 1.00 MiB"),
        "{told}"
    );
    // Nothing else of this name is said of a node without one.
    let (_dir, plain) = start();
    let told = get(plain.address, "/api/p2p/status", &[]).json();
    assert!(told.get("quota_bytes").is_none(), "{told}");
}

#[test]
fn whoever_waits_for_a_holder_hears_it_before_anything_comes() {
    let (dir, node) = start();
    let file = uploaded(node.address, "late", b"bytes");
    let hash = file["hash"].as_str().unwrap().to_owned();
    let (listener, real) = (TcpListener::bind("127.0.0.1:0").unwrap(), node.address);
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut get = command(dir.path(), &url, &["get", &hash, "-o", "got"]);
    let mut get = get.stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(get.stderr.take().unwrap());
    // The bytes are asked for by a GET, which is answered only when that was told.
    let (said, is_said) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut asked = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && asked.read(&mut byte).unwrap() > 0 {
                head.push(byte[0]);
            }
            let line = String::from_utf8_lossy(&head).into_owned();
            if line.starts_with(&format!("GET /api/p2p/blob/{hash} ")) {
                is_said.recv().unwrap();
            }
            let mut answer = std::net::TcpStream::connect(real).unwrap();
            let head = line.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            answer.write_all(head.as_bytes()).unwrap();
            std::io::copy(&mut answer, &mut asked).unwrap();
        }
    });
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("the node looks for a holder"), "{line}");
    said.send(()).unwrap();
    assert!(get.wait().unwrap().success());
    assert_eq!(fs::read(dir.path().join("got")).unwrap(), b"bytes");
}

#[test]
fn an_address_of_ipv6_needs_no_brackets() {
    let here = tempfile::tempdir().unwrap();
    // Nobody listens there, or a node does that has nothing to do with this.
    let output = run(here.path(), "::1", &["ls", "nothing-is-called-so"]);
    assert_ne!(output.status.code(), Some(2), "{output:?}");
}

/// What is told of a refusal that has this status and code.
fn message(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!(answer.refusal(), (status, code.to_owned()));
    answer.json()["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_name_where_an_id_has_to_stand_is_not_said_to_be_nobodys() {
    let (_dir, node) = start();
    let stored = uploaded(node.address, "a.txt", b"bytes");
    let told = "what stands for the file's id is none, and names mean nothing here";
    for (method, target) in [
        ("GET", "/api/p2p/file/a.txt"),
        ("GET", "/api/p2p/file/%ff"),
        ("DELETE", "/api/p2p/file/a.txt"),
        ("GET", "/api/p2p/zip?id=a.txt"),
    ] {
        let answer = send(node.address, &head(method, target, &[]));
        let message = message(&answer, 404, "unknown_file");
        assert!(message.starts_with(told), "{method} {target}: {message}");
    }
    // As the message says.
    let found = get(node.address, "/api/p2p/files?name=a.txt", &[]).json();
    assert_eq!(found["files"][0]["file_id"], stored["file_id"]);
    let nobodys = "/api/p2p/file/01a20a38-0f7c-73c1-bc64-a604cfa63b47";
    let answer = get(node.address, nobodys, &[]);
    assert_eq!(message(&answer, 404, "unknown_file"), "no file has this id");
    let answer = get(node.address, "/api/p2p/zip/a.txt", &[]);
    let answer = message(&answer, 404, "unknown_file");
    assert_eq!(answer, "no file is in this folder");
}

#[test]
fn what_is_too_long_is_told_exactly_and_as_people_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--max-upload", "5000001"]);
    let lines = ["Content-Length: 5000002", "Expect: 100-continue"];
    let long = send(node.address, &head("PUT", "/api/p2p/upload/a", &lines));
    assert_eq!(
        message(&long, 413, "too_large"),
        "a file that the node takes has at most 5000001 bytes (4.77 MiB), as --max-upload says"
    );
    let body = vec![b' '; 100_000];
    let length = format!("Content-Length: {}", body.len());
    let lines = ["Content-Type: application/json", &length];
    let request = [head("POST", "/api/p2p/keep", &lines), body].concat();
    let long = message(&send(node.address, &request), 413, "too_large");
    let bytes = long.strip_prefix("the body is longer than ").unwrap();
    let (exact, people) = bytes.split_once(" bytes ").unwrap();
    let kibibytes = exact.parse::<u64>().unwrap() / 1024;
    assert_eq!(people, format!("({kibibytes}.00 KiB)"), "{long}");
}
