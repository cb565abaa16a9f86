//! Copies that the members of a network hold for each other.

use std::collections::BTreeSet;
use std::time::Duration;

use larder::hash::BlobHash;

use crate::common::content::content;
use crate::common::copies::{Holders, held, metric, own, until_for};
use crate::common::forms::uploaded;
use crate::common::peers::held as network;
use crate::common::process::larder;
use crate::common::raw_http::{get, head, send};

const SOON: Duration = Duration::from_mins(2);
/// How soon a member is gone, and for how long what is too much is kept.
const SHORT: [&str; 4] = ["--gone-after", "8s", "--surplus-after", "4s"];
const LONG: [&str; 4] = ["--gone-after", "1h", "--surplus-after", "1d"];

#[test]
fn each_file_is_on_three_members_and_they_hold_as_much_as_they_offer_in_proportion() {
    let offers = [
        "64MiB", "64MiB", "64MiB", "64MiB", "96MiB", "96MiB", "96MiB", "96MiB",
    ];
    let holders = Holders::start(&offers, &LONG);
    let all: Vec<_> = (0..8).collect();
    holders.upload(&all, 125, 4000);
    holders.until_on(SOON, 1000, 3);
    // 2,000 copies among 640 MiB that are offered.
    for (number, offer) in [64.0, 64.0, 64.0, 64.0, 96.0, 96.0, 96.0, 96.0]
        .iter()
        .enumerate()
    {
        let found = held(holders.at(number)).len();
        #[allow(clippy::cast_precision_loss)]
        let share = found as f64 / (2000.0 * offer / 640.0);
        assert!((0.7..=1.3).contains(&share), "{number}: {found}");
    }
    // They are rows of the same files, and no files of those who hold them.
    until_for(SOON, "each is known to be on three", || {
        let under: u64 = all
            .iter()
            .map(|it| count(&holders, *it, "under_replicated"))
            .sum();
        (under == 0).then_some(())
    });
    let files = network(holders.at(0));
    assert_eq!(files.len(), 1000);
    assert!(
        files
            .iter()
            .all(|it| it["peers"].as_array().unwrap().len() == 3)
    );
    let status = get(holders.at(0), "/api/p2p/status", &[]).json();
    assert_eq!(status["local_files"], 125);
    assert_eq!(count(&holders, 0, "files"), 125);
}

fn count(holders: &Holders, number: usize, name: &str) -> u64 {
    holders.status(number)[name].as_u64().unwrap()
}

#[test]
fn an_upload_never_fails_for_want_of_holders_and_no_offer_is_exceeded_by_a_byte() {
    let mut holders = Holders::start(&["0", "100000", "65536"], &LONG);
    holders.kill(1);
    holders.kill(2);
    for (number, bytes) in (1..).zip([60_000, 40_000, 5536, 70_000, 1]) {
        uploaded(holders.at(0), &number.to_string(), &content(number, bytes));
    }
    until_for(SOON, "all are told to be under-replicated", || {
        (count(&holders, 0, "under_replicated") == 5).then_some(())
    });
    assert_eq!(metric(holders.at(0), "larder_under_replicated"), 5);
    holders.turn_on(1);
    holders.turn_on(2);
    holders.until_met();
    // Whatever fits is taken, in whichever order it comes.
    let taken = |number| metric(holders.at(number), "larder_held_copy_bytes");
    until_for(SOON, "as much is taken as fits", || {
        let mut offers = [(1, 100_000), (2, 65_536)].into_iter();
        let all = own(holders.at(0));
        let is_full = |(number, offer): (usize, u64)| {
            let (held, taken) = (held(holders.at(number)), taken(number));
            assert!(taken <= offer, "{taken} of {offer}");
            let mut others = all.iter().filter(|it| !held.contains(it));
            others.all(|(_, size)| *size > offer - taken)
        };
        offers.all(is_full).then_some(())
    });
    assert!(count(&holders, 0, "under_replicated") >= 2);
}

