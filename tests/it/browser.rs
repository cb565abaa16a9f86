//! The page in a browser, headless Chromium, as people use it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use chrono::{NaiveDateTime, TimeDelta};
use futures_util::future::join_all;
use larder::disk::Durability;
use larder::store::About;
use larder::store::local::{LocalStore, Options};

use crate::common::browser::{Visit, code_in, run, with_file};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{neighbours, until_sees};
use crate::common::process::{Node, larder};
use crate::common::python::Python;
use crate::common::raw_http::get;

const HOSTILE: &str = "<img src=x onerror=alert(1)>";

#[test]
fn a_file_is_uploaded_with_progress_and_downloaded_as_it_was() {
    let bytes = content(1, 16 << 20);
    let (dir, path) = with_file("a na\u{ef}ve file.bin", &bytes);
    let node = Node::start(&dir, &[]);
    let downloaded = dir.path().join("downloaded");
    run("upload.mjs", &node, &[&path, &downloaded]);
    assert!(std::fs::read(downloaded).unwrap() == bytes);
}

#[test]
fn what_is_deleted_is_restored_from_the_trash_or_gone_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--trash", "24h"]);
    uploaded(node.address, HOSTILE, b"kept");
    run("trash.mjs", &node, &[&HOSTILE]);
    let status = get(node.address, "/api/p2p/status", &[]).json();
    assert_eq!(
        (&status["local_files"], &status["blobs"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn an_upload_goes_on_after_a_pause_and_after_a_reload() {
    let bytes = content(2, 64 << 20);
    let (dir, path) = with_file("large.bin", &bytes);
    let node = Node::start(&dir, &[]);
    run("resume.mjs", &node, &[&path]);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["file_count"], 1);
    let id = files["files"][0]["file_id"].as_str().unwrap();
    let stored = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
    assert!(stored.body == bytes);
}

#[test]
fn an_upload_goes_on_by_itself_after_the_node_was_killed() {
    let bytes = content(10, 32 << 20);
    let (dir, path) = with_file("large.bin", &bytes);
    let node = Node::start(&dir, &[]);
    let port = node.address.port().to_string();
    let mut page = Visit::begin("restart.mjs", &node, &[&path]);
    page.until("under way");
    node.kill();
    let node = Node::start(&dir, &["--port", &port]);
    page.end();
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["file_count"], 1);
    let id = files["files"][0]["file_id"].as_str().unwrap();
    let stored = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
    assert!(stored.body == bytes);
}

#[test]
fn a_folder_is_dropped_onto_the_page() {
    let (dir, path) = with_file("at the top.txt", b"top");
    let folder = dir.path().join("folder");
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    std::fs::rename(path, folder.join("at the top.txt")).unwrap();
    let mut names = vec!["folder/at the top.txt".to_owned()];
    // More than a browser lists at once, each with the same size.
    for number in 0..120 {
        let name = format!("inner/{number}.txt");
        std::fs::write(folder.join(&name), format!("{number:03}")).unwrap();
        names.push(format!("folder/{name}"));
    }
    let node = Node::start(&dir, &[]);
    run("folder.mjs", &node, &[&folder, &names.len().to_string()]);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    let mut stored: Vec<_> = files.map(|it| it["original_name"].clone()).collect();
    stored.sort_by_key(|name| name.as_str().unwrap().to_owned());
    names.sort();
    assert_eq!(stored, names);
}

#[test]
fn a_folder_is_sent_without_the_storage_directory_in_it() {
    let (dir, path) = with_file("a.txt", b"top");
    let folder = dir.path().join("folder");
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    std::fs::rename(path, folder.join("a.txt")).unwrap();
    // Of a node that was started there once.
    let deep = folder.join("inner");
    let mut other = larder(&deep);
    other.args(["--storage", "node"]);
    Node::spawn(&dir, other).stop();
    assert!(deep.join("node/node.key").exists());
    let node = Node::start(&dir, &[]);
    let told = "1 storage directory of a node is left out";
    std::fs::write(folder.join("b.txt"), "b").unwrap();
    run("folder.mjs", &node, &[&folder, &"2", &told]);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    let mut names: Vec<_> = files
        .map(|it| it["original_name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["folder/a.txt", "folder/b.txt"]);
}

#[test]
fn the_page_tells_exactly_when_a_file_came() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    uploaded(node.address, "a.txt", b"content");
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let at = files["files"][0]["uploaded_at"].as_str().unwrap();
    let at: NaiveDateTime = at.parse().unwrap();
    let there = at + TimeDelta::minutes(5 * 60 + 45);
    let there = there.format("%H:%M:%S GMT+5:45").to_string();
    run("moment.mjs", &node, &[&"a.txt", &there]);
}

#[test]
fn uploads_that_are_refused_keep_no_others_waiting() {
    let (dir, fitting) = with_file("fitting.bin", b"fits");
    let mut files: Vec<_> = (1..=3)
        .map(|number| dir.path().join(format!("too long {number}.bin")))
        .collect();
    for file in &files {
        std::fs::write(file, content(11, 2000)).unwrap();
    }
    files.push(fitting);
    let node = Node::start(&dir, &["--max-upload", "1000"]);
    let arguments: Vec<_> = files.iter().map(|it| it as &dyn AsRef<OsStr>).collect();
    run("refused.mjs", &node, &arguments);
}

#[test]
fn what_an_older_peer_holds_is_told_to_be_not_verified() {
    let server = Python::bootstrap_server();
    let bootstrap = format!("http://{}", server.node.address);
    let older = Python::peer(&bootstrap);
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--bootstrap", &bootstrap, "--discover-every", "1"];
    let node = Node::start(&dir, &arguments);
    let bytes = content(12, 300_000);
    uploaded(older.node.address, "theirs.bin", &bytes);
    until_sees(node.address, &["theirs.bin"]);
    let downloaded = dir.path().join("downloaded");
    run("older.mjs", &node, &[&"theirs.bin", &downloaded]);
    assert!(std::fs::read(downloaded).unwrap() == bytes);
}

#[test]
fn a_name_that_is_markup_is_text_wherever_it_is_shown() {
    let (dir, path) = with_file(HOSTILE, b"harmless");
    let node = Node::start(&dir, &[]);
    run("hostile.mjs", &node, &[&path]);
}

#[test]
fn files_of_other_nodes_are_found_downloaded_kept_and_deleted() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (node, other) = neighbours(&dirs);
    let bytes = content(3, 3 << 20);
    uploaded(other.address, "over there.bin", &bytes);
    uploaded(other.address, HOSTILE, b"harmless");
    until_sees(node.address, &["over there.bin", HOSTILE]);
    let downloaded = dirs[0].path().join("downloaded");
    run("network.mjs", &node, &[&"over there.bin", &downloaded]);
    assert!(std::fs::read(downloaded).unwrap() == bytes);
    // The copy there is untouched.
    assert_eq!(crate::common::peers::held(other.address).len(), 2);
}

#[test]
fn a_private_node_asks_for_its_token() {
    const TOKEN: &str = "0123456789abcdef0123";
    let bytes = content(4, 100_000);
    let (dir, path) = with_file("secret.bin", &bytes);
    let node = Node::start(&dir, &["--token", TOKEN, "--private"]);
    let downloaded = dir.path().join("downloaded");
    run("token.mjs", &node, &[&TOKEN, &path, &downloaded]);
    assert!(std::fs::read(downloaded).unwrap() == bytes);
}

#[test]
fn who_has_no_token_is_asked_once() {
    const TOKEN: &str = "0123456789abcdef0123";
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--token", TOKEN, "--private"]);
    run("declined.mjs", &node, &[&TOKEN]);
}

#[test]
fn the_page_needs_no_mouse_and_fits_every_screen() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (node, other) = neighbours(&dirs);
    for (seed, name) in [
        (5, "Holiday photos.zip"),
        (6, "minutes.pdf"),
        (7, "notes.txt"),
    ] {
        uploaded(node.address, name, &content(seed, 1_800_000));
    }
    uploaded(
        node.address,
        "minutes, once more.pdf",
        &content(6, 1_800_000),
    );
    uploaded(other.address, "lecture.mp4", &content(9, 5_000_000));
    uploaded(other.address, &"a long name ".repeat(20), b"x");
    until_sees(
        node.address,
        &[
            "Holiday photos.zip",
            "minutes.pdf",
            "notes.txt",
            "minutes, once more.pdf",
            "lecture.mp4",
            &"a long name ".repeat(20),
        ],
    );
    run("keyboard.mjs", &node, &[&"notes.txt"]);
}

