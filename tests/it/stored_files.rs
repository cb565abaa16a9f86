//! Something else than a file in the place of each file that is stored: nobody waits for it, and
//! no more is read of it than such a file can have.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, limited, until};
use crate::common::raw_http::{get, head, send};

const LONG: usize = 1_600_001;
const STORAGE: &str = "peer_storage";

/// What takes the place of a file.
type Intruder = fn(&Path);

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

fn endless(path: &Path) {
    symlink("/dev/zero", path).unwrap();
}

fn hole(path: &Path) {
    File::create(path).unwrap().set_len(1 << 40).unwrap();
}

/// A storage directory that has a file of each kind, as a clean stop leaves it.
fn stored() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    uploaded(node.address, "long", &content(1, LONG));
    uploaded(node.address, "small", &content(2, 100));
    let gone = uploaded(node.address, "gone", &content(3, 100));
    let gone = format!("/api/p2p/file/{}", gone["file_id"].as_str().unwrap());
    let removed = send(node.address, &head("DELETE", &gone, &[]));
    assert_eq!(removed.status, 200, "{removed:?}");
    let upload = crate::common::tus::created(node.address, 1000);
    crate::common::tus::patched(node.address, &upload, 0, &content(4, 100));
    until("what is dead is told of", || {
        let packs = fs::read_dir(dir.path().join(STORAGE).join("packs"));
        let mut names = packs.unwrap().map(|it| it.unwrap().path());
        names
            .any(|it| it.extension().is_some_and(|it| it == "dead"))
            .then_some(())
    });
    node.stop();
    dir
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut dirs } else { &mut files }.push(path);
        }
    }
    files.sort();
    files
}

/// Waits until a process has ended, which it does by itself.
fn ended(what: &str, mut process: Child) -> ExitStatus {
    until(what, || process.try_wait().unwrap())
}

/// Runs a command to its end, in no more than 4 GiB of addresses; its status and all it said.
fn run(dir: &Path, arguments: &[&str], what: &str) -> (ExitStatus, String) {
    let said = dir.join("said");
    let file = File::create(&said).unwrap();
    let mut command = limited(dir, "-v 4194304");
    command.args(arguments).stdin(Stdio::null());
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let status = ended(what, command.spawn().unwrap());
    (status, fs::read_to_string(said).unwrap())
}