#[test]
fn what_two_lost_members_held_is_on_three_again_and_a_short_absence_moves_nothing() {
    let mut holders = Holders::start(&["1GiB"; 8], &SHORT);
    let all: Vec<_> = (0..8).collect();
    holders.upload(&all, 40, 4000);
    holders.until_on(SOON, 320, 3);
    let before = holders.fetched() - of_one(&holders, 3);
    holders.kill(3);
    std::thread::sleep(Duration::from_secs(4));
    holders.turn_on(3);
    holders.until_met();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(holders.fetched(), before, "a flap moves nothing");
    holders.until_on(SOON, 320, 3);
    let places = holders.places();
    let sizes = sizes(&holders);
    let lost: u64 = places
        .iter()
        .map(|(key, on)| sizes[key] * on.intersection(&BTreeSet::from([6, 7])).count() as u64)
        .sum();
    let before = holders.fetched() - of_one(&holders, 6) - of_one(&holders, 7);
    holders.destroy(6);
    holders.destroy(7);
    holders.until_on(SOON, 320, 3);
    let moved = holders.fetched() - before;
    assert!(moved <= lost + lost / 5, "{moved} bytes for {lost}");
    // What only members hold that are left is found and read by everybody.
    let of_lost = sizes.keys().find(|key| {
        places[*key].contains(&7) && !holders.running().any(|it| owns(it.address, key))
    });
    let (_, file) = of_lost.unwrap();
    for node in holders.running() {
        let found = until_for(SOON, "the file of a lost member is known", || {
            let target = format!("/api/p2p/network?id={file}");
            let files = get(node.address, &target, &[]).json();
            files["files"].get(0).cloned()
        });
        let bytes = get(node.address, &format!("/api/p2p/file/{file}"), &[]);
        assert_eq!(bytes.status, 200);
        assert_eq!(BlobHash::of(&bytes.body).to_string(), found["hash"]);
    }
}

fn owns(node: std::net::SocketAddr, (owner, _): &(String, String)) -> bool {
    crate::common::peers::peer_id(node) == *owner
}

fn of_one(holders: &Holders, number: usize) -> u64 {
    metric(holders.at(number), "larder_copies_fetched_bytes_total")
}

/// How long each file is.
fn sizes(holders: &Holders) -> std::collections::BTreeMap<(String, String), u64> {
    let own = holders
        .running()
        .flat_map(|it| crate::common::copies::own(it.address));
    own.collect()
}

#[test]
fn what_its_owner_removed_is_gone_wherever_somebody_returns_and_what_a_lost_owner_had_stays() {
    let mut holders = Holders::start(&["1GiB"; 6], &SHORT);
    holders.upload(&[0, 1], 20, 4000);
    holders.until_on(SOON, 40, 3);
    holders.kill(4);
    holders.kill(5);
    let removed: BTreeSet<_> = own(holders.at(0)).into_iter().map(|it| it.0).collect();
    for (_, file) in &removed {
        let target = format!("/api/p2p/file/{file}");
        let answer = send(holders.at(0), &head("DELETE", &target, &[]));
        assert_eq!(answer.status, 200);
    }
    let none_left = |holders: &Holders| {
        let places = holders.places();
        places.keys().all(|it| !removed.contains(it)).then_some(())
    };
    until_for(SOON, "they are gone where nobody was away", || {
        none_left(&holders)
    });
    // What those held who are away is held by others by now, and their owner is lost.
    holders.until_on(SOON, 20, 3);
    until_for(SOON, "those who are away are gone", || {
        (holders.status(1)["gone"] == 2).then_some(())
    });
    holders.destroy(0);
    holders.turn_on(4);
    holders.turn_on(5);
    until_for(SOON, "those who return tell what they hold", || {
        let tells = |it: usize| get(holders.at(it), "/api/p2p/copies", &[]).json()["run"] != "";
        (tells(4) && tells(5)).then_some(())
    });
    none_left(&holders).expect("they have heard of it before");
    for number in [1, 4, 5] {
        let files = network(holders.at(number));
        assert!(
            files
                .iter()
                .all(|it| it["original_name"].as_str().unwrap().starts_with("1-"))
        );
    }
    // What has come back is too much, and goes.
    holders.until_on(SOON, 20, 3);
    holders.destroy(1);
    holders.until_on(SOON, 20, 3);
    assert_eq!(network(holders.at(3)).len(), 20);
}

