//! Members that come after an owner is gone for good, and know nothing of it but what those tell
//! who hold copies of its files.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::commands::done;
use crate::common::content::content;
use crate::common::copies::{Holders, held, metric, until_for};
use crate::common::deaf::Deaf;
use crate::common::forms::uploaded;
use crate::common::member_network::printed;
use crate::common::peers::peer_id;
use crate::common::raw_http::{get, head, send};

const SOON: Duration = Duration::from_mins(2);
const LONG: [&str; 4] = ["--gone-after", "1h", "--surplus-after", "1d"];
const SHORT: [&str; 4] = ["--gone-after", "8s", "--surplus-after", "4s"];

fn ids(holders: &Holders, number: usize) -> BTreeSet<String> {
    let held = held(holders.at(number)).into_iter();
    held.map(|((_, file), _)| file).collect()
}

fn upload(holders: &Holders, number: usize, name: &str, bytes: &[u8]) -> String {
    let file = uploaded(holders.at(number), name, bytes);
    file["file_id"].as_str().unwrap().to_owned()
}

/// Which files are told to be on too few members, of an owner that is gone: all of these.
fn are_listed(holders: &Holders, files: &BTreeSet<String>) {
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/p2p/copies/under_replicated{after}");
        let page = get(holders.at(0), &path, &[]).json();
        listed.extend(page["files"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("?after={next}");
    }
    let of_it = |it: &Value| it["file_id"].as_str().unwrap().to_owned();
    assert_eq!(listed.iter().map(of_it).collect::<BTreeSet<_>>(), *files);
    let is_so =
        |it: &Value| it["own"] == false && it["copies"] == json!({ "wanted": 2, "there": 1 });
    assert!(listed.iter().all(is_so), "{listed:?}");
    let dir = tempfile::tempdir().unwrap();
    let url = holders.running().next().unwrap().url("");
    let told = done(dir.path(), &url, &["copies", "--under-replicated"]);
    assert_eq!(told.lines().count(), files.len());
    assert_eq!(
        told.matches("  on 1 of 2  of ").count(),
        files.len(),
        "{told}"
    );
}

#[test]
fn who_joins_after_an_owner_is_gone_takes_its_part_of_that_owners_files() {
    let mut holders = Holders::start_for(2, &["1GiB"; 2], &SHORT);
    let names = ["a", "b"];
    let files = names.map(|it| upload(&holders, 1, it, it.as_bytes()));
    let files = BTreeSet::from(files);
    until_for(SOON, "the other holds them", || {
        (ids(&holders, 0) == files).then_some(())
    });
    holders.kill(1);
    let under = |holders: &Holders, number: usize| {
        holders.status(number)["under_replicated"].as_u64().unwrap()
    };
    until_for(SOON, "they are on too few", || {
        (under(&holders, 0) == 2).then_some(())
    });
    are_listed(&holders, &files);
    let late = holders.join("1GiB");
    until_for(SOON, "who has come since holds them, too", || {
        (ids(&holders, late) == files).then_some(())
    });
    until_for(SOON, "that is enough", || {
        (under(&holders, 0) == 0).then_some(())
    });
    are_listed(&holders, &BTreeSet::new());
    // It answers for them as whoever has met the owner does, also where it is started again.
    holders.kill(0);
    until_for(SOON, "they are on too few again", || {
        (under(&holders, late) == 2).then_some(())
    });
    holders.kill(late);
    holders.turn_on(late);
    let last = holders.join("1GiB");
    until_for(SOON, "the next one holds them", || {
        (ids(&holders, last) == files).then_some(())
    });
    // Nothing is left too much once all are back.
    holders.turn_on(0);
    holders.turn_on(1);
    holders.until_met();
    holders.until_on(SOON, 2, 2);
}

/// Has the owner remove files, of which these others hear.
fn remove(holders: &Holders, files: &BTreeSet<String>, others: [usize; 2]) {
    for file in files {
        let request = head("DELETE", &format!("/api/p2p/file/{file}"), &[]);
        assert_eq!(send(holders.at(0), &request).status, 200);
    }
    until_for(SOON, "those who are there have heard of it", || {
        let mut others = others.into_iter();
        let told = others.all(|it| ids(holders, it).is_disjoint(files));
        told.then_some(())
    });
}

/// How often a member was asked what it holds of an owner.
fn asked_for_rows(holders: &Holders, number: usize) -> u64 {
    let page = get(holders.at(number), "/metrics", &[]);
    let page = String::from_utf8(page.body).unwrap();
    let lines = page.lines().filter(|it| {
        it.starts_with("larder_http_requests_total{") && it.contains("\"/api/p2p/copies/rows\"")
    });
    let counts = lines.filter_map(|it| it.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[test]
fn nobody_who_joins_takes_what_a_lost_owner_had_removed_from_one_who_does_not_know_it() {
    let mut holders = Holders::start(&["1GiB"; 4], &SHORT);
    let dir = tempfile::tempdir().unwrap();
    let deaf = Deaf::new(&dir);
    let upload = |holders: &Holders, number: u32, name: &str| {
        upload(holders, 0, name, &content(number, 20_000))
    };
    let mut removed = BTreeSet::new();
    for number in 0..8 {
        removed.insert(upload(&holders, number, "removed"));
    }
    let stays: BTreeSet<_> = (8..20).map(|it| upload(&holders, it, "stays")).collect();
    holders.until_on(SOON, 20, 3);
    let (away, owner) = (1, peer_id(holders.at(0)));
    let kept = ids(&holders, away);
    assert!(removed.intersection(&kept).count() > 1, "{kept:?}");
    holders.kill(away);
    remove(&holders, &removed, [2, 3]);
    holders.destroy(0);
    // It tells what it holds as if nothing had happened, and hears nothing.
    holders.turn_on_by(away, |command| deaf.rules(command));
    until_for(SOON, "it tells of it", || {
        (!ids(&holders, away).is_disjoint(&removed)).then_some(())
    });
    let others: Vec<_> = holders.running().map(|it| it.url("")).collect();
    let late = [holders.join("1GiB"), holders.join("1GiB")];
    for number in late {
        holders.kill(number);
        holders.turn_on_with(number, &others);
    }
    let on = |holders: &Holders, file: &String| {
        let places = holders.places();
        let on = places.get(&(owner.clone(), file.clone()));
        on.cloned().unwrap_or_default()
    };
    // Whoever is to hold them and is deaf does not, so that they may be on one fewer.
    until_for(SOON, "what stays is on enough", || {
        let on = stays.iter().map(|it| on(&holders, it));
        let others = on.map(|it| it.into_iter().filter(|it| *it != away).count());
        others.min().filter(|it| *it >= 2)
    });
    until_for(SOON, "those who came take part in it", || {
        let mut late = late.iter();
        late.all(|it| !ids(&holders, *it).is_empty()).then_some(())
    });
    until_for(
        SOON,
        "all have asked who does not know of the removals",
        || (asked_for_rows(&holders, away) >= 8).then_some(()),
    );
    for file in &removed {
        assert!(on(&holders, file).is_subset(&BTreeSet::from([away])));
    }
    holders.kill(away);
    holders.turn_on(away);
    until_for(SOON, "whoever hears of them gives it up", || {
        let told = get(holders.at(away), "/api/p2p/copies", &[]).json();
        let is_told = told["run"] != "" && ids(&holders, away).is_disjoint(&removed);
        is_told.then_some(())
    });
    for file in &removed {
        assert_eq!(on(&holders, file), BTreeSet::new());
    }
}

#[test]
fn who_was_revoked_is_no_member_that_is_gone_and_its_files_stay() {
    let mut holders = Holders::start_for(2, &["1GiB"; 2], &LONG);
    let file = upload(&holders, 1, "a", b"a");
    until_for(SOON, "the other holds it", || {
        ids(&holders, 0).contains(&file).then_some(())
    });
    let revocation = holders.network.revoke(&holders.dirs[1]);
    printed(holders.dirs[0].path(), &["take", "member", &revocation]);
    let is_told = |holders: &Holders| {
        let copies = holders.status(0);
        let told = ["members", "gone", "files", "under_replicated"].map(|it| copies[it].clone());
        let is_so = told == [0, 0, 1, 1].map(Value::from);
        let is_so = is_so && metric(holders.at(0), "larder_copy_members_gone") == 0;
        is_so.then_some(())
    };
    // At once, and not after an hour of silence.
    until_for(SOON, "it is none, and its file is on too few", || {
        is_told(&holders)
    });
    holders.kill(0);
    holders.turn_on(0);
    until_for(SOON, "a restart knows it", || is_told(&holders));
    holders.kill(1);
    let late = holders.join("1GiB");
    until_for(SOON, "whoever joins holds it", || {
        ids(&holders, late).contains(&file).then_some(())
    });
}
