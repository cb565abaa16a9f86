//! What people write and do by habit: addresses without a scheme, times and sizes with units,
//! settings beside them, signals that are sent twice.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::commands::{command, done, failed};
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, start, until};
use crate::common::raw_http::{connect, get, head, send, until_read};

const TOKEN: &str = "0123456789abcdef0123";
const OTHER: &str = "fedcba98765432100123";

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_node_is_named_without_a_scheme() {
    let (_dir, node) = start();
    uploaded(node.address, "a", b"content");
    let here = tempfile::tempdir().unwrap();
    let port = node.address.port();
    for address in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("http://localhost:{port}/"),
        format!(":{port}"),
        port.to_string(),
    ] {
        let told = done(
            here.path(),
            "http://localhost:1",
            &["ls", "--node", &address],
        );
        assert!(told.ends_with("  a\n"), "{address}: {told}");
        assert!(done(here.path(), &address, &["ls"]).ends_with("  a\n"));
    }
}

#[test]
fn commands_ask_the_node_whose_settings_are_beside_them() {
    let (_dir, node) = start();
    uploaded(node.address, "a", b"content");
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let port = node.address.port();
    let listed = |variables: &[(&str, &str)]| {
        let mut command = command(here, "", &["ls"]);
        command.env_remove("LARDER_NODE");
        command.envs(variables.iter().copied());
        command.output().unwrap()
    };
    let is_there = |output: &Output| output.stdout.ends_with(b"  a\n");
    assert!(is_there(&listed(&[("PEER_PORT", &port.to_string())])));
    for settings in [
        format!("port = {port}\n"),
        format!("listen = \"127.0.0.1:{port}\"\nport = 1\n"),
        format!("listen = \"0.0.0.0\"\nport = {port}\nquota = \"1GiB\"\n"),
    ] {
        fs::write(here.join("larder.toml"), &settings).unwrap();
        let output = listed(&[]);
        assert!(is_there(&output), "{settings}: {output:?}");
        fs::rename(here.join("larder.toml"), here.join("named.toml")).unwrap();
        assert!(is_there(&listed(&[("LARDER_CONFIG", "named.toml")])));
    }
    // What is wrong with them is told, with its place; a node that is named needs none of them.
    fs::write(here.join("larder.toml"), "\nprot = 1\n").unwrap();
    let output = listed(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("larder.toml, line 2: no setting is called prot"));
    done(here, &node.url(""), &["ls"]);
}

#[test]
fn the_token_beside_a_command_goes_to_that_node_alone() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--token", TOKEN]);
    let (_other_dir, other) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    fs::write(here.join("a"), "content").unwrap();
    fs::write(here.join("secret"), format!("{TOKEN}\n")).unwrap();
    let port = node.address.port();
    for (number, token) in [
        format!("token = \"{TOKEN}\""),
        "token-file = \"secret\"".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let settings = format!("port = {port}\n{token}\n");
        fs::write(here.join("larder.toml"), settings).unwrap();
        let mut put = command(here, "", &["put", "a", "--name", &number.to_string()]);
        let output = put.env_remove("LARDER_NODE").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let (status, told) = failed(here, &node.url(""), &["put", "a"]);
        assert_eq!(status, 6, "{told}");
        assert!(
            told.contains("the node wants a token for this; give its token with"),
            "{told}"
        );
    }
    done(here, &other.url(""), &["put", "a"]);
    let told = failed(here, &node.url(""), &["put", "a", "--token", OTHER]).1;
    assert!(told.contains("the node does not know this token"), "{told}");
}

#[test]
fn a_variable_that_is_no_setting_is_refused_by_every_command() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let refused = |name: &str, arguments: &[&str]| {
        let mut command = command(here.path(), &node.url(""), arguments);
        command.env(name, "5").output().unwrap()
    };
    for arguments in [
        &["config"][..],
        &["serve"],
        &["ls"],
        &["put", "x"],
        &["bootstrap"],
    ] {
        let output = refused("LARDER_QUTOA", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = stderr(&output);
        assert!(
            told.contains("LARDER_QUTOA; did you mean LARDER_QUOTA?") && told.lines().count() == 1,
            "{told}"
        );
    }
    assert!(stderr(&refused("LARDER_NODDE", &["ls"])).contains("did you mean LARDER_NODE?"));
    for name in [
        "LARDER_SERVICE_HOST",
        "LARDER_PORT_5004_TCP_ADDR",
        "MY_LARDER_X",
    ] {
        assert!(refused(name, &["ls"]).status.success(), "{name}");
    }
    assert!(
        refused("LARDER_QUTOA", &["completions", "bash"])
            .status
            .success()
    );
}

