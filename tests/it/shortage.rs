//! What a node lacks for a while, open files or room in a file, is told as that, and is no end of
//! anything: once it is there again, all goes on.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, upload_request, uploaded};
use crate::common::process::{Node, limited, until};
use crate::common::raw_http::{Answer, connect, get, head, read_answer};
use crate::common::tus;

/// More than is kept in memory, so that files are opened for it.
const LONG: usize = 70_000;

/// Sends a request on a connection that is open.
fn ask(stream: &mut TcpStream, request: &[u8]) -> Answer {
    stream.write_all(request).unwrap();
    read_answer(stream, false)
}

fn ready(stream: &mut TcpStream) -> Answer {
    ask(stream, &head("GET", "/ready", &[]))
}

/// Status and code of a refusal that says when to come back.
fn shortage(answer: &Answer) -> (u16, String) {
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    answer.refusal()
}

fn out_of_open_files(durability: &str) {
    let dir = tempfile::tempdir().unwrap();
    // After a clean stop no work goes on beside.
    Node::start(&dir, &["--durability", durability]).stop();
    let node = Node::start(&dir, &["--durability", durability]);
    let kept = uploaded(node.address, "before", &content(1, LONG));
    let kept = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
    let mut stream = connect(node.address);
    assert_eq!(ready(&mut stream).status, 200);
    let mut taken = 2;
    for seed in 2..5 {
        let body = form(&[file("refused", &content(seed, LONG))]);
        for request in [upload_request(&body, &[]), head("GET", &kept, &[])] {
            // What the node closes meanwhile it may open again.
            let answer = until("nothing can be opened", || {
                node.allow_open_files(false);
                let answer = ask(&mut stream, &request);
                taken += u64::from(answer.status == 200 && request.starts_with(b"POST"));
                (answer.status != 200).then_some(answer)
            });
            assert_eq!(shortage(&answer), (503, "shortage".to_owned()));
        }
    }
    node.allow_open_files(true);
    let body = form(&[file("after", &content(6, LONG))]);
    let answer = ask(&mut stream, &upload_request(&body, &[]));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(ready(&mut stream).status, 200);
    let answer = ask(&mut stream, &head("GET", &kept, &[]));
    assert_eq!(answer.body, content(1, LONG));
    let list = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(list["file_count"], taken);
    assert!(!node.log().contains("ERROR"), "{}", node.log());
    node.stop();
}

#[test]
fn open_files_that_run_out_end_nothing() {
    out_of_open_files("always");
}

#[test]
fn open_files_that_run_out_end_nothing_under_relaxed_durability() {
    out_of_open_files("relaxed");
}

#[test]
fn what_cannot_be_read_for_want_of_open_files_is_neither_unknown_nor_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let kept = uploaded(node.address, "long", &content(1, LONG));
    let kept = format!("/api/p2p/file/{}", kept["file_id"].as_str().unwrap());
    let upload = tus::created(node.address, 9);
    tus::patched(node.address, &upload, 0, b"some");
    node.stop();
    let node = Node::start(&dir, &[]);
    let mut stream = connect(node.address);
    // All that was there before is known by now.
    assert_eq!(tus::offset(node.address, &upload), 4);
    let look = tus::request("HEAD", &upload, &[], b"");
    let short = |stream: &mut TcpStream, request: &[u8]| {
        let without_body = request.starts_with(b"HEAD");
        until("nothing can be opened", || {
            node.allow_open_files(false);
            stream.write_all(request).unwrap();
            let answer = read_answer(stream, without_body);
            (answer.status != 200).then_some(answer)
        })
    };
    let answer = short(&mut stream, &look);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    let answer = short(&mut stream, &tus::patch_request(&upload, 4, b"bytes", &[]));
    assert_eq!(shortage(&answer), (503, "shortage".to_owned()));
    let answer = short(&mut stream, &head("GET", &kept, &[]));
    assert_eq!(shortage(&answer), (503, "shortage".to_owned()));
    node.allow_open_files(true);
    tus::patched(node.address, &upload, 4, b"bytes");
    let answer = get(node.address, &kept, &[]);
    assert_eq!((answer.status, answer.body), (200, content(1, LONG)));
    assert!(!dir.path().join("peer_storage/damaged").exists());
    let complaints = node.complaints();
    assert!(!complaints.contains("damaged"), "{complaints}");
    node.stop();
}

#[test]
fn a_limit_of_processor_time_ends_the_node_in_order_and_with_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::spawn(&dir, limited(dir.path(), "-S -t 1"));
    uploaded(node.address, "kept", b"content");
    let mut stream = connect(node.address);
    let request = head("GET", "/metrics", &[]).repeat(16);
    let mut answers = vec![0; 1 << 16];
    // Until the connection is closed.
    while stream.write_all(&request).is_ok()
        && stream.read(&mut answers).is_ok_and(|bytes| bytes > 0)
    {}
    let status = node.wait();
    assert!(status.success(), "{status}");
    let node = Node::start(&dir, &[]);
    let log = node.log();
    assert!(
        log.contains("the limit of processor time is reached"),
        "{log}"
    );
    let list = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(list["file_count"], 1);
}