/// Starts a node: it serves, or ends and says because of which file.
fn serves_or_tells(dir: &Path, name: &str, what: &str) {
    let (out, log) = (dir.join("out"), dir.join("said"));
    let mut command = larder(dir);
    command.stdout(File::create(&out).unwrap());
    let mut process = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
    let ended = until(what, || {
        let serves = fs::read_to_string(&out).unwrap().contains("://");
        let ended = process.try_wait().unwrap();
        (serves || ended.is_some()).then_some(ended)
    });
    let said = fs::read_to_string(&log).unwrap();
    if let Some(status) = ended {
        assert_eq!(status.code(), Some(1), "{what}: {said}");
        assert!(said.contains(name), "{what}: {said}");
    } else {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// Puts an intruder in the place of each file that `is_meant`, one after the other.
fn intrude(intruder: Intruder, is_meant: fn(&str) -> bool) {
    let original = stored();
    let root = original.path().join(STORAGE);
    let mut count = 0;
    for file in files_below(&root) {
        let name = file
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if !is_meant(&name) {
            continue;
        }
        count += 1;
        for command in [Some("verify"), Some("rebuild-index"), None] {
            let dir = tempfile::tempdir().unwrap();
            let what = format!("{name}: {}", command.unwrap_or("serve"));
            let mut copy = Command::new("cp");
            let copied = copy.arg("-a").arg(&root).arg(dir.path()).status().unwrap();
            assert!(copied.success());
            let place = dir.path().join(STORAGE).join(&name);
            fs::remove_file(&place).unwrap();
            intruder(&place);
            let last = Path::new(&name).file_name().unwrap().to_str().unwrap();
            match command {
                None => serves_or_tells(dir.path(), last, &what),
                Some(command) => {
                    let (status, said) = run(dir.path(), &[command], &what);
                    assert!(
                        status.code().is_some_and(|it| it < 2),
                        "{what}: {status} {said}"
                    );
                    // What is derived anew while it is read needs no telling.
                    let kinds = ["index", "journal/", "larder.format", "node.key"];
                    let tells = command == "verify" && kinds.iter().any(|it| name.starts_with(it));
                    assert!(!tells || !status.success(), "{what}: {said}");
                }
            }
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn nobody_waits_for_a_pipe_in_the_place_of_a_stored_file() {
    intrude(pipe, |_| true);
}

#[test]
fn nobody_reads_on_in_what_has_no_end() {
    intrude(endless, |_| true);
}

/// The content, the records and what grows with them may be long.
fn is_small(name: &str) -> bool {
    let long = [
        "blobs/",
        "outboards/",
        "uploading/",
        "journal/0",
        "larder.lock",
    ];
    let is_long = long.iter().any(|it| name.starts_with(it));
    let extension = Path::new(name).extension();
    let is_long = is_long || extension.is_some_and(|it| it == "pack" || it == "journal");
    !is_long && (!name.starts_with("index/") || name.ends_with("/conf"))
}

#[test]
fn no_small_file_is_read_that_is_far_too_long() {
    intrude(hole, is_small);
}

/// What is behind the end of a file is a hole, through which nobody can read in any time.
#[test]
fn nobody_looks_through_what_a_file_of_records_has_grown_by_and_every_file_is_there() {
    let original = stored();
    let root = original.path().join(STORAGE);
    let grown = files_below(&root).into_iter().filter_map(|path| {
        let name = path.strip_prefix(&root).unwrap().to_str()?.to_owned();
        ["index/", "journal/"]
            .iter()
            .any(|it| name.starts_with(it))
            .then_some(name)
    });
    let grown: Vec<_> = grown.collect();
    assert!(grown.len() > 3, "{grown:?}");
    for (name, is_sealed) in grown.iter().flat_map(|it| [(it, true), (it, false)]) {
        let dir = tempfile::tempdir().unwrap();
        let what = format!("{name}, sealed: {is_sealed}");
        let mut copy = Command::new("cp");
        let copied = copy.arg("-a").arg(&root).arg(dir.path()).status().unwrap();
        assert!(copied.success());
        let storage = dir.path().join(STORAGE);
        if !is_sealed {
            fs::remove_file(storage.join("index.seal")).unwrap();
        }
        let file = File::options()
            .write(true)
            .open(storage.join(name))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() + (1 << 40))
            .unwrap();
        let (status, said) = run(dir.path(), &["verify"], &what);
        assert!(status.code().is_some_and(|it| it < 2), "{what}: {said}");
        let node = Node::start(&dir, &[]);
        let listed = get(node.address, "/api/p2p/files", &[]).json();
        assert_eq!(listed["total_files"], 2, "{what}: {}", node.log());
        node.stop();
    }
}

#[test]
fn an_outboard_that_is_no_file_is_derived_anew_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let bytes = content(5, LONG);
    let file = uploaded(node.address, "long", &bytes);
    let hash = file["hash"].as_str().unwrap();
    let outboards = dir.path().join(STORAGE).join("outboards");
    let place = outboards.join(&hash[..2]).join(hash);
    let right = fs::read(&place).unwrap();
    for intruder in [pipe as Intruder, endless, |it| fs::create_dir(it).unwrap()] {
        fs::remove_file(&place).unwrap();
        intruder(&place);
        let range = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        let part = get(node.address, &range, &["Range: bytes=1000000-1000099"]);
        assert_eq!(part.status, 206, "{part:?}");
        assert!(part.body == bytes[1_000_000..1_000_100]);
        let proven = get(node.address, &format!("/api/p2p/blob/{hash}/bao"), &[]);
        assert_eq!(proven.status, 200);
        if !place.is_dir() {
            assert!(fs::symlink_metadata(&place).unwrap().is_file());
            assert!(fs::read(&place).unwrap() == right);
        }
    }
}

#[test]
fn whatever_is_in_the_place_of_a_directory_of_outboards_gives_way_to_it() {
    let link: Intruder = |it| symlink("nowhere", it).unwrap();
    let short: Intruder = |it| fs::write(it, "something").unwrap();
    for (intruder, restarts) in [
        (pipe as Intruder, false),
        (pipe, true),
        (link, false),
        (short, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::start(&dir, &[]);
        let bytes = content(6, LONG);
        let file = uploaded(node.address, "long", &bytes);
        let hash = file["hash"].as_str().unwrap().to_owned();
        let shard = dir.path().join(STORAGE).join("outboards").join(&hash[..2]);
        let intrude = || {
            fs::remove_dir_all(&shard).unwrap();
            intruder(&shard);
        };
        if restarts {
            node.stop();
            intrude();
            node = Node::start(&dir, &[]);
        } else {
            intrude();
        }
        // Nothing of it is needed to take the file away, or to stop.
        let proven = get(node.address, &format!("/api/p2p/blob/{hash}/bao"), &[]);
        assert_eq!(proven.status, 200, "{proven:?}");
        assert!(shard.is_dir());
        let log = node.log();
        assert!(
            log.contains("in the place of a directory of outboards"),
            "{log}"
        );
        intrude();
        let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        let removed = send(node.address, &head("DELETE", &path, &[]));
        assert_eq!(removed.status, 200, "{removed:?}");
        uploaded(node.address, "again", &bytes);
        assert!(shard.is_dir());
        node.stop();
        Node::start(&dir, &[]).stop();
    }
}
