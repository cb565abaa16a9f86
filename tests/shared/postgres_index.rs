//! The index in a database: what it promises beside what every index does.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use larder::hash::BlobHash;
use larder::health::Health;
use larder::index::postgres::{Options, PostgresIndex};
use larder::index::{IndexBackend, IndexError};
use larder::record::NewFile;

use crate::common::index_promises::{collect, conforms};
use crate::common::indexing::add;
use crate::postgres::{Server, connect, eventually, index, number};

fn file(name: &str, content: &[u8]) -> NewFile {
    NewFile {
        name: name.to_owned(),
        content_type: None,
        description: String::new(),
        size: content.len() as u64,
        hash: BlobHash::of(content),
    }
}

#[tokio::test]
async fn the_postgres_index_conforms() {
    let server = Server::start();
    conforms(Arc::new(index(&server.database("one").await).await)).await;
}

#[tokio::test]
async fn what_several_nodes_write_is_one_index() {
    let server = Server::start();
    let url = server.database("one").await;
    // All of them make the tables, of which there is one each.
    let nodes = join_all((0..4).map(|_| index(&url))).await;
    ids_grow_as_files_become_visible(&nodes).await;
    texts_come_back_as_they_came(&nodes).await;
    what_one_node_finds_damaged_all_know(&nodes).await;
    what_no_node_needs_is_collected_by_one_of_them(&nodes).await;
    for node in &nodes {
        node.close().await.unwrap();
    }
    // What was there is there for the next, which begins with what it counts.
    let again = index(&url).await;
    let files = again.page(None, 1_000).await.unwrap().len() as u64;
    assert_eq!(again.totals().files, files);
    let client = connect(&url).await;
    let sums = "SELECT count(*) FROM larder.heads WHERE \
         files = (SELECT count(*) FROM larder.files) \
         AND bytes = (SELECT coalesce(sum(size), 0) FROM larder.files) \
         AND blobs = (SELECT count(*) FROM larder.blobs) \
         AND blob_bytes = (SELECT coalesce(sum(size), 0) FROM larder.blobs)";
    assert_eq!(number(&client, sums).await, 1);
}

/// Whoever follows the list by the last id that he has seen misses no file.
async fn ids_grow_as_files_become_visible(nodes: &[PostgresIndex]) {
    let writers = nodes.iter().enumerate().map(|(number, node)| async move {
        let names = (0..50).map(|n| format!("{number}-{n}"));
        let contents: Vec<_> = names.map(|name| file(&name, name.as_bytes())).collect();
        try_join_all(contents.into_iter().map(|it| add(node, it))).await
    });
    let reader = async {
        let (mut seen, mut after) = (Vec::new(), None);
        while seen.len() < 200 {
            let page = nodes[0].page(after, 7).await.unwrap();
            after = page.last().map(|it| it.id).or(after);
            seen.extend(page);
        }
        seen
    };
    let (written, seen) = tokio::join!(try_join_all(writers), reader);
    let mut written: Vec<_> = written.unwrap().into_iter().flatten().collect();
    written.sort_by_key(|it| it.id);
    assert_eq!(seen, written);
}

