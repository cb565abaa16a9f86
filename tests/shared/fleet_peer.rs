//! Nodes over one database as others see them: one peer, whichever of them come and go.

use serde_json::Value;

use crate::common::forms::uploaded;
use crate::common::peers::{key_also_at, peer_id, reaches, until_held, until_knows, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};
use crate::nodes::start_with;
use crate::postgres::{Server, connect, eventually, number};
use crate::s3_store::S3Store;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_several_nodes_is_reached_by_others_right_after_one_of_them_has_stopped() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    // Nobody asks again right after the stop, so what others hear at it is what counts.
    let seldom = ["--discover-every", "10"];
    let other = Node::start(&dirs[0], &seldom);
    let staying = start_with(&dirs[1], &url, &store, &seldom);
    let (base_url, peer) = (staying.url(""), other.url(""));
    let told = ["--base-url", &base_url, "--peer", &peer];
    let leaving = start_with(&dirs[2], &url, &store, &[&seldom[..], &told].concat());
    let (fleet, other_id) = (peer_id(staying.address), peer_id(other.address));
    until("the peers know each other", || {
        let met = reaches(other.address, &fleet) && reaches(leaving.address, &other_id);
        met.then_some(())
    });
    leaving.stop();
    assert!(reaches(other.address, &fleet));
    staying.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_one_peer_at_several_addresses_are_not_taken_for_copies_of_each_other() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let often = ["--discover-every", "1"];
    let other = Node::start(&dirs[0], &often);
    let peer = other.url("");
    let settings = [&often[..], &["--peer", &peer]].concat();
    let nodes = [&dirs[1], &dirs[2]].map(|dir| start_with(dir, &url, &store, &settings));
    // Whoever tells of itself hears where its key was before, which makes a copy of it twice.
    until("both have told of themselves again and again", || {
        let answer = get(other.address, "/metrics", &[]);
        let page = String::from_utf8(answer.body).unwrap();
        let told = ["/api/peers", "/api/p2p/exchange"].map(|route| {
            let labels = format!(r#"{{route="{route}",method="POST",status="2xx"}} "#);
            let told = format!("larder_http_requests_total{labels}");
            let count = page.lines().find_map(|it| it.strip_prefix(&told));
            count.map_or(0, |it| it.parse::<u64>().unwrap())
        });
        let is_taken_for_two = other.log().contains("one key speaks for two addresses");
        (is_taken_for_two && told.iter().sum::<u64>() >= 12).then_some(())
    });
    for node in nodes {
        assert_eq!(key_also_at(&node), Value::Null);
        assert!(!node.log().contains("another node has this node's key"));
        node.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_tells_one_node_of_itself_and_of_its_files_all_know_soon() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 4].map(|()| tempfile::tempdir().unwrap());
    // None of them asks again by itself, and the other one knows the address of the first.
    let seldom = ["--discover-every", "10000"];
    let first = start_with(&dirs[0], &url, &store, &seldom);
    let at = first.url("");
    let same = [&seldom[..], &["--base-url", &at]].concat();
    let more = [&dirs[1], &dirs[2]].map(|dir| start_with(dir, &url, &store, &same));
    let other = ["--discover-every", "1", "--peer", &at];
    let other = Node::start(&dirs[3], &other);
    let id = peer_id(other.address);
    for node in &more {
        until("it reaches whom another has met", || {
            reaches(node.address, &id).then_some(())
        });
    }
    let file = uploaded(other.address, "a", b"content");
    for node in &more {
        until_held(node.address, &file["hash"], 1);
    }
    let removal = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    assert_eq!(
        send(other.address, &head("DELETE", &removal, &[])).status,
        200
    );
    for node in &more {
        until_sees(node.address, &[]);
    }
    more.into_iter().for_each(Node::stop);
    first.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_new_begins_with_the_peers_that_those_before_it_have_met() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let often = ["--discover-every", "1"];
    let others = [&dirs[0], &dirs[1]].map(|dir| Node::start(dir, &often));
    let named = format!("{},{}", others[0].url(""), others[1].url(""));
    let first = [&often[..], &["--peer", &named]].concat();
    let first = start_with(&dirs[2], &url, &store, &first);
    let client = connect(&url).await;
    let known = "SELECT count(*) FROM larder.known_peers";
    eventually(async || number(&client, known).await == 2).await;
    first.kill();
    // Nobody tells it of any, and none of them could.
    let second = start_with(&dirs[3], &url, &store, &often);
    for other in &others {
        let id = peer_id(other.address);
        until("it reaches whom it was told of", || {
            reaches(second.address, &id).then_some(())
        });
    }
    until_knows(second.address, 2);
    second.stop();
    let [gone, stays] = others;
    let silent = peer_id(gone.address);
    gone.stop();
    // Who has been silent for an hour is none any more.
    let silence = "UPDATE larder.known_peers SET heard = now() - interval '61 min' WHERE id = $1";
    let changed = client.execute(silence, &[&silent.as_bytes()]).await;
    assert_eq!(changed.unwrap(), 1);
    let third = start_with(&dirs[3], &url, &store, &often);
    let id = peer_id(stays.address);
    until("it reaches the other", || {
        reaches(third.address, &id).then_some(())
    });
    eventually(async || number(&client, known).await == 1).await;
    third.stop();
}
