//! What another node holds is read in few bytes, and takes little memory, however much it is; and
//! what it announces comes many at a time.

use std::thread;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder::disk::Durability;
use larder::store::local::{LocalStore, Options};
use larder::store::{About, Store};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::common::forms::uploaded;
use crate::common::lister::Lister;
use crate::common::metrics::Metrics;
use crate::common::peers::{peer_id, reaches};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};
use crate::common::relay::Relay;

/// How many files a node is filled with, unless `LARDER_VIEW_FILES` says otherwise: the bounds are
/// of each file, so that a million are read in 100 MB and take 200 MB.
const FILES: u64 = 20_000;
const MOST_SENT: u64 = 100;
const MOST_HELD: u64 = 200;
/// What else a node sends and takes meanwhile, in bytes.
const ELSE: (u64, u64) = (256 << 10, 16 << 20);

fn files() -> u64 {
    let files = std::env::var("LARDER_VIEW_FILES");
    files.map_or(FILES, |it| it.parse().unwrap())
}

async fn add(store: Store, number: u64) -> Result<(), larder::store::StoreError> {
    let mut receiving = store.receive().await?;
    let content = number.to_le_bytes().to_vec();
    receiving.write(Bytes::from(content)).await?;
    let about = About {
        name: format!("a name of 20 {number:07}"),
        content_type: Some("text/plain".to_owned()),
        ..About::default()
    };
    store.ingest(receiving.finish().await?, about).await?;
    Ok(())
}

/// A storage directory with so many files.
fn filled(files: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut options = Options::new(dir.path().join("peer_storage"));
        options.durability = Durability::Relaxed;
        let opened = LocalStore::open(options).await.unwrap();
        let mut tasks = JoinSet::new();
        opened.store.keep_up(&mut tasks);
        let writes = stream::iter(0..files).map(|it| add(opened.store.clone(), it));
        let writes = writes.buffer_unordered(128).try_collect::<Vec<()>>();
        writes.await.unwrap();
        tasks.shutdown().await;
        opened.store.close().await.unwrap();
    });
    dir
}

fn status(node: &Node) -> Value {
    get(node.address, "/api/p2p/status", &[]).json()
}

fn seen(node: &Node) -> u64 {
    let page = get(node.address, "/api/p2p/network?limit=1", &[]).json();
    page["total_files"].as_u64().unwrap()
}

fn is_partial(node: &Node) -> bool {
    let told = || status(node)["partial"].as_bool().unwrap();
    let before = told();
    let page = get(node.address, "/api/p2p/network?limit=1", &[]).json();
    let after = told();
    // It may have become so between two questions.
    if before == after {
        assert_eq!(page["partial"], before);
    }
    after
}

#[test]
fn a_million_files_are_read_in_100_mb_and_take_200_mb() {
    let files = files();
    let (cable, dir) = (Relay::new(), filled(files));
    let holder = Node::start(&dir, &["--base-url", &cable.url(), "--discover-every", "1"]);
    let other = tempfile::tempdir().unwrap();
    let reader = Node::start(&other, &["--peer", &cable.url(), "--discover-every", "1"]);
    seen(&reader);
    let (before, began) = (reader.resident(), Instant::now());
    cable.connect(holder.address);
    until("all files are seen", || {
        assert!(!is_partial(&reader));
        (seen(&reader) == files).then_some(())
    });
    let (took, sent) = (began.elapsed(), cable.carried());
    let held = reader.resident().saturating_sub(before);
    println!("{files} files: {sent} bytes sent, {held} bytes held, {took:.1?}");
    assert!(sent < MOST_SENT * files + ELSE.0, "{sent} bytes were sent");
    assert!(held < MOST_HELD * files + ELSE.1, "{held} bytes are held");
    // Above what there is room for it is told that it is not all, and always.
    drop(reader);
    let room = [
        "--directory",
        "1MiB",
        "--peer",
        &cable.url(),
        "--discover-every",
        "1",
    ];
    let other = tempfile::tempdir().unwrap();
    let reader = Node::start(&other, &room);
    until("the first files are seen", || {
        (seen(&reader) > 1000).then_some(())
    });
    until("it is not all", || is_partial(&reader).then_some(()));
    for _ in 0..50 {
        assert!(is_partial(&reader));
        assert!(seen(&reader) < files);
    }
}

/// What may go either way for each change that was not heard as it happened, and in each period.
const A_CHANGE: u64 = 2 << 10;
const A_PERIOD: u64 = 1 << 10;
const CHANGES: u64 = 20;

fn all_seen(node: &Node, files: u64) {
    let bearer = ["Authorization: Bearer 0123456789abcdef"];
    until("all files are seen", || {
        let page = get(node.address, "/api/p2p/network?limit=1", &bearer).json();
        (page["total_files"] == files).then_some(())
    });
}

