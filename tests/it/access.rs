//! Who may write to a node: everyone on its own machine; from elsewhere whoever bears the
//! token, or everyone if the operator says so.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::common::commands;
use crate::common::content::content;
use crate::common::forms::{file, form, upload_request, uploaded};
use crate::common::process::{Node, larder};
use crate::common::raw_http::{Answer, connect, get, head, read_answer, send, until_read};

const TOKEN: &str = "correct-horse-battery";

/// A node that other machines reach; it is asked on loopback all the same.
fn reachable(change: impl FnOnce(&mut Command)) -> (TempDir, Node, SocketAddr) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = larder(dir.path());
    command.args(["--listen", "0.0.0.0:0"]);
    change(&mut command);
    let node = Node::spawn(&dir, command);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, node.address.port()));
    (dir, node, address)
}

/// Every request that changes what the node holds.
fn writings(headers: &[&str]) -> Vec<Vec<u8>> {
    let id = "01a20831-60df-7192-a718-76572f743d37";
    let json = ["Content-Type: application/json", "Content-Length: 2"];
    let tus = ["Tus-Resumable: 1.0.0", "Upload-Length: 1"];
    let keep = head("POST", "/api/p2p/keep", &[&json, headers].concat());
    vec![
        upload_request(&form(&[file("a", b"x")]), headers),
        head("DELETE", &format!("/api/p2p/file/{id}"), headers),
        [keep, b"{}".to_vec()].concat(),
        head("DELETE", &format!("/api/p2p/keep/{id}"), headers),
        head("POST", "/api/p2p/tus", &[&tus[..], headers].concat()),
        head(
            "PATCH",
            &format!("/api/p2p/tus/{id}"),
            &[&tus[..], headers].concat(),
        ),
        head(
            "DELETE",
            &format!("/api/p2p/tus/{id}"),
            &[&tus[..], headers].concat(),
        ),
    ]
}

/// Fails unless every request that would change the node is refused like this.
fn assert_closed(address: SocketAddr, headers: &[&str], status: u16, code: &str) {
    for request in writings(headers) {
        let line = String::from_utf8_lossy(&request[..40]).into_owned();
        let answer = send(address, &request);
        assert_eq!(answer.refusal(), (status, code.to_owned()), "{line}");
    }
    let list = get(address, "/api/p2p/files", &[]).json();
    assert_eq!(list["files"], json!([]));
}

/// Fails unless every such request is let through to where it is looked at.
fn assert_open(address: SocketAddr, headers: &[&str]) {
    let answers = writings(headers).into_iter();
    let statuses: Vec<_> = answers.map(|it| send(address, &it).status).collect();
    assert_eq!(statuses, [200, 404, 400, 404, 201, 404, 404]);
}

