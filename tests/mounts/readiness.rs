//! `/ready` and `/health` tell what an upload would meet now, whatever the cause, and heal with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, limited, until};
use crate::common::raw_http::get;
use crate::common::tus::{create, created, patch, patched};
use crate::mounted::Mounted;

/// More than packs hold, so that it goes the way of files.
const LONG: usize = 70_000;
const FAILED: &str = "write_failed";

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// Waits until the node takes no uploads, and says so everywhere; nothing is acknowledged.
fn assert_unready(node: &Node, code: &str) {
    for (seed, len) in [(1, LONG), (2, 10)] {
        let body = form(&[file("refused", &content(seed, len))]);
        let answer = upload(node.address, &body);
        assert_eq!(answer.refusal().1, code, "{answer:?}");
        assert!([503, 507].contains(&answer.status), "{answer:?}");
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        // At once, and again.
        for _ in 0..2 {
            let ready = get(node.address, "/ready", &[]);
            assert_eq!(ready.refusal(), (503, code.to_owned()));
            assert!(!ready.header("retry-after").is_empty(), "{ready:?}");
            let health = get(node.address, "/health", &[]);
            assert_eq!(health.status, 200);
            assert_eq!(health.json()["writable"], false, "{health:?}");
            let metrics = get(node.address, "/metrics", &[]).body;
            assert!(String::from_utf8_lossy(&metrics).contains("larder_writable 0"));
        }
    }
}

/// Waits until the node is ready by itself, and takes uploads.
fn assert_heals(node: &Node) {
    until("the node is ready again", || {
        (get(node.address, "/ready", &[]).status == 200).then_some(())
    });
    assert_eq!(get(node.address, "/health", &[]).json()["writable"], true);
    for (seed, len) in [(3, LONG), (4, 10)] {
        uploaded(node.address, "taken", &content(seed, len));
    }
    assert_eq!(get(node.address, "/ready", &[]).status, 200);
}

/// How often the log says that the storage directory cannot be written.
fn told(node: &Node, text: &str) -> usize {
    node.log().matches(text).count()
}

fn in_use(dir: &TempDir) -> Node {
    let node = Node::start(dir, &[]);
    uploaded(node.address, "before", &content(0, LONG));
    uploaded(node.address, "before", &content(0, 10));
    assert_eq!(get(node.address, "/ready", &[]).status, 200);
    node
}

#[test]
fn a_storage_directory_that_is_gone_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    fs::remove_dir_all(storage(&dir)).unwrap();
    assert_unready(&node, FAILED);
    assert_eq!(told(&node, "cannot be written"), 1);
    // Not even where it looks as it did.
    for name in ["spool", "packs", "journal", "uploading"] {
        fs::create_dir_all(storage(&dir).join(name)).unwrap();
    }
    for shard in 0..=255 {
        fs::create_dir_all(storage(&dir).join(format!("blobs/{shard:02x}"))).unwrap();
    }
    let body = form(&[file("refused", &content(5, 10))]);
    assert_eq!(upload(node.address, &body).refusal().1, FAILED);
    let ready = get(node.address, "/ready", &[]);
    assert_eq!(ready.refusal(), (503, FAILED.to_owned()));
}

#[test]
fn a_storage_directory_that_is_moved_away_is_found_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    let aside = dir.path().join("aside");
    fs::rename(storage(&dir), &aside).unwrap();
    assert_unready(&node, FAILED);
    fs::rename(&aside, storage(&dir)).unwrap();
    assert_heals(&node);
    node.stop();
}

#[test]
fn what_is_asked_for_readiness_finds_out_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    fs::rename(storage(&dir), dir.path().join("aside")).unwrap();
    // Nobody uploads.
    until("the node is not ready", || {
        (get(node.address, "/ready", &[]).status == 503).then_some(())
    });
}