#[test]
fn a_limit_of_file_sizes_is_told_as_that_and_kills_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::spawn(&dir, limited(dir.path(), "-f 200"));
    for seed in 0..3 {
        let answer = upload(
            node.address,
            &form(&[file("long", &content(seed, 1 << 20))]),
        );
        assert_eq!(shortage(&answer), (507, "file_size_limit".to_owned()));
    }
    uploaded(node.address, "short", &content(4, 1000));
    until("it is ready", || {
        (get(node.address, "/ready", &[]).status == 200).then_some(())
    });
    node.stop();
}

#[test]
fn a_limit_of_file_sizes_that_a_file_of_many_has_reached_stops_no_uploads() {
    let dir = tempfile::tempdir().unwrap();
    // The pack reaches it after some 25 uploads.
    let node = Node::spawn(&dir, limited(dir.path(), "-f 1000"));
    let mut files = Vec::new();
    for seed in 0..60 {
        let file = uploaded(node.address, "short", &content(seed, 40_000));
        files.push((file["file_id"].as_str().unwrap().to_owned(), seed));
        assert_eq!(get(node.address, "/ready", &[]).status, 200);
    }
    assert!(sizes(&dir, "packs").len() > 2, "one pack is enough");
    assert!(!node.log().contains("fails"), "{}", node.log());
    node.stop();
    let node = Node::spawn(&dir, limited(dir.path(), "-f 1000"));
    for (id, seed) in files {
        let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert!(answer.body == content(seed, 40_000), "{seed}");
    }
    uploaded(node.address, "after a start", &content(100, 40_000));
    node.stop();
}

/// The sizes of all files under a directory of the storage, in bytes.
fn sizes(dir: &TempDir, below: &str) -> Vec<u64> {
    let (mut sizes, mut dirs) = (
        Vec::new(),
        vec![dir.path().join("peer_storage").join(below)],
    );
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else {
                sizes.push(entry.metadata().unwrap().len());
            }
        }
    }
    sizes
}

#[test]
fn a_lookup_database_that_ends_for_want_of_room_is_made_anew_when_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--durability", "relaxed"]);
    let mut stream = connect(node.address);
    let mut taken = 0;
    let mut put = |stream: &mut TcpStream| {
        let body = form(&[file(&format!("file {taken}"), b"the same")]);
        let answer = ask(stream, &upload_request(&body, &[]));
        taken += u64::from(answer.status == 200);
        (answer, taken)
    };
    // The database takes more room than the journal that it is made from.
    let largest = |below| sizes(&dir, below).into_iter().max().unwrap();
    let limit = until("the database is longer than the journal", || {
        for _ in 0..300 {
            assert_eq!(put(&mut stream).0.status, 200);
        }
        let (journal, database) = (largest("journal"), largest("index"));
        (database > 2 * (journal + (64 << 10))).then_some(journal + (64 << 10))
    });
    node.limit_file_sizes(Some(limit));
    let (refused, before) = until("the database fails", || {
        let (answer, taken) = put(&mut stream);
        (answer.status != 200).then_some((answer, taken))
    });
    assert_eq!(shortage(&refused), (507, "file_size_limit".to_owned()));
    let not_ready = ready(&mut stream);
    assert_eq!(not_ready.status, 503, "{not_ready:?}");
    // What was taken is there all the time.
    let count = |node: &Node| {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        status["local_files"].as_u64().unwrap()
    };
    assert_eq!(count(&node), before);
    node.limit_file_sizes(None);
    let after = until("a change is taken", || {
        let (answer, taken) = put(&mut stream);
        (answer.status == 200).then_some(taken)
    });
    assert_eq!(after, before + 1);
    assert_eq!(ready(&mut stream).status, 200);
    assert_eq!(count(&node), after);
    node.stop();
    let node = Node::start(&dir, &[]);
    assert_eq!(count(&node), after);
}

#[test]
fn a_start_with_little_memory_serves_or_ends_and_heeds_a_stop() {
    for kibibytes in (60_000..140_000).step_by(5_000) {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut command = limited(dir.path(), &format!("-v {kibibytes}"));
        command.args(["--shutdown-grace", "1"]);
        command.stdout(File::create(&out).unwrap());
        command.stderr(File::create(dir.path().join("log")).unwrap());
        let mut start = command.spawn().unwrap();
        until("it serves or has ended", || {
            let serves = std::fs::metadata(&out).unwrap().len() > 0;
            (serves || start.try_wait().unwrap().is_some()).then_some(())
        });
        let pid = Pid::from_raw(i32::try_from(start.id()).unwrap()).unwrap();
        if start.try_wait().unwrap().is_none() {
            kill_process(pid, Signal::TERM).unwrap();
        }
        until("it has ended", || start.try_wait().unwrap());
    }
}
