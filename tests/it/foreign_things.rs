//! What other programs, file systems and people leave in a storage directory: nothing of it keeps a
//! node from starting, serving or stopping, and all of it stays.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder};
use crate::common::raw_http::get;
use crate::common::tus;

const LONG: usize = 200_000;
const SHORT: usize = 1_000;

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// A storage directory after a stop, in which everything is that a node makes, and the ids of its
/// files.
fn stored() -> (TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let ids = use_it(&node, 0);
    let gone = uploaded(node.address, "gone", &content(99, SHORT));
    let target = format!("/api/p2p/file/{}", gone["file_id"].as_str().unwrap());
    let removal = tus::request("DELETE", &target, &[], b"");
    assert_eq!(
        crate::common::raw_http::send(node.address, &removal).status,
        200
    );
    node.stop();
    (dir, ids)
}

/// Uploads in every way; the ids of the files.
fn use_it(node: &Node, seed: u32) -> Vec<String> {
    let ids = [(1, SHORT), (2, LONG)].map(|(number, len)| {
        let file = uploaded(node.address, "file", &content(seed + number, len));
        file["file_id"].as_str().unwrap().to_owned()
    });
    let upload = tus::created(node.address, LONG);
    let part = content(seed + 3, LONG / 2);
    assert_eq!(tus::patch(node.address, &upload, 0, &part).status, 204);
    ids.into()
}

fn assert_there(node: &Node, ids: &[String]) {
    for id in ids {
        let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!(answer.status, 200, "{id}");
    }
}

/// What is planted.
#[derive(Debug, Clone, Copy)]
enum Thing {
    File,
    /// A directory with something in it.
    Directory,
    Pipe,
    /// A link that leads nowhere.
    Link,
}

impl Thing {
    fn plant(self, path: &Path) {
        match self {
            Self::File => fs::write(path, "mine").unwrap(),
            Self::Directory => {
                fs::create_dir(path).unwrap();
                fs::write(path.join("mine"), "mine").unwrap();
            }
            Self::Pipe => mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap(),
            Self::Link => symlink("/nowhere/at/all", path).unwrap(),
        }
    }

    fn is_at(self, path: &Path) -> bool {
        let look = fs::symlink_metadata(path);
        look.is_ok_and(|look| match self {
            Self::File => fs::read(path).is_ok_and(|it| it == b"mine"),
            Self::Directory => fs::read(path.join("mine")).is_ok_and(|it| it == b"mine"),
            Self::Pipe => !look.is_file() && !look.is_dir(),
            Self::Link => look.is_symlink(),
        })
    }
}

/// Names as file systems, desktops, editors, Syncthing and rsync make them; and some in which
/// something of larder's own is made, with a directory there.
const THINGS: [(&str, Thing); 20] = [
    ("lost+found", Thing::Directory),
    (".Trash-1000", Thing::Directory),
    (".stfolder", Thing::Directory),
    (".DS_Store", Thing::File),
    ("._0000000001.journal", Thing::File),
    ("._0000000001.pack", Thing::File),
    ("Thumbs.db", Thing::File),
    (".0000000001.journal.swp", Thing::File),
    (".syncthing.0000000001.journal.tmp", Thing::File),
    (
        "0000000001.sync-conflict-20261126-101112-ABCDEFG.journal",
        Thing::File,
    ),
    ("0000000001 (copy).journal", Thing::File),
    (".0000000001.pack.AbC123", Thing::File),
    ("notes", Thing::File),
    ("7", Thing::Directory),
    ("pipe", Thing::Pipe),
    ("nowhere", Thing::Link),
    ("a.state", Thing::File),
    ("unfinished", Thing::Directory),
    ("index.seal.unfinished", Thing::Directory),
    ("known-peers.unfinished", Thing::Directory),
];

/// The storage directory, and every directory in it to two levels, one of each kind.
fn places(dir: &TempDir) -> Vec<PathBuf> {
    let root = storage(dir);
    let below = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
        entries.filter(|it| it.is_dir()).collect()
    };
    let mut places = vec![root.clone()];
    for dir in below(&root) {
        places.extend(below(&dir).into_iter().min());
        places.push(dir);
    }
    places
}

