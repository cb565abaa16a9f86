//! Uploads that are made of others (tus 1.0.0, "Concatenation"), request by request.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

use larder::hash::BlobHash;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::process::{Node, larder, start};
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::tus::{PART, TUS, create, created, look, patch, patched, path_of, request};

const MIB: usize = 1 << 20;

/// Brings a part, and returns its path.
fn part(node: SocketAddr, bytes: &[u8]) -> String {
    let part = begun_part(node, bytes.len());
    if !bytes.is_empty() {
        patched(node, &part, 0, bytes);
    }
    part
}

fn begun_part(node: SocketAddr, length: usize) -> String {
    let answer = create(node, length, &["Upload-Concat: partial"]);
    assert_eq!(answer.status, 201, "{answer:?}");
    path_of(&answer)
}

/// Asks for the whole of these parts.
fn join(node: SocketAddr, parts: &[&str], headers: &[&str]) -> Answer {
    let concat = format!("Upload-Concat: final;{}", parts.join(" "));
    let headers = [&[concat.as_str()], headers].concat();
    send(node, &request("POST", TUS, &headers, b""))
}

fn files(node: SocketAddr) -> Vec<Value> {
    let list = get(node, "/api/p2p/files", &[]).json();
    list["files"].as_array().unwrap().clone()
}

