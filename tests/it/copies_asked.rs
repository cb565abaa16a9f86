//! On how many members of a network a file is to be: said by whoever uploads it, or later.

use std::net::SocketAddr;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::common::commands::{self, done, failed};
use crate::common::content::content;
use crate::common::copies::{Holders, held, own, until_for};
use crate::common::forms::{self, uploaded};
use crate::common::member_network::{Network, dirs, member};
use crate::common::peers::peer_id;
use crate::common::process::{Node, larder};
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::tus;

const SOON: Duration = Duration::from_mins(2);
const LONG: [&str; 4] = ["--gone-after", "1h", "--surplus-after", "1d"];
const SHORT: [&str; 4] = ["--gone-after", "8s", "--surplus-after", "4s"];

fn put(node: SocketAddr, name: &str, query: &str) -> Answer {
    let target = format!("/api/p2p/upload/{name}{query}");
    send(node, &head("PUT", &target, &["Content-Length: 0"]))
}

/// What an upload by tus is created with that says so.
fn metadata(name: &str, copies: &str) -> String {
    let encoded = [name, copies].map(|it| BASE64_STANDARD.encode(it));
    format!(
        "Upload-Metadata: filename {},copies {}",
        encoded[0], encoded[1]
    )
}

fn by_tus(node: SocketAddr, name: &str, copies: &str) -> String {
    let answer = tus::create(node, 5, &[&metadata(name, copies)]);
    assert_eq!(answer.status, 201, "{answer:?}");
    let upload = tus::path_of(&answer);
    let answer = tus::patched(node, &upload, 0, &name.as_bytes()[..5]);
    answer.header("larder-file-id").to_owned()
}

fn by_form(node: SocketAddr, name: &str, parts: &[Vec<u8>]) -> Answer {
    let file = forms::file(name, name.as_bytes());
    forms::upload(node, &forms::form(&[&[file], parts].concat()))
}

fn path(file: &str) -> String {
    format!("/api/p2p/file/{file}/copies")
}

fn change(node: SocketAddr, file: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let length = format!("Content-Length: {}", body.len());
    let lines = ["Content-Type: application/json", &length];
    let request = head("PUT", &path(file), &lines);
    send(node, &[&request, body.as_bytes()].concat())
}

