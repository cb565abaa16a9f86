//! How commands end: with a word on everything that they did and could not do, with the status
//! that says it, and quietly where nobody reads what they print.

use std::collections::BTreeSet;
use std::fs;
use std::io::pipe;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::commands::{Printing, command, done, failed, json, run};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::held;
use crate::common::process::{Node, larder};
use crate::common::raw_http::get;
use crate::common::relay::Relay;

/// The signal by which a write to a pipe ends that nobody reads.
const SIGPIPE: i32 = 13;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (_, write) = pipe().unwrap();
    write.into()
}

/// The ids of the first words of lines.
fn ids(lines: &str) -> BTreeSet<String> {
    let words = lines.lines().filter_map(|it| it.split_once(' '));
    words.map(|(id, _)| id.to_owned()).collect()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_id_that_a_command_prints_is_known_to_the_others() {
    let (_dir, node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::write(here.join("same.txt"), "same").unwrap();
    let mut printed = BTreeSet::new();
    for _ in 0..3 {
        printed.extend(ids(&done(here, &url, &["put", "same.txt"])));
    }
    printed.extend(ids(&done(here, &url, &["ls"])));
    assert_eq!(printed.len(), 3);
    for id in printed {
        let got = done(here, &url, &["get", &id, "-o", "-"]);
        assert_eq!(got, "same", "{id}");
        assert!(
            done(here, &url, &["keep", &id]).starts_with("keeps "),
            "{id}"
        );
        assert!(done(here, &url, &["rm", &id]).contains(&id), "{id}");
    }
}

/// A folder with small files, one that is refused, and what can be no file.
fn mixed(here: &Path) {
    let folder = here.join("mixed");
    fs::create_dir_all(folder.join("sub")).unwrap();
    for number in 0..12 {
        let bytes = vec![number; 700_000];
        fs::write(folder.join(format!("sub/k{number}")), bytes).unwrap();
    }
    fs::write(folder.join("big"), vec![0; 1_100_000]).unwrap();
    symlink("/nowhere", folder.join("sub/dangling")).unwrap();
    symlink("..", folder.join("sub/up")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    fs::write(here.join("last"), "last").unwrap();
}

#[test]
fn put_sends_all_that_it_can_and_names_each_file_that_it_cannot() {
    let (_dir, node) = start(&["--max-upload", "1MB"]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    mixed(here);
    let output = run(here, &url, &["put", "none", "mixed", "last"]);
    let (told, errors) = texts(&output);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    let stored = held(node.address);
    let stored = stored
        .iter()
        .map(|it| it["file_id"].as_str().unwrap().to_owned());
    assert_eq!(ids(&told), stored.collect::<BTreeSet<_>>(), "{errors}");
    assert_eq!(ids(&told).len(), 13, "{told}{errors}");
    for (line, count) in [
        ("larder: none: No such file or directory\n", 1),
        ("larder: mixed/big: the node refuses: ", 1),
        (
            "larder: mixed/sub/dangling is a link that leads to nothing\n",
            1,
        ),
        (
            "larder: mixed/sub/up is a link to a folder, and is left out\n",
            1,
        ),
        (
            "larder: mixed/pipe is neither a file nor a folder, and is left out\n",
            1,
        ),
        ("larder: not sent, 3 of 16: ", 1),
        ("larder: ", 6),
    ] {
        assert_eq!(errors.matches(line).count(), count, "{line}: {errors}");
    }
}

#[test]
fn what_is_left_out_is_no_failure_and_what_cannot_be_read_is_one() {
    let (_dir, node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::create_dir_all(here.join("a/b")).unwrap();
    fs::write(here.join("a/b/one"), "1").unwrap();
    symlink("b", here.join("a/link")).unwrap();
    let output = run(here, &url, &["put", "a"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        texts(&output).0.contains("  a/b/one  http://"),
        "{output:?}"
    );
    assert!(texts(&output).1.contains("a/link is a link to a folder"));
    symlink("/nowhere", here.join("a/b/link")).unwrap();
    let output = run(here, &url, &["put", "a"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        texts(&output).0.contains("  a/b/one  http://"),
        "{output:?}"
    );
    assert!(
        texts(&output)
            .1
            .contains("a/b/link is a link that leads to nothing")
    );
    let (status, told) = failed(here, &url, &["put", "a/b/link"]);
    assert_eq!(status, 3, "{told}");
    for missing in [&["put", "none"][..], &["put", "none", "--name", "x"]] {
        let (status, told) = failed(here, &url, missing);
        assert_eq!((status, told.lines().count()), (3, 1), "{told}");
    }
    // Where no file can fare better, no other is tried.
    for number in 0..40 {
        fs::write(here.join(format!("a/{number}")), "x").unwrap();
    }
    let (_dir, closed) = start(&["--token", "0123456789abcdef"]);
    let (status, told) = failed(here, &closed.url(""), &["put", "a"]);
    assert_eq!(status, 6, "{told}");
    assert!(told.matches("a/").count() < 12, "{told}");
    assert!(
        told.ends_with("the files after these are not sent\n"),
        "{told}"
    );
}

#[test]
fn a_command_whose_output_nobody_reads_ends_without_a_word() {
    let (_dir, node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    uploaded(node.address, "a", b"content");
    fs::write(here.join("b"), "of mine").unwrap();
    for arguments in [
        &["ls"][..],
        &["ls", "--json"],
        &["ls", "--network"],
        &["status"],
        &["get", "a", "-o", "-"],
        &["put", "b"],
        &["keep", "a"],
        &["rm", "b"],
        &["config"],
        &["config", "--json"],
        &["completions", "bash"],
        &["man"],
    ] {
        let output = command(here, &url, arguments).stdout(unread()).output();
        let output = output.unwrap();
        assert_eq!(texts(&output).1, "", "{arguments:?}");
        assert_eq!(
            output.status.signal(),
            Some(SIGPIPE),
            "{arguments:?}: {output:?}"
        );
    }
    let help = command(here, &url, &["--help"]).stdout(unread()).output();
    assert_eq!(texts(&help.unwrap()).1, "");
}

#[test]
fn what_nobody_hears_on_standard_error_changes_no_status_and_stops_no_node() {
    let (_dir, node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::write(here.join("larder.toml"), "no-such = 1\n").unwrap();
    for (arguments, status) in [
        (&["get", "none"][..], 3),
        (&["put", "none"], 3),
        (&["ls", "--node", "http://localhost:1"], 5),
        (&["serve"], 2),
        (&["serve", "--port", "x"], 2),
    ] {
        let ended = command(here, &url, arguments).stderr(unread()).output();
        assert_eq!(ended.unwrap().status.code(), Some(status), "{arguments:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut mute = larder(dir.path());
    let script = "exec \"$0\" serve --log trace 2> >(exec true)";
    let mut shell = std::process::Command::new("/bin/bash");
    shell.args(["-c", script]).arg(mute.get_program());
    shell.current_dir(dir.path()).env_clear();
    shell.envs(
        mute.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    mute = shell;
    let mute = Node::spawn(&dir, mute);
    for _ in 0..20 {
        uploaded(mute.address, "a", b"content");
    }
    assert_eq!(get(mute.address, "/health", &[]).status, 200);
    assert_eq!(json(here, &mute.url(""), &["ls"]).len(), 20);
}

#[test]
fn a_port_where_nothing_listens_is_told_once_however_often_it_is_tried() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let here = tempfile::tempdir().unwrap();
    fs::create_dir(here.path().join("d")).unwrap();
    for number in 0..9 {
        fs::write(here.path().join(format!("d/{number}")), "x").unwrap();
    }
    for arguments in [&["put", "d"][..], &["get", "a"], &["ls"], &["status"]] {
        let (status, told) = failed(here.path(), &url, arguments);
        assert_eq!(status, 5, "{told}");
        // What sends waits for a node that is just being restarted, and says so once.
        let tries = told.matches("tries again").count();
        assert_eq!(tries, usize::from(arguments[0] == "put"), "{told}");
        let lines = told.lines().filter(|it| it.contains("no node answers"));
        assert_eq!(lines.count(), tries + 1, "{told}");
    }
}

#[test]
fn an_answer_that_stands_still_is_told_as_none() {
    let (_dir, node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    uploaded(node.address, "a", &vec![7; 1 << 20]);
    let commands = [
        (&["status"][..], 100),
        (&["ls"], 100),
        (&["get", "a"], 100_000),
        (&["get", "a", "-o", "-"], 100_000),
    ];
    let waiting = commands.map(|(arguments, bytes)| {
        let relay = Relay::new();
        relay.connect(node.address);
        relay.stall_after(bytes);
        let mut waiting = command(here, &relay.url(), arguments);
        waiting.stdout(Stdio::piped()).stderr(Stdio::piped());
        (arguments, waiting.spawn().unwrap(), relay)
    });
    for (arguments, waiting, _relay) in waiting {
        let output = waiting.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{arguments:?}");
        let errors = texts(&output).1;
        assert!(errors.contains("it was waited for 30 s"), "{errors}");
    }
}

#[test]
fn a_node_that_takes_connections_and_does_not_answer_is_told_within_half_a_minute() {
    let (_dir, node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::write(here.join("a"), "a").unwrap();
    done(here, &url, &["put", "a"]);
    node.signal(rustix::process::Signal::STOP);
    let commands = [
        &["status"][..],
        &["ls"],
        &["peers"],
        &["get", "a"],
        &["rm", "a"],
        &["keep", "a"],
        &["put", "a"],
    ];
    let waiting = commands.map(|it| {
        let mut waiting = command(here, &url, it);
        waiting.stdout(Stdio::piped()).stderr(Stdio::piped());
        (it, waiting.spawn().unwrap())
    });
    for (arguments, waiting) in waiting {
        let output = waiting.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {output:?}");
        let (told, errors) = texts(&output);
        assert_eq!((&*told, errors.lines().count()), ("", 1), "{errors}");
        assert!(
            errors.contains("does not answer: it was waited for 30 s"),
            "{errors}"
        );
    }
    node.signal(rustix::process::Signal::CONT);
}

/// A node that has what another one holds, and the other one.
fn two() -> [(TempDir, Node); 2] {
    let holder = start(&["--discover-every", "1"]);
    let url = holder.1.url("");
    [start(&["--discover-every", "1", "--peer", &url]), holder]
}

#[test]
fn a_copy_that_is_asked_for_again_keeps_its_id() {
    let [(_dir, node), (_other_dir, other)] = two();
    let hash = uploaded(other.address, "a", b"content")["hash"].clone();
    let hash = hash.as_str().unwrap();
    crate::common::peers::until_sees(node.address, &["a"]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let kept = json(here, &url, &["keep", hash]).remove(0);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let copy = files["files"][0]["file_id"].clone();
    assert_eq!(kept["file_id"], copy);
    for again in [
        &["keep", hash][..],
        &["keep", "a"],
        &["keep", "a", "--no-wait"],
    ] {
        let again = json(here, &url, again).remove(0);
        assert_eq!(
            (&again["state"], &again["file_id"]),
            (&"kept".into(), &copy)
        );
    }
}

#[test]
fn content_that_is_asked_for_by_its_hash_is_saved_under_its_name() {
    let [(_dir, node), (_other_dir, other)] = two();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let hash = uploaded(other.address, "../../first.txt", b"content")["hash"].clone();
    let hash = hash.as_str().unwrap();
    crate::common::peers::until_sees(node.address, &["../../first.txt"]);
    uploaded(node.address, "second.txt", b"content");
    let got = done(here, &url, &["get", hash]);
    assert!(got.starts_with("first.txt  "), "{got}");
    assert_eq!(fs::read(here.join("first.txt")).unwrap(), b"content");
}

#[test]
fn a_copy_that_does_not_come_is_told_with_its_reason_and_waited_for_no_longer_than_a_minute() {
    let [(_dir, node), (_other_dir, other)] = two();
    uploaded(other.address, "gone", b"content");
    crate::common::peers::until_sees(node.address, &["gone"]);
    drop(other);
    let here = tempfile::tempdir().unwrap();
    let (status, told) = failed(here.path(), &node.url(""), &["keep", "gone"]);
    assert_eq!(status, 1, "{told}");
    assert!(
        told.starts_with("larder: not kept yet: no peer could serve"),
        "{told}"
    );
    assert!(
        told.contains("no byte of the copy has come for 60 s"),
        "{told}"
    );
}

/// Behind a balancer, say: the node that makes a file of what has come works on, and whichever
/// answers meanwhile says that all is well.
#[test]
fn an_upload_that_has_come_is_waited_for_as_long_as_its_node_answers() {
    let ((_dir, node), (_other_dir, other)) = (start(&[]), start(&[]));
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("file"), content(1, 100_000)).unwrap();
    let cable = Relay::new();
    cable.connect(node.address);
    // The requests before the body are shorter than that.
    cable.hold_after(20_000);
    let putting = Printing::start(here.path(), &cable.url(), &["put", "file"]);
    cable.until_held();
    node.signal(Signal::STOP);
    cable.connect(other.address);
    cable.mend();
    // Longer than a node may say nothing.
    let began = Instant::now();
    while other.log().matches("path=\"/health\"").count() < 4 {
        assert!(began.elapsed() < Duration::from_mins(2), "{}", other.log());
        thread::sleep(Duration::from_millis(100));
    }
    assert!(began.elapsed() > Duration::from_secs(30));
    node.signal(Signal::CONT);
    let told = putting.done();
    assert!(String::from_utf8(told).unwrap().contains("file"));
    // It may have been too slow for the one that stood still.
    let stored = [&node, &other].map(|it| get(it.address, "/api/p2p/files", &[]).json());
    let count = |files: &Value| files["files"].as_array().unwrap().len();
    assert_eq!(stored.iter().map(count).sum::<usize>(), 1, "{stored:?}");
}