async fn texts_come_back_as_they_came(nodes: &[PostgresIndex]) {
    let odd = NewFile {
        name: "a\0b\u{fffd}'\";--".to_owned(),
        content_type: Some("text/\0".to_owned()),
        description: "\0".repeat(16 * 1024),
        ..file("", b"odd")
    };
    let record = add(&nodes[0], odd.clone()).await.unwrap();
    assert_eq!(record.file, odd);
    assert_eq!(nodes[1].get(record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(
        nodes[2].newest_named(&odd.name).await.unwrap(),
        Some(record)
    );
    let long = NewFile {
        description: "d".repeat(40_000),
        ..odd
    };
    let refused = add(&nodes[0], long).await;
    assert!(matches!(refused, Err(IndexError::TooLong)), "{refused:?}");
}

async fn what_one_node_finds_damaged_all_know(nodes: &[PostgresIndex]) {
    let hash = BlobHash::of(b"shared");
    add(&nodes[0], file("s", b"shared")).await.unwrap();
    let place = nodes[1].locate(&hash).await.unwrap().unwrap().place;
    assert_eq!(nodes[1].health(place, Health::Damaged), Some(hash));
    eventually(async || {
        let content = nodes[2].locate(&hash).await.unwrap().unwrap();
        content.is_damaged && nodes[2].totals().damaged == 1
    })
    .await;
    let put = add(&nodes[3], file("t", b"shared")).await.unwrap();
    assert_eq!(put.file.hash, hash);
    let content = nodes[0].locate(&hash).await.unwrap().unwrap();
    assert!(!content.is_damaged && content.place != place);
    eventually(async || nodes.iter().all(|it| it.totals().damaged == 0)).await;
}

async fn what_no_node_needs_is_collected_by_one_of_them(nodes: &[PostgresIndex]) {
    collect(&nodes[0]).await;
    let record = add(&nodes[0], file("g", b"garbage")).await.unwrap();
    let place = nodes[0]
        .locate(&record.file.hash)
        .await
        .unwrap()
        .unwrap()
        .place;
    assert_eq!(
        nodes[1].remove(record.id).await.unwrap(),
        Some(record.clone())
    );
    assert_eq!(nodes[2].remove(record.id).await.unwrap(), None);
    let claims = join_all(nodes.iter().map(|it| it.garbage(64))).await;
    let claimed: Vec<_> = claims.into_iter().flat_map(Result::unwrap).collect();
    let of_it = claimed.iter().filter(|it| it.place() == place);
    assert_eq!(of_it.count(), 1);
    nodes[3].collected(claimed).await.unwrap();
    assert!(nodes[0].garbage(64).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_change_looks_at_the_rows_that_it_is_about_and_at_no_others() {
    let server = Server::start();
    let url = server.database("one").await;
    let (node, client) = (index(&url).await, connect(&url).await);
    let fill = "INSERT INTO larder.blobs (hash, place, size, users) \
         SELECT sha256(it::text::bytea), sha256((-it)::text::bytea), 1, 1 \
         FROM generate_series(1, 20000) AS it; \
         INSERT INTO larder.places (place, state, size) \
         SELECT place, 'l', 1 FROM larder.blobs; \
         ANALYZE larder.blobs; ANALYZE larder.places";
    client.batch_execute(fill).await.unwrap();
    let read = "SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables \
         WHERE relname IN ('blobs', 'places')";
    let found = "SELECT sum(idx_tup_fetch)::bigint FROM pg_stat_user_tables \
         WHERE relname = 'blobs'";
    let (read_before, found_before) = (number(&client, read).await, number(&client, found).await);
    for content in 0..20u8 {
        let record = add(&node, file("f", &[content])).await.unwrap();
        add(&node, file("again", &[content])).await.unwrap();
        node.remove(record.id).await.unwrap();
    }
    // The server counts by and by.
    eventually(async || number(&client, found).await >= found_before + 20).await;
    let read = number(&client, read).await - read_before;
    // To fill them all were looked through once; of sixty changes none does.
    assert!(read <= 40_000, "{read} rows were looked through");
}

#[tokio::test]
async fn a_database_that_may_lose_what_it_acknowledges_is_refused() {
    for setting in ["fsync=off", "synchronous_commit=off"] {
        let server = Server::start_with(&[setting]);
        let url = server.database("one").await;
        let mut options = Options::new(&url).unwrap();
        let refused = PostgresIndex::open(&options).await.map(drop);
        let Err(IndexError::Refused(reason)) = refused else {
            panic!("{refused:?}");
        };
        assert!(reason.contains(setting), "{reason}");
        options.is_relaxed = true;
        let index = PostgresIndex::open(&options).await.unwrap();
        add(&index, file("r", b"relaxed")).await.unwrap();
        assert_eq!(index.totals().files, 1);
        assert_eq!(index.refusal(), None);
    }
}

#[tokio::test]
async fn what_is_no_database_is_told_and_nothing_is_told_of_its_password() {
    assert!(Options::new("nonsense").is_err());
    let mut options = Options::new("postgres://larder:secret@127.0.0.1:1/none").unwrap();
    options.is_relaxed = true;
    let Err(IndexError::Unavailable(error)) = PostgresIndex::open(&options).await.map(drop) else {
        panic!("nothing listens there");
    };
    assert!(error.what.contains("127.0.0.1:1"), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"));
}