fn told(node: SocketAddr, file: &str) -> Value {
    let answer = get(node, &path(file), &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Waits until a file is on so many, as its owner and all that run tell.
fn until_on(holders: &Holders, file: &str, copies: usize) {
    until_for(SOON, &format!("it is on {copies}"), || {
        let places = holders.places();
        let on = places.iter().find(|((_, id), _)| id == file)?.1;
        (on.len() == copies).then_some(())
    });
}

fn until_told(node: SocketAddr, file: &str, copies: usize) {
    until_for(SOON, "its owner knows of all", || {
        let told = told(node, file);
        assert_eq!(told["copies"]["wanted"], copies);
        assert_eq!(told["holders"][0], peer_id(node));
        let there = told["holders"].as_array().unwrap().len();
        assert_eq!(told["copies"]["there"], there);
        (there == copies).then_some(())
    });
}

#[test]
fn whichever_way_a_file_comes_its_uploader_says_on_how_many_members_it_is_to_be() {
    let holders = Holders::start(&["1GiB"; 5], &LONG);
    let node = holders.at(0);
    let id = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["file"]["file_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("by put"), "by put").unwrap();
    let url = holders.running().next().unwrap().url("");
    let sent = commands::json(dir.path(), &url, &["put", "by put", "--copies", "5"]);
    let files = [
        (id(&put(node, "put", "?copies=5")), 5),
        (by_tus(node, "by tus", "2"), 2),
        (by_tus(node, "alone by tus", "1"), 1),
        (
            id(&by_form(node, "field", &[forms::field("copies", "4")])),
            4,
        ),
        (
            id(&by_form(node, "empty", &[forms::field("copies", "")])),
            3,
        ),
        (sent[0]["file_id"].as_str().unwrap().to_owned(), 5),
    ];
    for (file, copies) in &files {
        until_on(&holders, file, *copies);
        until_told(node, file, *copies);
    }
    // The lists tell the same.
    for list in ["/api/p2p/files", "/api/p2p/network"] {
        let list = get(node, list, &[]).json();
        for (file, copies) in &files {
            let mut listed = list["files"].as_array().unwrap().iter();
            let listed = listed.find(|it| it["file_id"] == **file).unwrap();
            let expected = json!({ "wanted": copies, "there": copies });
            assert_eq!(listed["copies"], expected, "{listed}");
        }
    }
    assert_eq!(own(node).len(), files.len());
    // Whoever holds a copy has no file of its own that could be removed there.
    let at_holder = get(holders.at(1), "/api/p2p/network", &[]).json();
    let listed = at_holder["files"].as_array().unwrap();
    assert_eq!(listed.len(), files.len());
    let held: Vec<_> = held(holders.at(1)).into_iter().map(|it| it.0.1).collect();
    for file in listed {
        let is_held = held.iter().any(|it| file["file_id"] == **it);
        assert_eq!(
            (&file["own"], &file["copy"]),
            (&false.into(), &is_held.into())
        );
        assert!(file["copies"].is_null(), "{file}");
    }
}

#[test]
fn what_is_no_number_of_copies_is_refused_at_each_door_and_leaves_nothing() {
    let mut holders = Holders::start(&["1GiB"; 2], &LONG);
    let node = holders.at(0);
    let bad = (400, "bad_copies".to_owned());
    for copies in ["0", "17", "-1", "2.5", "x", "300"] {
        assert_eq!(put(node, "a", &format!("?copies={copies}")).refusal(), bad);
        let answer = tus::create(node, 5, &[&metadata("a", copies)]);
        assert_eq!(answer.refusal(), bad, "{copies}");
        let field = forms::field("copies", copies);
        assert_eq!(by_form(node, "a", &[field]).refusal(), bad, "{copies}");
    }
    assert_eq!(own(node), []);
    let file = uploaded(node, "a", b"a");
    let file = file["file_id"].as_str().unwrap();
    for body in [
        json!({ "copies": 0 }),
        json!({ "copies": 17 }),
        json!({ "copies": "3" }),
        json!({ "copies": 3, "other": 1 }),
        json!({}),
        json!([3]),
    ] {
        assert_eq!(change(node, file, &body).refusal(), bad, "{body}");
    }
    let unknown = (404, "unknown_file".to_owned());
    let other = "00000000-0000-0000-0000-000000000001";
    let three = json!({ "copies": 3 });
    assert_eq!(change(node, other, &three).refusal(), unknown);
    assert_eq!(get(node, &path(other), &[]).refusal(), unknown);
    // It is for whoever has it to say.
    assert_eq!(change(holders.at(1), file, &three).refusal(), unknown);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "f").unwrap();
    let url = holders.running().next().unwrap().url("");
    let (status, _) = failed(dir.path(), &url, &["put", "f", "--copies", "17"]);
    assert_eq!(status, 2);
    holders.nodes[0].take().unwrap().stop();
    let alone = Node::start(&dir, &[]);
    let unheld = (409, "no_copies".to_owned());
    assert_eq!(put(alone.address, "a", "?copies=3").refusal(), unheld);
    let created = tus::create(alone.address, 5, &[&metadata("a", "3")]);
    assert_eq!(created.refusal(), unheld);
    // Which no waiting changes.
    let (status, said) = failed(dir.path(), &alone.url(""), &["put", "f", "--copies", "2"]);
    assert!(status == 1 && !said.contains("tries again"), "{said}");
    // One is what there is there.
    assert_eq!(put(alone.address, "a", "?copies=1").status, 200);
    let file = uploaded(alone.address, "b", b"b");
    let file = file["file_id"].as_str().unwrap();
    assert_eq!(get(alone.address, &path(file), &[]).refusal(), unheld);
    assert_eq!(change(alone.address, file, &three).refusal(), unheld);
    assert_eq!(file_count(&alone), 2);
}

fn file_count(node: &Node) -> u64 {
    let listing = get(node.address, "/api/p2p/files", &[]).json();
    listing["file_count"].as_u64().unwrap()
}

#[test]
fn the_number_is_changed_up_and_down_and_counts_also_where_its_owner_is_lost() {
    let mut holders = Holders::start(&["1GiB"; 5], &SHORT);
    let bytes = content(1, 200_000);
    let file = uploaded(holders.at(0), "a", &bytes);
    let file = file["file_id"].as_str().unwrap();
    until_on(&holders, file, 3);
    for copies in [5, 1, 2, 4] {
        let answer = change(holders.at(0), file, &json!({ "copies": copies }));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["copies"]["wanted"], copies);
        // A restart forgets none of it.
        holders.kill(0);
        holders.turn_on(0);
        until_on(&holders, file, copies);
        until_told(holders.at(0), file, copies);
    }
    let signed = |holders: &Holders| {
        let entries = (1..5).flat_map(|it| {
            let told = get(holders.at(it), "/api/p2p/copies", &[]).json();
            told["entries"].as_array().unwrap().clone()
        });
        let copies = entries.map(|it| it["copy"]["copies"].as_u64().unwrap());
        copies.collect::<Vec<_>>()
    };
    until_for(SOON, "whoever holds it knows the number", || {
        (signed(&holders) == [4, 4, 4]).then_some(())
    });
    let answer = change(holders.at(0), file, &json!({ "copies": 3 }));
    assert_eq!(answer.status, 200);
    until_on(&holders, file, 3);
    until_for(SOON, "they know it again", || {
        (signed(&holders) == [3, 3]).then_some(())
    });
    holders.destroy(0);
    until_on(&holders, file, 3);
}

#[test]
fn a_kill_between_the_file_and_its_number_loses_neither() {
    let mut holders = Holders::start(&["1GiB"; 2], &LONG);
    let mut files = Vec::new();
    for round in 0..12_u64 {
        let (node, name) = (holders.at(0), format!("round {round}"));
        let bytes = content(u32::try_from(round).unwrap(), 100_000);
        let answer = tus::create(node, bytes.len(), &[&metadata(&name, "1")]);
        let upload = tus::path_of(&answer);
        let request = tus::patch_request(&upload, 0, &bytes, &[]);
        let sending =
            std::thread::spawn(move || std::panic::catch_unwind(|| send(node, &request)).is_ok());
        std::thread::sleep(Duration::from_micros(500 * round));
        holders.kill(0);
        let _ = sending.join();
        holders.turn_on(0);
        holders.until_met();
        let node = holders.at(0);
        let here = tus::offset(node, &upload);
        if here < bytes.len() {
            tus::patched(node, &upload, here, &bytes[here..]);
        }
        let answer = tus::look(node, &upload);
        files.push(answer.header("larder-file-id").to_owned());
    }
    assert_eq!(own(holders.at(0)).len(), files.len(), "each is there once");
    for file in &files {
        assert_eq!(told(holders.at(0), file)["copies"]["wanted"], 1);
    }
}

#[test]
fn a_network_and_an_invitation_say_on_how_many_members_files_are_to_be() {
    let network = Network::with(&["--copies", "2"]);
    let [usual, other, own] = dirs();
    network.join(&usual, "1d");
    network.join_by(&other, &["--copies", "4"]);
    network.join(&own, "1d");
    let members = network.members();
    let rights: Vec<_> = members.lines().map(|it| it.split("  ").nth(3)).collect();
    let of = |copies| format!("exchange,copies={copies}");
    let expected = [of(2), of(4), of(2)];
    assert_eq!(rights, expected.each_ref().map(|it| Some(it.as_str())));
    let holder = member(&usual, &[], &["--offer", "1GiB"]);
    let peer = holder.url("");
    let more = member(&other, &[&peer], &[]);
    let less = member(&own, &[&peer], &["--copies", "1", "--offer", "0"]);
    let copies = |node: &Node| {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        status["copies"]["copies"].as_u64()
    };
    assert_eq!([&holder, &more, &less].map(copies), [2, 4, 1].map(Some));
    // What it says is done, with no setting of the node's own.
    let file = uploaded(more.address, "a", b"a");
    let file = file["file_id"].as_str().unwrap();
    until_for(SOON, "who offers room holds it", || {
        (told(more.address, file)["copies"]["there"] == 2).then_some(())
    });
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = larder(dir.path());
    let wrong = wrong.args(["network", "create", "key", "--copies", "0"]);
    let refused = wrong.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(!dir.path().join("key").exists());
}

#[test]
fn the_command_tells_and_changes_it_and_what_is_removed_leaves_no_wish() {
    let mut holders = Holders::start(&["1GiB"; 3], &SHORT);
    let dir = tempfile::tempdir().unwrap();
    let url = holders.running().next().unwrap().url("");
    for name in ["a", "b"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let sent = commands::json(dir.path(), &url, &["put", "a", "b"]);
    let id = |name: &str| {
        let sent = sent.iter().find(|it| it["original_name"] == name);
        sent.unwrap()["file_id"].as_str().unwrap().to_owned()
    };
    let (a, b) = (id("a"), id("b"));
    until_told(holders.at(0), &a, 3);
    let line = done(dir.path(), &url, &["copies", "a"]);
    assert_eq!(line, format!("{a}  on 3 of 3  a\n"));
    let changed = commands::json(dir.path(), &url, &["copies", "a", &b, "--set", "2"]);
    let wanted: Vec<_> = changed.iter().map(|it| &it["copies"]["wanted"]).collect();
    assert_eq!(wanted, [2, 2]);
    until_told(holders.at(0), &a, 2);
    let (status, told) = failed(dir.path(), &url, &["copies", "none"]);
    assert_eq!(status, 3, "{told}");
    let other = holders.running().nth(1).unwrap().url("");
    let (status, told) = failed(dir.path(), &other, &["copies", &a]);
    assert_eq!(status, 3);
    assert!(told.contains("a node that does tells"), "{told}");
    done(dir.path(), &url, &["copies", "a", "--set", "3"]);
    done(dir.path(), &url, &["rm", "a", "b"]);
    holders.nodes[0].take().unwrap().stop();
    let mut verify = larder(holders.dirs[0].path());
    let verified = verify.args(["verify", "--json"]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    // What is said of both removals is no copy.
    let lines = String::from_utf8(verified.stdout).unwrap();
    let of_copies: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(of_copies["copies"]["files"], 0, "{lines}");
}

#[test]
fn an_owner_says_at_once_that_a_new_file_is_nowhere_else_and_a_removed_one_nowhere() {
    let holders = Holders::start(&["1GiB"; 3], &LONG);
    let node = holders.at(0);
    for round in 0..5 {
        let file = uploaded(node, "file", &content(round, 30_000));
        let file = file["file_id"].as_str().unwrap();
        let copies = get(node, "/api/p2p/status", &[]).json()["copies"].clone();
        assert_eq!(copies["under_replicated"], 1, "{copies}");
        until_told(node, file, 3);
        let target = format!("/api/p2p/file/{file}");
        assert_eq!(send(node, &head("DELETE", &target, &[])).status, 200);
        let answer = get(node, &target, &[]);
        assert_eq!(answer.refusal(), (404, "unknown_file".to_owned()));
        until_for(SOON, "nothing is left to be counted", || {
            let status = get(node, "/api/p2p/status", &[]).json();
            (status["copies"]["files"] == 0).then_some(())
        });
    }
}

#[test]
fn what_each_member_offers_and_has_used_is_told_alike_wherever_it_is_told() {
    let holders = Holders::start(&["64MiB", "32MiB", "0"], &LONG);
    let file = uploaded(holders.at(2), "a", &content(7, 30_000));
    until_told(holders.at(2), file["file_id"].as_str().unwrap(), 3);
    let url = holders.running().next().unwrap().url("");
    let ids: Vec<_> = (0..3).map(|it| peer_id(holders.at(it))).collect();
    let members = || {
        let told = holders.network.members_by(&["--node", &url, "--json"]);
        let lines = told.lines().map(|it| serde_json::from_str(it).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let figures =
        |told: &Value| ["offer_bytes", "used_bytes", "gone"].map(|key| told["copies"][key].clone());
    let expected = [64 << 20, 32 << 20, 0].map(|offer| {
        let used = if offer > 0 { 30_000 } else { 0 };
        [json!(offer), json!(used), json!(false)]
    });
    until_for(SOON, "all of it is told", || {
        let told: Vec<_> = members().iter().map(figures).collect();
        (told == expected).then_some(())
    });
    for (member, id) in members().iter().zip(&ids) {
        assert_eq!(
            (&member["peer_id"], &member["state"]),
            (&json!(id), &json!("member"))
        );
    }
    // What is left is told of the one that is asked, too.
    let mut told = members().into_iter();
    assert!(told.all(|it| it["copies"]["left_bytes"].is_u64()));
    // The same of the node that is asked, of its peers, and in words.
    let peers = get(holders.at(0), "/api/peers", &[]).json();
    let mut all = peers["peers"].as_array().unwrap().clone();
    all.push(peers["self"].clone());
    for (id, expected) in ids.iter().zip(&expected) {
        let of_it = all.iter().find(|it| it["peer_id"] == **id).unwrap();
        assert_eq!(figures(of_it), *expected);
    }
    for (number, [offer, used, _]) in expected.iter().enumerate() {
        let status = holders.status(number);
        assert_eq!(
            (&status["offer_bytes"], &status["used_bytes"]),
            (offer, used)
        );
    }
    are_told_in_words(&holders, &url);
}

/// The same in words, and of nobody who is not named.
fn are_told_in_words(holders: &Holders, url: &str) {
    let dir = tempfile::tempdir().unwrap();
    let words = "  offers 32.00 MiB, 29.30 KiB used, ";
    let listed = done(dir.path(), url, &["peers"]);
    assert!(
        listed.contains(words) && listed.contains("  offers no room"),
        "{listed}"
    );
    let told = holders.network.members_by(&["--node", url]);
    assert!(
        told.contains(words) && told.contains("member  offers no room"),
        "{told}"
    );
    let other = holders.running().nth(1).unwrap().url("");
    let told = done(dir.path(), &other, &["status"]);
    assert!(
        told.contains("1 file for others; offers 32.00 MiB, 29.30 KiB used"),
        "{told}"
    );
    assert!(!holders.network.members().contains("offers"));
    let mut unanswered = larder(dir.path());
    let key = holders.network.key();
    let line = ["network", "members", &key, "--node", "localhost:1"];
    let unanswered = unanswered.args(line).output().unwrap();
    assert_eq!(unanswered.status.code(), Some(5), "{unanswered:?}");
    assert_eq!(
        String::from_utf8(unanswered.stdout)
            .unwrap()
            .lines()
            .count(),
        3
    );
}

#[test]
fn whoever_would_remove_what_a_lost_member_had_is_told_that_only_copies_are_left() {
    let mut holders = Holders::start(&["1GiB"; 3], &SHORT);
    let file = uploaded(holders.at(0), "a", &content(8, 30_000));
    let file = file["file_id"].as_str().unwrap();
    until_told(holders.at(0), file, 3);
    let listed = |node: SocketAddr| {
        let target = format!("/api/p2p/network?id={file}");
        get(node, &target, &[]).json()["files"][0].clone()
    };
    assert_eq!(
        listed(holders.at(1))["owners"],
        json!([peer_id(holders.at(0))])
    );
    assert_eq!(
        listed(holders.at(0))["owners"],
        json!([peer_id(holders.at(0))])
    );
    holders.destroy(0);
    let dir = tempfile::tempdir().unwrap();
    for number in [1, 2] {
        let node = holders.nodes[number].as_ref().unwrap();
        until_for(SOON, "its owner does not answer", || {
            let file = listed(node.address);
            let there = file["reachable_peers"].as_array()?;
            (there.len() == 2 && !there.contains(file["owners"].get(0)?)).then_some(())
        });
        let lines: [&[&str]; 2] = [&["rm", file], &["copies", file, "--set", "2"]];
        for line in lines {
            let (status, told) = failed(dir.path(), &node.url(""), line);
            assert_eq!(status, 3, "{told}");
            assert!(told.contains("only copies are left"), "{told}");
            assert!(!told.contains("--node"), "{told}");
        }
    }
    // As it says, it can be made a file of the node's own, which is removed as any.
    let url = holders.nodes[1].as_ref().unwrap().url("");
    done(dir.path(), &url, &["keep", file]);
    until_for(SOON, "it is kept", || {
        own(holders.at(1))
            .iter()
            .any(|it| it.1 == 30_000)
            .then_some(())
    });
    done(dir.path(), &url, &["rm", "a"]);
    assert_eq!(own(holders.at(1)), []);
}
