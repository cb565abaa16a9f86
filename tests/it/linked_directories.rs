//! A link in the place of a directory of the storage: nothing that it leads to is changed, by any
//! command, and what is to be done is told.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{get, head, send};
use crate::common::tree::Tree;
use crate::common::tus;

const LONG: usize = 200_000;
const SHORT: usize = 1_000;

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// A store that has been used in every way, and the ids of its files.
fn used() -> (TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let ids = [(1, SHORT), (2, LONG)].map(|(number, len)| {
        let file = uploaded(node.address, "file", &content(number, len));
        file["file_id"].as_str().unwrap().to_owned()
    });
    let begun = tus::created(node.address, LONG);
    tus::patched(node.address, &begun, 0, &content(3, SHORT));
    node.stop();
    // It is made when damage is found.
    fs::create_dir_all(storage(&dir).join("damaged")).unwrap();
    (dir, ids.into())
}

fn copied(template: &TempDir) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .args([&storage(template), dir.path()])
        .status();
    assert!(copied.unwrap().success());
    dir
}

fn directories_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|it| it.unwrap());
    let dirs = entries.filter(|it| it.file_type().unwrap().is_dir());
    let mut dirs: Vec<_> = dirs.map(|it| it.path()).collect();
    dirs.sort();
    dirs
}

/// Every directory that a store has made, by its path there: of many that are alike the first
/// and the last.
fn directories(template: &TempDir) -> Vec<PathBuf> {
    let root = storage(template);
    let mut found = Vec::new();
    for dir in directories_in(&root) {
        let mut below = directories_in(&dir);
        // A note that is made anew under another name.
        below.retain(|it| !it.to_str().unwrap().contains("reached-"));
        found.extend(below.first().cloned());
        found.extend(below.last().cloned());
        found.push(dir);
    }
    found.dedup();
    let below_root = found.iter().map(|it| it.strip_prefix(&root).unwrap());
    below_root.map(Path::to_owned).collect()
}

/// Puts into a directory what is called as larder calls what it may remove, rename or write to.
fn plant(dir: &Path) {
    let hash = "ab".repeat(32);
    let names = [
        "6f1d3a52-8c1e-4d3b-9a55-0d0f2b8c7e11".to_owned(),
        "0".repeat(32),
        format!("{}.state", "0".repeat(32)),
        format!("{}.state.before", "0".repeat(32)),
        format!("{hash}.unfinished"),
        hash,
        "0000000007.dead".to_owned(),
        "0000000009.journal".to_owned(),
        "unfinished".to_owned(),
        "unfinished-snapshot".to_owned(),
        "wanted.before".to_owned(),
        "snap.00000000000000FF.generating".to_owned(),
        "1".to_owned(),
        ".trial".to_owned(),
    ];
    for name in names {
        fs::write(dir.join(name), "mine").unwrap();
    }
}

/// Puts a link in the place of a directory, which goes elsewhere with more in it.
fn put_elsewhere(dir: &TempDir, place: &Path) -> PathBuf {
    let elsewhere = dir.path().join("elsewhere");
    let place = storage(dir).join(place);
    fs::rename(&place, &elsewhere).unwrap();
    plant(&elsewhere);
    symlink(&elsewhere, &place).unwrap();
    elsewhere
}

fn run(dir: &TempDir, command: &str) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = larder(dir.path()).arg(command).output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

fn assert_there(node: &Node, ids: &[String]) {
    for id in ids {
        let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!(answer.status, 200, "{id}");
    }
}