#[test]
fn members_killed_at_any_moment_lose_nothing_and_take_up_what_was_under_way() {
    let mut holders = Holders::start(&["1GiB"; 5], &LONG);
    // Also content that is fetched in parts.
    holders.upload(&[0, 1, 2, 3, 4], 12, 200_000);
    for round in 0..15 {
        let number = round % 5;
        holders.kill(number);
        std::thread::sleep(Duration::from_millis((round as u64 * 37) % 400));
        holders.turn_on(number);
    }
    holders.until_met();
    holders.until_on(SOON, 60, 3);
    // What is removed is removed everywhere, also where its owner is killed behind each answer.
    for _ in 0..4 {
        for (_, file) in own(holders.at(0)).into_iter().map(|it| it.0).take(2) {
            let target = format!("/api/p2p/file/{file}");
            assert_eq!(
                send(holders.at(0), &head("DELETE", &target, &[])).status,
                200
            );
        }
        holders.kill(0);
        holders.turn_on(0);
    }
    holders.kill(1);
    holders.turn_on(1);
    holders.until_on(SOON, 52, 3);
    for number in 0..5 {
        let node = holders.nodes[number].take().unwrap();
        node.stop();
        for storage in ["peer_storage", "peer_storage/copies"] {
            let mut verify = larder(holders.dirs[number].path());
            let verified = verify.args(["verify", "--storage", storage]).output();
            let verified = verified.unwrap();
            assert!(
                verified.status.success(),
                "{number} {storage}: {verified:?}"
            );
        }
    }
}

#[test]
fn an_upload_says_on_how_many_members_it_is_to_be_and_a_restart_knows_it() {
    let mut holders = Holders::start(&["1GiB"; 5], &LONG);
    let put = |name: &str, query: &str, body: &[u8]| {
        let target = format!("/api/p2p/upload/{name}{query}");
        let length = format!("Content-Length: {}", body.len());
        let answer = send(
            holders.at(0),
            &[head("PUT", &target, &[&length]), body.to_vec()].concat(),
        );
        (
            answer.status,
            answer.json()["file"]["file_id"]
                .as_str()
                .unwrap_or("")
                .to_owned(),
        )
    };
    let wishes = [
        ("one", "?copies=1", 1),
        ("three", "", 3),
        ("five", "?copies=5", 5),
    ];
    let ids = wishes.map(|(name, query, _)| put(name, query, name.as_bytes()).1);
    assert_eq!(put("none", "?copies=0", b"x").0, 400);
    let until_placed = |holders: &Holders| {
        until_for(SOON, "each is on as many as it says", || {
            let places = holders.places();
            let mut expected = ids.iter().zip(wishes);
            let is_so = |(id, (_, _, copies)): (&String, (_, _, usize))| {
                places
                    .iter()
                    .any(|((_, file), on)| file == id && on.len() == copies)
            };
            expected.all(is_so).then_some(())
        });
    };
    until_placed(&holders);
    holders.kill(0);
    holders.turn_on(0);
    holders.until_met();
    // One more member has to look at all of them again.
    holders.kill(1);
    holders.turn_on(1);
    holders.until_met();
    until_placed(&holders);
    let alone = tempfile::tempdir().unwrap();
    let node = crate::common::process::Node::start(&alone, &[]);
    let request = head("PUT", "/api/p2p/upload/a?copies=3", &["Content-Length: 0"]);
    assert_eq!(
        send(node.address, &request).refusal(),
        (409, "no_copies".to_owned())
    );
}

#[test]
fn a_copy_that_is_found_damaged_comes_again_from_the_others() {
    let mut holders = Holders::start(&["1GiB"; 3], &LONG);
    let bytes = content(1, 1 << 20);
    let file = uploaded(holders.at(0), "a", &bytes);
    holders.until_on(SOON, 1, 3);
    let hash = file["hash"].as_str().unwrap();
    let copies = holders.dirs[1].path().join("peer_storage/copies");
    let blob = copies.join("blobs").join(&hash[..2]).join(hash);
    let mut rotten = std::fs::read(&blob).unwrap();
    assert_eq!(rotten, bytes);
    rotten[300_000] ^= 1;
    std::fs::write(&blob, &rotten).unwrap();
    let target = format!("/api/p2p/blob/{hash}");
    until_for(SOON, "the damage is mended", || {
        // Whoever reads it finds it, and never gets a wrong byte.
        let read = get(holders.at(1), &target, &[]);
        assert!(read.status != 200 || read.body == bytes);
        (std::fs::read(&blob).unwrap() == bytes).then_some(())
    });
    holders.nodes[1].take().unwrap().stop();
    let mut verify = larder(holders.dirs[1].path());
    let verified = verify
        .args(["verify", "--storage", "peer_storage/copies"])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
}