#[test]
fn a_part_of_the_storage_directory_that_is_gone_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    let (blobs, aside) = (storage(&dir).join("blobs"), dir.path().join("aside"));
    fs::rename(&blobs, &aside).unwrap();
    let body = form(&[file("refused", &content(1, LONG))]);
    let answer = upload(node.address, &body);
    assert_eq!(answer.refusal(), (503, FAILED.to_owned()));
    for _ in 0..2 {
        let ready = get(node.address, "/ready", &[]);
        assert_eq!(ready.refusal(), (503, FAILED.to_owned()));
    }
    fs::rename(&aside, &blobs).unwrap();
    assert_heals(&node);
}

#[test]
fn a_resumable_upload_that_cannot_begin_is_told_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    fs::remove_dir_all(storage(&dir)).unwrap();
    let answer = create(node.address, 10, &[]);
    assert_eq!(answer.refusal(), (503, FAILED.to_owned()));
}

#[test]
fn another_file_system_in_the_place_of_the_storage_directory_takes_nothing() {
    for options in ["size=1m", "size=1m,ro"] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &["--min-free", "0"]);
        uploaded(node.address, "before", &content(0, 10));
        let mounted = Mounted::tmpfs(options, &storage(&dir));
        assert_unready(&node, FAILED);
        drop(mounted);
        assert_heals(&node);
    }
}

#[test]
fn a_disk_that_is_full_to_the_last_byte_is_a_lack_of_room() {
    let dir = tempfile::tempdir().unwrap();
    let _disk = Mounted::tmpfs("size=8m", &storage(&dir));
    let node = Node::start(&dir, &["--min-free", "0"]);
    uploaded(node.address, "before", &content(0, LONG));
    let filler = storage(&dir).join("filler");
    let written = fs::write(&filler, vec![0; 8 << 20]);
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    for seed in 1..20 {
        let body = form(&[file("refused", &content(seed, LONG))]);
        let answer = upload(node.address, &body);
        assert_eq!(answer.refusal(), (507, "disk_full".to_owned()));
        let ready = get(node.address, "/ready", &[]);
        assert_eq!(ready.refusal(), (503, "disk_full".to_owned()));
        assert_eq!(get(node.address, "/health", &[]).json()["writable"], false);
    }
    assert_eq!(told(&node, " ERROR "), 0, "{}", node.log());
    assert_eq!(told(&node, "for want of room"), 1);
    fs::remove_file(filler).unwrap();
    assert_heals(&node);
}

#[test]
fn a_disk_without_room_for_names_is_a_lack_of_room() {
    let dir = tempfile::tempdir().unwrap();
    let _disk = Mounted::tmpfs("size=64m,nr_inodes=800", &storage(&dir));
    let node = Node::start(&dir, &["--min-free", "0"]);
    uploaded(node.address, "before", &content(0, LONG));
    let names = storage(&dir).join("names");
    fs::create_dir(&names).unwrap();
    let full = (0..).find_map(|name: u32| fs::write(names.join(name.to_string()), "").err());
    assert_eq!(full.unwrap().kind(), std::io::ErrorKind::StorageFull);
    let body = form(&[file("refused", &content(1, LONG))]);
    let answer = upload(node.address, &body);
    assert_eq!(answer.refusal(), (507, "disk_full".to_owned()));
    let ready = get(node.address, "/ready", &[]);
    assert_eq!(ready.refusal(), (503, "disk_full".to_owned()));
    fs::remove_dir_all(names).unwrap();
    assert_heals(&node);
}

/// Calls of a running process that fail until this is dropped.
struct Injected(Child);

impl Injected {
    fn into(node: &Node, calls: &str, error: &str) -> Self {
        Self::with(node, calls, error, &[])
    }

    /// The same, where they concern the file at `path`.
    fn into_file(node: &Node, calls: &str, error: &str, path: &Path) -> Self {
        Self::with(node, calls, error, &["-P", path.to_str().unwrap()])
    }