#[test]
fn a_change_that_was_not_heard_costs_2_kb_however_many_files_there_are() {
    let mut files = files();
    let (cable, dir) = (Relay::new(), filled(files));
    let holder = Node::start(&dir, &["--base-url", &cable.url(), "--discover-every", "1"]);
    cable.connect(holder.address);
    // A private node hears no announcement, and asks what is new in each period.
    let private = ["--private", "--token", "0123456789abcdef"];
    let url = cable.url();
    let asking = [&private[..], &["--peer", &url, "--discover-every", "1"]].concat();
    let other = tempfile::tempdir().unwrap();
    let reader = Node::start(&other, &asking);
    all_seen(&reader, files);
    let mut old = get(holder.address, "/api/p2p/files?limit=100", &[]).json()["files"].take();
    let (before, began) = (cable.moved(), Instant::now());
    for change in 0..CHANGES {
        if change % 2 == 0 {
            uploaded(holder.address, &format!("new {change}"), b"x");
            files += 1;
        } else {
            let old = old.as_array_mut().unwrap().pop().unwrap();
            remove(&holder, &old);
            files -= 1;
        }
        all_seen(&reader, files);
    }
    let (moved, periods) = (cable.moved() - before, began.elapsed().as_secs() + 2);
    println!("{moved} bytes for {CHANGES} changes in {periods} periods");
    assert!(
        moved <= A_CHANGE * CHANGES + A_PERIOD * periods,
        "{moved} bytes"
    );
}

fn remove(node: &Node, file: &Value) {
    let id = file["file_id"].as_str().unwrap();
    let target = format!("/api/p2p/file/{id}");
    assert_eq!(
        send(node.address, &head("DELETE", &target, &[])).status,
        200
    );
}

#[test]
fn who_does_not_ask_for_the_compact_form_gets_json() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    uploaded(node.address, "a", b"x");
    for (accept, is_compact) in [
        ("*/*", false),
        ("application/json", false),
        ("application/vnd.larder.listing, application/json", true),
    ] {
        let accept = format!("Accept: {accept}");
        let answer = get(node.address, "/api/p2p/files", &[&accept]);
        assert_eq!(answer.body.starts_with(b"larder\x01\n"), is_compact);
        assert!(answer.header("vary").contains("accept"));
    }
}

/// Waits until a peer has answered a node, which tells it what happens from then on.
fn until_answers(node: &Node, peer: &str) {
    until("the peer answers", || {
        reaches(node.address, peer).then_some(())
    });
}

/// How many requests a node has had on a route.
fn asked(node: &Node, route: &str) -> f64 {
    let metrics = Metrics::of(node.address);
    metrics.requests(route, "POST", "2xx").unwrap_or(0.0)
}

/// Uploads so many files, some at a time.
fn upload_many(node: &Node, files: usize) {
    thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for file in 0..files / 8 {
                    uploaded(node.address, &format!("{worker} {file}"), b"x");
                }
            });
        }
    });
}

#[test]
fn what_comes_fast_is_announced_many_at_a_time_and_all_of_it() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let hearer = Node::start(&dirs[0], &["--discover-every", "3600"]);
    let peer = hearer.url("");
    let teller = Node::start(&dirs[1], &["--discover-every", "3600", "--peer", &peer]);
    for (node, other) in [(&hearer, &teller), (&teller, &hearer)] {
        until_answers(node, &peer_id(other.address));
    }
    upload_many(&teller, 400);
    until("all are heard of", || (seen(&hearer) == 400).then_some(()));
    let alone = asked(&hearer, "/api/p2p/announce");
    let together = asked(&hearer, "/api/p2p/announcements");
    assert!(
        together > 0.0 && alone + together < 200.0,
        "{alone} {together}"
    );
    // With the last of them it was told how much that is, so nobody has to ask.
    let told = || get(hearer.address, "/api/peers", &[]).json()["peers"][0]["holdings"].take();
    until("it is known how many", || {
        (told()["files"] == 400).then_some(())
    });
    let id = get(teller.address, "/api/p2p/files?limit=1", &[]).json();
    remove(&teller, &id["files"][0]);
    until("the removal is heard of", || {
        (seen(&hearer) == 399).then_some(())
    });
}

#[test]
fn an_older_node_is_told_everything_by_itself() {
    let older = Lister::of_nothing();
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "1"]);
    older.until_met(&node);
    upload_many(&node, 80);
    let heard = |path: &str| {
        let asked = older.canned.asked();
        let wanted = format!("POST {path}");
        asked.iter().filter(|it| **it == wanted).count()
    };
    until("each is told", || {
        (heard("/api/p2p/announce") >= 80).then_some(())
    });
    upload_many(&node, 80);
    until("each is told", || {
        (heard("/api/p2p/announce") >= 160).then_some(())
    });
    assert_eq!(heard("/api/p2p/announcements"), 1);
}

#[test]
fn what_is_no_message_of_announcements_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let kind = "Content-Type: application/vnd.larder.announcements";
    for (body, kind, code) in [
        (&b"larder\x02\nx"[..], kind, "bad_announcement"),
        (&[0; 200][..], kind, "bad_announcement"),
        (
            b"{}",
            "Content-Type: application/json",
            "wrong_content_type",
        ),
    ] {
        let length = format!("Content-Length: {}", body.len());
        let begins = head("POST", "/api/p2p/announcements", &[kind, &length]);
        let answer = send(node.address, &[&begins, body].concat());
        assert_eq!(answer.refusal().1, code);
    }
}