#[test]
fn times_and_sizes_are_taken_with_units_in_every_setting() {
    let here = tempfile::tempdir().unwrap();
    let ends = |arguments: &[&str]| {
        let output = larder(here.path()).arg("config").args(arguments).output();
        output.unwrap().status.code()
    };
    for name in [
        "discover-every",
        "peer-stall",
        "upload-expiry",
        "shutdown-grace",
    ] {
        for (value, status) in [
            ("30", 0),
            ("30m", 0),
            ("1h", 0),
            ("1 hour", 0),
            ("1x", 2),
            ("-1", 2),
            ("9999999h", 2),
        ] {
            // An upload waits for an hour at least.
            let status = if (name, value) == ("upload-expiry", "30m") {
                2
            } else {
                status
            };
            assert_eq!(
                ends(&[&format!("--{name}={value}")]),
                Some(status),
                "{name} {value}"
            );
        }
        let settings = format!("{name} = \"1h\"\n");
        fs::write(here.path().join("larder.toml"), settings).unwrap();
        assert_eq!(ends(&[]), Some(0), "{name}");
    }
    for name in ["quota", "max-upload", "min-free"] {
        for (value, status) in [
            ("1.5GiB", 0),
            ("500 MB", 0),
            ("1000", 0),
            ("1.5", 2),
            ("x", 2),
        ] {
            assert_eq!(
                ends(&[&format!("--{name}={value}")]),
                Some(status),
                "{name} {value}"
            );
        }
    }
    let output = larder(here.path())
        .args(["config", "--discover-every", "25h"])
        .output();
    let told = stderr(&output.unwrap());
    assert!(told.contains("it is from 1s to 24h"), "{told}");
}

/// An upload of which nothing more comes than its beginning.
fn stalled(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).unwrap();
    let lines = [
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 100000",
    ];
    stream
        .write_all(&head("POST", "/api/p2p/upload", &lines))
        .unwrap();
    stream.write_all(b"--x\r\n").unwrap();
    until_read(&stream);
    stream
}

#[test]
fn a_second_signal_ends_the_wait_for_what_is_under_way() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &["--shutdown-grace", "1h"]);
        let file = uploaded(node.address, "a", b"content");
        let upload = stalled(&node);
        node.signal(first);
        until("it stops", || {
            node.log().contains("stopping;").then_some(())
        });
        node.signal(second);
        assert!(node.wait().success(), "a clean stop");
        drop(upload);
        let again = Node::start(&dir, &[]);
        let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        assert_eq!(get(again.address, &path, &[]).body, b"content");
    }
}

fn write_tokens(dir: &Path, rights: &str, name: &str, tokens: &Path) -> String {
    let mut make = larder(dir);
    make.args(["token", name, "--rights", rights, "--tokens"])
        .arg(tokens);
    let output = make.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The status of an upload with this token.
fn upload_status(node: &Node, token: &str) -> u16 {
    let part = "Content-Disposition: form-data; name=\"file\"; filename=\"a\"";
    let body = format!("--x\r\n{part}\r\n\r\na\r\n--x--\r\n");
    let lines = [
        &*format!("Authorization: Bearer {token}"),
        "Content-Type: multipart/form-data; boundary=x",
        &format!("Content-Length: {}", body.len()),
    ];
    send(
        node.address,
        &[
            &head("POST", "/api/p2p/upload", &lines)[..],
            body.as_bytes(),
        ]
        .concat(),
    )
    .status
}

/// Has a node read its tokens again, and waits until it has, or has not.
fn reload(node: &Node, told: &str) {
    let before = node.log().matches(told).count();
    node.signal(Signal::HUP);
    until(told, || {
        (node.log().matches(told).count() > before).then_some(())
    });
}

#[test]
fn tokens_are_read_again_without_a_restart_and_never_open_a_node() {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    let first = write_tokens(dir.path(), "write", "first", &tokens);
    let node = Node::start(&dir, &["--tokens", "tokens"]);
    assert_eq!(upload_status(&node, &first), 200);
    let second = write_tokens(dir.path(), "write", "second", &tokens);
    assert_eq!(upload_status(&node, &second), 401);
    reload(&node, "the tokens were read again");
    assert_eq!(
        (upload_status(&node, &first), upload_status(&node, &second)),
        (200, 200)
    );
    // One that is taken out is no longer known.
    let kept = fs::read_to_string(&tokens).unwrap();
    let kept: String = kept.lines().filter(|it| it.starts_with("second")).collect();
    fs::write(&tokens, kept).unwrap();
    reload(&node, "the tokens were read again");
    assert_eq!(
        (upload_status(&node, &first), upload_status(&node, &second)),
        (401, 200)
    );
    // What cannot be read changes nothing, and an empty file opens nothing.
    fs::write(&tokens, "nonsense\n").unwrap();
    reload(&node, "the tokens stay what they were");
    assert_eq!(upload_status(&node, &second), 200);
    fs::write(&tokens, "").unwrap();
    reload(&node, "the tokens were read again");
    assert_ne!(upload_status(&node, &second), 200);
    assert_ne!(upload_status(&node, "none"), 200);
    assert_eq!(
        get(node.address, "/health", &[]).json()["writers"],
        "nobody"
    );
    node.stop();
}

#[test]
fn who_lost_a_token_hears_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    let token = write_tokens(dir.path(), "read", "one", &tokens);
    let node = Node::start(&dir, &["--tokens", "tokens", "--private"]);
    let line = format!("Authorization: Bearer {token}");
    let mut listening = connect(node.address);
    let asks = head("GET", "/api/events", &[&line, "Connection: close"]);
    listening.write_all(&asks).unwrap();
    let mut first = [0; 12];
    listening.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    fs::write(&tokens, "").unwrap();
    reload(&node, "the tokens were read again");
    // It ends by itself: nothing happens that it could be told.
    listening.read_to_end(&mut Vec::new()).unwrap();
    let status = get(node.address, "/api/p2p/files", &[&line]).status;
    assert_eq!(status, 401);
}

