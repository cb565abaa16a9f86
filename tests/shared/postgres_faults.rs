//! A database that is killed, away, or silent in the middle of a commit: what was acknowledged is
//! there, once, and all goes on by itself.

use std::process::Command;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use larder::hash::BlobHash;
use larder::index::postgres::{Options, PostgresIndex};
use larder::index::{IndexBackend, IndexError};
use larder::record::{FileId, NewFile};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::common::forms::uploaded;
use crate::common::indexing::add;
use crate::common::process::until;
use crate::common::raw_http::get;
use crate::common::relay::Relay;
use crate::cutter::{Cut, Cutter};
use crate::nodes::start_with;
use crate::postgres::{Server, eventually, index};
use crate::s3_store::S3Store;

fn file(name: &str) -> NewFile {
    NewFile {
        name: name.to_owned(),
        content_type: None,
        description: String::new(),
        size: name.len() as u64,
        hash: BlobHash::of(name.as_bytes()),
    }
}

/// The same database as at `url`, by another way.
async fn by_way_of(url: &str, server: &Server, port: u16) -> PostgresIndex {
    let url = url.replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    PostgresIndex::open(&Options::new(&url).unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_commit_that_is_not_answered_is_made_once() {
    let server = Server::start();
    let url = server.database("one").await;
    let direct = index(&url).await;
    let cutter = Cutter::new(server.port());
    let node = by_way_of(&url, &server, cutter.address.port()).await;
    for (name, cut) in [
        ("unheard", Cut::BeforeCommit),
        ("unanswered", Cut::BeforeAnswer),
    ] {
        let intent = node.intend(&file(name).hash, 1).await.unwrap();
        cutter.cut(cut);
        let put = node.put(file(name), intent).await.unwrap();
        assert!(cutter.was_cut());
        assert_eq!(direct.page(None, 10).await.unwrap(), from_ref(&put.record));
        // Others who do the same meanwhile are not taken for it.
        let other = add(&direct, file("other")).await.unwrap();
        cutter.cut(cut);
        let removed = node.remove(put.record.id).await.unwrap();
        assert!(cutter.was_cut());
        assert_eq!(removed, Some(put.record));
        assert_eq!(direct.page(None, 10).await.unwrap(), from_ref(&other));
        direct.remove(other.id).await.unwrap();
    }
    eventually(async || node.totals().files == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_database_has_acknowledged_is_there_and_all_goes_on_by_itself() {
    let mut server = Server::start();
    let url = server.database("one").await;
    let node = Arc::new(index(&url).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let writers = (0..8).map(|number| {
        let (node, is_over) = (Arc::clone(&node), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                match add(&*node, file(&format!("{number}-{n}"))).await {
                    Ok(record) => acknowledged.push(record),
                    Err(IndexError::Unavailable(error)) => {
                        assert!(error.retry > Duration::ZERO);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    // The intent was not durable yet.
                    Err(IndexError::Lost) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..2 {
        let before = node.totals().files;
        eventually(async || node.totals().files > before + 50).await;
        server.kill();
        // Whoever reads is told so, too; a process of the server may still answer the last ones.
        let (asked, id) = (Instant::now(), FileId::from_bytes([7; 16]));
        eventually(async || matches!(node.get(id).await, Err(IndexError::Unavailable(_)))).await;
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(
            node.refusal().is_none(),
            "nothing is refused until a restart"
        );
        server.start_again();
    }
    let before = node.totals().files;
    eventually(async || node.totals().files > before + 50).await;
    is_over.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    // Each of the connections for reading is made again when somebody asks on it.
    let mut files = Vec::new();
    eventually(async || {
        let found = node.page(None, 1_000_000).await;
        found.map(|it| files = it).is_ok()
    })
    .await;
    for record in &acknowledged {
        let at = files.binary_search_by_key(&record.id, |it| it.id);
        assert_eq!(&files[at.unwrap()], record);
    }
    let mut names: Vec<_> = files.iter().map(|it| &it.file.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), files.len(), "each is there once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_back_for_one_who_reads_is_back_for_whoever_writes() {
    let mut server = Server::start();
    let url = server.database("one").await;
    let node = index(&url).await;
    let id = FileId::from_bytes([7; 16]);
    for round in 0..4 {
        server.kill();
        eventually(async || matches!(node.get(id).await, Err(IndexError::Unavailable(_)))).await;
        let starting = thread::spawn(move || {
            server.start_again();
            server
        });
        // It has been looked for in vain until just now, on each of the connections.
        eventually(async || node.get(id).await.is_ok()).await;
        add(&node, file(&format!("{round}"))).await.unwrap();
        server = starting.join().unwrap();
    }
}

#[tokio::test]
async fn a_node_that_stops_within_a_change_holds_the_others_up_for_seconds_and_no_longer() {
    let server = Server::start();
    let url = server.database("one").await;
    let (other, relay) = (index(&url).await, Relay::new());
    relay.connect(([127, 0, 0, 1], server.port()).into());
    let stopped = Arc::new(by_way_of(&url, &server, relay.address.port()).await);
    let intent = stopped.intend(&file("stopped").hash, 7).await.unwrap();
    // It never hears what is there, so it stands still with the lock of all.
    relay.stall_after(0);
    let put = tokio::spawn({
        let stopped = Arc::clone(&stopped);
        async move { stopped.put(file("stopped"), intent).await }
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let added = timeout(Duration::from_secs(8), add(&other, file("other"))).await;
        added.expect("it hangs").unwrap();
    }
    assert!(!put.is_finished());
    relay.mend();
    // It is thrown out, and begins again by itself.
    put.await.unwrap().unwrap();
    assert!(stopped.newest_named("stopped").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_primary_is_asked_nothing() {
    let (mut database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let node = start_with(&dir, &url, &store, &[]);
    let file = uploaded(node.address, "file", b"content")["file_id"].clone();
    let path = format!("/api/p2p/file/{}", file.as_str().unwrap());
    database.kill();
    // As where an address moves to a server before that is promoted.
    database.follow(true);
    for path in [&*path, "/api/p2p/files", "/ready"] {
        until("no older state is told", || {
            let answer = get(node.address, path, &[]);
            assert_ne!(answer.status, 404, "{path}");
            (answer.status == 503).then_some(())
        });
        let answer = get(node.address, path, &[]);
        assert_eq!(answer.status, 503, "{path}");
    }
    database.kill();
    database.follow(false);
    until("it is back", || {
        (get(node.address, &path, &[]).body == b"content").then_some(())
    });
    node.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_finds_out_within_a_minute_that_a_node_is_not_there_any_more() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let node = start_with(&dir, &url, &store, &[]);
    uploaded(node.address, "file", b"content");
    let filter = format!("( sport = :{} )", database.port());
    until("all its connections ask after it", || {
        let told = Command::new("ss")
            .args(["-tnoH", "state", "established", &filter])
            .output()
            .unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        // As in timer:(keepalive,14sec,0), or with minutes where it is the system's own.
        let soon = |it: &str| it.contains("keepalive,") && !it.contains("min");
        let lines = told.lines().filter(|it| !it.contains("(on,"));
        let lines: Vec<_> = lines.collect();
        (lines.len() > 2 && lines.iter().all(|it| soon(it))).then_some(())
    });
    node.stop();
}