#[test]
fn a_link_in_the_place_of_any_directory_is_refused_and_what_it_leads_to_stays_as_it_is() {
    let (template, ids) = used();
    let all = directories(&template);
    for name in [
        "blobs",
        "spool",
        "uploading.before",
        "keeping",
        "repairing",
        "spare-files",
    ] {
        assert!(all.contains(&PathBuf::from(name)), "{name}: {all:?}");
    }
    for place in all {
        let dir = copied(&template);
        let elsewhere = put_elsewhere(&dir, &place);
        let (before, rest) = (Tree::read(&elsewhere), Tree::read(&storage(&dir)));
        for command in ["serve", "verify", "rebuild-index"] {
            let (status, said) = run(&dir, command);
            let what = format!("{command} with a link at {}: {said}", place.display());
            let expected = if command == "serve" { 1 } else { 2 };
            assert_eq!(status, Some(expected), "{what}");
            let told = said.lines().last().unwrap();
            let path = storage(&dir).join(&place);
            let path = path.strip_prefix(dir.path()).unwrap().to_str().unwrap();
            assert!(told.contains(path), "{what}");
            assert!(told.ends_with("[linked_directory]"), "{what}");
            assert!(Tree::read(&elsewhere) == before, "{what}");
            assert!(Tree::read(&storage(&dir)) == rest, "{what}");
        }
        // Put back as is told, it goes on.
        let path = storage(&dir).join(&place);
        fs::remove_file(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        for (name, bytes) in before.0 {
            if bytes.is_some_and(|it| it == b"mine") {
                fs::remove_file(path.join(name)).unwrap();
            }
        }
        let node = Node::start(&dir, &[]);
        assert_there(&node, &ids);
    }
}

#[test]
fn a_link_that_leads_nowhere_is_refused_like_any_other_and_makes_nothing_there() {
    let (template, _) = used();
    for name in ["blobs", "journal", "spool", "keeping", "spare-files"] {
        let dir = copied(&template);
        let place = storage(&dir).join(name);
        fs::remove_dir_all(&place).unwrap();
        symlink(dir.path().join("nowhere"), &place).unwrap();
        let (status, said) = run(&dir, "serve");
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("[linked_directory]"), "{name}: {said}");
        assert!(!dir.path().join("nowhere").exists());
    }
    // Nor does a link in the place of the lock file.
    let dir = copied(&template);
    let lock = storage(&dir).join("larder.lock");
    fs::remove_file(&lock).unwrap();
    symlink(dir.path().join("nowhere"), &lock).unwrap();
    let (status, said) = run(&dir, "serve");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("larder.lock"), "{said}");
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn a_storage_directory_that_is_itself_a_link_is_one_as_any_other() {
    let (template, ids) = used();
    let dir = copied(&template);
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(storage(&dir), &elsewhere).unwrap();
    symlink("elsewhere", storage(&dir)).unwrap();
    let node = Node::start(&dir, &[]);
    assert_there(&node, &ids);
    for seed in 5..7 {
        uploaded(node.address, "more", &content(seed, LONG));
    }
    node.stop();
    assert_eq!(run(&dir, "verify").0, Some(0));
}

#[test]
fn nothing_is_made_or_removed_behind_a_link_that_takes_a_directorys_place_while_the_node_runs() {
    let (template, ids) = used();
    for name in [
        "spool",
        "blobs",
        "packs",
        "outboards",
        "uploading",
        "journal",
    ] {
        let dir = copied(&template);
        let node = Node::start(&dir, &[]);
        assert_there(&node, &ids);
        // The uploads that there were are known from now on.
        tus::created(node.address, LONG);
        let elsewhere = put_elsewhere(&dir, Path::new(name));
        let names = |tree: Tree| tree.0.into_keys().collect::<Vec<_>>();
        let before = names(Tree::read(&elsewhere));
        for (seed, len) in [(10, SHORT), (11, LONG)] {
            upload(node.address, &form(&[file("file", &content(seed, len))]));
        }
        for id in &ids {
            send(
                node.address,
                &head("DELETE", &format!("/api/p2p/file/{id}"), &[]),
            );
        }
        if ["spool", "blobs"].contains(&name) {
            until("it is not ready", || {
                (get(node.address, "/ready", &[]).status == 503).then_some(())
            });
        }
        node.kill();
        assert_eq!(names(Tree::read(&elsewhere)), before, "{name}");
    }
}
