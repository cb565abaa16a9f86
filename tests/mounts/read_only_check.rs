//! A storage directory on a read-only file system, as a backup or a snapshot is mounted: the check
//! tells there what it tells elsewhere and changes nothing, and a start says why there is none.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder};
use crate::common::tree::Tree;
use crate::common::tus;
use crate::mounted::Mounted;

const LONG: usize = 200_000;
const SHORT: usize = 1_000;

/// Has a storage directory be mounted over itself, read-only; it is writable again on drop.
fn read_only(dir: &TempDir) -> Mounted {
    let storage = dir.path().join("peer_storage");
    let mounted = Mounted::by(&["--bind", storage.to_str().unwrap()], &storage);
    mounted.remount("bind,ro");
    let refused = File::create(storage.join("trial")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    mounted
}

/// Mode, times of the last modification and the last change (seconds and nanoseconds), and the
/// bytes of a file.
type Seen = (u32, (i64, i64), (i64, i64), Vec<u8>);

/// All that is below a directory.
fn seen(dir: &Path) -> BTreeMap<PathBuf, Seen> {
    let tree = Tree::read(dir);
    let all = tree.0.into_iter().map(|(path, bytes)| {
        let look = fs::symlink_metadata(dir.join(&path)).unwrap();
        let modified = (look.mtime(), look.mtime_nsec());
        let changed = (look.ctime(), look.ctime_nsec());
        let seen = (look.mode(), modified, changed, bytes.unwrap_or_default());
        (path, seen)
    });
    all.collect()
}

fn run(dir: &TempDir, arguments: &[&str]) -> Output {
    // What is made in passing is to be gone at the end.
    let passing = dir.path().join("passing");
    fs::create_dir_all(&passing).unwrap();
    let mut command = larder(dir.path());
    let output = command.env("TMPDIR", &passing).args(arguments).output();
    assert_eq!(fs::read_dir(&passing).unwrap().count(), 0);
    output.unwrap()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What the check prints, and its status.
fn verified(dir: &TempDir) -> (Vec<String>, Option<i32>) {
    let output = run(dir, &["verify"]);
    (lines(&output.stdout), output.status.code())
}

fn copied(from: &TempDir) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let mut copy = Command::new("cp");
    let copy = copy.arg("-a").arg(from.path().join("peer_storage"));
    assert!(copy.arg(to.path()).status().unwrap().success());
    to
}

/// Uploads of every kind, one of them not at its end.
fn fill(node: &Node) {
    for (seed, len) in [(1, SHORT), (2, LONG), (3, SHORT), (4, LONG), (5, SHORT)] {
        uploaded(node.address, &format!("{seed}"), &content(seed, len));
    }
    let upload = tus::created(node.address, LONG);
    let part = content(6, LONG / 2);
    assert_eq!(
        tus::patch(node.address, &upload, 0, &part).status,
        204,
        "a part"
    );
}

/// A storage directory as a stop leaves it, or a kill soon after changes.
fn stored(is_killed: bool) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    fill(&node);
    node.stop();
    if is_killed {
        let node = Node::start(&dir, &[]);
        uploaded(node.address, "late", &content(7, SHORT));
        uploaded(node.address, "later", &content(8, LONG));
        node.kill();
    }
    dir
}

/// The only file below a directory of which this is so.
fn file(dir: &TempDir, below: &str, is_it: impl Fn(&Path) -> bool) -> PathBuf {
    let root = dir.path().join("peer_storage").join(below);
    let paths = Tree::read(&root).0;
    let mut paths = paths.into_iter().filter(|(_, bytes)| bytes.is_some());
    let found = paths.find(|(path, _)| is_it(path));
    root.join(found.unwrap().0)
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, by: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - by).unwrap();
}

