//! Files that come back after they were removed, from a backup or from the trash, are copied anew;
//! what was said of them before their removal is followed by nobody, whoever repeats it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use larder::store::Store;
use larder::store::local::{LocalStore, Options};
use serde_json::{Value, json};

use crate::common::clock::ShiftedClock;
use crate::common::commands::{self, done};
use crate::common::content::content;
use crate::common::copies::{Holders, held, own, until_for};
use crate::common::deaf::Deaf;
use crate::common::forms::uploaded;
use crate::common::peers::held as network;
use crate::common::process::Node;
use crate::common::raw_http::{get, head, send};

const SOON: Duration = Duration::from_mins(2);
const LONG: [&str; 4] = ["--gone-after", "1h", "--surplus-after", "1d"];
const SHORT: [&str; 4] = ["--gone-after", "8s", "--surplus-after", "4s"];
const TRASH: [&str; 6] = [
    "--gone-after",
    "8s",
    "--surplus-after",
    "4s",
    "--trash",
    "1h",
];
/// As far as a clock may be behind so that others are taken for members at all.
const TWENTY_HOURS_BACK: &str = "-72000";

fn ask(node: SocketAddr, method: &str, path: &str) {
    let answer = send(node, &head(method, path, &[]));
    assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
}

fn remove(node: SocketAddr, file: &str) {
    ask(node, "DELETE", &format!("/api/p2p/file/{file}"));
}

fn bring_back(node: SocketAddr, file: &str) {
    ask(node, "POST", &format!("/api/p2p/trash/{file}"));
}

fn upload(node: SocketAddr, name: &str, bytes: &[u8]) -> String {
    let file = uploaded(node, name, bytes);
    file["file_id"].as_str().unwrap().to_owned()
}

/// On which of those that run a file is.
fn places(holders: &Holders, file: &str) -> BTreeSet<usize> {
    let places = holders.places();
    let of_it = places.into_iter().find(|((_, id), _)| id == file);
    of_it.map(|it| it.1).unwrap_or_default()
}

fn until_on(holders: &Holders, file: &str, copies: usize) {
    until_for(SOON, &format!("{file} is on {copies}"), || {
        (places(holders, file).len() == copies).then_some(())
    });
}

/// Waits until nobody has a file, nor lists it.
fn until_gone(holders: &Holders, file: &str) {
    until_for(SOON, &format!("{file} is gone"), || {
        let is_listed = holders.running().any(|node| {
            let files = network(node.address);
            files.iter().any(|it| it["file_id"] == file)
        });
        (!is_listed && places(holders, file).is_empty()).then_some(())
    });
}

/// Who remembers that a file was removed.
fn remembering(holders: &Holders, file: &str) -> usize {
    let remembers = |node: &&Node| {
        let told = get(node.address, "/api/p2p/copies", &[]).json();
        let entries = told["entries"].as_array().unwrap();
        entries.iter().any(|it| it["withdrawn"]["file_id"] == file)
    };
    holders.running().filter(remembers).count()
}

/// Has the owner's directory be as it was when it was backed up, with its key.
fn restore(holders: &mut Holders, dir: &Path) {
    let storage = holders.dirs[0].path().join("peer_storage");
    let key = std::fs::read(storage.join("node.key")).unwrap();
    holders.destroy(0);
    let to = storage.to_str().unwrap().to_owned();
    done(dir, "", &["restore", "B", "--storage", &to]);
    std::fs::write(storage.join("node.key"), key).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(storage.join("node.key"), private).unwrap();
}

