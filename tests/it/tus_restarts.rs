//! Resumable uploads whose client or whose node is killed, over and over: they go on where
//! they stopped, and end as the file that a plain upload would have made.

use std::io::Write;
use std::net::Shutdown;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use larder::hash::BlobHash;
use larder::state_file::StateFile;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, until};
use crate::common::random::Random;
use crate::common::raw_http::{connect, get, read_answer, until_read};
use crate::common::tus::{created, look, offset, patch, patch_request, patched};

const MIB: usize = 1 << 20;
/// The length of the upload that is killed at many points: longer with `LARDER_SOAK`.
fn length() -> usize {
    let soak = std::env::var_os("LARDER_SOAK").is_some();
    if soak { 2048 * MIB } else { 64 * MIB }
}

/// Content of which no two pieces are alike, made faster than by [`content`] alone.
fn long_content(len: usize) -> Vec<u8> {
    let piece = content(1, MIB);
    let mut content = piece.repeat(len.div_ceil(MIB));
    for (number, piece) in content.chunks_mut(MIB).enumerate() {
        piece[..8].copy_from_slice(&number.to_le_bytes());
    }
    content.truncate(len);
    content
}

/// Where the node keeps what it knows of uploads.
fn files_of(dir: &TempDir, upload: &str) -> (PathBuf, StateFile) {
    let id = upload.rsplit('/').next().unwrap();
    let uploading = dir.path().join("peer_storage/uploading");
    let state = uploading.join(format!("{id}.state"));
    (uploading.join(id), StateFile::new(state, "larder-upload 1"))
}

fn files(node: &Node) -> Vec<Value> {
    let list = get(node.address, "/api/p2p/files", &[]).json();
    list["files"].as_array().unwrap().clone()
}

/// The upload has become this content, which is the only file.
fn assert_finished(node: &Node, upload: &str, content: &[u8]) {
    let answer = look(node.address, upload);
    assert_eq!(answer.header("upload-offset"), content.len().to_string());
    let files = files(node);
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0]["file_id"], *answer.header("larder-file-id"));
    assert_eq!(files[0]["hash"], BlobHash::of(content).to_string());
    let path = format!("/api/p2p/file/{}", answer.header("larder-file-id"));
    assert!(get(node.address, &path, &[]).body == content);
}

#[test]
fn an_upload_goes_on_however_often_client_and_node_are_killed() {
    let mut random = Random::from_environment();
    let content = long_content(length());
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(&dir, &[]);
    let upload = created(node.address, content.len());
    let (mut here, mut kills) = (0, 0);
    while content.len() - here > content.len() / 8 {
        let rest = patch_request(&upload, here, &content[here..], &[]);
        let head = rest.len() - (content.len() - here);
        let sent = usize::try_from(random.below(content.len() as u64 / 8)).unwrap();
        let mut stream = connect(node.address);
        stream.write_all(&rest[..head + sent]).unwrap();
        let before = here;
        if random.below(2) == 0 {
            // All that the node has read counts.
            until_read(&stream);
            drop(stream);
            here = offset(node.address, &upload);
            assert_eq!(here, before + sent);
        } else {
            node.kill();
            node = Node::start(&dir, &[]);
            here = offset(node.address, &upload);
            assert!((before..=before + sent).contains(&here), "{here}");
        }
        kills += 1;
    }
    println!("killed {kills} times");
    assert!(kills >= 7, "{kills}");
    let last = patched(node.address, &upload, here, &content[here..]);
    assert_finished(&node, &upload, &content);
    let plain = uploaded(node.address, "plain", &content);
    assert_eq!(*last.header("larder-file-hash"), plain["hash"]);
    let peak = node.peak_memory();
    assert!(peak < 128 * 1024, "{peak} KiB");
}