/// What is done to a storage directory before it becomes read-only, and what that is called.
type Damage = (&'static str, fn(&TempDir));

const DAMAGES: [Damage; 11] = [
    ("nothing", |_| {}),
    ("a blob", |dir| flip(&file(dir, "blobs", |_| true), 99)),
    ("a blob is gone", |dir| {
        fs::remove_file(file(dir, "blobs", |_| true)).unwrap();
    }),
    ("an outboard", |dir| {
        flip(&file(dir, "outboards", |_| true), 9);
    }),
    ("all outboards are gone", |dir| {
        fs::remove_dir_all(dir.path().join("peer_storage/outboards")).unwrap();
    }),
    ("a pack's header", |dir| {
        flip(
            &file(dir, "packs", |it| it.extension().unwrap() == "pack"),
            3,
        );
    }),
    ("a pack's end", |dir| {
        cut(
            &file(dir, "packs", |it| it.extension().unwrap() == "pack"),
            1,
        );
    }),
    ("the journal's end", |dir| {
        cut(&file(dir, "journal", |it| it.extension().is_some()), 1);
    }),
    ("the journal is gone", |dir| {
        fs::remove_dir_all(dir.path().join("peer_storage/journal")).unwrap();
    }),
    ("the lookup database is gone", |dir| {
        fs::remove_dir_all(dir.path().join("peer_storage/index")).unwrap();
    }),
    ("what a crash leaves", |dir| {
        let storage = dir.path().join("peer_storage");
        for path in [
            "spool/1",
            "packs/unfinished",
            "journal/unfinished",
            "damaged/0.unfinished",
        ] {
            fs::create_dir_all(storage.join(path).parent().unwrap()).unwrap();
            fs::write(storage.join(path), "left").unwrap();
        }
    }),
];

#[test]
fn the_check_of_a_read_only_directory_tells_what_it_tells_elsewhere_and_changes_nothing() {
    for is_killed in [false, true] {
        let template = stored(is_killed);
        for (what, damage) in DAMAGES {
            let dir = copied(&template);
            damage(&dir);
            let writable = copied(&dir);
            let storage = dir.path().join("peer_storage");
            let before = seen(&storage);
            let mount = read_only(&dir);
            let told = verified(&dir);
            drop(mount);
            assert!(seen(&storage) == before, "{what}: something has changed");
            let (elsewhere, status) = verified(&writable);
            // What is put in order there is left alone here.
            let elsewhere = elsewhere.into_iter().map(|it| {
                it.replace("damaged, removed", "damaged")
                    .replace("gone: removed", "gone: left there")
            });
            assert_eq!(
                told,
                (elsewhere.collect(), status),
                "{what}, killed: {is_killed}"
            );
            let expected = match what {
                "nothing" => Some(0),
                "a blob" | "a blob is gone" | "a pack's header" => Some(1),
                _ => continue,
            };
            assert_eq!(told.1, expected, "{what}: {told:?}");
        }
    }
}

#[test]
fn the_check_of_a_read_only_directory_of_an_older_format_changes_nothing_either() {
    for archive in [
        "format-1.tar.gz",
        "format-2-first.tar.gz",
        "format-2.tar.gz",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let storage = dir.path().join("peer_storage");
        fs::create_dir(&storage).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut unpack = Command::new("tar");
        let unpack = unpack.arg("-xzf").arg(fixtures.join(archive));
        assert!(unpack.current_dir(&storage).status().unwrap().success());
        let writable = copied(&dir);
        let before = seen(&storage);
        let mount = read_only(&dir);
        let told = verified(&dir);
        drop(mount);
        assert!(told.0.last().unwrap().starts_with("5 files, "), "{told:?}");
        assert_eq!(told, verified(&writable), "{archive}");
        assert!(seen(&storage) == before, "{archive}: something has changed");
    }
}

#[test]
fn the_check_says_that_it_changes_nothing_where_it_cannot() {
    let dir = stored(false);
    let mount = read_only(&dir);
    let output = run(&dir, &["verify"]);
    drop(mount);
    let told = lines(&output.stderr);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("peer_storage") && told[0].contains("nothing is changed there"),
        "{told:?}"
    );
}

#[test]
fn what_needs_to_write_says_in_one_line_that_the_file_system_is_read_only() {
    for is_killed in [false, true] {
        let dir = stored(is_killed);
        let storage = dir.path().join("peer_storage");
        let before = seen(&storage);
        let mount = read_only(&dir);
        for command in ["serve", "rebuild-index"] {
            let output = run(&dir, &[command]);
            assert_eq!(output.status.code(), Some(1), "{command}");
            let told = lines(&output.stderr);
            let last = told.last().unwrap();
            assert!(
                last.starts_with("larder: the file system of peer_storage is read-only")
                    && last.contains("[read_only_file_system]"),
                "{command}: {told:?}"
            );
            assert!(!told.iter().any(|it| it.contains("panicked")), "{told:?}");
        }
        drop(mount);
        assert!(seen(&storage) == before, "something has changed");
    }
}
