//! Whatever cuts off how partial uploads become one: the Nth disk operation fails, the node is
//! killed, a part is damaged. Nothing that was acknowledged is lost, and in the end it is one file.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder::disk::{Disk, Durability, RealDisk};
use larder::hash::BlobHash;
use larder::node::{Node as InProcess, Options};
use larder::peer::identity::Identity;
use larder::resumable::{Concat, NewUpload, UploadError, UploadId, UploadProgress};
use larder::store::local::{LocalStore, OpenError};
use larder::store::{About, DirectoryError};
use rustix::io::Errno;

use crate::common::content::content;
use crate::common::countdown_disk::{After, CountdownDisk, Fault};
use crate::common::process::{Node, larder};
use crate::common::random::Random;
use crate::common::raw_http::{connect, get, send};
use crate::common::stores;
use crate::common::tus::{TUS, create, look, patched, path_of, request};

const MIB: usize = 1 << 20;

/// A node, and the storage directory that it has to itself, once nothing of a node before it runs
/// to its end any more.
async fn open(dir: &Path, disk: Arc<dyn Disk>) -> (InProcess, LocalStore) {
    let opened = loop {
        let options = stores::options(dir, Arc::clone(&disk), Durability::Always);
        match LocalStore::open(options).await {
            Err(OpenError::Directory(DirectoryError::Locked { .. })) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => break opened.unwrap(),
        }
    };
    let (store, state) = (opened.store.clone(), opened.state.clone());
    let options = Options::alone("http://localhost:5004".parse().unwrap());
    let identity = Identity::generate().unwrap();
    let node = InProcess::new(store, identity, state, options).unwrap();
    (node, opened)
}

fn upload(length: Option<u64>, concat: &str) -> NewUpload {
    NewUpload {
        length,
        metadata: None,
        about: About::default(),
        copies: None,
        concat: Some(concat.parse::<Concat>().unwrap()),
    }
}

async fn part(node: &InProcess, bytes: &[u8]) -> UploadId {
    let length = Some(bytes.len() as u64);
    let id = node.uploads().create(upload(length, "partial"), None).await;
    let id = id.unwrap();
    let visit = node.uploads().visit(id).await.unwrap();
    let mut appending = visit.append(0, false).await.unwrap();
    appending
        .write(Bytes::copy_from_slice(bytes))
        .await
        .unwrap();
    appending.keep().await.unwrap();
    id
}

async fn join(node: &InProcess, concat: &str) -> Result<UploadProgress, UploadError> {
    let joined = node.uploads().join(upload(None, concat), None).await;
    joined.map(|(_, progress)| progress)
}

/// Joins parts of these lengths while an operation fails, and tells which, if any was left.
async fn run(lengths: &[usize], working: u64, fault: Fault) -> Option<String> {
    let bytes = content(1, lengths.iter().sum());
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = CountdownDisk::new();
    let (node, opened) = open(dir.path(), disk.clone()).await;
    let (mut rest, mut ids) = (&bytes[..], Vec::new());
    for length in lengths {
        let (first, others) = rest.split_at(*length);
        ids.push(part(&node, first).await.to_string());
        rest = others;
    }
    let concat = format!("final;{}", ids.join(" "));
    disk.arm(working, fault);
    let joined = join(&node, &concat).await;
    let failed = disk.disarm();
    if joined.is_err() && fault.after == After::Work {
        // The same process goes on, too, as soon as it can.
        if node.store().refusal().is_none() {
            join(&node, &concat).await.unwrap();
        }
    }
    let refusal = node.store().refusal();
    let closed = node.store().close().await;
    assert_eq!(closed.is_err(), refusal.is_some(), "{closed:?}");
    drop((node, opened));

    let (node, opened) = open(dir.path(), Arc::new(RealDisk)).await;
    let progress = join(&node, &concat).await;
    let progress = progress.unwrap_or_else(|error| panic!("{error}: {failed:?}"));
    let files = stores::whole_files(node.store()).await;
    let [record] = &files[..] else {
        panic!("{files:?} {failed:?}");
    };
    assert_eq!(record.file.hash, BlobHash::of(&bytes));
    assert_eq!(progress.finished.map(|it| it.file), Some(record.id));
    node.store().close().await.unwrap();
    drop((node, opened));
    let left = std::fs::read_dir(dir.path().join("uploading")).unwrap();
    let left = left.map(|it| it.unwrap().path());
    let left: Vec<_> = left.filter(|it| it.extension().is_none()).collect();
    assert_eq!(left, [] as [std::path::PathBuf; 0], "{failed:?}");
    failed
}

#[tokio::test]
async fn parts_become_one_file_whichever_operation_fails_meanwhile() {
    for (error, after) in [
        (Errno::IO, After::Work),
        (Errno::IO, After::Fail),
        (Errno::NOSPC, After::Work),
    ] {
        let fault = Fault { error, after };
        for lengths in [&[10_000, 20_000][..], &[100_000, 150_000, 50_000]] {
            let mut working = 0;
            while let Some(failed) = run(lengths, working, fault).await {
                println!("survived {fault:?} of operation {working}: {failed}");
                working += 1;
            }
            assert!(working > 5, "only {working} operations were counted");
        }
    }
}

