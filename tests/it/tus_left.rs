//! A client leaves while its upload ends, and comes back before that is done.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::common::content::content;
use crate::common::process::{start, until};
use crate::common::raw_http::{connect, get, head};
use crate::common::traced::TracedCalls;
use crate::common::tus::{create, look, patch, path_of, request};

const LENGTH: usize = 300_000;

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Whoever asks how far an upload is may find that it is whole, and have a file be made of it.
#[test]
fn an_upload_that_ends_while_its_client_leaves_is_one_file() {
    let (dir, node) = start();
    let journal = dir.path().join("peer_storage/journal/0000000001.journal");
    let bytes = content(7, LENGTH);
    let upload = path_of(&create(node.address, LENGTH, &[]));
    // All of it is here, and it is no file yet, since that could not be written down.
    let full = TracedCalls::new(&node, "pwrite64", &[&journal], "error=ENOSPC:when=1");
    assert_eq!(patch(node.address, &upload, 0, &bytes).status, 507);
    drop(full);
    until("the node takes changes again", || {
        (create(node.address, 1, &[]).status == 201).then_some(())
    });
    let before = length(&journal);
    let slow = TracedCalls::new(&node, "fdatasync", &[&journal], "delay_enter=4000000");
    // An answer that is not read has the connection be reset as it is closed.
    let mut leaving = connect(node.address);
    leaving.write_all(&head("GET", "/health", &[])).unwrap();
    leaving.peek(&mut [0]).unwrap();
    leaving
        .write_all(&request("HEAD", &upload, &[], b""))
        .unwrap();
    until("the file is being written down", || {
        (length(&journal) > before).then_some(())
    });
    drop(leaving);
    let answer = look(node.address, &upload);
    drop(slow);
    assert_eq!(answer.status, 200, "{answer:?}");
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["file_count"], 1, "{files}");
    let file = answer.header("larder-file-id");
    assert_eq!(files["files"][0]["file_id"], file, "{files}");
}
