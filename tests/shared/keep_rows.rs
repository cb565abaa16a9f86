//! Turns at copies, as the database gives them.

use std::sync::Arc;
use std::time::Duration;

use larder::hash::BlobHash;
use larder::index::postgres::{Options, PostgresIndex};
use larder::index::{IndexBackend, IndexError};
use larder::keep_rows::{Asked, AskedRow, Ended, EndedRow, HeldRow, KeepRow, KeepRows, RowStage};
use larder::record::NewFile;
use larder::turn::Turn;
use uuid::Uuid;

use crate::postgres::{Server, eventually};

const LEASE: Duration = Duration::from_secs(1);

async fn index(url: &str) -> (PostgresIndex, Arc<dyn KeepRows>) {
    let mut options = Options::new(url).unwrap();
    options.lease = LEASE;
    let index = PostgresIndex::open(&options).await.unwrap();
    let keeps = index.keeps();
    (index, keeps)
}

fn asked(id: &str) -> AskedRow<'_> {
    AskedRow {
        id,
        names: (b"names", 1),
        found: None,
        client: "",
        size: 10,
        most: (5, 2),
    }
}

fn held(turn: Turn) -> HeldRow {
    HeldRow {
        turn,
        is_fetching: true,
        size: 10,
        fetched: 4,
        error: None,
    }
}

fn ended(row: &KeepRow) -> EndedRow<'_> {
    EndedRow {
        held: held(row.turn),
        version: row.version,
        names: b"names",
        is_kept: true,
        copy: None,
    }
}

/// Makes a file of this content, which ends a copy.
async fn put(index: &PostgresIndex, turn: Turn) -> Result<(), IndexError> {
    let hash = BlobHash::of(b"content");
    let intent = index.intend(&hash, 7).await?;
    let file = NewFile {
        name: "a".to_owned(),
        content_type: None,
        description: String::new(),
        size: 7,
        hash,
    };
    index.put(file, intent.ending(Some(turn))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_was_not_renewed_is_another_nodes_and_nothing_counts_that_is_done_in_it() {
    let server = Server::start();
    let url = server.database("one").await;
    let (index, keeps) = index(&url).await;
    let nodes = [1, 2].map(Uuid::from_u128);
    assert_eq!(keeps.ask(&asked("a")).await.unwrap(), Asked::Done);
    let first = keeps.claim(nodes[0]).await.unwrap().unwrap();
    assert_eq!(first.stage, RowStage::Fetching);
    // As long as it is renewed it is nobody else's.
    for _ in 0..4 {
        tokio::time::sleep(LEASE / 2).await;
        let mine = keeps.renew(&[held(first.turn)]).await.unwrap();
        assert_eq!(mine, [first.turn.of]);
        assert!(keeps.claim(nodes[1]).await.unwrap().is_none());
    }
    assert_eq!(keeps.look("a").await.unwrap().unwrap().fetched, 4);
    let mut second = None;
    eventually(async || {
        second = keeps.claim(nodes[1]).await.unwrap();
        second.is_some()
    })
    .await;
    let second = second.unwrap();
    assert!(keeps.renew(&[held(first.turn)]).await.unwrap().is_empty());
    let refused = put(&index, first.turn).await;
    assert!(matches!(refused, Err(IndexError::TakenOver)), "{refused:?}");
    let late = keeps.end(&ended(&first)).await.unwrap();
    assert!(matches!(late, Ended::Lost), "{late:?}");
    put(&index, second.turn).await.unwrap();
    let row = keeps.look("a").await.unwrap().unwrap();
    assert!(row.copy.is_some() && row.stage == RowStage::Fetching);
    let done = keeps.end(&ended(&second)).await.unwrap();
    assert!(matches!(done, Ended::Done), "{done:?}");
    // Whoever was not answered asks again.
    let again = keeps.end(&ended(&second)).await.unwrap();
    assert!(matches!(again, Ended::Done), "{again:?}");
    assert_eq!(index.totals().files, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_given_up_or_wanted_otherwise_is_not_ended_as_it_was() {
    let server = Server::start();
    let url = server.database("one").await;
    let (index, keeps) = index(&url).await;
    let node = Uuid::from_u128(1);
    keeps.ask(&asked("a")).await.unwrap();
    let row = keeps.claim(node).await.unwrap().unwrap();
    let more = AskedRow {
        names: (b"other names", 2),
        found: Some(row.version),
        ..asked("a")
    };
    assert_eq!(keeps.ask(&more).await.unwrap(), Asked::Done);
    // Who has found what was there before has to look again.
    assert_eq!(keeps.ask(&more).await.unwrap(), Asked::Changed);
    let changed = keeps.end(&ended(&row)).await.unwrap();
    let Ended::Changed(row) = changed else {
        panic!("{changed:?}");
    };
    assert_eq!(row.names, b"other names");
    assert!(keeps.remove("a").await.unwrap().is_some());
    let lost = keeps.end(&ended(&row)).await.unwrap();
    assert!(matches!(lost, Ended::Lost), "{lost:?}");
    let refused = put(&index, row.turn).await;
    assert!(matches!(refused, Err(IndexError::TakenOver)), "{refused:?}");
    // Asked for once more it is another one.
    keeps.ask(&asked("a")).await.unwrap();
    assert!(keeps.renew(&[held(row.turn)]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_wanted_than_there_is_a_limit_for_and_what_is_in_vain_gives_way() {
    let server = Server::start();
    let url = server.database("one").await;
    let (_index, keeps) = index(&url).await;
    let of = |id, client| AskedRow {
        client,
        ..asked(id)
    };
    for id in ["a", "b"] {
        let done = keeps.ask(&of(id, "one")).await.unwrap();
        assert_eq!(done, Asked::Done);
    }
    let full = keeps.ask(&of("c", "one")).await.unwrap();
    assert_eq!(full, Asked::FullOfOne);
    // Nothing of it was tried yet.
    assert!(!keeps.give_way("one").await.unwrap());
    let first = keeps.claim(Uuid::nil()).await.unwrap().unwrap();
    let soon = Duration::from_hours(1);
    keeps
        .let_go(first.turn, "silent", soon, soon)
        .await
        .unwrap();
    assert!(!keeps.give_way("other").await.unwrap());
    assert!(keeps.give_way("one").await.unwrap());
    assert!(keeps.look("a").await.unwrap().is_none());
    for (id, client, asked) in [
        ("c", "one", Asked::Done),
        ("d", "two", Asked::Done),
        ("e", "two", Asked::Done),
        ("f", "", Asked::Done),
        ("g", "", Asked::Full),
    ] {
        assert_eq!(keeps.ask(&of(id, client)).await.unwrap(), asked, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_all_nodes_looks_for_everything_until_it_is_silent_or_leaves() {
    let server = Server::start();
    let url = server.database("one").await;
    let (_index, keeps) = index(&url).await;
    let mut led = None;
    eventually(async || {
        led = keeps.lead(None).await.unwrap();
        led.is_some()
    })
    .await;
    let first = led.unwrap();
    assert_eq!(keeps.lead(None).await.unwrap(), None);
    assert_eq!(keeps.lead(Some(first)).await.unwrap(), Some(first));
    keeps.follow(first).await.unwrap();
    let second = keeps.lead(None).await.unwrap().unwrap();
    assert_eq!(keeps.lead(Some(first)).await.unwrap(), None);
    let mut third = None;
    eventually(async || {
        third = keeps.lead(None).await.unwrap();
        third.is_some()
    })
    .await;
    assert_eq!(keeps.lead(Some(second)).await.unwrap(), None);
    assert_eq!(keeps.lead(third).await.unwrap(), third);
}