#[test]
fn bytes_that_were_acknowledged_survive_and_a_length_behind_them_counts_for_nothing() {
    let content = content(2, 3 * MIB);
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(&dir, &[]);
    let upload = created(node.address, content.len());
    patched(node.address, &upload, 0, &content[..MIB]);
    let (path, state) = files_of(&dir, &upload);
    // What a connection that hangs has brought is in the file, but was never synced.
    let rest = patch_request(&upload, MIB, &content[MIB..], &[]);
    let mut hanging = connect(node.address);
    hanging.write_all(&rest[..rest.len() - 1]).unwrap();
    until("much is written", || {
        let len = std::fs::metadata(&path).unwrap().len();
        (len > 2 * MIB as u64).then_some(())
    });
    node.kill();
    // As after a power cut: the length is there, the bytes are not.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(MIB as u64).unwrap();
    file.set_len(len).unwrap();
    let told: Value = serde_json::from_slice(&state.load().unwrap().unwrap()).unwrap();
    assert_eq!(told["offset"], MIB);
    node = Node::start(&dir, &[]);
    assert_eq!(offset(node.address, &upload), MIB);
    patched(node.address, &upload, MIB, &content[MIB..]);
    assert_finished(&node, &upload, &content);
}

#[test]
fn bytes_that_were_to_be_checked_do_not_survive_the_node() {
    let content = content(3, 2 * MIB);
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(&dir, &[]);
    let upload = created(node.address, content.len());
    patched(node.address, &upload, 0, &content[..10]);
    let checksum = "Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";
    let rest = patch_request(&upload, 10, &content[10..], &[checksum]);
    let mut stream = connect(node.address);
    stream.write_all(&rest[..rest.len() - 1]).unwrap();
    let (path, _) = files_of(&dir, &upload);
    until("much is written", || {
        let len = std::fs::metadata(&path).unwrap().len();
        (len > MIB as u64).then_some(())
    });
    node.kill();
    node = Node::start(&dir, &[]);
    assert_eq!(offset(node.address, &upload), 10);
    patched(node.address, &upload, 10, &content[10..]);
    assert_finished(&node, &upload, &content);
}

#[test]
fn a_node_killed_while_an_upload_ends_makes_one_file_of_it() {
    let mut random = Random::from_environment();
    for len in [1000, 300_000].repeat(5) {
        let content = content(4, len);
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let upload = created(node.address, len);
        let whole = patch_request(&upload, 0, &content, &[]);
        let mut stream = connect(node.address);
        stream.write_all(&whole).unwrap();
        let pause = Duration::from_micros(random.below(20_000));
        std::thread::sleep(pause);
        node.kill();
        let node = Node::start(&dir, &[]);
        let here = offset(node.address, &upload);
        if here < len {
            patched(node.address, &upload, here, &content[here..]);
        }
        assert_finished(&node, &upload, &content);
    }
}

#[test]
fn a_file_is_found_again_whose_upload_was_cut_off_before_it_knew_of_it() {
    for len in [1000, 300_000] {
        let content = content(5, len);
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let upload = created(node.address, len);
        let last = patched(node.address, &upload, 0, &content);
        node.kill();
        // As before the last step: the content is still there, the file has no id yet.
        let (path, state) = files_of(&dir, &upload);
        let ended: Value = serde_json::from_slice(&state.load().unwrap().unwrap()).unwrap();
        let mut ending = ended.clone();
        ending["file_id"] = Value::Null;
        state.save(ending.to_string().as_bytes()).unwrap();
        std::fs::write(&path, &content).unwrap();
        let node = Node::start(&dir, &[]);
        assert_finished(&node, &upload, &content);
        let again = look(node.address, &upload);
        assert_eq!(
            again.header("larder-file-id"),
            last.header("larder-file-id")
        );
        assert!(!path.exists());
        node.kill();
        // As if the file before it were another one of the same name: it is made once more.
        ending["newer_than"] = ended["file_id"].clone();
        state.save(ending.to_string().as_bytes()).unwrap();
        std::fs::write(&path, &content).unwrap();
        let node = Node::start(&dir, &[]);
        let other = look(node.address, &upload);
        assert_ne!(
            other.header("larder-file-id"),
            last.header("larder-file-id")
        );
        assert_eq!(files(&node).len(), 2);
    }
}