#[test]
fn the_newest_of_many_files_is_first_and_all_are_reached_by_scrolling() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--durability", "relaxed"]);
    // More than the node lists at once.
    for number in 0..1300 {
        uploaded(
            node.address,
            &format!("file {number}.txt"),
            number.to_string().as_bytes(),
        );
    }
    run(
        "newest.mjs",
        &node,
        &[&"file 1299.txt", &"file 0.txt", &"1300"],
    );
}

#[test]
fn seven_tabs_hear_of_changes_by_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    uploaded(node.address, "first.txt", b"first");
    run("tabs.mjs", &node, &[&"first.txt"]);
}

#[test]
fn three_hundred_uploads_leave_the_files_in_sight() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--durability", "relaxed"]);
    run("many.mjs", &node, &[&"300"]);
}

#[test]
fn an_upload_goes_on_however_long_the_node_was_away() {
    let bytes = content(13, 32 << 20);
    let (dir, path) = with_file("large.bin", &bytes);
    let node = Node::start(&dir, &[]);
    let port = node.address.port().to_string();
    let mut page = Visit::begin("away.mjs", &node, &[&path]);
    page.until("under way");
    node.kill();
    page.until("away");
    let node = Node::start(&dir, &["--port", &port]);
    page.end();
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["file_count"], 1);
}

