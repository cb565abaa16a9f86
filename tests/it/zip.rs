//! Several files as one archive, unpacked by programs that people have.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{neighbours, until_sees};
use crate::common::process::{Node, larder};
use crate::common::raw_http::{Answer, get, head, send, until_the_end};

/// Uploads files, and returns the target of the archive that has them in this order.
fn archive_of(node: &Node, files: &[(&str, &[u8])]) -> String {
    let ids = files.iter().map(|(name, bytes)| {
        let file = uploaded(node.address, name, bytes);
        format!("id={}", file["file_id"].as_str().unwrap())
    });
    let ids: Vec<_> = ids.collect();
    format!("/api/p2p/zip?{}", ids.join("&"))
}

/// What is in an archive that two programs have read and one has unpacked into a folder beside it:
/// the names, in their order.
fn unpacked(dir: &Path, archive: &[u8]) -> Vec<String> {
    let path = dir.join("archive.zip");
    fs::write(&path, archive).unwrap();
    let entries = read(dir, &path);
    let names = entries.iter().map(|it| it[0].as_str().unwrap().to_owned());
    names.collect()
}

fn read(dir: &Path, archive: &Path) -> Vec<Value> {
    let unzip = Command::new("unzip").arg("-tq").arg(archive).output();
    let unzip = unzip.unwrap();
    assert!(unzip.status.success(), "{unzip:?}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = Command::new("python3")
        .arg(root.join("tests/python/archive.py"))
        .args([archive, &dir.join("unpacked")])
        .output()
        .unwrap();
    assert!(python.status.success(), "{python:?}");
    serde_json::from_slice(&python.stdout).unwrap()
}

fn assert_is_archive(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/zip");
    assert!(
        answer
            .header("content-disposition")
            .starts_with("attachment; ")
    );
}

#[test]
fn several_files_come_as_one_archive_that_programs_unpack() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let long = content(1, 3_000_000);
    let files: [(&str, &[u8]); 5] = [
        ("notes.txt", b"notes"),
        ("photos/2026/b.jpg", &long),
        ("empty", b""),
        ("cafe\u{301} \u{1f600}.txt", b"coffee"),
        ("a block.bin", &long[..65_535]),
    ];
    let target = archive_of(&node, &files);
    let answer = get(node.address, &format!("{target}&name=my%20files"), &[]);
    assert_is_archive(&answer);
    let saved_as = answer.header("content-disposition");
    assert!(saved_as.contains("\"my files.zip\""), "{saved_as}");
    let with_ending = get(node.address, &format!("{target}&name=my%20files.zip"), &[]);
    assert_eq!(with_ending.header("content-disposition"), saved_as);
    // Told before, so that a browser shows how far it is.
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    let names = unpacked(dir.path(), &answer.body);
    let composed = "caf\u{e9} \u{1f600}.txt";
    let expected = [
        "notes.txt",
        "photos/2026/b.jpg",
        "empty",
        composed,
        "a block.bin",
    ];
    assert_eq!(names, expected);
    for (name, (_, bytes)) in names.iter().zip(files) {
        let unpacked = fs::read(dir.path().join("unpacked").join(name)).unwrap();
        assert!(unpacked == bytes, "{name}");
    }
    let asked = send(node.address, &head("HEAD", &target, &[]));
    assert_eq!((asked.status, asked.body.len()), (200, 0));
    assert_eq!(
        asked.header("content-length"),
        answer.header("content-length")
    );
    // The time of the upload, in UTC.
    let path = dir.path().join("archive.zip");
    let year = read(dir.path(), &path)[0][2][0].as_u64().unwrap();
    assert!((2026..2100).contains(&year), "{year}");
}