    fn with(node: &Node, calls: &str, error: &str, which: &[&str]) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null"]).args(which);
        strace
            .arg("-e")
            .arg(format!("inject={calls}:error={error}"));
        strace.args(["-p", &node.id().to_string()]);
        let child = strace.stdout(Stdio::null()).spawn().unwrap();
        until("the node is traced", || node.is_traced().then_some(()));
        Self(child)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // It lets go of the node when it is told to end.
        let pid = i32::try_from(self.0.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_file_system_that_has_gone_read_only_is_told_and_needs_no_restart() {
    // What `errors=remount-ro` leaves: every change fails, also the cut of what was half-written.
    let calls = "pwrite64,ftruncate,rename,renameat,renameat2,unlink,unlinkat";
    for error in ["EROFS", "EIO", "EDQUOT"] {
        let dir = tempfile::tempdir().unwrap();
        let node = in_use(&dir);
        let injected = Injected::into(&node, calls, error);
        let code = if error == "EDQUOT" {
            "disk_full"
        } else {
            FAILED
        };
        assert_unready(&node, code);
        drop(injected);
        assert_heals(&node);
        node.stop();
        let node = Node::start(&dir, &[]);
        let list = get(node.address, "/api/p2p/files", &[]).json();
        assert_eq!(list["total_files"], 4, "{error}");
    }
}

#[test]
fn a_stop_whose_lookup_database_cannot_be_written_is_clean_since_the_journal_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    let database = storage(&dir).join("index/0000000001/db");
    assert!(database.exists());
    let injected = Injected::into_file(&node, "pwrite64,fsync,fdatasync", "EIO", &database);
    node.stop();
    drop(injected);
    let node = Node::start(&dir, &[]);
    assert!(node.log().contains("not sealed"), "{}", node.log());
    let list = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(list["total_files"], 2);
    node.stop();
}

/// What a part of the storage directory is, moved away until this is dropped.
struct Aside {
    from: PathBuf,
    to: PathBuf,
}

impl Aside {
    fn moved(dir: &TempDir, name: &str) -> Self {
        let (from, to) = (storage(dir).join(name), dir.path().join("aside"));
        fs::rename(&from, &to).unwrap();
        Self { from, to }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        fs::rename(&self.to, &self.from).unwrap();
    }
}

/// Each part that some upload needs.
const NEEDED: [&str; 6] = [
    "spool",
    "blobs",
    "outboards",
    "packs",
    "journal",
    "uploading",
];

#[test]
fn what_an_upload_needs_is_missed_before_one_comes() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    for name in NEEDED {
        let aside = Aside::moved(&dir, name);
        until(name, || {
            (get(node.address, "/ready", &[]).status == 503).then_some(())
        });
        let ready = get(node.address, "/ready", &[]);
        assert_eq!(ready.refusal(), (503, FAILED.to_owned()), "{name}");
        drop(aside);
        until(name, || {
            (get(node.address, "/ready", &[]).status == 200).then_some(())
        });
    }
    assert_heals(&node);
}

#[test]
fn what_is_written_in_one_place_heals_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    let tried = Duration::from_secs(5);
    for (seed, name) in (10..).zip(["blobs", "outboards"]) {
        let aside = Aside::moved(&dir, name);
        let long = form(&[file("refused", &content(seed, LONG))]);
        assert_eq!(upload(node.address, &long).refusal().1, FAILED);
        // Longer than a trial is waited for.
        let began = Instant::now();
        for small in 0.. {
            uploaded(node.address, "small", &content(1000 * seed + small, 10));
            let ready = get(node.address, "/ready", &[]);
            assert_eq!(ready.refusal(), (503, FAILED.to_owned()), "{name}");
            if began.elapsed() > tried {
                break;
            }
        }
        assert_eq!(told(&node, "can be written again"), seed as usize - 10);
        drop(aside);
        until(name, || {
            (get(node.address, "/ready", &[]).status == 200).then_some(())
        });
    }
    assert_heals(&node);
}

#[test]
fn a_directory_that_cannot_be_changed_is_told_until_it_can() {
    for name in ["blobs", "outboards", "uploading", "packs"] {
        let dir = tempfile::tempdir().unwrap();
        let node = in_use(&dir);
        let mounted = Mounted::tmpfs("size=1m,ro", &storage(&dir).join(name));
        until(name, || {
            (get(node.address, "/ready", &[]).status == 503).then_some(())
        });
        let ready = get(node.address, "/ready", &[]);
        assert_eq!(ready.refusal(), (503, FAILED.to_owned()), "{name}");
        drop(mounted);
        assert_heals(&node);
    }
}