#[test]
fn a_file_of_a_restored_backup_is_copied_again_and_removed_again_whatever_the_clock_says() {
    let mut holders = Holders::start(&["1GiB"; 4], &LONG);
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(1, 100_000);
    let file = upload(holders.at(0), "a", &bytes);
    let stays = upload(holders.at(0), "b", b"b");
    until_on(&holders, &file, 3);
    let url = holders.running().next().unwrap().url("");
    commands::json(dir.path(), &url, &["backup", "B"]);
    let clock = ShiftedClock::new(&dir, TWENTY_HOURS_BACK);
    for is_right in [true, false] {
        remove(holders.at(0), &file);
        until_gone(&holders, &file);
        // By a clock that is behind nobody says anew where he is.
        let port = holders.at(0).port().to_string();
        restore(&mut holders, dir.path());
        let start = |command: &mut Command| {
            command.env("PEER_PORT", &port);
            if !is_right {
                clock.rules(command);
            }
        };
        holders.turn_on_by(0, start);
        until_on(&holders, &file, 3);
        until_on(&holders, &stays, 3);
        assert_eq!(
            get(holders.at(0), &format!("/api/p2p/file/{file}"), &[]).body,
            bytes
        );
        until_for(SOON, "its owner knows of all", || {
            let told = get(holders.at(0), &format!("/api/p2p/file/{file}/copies"), &[]);
            (told.json()["copies"] == json!({ "wanted": 3, "there": 3 })).then_some(())
        });
        // A restart changes none of it.
        holders.kill(0);
        holders.turn_on_by(0, start);
        holders.until_met();
        until_on(&holders, &file, 3);
    }
    // What is removed by a clock that is twenty hours behind is removed.
    remove(holders.at(0), &file);
    until_gone(&holders, &file);
    until_on(&holders, &stays, 3);
}

#[test]
fn a_file_that_its_restored_owner_does_not_know_is_on_as_many_of_the_others() {
    let mut holders = Holders::start(&["1GiB"; 5], &SHORT);
    let dir = tempfile::tempdir().unwrap();
    let known = upload(holders.at(0), "known", b"known");
    let url = holders.running().next().unwrap().url("");
    commands::json(dir.path(), &url, &["backup", "B"]);
    let newer = upload(holders.at(0), "newer", &content(2, 100_000));
    until_on(&holders, &newer, 3);
    restore(&mut holders, dir.path());
    holders.turn_on(0);
    until_on(&holders, &newer, 3);
    let places = places(&holders, &newer);
    assert!(!places.contains(&0), "{places:?}");
    // Where too few are left to hold it, that is counted, and told by whom one asks.
    for it in places.iter().take(2) {
        holders.destroy(*it);
    }
    let counting = until_for(SOON, "it is counted", || {
        let mut running = (0..5).filter(|it| holders.nodes[*it].is_some());
        running.find(|it| *it != 0 && holders.status(*it)["under_replicated"] == 1)
    });
    let node = holders.nodes[counting].as_ref().unwrap();
    let told = done(dir.path(), &node.url(""), &["copies", "--under-replicated"]);
    assert!(told.contains("newer") && !told.contains("known"), "{told}");
    until_on(&holders, &known, 3);
    // It goes no more than others do while its owner is there.
    until_on(&holders, &newer, 2);
}

#[test]
fn a_file_from_the_trash_is_on_as_many_members_as_before() {
    let mut holders = Holders::start(&["1GiB"; 5], &TRASH);
    let file = upload(holders.at(0), "a", &content(2, 100_000));
    let more = upload(holders.at(0), "b", &content(3, 1000));
    let body = json!({ "copies": 4 }).to_string();
    let length = format!("Content-Length: {}", body.len());
    let lines = ["Content-Type: application/json", &length];
    let request = head("PUT", &format!("/api/p2p/file/{more}/copies"), &lines);
    assert_eq!(
        send(holders.at(0), &[&request, body.as_bytes()].concat()).status,
        200
    );
    until_on(&holders, &file, 3);
    until_on(&holders, &more, 4);
    for round in 0..4 {
        remove(holders.at(0), &file);
        remove(holders.at(0), &more);
        if round % 2 == 0 {
            until_gone(&holders, &file);
            until_gone(&holders, &more);
        }
        if round == 1 {
            holders.kill(0);
            holders.turn_on(0);
        }
        bring_back(holders.at(0), &file);
        bring_back(holders.at(0), &more);
        if round > 1 {
            holders.kill(0);
            holders.turn_on(0);
        }
        until_on(&holders, &file, 3);
        until_on(&holders, &more, 4);
        until_for(SOON, "its owner knows of all", || {
            let told = get(holders.at(0), &format!("/api/p2p/file/{more}/copies"), &[]);
            (told.json()["copies"] == json!({ "wanted": 4, "there": 4 })).then_some(())
        });
    }
    // What is gone from the trash stays gone, also where its owner is lost.
    remove(holders.at(0), &file);
    until_gone(&holders, &file);
    ask(holders.at(0), "DELETE", &format!("/api/p2p/trash/{file}"));
    holders.destroy(0);
    until_on(&holders, &more, 4);
    assert_eq!(places(&holders, &file), BTreeSet::new());
}

