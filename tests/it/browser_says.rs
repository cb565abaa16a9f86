//! The page says and offers what is so, in words for people, whatever names, types and texts hold.

use std::time::Duration;

use crate::common::browser::{Visit, run, with_file};
use crate::common::content::content;
use crate::common::copies::{Holders, until_for};
use crate::common::forms::{field, file, form, upload, uploaded};
use crate::common::peers::{neighbours, until_held, until_sees};
use crate::common::process::Node;
use crate::common::raw_http::get;

#[test]
fn an_upload_whose_file_is_gone_or_changed_ends_with_that_and_stops_no_other() {
    let (dir, gone) = with_file("gone.txt", b"gone");
    let [changed, other] = ["changed.txt", "other.txt"].map(|it| dir.path().join(it));
    std::fs::write(&changed, b"as it was").unwrap();
    std::fs::write(&other, b"other").unwrap();
    let node = Node::start(&dir, &[]);
    run("gone.mjs", &node, &[&gone, &changed, &other]);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["file_count"], 2, "{files}");
}

#[test]
fn a_row_of_another_name_for_content_that_is_here_offers_what_can_be_done_with_it() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (node, other) = neighbours(&dirs);
    let bytes = content(21, 100_000);
    uploaded(node.address, "mine.bin", &bytes);
    uploaded(other.address, "theirs.bin", &bytes);
    uploaded(other.address, "mine.bin", &bytes);
    uploaded(other.address, "last.bin", &bytes);
    until_sees(node.address, &["mine.bin", "theirs.bin", "last.bin"]);
    let listed = get(node.address, "/api/p2p/network", &[]).json();
    let own = |name: &str| {
        let mut files = listed["files"].as_array().unwrap().iter();
        files.find(|it| it["original_name"] == name).unwrap()["own"].clone()
    };
    assert_eq!(own("mine.bin"), true);
    assert_eq!(own("theirs.bin"), false);
    run(
        "other_name.mjs",
        &node,
        &[&"mine.bin", &"theirs.bin", &"last.bin"],
    );
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let names = files["files"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|it| it["original_name"].clone()).collect();
    assert_eq!(names, ["theirs.bin", "last.bin"]);
}