#[test]
fn a_node_behind_a_gateway_warns_that_everybody_may_write() {
    let warned = |arguments: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, arguments);
        // What it tells is written by and by, and all of it before it ends.
        node.stop();
        let told = fs::read_to_string(dir.path().join("log")).unwrap();
        told.contains("whoever reaches the gateway in front may write")
    };
    let token = ["--token", "0123456789abcdef"];
    for gateway in [
        ["--trusted-proxy", "127.0.0.1"],
        ["--base-url", "https://files.example.org"],
    ] {
        assert!(warned(&gateway), "{gateway:?}");
        assert!(!warned(&[&gateway[..], &["--open"]].concat()));
        assert!(!warned(&[gateway, token].concat()));
    }
    assert!(!warned(&["--base-url", "http://localhost:5004"]));
}

#[test]
fn manual_pages_tell_statuses_and_variables_and_their_directory_is_made() {
    let here = tempfile::tempdir().unwrap();
    let pages = here.path().join("not/there/man1");
    done(here.path(), "", &["man", pages.to_str().unwrap()]);
    for entry in fs::read_dir(&pages).unwrap() {
        let path = entry.unwrap().path();
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.contains(".SH EXIT STATUS\n.TP\n0\ndone"), "{path:?}");
        assert!(!page.contains(".SH EXTRA"), "{path:?}");
        // What stands at the foot of each.
        let title = page.lines().find(|it| it.starts_with(".TH ")).unwrap();
        assert!(title.contains("\"larder 0."), "{path:?}: {title}");
    }
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    for (name, told) in [
        (
            "larder-get.1",
            "\\fBLARDER_NODE\\fR\nthe same as \\-\\-node",
        ),
        ("larder-get.1", ".TP\n7\ndamaged"),
        (
            "larder-serve.1",
            "\\fBPEER_PORT\\fR\nthe same as \\-\\-port",
        ),
        ("larder.1", "\\fBLARDER_QUOTA\\fR"),
        ("larder-network-invite.1", "\\fB\\-\\-for\\fR"),
        ("larder-info.1", ".SH ENVIRONMENT"),
        ("larder-get.1", "\\fBhttp_proxy, https_proxy"),
        ("larder-put.1", "\\fBXDG_STATE_HOME\\fR"),
        ("larder-put.1", "\\fBTMPDIR\\fR"),
        ("larder-verify.1", "\\fBTMPDIR\\fR"),
        ("larder-status.1", "\\fBLARDER_CONFIG, PEER_PORT"),
        ("larder-status.1", ".SH SEE ALSO\n\\fBlarder\\fR(1)"),
    ] {
        assert!(page(name).contains(told), "{name}: {}", page(name));
    }
}

#[test]
fn the_manual_page_of_a_command_is_printed_and_makes_no_directory() {
    let here = tempfile::tempdir().unwrap();
    for (name, title) in [
        ("put", "larder-put"),
        ("larder-put", "larder-put"),
        ("network-invite", "larder-network-invite"),
    ] {
        let page = done(here.path(), "", &["man", name]);
        assert!(page.contains(&format!(".TH {title} 1")), "{page}");
        assert!(!here.path().join(name).exists(), "{name}");
    }
    // What is neither is rather mistyped.
    let told = failed(here.path(), "", &["man", "putt"]);
    assert_eq!(told.0, 2, "{}", told.1);
    assert!(told.1.contains("no command putt"), "{}", told.1);
    assert!(!here.path().join("putt").exists());
    // Where a directory is meant all the same.
    assert_eq!(done(here.path(), "", &["man", "./put"]), "");
    assert!(here.path().join("put/larder-put.1").exists());
}