#[test]
fn who_may_only_read_is_offered_no_more_and_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    uploaded(node.address, "to be read.txt", b"text");
    node.stop();
    let make = |rights: &str| {
        let arguments = ["token", rights, "--rights", rights, "--tokens", "tokens"];
        let output = larder(dir.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let reader = make("read");
    let node = Node::start(&dir, &["--tokens", "tokens"]);
    run("rights.mjs", &node, &[&"to be read.txt"]);
    node.stop();
    make("write");
    let node = Node::start(&dir, &["--tokens", "tokens"]);
    run("rights.mjs", &node, &[&"to be read.txt", &reader]);
}

#[test]
fn files_are_looked_at_copied_and_chosen_without_leaving_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    // One pixel (Portable Network Graphics, second edition).
    let picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\
        \0\0\0\x0cIDATx\x9cc8\x11 \x02\0\x03\x10\x01-t\xfdg\xa7\0\0\0\0IEND\xaeB`\x82";
    // A second of silence, of 8 bits 8000 times (RIFF, WAVE).
    let mut sound = b"RIFF\x64\x1f\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\
        \x01\0\x08\0data\x40\x1f\0\0"
        .to_vec();
    sound.resize(sound.len() + 8000, 0);
    uploaded(node.address, "notes.txt", b"notes");
    uploaded(node.address, "page.html", b"<script>alert(1)</script>");
    uploaded(node.address, "picture.svg.png", picture);
    uploaded(node.address, "sound.wav", &sound);
    uploaded(node.address, "in a folder/inside.txt", b"inside");
    uploaded(node.address, "minutes.pdf", b"%PDF-1.4\n");
    run("look.mjs", &node, &[]);
}

#[test]
fn a_click_that_has_begun_is_not_lost_to_what_changes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    uploaded(node.address, "pressed.txt", b"pressed");
    run("press.mjs", &node, &[&"pressed.txt"]);
}

#[test]
fn the_room_that_is_left_is_told() {
    let (dir, path) = with_file("all of it.bin", &content(14, 1_000_000));
    let node = Node::start(&dir, &["--quota", "1000000"]);
    run("room.mjs", &node, &[&path]);
}

/// The names of the files in an archive, sorted.
fn names_in(archive: &Path) -> Vec<String> {
    let listed = Command::new("unzip").arg("-Z1").arg(archive).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn folders_are_opened_and_what_is_chosen_comes_as_one_archive() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    for name in [
        "photos/a.jpg",
        "photos/2026 & more/b.jpg",
        "photos/2026 & more/c #1.jpg",
        "notes.txt",
        "minutes.txt",
    ] {
        uploaded(node.address, name, name.as_bytes());
    }
    let [folder, chosen] = ["folder.zip", "chosen.zip"].map(|it| dir.path().join(it));
    run("folders.mjs", &node, &[&folder, &chosen]);
    let below = ["photos/2026 & more/b.jpg", "photos/2026 & more/c #1.jpg"];
    assert_eq!(names_in(&folder), below);
    assert_eq!(names_in(&chosen), ["minutes.txt", "notes.txt"]);
}

#[test]
fn texts_and_pictures_are_pasted_and_what_is_said_of_them_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    run("texts.mjs", &node, &[]);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["file_count"], 2);
    assert_eq!(files["files"][0]["original_name"], "written.txt");
    assert_eq!(files["files"][0]["description"], "words of ours");
    assert_eq!(files["files"][1]["description"], "");
}

#[test]
fn a_code_leads_a_phone_to_the_node_with_a_token_only_where_somebody_says_so() {
    const TOKEN: &str = "0123456789abcdef+/=";
    const PLACE: &str = "http://192.0.2.7:5004";
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("code").to_str().unwrap().to_owned();
    let [plain, with_token] = ["", "-token"].map(|it| format!("{picture}{it}.png"));
    let node = Node::start(&dir, &["--base-url", PLACE]);
    run("phone.mjs", &node, &[&picture]);
    assert_eq!(code_in(Path::new(&plain)), format!("{PLACE}/"));
    node.stop();
    let arguments = ["--base-url", PLACE, "--token", TOKEN, "--private"];
    let node = Node::start(&dir, &arguments);
    run("phone.mjs", &node, &[&picture, &TOKEN]);
    assert_eq!(code_in(Path::new(&plain)), format!("{PLACE}/"));
    let escaped = "0123456789abcdef%2B%2F%3D";
    assert_eq!(
        code_in(Path::new(&with_token)),
        format!("{PLACE}/#token={escaped}")
    );
    node.stop();
    // One that nobody else reaches says what to do instead.
    let node = Node::start(&dir, &[]);
    run("phone.mjs", &node, &[&"none"]);
}

/// A storage directory with so many files, called by their numbers.
async fn filled(dir: &Path, files: u32) {
    let mut options = Options::new(dir.join("peer_storage"));
    options.durability = Durability::Relaxed;
    let opened = LocalStore::open(options).await.unwrap();
    let store = &opened.store;
    for numbers in (0..files).collect::<Vec<_>>().chunks(64) {
        let added = numbers.iter().map(|number| async move {
            let mut receiving = store.receive().await.unwrap();
            receiving.write(Bytes::from_static(b"text")).await.unwrap();
            let about = About {
                name: format!("file {number}.txt"),
                ..About::default()
            };
            let received = receiving.finish().await.unwrap();
            store.ingest(received, about).await.unwrap();
        });
        join_all(added).await;
    }
    opened.store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_files_are_scrolled_through_with_few_on_the_page() {
    const FILES: u32 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), FILES).await;
    let node = Node::start(&dir, &[]);
    run("thousands.mjs", &node, &[&FILES.to_string()]);
}
