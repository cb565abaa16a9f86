//! The commands in front of a node that is none: nothing that it sends is taken for a file, leads
//! elsewhere, or commands the terminal.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use larder::hash::BlobHash;
use serde_json::json;

use crate::common::canned::{Canned, Reply};
use crate::common::commands::{failed, names, run};

const MIB: usize = 1 << 20;

/// Where `larder get -o o` has its partial file.
fn partial(dir: &Path, bytes: &[u8]) -> PathBuf {
    let hash = BlobHash::of(bytes).to_string();
    dir.join(format!(".o.{}.part", &hash[..12]))
}

/// What a node sends when it is asked for the content.
fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

const RIGHT: &[u8] = b"the right bytes";

/// A node that tells of a file `a` with the bytes of `RIGHT`, and sends this instead.
fn liar(sends: Vec<u8>) -> Canned {
    let hash = BlobHash::of(RIGHT).to_string();
    let file = json!({ "file_id": "01a20831-60df-7192-a718-76572f743d37", "size": RIGHT.len(),
        "original_name": "a", "hash": hash, "uploaded_at": "2026-01-21T10:00:00", "peers": [] });
    let list = json!({ "files": [file], "next": null }).to_string();
    Canned::start(move |_, asked| {
        if asked.contains("/api/p2p/network") {
            Reply::Json(list.clone())
        } else {
            Reply::Whole(sends.clone())
        }
    })
}

#[test]
fn whatever_else_a_node_sends_is_refused() {
    let wrong = [&RIGHT[..7], b"!", &RIGHT[8..]].concat();
    let endless = vec![b'x'; 4 * MIB];
    for sends in [
        answer("200 OK", "Content-Length: 15\r\n", &wrong),
        answer("200 OK", "Content-Length: 7\r\n", &RIGHT[..7]),
        answer("200 OK", "Content-Length: 16\r\n", &[RIGHT, b"!"].concat()),
        answer("200 OK", "", &[RIGHT, &endless].concat()),
        answer("200 OK", "", &RIGHT[..7]),
        answer("200 OK", "Content-Length: 0\r\n", b""),
        answer("204 No Content", "", b""),
        answer(
            "206 Partial Content",
            "Content-Length: 8\r\nContent-Range: bytes 7-14/15\r\n",
            &RIGHT[7..],
        ),
        answer("206 Partial Content", "Content-Length: 15\r\n", RIGHT),
    ] {
        let liar = liar(sends.clone());
        let here = tempfile::tempdir().unwrap();
        let head = String::from_utf8_lossy(&sends[..60.min(sends.len())]).into_owned();
        let (status, told) = failed(here.path(), &liar.url(), &["get", "a", "-o", "o"]);
        assert_eq!(status, 7, "{head}: {told}");
        assert_eq!(names(here.path()), Vec::<String>::new(), "{head}");
        let output = run(here.path(), &liar.url(), &["get", "a", "-o", "-"]);
        assert_eq!(output.status.code(), Some(7), "{head}: {output:?}");
        assert!(output.stdout.len() <= RIGHT.len(), "{head}");
    }
}

#[test]
fn a_part_that_is_not_the_one_that_was_asked_for_is_refused() {
    for (sends, status) in [
        // All of it, as nodes may answer.
        (answer("200 OK", "Content-Length: 15\r\n", RIGHT), 0),
        (
            answer("200 OK", "Content-Length: 15\r\nETag: \"other\"\r\n", RIGHT),
            0,
        ),
        (
            answer(
                "206 Partial Content",
                "Content-Length: 8\r\nContent-Range: bytes 7-14/15\r\n",
                &RIGHT[7..],
            ),
            0,
        ),
        (
            answer(
                "206 Partial Content",
                "Content-Length: 9\r\nContent-Range: bytes 6-14/15\r\n",
                &RIGHT[6..],
            ),
            7,
        ),
        (
            answer("206 Partial Content", "Content-Length: 8\r\n", &RIGHT[7..]),
            7,
        ),
        (
            answer(
                "206 Partial Content",
                "Content-Length: 8\r\nContent-Range: bytes 7-14/15\r\n",
                b"12345678",
            ),
            7,
        ),
        (
            answer(
                "206 Partial Content",
                "Content-Length: 7\r\nContent-Range: bytes 7-13/15\r\n",
                &RIGHT[7..14],
            ),
            7,
        ),
        (
            answer("200 OK", "Content-Length: 15\r\n", b"wrong byteswrong"),
            7,
        ),
    ] {
        let liar = liar(sends.clone());
        let here = tempfile::tempdir().unwrap();
        let partial = partial(here.path(), RIGHT);
        fs::write(&partial, &RIGHT[..7]).unwrap();
        fs::set_permissions(&partial, Permissions::from_mode(0o600)).unwrap();
        let output = run(here.path(), &liar.url(), &["get", "a", "-o", "o"]);
        let head = String::from_utf8_lossy(&sends).into_owned();
        assert_eq!(output.status.code(), Some(status), "{head}: {output:?}");
        if status == 0 {
            assert_eq!(fs::read(here.path().join("o")).unwrap(), RIGHT, "{head}");
        } else {
            assert_eq!(names(here.path()), Vec::<String>::new(), "{head}");
        }
    }
}