#[test]
fn names_of_strangers_stay_in_the_folder_and_apart() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let names = ["../up.txt", "same.txt", "SAME.txt", "/root.txt", "same.txt"];
    let files = names.map(|name| (name, name.as_bytes()));
    let answer = get(node.address, &archive_of(&node, &files), &[]);
    assert_is_archive(&answer);
    let expected = [
        "up.txt",
        "same.txt",
        "SAME (2).txt",
        "root.txt",
        "same (3).txt",
    ];
    let found = unpacked(dir.path(), &answer.body);
    assert_eq!(found.len(), names.len());
    for (name, expected) in found.iter().zip(expected) {
        assert_eq!(name.to_lowercase(), expected.to_lowercase());
    }
}

#[test]
fn a_file_that_is_called_as_a_folder_is_unpacked_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    // Some are found before the folder of their name, and others behind it.
    let names = ["f/a", "f/a/b", "f/c/d", "f/c", "f/e/g/h", "f/e/g", "f/e"];
    for name in names {
        uploaded(node.address, name, name.as_bytes());
    }
    let answer = get(node.address, "/api/p2p/zip/f", &[]);
    assert_is_archive(&answer);
    // Python has unpacked it, and unzip does, which fails where a file stands in a folder's place.
    let found = unpacked(dir.path(), &answer.body);
    let beside = dir.path().join("beside");
    let unzip = Command::new("unzip")
        .arg("-q")
        .arg(dir.path().join("archive.zip"))
        .arg("-d")
        .arg(&beside)
        .output()
        .unwrap();
    assert!(unzip.status.success(), "{unzip:?}");
    for by in ["unpacked", "beside"] {
        let read = |name: &String| fs::read_to_string(dir.path().join(by).join(name)).unwrap();
        let mut contents: Vec<_> = found.iter().map(read).collect();
        contents.sort();
        let mut expected = names;
        expected.sort_unstable();
        assert_eq!(contents, expected, "{by}: {found:?}");
    }
}

#[test]
fn a_folder_comes_as_an_archive_with_all_below_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    for name in [
        "photos/a.jpg",
        "photos/2026/b.jpg",
        "Photos/other.jpg",
        "my photos/c.jpg",
        "photos",
        "photos/a.jpg.txt",
    ] {
        uploaded(node.address, name, name.as_bytes());
    }
    // The newest of those that are called alike has the name.
    uploaded(node.address, "photos/a.jpg", b"newer");
    for target in ["/api/p2p/zip/photos", "/api/p2p/zip/photos/"] {
        let answer = get(node.address, target, &[]);
        assert_is_archive(&answer);
        assert!(
            answer
                .header("content-disposition")
                .contains("\"photos.zip\"")
        );
        let mut names = unpacked(dir.path(), &answer.body);
        names.sort();
        let expected = [
            "photos/2026/b.jpg",
            "photos/a (2).jpg",
            "photos/a.jpg",
            "photos/a.jpg.txt",
        ];
        assert_eq!(names, expected);
        let newest = fs::read(dir.path().join("unpacked/photos/a.jpg")).unwrap();
        assert_eq!(newest, b"newer");
    }
    // As it shall be called, with or without the ending.
    for named in ["my+own", "my%20own.zip"] {
        let named = get(
            node.address,
            &format!("/api/p2p/zip/photos?name={named}"),
            &[],
        );
        let disposition = named.header("content-disposition");
        assert!(disposition.contains("\"my own.zip\""), "{disposition}");
    }
    // Not as nothing can be called.
    for none in ["", ".zip", "..", "..zip"] {
        let target = format!("/api/p2p/zip/photos?name={none}");
        let named = get(node.address, &target, &[]);
        let disposition = named.header("content-disposition");
        assert!(disposition.contains("\"photos.zip\""), "{disposition}");
    }
    let inner = get(node.address, "/api/p2p/zip/photos/2026", &[]);
    assert!(inner.header("content-disposition").contains("\"2026.zip\""));
    assert_eq!(unpacked(dir.path(), &inner.body), ["photos/2026/b.jpg"]);
    for none in [
        "/api/p2p/zip/photo",
        "/api/p2p/zip/none",
        "/api/p2p/zip/%ff",
    ] {
        let refused = get(node.address, none, &[]).refusal();
        assert_eq!(refused, (404, "unknown_file".to_owned()), "{none}");
    }
}

