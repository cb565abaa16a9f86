//! What a node lacks for a while, open files or room in a file, is told as that, and is no end of
//! anything: once it is there again, all goes on.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

mod common;

use std::io::Write;
use std::net::TcpStream;

use common::content::content;
use common::forms::{file, form, upload, upload_request, uploaded};
use common::process::{Node, limited, until};
use common::raw_http::{Answer, connect, get, head, read_answer};

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
fn a_limit_of_file_sizes_is_a_lack_of_room_and_kills_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::spawn(&dir, limited(dir.path(), "-f 200"));
    for seed in 0..3 {
        let answer = upload(
            node.address,
            &form(&[file("long", &content(seed, 1 << 20))]),
        );
        assert_eq!(shortage(&answer), (507, "disk_full".to_owned()));
    }
    uploaded(node.address, "short", &content(4, 1000));
    until("it is ready", || {
        (get(node.address, "/ready", &[]).status == 200).then_some(())
    });
    node.stop();
}
