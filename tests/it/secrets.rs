//! Where secrets go, and who may have written them: tokens go to the node alone, and files of
//! others are no secrets.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::common::authority::Authority;
use crate::common::canned::{Canned, Reply};
use crate::common::commands::{command, failed};
use crate::common::process::{Node, larder, until};

const TOKEN: &str = "0123456789abcdef";

/// How the environment may name a proxy.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

#[test]
fn no_proxy_is_asked_for_a_node_of_this_machine() {
    let (_dir, node) = start(&["--token", TOKEN, "--private"]);
    let proxy = Canned::start(|_, _| Reply::Head("502 Bad Gateway".to_owned()));
    let here = tempfile::tempdir().unwrap();
    let port = node.address.port();
    for host in [
        "localhost",
        "127.0.0.1",
        "LOCALHOST",
        "[::ffff:127.0.0.1]",
        "127.1",
    ] {
        let url = format!("http://{host}:{port}");
        let mut status = command(here.path(), &url, &["status"]);
        for variable in PROXIES {
            status.env(variable, proxy.url());
        }
        let output = status.env("LARDER_TOKEN", TOKEN).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // It may be refused for this name, but by the node.
        let reached = output.status.success() || told.contains("the node refuses");
        assert!(reached, "{host}: {told}");
        assert!(!told.contains("proxy"), "{host}: {told}");
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn a_proxy_that_was_asked_is_told_without_its_password() {
    let proxy = Canned::start(|_, _| Reply::Head("502 Bad Gateway".to_owned()));
    let by = format!("http://somebody:secret@{}", proxy.address);
    let here = tempfile::tempdir().unwrap();
    for variable in ["http_proxy", "all_proxy", "ALL_PROXY"] {
        let mut status = command(here.path(), "http://192.0.2.1:5004", &["status"]);
        let output = status.env(variable, &by).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{variable}: {told}");
        let named = format!("the proxy {}", proxy.url());
        assert!(
            told.contains("502") && told.contains(&named),
            "{variable}: {told}"
        );
        assert!(!told.contains("secret"), "{variable}: {told}");
    }
    let asked = proxy.asked();
    assert_eq!(asked, ["GET http://192.0.2.1:5004/health"; 3]);
}

#[test]
fn what_anybody_may_have_put_into_the_environment_of_a_script_names_no_proxy() {
    let proxy = Canned::start(|_, _| Reply::Head("502 Bad Gateway".to_owned()));
    let here = tempfile::tempdir().unwrap();
    // To what a web server starts it is the header `Proxy` of a request.
    for (variable, value) in [("HTTP_PROXY", proxy.url()), ("http_proxy", String::new())] {
        let mut status = command(here.path(), "http://192.0.2.1:5004", &["status"]);
        let output = status.env(variable, value).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{variable}: {told}");
        assert!(!told.contains("proxy"), "{variable}: {told}");
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[test]
fn a_token_is_sent_on_to_nobody() {
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Moved",
        "308 Moved",
    ] {
        let other = Canned::start(|_, _| Reply::Json("{}".to_owned()));
        let target = other.url();
        let node =
            Canned::start(move |_, _| Reply::Head(format!("{status}\r\nLocation: {target}/")));
        let here = tempfile::tempdir().unwrap();
        fs::write(here.path().join("a"), "a").unwrap();
        for arguments in [
            &["status"][..],
            &["ls"],
            &["get", "a"],
            &["put", "a"],
            &["rm", "a"],
        ] {
            let arguments = [arguments, &["--token", TOKEN]].concat();
            let (code, told) = failed(here.path(), &node.url(), &arguments);
            assert_eq!(code, 1, "{arguments:?}: {told}");
            assert!(!told.contains(TOKEN), "{told}");
        }
        assert_eq!(node.asked().len(), 5);
        assert_eq!(other.asked(), Vec::<String>::new(), "{status}");
    }
}

#[test]
fn a_token_of_the_environment_is_taken_as_one_of_a_file() {
    let file = tempfile::tempdir().unwrap();
    let mut serve = larder(file.path());
    serve.env("LARDER_TOKEN", format!(" {TOKEN}\r\n"));
    let node = Node::spawn(&file, serve);
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("a"), "a").unwrap();
    for token in [
        TOKEN.to_owned(),
        format!("{TOKEN}\r"),
        format!("\n{TOKEN} \r\n"),
    ] {
        let mut put = command(here.path(), &node.url(""), &["put", "a"]);
        let output = put.env("LARDER_TOKEN", token).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    for token in [
        "0123456789\rabcdef",
        "0123456789 abcdef",
        "0123456789abcd\u{e9}f",
        "a\u{1b}b",
    ] {
        let (code, told) = failed(here.path(), &node.url(""), &["put", "a", "--token", token]);
        assert_eq!(code, 2, "{told}");
        assert!(
            told.contains("the token has a character that none has"),
            "{told}"
        );
        assert!(!told.contains("0123456789"), "{told}");
        let mut by_variable = command(here.path(), &node.url(""), &["put", "a"]);
        let output = by_variable.env("LARDER_TOKEN", token).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

/// A directory with a file of each kind that holds a secret, and the flags that name them.
fn secrets() -> (TempDir, [(&'static str, Vec<&'static str>); 4]) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.vouches("localhost", false);
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("cert.pem", &certificate.pem());
    write("key.pem", &key.serialize_pem());
    write("token", TOKEN);
    write("other.toml", &format!("token = \"{TOKEN}\"\n"));
    let made = ["token", "a", "--rights", "write", "--tokens", "tokens"];
    assert!(larder(dir.path()).args(made).status().unwrap().success());
    let flags = [
        ("token", vec!["--token-file", "token"]),
        ("tokens", vec!["--tokens", "tokens"]),
        (
            "key.pem",
            vec!["--tls-cert", "cert.pem", "--tls-key", "key.pem"],
        ),
        ("other.toml", vec!["--config", "other.toml"]),
    ];
    (dir, flags)
}

fn set_mode(dir: &Path, name: &str, mode: u32) {
    fs::set_permissions(dir.join(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_secret_that_others_may_write_is_refused() {
    let (dir, secrets) = secrets();
    for (name, flags) in secrets {
        for mode in [0o666, 0o620, 0o602] {
            set_mode(dir.path(), name, mode);
            let output = larder(dir.path()).args(&flags).output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{name}: {told}");
            assert!(told.contains("others may write to it"), "{name}: {told}");
            assert!(
                told.contains(&format!("(mode {mode:04o})")),
                "{name}: {told}"
            );
            assert!(!told.contains(TOKEN), "{name}: {told}");
            assert!(!dir.path().join("peer_storage").exists(), "{name}");
        }
        set_mode(dir.path(), name, 0o600);
    }
    // Nor is anything added to such a file.
    set_mode(dir.path(), "tokens", 0o666);
    let before = fs::read(dir.path().join("tokens")).unwrap();
    let more = ["token", "b", "--rights", "write", "--tokens", "tokens"];
    let output = larder(dir.path()).args(more).output().unwrap();
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    assert_eq!(fs::read(dir.path().join("tokens")).unwrap(), before);
}

#[test]
fn a_secret_that_others_may_read_is_told_of() {
    let (dir, secrets) = secrets();
    for (name, flags) in secrets {
        for (mode, is_told) in [(0o604, true), (0o600, false), (0o400, false)] {
            set_mode(dir.path(), name, mode);
            let node = Node::start(&dir, &flags);
            let told = "others may read this secret";
            let text = until("it serves", || {
                let log = node.log();
                log.contains("serving").then_some(log)
            });
            assert_eq!(text.contains(told), is_told, "{name} {mode:o}: {text}");
            assert!(!text.contains(TOKEN), "{text}");
            node.stop();
            fs::remove_file(dir.path().join("log")).unwrap();
        }
    }
}
