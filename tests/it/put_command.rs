//! What `larder put` prints is stored, under that name and description and with the bytes that
//! the file had, whatever an earlier command has left and whatever happens to the file meanwhile.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use larder::hash::BlobHash;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::canned::{Canned, Reply};
use crate::common::commands::{command, done, failed, json};
use crate::common::content::content;
use crate::common::process::{Node, start};
use crate::common::raw_http::{get, head, send};
use crate::common::relay::Relay;

const MIB: usize = 1 << 20;
/// The size of a file that is not sent before its cable holds, in bytes: sockets take some.
const LARGE: usize = 32 * MIB;

/// The files that a node holds.
fn files(node: SocketAddr) -> Vec<Value> {
    let files = get(node, "/api/p2p/files", &[]).json();
    files["files"].as_array().unwrap().clone()
}

/// The uploads that a node has the beginnings of: their content's files.
fn unfinished(dir: &TempDir) -> Vec<PathBuf> {
    let uploading = fs::read_dir(dir.path().join("peer_storage/uploading"));
    let paths = uploading.into_iter().flatten().map(|it| it.unwrap().path());
    paths.filter(|path| path.extension().is_none()).collect()
}

fn notes(here: &Path) -> Vec<PathBuf> {
    let notes = fs::read_dir(here.join("state/larder/uploads"));
    notes
        .into_iter()
        .flatten()
        .map(|it| it.unwrap().path())
        .collect()
}

/// A command that has sent some of a file, and whose cable to the node holds back the rest.
struct Held {
    put: Child,
    cable: Relay,
}

impl Held {
    fn start(node: SocketAddr, here: &Path, arguments: &[&str]) -> Self {
        let cable = Relay::new();
        cable.connect(node);
        cable.hold_after(2 * MIB as u64);
        Self::by(cable, here, arguments)
    }

    /// Does so by a cable that holds.
    fn by(cable: Relay, here: &Path, arguments: &[&str]) -> Self {
        let mut put = command(here, &cable.url(), arguments);
        let put = put.stdout(Stdio::piped()).stderr(Stdio::piped());
        let put = put.spawn().unwrap();
        cable.until_held();
        Self { put, cable }
    }

    fn kill(mut self) -> Relay {
        self.put.kill().unwrap();
        self.put.wait().unwrap();
        self.cable.mend();
        self.cable
    }

    fn go_on(self) -> Output {
        self.cable.mend();
        self.put.wait_with_output().unwrap()
    }
}

/// A file of that size.
fn large(here: &Path, name: &str) -> Vec<u8> {
    let bytes = vec![1; LARGE];
    fs::write(here.join(name), &bytes).unwrap();
    bytes
}

/// What is done to a file.
type Change = fn(&Path);

/// Writes to a file, and sets the time of that back.
fn change_and_set_back(path: &Path) {
    let before = path.metadata().unwrap().modified().unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"another", 10).unwrap();
    file.set_modified(before).unwrap();
}

/// A command that is killed between the end of its upload and that of itself: the rest of what it
/// sent arrives by another way.
fn killed_at_its_end(node: SocketAddr, here: &Path, bytes: &[u8], arguments: &[&str]) -> Relay {
    let cable = Held::start(node, here, arguments).kill();
    let id = fs::read_to_string(&notes(here)[0]).unwrap();
    let target = format!("/api/p2p/tus/{}", id.trim());
    let looked = send(node, &head("HEAD", &target, &["Tus-Resumable: 1.0.0"]));
    let offset = looked.header("upload-offset").to_owned();
    let rest = &bytes[offset.parse().unwrap()..];
    let lines = [
        "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream",
        &format!("Upload-Offset: {offset}"),
        &format!("Content-Length: {}", rest.len()),
    ];
    let ended = send(node, &[&head("PATCH", &target, &lines), rest].concat());
    assert_ne!(ended.header("larder-file-id"), "", "{ended:?}");
    cable
}

/// Fails unless the first file of the node has these bytes.
fn assert_holds(node: &Node, bytes: &[u8]) {
    let hash = BlobHash::of(bytes).to_string();
    assert_eq!(files(node.address)[0]["hash"], hash);
}