#[test]
fn no_id_or_hash_of_a_node_leads_elsewhere() {
    for (key, told) in [
        ("hash", "/../../../../../../../x"),
        ("hash", "\u{1b}[2J"),
        ("hash", ""),
        ("file_id", "../../status"),
        ("peers", "../../../x"),
    ] {
        let mut file = json!({ "file_id": "01a20831-60df-7192-a718-76572f743d37", "size": 1,
            "original_name": "a", "hash": null, "uploaded_at": "", "peers": [] });
        file[key] = if key == "peers" {
            json!([told])
        } else {
            json!(told)
        };
        let list = json!({ "files": [file], "next": null }).to_string();
        let liar = Canned::start(move |_, _| Reply::Json(list.clone()));
        let here = tempfile::tempdir().unwrap();
        let below = here.path().join("below");
        fs::create_dir(&below).unwrap();
        let (status, error) = failed(&below, &liar.url(), &["get", "a"]);
        assert_eq!(status, 1, "{error}");
        assert!(error.contains("is not one of larder's"), "{error}");
        assert_eq!(liar.asked().len(), 1, "{:?}", liar.asked());
        assert_eq!(names(&below), Vec::<String>::new());
    }
}

/// What would command a terminal, or show a text in another order.
const HOSTILE: &str = "a\u{1b}[2J\r\nlarder: all is well\u{9b}1A\u{202e}gpj.exe\u{7f}";

/// A node that tells this wherever it tells a text.
fn hostile() -> Canned {
    let id = "01a20831-60df-7192-a718-76572f743d37";
    let file = |id: &str| {
        json!({ "file_id": id, "size": 1, "original_name": HOSTILE, "hash": null,
            "uploaded_at": HOSTILE, "peers": [HOSTILE] })
    };
    let files = json!({ "files": [file(id), file(HOSTILE)], "next": null });
    let peer = json!({ "peer_id": HOSTILE, "address": HOSTILE, "last_seen": HOSTILE });
    let health = json!({ "version": HOSTILE, "writable": false, "reason": HOSTILE });
    let status = json!({ "peer": peer, "peers_discovered": 1, "local_files": 1, "file_bytes": 1,
        "blob_bytes": 1, "network_files": 1 });
    let refusal = json!({ "status": "error", "code": HOSTILE, "message": HOSTILE }).to_string();
    Canned::start(move |_, asked| {
        let (method, path) = asked.split_once(' ').unwrap();
        Reply::Json(match path.split('?').next().unwrap() {
            "/health" => health.to_string(),
            "/api/p2p/status" => status.to_string(),
            "/api/peers" => json!({ "peers": [peer] }).to_string(),
            "/api/p2p/files" | "/api/p2p/network" => files.to_string(),
            _ if method == "DELETE" => "{}".to_owned(),
            _ => {
                let length = refusal.len();
                let head = format!("HTTP/1.1 400 Bad\r\nContent-Length: {length}\r\n");
                return Reply::Whole(format!("{head}Connection: close\r\n\r\n{refusal}").into());
            }
        })
    })
}

#[test]
fn nothing_that_a_node_tells_commands_the_terminal() {
    let node = hostile();
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("a"), "a").unwrap();
    for (arguments, lines) in [
        (&["ls"][..], 2),
        (&["ls", "--network"], 2),
        (&["peers"], 1),
        (&["status"], 4),
        (&["get", HOSTILE], 4),
        (&["rm", HOSTILE], 1),
        (&["keep", HOSTILE], 4),
        (&["rm", "01a20831-60df-7192-a718-76572f743d37"], 1),
        (&["put", "a"], 1),
    ] {
        let output = run(here.path(), &node.url(), arguments);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let is_unsafe = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(is_unsafe), "{arguments:?}: {text:?}");
        assert_eq!(text.lines().count(), lines, "{arguments:?}: {text:?}");
        let output = run(here.path(), &node.url(), &[arguments, &["--json"]].concat());
        let json = String::from_utf8(output.stdout).unwrap();
        assert!(!json.contains(is_unsafe), "{arguments:?}: {json:?}");
        for line in json.lines() {
            let told: serde_json::Value = serde_json::from_str(line).unwrap();
            let mut texts = told.as_object().unwrap().values();
            assert!(texts.any(|it| *it == HOSTILE), "{arguments:?}: {line}");
        }
    }
}

