//! The commands that ask a running node: as processes, in a pipe and in a terminal.

use std::process::{Child, Command, Stdio};
use std::thread;

use larder::hash::BlobHash;
use serde_json::json as value;
use tempfile::TempDir;

use crate::common::canned::{Canned, Reply};
use crate::common::commands::{command, done, failed, json, run};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{held, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::common::relay::Relay;

const MIB: usize = 1 << 20;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

#[test]
fn a_file_goes_there_and_comes_back() {
    let (_dir, node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let bytes = content(1, 3 * MIB);
    std::fs::write(here.join("a.bin"), &bytes).unwrap();
    let told = done(here, &url, &["put", "a.bin", "--description", "of a test"]);
    let told: Vec<_> = told.trim().split("  ").collect();
    let [id, "a.bin", link] = *told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(link, node.url(&format!("/api/p2p/file/{id}")));
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["files"][0]["file_id"], id);
    assert_eq!(files["files"][0]["description"], "of a test");
    assert!(done(here, &url, &["ls"]).ends_with("  a.bin\n"));
    assert_eq!(failed(here, &url, &["ls", "no such"]).0, 3);

    let hash = BlobHash::of(&bytes).to_string();
    for wanted in [id, &hash, "a.bin"] {
        done(here, &url, &["get", wanted, "-o", "back"]);
        assert!(
            std::fs::read(here.join("back")).unwrap() == bytes,
            "{wanted}"
        );
        std::fs::remove_file(here.join("back")).unwrap();
        assert!(run(here, &url, &["get", wanted, "-o", "-"]).stdout == bytes);
    }
    // What is there already is what was asked for.
    done(here, &url, &["get", "a.bin"]);
    std::fs::write(here.join("a.bin"), "another").unwrap();
    let (status, told) = failed(here, &url, &["get", "a.bin"]);
    assert_eq!(status, 1);
    assert!(
        told.contains("a.bin is there already; --force replaces it"),
        "{told}"
    );
    done(here, &url, &["get", "a.bin", "--force"]);
    assert!(std::fs::read(here.join("a.bin")).unwrap() == bytes);

    let removed = done(here, &url, &["rm", "a.bin"]);
    assert_eq!(removed, format!("removed a.bin ({id})\n"));
    assert_eq!(done(here, &url, &["ls"]), "");
}

#[test]
fn what_programs_read_is_json() {
    let (_dir, node) = start(&["--discover-every", "1"]);
    let other_dir = tempfile::tempdir().unwrap();
    let other = Node::start(
        &other_dir,
        &["--discover-every", "1", "--peer", &node.url("")],
    );
    uploaded(other.address, "there", b"of the other node");
    until_sees(node.address, &["there"]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    std::fs::write(here.join("a"), "content").unwrap();
    let sent = json(here, &url, &["put", "a"]).remove(0);
    let hash = BlobHash::of(b"content").to_string();
    assert_eq!(sent["hash"], hash);
    assert_eq!(
        (&sent["original_name"], &sent["size"]),
        (&value!("a"), &value!(7))
    );
    let listed = json(here, &url, &["ls"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["file_id"], sent["file_id"]);
    let network = json(here, &url, &["ls", "--network"]);
    assert_eq!(network.len(), 2);
    let got = json(here, &url, &["get", "there"]).remove(0);
    assert_eq!(
        (&got["path"], &got["size"]),
        (&value!("there"), &value!(17))
    );
    let kept = json(here, &url, &["keep", "there"]).remove(0);
    assert_eq!(
        (&kept["state"], &kept["fetched"]),
        (&value!("kept"), &value!(17))
    );
    assert_eq!(json(here, &url, &["peers"])[0]["verified"], true);
    let status = json(here, &url, &["status"]).remove(0);
    assert_eq!(
        (&status["files"], &status["peers"]),
        (&value!(2), &value!(1))
    );
    assert_eq!(status["blob_bytes"], 24);
    let removed = json(here, &url, &["rm", &hash]).remove(0);
    assert_eq!(removed["file_id"], sent["file_id"]);
}

#[test]
fn a_folder_goes_with_all_that_is_in_it() {
    let (_dir, node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("photos");
    std::fs::create_dir_all(folder.join("2026/empty")).unwrap();
    for number in 0..20 {
        std::fs::write(
            folder.join(format!("2026/{number}.jpg")),
            number.to_string(),
        )
        .unwrap();
    }
    std::fs::write(folder.join("index"), "").unwrap();
    // It would lead around for ever.
    std::os::unix::fs::symlink("..", folder.join("2026/up")).unwrap();
    let output = run(here.path(), &node.url(""), &["put", "photos", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let left_out = "larder: photos/2026/up is a link to a folder, and is left out\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), left_out);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().lines().count(),
        21
    );
    let mut names: Vec<_> = held(node.address)
        .iter()
        .map(|file| file["original_name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut expected: Vec<_> = (0..20).map(|it| format!("photos/2026/{it}.jpg")).collect();
    expected.push("photos/index".to_owned());
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn scripts_can_tell_failures_apart() {
    let (_dir, node) = start(&["--token", "0123456789abcdef"]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    std::fs::write(here.join("a"), "one").unwrap();
    let put = |text: &str, token: &str| {
        std::fs::write(here.join("a"), text).unwrap();
        run(here, &url, &["put", "a", "--token", token])
            .status
            .code()
    };
    assert_eq!(put("one", "0123456789abcdef"), Some(0));
    assert_eq!(put("two", "0123456789abcdef"), Some(0));
    assert_eq!(put("three", "0123456789abcdeX"), Some(6));
    let nobody = "http://localhost:1";
    for (node, arguments, status, told) in [
        (
            &*url,
            &["get", "none"][..],
            3,
            "`larder ls --network` shows what there is",
        ),
        (
            &url,
            &["rm", "none"],
            3,
            "no file has the id, hash or name none",
        ),
        (
            &url,
            &["get", "a", "-o", "b"],
            4,
            "a means several files; name one by its id:\n  01",
        ),
        (
            nobody,
            &["ls"],
            5,
            "no node answers at http://localhost:1; start one with `larder serve`",
        ),
        (
            &url,
            &["put", "a"],
            6,
            "give its token with --token or LARDER_TOKEN",
        ),
        (&url, &["put", "none"], 3, "none: No such file or directory"),
        (
            &url,
            &["put", "/dev/null"],
            1,
            "/dev/null is neither a file nor a folder",
        ),
        (&url, &["put"], 2, "required arguments were not provided"),
        (&url, &["ls", "--node", "ftp://a"], 2, "invalid value"),
    ] {
        let (found, error) = failed(here, node, arguments);
        assert_eq!(found, status, "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
    assert!(!here.join("b").exists());
}

#[test]
fn wrong_bytes_are_told_and_not_kept() {
    let hash = BlobHash::of(b"right").to_string();
    let file = value!({ "file_id": "01a20831-60df-7192-a718-76572f743d37", "size": 5,
        "original_name": "a", "hash": hash, "uploaded_at": "2026-01-21T10:00:00", "peers": [] });
    let list = value!({ "files": [file], "next": null }).to_string();
    let liar = Canned::start(move |_, asked| {
        let is_list = asked.contains("/api/p2p/network");
        Reply::Json(if is_list {
            list.clone()
        } else {
            "wrong".to_owned()
        })
    });
    let here = tempfile::tempdir().unwrap();
    let (status, told) = failed(here.path(), &liar.url(), &["get", "a"]);
    assert_eq!(status, 7, "{told}");
    assert!(
        told.contains("the bytes that came are not those of a"),
        "{told}"
    );
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

#[test]
fn names_of_others_neither_lead_elsewhere_nor_command_the_terminal() {
    let (_dir, node) = start(&[]);
    uploaded(node.address, "../../up\u{1b}[2J", b"content");
    let here = tempfile::tempdir().unwrap();
    let below = here.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let id = held(node.address)[0]["file_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let got = run(&below, &node.url(""), &["get", &id]);
    assert!(got.status.success(), "{got:?}");
    // What it is called here instead is told, too.
    let told = String::from_utf8([got.stdout, got.stderr].concat()).unwrap();
    let told = told + &done(&below, &node.url(""), &["ls"]);
    assert!(told.contains(r"../../up\u{1b}[2J is up"), "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let files: Vec<_> = std::fs::read_dir(&below).unwrap().collect();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 1);
}

#[test]
fn a_download_goes_on_where_it_was_cut() {
    let (_dir, node) = start(&[]);
    let bytes = content(2, 24 * MIB);
    uploaded(node.address, "large", &bytes);
    let relay = Relay::new();
    relay.connect(node.address);
    let here = tempfile::tempdir().unwrap();
    relay.cut_after(10 * MIB as u64);
    let mut running = command(here.path(), &relay.url(), &["get", "large"])
        .spawn()
        .unwrap();
    until("the connection is cut", || {
        (relay.carried() >= 10 * MIB as u64).then_some(())
    });
    relay.mend();
    assert!(running.wait().unwrap().success());
    assert!(std::fs::read(here.path().join("large")).unwrap() == bytes);
    let carried = relay.carried();
    assert!(carried < 25 * MIB as u64, "{carried} bytes for 24 MiB");

    // What a run before has left is taken up, if it is right.
    std::fs::remove_file(here.path().join("large")).unwrap();
    let hash = BlobHash::of(&bytes).to_string();
    let partial = here.path().join(format!(".large.{}.part", &hash[..12]));
    std::fs::write(&partial, &bytes[..20 * MIB]).unwrap();
    done(here.path(), &relay.url(), &["get", "large"]);
    assert!(relay.carried() - carried < 5 * MIB as u64);
    std::fs::remove_file(here.path().join("large")).unwrap();
    std::fs::write(&partial, &bytes[1..20 * MIB]).unwrap();
    let anew = run(here.path(), &relay.url(), &["get", "large"]);
    assert!(anew.status.success(), "{anew:?}");
    assert!(!partial.exists());
    assert!(std::fs::read(here.path().join("large")).unwrap() == bytes);
}

/// Waits until so much of an upload is at the node.
fn until_arrived(dir: &TempDir, bytes: usize) {
    let uploading = dir.path().join("peer_storage/uploading");
    until("much has arrived", || {
        let mut entries = std::fs::read_dir(&uploading)
            .ok()?
            .map(|it| it.unwrap().path());
        let content = entries.find(|path| path.extension().is_none())?;
        (content.metadata().ok()?.len() >= bytes as u64).then_some(())
    });
}

#[test]
fn an_upload_goes_on_when_the_node_or_the_command_was_killed() {
    let (dir, mut node) = start(&[]);
    let here = tempfile::tempdir().unwrap();
    let bytes = content(3, 96 * MIB);
    std::fs::write(here.path().join("large"), &bytes).unwrap();
    let url = node.url("");
    let put = || -> Child {
        let mut put = command(here.path(), &url, &["put", "large"]);
        put.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut killed = put();
    until_arrived(&dir, 10 * MIB);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let going_on = put();
    until_arrived(&dir, 30 * MIB);
    let address = node.address.to_string();
    node.kill();
    node = Node::start(&dir, &["--listen", &address]);
    let output = going_on.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let files = held(node.address);
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0]["hash"], BlobHash::of(&bytes).to_string());
    assert!(node.log().contains("PATCH"));
    let begun = std::fs::read_dir(here.path().join("state/larder/uploads")).unwrap();
    assert_eq!(begun.count(), 0, "what is whole is no longer remembered");
}

#[test]
fn a_terminal_shows_how_far_a_transfer_is() {
    let (_dir, node) = start(&[]);
    let relay = Relay::new();
    relay.connect(node.address);
    let here = tempfile::tempdir().unwrap();
    let bytes = content(4, 64 * MIB);
    uploaded(node.address, "large", &bytes);
    let larder = env!("CARGO_BIN_EXE_larder");
    let typed = format!("stty cols 100; '{larder}' get large --node {}", relay.url());
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &typed, "/dev/null"]);
    relay.stall_after(32 * MIB as u64);
    let running = terminal.current_dir(here.path()).stdin(Stdio::null());
    let running = running.stdout(Stdio::piped()).spawn().unwrap();
    until("half has come", || {
        (relay.carried() >= 32 * MIB as u64).then_some(())
    });
    let mending = thread::spawn(move || relay.mend());
    let output = running.wait_with_output().unwrap();
    mending.join().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    assert!(
        shown.contains(" of 64.00 MiB") && shown.contains("/s") && shown.contains(" left"),
        "{shown:?}"
    );
    assert!(shown.trim_end().ends_with("large  64.00 MiB"), "{shown:?}");
}

#[test]
fn a_transfer_that_goes_on_shows_what_is_there_from_its_beginning() {
    let (_dir, node) = start(&[]);
    let relay = Relay::new();
    relay.connect(node.address);
    let here = tempfile::tempdir().unwrap();
    let bytes = content(4, 24 * MIB);
    uploaded(node.address, "large", &bytes);
    let hash = BlobHash::of(&bytes).to_string();
    let partial = here.path().join(format!(".large.{}.part", &hash[..12]));
    std::fs::write(&partial, &bytes[..16 * MIB]).unwrap();
    let larder = env!("CARGO_BIN_EXE_larder");
    let typed = format!("stty cols 100; '{larder}' get large --node {}", relay.url());
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &typed, "/dev/null"]);
    relay.slow_to(8 << 20);
    let running = terminal.current_dir(here.path()).stdin(Stdio::null());
    let output = running.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    let first = shown.split(" of 24.00 MiB").next().unwrap();
    let (_, first) = first.rsplit_once("large").unwrap();
    let (number, unit) = first.trim().split_once(' ').unwrap();
    let number: f64 = number.parse().unwrap();
    assert!(unit == "MiB" && number >= 16.0, "{shown:?}");
    assert!(std::fs::read(here.path().join("large")).unwrap() == bytes);
}

#[test]
fn times_are_told_with_their_zone() {
    let (_dir, node) = start(&[]);
    let (_other_dir, other) = start(&["--peer", &node.url(""), "--discover-every", "1"]);
    let here = tempfile::tempdir().unwrap();
    uploaded(node.address, "a", b"one");
    uploaded(node.address, "a", b"two");
    until("they know each other", || {
        let told = done(here.path(), &other.url(""), &["peers"]);
        (!told.is_empty()).then_some(())
    });
    let (url, other) = (node.url(""), other.url(""));
    let clear = [
        done(here.path(), &url, &["ls"]),
        done(here.path(), &url, &["ls", "-l"]),
        done(here.path(), &url, &["info", "a"]),
        done(here.path(), &other, &["peers"]),
        failed(here.path(), &url, &["get", "a"]).1,
    ];
    for told in clear {
        let times = told
            .split_whitespace()
            .filter(|it| it.starts_with("20") && it.contains('T'));
        let times: Vec<_> = times.collect();
        assert!(!times.is_empty(), "{told}");
        assert!(times.iter().all(|it| it.ends_with('Z')), "{told}");
    }
}

#[test]
fn shells_and_man_are_told_of_every_command() {
    let here = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = done(here.path(), "http://localhost:1", &["completions", shell]);
        assert!(script.contains("rebuild-index"), "{shell}");
        if shell == "bash" {
            let path = here.path().join("completions");
            std::fs::write(&path, script).unwrap();
            assert!(
                Command::new("bash")
                    .arg("-n")
                    .arg(path)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
    let page = done(here.path(), "http://localhost:1", &["man"]);
    assert!(page.contains(".TH larder 1"), "{page}");
    done(here.path(), "http://localhost:1", &["man", "."]);
    for command in ["larder", "larder-put", "larder-get", "larder-serve"] {
        assert!(
            here.path().join(format!("{command}.1")).exists(),
            "{command}"
        );
    }
}

#[test]
fn what_other_nodes_hold_is_not_said_to_be_nowhere_when_it_cannot_be_removed() {
    let (_dir, other) = start(&["--discover-every", "1"]);
    let (_here, node) = start(&["--discover-every", "1", "--peer", &other.url("")]);
    let file = uploaded(other.address, "there", b"of the other node");
    until_sees(node.address, &["there"]);
    let here = tempfile::tempdir().unwrap();
    for wanted in [
        "there",
        file["file_id"].as_str().unwrap(),
        file["hash"].as_str().unwrap(),
    ] {
        let (status, told) = failed(here.path(), &node.url(""), &["rm", wanted]);
        assert_eq!(status, 3, "{told}");
        assert!(told.contains("this node does not hold"), "{told}");
    }
    let (status, told) = failed(here.path(), &node.url(""), &["rm", "nowhere"]);
    assert_eq!((status, told.contains("no file has")), (3, true), "{told}");
    done(here.path(), &other.url(""), &["rm", "there"]);
}
