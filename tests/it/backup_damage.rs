//! Backups that were damaged, in any of their parts: what is told of it, and what heals it.

use std::fs;
use std::path::{Path, PathBuf};

use larder::hash::BlobHash;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::clock::ShiftedClock;
use crate::common::commands::{command, done, failed, json, run};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, limited, start};
use crate::common::raw_http::{get, head, send};
use crate::common::rot::flip;

/// Long enough for a file of its own.
const LONG: usize = 300_000;

/// A node with a long file and some short ones, and its first backup.
fn backed_up() -> (TempDir, Node) {
    let (dir, node) = start();
    uploaded(node.address, "long", &content(1, LONG));
    for n in 2..8 {
        uploaded(node.address, &format!("short-{n}"), &content(n, 2_000));
    }
    back_up(&dir, &node);
    (dir, node)
}

fn back_up(dir: &TempDir, node: &Node) -> Value {
    json(dir.path(), &node.url(""), &["backup", "B"])[0].clone()
}

/// The last line of a check: how many problems there are, and what is left over.
fn verified(dir: &TempDir) -> (Value, Value) {
    let output = run(dir.path(), "", &["verify", "B", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    (last["problems"].clone(), last["left_over"].clone())
}

fn in_order(dir: &TempDir) {
    assert_eq!(verified(dir), (json!(0), json!(0)));
}

fn blob(dir: &TempDir, content: &[u8]) -> PathBuf {
    let hash = larder::hash::BlobHash::of(content).to_string();
    let blobs = dir.path().join("B/contents/blobs");
    blobs.join(&hash[..2]).join(hash)
}

fn first_pack(dir: &TempDir) -> PathBuf {
    dir.path().join("B/contents/packs/0000000001.pack")
}

#[test]
fn whatever_is_gone_from_a_backup_comes_anew_with_the_next_one() {
    type Loss = fn(&TempDir);
    let losses: [(Loss, u64); 4] = [
        (
            |dir| fs::remove_file(blob(dir, &content(1, LONG))).unwrap(),
            1,
        ),
        (
            |dir| fs::remove_dir_all(dir.path().join("B/contents/blobs")).unwrap(),
            1,
        ),
        (
            |dir| fs::remove_dir_all(dir.path().join("B/contents")).unwrap(),
            7,
        ),
        (|dir| fs::write(first_pack(dir), "").unwrap(), 6),
    ];
    for (number, (lose, new)) in losses.into_iter().enumerate() {
        let (dir, node) = backed_up();
        lose(&dir);
        let made = back_up(&dir, &node);
        assert_eq!(made["new_contents"], new, "{number}: {made}");
        in_order(&dir);
        done(dir.path(), "", &["restore", "B", "-o", "o"]);
        assert_eq!(fs::read_dir(dir.path().join("o")).unwrap().count(), 7);
    }
}

#[test]
fn a_backup_that_cannot_be_read_is_told_each_time_and_given_up_as_older_ones_are() {
    let (dir, node) = backed_up();
    uploaded(node.address, "new", &content(50, LONG));
    back_up(&dir, &node);
    flip(&dir.path().join("B/moments/0000000001"), 100);
    let url = node.url("");
    let made = run(dir.path(), &url, &["backup", "B"]);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert_eq!(made.status.code(), Some(7), "{told}");
    assert!(told.contains("moments/0000000001"), "{told}");
    assert!(told.contains("--keep"), "{told}");
    let made = json(dir.path(), &url, &["backup", "B", "--keep", "2"]);
    assert_eq!(made[0]["given_up"], json!([1, 2]), "{made:?}");
    in_order(&dir);
    // One among those that are to stay keeps all until as many newer ones are there.
    flip(&dir.path().join("B/moments/0000000004"), 100);
    let made = run(dir.path(), &url, &["backup", "B", "--keep", "2"]);
    assert_eq!(made.status.code(), Some(7), "{made:?}");
    let made = json(dir.path(), &url, &["backup", "B", "--keep", "2"]);
    assert_eq!(made[0]["given_up"], json!([3, 4]), "{made:?}");
    in_order(&dir);
}

#[test]
fn where_the_newest_backup_cannot_be_read_an_older_one_is_named() {
    let (dir, node) = backed_up();
    back_up(&dir, &node);
    flip(&dir.path().join("B/moments/0000000002"), 100);
    let (status, told) = failed(dir.path(), "", &["restore", "B", "-o", "o"]);
    assert_eq!(status, 7, "{told}");
    assert!(told.contains("--backup 1"), "{told}");
    done(
        dir.path(),
        "",
        &["restore", "B", "--backup", "1", "-o", "o"],
    );
}

#[test]
fn the_line_that_says_the_version_is_not_needed_where_backups_can_be_read() {
    let (dir, node) = backed_up();
    let format = dir.path().join("B/larder.backups");
    for damage in [Some("larfer-backups 1\n"), None] {
        match damage {
            Some(text) => fs::write(&format, text).unwrap(),
            None => fs::remove_file(&format).unwrap(),
        }
        done(dir.path(), "", &["restore", "B", "-o", "o"]);
        assert_eq!(verified(&dir), (json!(1), json!(0)));
        back_up(&dir, &node);
        assert_eq!(fs::read_to_string(&format).unwrap(), "larder-backups 1\n");
        in_order(&dir);
    }
    fs::remove_dir_all(dir.path().join("B/moments")).unwrap();
    fs::write(&format, "larfer-backups 1\n").unwrap();
    for line in [&["backup", "B"][..], &["restore", "B", "-o", "o"]] {
        let (status, told) = failed(dir.path(), &node.url(""), line);
        assert_eq!(status, 2, "{told}");
        assert!(told.contains("no backup beside it"), "{told}");
    }
}

#[test]
fn a_piece_of_the_list_that_is_damaged_costs_what_it_names_and_nothing_else() {
    let (dir, node) = backed_up();
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let first = files["files"][0]["file_id"].as_str().unwrap();
    send(
        node.address,
        &head("DELETE", &format!("/api/p2p/file/{first}"), &[]),
    );
    back_up(&dir, &node);
    // Both lists are short, and in the first pack; the first one is there from the beginning.
    let pack = fs::read(first_pack(&dir)).unwrap();
    let at = memchr::memmem::find(&pack, b"\"name\":\"long\"").unwrap();
    flip(&first_pack(&dir), at);
    let restored = run(
        dir.path(),
        "",
        &["restore", "B", "--backup", "1", "-o", "o"],
    );
    let told = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert_eq!(restored.status.code(), Some(7), "{told}");
    assert!(told.contains("a piece of the list"), "{told}");
    let checked = run(dir.path(), "", &["verify", "B"]);
    assert_eq!(checked.status.code(), Some(1));
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(told.contains("--keep gives this one up"), "{told}");
    let newest = run(dir.path(), "", &["restore", "B", "-o", "o2"]);
    assert!(newest.status.success(), "{newest:?}");
    let url = node.url("");
    json(dir.path(), &url, &["backup", "B", "--keep", "1"]);
    in_order(&dir);
}

#[test]
fn a_file_that_has_no_place_stops_no_other() {
    let (dir, node) = start();
    for (n, name) in ["a", "a/b", "zzz", "d/e", "d"].iter().enumerate() {
        uploaded(node.address, name, &content(u32::try_from(n).unwrap(), 100));
    }
    back_up(&dir, &node);
    let restored = run(dir.path(), "", &["restore", "B", "-o", "o", "--json"]);
    assert_eq!(restored.status.code(), Some(1), "{restored:?}");
    let told: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!((&told["files"], &told["lost"]), (&json!(3), &json!(2)));
    let told = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(told.contains("a/b (") && told.contains("d ("), "{told}");
    for there in ["a", "zzz", "d/e"] {
        assert!(dir.path().join("o").join(there).is_file(), "{there}");
    }
    // A folder is named as elsewhere.
    done(dir.path(), "", &["restore", "B", "d/", "-o", "o2"]);
    let output = run(dir.path(), "", &["restore", "B", "d", "-o", "o3"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(dir.path().join("o3/d/e").is_file());
}

#[test]
fn a_path_that_the_system_refuses_stops_no_other_and_what_a_kill_has_left_goes() {
    let (dir, node) = start();
    // Longer than any path may be, and shorter than a name may be here.
    let long = format!("{}b", "a/".repeat(2047));
    for (n, name) in [&*long, "x/1", "y"].iter().enumerate() {
        uploaded(node.address, name, &content(u32::try_from(n).unwrap(), 100));
    }
    back_up(&dir, &node);
    let line = ["restore", "B", "-o", "o", "--json"];
    let restored = run(dir.path(), "", &line);
    assert_eq!(restored.status.code(), Some(1), "{restored:?}");
    let told: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!((&told["files"], &told["lost"]), (&json!(2), &json!(1)));
    // As a kill leaves it that comes as a file has just got its name.
    let hash = BlobHash::of(&content(2, 100)).to_string();
    let left = format!("o/.y.{}.part", &hash[..12]);
    let there = dir.path().join("o/y");
    fs::hard_link(&there, dir.path().join(&left)).unwrap();
    run(dir.path(), "", &line);
    assert!(there.exists() && !dir.path().join(&left).exists());
    fs::write(&there, "something else").unwrap();
    let told = run(dir.path(), "", &["restore", "B", "y", "-o", "o"]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("a restoring replaces nothing"), "{told}");
}

#[test]
fn nothing_is_left_of_files_that_cannot_be_restored() {
    let (dir, _node) = backed_up();
    flip(&blob(&dir, &content(1, LONG)), LONG - 100);
    let restored = run(dir.path(), "", &["restore", "B", "-o", "o"]);
    assert_eq!(restored.status.code(), Some(7), "{restored:?}");
    assert_eq!(fs::read_dir(dir.path().join("o")).unwrap().count(), 6);
}

#[test]
fn a_content_that_the_disk_does_not_give_stops_no_other_and_settings_of_the_node_no_check() {
    let (dir, _node) = backed_up();
    let lost = blob(&dir, &content(1, LONG));
    // What cannot be opened, by root either.
    fs::remove_file(&lost).unwrap();
    std::os::unix::fs::symlink("loop", lost.with_file_name("loop")).unwrap();
    std::os::unix::fs::symlink("loop", &lost).unwrap();
    for to in [["-o", "o"], ["--storage", "restored"]] {
        let line = [&["restore", "B", "--json"][..], &to].concat();
        let restored = run(dir.path(), "", &line);
        assert_eq!(restored.status.code(), Some(7), "{restored:?}");
        let told: Value = serde_json::from_slice(&restored.stdout).unwrap();
        assert_eq!((&told["files"], &told["lost"]), (&json!(6), &json!(1)));
    }
    let mut check = command(dir.path(), "", &["verify", "B"]);
    let checked = check.env("STORAGE_DIR", "restored").output().unwrap();
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
}

#[test]
fn a_restoring_that_goes_on_tells_what_the_run_before_has_lost() {
    let (dir, node) = start();
    for n in 0..140 {
        let length = if n == 3 { LONG } else { 500 };
        uploaded(node.address, &n.to_string(), &content(n, length));
    }
    uploaded(node.address, "last", &content(1_000, 3 << 20));
    back_up(&dir, &node);
    flip(&blob(&dir, &content(3, LONG)), 1_000);
    let line = ["restore", "B", "--storage", "restored", "--json"];
    let first = limited(dir.path(), "-f 1024").args(line).output().unwrap();
    assert_eq!(first.status.code(), Some(1), "{first:?}");
    let refused = |line: &[&str]| {
        let (status, told) = failed(dir.path(), "", line);
        assert!(told.contains("larder restore"), "{told}");
        status
    };
    assert_eq!(refused(&["verify", "--storage", "restored"]), 2);
    // Nor does another one go on with it, which would end what is not at its end.
    let one = ["restore", "B", "1", "--storage", "restored"];
    let (status, told) = failed(dir.path(), "", &one);
    assert!(status == 2 && told.contains("the same command"), "{told}");
    let again = run(dir.path(), "", &line);
    assert_eq!(again.status.code(), Some(7), "{again:?}");
    let told: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&told["files"], &told["lost"]), (&json!(140), &json!(1)));
    done(dir.path(), "", &["verify", "--storage", "restored"]);
    let restored = Node::start(&dir, &["--storage", "restored"]);
    let listing = get(restored.address, "/api/p2p/files", &[]).json();
    assert_eq!(listing["file_count"], 140);
}

#[test]
fn a_directory_of_backups_is_no_storage_directory() {
    let (dir, _node) = backed_up();
    let before = names(&dir.path().join("B"));
    for (line, status) in [
        (&["--storage", "B"][..], 1),
        (&["verify", "--storage", "B"], 2),
        (&["rebuild-index", "--storage", "B"], 2),
    ] {
        let output = larder(dir.path()).args(line).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{line:?}: {told}");
        assert!(told.contains("is a directory of backups"), "{told}");
    }
    assert_eq!(names(&dir.path().join("B")), before);
    let (status, told) = failed(
        dir.path(),
        "http://127.0.0.1:1",
        &["backup", "B/larder.backups"],
    );
    assert_eq!(status, 2, "{told}");
}

fn names(dir: &Path) -> Vec<String> {
    crate::common::commands::names(dir)
}

#[test]
fn a_backup_is_chosen_by_the_time_at_which_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ShiftedClock::new(&dir, "-172800");
    let mut ruled = larder(dir.path());
    clock.rules(&mut ruled);
    let node = Node::spawn(&dir, ruled);
    let mut times = Vec::new();
    for (shift, name) in [("-172800", "first"), ("-86400", "second"), ("0", "third")] {
        clock.set(shift);
        uploaded(node.address, name, name.as_bytes());
        back_up(&dir, &node);
    }
    for listed in json(dir.path(), &node.url(""), &["backup", "B", "--list"]) {
        times.push(listed["at"].as_str().unwrap().to_owned());
    }
    let day = |time: &str| time[..10].to_owned();
    for (as_of, files) in [
        (times[0].clone(), 1),
        (times[1].trim_end_matches('Z').to_owned(), 2),
        (day(&times[2]), 2),
        ("2200-01-01T00:00".to_owned(), 3),
    ] {
        let to = format!("o{}", as_of.replace(':', ""));
        done(
            dir.path(),
            "",
            &["restore", "B", "--as-of", &as_of, "-o", &to],
        );
        let there = fs::read_dir(dir.path().join(&to)).unwrap().count();
        assert_eq!(there, files, "{as_of} of {times:?}");
    }
    let line = ["restore", "B", "--as-of", "2020-01-01", "-o", "x"];
    let (status, told) = failed(dir.path(), "", &line);
    assert_eq!(status, 3, "{told}");
    let mut wrong = command(
        dir.path(),
        "",
        &["restore", "B", "--as-of", "yesterday", "-o", "x"],
    );
    assert_eq!(wrong.output().unwrap().status.code(), Some(2));
}
