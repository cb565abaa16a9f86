//! Files that were removed through one node, while others do not hear of it.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::common::forms::uploaded;
use crate::common::process::until;
use crate::common::raw_http::{Answer, head, send};
use crate::common::relay::Relay;
use crate::fleet::Fleet;
use crate::nodes::start_with;
use crate::postgres::Server;
use crate::s3_store::S3Store;

/// How long a node may go on to give a file that was removed through another.
const MOST: Duration = Duration::from_secs(1);
/// Ends all that the nodes have with the database.
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE application_name LIKE 'larder%' AND datname = current_database()";

fn ask(method: &str, node: SocketAddr, path: &str) -> Answer {
    send(node, &head(method, path, &[]))
}

/// A new file, which all these nodes have in memory.
fn hot_file(nodes: &[SocketAddr], name: &str) -> String {
    let file = uploaded(nodes[0], name, name.as_bytes());
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    for node in nodes.iter().cycle().take(2 * nodes.len()) {
        until("it is read", || {
            (ask("GET", *node, &path).status == 200).then_some(())
        });
    }
    path
}

/// Removes a file, again where the database was lost over it.
fn remove(node: SocketAddr, path: &str) -> Instant {
    until("it is removed", || {
        let status = ask("DELETE", node, path).status;
        assert!([200, 404, 503].contains(&status), "{status}");
        (status != 503).then(Instant::now)
    })
}

/// Asks until the file is refused, which it is from soon after its removal on.
fn until_refused(node: SocketAddr, path: &str, removed: Instant) {
    until("it is gone", || {
        let asked = Instant::now();
        let status = ask("GET", node, path).status;
        assert!([200, 404, 503].contains(&status), "{status}");
        let later = asked.saturating_duration_since(removed);
        assert!(
            status != 200 || later < MOST,
            "it was given {later:?} after its removal"
        );
        (status == 404).then_some(())
    });
}

async fn cut(client: &Client) -> usize {
    client.query(CUT, &[]).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_removed_through_one_node_is_refused_by_all_though_their_connections_are_cut() {
    let fleet = Fleet::start(&[]).await;
    let (addresses, client) = (fleet.addresses(), &fleet.client);
    let kept = hot_file(&addresses, "kept");
    for round in 0..12 {
        let path = hot_file(&addresses, &format!("file {round}"));
        // Before it, after it, and not at all.
        if round % 3 == 0 {
            assert!(cut(client).await >= 3, "each has one at least");
        }
        let removed = remove(addresses[round % 3], &path);
        if round % 3 == 1 {
            assert!(cut(client).await >= 3);
        }
        thread::scope(|scope| {
            for node in addresses {
                let path = &path;
                scope.spawn(move || until_refused(node, path, removed));
            }
        });
    }
    for node in addresses {
        assert_eq!(ask("GET", node, &kept).body, b"kept");
    }
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_nothing_gives_no_file_from_memory_and_catches_up() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let relay = Relay::new();
    relay.connect(([127, 0, 0, 1], database.port()).into());
    let (port, by_way) = (database.port(), relay.address.port());
    let relayed = url.replace(&format!(":{port}/"), &format!(":{by_way}/"));
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let deaf = start_with(&dirs[0], &relayed, &store, &[]);
    let other = start_with(&dirs[1], &url, &store, &[]);
    let addresses = [deaf.address, other.address];
    let [kept, gone] = ["kept", "gone"].map(|name| hot_file(&addresses, name));
    relay.stall_after(0);
    let removed = remove(other.address, &gone);
    thread::scope(|scope| {
        let asked = scope.spawn(|| until_refused(deaf.address, &gone, removed));
        // The connection says nothing and is there, until this: all that time nothing is given.
        thread::sleep(3 * MOST);
        assert!(!asked.is_finished());
        relay.mend();
    });
    until("it has caught up", || {
        (ask("GET", deaf.address, &kept).status == 200).then_some(())
    });
    deaf.stop();
    other.stop();
}
