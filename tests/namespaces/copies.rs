//! Members that hold copies for each other, in a network that falls into two parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::copies::until_for;
use crate::common::member_network::Network;
use crate::common::process::Node;
use crate::lan::Lan;

const TOKEN: &str = "0123456789abcdef";
const SOON: Duration = Duration::from_mins(2);

/// A member that has three copies of each file, and takes others for gone soon.
fn start(lan: &Lan, node: u8, network: &Network, dir: &TempDir) -> Node {
    network.join(dir, "1d");
    let arguments = ["--listen", "0.0.0.0:5004", "--network", "member"];
    let more = ["--discover-every", "1", "--token", TOKEN, "--copies", "3"];
    let times = ["--gone-after", "8s", "--surplus-after", "5s"];
    let offer = ["--offer", "1GiB"];
    lan.start(node, dir, &[&arguments[..], &more, &times, &offer].concat())
}

/// Uploads so many files to a node.
fn upload(lan: &Lan, node: u8, dir: &TempDir, files: std::ops::Range<u32>) {
    for file in files {
        let path = dir.path().join(format!("{node}-{file}"));
        fs::write(&path, content(1000 * u32::from(node) + file, 3000)).unwrap();
        lan.upload(node, &path);
    }
}

/// On which of these nodes each file is, as its owner or as a copy.
fn places(lan: &Lan, nodes: &[u8]) -> BTreeMap<String, BTreeSet<u8>> {
    let mut places = BTreeMap::<_, BTreeSet<_>>::new();
    let mut add = |id: &Value, node: u8| {
        let id = id.as_str().unwrap().to_owned();
        places.entry(id).or_default().insert(node);
    };
    for node in nodes {
        let own = lan.json(*node, "/api/p2p/files");
        for file in own["files"].as_array().unwrap() {
            add(&file["file_id"], *node);
        }
        let held = lan.json(*node, "/api/p2p/copies");
        let entries = held["entries"].as_array().unwrap().iter();
        for copy in entries.map(|it| &it["copy"]).filter(|it| !it.is_null()) {
            add(&copy["file_id"], *node);
        }
    }
    places
}

/// Waits until so many files are on three of these nodes each.
fn until_on_three(lan: &Lan, nodes: &[u8], files: usize) {
    until_for(SOON, "each is on three", || {
        let places = places(lan, nodes);
        (places.len() == files && places.values().all(|on| on.len() == 3)).then_some(())
    });
}

#[test]
fn both_parts_of_a_network_have_three_copies_and_so_has_the_whole_again() {
    let Some(lan) = Lan::of(8) else { return };
    let (network, all) = (Network::new(), [1, 2, 3, 4, 5, 6, 7, 8]);
    let dirs = all.map(|_| tempfile::tempdir().unwrap());
    let nodes = all.map(|node| start(&lan, node, &network, &dirs[usize::from(node) - 1]));
    let knows = |node: u8, name: &str| lan.json(node, "/api/p2p/status")["copies"][name].clone();
    until_for(SOON, "all have met", || {
        all.iter()
            .all(|it| knows(*it, "members") == 7)
            .then_some(())
    });
    upload(&lan, 1, &dirs[0], 0..20);
    until_on_three(&lan, &all, 20);
    let (near, far) = all.split_at(4);
    lan.split(far);
    until_for(SOON, "each part takes the other for gone", || {
        all.iter().all(|it| knows(*it, "gone") == 4).then_some(())
    });
    upload(&lan, 1, &dirs[0], 20..30);
    upload(&lan, 5, &dirs[4], 0..10);
    until_on_three(&lan, near, 30);
    let there = places(&lan, far);
    let before = there.len();
    until_for(SOON, "the other part holds what is left there", || {
        places(&lan, far)
            .values()
            .all(|on| on.len() == 3)
            .then_some(())
    });
    assert!(before > 10, "some of the first were there");
    lan.unite();
    until_for(SOON, "all have met again", || {
        all.iter().all(|it| knows(*it, "gone") == 0).then_some(())
    });
    until_on_three(&lan, &all, 40);
    // Nothing moves any more.
    until_for(SOON, "all is counted", || {
        all.iter()
            .all(|it| knows(*it, "under_replicated") == 0)
            .then_some(())
    });
    until_on_three(&lan, &all, 40);
    drop(nodes);
}
