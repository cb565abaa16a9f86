//! What a node counts of the servers that keep its files.

use std::net::SocketAddr;

use axum::http::{Method, Uri};

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::metrics::Metrics;
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, head, send};
use crate::faults::{Fault, Faults};
use crate::nodes::command;
use crate::postgres::Server;
use crate::s3_store::S3Store;

/// Content that comes to the bucket in two parts.
const LONG: usize = 9 << 20;
/// How often a request is made until it is given up.
const TRIES: u64 = 4;
/// More often than anything is tried again.
const ALWAYS: usize = 1_000;

/// What is counted now of one of the servers, `s3` or `database`.
struct Counted(Metrics, &'static str);

impl Counted {
    fn of(node: SocketAddr, server: &'static str) -> Self {
        Self(Metrics::of(node), server)
    }

    fn value(&self, suffix: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.0.get(&format!("larder_{}_{suffix}", self.1), labels);
        assert!(value >= 0.0 && value.fract() == 0.0, "{value}");
        format!("{value}").parse().unwrap()
    }

    fn outcome(&self, operation: &str, outcome: &str) -> u64 {
        let labels = [("operation", operation), ("outcome", outcome)];
        self.value("requests_total", &labels)
    }

    /// How many took how long was measured.
    fn timed(&self, operation: &str) -> u64 {
        self.value("request_seconds_count", &[("operation", operation)])
    }
}

fn ask(node: SocketAddr, method: &str, path: &str) -> Answer {
    send(node, &head(method, path, &[]))
}

fn path_of(node: SocketAddr, name: &str, content: &[u8]) -> String {
    let file = uploaded(node, name, content);
    format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
}

fn is_put(method: &Method, uri: &Uri) -> bool {
    method == Method::PUT && uri.path().contains("/blobs/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_the_store_are_counted_and_those_in_vain_as_what_they_are() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, tempfile::tempdir().unwrap());
    let faults = Faults::before(store.endpoint()).await;
    let node = Node::spawn(&dir, command(dir.path(), &url, &faults.endpoint));
    let at = node.address;
    let long = content(1, LONG);
    path_of(at, "short", b"short");
    let path = path_of(at, "long", &long);
    assert!(ask(at, "GET", &path).body == long);
    let counted = Counted::of(at, "s3");
    for (operation, times) in [
        ("create_multipart_upload", 1),
        ("upload_part", 2),
        ("complete_multipart_upload", 1),
        ("abort_multipart_upload", 0),
    ] {
        assert_eq!(counted.outcome(operation, "done"), times, "{operation}");
        assert_eq!(counted.timed(operation), times, "{operation}");
    }
    for operation in ["get_object", "put_object", "head_object"] {
        assert!(counted.outcome(operation, "done") > 0, "{operation}");
        assert_eq!(counted.outcome(operation, "unavailable"), 0, "{operation}");
    }

    let put = |name: &str| {
        let answer = upload(at, &form(&[file(name, name.as_bytes())]));
        assert_eq!(answer.status, 503, "{answer:?}");
        Counted::of(at, "s3")
    };
    faults.befall(ALWAYS, is_put, Fault::Answer(500, "it fails"));
    assert_eq!(put("failed").outcome("put_object", "unavailable"), TRIES);
    assert_eq!(faults.heal() as u64, TRIES);
    faults.befall(ALWAYS, is_put, Fault::Answer(403, "no key"));
    let counted = put("refused");
    assert_eq!(counted.outcome("put_object", "refused"), 1);
    assert_eq!(counted.outcome("put_object", "unavailable"), TRIES);
    let befallen = faults.heal();
    assert_eq!(befallen, 1);
    faults.befall(ALWAYS, is_put, Fault::Swallow);
    let unavailable = put("lost").outcome("put_object", "unavailable");
    assert_eq!(unavailable, TRIES + faults.heal() as u64);
    assert!(unavailable > TRIES);
    path_of(at, "last", b"last");
    node.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_the_database_are_counted_and_connections_that_are_lost() {
    let (mut database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, tempfile::tempdir().unwrap());
    let node = Node::spawn(&dir, command(dir.path(), &url, store.endpoint()));
    let at = node.address;
    let paths = ["one", "two", "three"].map(|name| path_of(at, name, name.as_bytes()));
    assert_eq!(ask(at, "DELETE", &paths[0]).status, 200);
    let before = Counted::of(at, "database");
    assert_eq!(before.outcome("commit", "done"), 4);
    assert_eq!(before.timed("commit"), 4);
    let connected = before.outcome("connect", "done");
    assert!(connected > 0 && before.outcome("query", "done") > 0);
    for operation in ["connect", "commit", "look", "query"] {
        assert_eq!(before.outcome(operation, "unavailable"), 0, "{operation}");
    }
    until("it looks what others do", || {
        let looks = Counted::of(at, "database").outcome("look", "done");
        (looks > before.outcome("look", "done")).then_some(())
    });

    database.kill();
    assert_eq!(ask(at, "DELETE", &paths[1]).status, 503);
    let counted = Counted::of(at, "database");
    assert_eq!(counted.outcome("commit", "unavailable"), 1);
    assert_eq!(counted.outcome("commit", "done"), 4);
    assert!(counted.outcome("connect", "unavailable") > 0);
    until("a look is in vain", || {
        let counted = Counted::of(at, "database");
        (counted.outcome("look", "unavailable") > 0).then_some(())
    });
    database.start_again();
    until("the database is found again", || {
        (ask(at, "DELETE", &paths[2]).status == 200).then_some(())
    });
    let counted = Counted::of(at, "database");
    assert!(counted.outcome("connect", "done") > connected);
    assert_eq!(counted.outcome("commit", "done"), 5);
    node.stop();
}
