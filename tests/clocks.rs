//! Clocks that are wrong, and clocks that jump.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::clock::ShiftedClock;
use common::content::content;
use common::forms::{file, form, upload_request, uploaded};
use common::process::{Node, larder};
use common::raw_http::{connect, get};
use common::tus;
use tempfile::TempDir;

/// So far back that it is before 1970.
const BEFORE_1970: &str = "-4000000000";
/// Ten years, in seconds.
const TEN_YEARS: &str = "315360000";
const TEN_YEARS_BACK: &str = "-315360000";

fn ruled(dir: &TempDir, clock: &ShiftedClock) -> Command {
    let mut command = larder(dir.path());
    clock.rules(&mut command);
    command
}

#[test]
fn a_clock_before_1970_is_named_where_it_stops_anything_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ShiftedClock::new(&dir, BEFORE_1970);
    let refuses = |arguments: &[&str]| {
        let output = ruled(&dir, &clock).args(arguments).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}: {told}");
        assert!(told.contains("before 1970"), "{arguments:?}: {told}");
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    };
    refuses(&[]);
    refuses(&["bootstrap", "--listen", "127.0.0.1:0"]);
    clock.set("0");
    let node = Node::start(&dir, &[]);
    let id = uploaded(node.address, "a", b"a")["file_id"].clone();
    node.stop();
    clock.set(BEFORE_1970);
    for arguments in [&[][..], &["verify"], &["rebuild-index"]] {
        refuses(arguments);
    }
    let node = Node::start(&dir, &[]);
    let file = format!("/api/p2p/file/{}", id.as_str().unwrap());
    assert_eq!(get(node.address, &file, &[]).body, b"a");
}

#[test]
fn whatever_the_clock_does_ids_grow_and_uploads_wait_for_their_clients() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ShiftedClock::new(&dir, "0");
    let start = || Node::spawn(&dir, ruled(&dir, &clock));
    let mut node = start();
    let bytes = content(3, 200_000);
    let upload = tus::created(node.address, bytes.len());
    tus::patched(node.address, &upload, 0, &bytes[..100_000]);
    let mut last = String::new();
    for shift in [
        TEN_YEARS,
        TEN_YEARS_BACK,
        BEFORE_1970,
        "0",
        TEN_YEARS_BACK,
        TEN_YEARS,
    ] {
        clock.set(shift);
        if shift == BEFORE_1970 {
            // Answers cannot be dated then; whether this one comes at all does not matter.
            let form = form(&[file("made before 1970", b"x")]);
            let form = upload_request(&form, &["Connection: close"]);
            let mut stream = connect(node.address);
            stream.write_all(&form).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
            continue;
        }
        for restarts in [false, true] {
            if restarts {
                node.stop();
                node = start();
            }
            assert_eq!(tus::offset(node.address, &upload), 100_000, "{shift}");
            let name = format!("{shift} {restarts}");
            let file = uploaded(node.address, &name, name.as_bytes());
            let id = file["file_id"].as_str().unwrap().to_owned();
            assert!(id > last, "{name}");
            let read = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
            assert_eq!(read.body, name.as_bytes());
            last = id;
        }
    }
    let ended = tus::patched(node.address, &upload, 100_000, &bytes[100_000..]);
    let file = format!("/api/p2p/file/{}", ended.header("larder-file-id"));
    assert!(get(node.address, &file, &[]).body == bytes);
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn an_upload_from_a_time_to_come_waits_once_more_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let upload = tus::created(node.address, 100);
    tus::patched(node.address, &upload, 0, &[0; 50]);
    node.stop();
    let uploading = dir.path().join("peer_storage/uploading");
    let id = upload.rsplit('/').next().unwrap();
    let paths = [uploading.join(id), uploading.join(format!("{id}.state"))];
    let decades = Duration::from_hours(20 * 365 * 24);
    let now = SystemTime::now();
    for time in [now + decades, now - decades] {
        for path in &paths {
            fs::File::open(path).unwrap().set_modified(time).unwrap();
        }
        let before = SystemTime::now();
        let node = Node::start(&dir, &[]);
        assert_eq!(tus::offset(node.address, &upload), 50);
        node.stop();
        for path in &paths {
            let written = fs::metadata(path).unwrap().modified().unwrap();
            assert!(written + Duration::from_secs(1) > before);
            assert!(written < SystemTime::now() + Duration::from_secs(1));
        }
    }
}
