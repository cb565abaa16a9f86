//! The command line: what it says, and how it ends.

use std::process::{Command, Output};

use tempfile::TempDir;

use crate::common::process::{Node, larder};
use crate::common::raw_http::get;

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Fails unless the command ended with status 1 and one line that says all of `parts`.
fn assert_one_line(output: &Output, parts: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("larder: "), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn help_tells_every_setting_with_variable_and_default() {
    let dir = dir();
    let help = output(larder(dir.path()).args(["serve", "--help"]));
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for (flag, variable, default) in [
        ("--listen", "LARDER_LISTEN", "[default: 127.0.0.1]"),
        ("--port", "PEER_PORT", "[default: 5004]"),
        ("--storage", "STORAGE_DIR", "[default: peer_storage]"),
        (
            "--bootstrap",
            "BOOTSTRAP_SERVER",
            "[default: http://localhost:9000]",
        ),
        (
            "--base-url",
            "BASE_URL",
            "[default: http://localhost:<port>]",
        ),
        ("--max-upload", "LARDER_MAX_UPLOAD", "[default: no limit]"),
        ("--durability", "LARDER_DURABILITY", "[default: always]"),
        ("--cors-origin", "LARDER_CORS_ORIGIN", ""),
        ("--token-file", "LARDER_TOKEN_FILE", ""),
        ("--shutdown-grace", "LARDER_SHUTDOWN_GRACE", "[default: 30]"),
        ("--log", "LARDER_LOG", "[default: info]"),
    ] {
        let (_, from_flag) = text.split_once(&format!("{flag} <")).unwrap();
        let setting = from_flag.split("\n      --").next().unwrap();
        assert!(setting.contains(&format!("[env: {variable}=")), "{flag}");
        assert!(setting.contains(default), "{flag}");
    }
}

#[test]
fn flags_and_variables_set_the_same() {
    let dir = dir();
    let mut command = larder(dir.path());
    command
        .env("STORAGE_DIR", "by-variable")
        .env("BASE_URL", "http://a.example");
    let node = Node::spawn(&dir, command);
    let status = get(node.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["storage_dir"], "by-variable");
    assert_eq!(status["peer"]["address"], "http://a.example");
    node.stop();
    let mut command = larder(dir.path());
    command.env("STORAGE_DIR", "by-variable");
    command.args(["serve", "--storage", "by-flag", "--listen", "127.0.0.2:0"]);
    let node = Node::spawn(&dir, command);
    let status = get(node.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["storage_dir"], "by-flag");
    assert_eq!(node.address.ip().to_string(), "127.0.0.2");
}

#[test]
fn bad_settings_are_told_with_the_right_ones() {
    let dir = dir();
    for (flag, value, told) in [
        ("--listen", "example.com", "IP address"),
        ("--port", "70000", "65535"),
        ("--base-url", "localhost:5004", "http://"),
        ("--bootstrap", "ftp://x", "http://"),
        ("--max-upload", "10XB", "10GiB"),
        ("--durability", "never", "relaxed"),
        ("--cors-origin", "example.com", "http://"),
        ("--log", "a=b=c", "invalid"),
    ] {
        let output = output(larder(dir.path()).args([flag, value]));
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(flag) && error.contains(told), "{error}");
    }
}

#[test]
fn a_second_node_on_the_same_directory_does_not_start() {
    let dir = dir();
    let _first = Node::start(&dir, &[]);
    let second = output(&mut larder(dir.path()));
    assert_one_line(&second, &["peer_storage", "in use"]);
}

#[test]
fn a_port_in_use_is_told() {
    let dir = dir();
    let node = Node::start(&dir, &[]);
    let port = node.address.port().to_string();
    let second = output(larder(dir.path()).args(["--storage", "other", "--port", &port]));
    assert_one_line(&second, &["cannot listen on 127.0.0.1", &port, "in use"]);
    assert!(!dir.path().join("other").exists());
}

#[test]
fn a_damaged_key_is_told() {
    let dir = dir();
    Node::start(&dir, &[]).stop();
    std::fs::write(dir.path().join("peer_storage/node.key"), "short").unwrap();
    let failed = output(&mut larder(dir.path()));
    assert_one_line(&failed, &["node.key", "32 bytes"]);
}
