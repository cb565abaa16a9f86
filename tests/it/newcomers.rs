//! What somebody meets who has never used the commands, and guesses.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::commands::{command, done, failed, json, run};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::held;
use crate::common::process::{Node, start};

/// The names in a list, in its order.
fn names(here: &Path, url: &str, arguments: &[&str]) -> Vec<String> {
    let files = json(here, url, arguments).into_iter();
    let names = files.map(|it| it["original_name"].as_str().unwrap().to_owned());
    names.collect()
}

/// What a command shows at a terminal where somebody types this, and its status.
fn at_terminal(here: &Path, url: &str, arguments: &str, keys: &[u8]) -> (i32, String) {
    let larder = env!("CARGO_BIN_EXE_larder");
    let typed = format!("'{larder}' {arguments}");
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &typed, "/dev/null"]);
    terminal.current_dir(here).env("LARDER_NODE", url);
    let terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = terminal.spawn().unwrap();
    // Its end is the end of what is typed.
    terminal.stdin.take().unwrap().write_all(keys).unwrap();
    let output = terminal.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), shown)
}

#[test]
fn a_host_alone_is_a_node_at_the_usual_port_and_every_port_that_fails_is_told() {
    let dir = tempfile::tempdir().unwrap();
    // An address of this test's own, where the usual port is free.
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let host = format!("127.{}.{b}.{}", a | 0x80, c.clamp(2, 250));
    let node = Node::start(&dir, &["--listen", &format!("{host}:5004")]);
    uploaded(node.address, "a", b"content");
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    assert_eq!(names(here, &host, &["ls"]), ["a"]);
    let (status, told) = failed(here, &format!("http://{host}"), &["ls"]);
    assert_eq!(status, 5, "{told}");
    let at = format!("no node answers at http://{host}:80;");
    assert!(told.contains(&at), "{told}");
}

#[test]
fn what_looks_like_a_flag_is_told_with_how_it_is_meant() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::write(here.join("-dash"), "content").unwrap();
    for (arguments, told) in [
        (&["put", "-dash"][..], "as in `larder put -- -dash`"),
        (&["get", "--dash"], "as in `larder get -- --dash`"),
        (&["rm", "-a b"], "as in `larder rm -- FILE`"),
        (&["put", "--nmae", "x", "a"], "did you mean --name?"),
        (&["--node", "x", "ls"], "as in `larder ls --node …`"),
    ] {
        let (status, error) = failed(here, &url, arguments);
        assert_eq!(status, 2, "{error}");
        assert!(
            error.contains(told) && error.lines().count() == 1,
            "{error}"
        );
    }
    let (_, told) = failed(here, &url, &["put", "-\u{1b}[2J"]);
    assert!(!told.contains('\u{1b}'), "{told:?}");
    done(here, &url, &["put", "--", "-dash"]);
    done(here, &url, &["put", "./-dash"]);
    assert_eq!(names(here, &url, &["ls"]), ["-dash", "-dash"]);
}

#[test]
fn standard_input_without_a_byte_is_an_empty_file() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let mut nothing = command(here, &url, &["put", "-"]);
    let output = nothing.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut pipe = command(here, &url, &["put", "-", "--name", "of a pipe"]);
    let pipe = pipe.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut pipe = pipe.spawn().unwrap();
    drop(pipe.stdin.take());
    assert!(pipe.wait().unwrap().success());
    for file in json(here, &url, &["ls"]) {
        assert_eq!(file["size"], 0, "{file}");
    }
    assert_eq!(
        names(here, &url, &["ls", "--oldest"]),
        ["stdin", "of a pipe"]
    );
}

#[test]
fn a_list_of_nothing_fails_where_something_was_looked_for() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    assert_eq!(done(here, &url, &["ls"]), "");
    for name in ["a.txt", "b.txt", "d/a.txt", "a*b"] {
        uploaded(node.address, name, name.as_bytes());
    }
    let more = "; --network looks at those of all nodes";
    for (arguments, told) in [
        (
            &["ls", "none"][..],
            "no file of this node has a name that holds none",
        ),
        (&["ls", "n*", "--oldest"], "no file of this node matches n*"),
        (&["ls", "n*"], more),
        (
            &["ls", "--network", "n*"],
            "no file of the network matches n*\n",
        ),
        (&["ls", "d*"], "no file matches d*, and folders do"),
    ] {
        let (status, error) = failed(here, &url, arguments);
        assert_eq!(status, 3, "{error}");
        assert!(error.contains(told), "{error}");
    }
    // Of those that match, not of those that the node looks through.
    assert_eq!(names(here, &url, &["ls", "-n", "1", "?.txt"]), ["b.txt"]);
    assert_eq!(
        names(here, &url, &["ls", "-n", "1", "--oldest", "b*"]),
        ["b.txt"]
    );
    assert_eq!(names(here, &url, &["ls", "--network", "d/*"]), ["d/a.txt"]);
    // As a part of a name it means what it did.
    uploaded(node.address, "xa*bx", b"x");
    assert_eq!(names(here, &url, &["ls", "a*b"]), ["xa*bx", "a*b"]);
}

#[test]
fn whoever_removes_what_a_pattern_means_at_a_terminal_is_asked_once() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    for name in ["a", "b", "d/c", "d/e", "f"] {
        uploaded(node.address, name, name.as_bytes());
    }
    for keys in [&b"n\n"[..], b"\n", b""] {
        let (status, shown) = at_terminal(here, &url, "rm '/**'", keys);
        assert_eq!(status, 1, "{shown}");
        assert!(
            shown.contains("remove all 5 files that /** means? [y/N]"),
            "{shown}"
        );
        assert!(
            shown.contains("5 files that /** means are not removed"),
            "{shown}"
        );
    }
    // The question is seen also where errors go elsewhere.
    let (status, shown) = at_terminal(here, &url, "rm '/**' 2>/dev/null", b"n\n");
    assert_eq!(status, 1, "{shown}");
    assert!(shown.contains("remove all 5 files"), "{shown}");
    assert_eq!(held(node.address).len(), 5);
    for (arguments, keys, left) in [
        ("rm d", &b"y\n"[..], 3),
        ("rm a", b"", 2),
        ("rm --yes '*'", b"", 0),
    ] {
        let (status, shown) = at_terminal(here, &url, arguments, keys);
        assert_eq!(status, 0, "{shown}");
        assert_eq!(held(node.address).len(), left, "{arguments}");
    }
    // Scripts are asked nothing.
    for name in ["a", "b"] {
        uploaded(node.address, name, name.as_bytes());
    }
    done(here, &url, &["rm", "*"]);
    assert!(held(node.address).is_empty());
}

#[test]
fn a_file_that_is_damaged_here_is_told_as_that_and_not_as_out_of_reach() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    uploaded(node.address, "a", &content(1, 100_000));
    let [stored] = &node.content_files()[..] else {
        panic!("{:?}", node.content_files());
    };
    let mut bytes = fs::read(stored).unwrap();
    bytes[70_000] ^= 1;
    fs::write(stored, bytes).unwrap();
    let got = run(here, &url, &["get", "a"]);
    assert_eq!(got.status.code(), Some(7), "{got:?}");
    let told = done(here, &url, &["info", "a"]);
    assert!(told.contains(" (damaged there)\n"), "{told}");
    assert!(told.contains("uploading it again mends that\n"), "{told}");
    let listed = done(here, &url, &["ls", "--network"]);
    assert!(listed.ends_with("0 nodes  a  (damaged)\n"), "{listed}");
    for told in [told, listed] {
        assert!(!told.contains("not reachable now"), "{told}");
    }
}