#[test]
fn an_upload_that_has_ended_counts_only_while_its_file_is_there() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let bytes = large(here, "k");
    let put = ["put", "k", "--description", "a"];
    let cable = killed_at_its_end(node.address, here, &bytes, &put);
    let first = files(node.address)[0]["file_id"].clone();
    // What was stored and not told is told by the next, and stored once.
    assert_eq!(json(here, &cable.url(), &put)[0]["file_id"], first);
    assert_eq!(files(node.address).len(), 1);
    done(here, &cable.url(), &["rm", "k"]);

    let cable = killed_at_its_end(node.address, here, &bytes, &put);
    let removed = files(node.address)[0]["file_id"].clone();
    done(here, &cable.url(), &["rm", "k"]);
    let sent = json(here, &cable.url(), &put).remove(0);
    assert_ne!(sent["file_id"], removed);
    let there = files(node.address);
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["file_id"], sent["file_id"]);
    assert_eq!(there[0]["hash"], BlobHash::of(&bytes).to_string());
    assert_eq!(notes(here).len(), 0);
}

#[test]
fn another_name_or_description_is_another_upload() {
    let (dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let bytes = large(here, "p");
    let cable = Held::start(node.address, here, &["put", "p", "--description", "old"]).kill();
    let url = cable.url();
    done(
        here,
        &url,
        &["put", "p", "--description", "new", "--name", "q"],
    );
    let there = files(node.address);
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["description"], "new");
    assert_eq!(there[0]["original_name"], "q");
    assert_eq!(there[0]["hash"], BlobHash::of(&bytes).to_string());
    // The one that was begun is still gone on with.
    done(here, &url, &["put", "p", "--description", "old"]);
    let there = files(node.address);
    assert_eq!(
        (&there[1]["description"], &there[1]["original_name"]),
        (&"old".into(), &"p".into())
    );
    assert_eq!(unfinished(&dir).len(), 0);
}

#[test]
fn nothing_of_an_older_content_gets_into_a_file_whatever_its_time_says() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    large(here, "q");
    let cable = Held::start(node.address, here, &["put", "q"]).kill();
    change_and_set_back(&here.join("q"));
    done(here, &cable.url(), &["put", "q"]);
    let there = files(node.address);
    assert_eq!(there.len(), 1);
    let now = BlobHash::of(&fs::read(here.join("q")).unwrap());
    assert_eq!(there[0]["hash"], now.to_string());
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_not_stored() {
    let (dir, node) = start();
    let url = node.url("");
    let changes: [(&str, Change); 5] = [
        ("written to", change_and_set_back),
        ("longer", |path| {
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(b"more").unwrap();
        }),
        ("shorter", |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(20 * MIB as u64).unwrap();
        }),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("as long, with other bytes", |path| {
            fs::write(path, vec![2; LARGE]).unwrap();
        }),
    ];
    for (how, change) in changes {
        let here = tempfile::tempdir().unwrap();
        large(here.path(), "q");
        let sending = Held::start(node.address, here.path(), &["put", "q"]);
        change(&here.path().join("q"));
        let output = sending.go_on();
        assert_eq!(output.status.code(), Some(7), "{how}: {output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("q has changed while it was sent"),
            "{how}: {told}"
        );
        assert_eq!(files(node.address), Vec::<Value>::new(), "{how}");
        assert_eq!(unfinished(&dir), Vec::<PathBuf>::new(), "{how}");
        assert_eq!(notes(here.path()), Vec::<PathBuf>::new(), "{how}");
        let sent = json(here.path(), &url, &["put", "q"]).remove(0);
        let now = BlobHash::of(&fs::read(here.path().join("q")).unwrap());
        assert_eq!(sent["hash"], now.to_string(), "{how}");
        done(
            here.path(),
            &url,
            &["rm", sent["file_id"].as_str().unwrap()],
        );
    }
}

#[test]
fn what_becomes_of_the_name_of_a_file_changes_nothing_of_what_is_sent() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("q");
    let bytes = large(here.path(), "q");
    let sending = Held::start(node.address, here.path(), &["put", "q"]);
    fs::write(here.path().join("other"), "another").unwrap();
    fs::rename(here.path().join("other"), &path).unwrap();
    let output = sending.go_on();
    assert!(output.status.success(), "{output:?}");
    let there = files(node.address);
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["hash"], BlobHash::of(&bytes).to_string());
}