#[test]
fn files_of_other_nodes_are_in_an_archive_too() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (node, other) = neighbours(&dirs);
    let bytes = content(2, 700_000);
    let there = uploaded(other.address, "there.bin", &bytes);
    until_sees(node.address, &["there.bin"]);
    let here = archive_of(&node, &[("here.txt", b"here")]);
    let target = format!("{here}&id={}", there["file_id"].as_str().unwrap());
    let answer = get(node.address, &target, &[]);
    assert_is_archive(&answer);
    // What another node says of a length is no promise that this one could give.
    assert_eq!(answer.header("content-length"), "");
    assert_eq!(
        unpacked(dirs[0].path(), &answer.body),
        ["here.txt", "there.bin"]
    );
    let unpacked = fs::read(dirs[0].path().join("unpacked/there.bin")).unwrap();
    assert!(unpacked == bytes);
}

#[test]
fn what_cannot_be_had_is_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let here = archive_of(&node, &[("here.txt", b"here")]);
    for (target, refusal) in [
        ("/api/p2p/zip".to_owned(), (400, "bad_query")),
        ("/api/p2p/zip?name=a".to_owned(), (400, "bad_query")),
        (format!("{here}&id=no-id"), (404, "unknown_file")),
        (
            format!("{here}&id=01a20901-8f39-748f-bc00-022fbed4dd21"),
            (404, "unknown_file"),
        ),
    ] {
        let (status, code) = get(node.address, &target, &[]).refusal();
        assert_eq!((status, &*code), refusal, "{target}");
    }
    let id = here.split_once('?').unwrap().1;
    let twice = get(node.address, &format!("{here}&{id}&unknown=1"), &[]);
    assert_eq!(unpacked(dir.path(), &twice.body), ["here.txt"]);
}

/// Changes a byte in the middle of the only blob that is a file of its own.
fn damage(dir: &TempDir, bytes: &[u8]) {
    let blobs = dir.path().join("peer_storage/blobs");
    let path = blob_below(&blobs, bytes.len() as u64).unwrap();
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let at = bytes.len() as u64 / 2;
    file.seek(SeekFrom::Start(at)).unwrap();
    let mut byte = [0];
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[!byte[0]]).unwrap();
}

fn blob_below(dir: &Path, size: u64) -> Option<std::path::PathBuf> {
    fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            return blob_below(&path, size);
        }
        (meta.len() == size).then_some(path)
    })
}

#[test]
fn an_archive_with_a_file_that_turns_out_damaged_never_ends_as_if_it_were_whole() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let bytes = content(3, 4 << 20);
    let target = archive_of(&node, &[("first.txt", b"first"), ("second.bin", &bytes)]);
    let whole = get(node.address, &target, &[]);
    assert_is_archive(&whole);
    node.stop();
    damage(&dir, &bytes);
    let node = Node::start(&dir, &[]);
    let (status, body) = until_the_end(node.address, &target);
    assert_eq!(status, 200);
    // Up to the damage it is the same, and nothing of what is damaged came.
    let differs = body
        .iter()
        .zip(&whole.body)
        .position(|(one, other)| one != other);
    assert_eq!(differs, None);
    assert!(body.len() < bytes.len(), "{}", body.len());
    // Once that is known it is refused before, and not told as if it did not exist.
    let refused = get(node.address, &target, &[]).refusal();
    assert_eq!(refused, (500, "damaged".to_owned()));
}

