//! What strangers learn of members: nothing, by no route and not on the local network.

use larder::peer::mdns::{self, Mdns};
use larder::peer_id::PeerId;
use serde_json::json;
use tempfile::TempDir;

use crate::common::forms::{file, form, upload_request};
use crate::common::member_network::{MEMBER, Network, dirs, printed};
use crate::common::peers::{peer_id, until_knows};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{Answer, get, head, send};

const BEARER: &str = "Authorization: Bearer 0123456789abcdef";
const TOKEN: [&str; 2] = ["--token", "0123456789abcdef"];

/// What the parts of a path are called, and what a stranger asks for by them.
type Parts = [(&'static str, String); 5];

fn parts(hash: &str, peer: &str, file: &str, name: &str) -> Parts {
    let parts = [
        ("{hash}", hash),
        ("{peer}", peer),
        ("{file}", file),
        ("{id}", file),
        ("{folder}", name),
    ];
    parts.map(|(part, value)| (part, value.to_owned()))
}

/// What a node answers who has no token.
fn asked(node: &Node, method: &str, path: &str, parts: &Parts) -> Answer {
    let fill = |path: String, (part, value): &(&str, String)| path.replace(part, value);
    let path = parts.iter().fold(path.to_owned(), fill);
    send(node.address, &head(method, &path, &["Content-Length: 0"]))
}

#[test]
fn no_route_tells_a_stranger_anything_of_members_or_whether_they_hold_what_it_asks_for() {
    let (network, dirs) = (Network::new(), dirs::<2>());
    let node = network.member(&dirs[0], &[], &TOKEN);
    let other = network.member(&dirs[1], &[&node.url("")], &TOKEN);
    let upload = upload_request(&form(&[file("minutes", b"of the board")]), &[BEARER]);
    let held = send(other.address, &upload).json()["file"].clone();
    until("the file is seen", || {
        let seen = get(node.address, "/api/p2p/network", &[BEARER]).json();
        (seen["files"][0]["file_id"] == held["file_id"]).then_some(())
    });
    let text = |key: &str| held[key].as_str().unwrap().to_owned();
    let ids = [&node, &other].map(|it| {
        let status = get(it.address, "/api/p2p/status", &[BEARER]).json();
        status["peer"]["peer_id"].as_str().unwrap().to_owned()
    });
    let keys = dirs.each_ref().map(|it| printed(it.path(), &["key"]));
    let port = other.address.port().to_string();
    let secrets = [
        &ids[0],
        &ids[1],
        &keys[0],
        &keys[1],
        network.id.as_str(),
        &text("hash"),
        &text("file_id"),
        "minutes",
        &port,
        dirs[0].path().to_str().unwrap(),
    ];
    let [known, made_up] = [
        parts(&text("hash"), &ids[1], &text("file_id"), "minutes"),
        parts(
            &"0".repeat(64),
            &peer_id_of_nobody(),
            &peer_id_of_nobody(),
            "nothing",
        ),
    ];
    let document = get(node.address, "/api/openapi.json", &[]).json();
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let [of_known, of_none] = [&known, &made_up].map(|it| asked(&node, &method, path, it));
            assert_eq!(
                (of_known.status, &of_known.body),
                (of_none.status, &of_none.body),
                "{path}"
            );
            let body = String::from_utf8_lossy(&of_known.body);
            let told = format!("{:?} {body}", of_known.headers);
            for secret in secrets {
                assert!(
                    !told.contains(secret),
                    "{method} {path}: {secret} in {told}"
                );
            }
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

fn peer_id_of_nobody() -> String {
    PeerId::random().to_string()
}

/// A member that is to be found by multicast DNS.
fn found(network: &Network, dir: &TempDir) -> Node {
    network.join(dir, "1d");
    let mut command = larder(dir.path());
    command.env_remove("LARDER_NO_MDNS");
    command.args(MEMBER);
    Node::spawn(dir, command)
}

/// By which id multicast DNS has a node.
fn tag(mdns: &Mdns, node: &Node) -> String {
    let end = format!(":{}", node.address.port());
    until("it is found", || {
        let found = mdns.neighbours();
        let mut found = found.iter();
        let is_it = found.find(|it| it.addresses[0].to_string().ends_with(&end))?;
        Some(is_it.id.to_string())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_machine_find_each_other_by_tags_by_which_nobody_knows_them_again() {
    let options = mdns::Options {
        listen: "127.0.0.1:1".parse().unwrap(),
        port: mdns::PORT,
    };
    let mdns = Mdns::start(PeerId::of_public_key(&[2; 32]), options).unwrap();
    let (network, other, dirs) = (Network::new(), Network::new(), dirs::<3>());
    let [one, two] = [0, 1].map(|it| found(&network, &dirs[it]));
    let stranger = found(&other, &dirs[2]);
    for node in [&one, &two] {
        until_knows(node.address, 1);
    }
    let peers = get(one.address, "/api/peers", &[]).json();
    assert_eq!(peers["peers"][0]["peer_id"], peer_id(two.address));
    let first = tag(&mdns, &one);
    let own = [peer_id(one.address), printed(dirs[0].path(), &["key"])];
    assert!(!own.iter().any(|it| it.contains(&first)), "{first}");
    one.stop();
    let one = found(&network, &dirs[0]);
    assert_ne!(tag(&mdns, &one), first);
    until_knows(one.address, 1);
    // Who is of another network has asked them, too.
    until("it has asked them", || {
        let log = stranger.log();
        let asked = [&one, &two].map(|it| format!(":{}", it.address.port()));
        let in_vain = |end: &String| {
            let mut lines = log.lines().filter(|it| it.contains("no peer is there"));
            lines.any(|it| it.contains(end))
        };
        asked.iter().all(in_vain).then_some(())
    });
    let peers = get(stranger.address, "/api/peers", &[]).json();
    assert_eq!(peers["peers"], json!([]));
}