#[test]
fn what_is_not_of_larder_is_left_alone_and_keeps_no_node_from_its_work() {
    let (template, ids) = stored();
    for place in places(&template) {
        let place = place.strip_prefix(storage(&template)).unwrap().to_owned();
        let dir = tempfile::tempdir().unwrap();
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([&storage(&template), dir.path()])
            .status();
        assert!(copied.unwrap().success());
        let at = storage(&dir).join(&place);
        let planted = THINGS.iter().filter(|(name, _)| !at.join(name).exists());
        let planted: Vec<_> = planted.collect();
        for (name, thing) in &planted {
            thing.plant(&at.join(name));
        }
        for start in 0..2 {
            println!("{}, start {start}", place.display());
            let node = Node::start(&dir, &[]);
            assert_there(&node, &ids);
            let more = use_it(&node, 10 + 10 * start);
            assert_there(&node, &more);
            node.stop();
        }
        for (name, thing) in planted {
            assert!(thing.is_at(&at.join(name)), "{}/{name}", place.display());
        }
    }
}

#[test]
fn a_directory_in_the_place_of_what_can_be_made_anew_keeps_no_node_from_its_work() {
    for name in [
        "packs/0000000001.dead",
        "index/0000000001/secondary",
        "index/0000000001/conf",
        "journal/last-batch",
        "journal.reached",
        "ballast",
    ] {
        let (dir, ids) = stored();
        let path = storage(&dir).join(name);
        fs::remove_file(&path).unwrap();
        Thing::Directory.plant(&path);
        for start in 0..2 {
            println!("{name}, start {start}");
            let node = Node::start(&dir, &[]);
            assert_there(&node, &ids);
            use_it(&node, 10 + 10 * start);
            node.stop();
        }
    }
}

#[test]
fn a_start_that_is_refused_for_what_is_in_the_place_of_something_names_it_and_says_what_to_do() {
    for (name, thing) in [
        ("node.key", Thing::Directory),
        ("larder.format", Thing::Directory),
        ("larder.lock", Thing::Directory),
        ("index.seal", Thing::Directory),
        ("journal/0000000001.journal", Thing::Directory),
        ("blobs", Thing::File),
        ("packs", Thing::File),
        ("journal", Thing::Pipe),
        ("index", Thing::File),
        ("spool", Thing::File),
    ] {
        let (dir, _) = stored();
        let path = storage(&dir).join(name);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.unwrap();
        thing.plant(&path);
        let output = larder(dir.path()).arg("serve").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap();
        assert!(last.contains(name), "{name}: {last}");
        assert!(last.contains("move"), "{name}: {last}");
        assert!(thing.is_at(&path), "{name}");
    }
}

#[test]
fn a_file_that_the_lookup_database_is_linked_to_stays_as_it_is() {
    let words = b"notes of somebody's";
    for command in ["verify", "serve"] {
        let (dir, ids) = stored();
        let notes = dir.path().join("notes.txt");
        fs::write(&notes, words).unwrap();
        let generations = fs::read_dir(storage(&dir).join("index")).unwrap();
        let records: Vec<_> = generations
            .map(|it| it.unwrap().path().join("db"))
            .filter(|it| it.exists())
            .collect();
        assert!(!records.is_empty());
        for path in records {
            fs::remove_file(&path).unwrap();
            symlink(&notes, &path).unwrap();
        }
        if command == "verify" {
            larder(dir.path()).arg("verify").output().unwrap();
        }
        assert_eq!(fs::read(&notes).unwrap(), words, "{command}");
        // The journal tells all that the database did.
        let node = Node::start(&dir, &[]);
        assert_there(&node, &ids);
        node.stop();
        assert_eq!(fs::read(&notes).unwrap(), words, "{command}");
    }
}

#[test]
fn what_sled_would_take_for_its_own_and_remove_is_left_alone() {
    for name in [
        "snap.tmp",
        "snap.",
        "snap.0",
        "snap.zip.generating",
        "blobs/9",
    ] {
        let (dir, ids) = stored();
        let generation = storage(&dir).join("index/0000000001");
        let planted = generation.join(name);
        fs::write(&planted, "mine").unwrap();
        let verified = larder(dir.path()).arg("verify").output().unwrap();
        let told = String::from_utf8(verified.stdout).unwrap();
        let entry = name.split('/').next().unwrap();
        assert!(told.contains(&format!("0000000001/{entry}: ")), "{told}");
        for start in 0..2 {
            let node = Node::start(&dir, &[]);
            assert_there(&node, &ids);
            use_it(&node, 10 + 10 * start);
            node.stop();
            assert!(Thing::File.is_at(&planted), "{name}, start {start}");
        }
    }
}