#[test]
fn what_its_owner_has_removed_takes_no_room_at_who_has_a_trash() {
    let mut holders = Holders::start_for(2, &["1GiB", "1MiB"], &TRASH);
    for round in 0..3 {
        let file = upload(holders.at(0), &format!("{round}"), &content(round, 700_000));
        until_on(&holders, &file, 2);
        ask(
            holders.at(0),
            "DELETE",
            &format!("/api/p2p/file/{file}?force=1"),
        );
        until_gone(&holders, &file);
        assert_eq!(holders.status(1)["used_bytes"], 0);
    }
    // What is in such a trash since an earlier build goes.
    let file = upload(holders.at(0), "again", &content(9, 700_000));
    until_on(&holders, &file, 2);
    holders.nodes[1].take().unwrap().stop();
    let dir = holders.dirs[1].path().join("peer_storage/copies");
    removed_into_trash(&dir);
    holders.turn_on(1);
    until_for(SOON, "it is held again", || {
        (held(holders.at(1)).len() == 1).then_some(())
    });
    holders.nodes[1].take().unwrap().stop();
    with_store(&dir, async |store| {
        assert_eq!(store.trash_totals().files, 0);
    });
}

/// Has the copies that a member holds be in a trash of theirs.
fn removed_into_trash(dir: &Path) {
    with_store(dir, async |store| {
        for record in store.page(None, 100).await.unwrap() {
            if record.file.name.starts_with("copy ") {
                store.remove(record.id).await.unwrap();
            }
        }
        assert_eq!(store.trash_totals().files, 1);
    });
}

/// Opens a store with a trash, whose node does not run.
fn with_store(dir: &Path, then: impl AsyncFnOnce(&Store)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = Options {
            trash: Some(Duration::from_hours(1)),
            ..Options::new(dir)
        };
        let opened = LocalStore::open(options).await.unwrap();
        then(&opened.store).await;
        opened.store.close().await.unwrap();
    });
}

#[test]
fn whoever_was_away_gives_up_what_was_removed_and_holds_what_is_back() {
    let mut holders = Holders::start(&["1GiB"; 5], &TRASH);
    let bytes = content(4, 50_000);
    let file = upload(holders.at(0), "a", &bytes);
    until_on(&holders, &file, 3);
    let holder = *places(&holders, &file).iter().find(|it| **it != 0).unwrap();
    // Away while it is removed and comes back.
    holders.kill(holder);
    remove(holders.at(0), &file);
    until_gone(&holders, &file);
    bring_back(holders.at(0), &file);
    until_on(&holders, &file, 3);
    holders.turn_on(holder);
    holders.until_met();
    until_on(&holders, &file, 3);
    // Away while it is removed for good, and its owner is lost by its return.
    let held_by = places(&holders, &file);
    let holder = *held_by.iter().find(|it| **it != 0).unwrap();
    let since = |number: usize| {
        let told = get(holders.at(number), "/api/p2p/copies", &[]).json();
        let mut entries = told["entries"].as_array().unwrap().iter();
        let copy = entries.find(|it| it["copy"]["file_id"] == *file);
        copy.map_or(0, |it| it["copy"]["since"].as_u64().unwrap_or(0))
    };
    assert!(
        held_by.iter().any(|it| *it != 0 && since(*it) > 0),
        "its owner has signed that it is back"
    );
    holders.kill(holder);
    remove(holders.at(0), &file);
    until_gone(&holders, &file);
    holders.destroy(0);
    holders.turn_on(holder);
    until_for(SOON, "who returns tells what it holds", || {
        let told = get(holders.at(holder), "/api/p2p/copies", &[]).json();
        (told["run"] != "").then_some(())
    });
    until_gone(&holders, &file);
}