#[test]
fn a_folder_comes_as_an_archive_while_files_in_it_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--durability", "relaxed"]);
    for number in 0..300 {
        uploaded(node.address, &format!("folder/{number}"), b"stays");
    }
    let stops = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stops.load(Ordering::Relaxed) {
                let file = uploaded(node.address, "folder/goes", b"goes");
                let target = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
                let removed = send(node.address, &head("DELETE", &target, &[]));
                assert_eq!(removed.status, 200);
            }
        });
        let statuses = (0..60).map(|_| {
            let answer = send(node.address, &head("HEAD", "/api/p2p/zip/folder", &[]));
            answer.status
        });
        let statuses: BTreeSet<_> = statuses.collect();
        stops.store(true, Ordering::Relaxed);
        assert_eq!(statuses, BTreeSet::from([200]));
    });
}

#[test]
fn who_may_read_may_have_an_archive_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let target = archive_of(&node, &[("photos/a.txt", b"a")]);
    node.stop();
    let arguments = ["token", "reader", "--rights", "read", "--tokens", "tokens"];
    let made = larder(dir.path()).args(arguments).output().unwrap();
    let token = String::from_utf8(made.stdout).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let node = Node::start(&dir, &["--tokens", "tokens", "--private"]);
    for target in [&*target, "/api/p2p/zip/photos"] {
        assert_eq!(get(node.address, target, &[]).status, 401, "{target}");
        assert_is_archive(&get(node.address, target, &[&bearer]));
    }
}

#[test]
fn an_archive_holds_no_more_names_than_memory_is_meant_for() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--durability", "relaxed"]);
    // As long as names may be.
    let name = |number: usize| format!("long/{number:04}{}", "x".repeat(4096 - 9));
    for number in 0..1024 {
        uploaded(node.address, &name(number), b"x");
    }
    let fits = get(node.address, "/api/p2p/zip/long", &[]);
    assert_is_archive(&fits);
    uploaded(node.address, &name(1024), b"x");
    let refused = get(node.address, "/api/p2p/zip/long", &[]).refusal();
    assert_eq!(refused, (400, "too_many_files".to_owned()));
}

#[test]
fn folders_within_folders_take_no_memory_and_are_so_many_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--durability", "relaxed"]);
    // As many folders as a name has room for, of which no two names share more than the first.
    let name = |number: usize| format!("deep/{number:02}{}", "/x".repeat(2044));
    for number in 0..48 {
        uploaded(node.address, &name(number), b"x");
    }
    let before = node.peak_memory();
    let fits = get(node.address, "/api/p2p/zip/deep", &[]);
    assert_is_archive(&fits);
    let grown = node.peak_memory() - before;
    assert!(grown < 32 << 10, "{grown} KiB");
    uploaded(node.address, &name(48), b"x");
    let refused = get(node.address, "/api/p2p/zip/deep", &[]).refusal();
    assert_eq!(refused, (400, "too_many_files".to_owned()));
}

/// How long the longest file is, in MiB: in the long version one that needs lengths of 64 bits.
fn long() -> usize {
    if std::env::var_os("LARDER_SOAK").is_some() {
        (4 << 10) + 1
    } else {
        192
    }
}

#[test]
fn a_long_archive_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let path = dir.path().join("long.bin");
    let file = fs::File::create(&path).unwrap();
    file.set_len((long() as u64) << 20).unwrap();
    let put = larder(dir.path())
        .args(["put", "long.bin", "--node", &node.url("")])
        .output()
        .unwrap();
    assert!(put.status.success(), "{put:?}");
    let put = String::from_utf8(put.stdout).unwrap();
    let long_id = put.split_whitespace().next().unwrap();
    let short = archive_of(&node, &[("short.txt", b"short")]);
    let before = node.peak_memory();
    let archive = dir.path().join("archive.zip");
    let curl = Command::new("curl")
        .args(["--silent", "--fail", "--noproxy", "*", "-o"])
        .arg(&archive)
        .arg(node.url(&format!("{short}&id={long_id}")))
        .status()
        .unwrap();
    assert!(curl.success());
    let grown = node.peak_memory() - before;
    assert!(grown < 32 << 10, "{grown} KiB");
    let entries = read(dir.path(), &archive);
    assert_eq!(entries[1][1].as_u64().unwrap(), (long() as u64) << 20);
}
