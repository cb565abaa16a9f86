//! Uploads in parts, of which each request may reach another node.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::ObjectStore;
use rustix::process::Signal;

use crate::common::content::content;
use crate::common::raw_http::{get, send, until_read};
use crate::common::tus::{self, created, look, offset, patch, patch_request, patched, request};
use crate::fleet::Fleet;
use crate::postgres::{eventually, number};

/// How long a part is that goes to the bucket as it comes.
const PART: usize = 8 << 20;

/// How many objects are there of uploads.
async fn stored_parts(fleet: &Fleet) -> usize {
    let objects = fleet.store.bucket().list(None).try_collect::<Vec<_>>();
    let objects = objects.await.unwrap().into_iter();
    let parts = objects.filter(|it| it.location.as_ref().contains("/uploading/"));
    parts.count()
}

/// The path of the file that an upload has become, as a node tells.
fn file(node: SocketAddr, upload: &str) -> String {
    let answer = look(node, upload);
    let id = answer.header("larder-file-id");
    format!("/api/p2p/file/{id}")
}

fn read(node: SocketAddr, path: &str) -> Vec<u8> {
    let answer = get(node, path, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Begins to bring bytes behind `here`, and brings these of `length`; the rest is awaited.
fn begin(node: SocketAddr, upload: &str, here: usize, length: usize, bytes: &[u8]) -> TcpStream {
    let mut request = patch_request(upload, here, bytes, &[]);
    let text = format!("Content-Length: {}", bytes.len());
    let at = request
        .windows(text.len())
        .position(|it| it == text.as_bytes())
        .unwrap();
    request.splice(
        at..at + text.len(),
        format!("Content-Length: {length}").into_bytes(),
    );
    let mut stream = TcpStream::connect(node).unwrap();
    stream.write_all(&request).unwrap();
    stream
}

/// What is answered to a request that was begun.
fn answer(mut stream: TcpStream, rest: &[u8]) -> String {
    // Whoever is refused may not be listened to.
    let _ = stream.write_all(rest);
    let mut answer = vec![0; 4096];
    let len = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_every_request_reaches_another_node_is_what_was_sent() {
    let fleet = Fleet::start(&[]).await;
    let nodes = fleet.addresses();
    // Within a part, beyond it, over two bounds, to a bound, by few bytes, and to the end.
    let steps = [
        0,
        1,
        300_000,
        PART - 7,
        PART + 5,
        3 * PART + 100,
        4 * PART,
        4 * PART + 3,
        4 * PART + 2_000_000,
    ];
    let all = content(1, steps[steps.len() - 1]);
    let upload = created(nodes[0], all.len());
    for (turn, step) in steps.windows(2).enumerate() {
        let node = nodes[(turn + 1) % 3];
        patched(node, &upload, step[0], &all[step[0]..step[1]]);
        assert_eq!(offset(nodes[turn % 3], &upload), step[1]);
    }
    for node in nodes {
        assert_eq!(offset(node, &upload), all.len());
        assert!(read(node, &file(node, &upload)) == all, "{node}");
    }
    assert_eq!(fleet.count("files").await, 1);
    eventually(async || stored_parts(&fleet).await == 0).await;
    // The client whose last answer was lost is told the same by all.
    assert_eq!(patch(nodes[1], &upload, all.len(), b"").status, 204);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_node_had_acknowledged_is_gone_on_with_by_another() {
    let mut fleet = Fleet::start(&[]).await;
    let nodes = fleet.addresses();
    let all = content(2, 8 * PART + 12_345);
    let upload = created(nodes[0], all.len());
    patched(nodes[0], &upload, 0, &all[..100_000]);
    // Killed in the middle, once others could go on behind its first parts: also where they came in
    // one burst, and nothing behind them.
    let sent = 3 * PART + 500_000;
    let coming = &all[100_000..sent];
    let stream = begin(nodes[1], &upload, 100_000, all.len() - 100_000, coming);
    let whole = "SELECT count(*) FROM larder.upload_parts WHERE tree <> ''";
    eventually(async || number(&fleet.client, whole).await == 3).await;
    fleet.kill(1);
    drop(stream);
    let here = offset(nodes[2], &upload);
    assert!((3 * PART..=sent).contains(&here), "{here}");
    assert_eq!(offset(nodes[0], &upload), here);
    let later = here + PART / 2;
    patched(nodes[2], &upload, here, &all[here..later]);
    fleet.kill(2);
    patched(nodes[0], &upload, later, &all[later..]);
    assert!(read(nodes[0], &file(nodes[0], &upload)) == all);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_bring_bytes_at_once_the_first_is_refused_and_changes_nothing() {
    let fleet = Fleet::start(&[]).await;
    let nodes = fleet.addresses();
    let (right, wrong) = (
        content(3, 2 * PART + 500_000),
        content(4, 2 * PART + 500_000),
    );
    let upload = created(nodes[0], right.len());
    patched(nodes[0], &upload, 0, &right[..1000]);
    // It brings bytes, and then another one does, of whom it learns too late.
    let half = PART / 2;
    let late = begin(
        nodes[1],
        &upload,
        1000,
        right.len() - 1000,
        &wrong[1000..half],
    );
    let receives = "SELECT count(*) FROM larder.uploads WHERE receiving_until > now()";
    eventually(async || number(&fleet.client, receives).await == 1).await;
    fleet.node(1).signal(Signal::STOP);
    patched(nodes[2], &upload, 1000, &right[1000..half]);
    fleet.node(1).signal(Signal::CONT);
    let answer = answer(late, &wrong[half..]);
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    assert!(answer.contains("upload_taken_over"), "{answer}");
    assert_eq!(offset(nodes[0], &upload), half);
    patched(nodes[1], &upload, half, &right[half..]);
    assert!(read(nodes[0], &file(nodes[0], &upload)) == right);
    assert_eq!(fleet.count("files").await, 1);

    // All at once, from the same offset: what is acknowledged is there, and once. Of whoever has to
    // make way counts what has come.
    let upload = created(nodes[0], right.len());
    let mut here = 0;
    while here < right.len() {
        let end = right.len().min(here + 700_000);
        let statuses = thread::scope(|scope| {
            let bring = nodes.map(|node| {
                let (upload, bytes) = (&upload, &right[here..end]);
                scope.spawn(move || patch(node, upload, here, bytes).status)
            });
            bring.map(|it| it.join().unwrap())
        });
        let done = statuses.iter().filter(|it| **it == 204).count();
        assert!(done <= 1 || end == right.len(), "{statuses:?}");
        assert!(
            statuses.iter().all(|it| [204, 409].contains(it)),
            "{statuses:?}"
        );
        let now = offset(nodes[0], &upload);
        assert!(
            now == end || (done == 0 && (here..end).contains(&now)),
            "{statuses:?} {now}"
        );
        here = now;
    }
    assert!(read(nodes[0], &file(nodes[0], &upload)) == right);
    assert_eq!(fleet.count("files").await, 2);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_hangs_for_long_leaves_all_that_it_brought_to_another_node() {
    let fleet = Fleet::start(&[]).await;
    let nodes = fleet.addresses();
    let all = content(9, PART + 700_001);
    let here = PART + 300_000;
    let upload = created(nodes[0], all.len());
    let hanging = begin(nodes[1], &upload, 0, all.len(), &all[..here]);
    until_read(&hanging);
    // For longer than others would wait for a node that says nothing.
    let until = "SELECT coalesce(max(extract(epoch FROM receiving_until))::bigint, 0) \
         FROM larder.uploads";
    let mut first = 0;
    eventually(async || {
        let now = number(&fleet.client, until).await;
        first = if first == 0 { now } else { first };
        now > first + 3
    })
    .await;
    assert_eq!(offset(nodes[2], &upload), here);
    let answer = answer(hanging, b"");
    assert!(answer.contains("upload_taken_over"), "{answer}");
    patched(nodes[0], &upload, here, &all[here..]);
    assert!(read(nodes[2], &file(nodes[2], &upload)) == all);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_uploads_that_expire_or_are_terminated_elsewhere_nothing_is_left() {
    let fleet = Fleet::start(&[]).await;
    let nodes = fleet.addresses();
    let all = content(5, 2 * PART);
    let [abandoned, terminated, kept] = [0, 1, 2].map(|it| {
        let upload = created(nodes[it], 3 * PART);
        patched(nodes[it], &upload, 0, &all[..=PART]);
        upload
    });
    assert_eq!(stored_parts(&fleet).await, 6);
    let gone = send(nodes[2], &request("DELETE", &terminated, &[], b""));
    assert_eq!(gone.status, 204);
    for node in nodes {
        assert_eq!(look(node, &terminated).status, 404);
    }
    // Its client has gone four days ago.
    let id = abandoned.rsplit('/').next().unwrap();
    let old =
        format!("UPDATE larder.uploads SET written = now() - interval '4 days' WHERE id = '{id}'");
    fleet.client.batch_execute(&old).await.unwrap();
    eventually(async || fleet.count("uploads").await == 1).await;
    assert_eq!(stored_parts(&fleet).await, 2);
    assert_eq!(fleet.count("upload_parts").await, 2);
    for node in nodes {
        assert_eq!(look(node, &abandoned).status, 404);
        assert_eq!(offset(node, &kept), PART + 1);
    }
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_were_brought_to_several_nodes_are_joined_by_another() {
    let fleet = Fleet::start(&[]).await;
    let nodes = fleet.addresses();
    let all = content(6, PART + 900_000);
    let bounds = [0, PART + 300_000, PART + 300_001, all.len()];
    let parts: Vec<_> = bounds
        .windows(2)
        .enumerate()
        .map(|(number, it)| {
            let part = tus::create(nodes[number], it[1] - it[0], &["Upload-Concat: partial"]);
            let part = tus::path_of(&part);
            patched(nodes[(number + 1) % 3], &part, 0, &all[it[0]..it[1]]);
            part
        })
        .collect();
    let concat = format!("Upload-Concat: final;{}", parts.join(" "));
    let make = |node| send(node, &request("POST", tus::TUS, &[&concat], b""));
    let whole = make(nodes[0]);
    assert_eq!(whole.status, 201, "{whole:?}");
    let whole = tus::path_of(&whole);
    for node in nodes {
        assert!(read(node, &file(node, &whole)) == all, "{node}");
    }
    // Who asks once more is told the same.
    assert_eq!(tus::path_of(&make(nodes[1])), whole);
    assert_eq!(fleet.count("files").await, 1);
    eventually(async || stored_parts(&fleet).await == 0).await;
    fleet.stop();
}

/// How many bytes a node has in files within its own directory, also in those without a name.
fn scratch(node: u32, dir: &Path) -> u64 {
    let open = fs::read_dir(format!("/proc/{node}/fd")).unwrap();
    let open = open.filter_map(|it| {
        // What is closed meanwhile is none any more.
        let fd = it.ok()?.path();
        let is_own = fs::read_link(&fd).ok()?.starts_with(dir);
        let file = fs::metadata(fd).ok()?;
        (is_own && file.is_file()).then_some(file.len())
    });
    open.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_takes_a_few_parts_of_scratch_however_long_it_is() {
    const MOST: u64 = 64 << 20;
    let fleet = Fleet::start(&[]).await;
    let nodes = fleet.addresses();
    // A longer one is measured by hand.
    let mebibytes = std::env::var("LARDER_LONG_UPLOAD_MIB");
    let mebibytes = mebibytes.map_or(96, |it| it.parse().unwrap());
    let step = content(7, 32 << 20);
    let steps = mebibytes / 32;
    let upload = created(nodes[0], steps * step.len());
    let (is_over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (fleet, is_over, most) = (&fleet, &is_over, &most);
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for (node, dir) in fleet.nodes.iter().flatten().zip(&fleet.dirs) {
                    most.fetch_max(scratch(node.id(), dir.path()), Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        for turn in 0..steps {
            patched(nodes[turn % 3], &upload, turn * step.len(), &step);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let most = most.into_inner();
    println!("{most} bytes of scratch for {mebibytes} MiB");
    assert!((PART as u64..MOST).contains(&most), "{most}");
    let mut hash = blake3::Hasher::new();
    for _ in 0..steps {
        hash.update(&step);
    }
    let list = get(nodes[0], "/api/p2p/files", &[]).json();
    let hash = hash.finalize().to_hex().to_string();
    assert_eq!(list["files"][0]["hash"], hash);
    let status = get(nodes[1], &file(nodes[1], &upload), &["Range: bytes=-1000"]);
    assert_eq!(status.body, step[step.len() - 1000..]);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_while_a_file_is_made_of_an_upload_waits_for_it() {
    let fleet = Fleet::start(&[]).await;
    let nodes = fleet.addresses();
    let all = content(8, 8 * PART);
    let upload = created(nodes[0], all.len());
    let last = all.len() - 1000;
    patched(nodes[0], &upload, 0, &all[..last]);
    let making = begin(nodes[0], &upload, last, 1000, &all[last..]);
    // As a client does whose balancer has waited long enough for an answer.
    let written = "SELECT count(*) FROM larder.places WHERE state = 'w'";
    eventually(async || number(&fleet.client, written).await > 0).await;
    for node in [nodes[1], nodes[2]] {
        let answer = look(node, &upload);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.header("larder-file-id").is_empty(), "{answer:?}");
    }
    let answer = answer(making, b"");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(fleet.count("files").await, 1);
    assert!(read(nodes[1], &file(nodes[1], &upload)) == all);
    fleet.stop();
}