#[test]
fn an_upload_that_waited_too_long_is_gone_with_its_space() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--upload-expiry", "24"]);
    let (old, new) = (created(node.address, 100), created(node.address, 100));
    for upload in [&old, &new] {
        patched(node.address, upload, 0, &[0; 50]);
    }
    node.stop();
    let uploading = dir.path().join("peer_storage/uploading");
    let id = old.rsplit('/').next().unwrap();
    for (name, hours) in [(id.to_owned(), 25), (format!("{id}.state"), 26)] {
        let file = std::fs::File::open(uploading.join(name)).unwrap();
        let time = SystemTime::now() - Duration::from_secs(hours * 3600);
        file.set_modified(time).unwrap();
    }
    // Nobody's content goes, too.
    std::fs::write(uploading.join("0".repeat(32)), "x").unwrap();
    let node = Node::start(&dir, &["--upload-expiry", "24"]);
    assert_eq!(look(node.address, &old).status, 404);
    assert_eq!(offset(node.address, &new), 50);
    until("only the other one is left", || {
        let left = std::fs::read_dir(&uploading).unwrap();
        (left.count() == 2).then_some(())
    });
    assert!(node.log().contains("belongs to no upload that is known"));
}

#[test]
fn a_node_that_stops_does_not_wait_for_uploads_that_can_be_resumed() {
    let content = content(6, 3 * MIB);
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--shutdown-grace", "3600"]);
    let upload = created(node.address, content.len());
    let whole = patch_request(&upload, 0, &content, &[]);
    let mut stream = connect(node.address);
    stream.write_all(&whole[..whole.len() - MIB]).unwrap();
    until_read(&stream);
    // Fails after half a minute, not after an hour.
    node.signal(rustix::process::Signal::TERM);
    let answer = read_answer(&mut stream, false);
    assert_eq!(answer.refusal(), (503, "shutting_down".to_owned()));
    stream.shutdown(Shutdown::Both).unwrap();
    assert!(node.wait().success());
    let node = Node::start(&dir, &[]);
    assert_eq!(offset(node.address, &upload), 2 * MIB);
    patched(node.address, &upload, 2 * MIB, &content[2 * MIB..]);
    assert_finished(&node, &upload, &content);
}

/// Flips a bit in the middle of a file.
fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn bytes_that_were_acknowledged_are_proven_before_they_become_a_file() {
    let content = content(7, 300_000);
    for (stop, how) in [
        (true, "flip"),
        (false, "flip"),
        (true, "cut"),
        (true, "gone"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let upload = created(node.address, content.len());
        patched(node.address, &upload, 0, &content[..150_000]);
        let (path, _) = files_of(&dir, &upload);
        if stop {
            node.stop();
        } else {
            node.kill();
        }
        match how {
            "flip" => flip(&path, 100_000),
            "cut" => std::fs::write(&path, &content[..149_999]).unwrap(),
            _ => std::fs::remove_file(&path).unwrap(),
        }
        let output = larder(dir.path()).arg("verify").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("acknowledged of the upload"), "{said}");
        let node = Node::start(&dir, &[]);
        let answer = patch(node.address, &upload, 150_000, &content[150_000..]);
        assert_eq!(answer.refusal(), (410, "upload_damaged".to_owned()));
        assert_eq!(look(node.address, &upload).status, 404);
        assert_eq!(files(&node).len(), 0);
        assert!(
            node.log()
                .contains("what was stored of an upload is damaged")
        );
        // Nothing keeps the client from beginning anew.
        let upload = created(node.address, content.len());
        patched(node.address, &upload, 0, &content);
        assert_finished(&node, &upload, &content);
    }
}

#[test]
fn what_has_come_of_an_upload_whose_state_is_damaged_for_good_stays_with_what_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let bytes = content(8, 100_000);
    let upload = created(node.address, 2 * bytes.len());
    patched(node.address, &upload, 0, &bytes);
    node.stop();
    let (path, state) = files_of(&dir, &upload);
    let before = dir.path().join("peer_storage/uploading.before");
    let before = before.join(path.file_name().unwrap());
    for (file, text) in [
        (state.path(), "of another version"),
        (&before, "of another version"),
    ] {
        std::fs::write(file, text).unwrap();
    }
    let aside = state.path().with_extension("state.damaged");
    for _ in 0..2 {
        let node = Node::start(&dir, &[]);
        assert_eq!(look(node.address, &upload).status, 404);
        let other = created(node.address, 100);
        patched(node.address, &other, 0, &bytes[..100]);
        assert!(node.log().contains("set aside"));
        node.stop();
        assert!(std::fs::read(&path).unwrap() == bytes);
        assert_eq!(std::fs::read(&aside).unwrap(), b"of another version");
    }
    let long_ago = SystemTime::now() - Duration::from_hours(25);
    for file in [&path, &aside] {
        let file = std::fs::File::open(file).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    let node = Node::start(&dir, &["--upload-expiry", "24"]);
    until("both expire", || {
        (!path.exists() && !aside.exists()).then_some(())
    });
    node.stop();
}