#[test]
fn no_answer_is_read_without_end() {
    let mut endless = answer("400 Bad", "", b"{\"code\":\"");
    endless.resize(4 * MIB, b'x');
    let node = Canned::start(move |_, _| Reply::Whole(endless.clone()));
    let here = tempfile::tempdir().unwrap();
    let (status, told) = failed(here.path(), &node.url(), &["status"]);
    assert_eq!((status, told.contains("400")), (1, true), "{told}");
    assert!(told.len() < 200, "{told}");
}

/// A node whose list has such pages, each of which leads to another: the files of a page and
/// where the next one begins, by the number of the request.
fn endless(page: impl Fn(u64) -> (u64, String) + Send + Sync + 'static) -> Canned {
    let asked = AtomicU64::new(0);
    Canned::start(move |_, line| {
        if !line.contains("/api/p2p/files") && !line.contains("/api/p2p/network") {
            return Reply::Head("404 Not Found".to_owned());
        }
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let (files, next) = page(number);
        let files = (0..files).map(|file| {
            let id = id_of(number * 1000 + file);
            json!({ "file_id": id, "size": 1, "original_name": format!("other {id}"),
                "hash": null, "uploaded_at": "", "peers": [] })
        });
        let files: Vec<_> = files.collect();
        Reply::Json(json!({ "files": files, "next": next }).to_string())
    })
}

fn id_of(number: u64) -> String {
    format!("01a20831-60df-7192-a718-{number:012x}")
}

#[test]
fn no_list_is_followed_that_leads_back() {
    let commands: [&[&str]; 5] = [
        &["ls", "--oldest"],
        &["ls", "--network", "--oldest"],
        &["get", "a"],
        &["keep", "a"],
        &["rm", "a"],
    ];
    for files in [0, 1] {
        for arguments in commands {
            // To itself, and in a circle that changes each time.
            let itself = endless(move |_| (files, id_of(7)));
            let circle = endless(move |number| (files, id_of(9 - number % 9)));
            for node in [itself, circle] {
                let here = tempfile::tempdir().unwrap();
                let output = run(here.path(), &node.url(), arguments);
                let told = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
                assert!(told.contains("does not lead forward"), "{told}");
                assert_eq!(node.asked().len(), 2);
            }
        }
        // Forward is down where the newest come first.
        let circle = endless(move |number| (files, id_of(1 + number % 9)));
        let here = tempfile::tempdir().unwrap();
        let output = run(here.path(), &circle.url(), &["ls"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("does not lead forward"), "{told}");
        assert_eq!(circle.asked().len(), 2);
    }
}

#[test]
fn no_list_is_followed_that_leads_forward_without_end() {
    for (arguments, files) in [
        (&["get", "a"][..], 0),
        (&["keep", "a"], 1),
        (&["rm", "a"], 0),
        (&["ls", "--oldest"], 1),
        (&["ls", "--network", "--json", "--oldest"], 0),
        (&["get", &"0".repeat(64)], 0),
    ] {
        let node = endless(move |number| (files, id_of(number)));
        let here = tempfile::tempdir().unwrap();
        let output = run(here.path(), &node.url(), arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains("does not end"), "{told}");
        assert!(node.asked().len() <= 2002, "{}", node.asked().len());
    }
}

#[test]
fn no_list_is_followed_to_its_end_whose_pages_are_as_long_as_may_be() {
    // Made once: some 60 MB, nearly all of it one name.
    let name = "x".repeat(60 << 20);
    let pages = AtomicU64::new(0);
    let node = Canned::start(move |_, _| {
        let number = pages.fetch_add(1, Ordering::Relaxed);
        let next = id_of(number);
        let (before, after) = (
            r#"{"files":[{"file_id":"","size":1,"uploaded_at":"","original_name":""#,
            format!(r#""}}],"next":"{next}"}}"#),
        );
        Reply::Json([before, &name, &after].concat())
    });
    let here = tempfile::tempdir().unwrap();
    let (status, told) = failed(here.path(), &node.url(), &["get", "a"]);
    assert_eq!((status, told.contains("does not end")), (1, true), "{told}");
    assert!(node.asked().len() <= 20, "{}", node.asked().len());
}