/// Brings parts of 1 MiB of the content, and returns what makes them one.
fn brought(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for bytes in bytes.chunks(MIB) {
        let part = create(node.address, bytes.len(), &["Upload-Concat: partial"]);
        list.push(path_of(&part));
        patched(node.address, list.last().unwrap(), 0, bytes);
    }
    let concat = format!("Upload-Concat: final;{}", list.join(" "));
    request("POST", TUS, &[&concat], b"")
}

fn assert_is_the_only_file(node: &Node, bytes: &[u8]) {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    let path = format!("/api/p2p/file/{}", files[0]["file_id"].as_str().unwrap());
    assert!(get(node.address, &path, &[]).body == bytes);
}

#[test]
fn a_node_killed_while_parts_become_one_makes_one_file_of_them() {
    let mut random = Random::from_environment();
    let mut ends = BTreeSet::new();
    for round in 0..12 {
        let bytes = content(2 + round, 8 * MIB + 5);
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let whole = brought(&node, &bytes);
        let mut stream = connect(node.address);
        stream.write_all(&whole).unwrap();
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        node.kill();
        let output = larder(dir.path()).arg("verify").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        // Of a state that was just being written for the first time something is left over.
        let of_uploads = said.lines().filter(|it| it.contains("uploading"));
        let wrong: Vec<_> = of_uploads
            .filter(|it| !it.ends_with("belongs to no upload"))
            .collect();
        assert!(wrong.is_empty(), "{said}");
        let node = Node::start(&dir, &[]);
        // Nobody has to ask once more, but who does is told the same.
        let left = std::fs::read_dir(dir.path().join("peer_storage/uploading")).unwrap();
        ends.insert(left.count());
        let again = send(node.address, &whole);
        assert_eq!(again.status, 201, "{again:?}");
        let looked = look(node.address, &path_of(&again));
        let hash = BlobHash::of(&bytes).to_string();
        assert_eq!(looked.header("larder-file-hash"), hash);
        assert_is_the_only_file(&node, &bytes);
    }
    println!("so many files were there each time: {ends:?}");
}

#[test]
fn what_a_client_asked_for_before_it_vanished_comes_to_its_end() {
    let bytes = content(20, 5 * MIB);
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let whole = brought(&node, &bytes);
    let mut stream = connect(node.address);
    stream.write_all(&whole).unwrap();
    crate::common::raw_http::until_read(&stream);
    drop(stream);
    crate::common::process::until("it is a file", || {
        let files = get(node.address, "/api/p2p/files", &[]).json();
        (files["total_files"] == 1 || !files["files"].as_array()?.is_empty()).then_some(())
    });
    assert_is_the_only_file(&node, &bytes);
}

#[test]
fn no_part_counts_for_less_than_what_was_acknowledged_of_it() {
    let (first, rest) = (vec![1; 70_000], vec![2; 130_000]);
    for truncate in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let part = |lengths: &[&[u8]]| {
            let all = lengths.iter().map(|it| it.len()).sum();
            let path = path_of(&create(node.address, all, &["Upload-Concat: partial"]));
            let mut offset = 0;
            for bytes in lengths {
                patched(node.address, &path, offset, bytes);
                offset += bytes.len();
            }
            path
        };
        let (one, other) = (part(&[&first, &rest]), part(&[&rest]));
        // The version before is taken then, which tells of the first request alone.
        let id = one.rsplit('/').next().unwrap();
        let state = dir
            .path()
            .join(format!("peer_storage/uploading/{id}.state"));
        let mut bytes = std::fs::read(&state).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&state, if truncate { &[][..] } else { &bytes }).unwrap();
        let concat = format!("Upload-Concat: final;{one} {other}");
        let answer = send(node.address, &request("POST", TUS, &[&concat], b""));
        assert_eq!(answer.refusal(), (400, "upload_unfinished".to_owned()));
        let files = get(node.address, "/api/p2p/files", &[]).json();
        assert_eq!(files["total_files"], 0);
    }
}

#[test]
fn no_file_is_made_of_a_part_that_is_no_longer_what_came() {
    let bytes = content(21, 3 * MIB);
    for (damaged, restart) in [(0, false), (1, false), (2, true), (0, true)] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let whole = brought(&node, &bytes);
        let uploading = dir.path().join("peer_storage/uploading");
        let text = String::from_utf8(whole.clone()).unwrap();
        let list = text.split_once("final;").unwrap().1.lines().next().unwrap();
        let id = list.split(' ').nth(damaged).unwrap();
        let path = uploading.join(id.rsplit('/').next().unwrap());
        let mut changed = std::fs::read(&path).unwrap();
        changed[MIB / 2] ^= 1;
        let node = if restart {
            node.kill();
            std::fs::write(&path, changed).unwrap();
            Node::start(&dir, &[])
        } else {
            std::fs::write(&path, changed).unwrap();
            node
        };
        let refused = send(node.address, &whole);
        assert_eq!(refused.refusal(), (410, "upload_damaged".to_owned()));
        let files = get(node.address, "/api/p2p/files", &[]).json();
        assert_eq!(files["files"].as_array().unwrap().len(), 0);
        // Whoever begins anew comes to an end.
        let again = brought(&node, &bytes);
        assert_eq!(send(node.address, &again).status, 201);
        assert_is_the_only_file(&node, &bytes);
    }
}
