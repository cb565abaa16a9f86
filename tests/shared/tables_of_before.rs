//! Tables as larders of before have left them, brought up by this one: what was there is there.

use std::fs;
use std::path::Path;

use larder::hash::BlobHash;
use larder::index::IndexBackend;
use larder::place::Place;
use larder::record::{FileId, NewFile};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::common::index_promises::collect;
use crate::common::indexing::add;
use crate::postgres::{Server, connect, index, number};

const CONTENT: &[u8] = b"kept by a larder of before";

/// The files that make the tables, the first version first.
fn migrations() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    let texts = names.iter().map(|it| fs::read_to_string(it).unwrap());
    texts.collect()
}

/// Makes the tables of a version, in which a file is, and an upload of which nothing has come.
async fn make(client: &Client, version: usize, id: Uuid, place: Place) {
    let tables = "CREATE SCHEMA larder; SET search_path = larder; \
         CREATE TABLE tables_version (version int NOT NULL, oldest int NOT NULL)";
    client.batch_execute(tables).await.unwrap();
    for migration in &migrations()[..version] {
        client.batch_execute(migration).await.unwrap();
    }
    let version = i32::try_from(version).unwrap();
    let is = "INSERT INTO tables_version VALUES ($1, 1)";
    client.execute(is, &[&version]).await.unwrap();
    let (hash, size) = (BlobHash::of(CONTENT), i64::try_from(CONTENT.len()).unwrap());
    let (hash, place) = (&hash.as_bytes()[..], &place.as_bytes()[..]);
    let file = "INSERT INTO files (id, uploaded_at, name, name_key, description, size, hash) \
         VALUES ($1, 1, 'before', gen_random_uuid(), '', $2, $3)";
    client.execute(file, &[&id, &size, &hash]).await.unwrap();
    let blob = "INSERT INTO blobs (hash, place, size, users) VALUES ($1, $2, $3, 1)";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&hash, &place, &size];
    client.execute(blob, &values).await.unwrap();
    let live = "INSERT INTO places (place, state, size) VALUES ($1, 'l', $2)";
    client.execute(live, &[&place, &size]).await.unwrap();
    let heads = "UPDATE heads SET last_id = $1, changes = 1, files = 1, bytes = $2, blobs = 1, \
         blob_bytes = $2";
    client.execute(heads, &[&id, &size]).await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_tables_of_any_version_before_is_there_after_they_were_brought_up() {
    let server = Server::start();
    for version in 1..migrations().len() {
        let url = server.database(&format!("of{version}")).await;
        let client = connect(&url).await;
        let (id, place) = (FileId::next(None), Place::random());
        make(&client, version, id.to_string().parse().unwrap(), place).await;
        let index = index(&url).await;
        let found = index.page(None, 10).await.unwrap();
        let found = found.iter().map(|it| (it.id, &*it.file.name));
        assert!(found.eq([(id, "before")]), "{version}");
        let found = index.locate(&BlobHash::of(CONTENT)).await.unwrap();
        assert_eq!(found.unwrap().place, place, "{version}");
        // What comes is behind it, and what goes is collected.
        let file = NewFile {
            name: "after".to_owned(),
            content_type: None,
            description: String::new(),
            size: 5,
            hash: BlobHash::of(b"after"),
        };
        assert!(add(&index, file).await.unwrap().id > id, "{version}");
        assert!(index.remove(id).await.unwrap().is_some(), "{version}");
        assert_eq!(collect(&index).await, [place], "{version}");
        let totals = index.totals();
        assert_eq!((totals.files, totals.blobs), (1, 1), "{version}");
        let newest = i64::try_from(migrations().len()).unwrap();
        let is = "SELECT version::bigint FROM larder.tables_version";
        assert_eq!(number(&client, is).await, newest);
    }
}
