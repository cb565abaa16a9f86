//! What a directory of backups is not used for, and what is said then.

use std::fs;

use serde_json::json;

use crate::common::commands::{done, failed, json, run};
use crate::common::forms::uploaded;
use crate::common::process::start;

#[test]
fn no_directory_is_made_for_a_node_that_cannot_be_backed_up_and_none_without_a_backup_is_in_order()
{
    let dir = tempfile::tempdir().unwrap();
    let (status, told) = failed(dir.path(), "http://127.0.0.1:9", &["backup", "B"]);
    assert_eq!(status, 5, "{told}");
    let dest = dir.path().join("B");
    assert!(!dest.exists());
    for made in ["moments", "contents"] {
        fs::create_dir_all(dest.join(made)).unwrap();
    }
    fs::write(dest.join("larder.backups"), "larder-backups 1\n").unwrap();
    let verified = run(dir.path(), "", &["verify", "B"]);
    let told = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(1), "{told}");
    assert!(told.contains("no backup"), "{told}");
}

#[test]
fn where_the_list_of_backups_is_gone_contents_are_not_taken_for_nobodys() {
    let (dir, node) = start();
    let url = node.url("");
    uploaded(node.address, "file", b"content");
    done(dir.path(), &url, &["backup", "B"]);
    let moments = dir.path().join("B/moments");
    fs::remove_dir_all(&moments).unwrap();
    for line in [
        &["backup", "B"][..],
        &["backup", "B", "--list"],
        &["verify", "B"],
        &["restore", "B", "-o", "o"],
    ] {
        let (status, told) = failed(dir.path(), &url, line);
        assert_eq!(status, 2, "{line:?}: {told}");
        assert!(told.contains("moments is gone"), "{line:?}: {told}");
    }
    fs::create_dir(&moments).unwrap();
    let again = json(dir.path(), &url, &["backup", "B"]);
    assert_eq!(again[0]["new_contents"], 0);
    done(dir.path(), &url, &["verify", "B"]);
}

#[test]
fn backups_are_kept_for_each_node_and_listed_while_another_is_made() {
    let (dir, node) = start();
    let (_other, other) = start();
    let of_other = ["backup", "B", "--keep", "1", "--another-node"];
    for (node, name) in [(&node, "one"), (&other, "two"), (&node, "three")] {
        uploaded(node.address, name, name.as_bytes());
        done(dir.path(), &node.url(""), &of_other);
    }
    let held = fs::File::open(dir.path().join("B")).unwrap();
    held.try_lock().unwrap();
    let listed = json(dir.path(), &node.url(""), &["backup", "B", "--list"]);
    let numbers: Vec<_> = listed.iter().map(|it| it["backup"].clone()).collect();
    assert_eq!(numbers, [json!(2), json!(3)]);
    drop(held);
    for (number, names) in [("2", &["two"][..]), ("3", &["one", "three"])] {
        let folder = format!("of-{number}");
        let line = ["restore", "B", "--backup", number, "-o", &folder];
        done(dir.path(), "", &line);
        let written = fs::read_dir(dir.path().join(&folder)).unwrap();
        let mut written: Vec<_> = written.map(|it| it.unwrap().file_name()).collect();
        written.sort();
        assert_eq!(written, names);
    }
}

#[test]
fn nothing_is_restored_into_the_backups_themselves_or_into_a_file() {
    let (dir, node) = start();
    uploaded(node.address, "file", b"content");
    done(dir.path(), &node.url(""), &["backup", "B"]);
    for to in [["-o", "B"], ["-o", "B/sub"], ["--storage", "B/sub/sub"]] {
        let line = [&["restore", "B"][..], &to].concat();
        let (status, told) = failed(dir.path(), "", &line);
        assert_eq!(status, 2, "{told}");
        assert!(told.contains("directory of backups"), "{told}");
    }
    assert!(!dir.path().join("B/sub").exists());
    fs::write(dir.path().join("taken"), "mine").unwrap();
    let refused = run(dir.path(), "", &["restore", "B", "file", "-o", "taken"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(
        told.contains("-o names a folder") && !told.contains("several"),
        "{told}"
    );
}
