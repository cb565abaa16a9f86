//! The REST contract, endpoint by endpoint: the commands of the document that
//! existing clients were written from, run with the real curl, and every key of its
//! answers, each with its type.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::process::Node;

/// A node with the default settings, in a directory of its own where commands run.
struct World {
    dir: TempDir,
    node: Node,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        Self { dir, node }
    }

    /// Runs a command of the document, with the node's own port, and returns what
    /// it prints.
    fn run(&self, command: &str) -> Vec<u8> {
        let port = format!("localhost:{}", self.node.address.port());
        let command = command.replace("localhost:5004", &port);
        let mut shell = Command::new("bash");
        let shell = shell.args(["-euc", &command]).current_dir(self.dir.path());
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        output.stdout
    }

    fn run_json(&self, command: &str) -> Value {
        let printed = self.run(command);
        let text = String::from_utf8_lossy(&printed);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{command}: {e}: {text}"))
    }

    /// Writes a file for commands to upload.
    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.dir.path().join(name), content).unwrap();
    }

    fn upload(&self) -> Value {
        let answer = self.run_json(
            r#"curl -X POST http://localhost:5004/api/p2p/upload \
                 -F "file=@file.pdf" \
                 -F "description=Important document""#,
        );
        answer["file"].clone()
    }
}

/// Fails unless `actual` has every key of the document's example, at the same place
/// and with the same type. More keys are allowed.
fn assert_like(example: &Value, actual: &Value) {
    match (example, actual) {
        (Value::Object(example), Value::Object(actual)) => {
            for (key, example) in example {
                let actual = actual
                    .get(key)
                    .unwrap_or_else(|| panic!("{key} is missing"));
                assert_like(example, actual);
            }
        }
        (Value::Array(example), Value::Array(actual)) => {
            for actual in actual {
                assert_like(&example[0], actual);
            }
        }
        (Value::String(_), Value::String(_)) | (Value::Number(_), Value::Number(_)) => {}
        _ => panic!("{actual} is not like {example}"),
    }
}

/// Whether a time is written as the document writes it.
fn assert_time(value: &Value) {
    let text = value.as_str().unwrap();
    let digits = text
        .bytes()
        .map(|b| if b.is_ascii_digit() { '0' } else { b.into() });
    assert_eq!(digits.collect::<String>(), "0000-00-00T00:00:00");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn get_all_peers() {
    let world = World::new();
    let answer = world.run_json("curl -X GET http://localhost:5004/api/peers");
    let example = json!({
        "status": "success",
        "peer_count": 2,
        "peers": [{
            "peer_id": "uuid-peer-1",
            "address": "http://localhost:5004",
            "timestamp": "2026-01-21T10:00:00"
        }],
        "self": {
            "peer_id": "uuid-peer-current",
            "address": "http://localhost:5004",
            "timestamp": "2026-01-21T10:00:00"
        }
    });
    assert_like(&example, &answer);
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["peer_count"], 0);
    assert_eq!(answer["peers"], json!([]));
    assert_eq!(answer["self"]["address"], world.node.url(""));
    assert_time(&answer["self"]["timestamp"]);
}

#[test]
fn upload_file() {
    let world = World::new();
    let bytes = content(1, 1_024_000);
    world.write("file.pdf", &bytes);
    let answer = world.run_json(
        r#"curl -X POST http://localhost:5004/api/p2p/upload \
             -F "file=@file.pdf" \
             -F "description=Important document""#,
    );
    let example = json!({
        "status": "success",
        "message": "File uploaded successfully",
        "file": {
            "file_id": "uuid-file",
            "original_name": "file.pdf",
            "saved_name": "uuid-file.pdf",
            "size": 1_024_000,
            "description": "Important document",
            "peer_id": "uuid-peer",
            "uploaded_at": "2026-01-21T10:00:00",
            "download_url": "http://localhost:5004/api/p2p/file/uuid-file"
        }
    });
    assert_like(&example, &answer);
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["message"], "File uploaded successfully");
    let file = &answer["file"];
    let id = text(&file["file_id"]);
    assert_eq!(file["original_name"], "file.pdf");
    assert_eq!(file["saved_name"], format!("{id}.pdf"));
    assert_eq!(file["size"], 1_024_000);
    assert_eq!(file["description"], "Important document");
    assert_eq!(file["content_type"], "application/pdf");
    assert_eq!(file["hash"], blake3::hash(&bytes).to_hex().as_str());
    assert_eq!(
        file["download_url"],
        world.node.url(&format!("/api/p2p/file/{id}"))
    );
    assert_time(&file["uploaded_at"]);
}

#[test]
fn download_file_from_peer() {
    let world = World::new();
    let bytes = content(2, 300_000);
    world.write("file.pdf", &content(1, 10));
    world.upload();
    world.write("file.pdf", &bytes);
    let file = world.upload();
    let (peer, id) = (text(&file["peer_id"]), text(&file["file_id"]));
    // By id, and, as the gateway's route has it, by name: the newest of two.
    for name in [id, "file.pdf"] {
        world.run(&format!(
            "curl -X GET http://localhost:5004/api/p2p/download/{peer}/{name} \
               -o downloaded_file.pdf"
        ));
        let downloaded = std::fs::read(world.dir.path().join("downloaded_file.pdf")).unwrap();
        assert!(downloaded == bytes, "{name}");
    }
}