/// The answer, and what a look at the upload then tells, are of a file of these bytes.
fn assert_joined(node: SocketAddr, answer: &Answer, bytes: &[u8]) -> Answer {
    assert_eq!(answer.status, 201, "{answer:?}");
    let looked = look(node, &path_of(answer));
    assert_eq!(looked.status, 200, "{looked:?}");
    let length = bytes.len().to_string();
    for (answer, name, value) in [
        (answer, "upload-offset", &*length),
        (&looked, "upload-offset", &length),
        (&looked, "upload-length", &length),
        (answer, "larder-file-hash", &BlobHash::of(bytes).to_string()),
        (&looked, "larder-file-id", answer.header("larder-file-id")),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let path = format!("/api/p2p/file/{}", answer.header("larder-file-id"));
    assert!(get(node, &path, &[]).body == bytes);
    looked
}

/// The bytes of content below a directory of the storage.
fn content_below(dir: &TempDir, below: &str) -> u64 {
    let files = std::fs::read_dir(dir.path().join("peer_storage").join(below)).unwrap();
    let files = files.map(|it| it.unwrap());
    let contents = files.filter(|it| it.path().extension().is_none());
    contents.map(|it| it.metadata().unwrap().len()).sum()
}

fn assert_verifies(dir: &TempDir) {
    let output = larder(dir.path()).arg("verify").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn parts_are_no_files_and_the_whole_is_one_under_its_own_name() {
    let (dir, node) = start();
    for length in [3, 64 << 10, 200_000, 3 * MIB] {
        let bytes = content(1, length);
        let (first, rest) = bytes.split_at(length / 3);
        let before = files(node.address).len();
        // "part" in Base64, and "a b", "text/plain".
        let of_part = "Upload-Metadata: filename cGFydA==";
        let begun = create(
            node.address,
            first.len(),
            &["Upload-Concat: partial", of_part],
        );
        let one = path_of(&begun);
        let two = part(node.address, rest);
        let looked = look(node.address, &one);
        assert_eq!(looked.header("upload-concat"), "partial");
        assert_eq!(looked.header("upload-offset"), "0");
        let last = patched(node.address, &one, 0, first);
        assert_eq!(last.header("larder-file-id"), "");
        assert_eq!(files(node.address).len(), before);

        let metadata = "filename YSBi,filetype dGV4dC9wbGFpbg==";
        let answer = join(
            node.address,
            &[&one, &two],
            &[&format!("Upload-Metadata: {metadata}")],
        );
        let looked = assert_joined(node.address, &answer, &bytes);
        assert_eq!(looked.header("upload-metadata"), metadata);
        let told = format!("final;{one} {two}");
        assert_eq!(looked.header("upload-concat"), told);
        let listed = files(node.address);
        assert_eq!(listed.len(), before + 1);
        let file = listed.last().unwrap();
        assert_eq!(file["original_name"], "a b");
        assert_eq!(file["content_type"], "text/plain");
        // They are told to be whole, and take no room any longer.
        for part in [&one, &two] {
            let looked = look(node.address, part);
            assert_eq!(
                looked.header("upload-offset"),
                looked.header("upload-length")
            );
            assert_eq!(looked.header("upload-concat"), "partial");
        }
        assert_eq!(content_below(&dir, "uploading"), 0);
    }
    node.stop();
    assert_verifies(&dir);
}

#[test]
fn the_list_decides_the_order_however_its_urls_are_written() {
    let (_dir, node) = start();
    let bytes = content(2, 500_000);
    let (a, b, c) = (
        &bytes[..200_000],
        &bytes[200_000..200_001],
        &bytes[200_001..],
    );
    let [c, a, b, nothing] = [c, a, b, b""].map(|bytes| part(node.address, bytes));
    let [b, c] = [&b, &c].map(|it| it.rsplit_once('/').unwrap().1.to_owned());
    let parts = [
        &*nothing,
        &*node.url(&a),
        &format!("tus/{b}/"),
        &nothing,
        &format!("https://files.example.org/prefix{TUS}/{c}?a=b"),
    ];
    let answer = join(node.address, &parts, &[]);
    assert_joined(node.address, &answer, &bytes);

    // A part may be there twice, at the beginning or later.
    let [first, second] = [0..100_000, 100_000..170_000].map(|it| bytes[it].to_vec());
    let [begin, end] = [&first, &second].map(|bytes| part(node.address, bytes));
    let answer = join(node.address, &[&begin, &end, &begin, &end, &end], &[]);
    let expected = [&*first, &second, &first, &second, &second].concat();
    assert_joined(node.address, &answer, &expected);

    // All of it may be one part, or nothing at all, and the length may be told if it is right.
    let one = part(node.address, &bytes);
    let answer = join(node.address, &[&one], &["Upload-Length: 500000"]);
    assert_joined(node.address, &answer, &bytes);
    let nothing = part(node.address, b"");
    let answer = join(node.address, &[&nothing], &[]);
    assert_joined(node.address, &answer, b"");
}

#[test]
fn what_cannot_be_joined_is_refused_and_changes_nothing() {
    let (_dir, node) = start();
    let at = node.address;
    let bytes = content(3, 300_000);
    let (first, rest) = bytes.split_at(100_000);
    let (one, two) = (part(at, first), begun_part(at, rest.len()));
    patched(at, &two, 0, &rest[..1000]);
    let whole = created(at, 10);
    let unknown = format!("{TUS}/00000000000040008000000000000000");
    let refused = |parts: &[&str], headers: &[&str]| join(at, parts, headers).refusal();
    let code = |status, code: &str| (status, code.to_owned());
    assert_eq!(refused(&[&one, &two], &[]), code(400, "upload_unfinished"));
    assert_eq!(refused(&[&one, &unknown], &[]), code(404, "unknown_upload"));
    for wrong in [&*whole, "x", TUS, ""] {
        assert_eq!(refused(&[wrong], &[]), code(400, "bad_header"), "{wrong}");
    }
    let longer = refused(&[&one], &["Upload-Length: 100001"]);
    assert_eq!(longer, code(400, "bad_header"));
    // Bytes come in the parts alone (tus 1.0.0, "Concatenation").
    let concat = format!("Upload-Concat: final;{one}");
    let with_body = request("POST", TUS, &[&concat, PART], b"x");
    assert_eq!(send(at, &with_body).refusal(), code(403, "upload_final"));
    let other = create(at, 1, &["Upload-Concat: other"]);
    assert_eq!(other.refusal(), code(400, "bad_header"));

    assert_eq!(files(at).len(), 0);
    patched(at, &two, 1000, &rest[1000..]);
    let answer = join(at, &[&one, &two], &[]);
    let path = path_of(&answer);
    assert_eq!(
        patch(at, &path, 0, b"x").refusal(),
        code(403, "upload_final")
    );
    let end = patch(at, &path, bytes.len(), b"");
    assert_eq!(end.refusal(), code(403, "upload_final"));
    assert_joined(at, &answer, &bytes);
    // Its parts are in it now.
    for parts in [&[&*one][..], &[&two, &one]] {
        assert_eq!(refused(parts, &[]), code(410, "upload_joined"));
    }
    let renamed = refused(&[&one, &two], &["Upload-Metadata: filename YQ=="]);
    assert_eq!(renamed, code(410, "upload_joined"));
    assert_eq!(
        patch(at, &one, 0, b"x").refusal(),
        code(409, "wrong_offset")
    );
    assert_joined(at, &answer, &bytes);
}

#[test]
fn a_client_that_asks_once_more_is_told_of_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(&dir, &[]);
    let bytes = content(4, 400_000);
    let parts: Vec<_> = bytes
        .chunks(150_000)
        .map(|it| part(node.address, it))
        .collect();
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    // Several ask at once, as one does whose first connection hangs.
    let asked = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| join(node.address, &parts, &[])))
            .collect();
        let asked = asking.into_iter().map(|it| it.join().unwrap());
        asked.collect::<Vec<_>>()
    });
    for restart in [false, true] {
        if restart {
            node.kill();
            node = Node::start(&dir, &[]);
        }
        let again = join(node.address, &parts, &[]);
        for answer in asked.iter().chain([&again]) {
            assert_eq!(path_of(answer), path_of(&again));
            assert_joined(node.address, answer, &bytes);
        }
        assert_eq!(files(node.address).len(), 1);
    }
    // Whoever removes the file has the client begin anew, with each part.
    let id = asked[0].header("larder-file-id");
    let removal = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
    assert_eq!(send(node.address, &removal).status, 200);
    for upload in parts.iter().chain([&&*path_of(&asked[0])]) {
        assert_eq!(look(node.address, upload).status, 410);
    }
    let gone = join(node.address, &parts, &[]);
    assert_eq!(gone.refusal(), (410, "file_removed".to_owned()));
}

