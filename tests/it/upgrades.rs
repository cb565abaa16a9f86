//! Storage directories of older larders are brought up: what that takes is told before, nothing is
//! changed where it cannot be done, and whatever cuts it off costs nothing.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use tempfile::TempDir;

use crate::common::metrics::count;
use crate::common::older::{grow, unpack_storage};
use crate::common::process::{Node, larder, limited};
use crate::common::traced::is_killed_at;
use crate::common::tree::Tree;

const CONTENTS: &str = "5 files, 3 blobs of 100006 bytes: 0 problems\n";

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// All that is there, but for who has locked it last.
fn tree(dir: &TempDir) -> Tree {
    let mut tree = Tree::read(&storage(dir));
    tree.0.remove(Path::new("larder.lock"));
    tree
}

/// The files in which contents are.
fn contents(dir: &TempDir) -> Tree {
    let mut tree = Tree::read(&storage(dir).join("blobs"));
    tree.0.retain(|_, bytes| bytes.is_some());
    tree
}

fn run(dir: &TempDir, arguments: &[&str]) -> Output {
    larder(dir.path()).args(arguments).output().unwrap()
}

/// What a command prints that does what it should.
fn said(dir: &TempDir, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn format(dir: &TempDir) -> String {
    fs::read_to_string(storage(dir).join("larder.format")).unwrap()
}

#[test]
fn what_an_upgrade_takes_is_told_before_it_and_by_that_nothing_is_changed() {
    for (archive, what) in [
        ("format-1.tar.gz", "from format 1 to format 2"),
        (
            "format-2-first.tar.gz",
            "what lookups are answered by is of an older larder",
        ),
    ] {
        let dir = unpack_storage(archive);
        let before = tree(&dir);
        let told = said(&dir, &["upgrade", "--check"]);
        assert!(told.contains(what), "{told}");
        for part in [
            "5 files, ",
            " MiB of room of which ",
            " are free, about 1 s\n",
        ] {
            assert!(told.contains(part), "{told}");
        }
        assert!(tree(&dir) == before, "{archive}");
        // A check brings nothing up, either, and what is older is no problem.
        let verified = run(&dir, &["verify"]);
        assert_eq!(String::from_utf8_lossy(&verified.stdout), CONTENTS);
        assert!(errors(&verified).contains(what), "{verified:?}");
    }
    let dir = unpack_storage("format-2.tar.gz");
    assert!(said(&dir, &["upgrade", "--check"]).contains("nothing is to be done"));
    let none = tempfile::tempdir().unwrap();
    for arguments in [&["upgrade"][..], &["upgrade", "--check"]] {
        let refused = run(&none, arguments);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
    assert!(!storage(&none).exists());
}

#[test]
fn an_upgrade_is_what_a_start_does_and_leaves_nothing_to_be_done() {
    for archive in ["format-1.tar.gz", "format-2-first.tar.gz"] {
        let dir = unpack_storage(archive);
        assert!(said(&dir, &["upgrade"]).contains("is of format 2 now"));
        assert_eq!(format(&dir), "larder 2\n");
        assert!(said(&dir, &["upgrade", "--check"]).contains("nothing is to be done"));
        assert!(!storage(&dir).join("upgrading").exists());
        let node = Node::start(&dir, &[]);
        assert_eq!(node.complaints(), "", "{archive}");
        node.stop();
        assert_eq!(said(&dir, &["verify"]), CONTENTS);
        // The same by a start alone, which says so.
        let dir = unpack_storage(archive);
        let node = Node::start(&dir, &[]);
        let complaints = node.complaints();
        assert!(complaints.contains("is brought up"), "{complaints}");
        assert!(
            !complaints.contains("database is made anew"),
            "{complaints}"
        );
        node.stop();
        assert_eq!(format(&dir), "larder 2\n");
        assert_eq!(said(&dir, &["verify"]), CONTENTS);
    }
}

/// What an upgrade asks of the system to change anything.
const CALLS: [&str; 6] = [
    "mkdir,mkdirat",
    "rename,renameat,renameat2",
    "fsync,fdatasync",
    "unlink,unlinkat",
    "rmdir",
    "pwrite64,write",
];
/// Of each kind that many are enough by far.
const MOST: usize = 100;

#[test]
fn an_upgrade_that_is_killed_at_any_step_leaves_an_older_directory_or_one_that_is_brought_up() {
    for archive in ["format-1.tar.gz", "format-2-first.tar.gz"] {
        for calls in CALLS {
            let mut kills = 0;
            loop {
                let dir = unpack_storage(archive);
                let before = contents(&dir);
                let mut upgrade = larder(dir.path());
                if !is_killed_at(upgrade.arg("upgrade"), calls, kills + 1) {
                    break;
                }
                kills += 1;
                assert!(kills < MOST, "{calls}");
                // Nothing that is a file of somebody's was touched.
                assert!(contents(&dir) == before);
                said(&dir, &["upgrade"]);
                assert_eq!(format(&dir), "larder 2\n", "{calls} {kills}");
                assert_eq!(said(&dir, &["verify"]), CONTENTS, "{calls} {kills}");
                assert!(!storage(&dir).join("upgrading").exists());
            }
            assert!(kills > 0 || calls == "rmdir", "{archive}: {calls}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_that_cannot_be_written_leaves_the_older_directory_as_it_was() {
    let dir = unpack_storage("format-1.tar.gz");
    grow(&storage(&dir), 3000).await;
    let before = tree(&dir);
    // In the middle: no file may be longer than 100 KiB.
    let output = limited(dir.path(), "-f 100")
        .arg("upgrade")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        errors(&output).contains("[no_room_to_upgrade]"),
        "{output:?}"
    );
    assert!(tree(&dir) == before, "something was changed");
    said(&dir, &["upgrade"]);
    assert!(said(&dir, &["verify"]).contains(": 0 problems"));
}

#[test]
fn what_another_process_uses_is_not_brought_up_and_can_be_looked_at() {
    let dir = unpack_storage("format-1.tar.gz");
    let lock = fs::File::open(storage(&dir)).unwrap();
    lock.try_lock().unwrap();
    assert!(said(&dir, &["upgrade", "--check"]).contains("from format 1"));
    let refused = run(&dir, &["upgrade"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(format(&dir), "larder 1\n");
}

/// A node that tells a service manager how its start goes.
struct Starting {
    process: Child,
    manager: UnixDatagram,
}

impl Starting {
    fn new(dir: &TempDir) -> Self {
        let socket = dir.path().join("notify");
        let _ = fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket).unwrap();
        let mut command = larder(dir.path());
        command.env("NOTIFY_SOCKET", &socket);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { process, manager }
    }

    /// The next thing that it tells.
    fn told(&self) -> String {
        let mut bytes = [0; 4096];
        let len = self.manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    /// Waits until it has read so many changes for the upgrade; false where it serves before.
    fn until_read(&self, changes: u64) -> bool {
        loop {
            let told = self.told();
            if told.contains("READY=1") {
                return false;
            }
            assert!(told.contains("EXTEND_TIMEOUT_USEC="), "{told}");
            let read = told
                .split_once("up: ")
                .and_then(|(_, rest)| rest.split(' ').next());
            if read.is_some_and(|it| it.parse::<u64>().unwrap() >= changes) {
                return true;
            }
        }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn an_upgrade_of_100_000_files_tells_how_far_it_is_and_a_kill_in_its_midst_costs_nothing() {
    const FILES: u32 = 100_000;
    let dir = unpack_storage("format-1.tar.gz");
    grow(&storage(&dir), FILES).await;
    let told = said(&dir, &["upgrade", "--check"]);
    assert!(told.contains("100005 files"), "{told}");
    for changes in [1, 30_000, 70_000] {
        let starting = Starting::new(&dir);
        assert!(starting.until_read(changes), "it told nothing of {changes}");
        starting.kill();
        assert_eq!(format(&dir), "larder 1\n");
    }
    let starting = Starting::new(&dir);
    assert!(!starting.until_read(u64::MAX));
    starting.kill();
    assert_eq!(format(&dir), "larder 2\n");
    let node = Node::start(&dir, &[]);
    assert_eq!(count(node.address, "larder_files"), 100_005);
    node.stop();
}