#[test]
fn direct_file_download() {
    let world = World::new();
    let bytes = content(3, 300_000);
    world.write("file.pdf", &bytes);
    let file = world.upload();
    let id = text(&file["file_id"]);
    world.run(&format!(
        "curl -X GET http://localhost:5004/api/p2p/file/{id} \
           -o downloaded_file.pdf"
    ));
    assert!(std::fs::read(world.dir.path().join("downloaded_file.pdf")).unwrap() == bytes);
    let by_url = world.run(&format!("curl {}", text(&file["download_url"])));
    assert!(by_url == bytes);
    let by_hash = format!(
        "curl http://localhost:5004/api/p2p/blob/{}",
        text(&file["hash"])
    );
    assert!(world.run(&by_hash) == bytes);
}

#[test]
fn announce_file() {
    let world = World::new();
    let answer = world.run_json(
        r#"curl -X POST http://localhost:5004/api/p2p/announce \
             -H "Content-Type: application/json" \
             -d '{
               "file_id": "uuid-file",
               "original_name": "document.pdf",
               "size": 1024000,
               "peer_id": "uuid-peer",
               "uploaded_at": "2026-01-21T10:00:00"
             }'"#,
    );
    assert_eq!(answer["status"], "success");
    assert!(answer["message"].is_string());
}

#[test]
fn list_local_files() {
    let world = World::new();
    world.write("file.pdf", b"one");
    let first = world.upload();
    world.write("file.pdf", b"two");
    let second = world.upload();
    let answer = world.run_json("curl -X GET http://localhost:5004/api/p2p/files");
    let example = json!({
        "status": "success",
        "peer_id": "uuid-peer",
        "file_count": 3,
        "files": [{
            "file_id": "uuid-file-1",
            "original_name": "document.pdf",
            "size": 1_024_000,
            "description": "Important doc",
            "uploaded_at": "2026-01-21T10:00:00",
            "download_url": "http://localhost:5004/api/p2p/file/uuid-file-1"
        }]
    });
    assert_like(&example, &answer);
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["peer_id"], first["peer_id"]);
    assert_eq!(answer["file_count"], 2);
    // The same keys and values as the uploads were answered with, in their order.
    assert_eq!(answer["files"], json!([first, second]));
}

#[test]
fn p2p_system_status() {
    let world = World::new();
    world.write("file.pdf", b"one");
    let file = world.upload();
    let answer = world.run_json("curl -X GET http://localhost:5004/api/p2p/status");
    let example = json!({
        "status": "success",
        "peer": {
            "peer_id": "uuid-peer",
            "address": "http://localhost:5004",
            "timestamp": "2026-01-21T10:00:00"
        },
        "peers_discovered": 2,
        "local_files": 3,
        "storage_dir": "peer_storage"
    });
    assert_like(&example, &answer);
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["peer"]["peer_id"], file["peer_id"]);
    assert_eq!(answer["peer"]["address"], world.node.url(""));
    assert_time(&answer["peer"]["timestamp"]);
    assert_eq!(answer["peers_discovered"], 0);
    assert_eq!(answer["local_files"], 1);
    assert_eq!(answer["storage_dir"], "peer_storage");
}

#[test]
fn health_check() {
    let world = World::new();
    let answer = world.run_json("curl -X GET http://localhost:5004/health");
    assert_eq!(answer["status"], "healthy");
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_removed_file_is_gone_and_its_content_with_the_last_file_of_it() {
    let world = World::new();
    world.write("file.pdf", b"content of two files");
    let (first, second) = (world.upload(), world.upload());
    assert_eq!(world.node.content_files().len(), 1);
    let status = "curl -s -o /dev/null -w %{http_code}";
    let url = |file: &Value| text(&file["download_url"]).to_owned();

    let removed = world.run_json(&format!("curl -X DELETE {}", url(&first)));
    assert_eq!(removed["status"], "success");
    assert_eq!(removed["file"], first);
    assert_eq!(world.run(&format!("{status} {}", url(&first))), b"404");
    assert_eq!(
        world.run(&format!("curl {}", url(&second))),
        b"content of two files"
    );

    world.run(&format!("curl -X DELETE {}", url(&second)));
    assert_eq!(world.node.content_files().len(), 0);
    let again = world.run(&format!("{status} -X DELETE {}", url(&second)));
    assert_eq!(again, b"404");
}

#[test]
fn a_restart_changes_nothing_that_a_client_can_see() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World {
        node: Node::start(&dir, &["--base-url", "http://node.example"]),
        dir,
    };
    let list = "curl -X GET http://localhost:5004/api/p2p/files";
    for (crash, seed) in [(false, 1), (true, 2), (true, 3), (false, 4)] {
        world.write("file.pdf", &content(seed, 100_000));
        world.upload();
        let before = world.run_json(list);
        if crash {
            world.node.kill();
        } else {
            world.node.stop();
        }
        world.node = Node::start(&world.dir, &["--base-url", "http://node.example"]);
        assert_eq!(world.run_json(list), before);
        for (seed, file) in (1..).zip(before["files"].as_array().unwrap()) {
            let id = text(&file["file_id"]);
            let bytes = world.run(&format!("curl http://localhost:5004/api/p2p/file/{id}"));
            assert!(bytes == content(seed, 100_000), "{file}");
        }
    }
}