#[test]
fn what_has_no_size_or_a_wrong_one_is_sent_to_its_end() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let version = fs::read("/proc/version").unwrap();
    let sent = json(here, &url, &["put", "/proc/version"]).remove(0);
    assert_eq!(sent["hash"], BlobHash::of(&version).to_string());
    assert_eq!(sent["size"], version.len());
    // It says that it has a page.
    let told = "/sys/kernel/mm/transparent_hugepage/enabled";
    if let Ok(enabled) = fs::read(told) {
        let sent = json(here, &url, &["put", told]).remove(0);
        assert_eq!(sent["size"], enabled.len());
    }
    let piped = content(3, 3 * MIB);
    for arguments in [
        &["put", "-"][..],
        &["put", "/dev/stdin"],
        &["put", "-", "--name", "piped"],
    ] {
        let mut put = command(here, &url, &[arguments, &["--json"]].concat());
        let put = put.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut put = put.spawn().unwrap();
        put.stdin.take().unwrap().write_all(&piped).unwrap();
        let output = put.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let sent: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(sent["hash"], BlobHash::of(&piped).to_string());
        let name = arguments.get(3).unwrap_or(&"stdin");
        assert_eq!(sent["original_name"], *name);
    }
    assert_eq!(
        files(node.address).last().unwrap()["original_name"],
        "piped"
    );
    let (status, told) = failed(here, &url, &["put", "a", "b", "--name", "c"]);
    assert_eq!(
        (status, told.contains("--name is for one file")),
        (2, true),
        "{told}"
    );
}

#[test]
fn two_that_send_one_file_at_once_both_end_well() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let bytes = large(here, "w");
    let first = Held::start(node.address, here, &["put", "w"]);
    let mut second = command(here, &first.cable.url(), &["put", "w"]);
    let second = second.stdout(Stdio::piped()).spawn().unwrap();
    let first = first.go_on();
    assert!(first.status.success(), "{first:?}");
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success(), "{second:?}");
    let hash = BlobHash::of(&bytes).to_string();
    let there = files(node.address);
    for output in [&first, &second] {
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let (id, _) = told.split_once("  ").unwrap();
        assert!(
            there
                .iter()
                .any(|it| it["file_id"] == id && it["hash"] == hash)
        );
    }
    assert_eq!(notes(here), Vec::<PathBuf>::new());
}

#[test]
fn a_command_whose_turn_at_its_upload_was_taken_ends_well_too() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let bytes = large(here.path(), "w");
    let sending = Held::start(node.address, here.path(), &["put", "w"]);
    // As another machine that goes on with the same upload does.
    let id = fs::read_to_string(&notes(here.path())[0]).unwrap();
    let target = format!("/api/p2p/tus/{}", id.trim());
    let looked = send(
        node.address,
        &head("HEAD", &target, &["Tus-Resumable: 1.0.0"]),
    );
    assert_eq!(looked.status, 200);
    let output = sending.go_on();
    assert!(output.status.success(), "{output:?}");
    assert_holds(&node, &bytes);
}

#[test]
fn an_upload_that_the_node_no_longer_knows_is_begun_anew() {
    let (dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let bytes = large(here, "w");
    let cable = Held::start(node.address, here, &["put", "w"]).kill();
    let address = node.address.to_string();
    node.kill();
    // Another node has its address, or it was wiped.
    fs::remove_dir_all(dir.path().join("peer_storage")).unwrap();
    let node = Node::start(&dir, &["--listen", &address]);
    done(here, &cable.url(), &["put", "w"]);
    let there = files(node.address);
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["hash"], BlobHash::of(&bytes).to_string());
    // And while it is sent.
    cable.hold_after(2 * MIB as u64);
    let sending = Held::by(cable, here, &["put", "w"]);
    node.kill();
    fs::remove_dir_all(dir.path().join("peer_storage")).unwrap();
    let node = Node::start(&dir, &["--listen", &address]);
    let output = sending.go_on();
    assert!(output.status.success(), "{output:?}");
    assert_holds(&node, &bytes);
}