#[test]
fn no_name_turns_hides_or_commands_what_the_page_shows() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let names = [
        ("a\u{202e}gpj.exe", r"a\u{202e}gpj.exe"),
        (
            "b\u{200b}\u{feff}\u{ad}.txt",
            r"b\u{200b}\u{feff}\u{ad}.txt",
        ),
        (
            "c\u{2066}\u{61c}\u{200f}.txt",
            r"c\u{2066}\u{61c}\u{200f}.txt",
        ),
        ("d\u{1b}[2J\u{7f}\u{9b}.txt", r"d\u{1b}[2J\u{7f}\u{9b}.txt"),
        ("e\u{e0041}.txt", r"e\u{e0041}.txt"),
    ];
    for (name, _) in names {
        let said = "said \u{202e}so\nin two lines";
        let answer = upload(
            node.address,
            &form(&[field("description", said), file(name, name.as_bytes())]),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    uploaded(node.address, "in \u{2067}it/inside.txt", b"inside");
    let shown = names.each_ref().map(|(_, shown)| shown as _);
    run("spoof.mjs", &node, &shown);
}

#[test]
fn a_private_node_says_so_in_words_for_people_before_and_without_a_token() {
    let token = "0123456789abcdef".repeat(4);
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--token", &token, "--private"]);
    let of = |headers: &[&str]| get(node.address, "/health", headers).json()["may_read"].clone();
    assert_eq!(of(&[]), false);
    assert_eq!(of(&[&format!("Authorization: Bearer {token}")]), true);
    run("private.mjs", &node, &[&token]);
}

#[test]
fn texts_in_utf_16_are_read_as_texts() {
    const TEXT: &str = "gr\u{fc}\u{df}e, and more\r\n";
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let wide = |bytes: fn(u16) -> [u8; 2]| TEXT.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    let [little, big] = [wide(u16::to_le_bytes), wide(u16::to_be_bytes)];
    uploaded(
        node.address,
        "little.txt",
        &[&b"\xff\xfe"[..], &little].concat(),
    );
    uploaded(node.address, "big.txt", &[&b"\xfe\xff"[..], &big].concat());
    uploaded(node.address, "unmarked.txt", &little);
    uploaded(node.address, "usual.txt", TEXT.as_bytes());
    run("wide_texts.mjs", &node, &[]);
}

#[test]
fn what_is_chosen_stays_so_in_other_folders_and_a_folder_is_chosen_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    for name in [
        "top.txt",
        "other.txt",
        "photos/a.jpg",
        "photos/b.jpg",
        "photos/deeper/c.jpg",
        "photoshop.txt",
    ] {
        uploaded(node.address, name, name.as_bytes());
    }
    run("chosen.mjs", &node, &[]);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    let names: Vec<_> = files
        .map(|it| it["original_name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["other.txt", "photoshop.txt"]);
}

#[test]
fn that_nobody_reaches_the_node_and_that_holders_do_not_answer_is_told_in_words() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [first, second] = [0, 1].map(|at| Node::start(&dirs[at], &["--discover-every", "1"]));
    let bytes = content(22, 100_000);
    let file = uploaded(first.address, "elsewhere.bin", &bytes);
    uploaded(second.address, "elsewhere.bin", &bytes);
    let nowhere = "http://127.0.0.1:1";
    let (one, other) = (first.url(""), second.url(""));
    let arguments = ["--base-url", nowhere, "--peer", &one, "--peer", &other];
    let node = Node::start(
        &dirs[2],
        &[&arguments[..], &["--discover-every", "1"]].concat(),
    );
    until_held(node.address, &file["hash"], 2);
    let mut page = Visit::begin("notices.mjs", &node, &[&nowhere, &"elsewhere.bin"]);
    page.until("two hold it");
    first.kill();
    page.until("one does not answer");
    second.kill();
    page.end();
}

#[test]
fn what_is_saved_is_told_however_little_and_drawn_once_it_is_a_hundredth() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let long = content(23, 1_000_000);
    uploaded(node.address, "long.bin", &long);
    for name in ["one.txt", "other.txt"] {
        uploaded(node.address, name, b"ten bytes.");
    }
    let mut page = Visit::begin("ring.mjs", &node, &[]);
    page.until("little is saved");
    uploaded(node.address, "long, once more.bin", &long);
    page.end();
}

#[test]
fn what_is_damaged_and_nobody_else_has_is_told_with_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--scrub-every", "1s"]);
    let file = uploaded(node.address, "lost.bin", &content(24, 100_000));
    let hash = file["hash"].as_str().unwrap();
    let blobs = dir.path().join("peer_storage/blobs");
    std::fs::write(blobs.join(&hash[..2]).join(hash), b"other").unwrap();
    run("lost.mjs", &node, &[&"lost.bin"]);
}

#[test]
fn names_are_sorted_as_people_count() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let names = [
        "Holiday 1.jpg",
        "holiday 2.jpg",
        "Holiday 10.jpg",
        "notes.txt",
    ];
    for name in names.iter().rev() {
        uploaded(node.address, name, name.as_bytes());
    }
    let names = names.each_ref().map(|name| name as _);
    run("sorted.mjs", &node, &names);
}

#[test]
fn members_and_their_copies_are_told_in_words_also_of_what_comes_back_from_the_trash() {
    let more = [
        "--gone-after",
        "1h",
        "--surplus-after",
        "1d",
        "--trash",
        "1h",
    ];
    let holders = Holders::start(&["1GiB"; 3], &more);
    let file = uploaded(holders.at(0), "shared.bin", &content(31, 30_000));
    let path = format!("/api/p2p/file/{}/copies", file["file_id"].as_str().unwrap());
    until_for(Duration::from_mins(1), "it is on three", || {
        let told = get(holders.at(0), &path, &[]).json();
        let used = |number: usize| holders.status(number)["used_bytes"] == 30_000;
        let peers = get(holders.at(0), "/api/peers", &[]).json();
        let mut peers = peers["peers"].as_array().unwrap().iter();
        let are_told = peers.all(|it| it["copies"]["used_bytes"] == 30_000);
        (told["copies"]["there"] == 3 && used(1) && used(2) && are_told).then_some(())
    });
    let holder = holders.nodes[1].as_ref().unwrap().url("/");
    let owner = holders.nodes[0].as_ref().unwrap();
    run("copies.mjs", owner, &[&holder, &"shared.bin", &"29.3 KiB"]);
}
