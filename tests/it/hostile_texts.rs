//! What peers tell is text of strangers: nothing that steers a terminal, ends a header or turns
//! the direction of text is shown by a node or passed on.

use serde_json::{Value, json};

use crate::common::canned::{Canned, Reply};
use crate::common::peers::{held, post};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

const ID: &str = "123e4567-e89b-42d3-a456-426614174000";
const FILE: &str = "01a20901-8f39-748f-bc00-022fbed4dd21";
const OTHER: &str = "01a20901-8f39-748f-bc00-022fbed4dd22";
const HOSTILE: &str = "x\u{1b}[2J\r\nX: 1\u{202e}\u{9b}\0";

fn file(id: &str) -> Value {
    json!({ "file_id": id, "original_name": HOSTILE, "size": 5, "uploaded_at": HOSTILE,
        "content_type": format!("a/b{HOSTILE}"), "description": HOSTILE, "hash": null })
}

fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || c == '\u{202e}')
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(values) => values.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn no_field_of_a_listing_or_announcement_is_shown_as_it_came() {
    let peer = Canned::start(|_, request| {
        if request.starts_with("GET /api/p2p/files") {
            Reply::Json(json!({ "peer_id": ID, "files": [file(FILE)] }).to_string())
        } else {
            Reply::Json("{}".to_owned())
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "3600"]);
    let registration = json!({ "peer_id": ID, "address": peer.url(), "timestamp": "",
        "version": HOSTILE });
    post(node.address, "/api/peers", &registration.to_string());
    until("the file is seen", || {
        (held(node.address).len() == 1).then_some(())
    });
    let mut announced = file(OTHER);
    announced["peer_id"] = ID.into();
    let told = post(node.address, "/api/p2p/announce", &announced.to_string()).json();
    assert_eq!(told["kept"], true);
    for row in held(node.address) {
        assert_eq!(row["uploaded_at"], "");
        assert_eq!(row["content_type"], Value::Null);
        assert_eq!(row["original_name"], "x_[2J__X: 1___");
    }
    for target in ["/api/p2p/network", "/api/peers", "/api/p2p/status"] {
        let shown = texts(&get(node.address, target, &[]).json());
        assert!(shown.iter().all(|it| is_plain(it)), "{target}: {shown:?}");
    }
    let url = format!("http://{}", node.address);
    for command in [&["ls", "--network"][..], &["status"], &["peers"]] {
        let mut command = {
            let mut larder = larder(dir.path());
            larder.args(command).args(["--node", &url]);
            larder
        };
        let output = command.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.lines().all(is_plain), "{printed:?}");
    }
}

#[test]
fn no_field_of_a_registration_is_passed_on_with_more_than_it_should_have() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let node = Node::start(&dirs[0], &[]);
    let server = Node::start(&dirs[1], &["bootstrap", "--listen", "127.0.0.1:0"]);
    let sane = json!({ "peer_id": ID, "address": "http://127.0.0.1:1", "timestamp": "" });
    for (to, path) in [(node.address, "/api/peers"), (server.address, "/register")] {
        for key in ["peer_id", "address", "timestamp", "public_key", "signature"] {
            let usual = match key {
                "timestamp" => "2026-01-21T10:00:00",
                _ => sane[key].as_str().unwrap_or_default(),
            };
            for text in [
                HOSTILE.to_owned(),
                format!("{usual}\r\n"),
                format!("\n{usual}"),
            ] {
                let mut registration = sane.clone();
                registration[key] = text.into();
                let refusal = post(to, path, &registration.to_string()).refusal();
                assert_eq!(refusal, (400, "bad_registration".to_owned()), "{key}");
            }
        }
    }
}