#[test]
fn an_upload_that_is_forgotten_takes_its_parts_with_it_and_leaves_the_file() {
    let (dir, node) = start();
    let bytes = content(5, 200_000);
    let remove = |upload: &str| {
        let answer = send(node.address, &request("DELETE", upload, &[], b""));
        assert_eq!(answer.status, 204, "{answer:?}");
    };
    let [one, two] = [&bytes[..1000], &bytes[1000..]].map(|it| part(node.address, it));
    let answer = join(node.address, &[&one, &two], &[]);
    remove(&one);
    assert_joined(node.address, &answer, &bytes);
    remove(&path_of(&answer));
    for upload in [&one, &two, &path_of(&answer)] {
        assert_eq!(look(node.address, upload).status, 404);
    }
    assert_eq!(files(node.address).len(), 1);
    // A part alone is given up as any upload is.
    remove(&part(node.address, &bytes));
    let left = std::fs::read_dir(dir.path().join("peer_storage/uploading")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn the_first_part_is_moved_and_the_others_are_there_once() {
    let (dir, node) = start();
    let bytes = content(6, 3 * MIB);
    let parts = bytes.chunks(MIB).map(|it| part(node.address, it));
    let parts: Vec<_> = parts.collect();
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let id = parts[0].rsplit('/').next().unwrap();
    let first = dir.path().join("peer_storage/uploading").join(id);
    let first = first.metadata().unwrap().ino();
    let answer = join(node.address, &parts, &[]);
    assert_joined(node.address, &answer, &bytes);
    let stored: BTreeSet<_> = node.content_files().into_iter().collect();
    let inodes: Vec<_> = stored
        .iter()
        .map(|it| it.metadata().unwrap().ino())
        .collect();
    assert_eq!(inodes, [first]);
    assert_eq!(content_below(&dir, "uploading"), 0);
}

#[test]
fn limits_are_those_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--max-upload", "100KiB"]);
    let bytes = content(7, 100 << 10);
    let (first, rest) = bytes.split_at(60_000);
    let (one, two) = (part(node.address, first), part(node.address, rest));
    let longer = join(node.address, &[&one, &two, &one], &[]);
    assert_eq!(longer.refusal(), (413, "too_large".to_owned()));
    let answer = join(node.address, &[&one, &two], &[]);
    assert_joined(node.address, &answer, &bytes);

    // Parts take the room that the whole needs, and give back what it does not.
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--quota", "1000000"]);
    for round in 0..3 {
        let bytes = content(8 + round, 900_000);
        let parts: Vec<_> = bytes
            .chunks(300_000)
            .map(|it| part(node.address, it))
            .collect();
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let over = create(node.address, 200_000, &["Upload-Concat: partial"]);
        assert_eq!(over.refusal(), (507, "over_quota".to_owned()));
        let twice = join(node.address, &[&parts[..], &parts[..1]].concat(), &[]);
        assert_eq!(twice.refusal(), (507, "over_quota".to_owned()));
        let answer = join(node.address, &parts, &[]);
        assert_joined(node.address, &answer, &bytes);
        let id = answer.header("larder-file-id");
        let removal = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!(send(node.address, &removal).status, 200);
    }
}

#[test]
fn parts_wait_no_longer_than_other_uploads_do() {
    let dir = tempfile::tempdir().unwrap();
    let expiry = &["--upload-expiry", "24"];
    let node = Node::start(&dir, expiry);
    let bytes = content(11, 100_000);
    let (one, two) = bytes.split_at(50_000);
    let (one, two) = (part(node.address, one), part(node.address, two));
    let waiting = part(node.address, &bytes);
    let answer = join(node.address, &[&one, &two], &[]);
    node.stop();
    let uploading = dir.path().join("peer_storage/uploading");
    let age = |upload: &str| {
        let id = upload.rsplit('/').next().unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_hours(25);
        for name in [id.to_owned(), format!("{id}.state")] {
            if let Ok(file) = std::fs::File::open(uploading.join(name)) {
                file.set_modified(old).unwrap();
            }
        }
    };
    for upload in [&waiting, &one, &two] {
        age(upload);
    }
    let node = Node::start(&dir, expiry);
    assert_eq!(look(node.address, &waiting).status, 404);
    // What is in a whole goes with it.
    assert_joined(node.address, &answer, &bytes);
    node.stop();
    age(&path_of(&answer));
    let node = Node::start(&dir, expiry);
    assert_eq!(look(node.address, &path_of(&answer)).status, 404);
    crate::common::process::until("nothing is left", || {
        let left = std::fs::read_dir(&uploading).unwrap();
        (left.count() == 0).then_some(())
    });
    assert_eq!(files(node.address).len(), 1);
}