/// Fails unless reading and what peers tell needs no token.
fn assert_reads_and_hears(address: SocketAddr) {
    for path in ["/health", "/api/peers", "/api/p2p/status", "/api/p2p/keep"] {
        assert_eq!(get(address, path, &[]).status, 200, "{path}");
    }
    let peer = json!({ "peer_id": "123e4567-e89b-42d3-a456-426614174000",
        "address": "http://127.0.0.1:1", "timestamp": "2026-01-21T10:00:00" });
    let announced = json!({ "peer_id": peer["peer_id"], "file_id": peer["peer_id"],
        "original_name": "a", "size": 1, "uploaded_at": peer["timestamp"] });
    for (path, message) in [("/api/peers", peer), ("/api/p2p/announce", announced)] {
        let message = message.to_string();
        let length = format!("Content-Length: {}", message.len());
        let lines = ["Content-Type: application/json", &length];
        let answer = send(
            address,
            &[head("POST", path, &lines), message.into()].concat(),
        );
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
}

#[test]
fn a_node_that_others_reach_is_not_open_to_writing_by_accident() {
    let (_dir, node, address) = reachable(|_| {});
    assert_closed(address, &[], 403, "writing_closed");
    let authorization = format!("Authorization: Bearer {TOKEN}");
    assert_closed(address, &[&authorization], 403, "writing_closed");
    let answer = send(address, &writings(&[])[0]).json();
    let message = answer["message"].as_str().unwrap();
    for setting in ["--token", "--token-file", "--open"] {
        assert!(message.contains(setting), "{message}");
        assert!(node.log().contains(setting), "{}", node.log());
    }
    assert_reads_and_hears(address);
}

#[test]
fn an_operator_opens_it_knowingly() {
    let (_dir, _node, address) = reachable(|command| {
        command.arg("--open");
    });
    assert_open(address, &[]);
}

#[test]
fn whoever_bears_the_token_writes() {
    let (dir, node, address) = reachable(|command| {
        command.env("LARDER_TOKEN", TOKEN).args(["--log", "trace"]);
    });
    let challenged = |answer: &Answer| answer.header("www-authenticate").to_owned();
    assert_closed(address, &[], 401, "no_token");
    assert_closed(address, &["Authorization: Basic eDp5"], 401, "no_token");
    let answer = send(address, &writings(&[])[0]);
    assert_eq!(challenged(&answer), r#"Bearer realm="larder""#);
    let wrong = format!("Authorization: Bearer {TOKEN}r");
    assert_closed(address, &[&wrong], 401, "wrong_token");
    let answer = send(address, &writings(&[&wrong])[0]);
    let challenge = r#"Bearer realm="larder", error="invalid_token""#;
    assert_eq!(challenged(&answer), challenge);
    assert_reads_and_hears(address);
    assert_open(address, &[&format!("Authorization: Bearer {TOKEN}")]);
    node.stop();
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(
        log.contains("/api/p2p/upload") && !log.contains(TOKEN),
        "{log}"
    );
}

#[test]
fn on_loopback_everyone_writes_until_a_token_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    uploaded(node.address, "a", b"x");
    node.stop();
    std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let node = Node::start(&dir, &["--token-file", "token"]);
    let answer = send(node.address, &writings(&[])[0]);
    assert_eq!(answer.refusal(), (401, "no_token".to_owned()));
    assert_open(node.address, &[&format!("Authorization: Bearer {TOKEN}")]);
}

#[test]
fn an_upload_without_the_token_is_refused_before_it_is_read() {
    let (_dir, node, address) = reachable(|command| {
        command.args(["--token", TOKEN]);
    });
    // A client that asks first is never asked for its body.
    let form_type = "Content-Type: multipart/form-data; boundary=x";
    let lines = [form_type, "Content-Length: 5000000", "Expect: 100-continue"];
    let answer = send(address, &head("POST", "/api/p2p/upload", &lines));
    assert_eq!(answer.refusal(), (401, "no_token".to_owned()));
    // One that sends first is told without having sent everything, and loses no answer
    // when it goes on all the same.
    let request = upload_request(&form(&[file("a", &content(1, 8 << 20))]), &[]);
    let (first, rest) = request.split_at(1 << 20);
    let mut stream = connect(address);
    stream.write_all(first).unwrap();
    let answer = read_answer(&mut stream, false);
    assert_eq!(answer.refusal(), (401, "no_token".to_owned()));
    stream.write_all(rest).unwrap();
    until_read(&stream);
    assert!(node.content_files().is_empty());
}

#[test]
fn a_browser_may_ask_whether_it_can_send_a_token() {
    let (_dir, _node, address) = reachable(|command| {
        command.args(["--token", TOKEN, "--cors-origin", "https://app.example"]);
    });
    let lines = [
        "Origin: https://app.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization",
    ];
    let answer = send(address, &head("OPTIONS", "/api/p2p/upload", &lines));
    assert_eq!(answer.status, 200);
    let allowed = answer.header("access-control-allow-headers");
    assert_eq!(allowed, "authorization");
}

#[test]
fn a_token_that_cannot_be_used_stops_the_start_and_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let empty = ("LARDER_TOKEN", "");
    let ignored = ("LARDER_LOG", "info");
    for (arguments, variable) in [
        (&["--token", "secret"][..], ignored),
        (&["--token", "secret", "--open"], ignored),
        (&[], empty),
    ] {
        let mut command = larder(dir.path());
        let output = command.args(arguments).env(variable.0, variable.1).output();
        let error = String::from_utf8(output.unwrap().stderr).unwrap();
        assert!(
            error.contains("token") && !error.contains("secret"),
            "{error}"
        );
    }
    assert!(!dir.path().join("peer_storage").exists());
    let mut help = larder(dir.path());
    let help = help.arg("--help").env("LARDER_TOKEN", TOKEN).output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    assert!(
        help.contains("LARDER_TOKEN") && !help.contains(TOKEN),
        "{help}"
    );
}

