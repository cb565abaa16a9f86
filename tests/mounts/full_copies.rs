//! A member whose disk is full while it fetches copies: nothing is lost, nothing is left behind,
//! and another member takes what has no place there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::common::content::content;
use crate::common::copies::{held, metric, until_for};
use crate::common::forms::uploaded;
use crate::common::member_network::{Network, dirs, member};
use crate::common::process::{Node, larder};
use crate::common::raw_http::get;
use crate::small_disk::{SmallDisk, storage};

const SOON: Duration = Duration::from_mins(2);
/// How much room the other member offers: for all, and not for one more.
const OFFER: u64 = FILES as u64 * LONG as u64;
const FILES: usize = 14;
const LONG: usize = 4 << 20;

/// How many files are in a directory, and below it.
fn files_in(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let paths = entries.map(|it| it.unwrap().path());
    paths
        .map(|it| if it.is_dir() { files_in(&it) } else { 1 })
        .sum()
}

/// On how many of these members each file of others is.
fn copies(holders: &[&Node]) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for node in holders {
        for ((_, file), _) in held(node.address) {
            *copies.entry(file).or_insert(0) += 1;
        }
    }
    copies
}

#[test]
fn what_has_no_place_on_a_full_disk_another_member_takes_and_nothing_is_left_of_it() {
    let (network, disk) = (Network::new(), SmallDisk::mount());
    let [owner, other] = dirs();
    for dir in [&owner, &other, &disk.dir] {
        network.join(dir, "1d");
    }
    let offering = |offer| ["--copies", "2", "--offer", offer, "--scrub-every", "off"];
    let owner_node = member(&owner, &[], &offering("0"));
    let peer = owner_node.url("");
    // Which is to hold nearly all of them, by what it offers.
    let small = member(&disk.dir, &[&peer], &offering("10GiB"));
    let other_node = member(&other, &[&peer], &offering(&OFFER.to_string()));
    for node in [&owner_node, &small, &other_node] {
        until_for(SOON, "all have met", || {
            let status = get(node.address, "/api/p2p/status", &[]).json();
            (status["copies"]["members"] == 2).then_some(())
        });
    }
    let mut files = Vec::new();
    for seed in 0..FILES {
        let bytes = content(u32::try_from(seed).unwrap(), LONG);
        let file = uploaded(owner_node.address, &format!("{seed}"), &bytes);
        files.push((file["file_id"].as_str().unwrap().to_owned(), bytes));
    }
    until_for(SOON, "some are there", || {
        (held(small.address).len() > 1).then_some(())
    });
    // Whatever it is about to fetch meets a full disk.
    let filler = disk.fill();
    let within = || {
        let held = [&small, &other_node].map(|it| metric(it.address, "larder_held_copy_bytes"));
        assert!(held[1] <= OFFER, "{held:?}");
    };
    until_for(SOON, "each is on two members", || {
        within();
        let copies = copies(&[&small, &other_node]);
        (copies.len() == FILES).then_some(())
    });
    let copies_dir = storage(&disk.dir).join("copies");
    until_for(SOON, "nothing is left of what was not taken", || {
        within();
        let left = ["keeping", "spool"].map(|it| files_in(&copies_dir.join(it)));
        let blobs = files_in(&copies_dir.join("blobs"));
        (left == [0, 0] && blobs == held(small.address).len()).then_some(())
    });
    for (file, bytes) in &files {
        for node in [&owner_node, &small, &other_node] {
            let got = get(node.address, &format!("/api/p2p/file/{file}"), &[]);
            assert!(got.status == 200 && got.body == *bytes, "{file}");
        }
    }
    // With room again it takes what comes, and what it has is whole.
    std::fs::remove_file(filler).unwrap();
    small.stop();
    let mut verify = larder(disk.dir.path());
    let verified = verify.arg("verify").output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}