#[test]
fn what_was_ordered_before_a_removal_is_followed_by_nobody_to_whom_a_member_repeats_it() {
    let mut holders = Holders::start(&["1GiB"; 6], &SHORT);
    let dir = tempfile::tempdir().unwrap();
    let deaf = Deaf::new(&dir);
    let files: Vec<_> = (0..16)
        .map(|it| upload(holders.at(0), &format!("{it}"), &content(50 + it, 20_000)))
        .collect();
    holders.until_on(SOON, files.len(), 3);
    // Of 32 copies on five members, seven are on one of them at least.
    let held_by = |it: &usize| held(holders.at(*it)).len();
    let liar = (1..6).max_by_key(held_by).unwrap();
    let lies: Vec<_> = files
        .iter()
        .filter(|it| places(&holders, it).contains(&liar))
        .collect();
    assert!(lies.len() > 6, "{lies:?}");
    holders.kill(liar);
    for file in &files {
        remove(holders.at(0), file);
    }
    for file in &files {
        until_gone(&holders, file);
        until_for(SOON, "others remember it", || {
            (remembering(&holders, file) >= 3).then_some(())
        });
    }
    holders.destroy(0);
    // It tells what it holds as long as nobody tells it better, and asks nobody.
    holders.turn_on_by(liar, |command| deaf.rules(command));
    let victims = (1..6).filter(|it| *it != liar);
    for victim in victims.clone() {
        holders.kill(victim);
        let peers: Vec<_> = holders.running().map(|it| it.url("")).collect();
        holders.turn_on_with(victim, &peers);
    }
    until_for(SOON, "its owner is gone", || {
        let mut victims = victims.clone();
        victims
            .all(|it| holders.status(it)["gone"] == 1)
            .then_some(())
    });
    let asked_of = |route: &str| asked(holders.at(liar), &format!("route=\"{route}\""));
    let before = asked_of("/api/p2p/copies");
    until_for(SOON, "it has told of them over and over", || {
        let rows = asked_of("/api/p2p/copies/rows") >= 8;
        (rows && asked_of("/api/p2p/copies") > before + 40).then_some(())
    });
    for file in lies {
        assert_eq!(places(&holders, file), BTreeSet::from([liar]), "{file}");
    }
    // Who hears of it gives it up.
    holders.kill(liar);
    holders.turn_on(liar);
    for file in &files {
        until_gone(&holders, file);
    }
}

/// How often a node was asked by requests with this label.
fn asked(node: SocketAddr, label: &str) -> u64 {
    let page = get(node, "/metrics", &[]);
    let page = String::from_utf8(page.body).unwrap();
    let lines = page
        .lines()
        .filter(|it| it.starts_with("larder_http_requests_total{"));
    let lines = lines.filter(|it| it.contains(label));
    let counts = lines.filter_map(|it| it.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[test]
fn a_removal_under_kills_ends_with_the_file_removed_everywhere_or_there_with_its_copies() {
    let mut holders = Holders::start(&["1GiB"; 4], &TRASH);
    let files: Vec<_> = (0..6)
        .map(|it| upload(holders.at(0), &format!("{it}"), &content(10 + it, 20_000)))
        .collect();
    for file in &files {
        until_on(&holders, file, 3);
    }
    for (round, file) in (0..).zip(&files) {
        let node = holders.at(0);
        let path = format!("/api/p2p/file/{file}");
        let removing = std::thread::spawn(move || {
            std::panic::catch_unwind(|| send(node, &head("DELETE", &path, &[]))).is_ok()
        });
        std::thread::sleep(Duration::from_micros(400 * round));
        holders.kill(0);
        let _ = removing.join();
        holders.turn_on(0);
    }
    holders.until_met();
    let there: Vec<_> = own(holders.at(0)).into_iter().map(|it| it.0.1).collect();
    for file in &files {
        if there.contains(file) {
            until_on(&holders, file, 3);
            remove(holders.at(0), file);
        }
        until_gone(&holders, file);
        bring_back(holders.at(0), file);
    }
    for file in &files {
        until_on(&holders, file, 3);
    }
    let status: Value = holders.status(0);
    assert_eq!(status["files"], files.len());
}