/// Makes a token with `larder token` in the file `tokens`.
fn make_token(dir: &TempDir, name: &str, rights: &str) -> String {
    let arguments = ["token", name, "--rights", rights, "--tokens", "tokens"];
    let output = larder(dir.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let written = std::fs::read_to_string(dir.path().join("tokens")).unwrap();
    assert!(!written.contains(&token), "{written}");
    format!("Authorization: Bearer {token}")
}

fn start_with_tokens(dir: &TempDir, arguments: &[&str]) -> Node {
    Node::start(dir, &[&["--tokens", "tokens"], arguments].concat())
}

#[test]
fn tokens_read_or_write_until_their_lines_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let [read, write] = ["read", "write"].map(|rights| make_token(&dir, rights, rights));
    let node = start_with_tokens(&dir, &[]);
    assert_closed(node.address, &[], 401, "no_token");
    assert_closed(node.address, &[&read], 403, "read_only_token");
    assert_open(node.address, &[&write]);
    node.stop();

    let file = dir.path().join("tokens");
    let lines = std::fs::read_to_string(&file).unwrap();
    let left = lines.lines().filter(|line| !line.starts_with("write "));
    std::fs::write(&file, left.collect::<Vec<_>>().join("\n")).unwrap();
    let node = start_with_tokens(&dir, &[]);
    let remove = head("DELETE", "/api/p2p/keep/x", &[&write]);
    assert_eq!(send(node.address, &remove).refusal().0, 403);
}

#[test]
fn a_private_node_shows_nothing_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let [read, write] = ["read", "write"].map(|rights| make_token(&dir, rights, rights));
    let node = start_with_tokens(&dir, &["--private"]);
    for path in [
        "/api/p2p/files",
        "/api/p2p/status",
        "/api/peers",
        "/api/p2p/network",
    ] {
        assert_eq!(
            get(node.address, path, &[]).refusal(),
            (401, "no_token".to_owned()),
            "{path}"
        );
        let wrong = "Authorization: Bearer 0123456789abcdef";
        assert_eq!(get(node.address, path, &[wrong]).refusal().1, "wrong_token");
        for header in [&read, &write] {
            assert_eq!(get(node.address, path, &[header]).status, 200, "{path}");
        }
    }
    assert_eq!(get(node.address, "/health", &[]).status, 200);
}

#[test]
fn tokens_are_for_those_who_run_the_node_and_have_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    make_token(&dir, "ci", "read");
    let mode = std::fs::metadata(dir.path().join("tokens"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for (name, told) in [
        ("ci", "called ci already"),
        ("a b", "a name has"),
        ("", "a name has"),
    ] {
        let arguments = ["token", name, "--rights", "read", "--tokens", "tokens"];
        let output = larder(dir.path()).args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.stdout.is_empty() && error.contains(told), "{error}");
    }
    let arguments = ["token", "more", "--rights", "read", "--tokens", "tokens"];
    let output = larder(dir.path()).args(arguments).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("on SIGHUP"), "{told}");
    std::fs::write(dir.path().join("tokens"), "ci read 00\n").unwrap();
    let failed = larder(dir.path())
        .args(["serve", "--tokens", "tokens"])
        .output()
        .unwrap();
    let error = String::from_utf8(failed.stderr).unwrap();
    assert!(error.contains("tokens, line 1"), "{error}");
}