#[test]
fn notes_that_mean_nothing_do_no_harm_and_do_not_heap_up() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    large(here, "w");
    let cable = Held::start(node.address, here, &["put", "w"]).kill();
    let url = cable.url();
    let there = notes(here).remove(0);
    let other = tempfile::tempdir().unwrap();
    // An upload of another file.
    fs::write(other.path().join("other"), vec![4; LARGE]).unwrap();
    Held::start(node.address, other.path(), &["put", "other"]).kill();
    let id = fs::read(notes(other.path()).remove(0)).unwrap();
    let victim = other.path().join("victim");
    fs::write(&victim, &id).unwrap();
    let hash = BlobHash::of(&fs::read(here.join("w")).unwrap()).to_string();
    let plants: [&dyn Fn(); 5] = [
        &|| fs::write(&there, &id).unwrap(),
        &|| fs::write(&there, vec![0xff; MIB]).unwrap(),
        &|| fs::write(&there, "../../../../health").unwrap(),
        &|| fs::create_dir(&there).unwrap(),
        &|| symlink(&victim, &there).unwrap(),
    ];
    for plant in plants {
        let _ = fs::remove_file(&there).or_else(|_| fs::remove_dir(&there));
        plant();
        assert_eq!(json(here, &url, &["put", "w"])[0]["hash"], hash);
    }
    assert_eq!(fs::read(&victim).unwrap(), id);
    fs::remove_file(&there).unwrap();
    // Of those that nobody went on with the newest stay, and the old ones do not.
    let notes_dir = there.parent().unwrap();
    let month = std::time::Duration::from_hours(31 * 24);
    let long_ago = std::time::SystemTime::now() - month;
    for number in 0..1500 {
        let old = File::create(notes_dir.join(format!("{number}"))).unwrap();
        if number % 2 == 0 {
            old.set_modified(long_ago).unwrap();
        }
    }
    done(here, &url, &["put", "w"]);
    assert_eq!(notes(here).len(), 750);
    for number in 0..10_500 {
        File::create(notes_dir.join(format!("{number}"))).unwrap();
    }
    done(here, &url, &["put", "w"]);
    assert_eq!(notes(here).len(), 10_000);
}

#[test]
fn without_a_place_for_notes_files_are_sent_as_well() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("a"), "a").unwrap();
    fs::write(here.path().join("state"), "no folder").unwrap();
    done(here.path(), &node.url(""), &["put", "a"]);
    let mut homeless = command(here.path(), &node.url(""), &["put", "a"]);
    homeless.env_remove("XDG_STATE_HOME");
    assert!(homeless.output().unwrap().status.success());
    assert_eq!(files(node.address).len(), 2);
}

#[test]
fn a_node_that_has_stored_other_bytes_is_not_believed() {
    let id = "01a20831-60df-7192-a718-76572f743d37";
    for hash in [
        BlobHash::of(b"other").to_string(),
        String::new(),
        "x".to_owned(),
    ] {
        let liar = Canned::start(move |_, asked| {
            let upload = "21a4100bccba4d56afe5ff49cfb4b7c1";
            let finished = format!("Larder-File-Id: {id}\r\nLarder-File-Hash: {hash}");
            let metadata = "filename YQ==,description";
            Reply::Head(match asked.split(' ').next().unwrap() {
                "POST" => {
                    format!("201 Created\r\nLocation: /api/p2p/tus/{upload}\r\nUpload-Offset: 0")
                }
                "HEAD" => format!(
                    "200 OK\r\nUpload-Offset: 0\r\nUpload-Length: 1\r\nUpload-Metadata: {metadata}"
                ),
                "PATCH" => format!("204 No Content\r\nUpload-Offset: 1\r\n{finished}"),
                _ => "204 No Content".to_owned(),
            })
        });
        let here = tempfile::tempdir().unwrap();
        fs::write(here.path().join("a"), "a").unwrap();
        let output = command(here.path(), &liar.url(), &["put", "a"])
            .output()
            .unwrap();
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{output:?}"
        );
        if output.status.code() == Some(7) {
            assert!(liar.asked().contains(&format!("DELETE /api/p2p/file/{id}")));
        }
    }
}

#[test]
fn a_link_to_a_file_is_sent_as_that_file_as_the_help_says() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::create_dir(here.join("folder")).unwrap();
    fs::write(here.join("file"), "what is linked").unwrap();
    symlink("../file", here.join("folder/link")).unwrap();
    for path in ["folder", "folder/link"] {
        let sent = json(here, &url, &["put", path]).remove(0);
        assert_eq!(sent["hash"], BlobHash::of(b"what is linked").to_string());
        let name = sent["original_name"].as_str().unwrap();
        assert_eq!(Path::new(name).file_name().unwrap(), "link");
    }
    let help = done(here, &url, &["put", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains("A link to a file is sent as the file that it leads to."),
        "{help}"
    );
}