/// Kills a node in the middle of a request once that is noted to have brought at least `len`
/// bytes, and tells how many were noted each time.
fn killed_while_it_grows(dir: &TempDir, content: &[u8], len: usize) -> (String, Vec<usize>) {
    let node = Node::start(dir, &[]);
    let upload = created(node.address, content.len());
    let rest = patch_request(&upload, 0, content, &[]);
    let mut hanging = connect(node.address);
    hanging.write_all(&rest[..rest.len() - 1]).unwrap();
    let (_, state) = files_of(dir, &upload);
    let marks = || -> Vec<usize> {
        let told = state.load().unwrap().unwrap();
        let told: Value = serde_json::from_slice(&told).unwrap();
        let marks = told["marks"].as_array().unwrap().iter();
        marks
            .map(|it| usize::try_from(it[0].as_u64().unwrap()).unwrap())
            .collect()
    };
    until("much is noted", || {
        marks()
            .last()
            .is_some_and(|last| *last >= len)
            .then_some(())
    });
    node.kill();
    let marks = marks();
    (upload, marks)
}

#[test]
fn zeros_that_a_power_cut_leaves_in_the_place_of_bytes_are_never_published() {
    let content = long_content(60 * MIB);
    for wrong_from in [20 * MIB, 40 * MIB, 60 * MIB - 1, 5 * MIB] {
        let dir = tempfile::tempdir().unwrap();
        let (upload, marks) = killed_while_it_grows(&dir, &content, 40 * MIB);
        let (path, _) = files_of(&dir, &upload);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len.min(wrong_from as u64)).unwrap();
        file.set_len(len + 100_000).unwrap();
        let node = Node::start(&dir, &[]);
        let here = offset(node.address, &upload);
        let proven = marks.iter().rfind(|it| **it <= wrong_from);
        assert_eq!(here, proven.copied().unwrap_or(0), "{marks:?}");
        patched(node.address, &upload, here, &content[here..]);
        assert_finished(&node, &upload, &content);
    }
}

#[test]
fn bytes_that_only_a_head_has_told_of_are_proven_as_well() {
    let content = long_content(40 * MIB);
    let dir = tempfile::tempdir().unwrap();
    let (upload, marks) = killed_while_it_grows(&dir, &content, 32 * MIB);
    let (path, state) = files_of(&dir, &upload);
    let node = Node::start(&dir, &[]);
    let here = offset(node.address, &upload);
    assert_eq!(Some(&here), marks.last());
    let told: Value = serde_json::from_slice(&state.load().unwrap().unwrap()).unwrap();
    assert_eq!(told["offset"], here);
    node.stop();
    flip(&path, here - 1);
    let node = Node::start(&dir, &[]);
    assert_eq!(look(node.address, &upload).status, 410);
    assert_eq!(files(&node).len(), 0);
}

#[test]
fn a_damaged_state_of_an_upload_is_mended_from_the_one_before() {
    let content = content(9, 300_000);
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(&dir, &[]);
    let upload = created(node.address, content.len());
    patched(node.address, &upload, 0, &content[..100_000]);
    patched(node.address, &upload, 100_000, &content[100_000..200_000]);
    let (_, state) = files_of(&dir, &upload);
    node.stop();
    flip(state.path(), 90);
    let output = larder(dir.path()).arg("verify").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("damaged (the node takes the version before)"),
        "{said}"
    );
    node = Node::start(&dir, &[]);
    let here = offset(node.address, &upload);
    assert_eq!(here, 100_000, "what the version before has proven");
    patched(node.address, &upload, here, &content[here..]);
    assert_finished(&node, &upload, &content);
    let file = look(node.address, &upload)
        .header("larder-file-id")
        .to_owned();
    node.stop();
    // Also at its end, which makes no second file.
    flip(state.path(), 90);
    node = Node::start(&dir, &[]);
    assert_finished(&node, &upload, &content);
    assert_eq!(*look(node.address, &upload).header("larder-file-id"), file);
}