/// What a node tells of who may write and whether: where it is asked for that, in the line that
/// it prints at its start, and by `larder status`.
fn assert_told(node: &Node, arguments: &[&str], writers: &str, may_write: bool, told: [&str; 2]) {
    let authorization = format!(
        "Authorization: Bearer {}",
        arguments.last().unwrap_or(&"none")
    );
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, node.address.port()));
    let [of_start, of_status] = told;
    assert!(node.said.trim_end().ends_with(of_start), "{}", node.said);
    let taken = writers != "nobody";
    let ready = get(address, "/ready", &[]);
    if taken {
        assert_eq!(
            (ready.status, &ready.json()["writers"]),
            (200, &json!(writers))
        );
    } else {
        assert_eq!(ready.refusal(), (503, "writing_closed".to_owned()));
    }
    let health = get(address, "/health", &[&authorization]).json();
    assert_eq!(health["writers"], writers, "{health}");
    assert_eq!(health["writable"], taken, "{health}");
    assert_eq!(health["may_write"], may_write, "{health}");
    assert_eq!(health["reason"].is_null(), taken, "{health}");
    assert_eq!(health["status"] == "healthy", taken, "{health}");
    let metrics = get(address, "/metrics", &[]);
    let line = format!("\nlarder_writable {}\n", u8::from(taken));
    assert!(String::from_utf8(metrics.body).unwrap().contains(&line));
    // As it is: what was told is what an upload meets.
    let upload = upload_request(&form(&[file("a", b"x")]), &[&authorization]);
    assert_eq!(send(address, &upload).status == 200, may_write);
    let here = tempfile::tempdir().unwrap();
    let url = format!("http://{address}");
    let said = commands::done(here.path(), &url, &[&["status"], arguments].concat());
    assert!(said.contains(of_status), "{said}");
}

#[test]
fn a_node_tells_who_may_write_and_that_nobody_may() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str, rights: &str| {
        let header = make_token(&dir, name, rights);
        header
            .strip_prefix("Authorization: Bearer ")
            .unwrap()
            .to_owned()
    };
    let reads = made("reader", "read");
    let closed = "takes changes from nobody: set --tokens, --token, --token-file or --open";
    let (_other, node, _) = reachable(|_| {});
    let nobody = [
        closed,
        "takes no changes: this node takes changes from nobody",
    ];
    assert_told(&node, &[], "nobody", false, nobody);
    // Nobody, although somebody has a token, and although it listens here alone.
    let nobody = [
        "nobody: no token has the right to it; `larder token` adds one",
        nobody[1],
    ];
    for listen in ["0.0.0.0:0", "127.0.0.1:0"] {
        let node = Node::start(&dir, &["--tokens", "tokens", "--listen", listen]);
        assert_told(&node, &["--token", &reads], "nobody", false, nobody);
        node.stop();
    }
    let writes = made("writer", "write");
    let node = Node::start(&dir, &["--tokens", "tokens"]);
    let by_token = "takes changes from whoever bears a token for that";
    let not_you = [
        by_token,
        "takes changes from whoever bears a token for that, and not from you",
    ];
    assert_told(&node, &[], "token", false, not_you);
    assert_told(&node, &["--token", &reads], "token", false, not_you);
    let you = [
        by_token,
        "takes changes from whoever bears a token as yours",
    ];
    assert_told(&node, &["--token", &writes], "token", true, you);
    node.stop();
    let everybody = [
        "takes changes from everybody who reaches it",
        "takes changes\n",
    ];
    let (_other, node, _) = reachable(|command| {
        command.arg("--open");
    });
    assert_told(&node, &[], "anybody", true, everybody);
    let other = tempfile::tempdir().unwrap();
    assert_told(&Node::start(&other, &[]), &[], "anybody", true, everybody);
}