#[test]
fn a_shard_that_is_gone_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = in_use(&dir);
    for parent in ["blobs", "outboards"] {
        for shard in fs::read_dir(storage(&dir).join(parent)).unwrap() {
            // Those that hold something stay.
            let _ = fs::remove_dir(shard.unwrap().path());
        }
        assert!(fs::read_dir(storage(&dir).join(parent)).unwrap().count() < 3);
    }
    for seed in 1..6 {
        let bytes = content(seed, LONG);
        let kept = uploaded(node.address, "kept", &bytes);
        let path = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
        assert!(get(node.address, &path, &[]).body == bytes);
        assert_eq!(get(node.address, "/ready", &[]).status, 200);
    }
    assert_eq!(told(&node, "cannot be written"), 0);
}

#[test]
fn a_stranger_learns_no_path() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--private", "--token", "a-token-of-this-node"]);
    for name in NEEDED {
        let aside = Aside::moved(&dir, name);
        until(name, || {
            (get(node.address, "/ready", &[]).status == 503).then_some(())
        });
        for path in ["/health", "/ready"] {
            let answer = get(node.address, path, &[]);
            let text = String::from_utf8_lossy(&answer.body);
            assert!(text.contains("cannot write"), "{text}");
            for secret in ["peer_storage", name, "os error"] {
                assert!(!text.contains(secret), "{path} tells {secret}: {text}");
            }
        }
        assert!(node.log().contains(&format!("peer_storage/{name}")));
        drop(aside);
        until(name, || {
            (get(node.address, "/ready", &[]).status == 200).then_some(())
        });
    }
}

#[test]
fn a_limit_of_file_sizes_is_one_of_a_file_and_not_of_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::spawn(&dir, limited(dir.path(), "-f 8192"));
    for seed in 1..4 {
        let body = form(&[file("refused", &content(seed, 12 << 20))]);
        let answer = upload(node.address, &body);
        assert_eq!(answer.refusal(), (507, "file_size_limit".to_owned()));
        assert_eq!(get(node.address, "/ready", &[]).status, 200);
        uploaded(node.address, "taken", &content(seed, LONG));
        assert_eq!(get(node.address, "/ready", &[]).status, 200);
    }
    assert_eq!(told(&node, "for want of room"), 0);
}

#[test]
fn where_no_second_name_can_be_made_an_upload_in_parts_becomes_a_file_all_the_same() {
    for error in ["EPERM", "EOPNOTSUPP"] {
        let dir = tempfile::tempdir().unwrap();
        let node = in_use(&dir);
        let injected = Injected::into(&node, "link,linkat", error);
        let bytes = content(5, LONG);
        let upload = created(node.address, LONG);
        patched(node.address, &upload, 0, &bytes[..LONG / 2]);
        let last = patched(node.address, &upload, LONG / 2, &bytes[LONG / 2..]);
        assert_eq!(get(node.address, "/ready", &[]).status, 200);
        drop(injected);
        let id = last.header("larder-file-id");
        let got = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert!(got.body == bytes, "{error}");
        assert_eq!(
            fs::read_dir(storage(&dir).join("spool")).unwrap().count(),
            0
        );
    }
}

#[test]
fn what_only_some_uploads_need_is_tried_too() {
    for calls in ["link,linkat", "mkdir,mkdirat"] {
        let dir = tempfile::tempdir().unwrap();
        let node = in_use(&dir);
        let upload = created(node.address, LONG);
        let injected = Injected::into(&node, calls, "EIO");
        until("it is found out", || {
            (get(node.address, "/ready", &[]).status == 503).then_some(())
        });
        let ready = get(node.address, "/ready", &[]);
        assert_eq!(ready.refusal(), (503, FAILED.to_owned()), "{calls}");
        if calls.starts_with("link") {
            let answer = patch(node.address, &upload, 0, &content(6, LONG));
            assert_eq!(answer.refusal().1, FAILED, "{answer:?}");
        }
        drop(injected);
        assert_heals(&node);
    }
}
