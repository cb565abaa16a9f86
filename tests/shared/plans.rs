//! How the database finds what is asked for.

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::metrics::Metrics;
use crate::common::raw_http::{get, head, send};
use crate::nodes::start_with;
use crate::postgres::{Server, connect, number};
use crate::s3_store::S3Store;

/// Nobody has counted yet what is in the tables, as in those of every new fleet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_upload_and_no_removal_reads_whole_tables() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let read = "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables \
                WHERE relname IN ('blobs', 'files', 'places')";
    // What a session has done counts once it ends.
    let scans = async || {
        let client = connect(&url).await;
        client
            .batch_execute("SELECT pg_stat_clear_snapshot()")
            .await
            .unwrap();
        number(&client, read).await
    };
    let node = start_with(&dir, &url, &store, &[]);
    uploaded(node.address, "first", b"first");
    node.stop();
    let before = scans().await;
    let node = start_with(&dir, &url, &store, &[]);
    for number in 0..100 {
        let file = uploaded(node.address, "name", &content(number, 1000));
        let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        assert_eq!(get(node.address, &path, &[]).status, 200);
        if number % 2 == 0 {
            assert_eq!(send(node.address, &head("DELETE", &path, &[])).status, 200);
        }
    }
    node.stop();
    let during = scans().await - before;
    assert!(during < 20, "{during} for 100 uploads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_the_network_asks_a_few_times_however_many_files_are_on_it() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let node = start_with(&dir, &url, &store, &[]);
    for number in 0..200 {
        uploaded(node.address, &number.to_string(), b"content of all");
    }
    let labels = [("operation", "query"), ("outcome", "done")];
    let asked = || Metrics::of(node.address).get("larder_database_requests_total", &labels);
    let before = asked();
    let page = get(node.address, "/api/p2p/network?limit=200", &[]).json();
    assert_eq!(page["files"].as_array().unwrap().len(), 200);
    let during = asked() - before;
    assert!(during < 20.0, "{during} questions for a page of 200 files");
    node.stop();
}
