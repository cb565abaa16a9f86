//! Lists from either end, a page at a time.

use std::collections::BTreeSet;

use larder::hash::BlobHash;
use serde_json::Value;

use crate::common::forms::uploaded;
use crate::common::peers::{neighbours, until_sees};
use crate::common::process::{Node, start};
use crate::common::raw_http::get;

const LISTS: [&str; 2] = ["/api/p2p/files", "/api/p2p/network"];

/// The ids of the files on all pages, one after the other; each page as long as it may be.
fn ids(node: &Node, list: &str, query: &str, limit: usize) -> Vec<String> {
    let cursor = if query.contains("newest") {
        "before"
    } else {
        "after"
    };
    let (mut ids, mut next) = (Vec::new(), String::new());
    loop {
        let target = format!("{list}?limit={limit}&{query}{next}");
        let page = get(node.address, &target, &[]).json();
        let files = page["files"].as_array().unwrap();
        let is_last = page["next"].is_null();
        assert!(files.len() == limit || is_last, "{target}: {page}");
        ids.extend(
            files
                .iter()
                .map(|it| it["file_id"].as_str().unwrap().to_owned()),
        );
        if is_last {
            return ids;
        }
        next = format!("&{cursor}={}", page["next"].as_str().unwrap());
    }
}

/// An id as a cursor leaves itself out, whichever list it is of and wherever that begins.
#[test]
fn an_id_is_a_cursor_of_either_list_and_is_itself_left_out() {
    let (_dir, node) = start();
    let all = [1, 2, 3, 4].map(|n| id(&uploaded(node.address, &n.to_string(), &[n])));
    for list in LISTS {
        let listed = |query: String| {
            let page = get(node.address, &format!("{list}?{query}"), &[]).json();
            let files = page["files"].as_array().unwrap();
            files.iter().map(id).collect::<Vec<_>>()
        };
        let between = format!("after={}&before={}", all[0], all[3]);
        assert_eq!(listed(between.clone()), all[1..3], "{list}");
        // Where the newest come first the same ids are the same bounds.
        let backwards = [all[2].clone(), all[1].clone()];
        assert_eq!(
            listed(format!("order=newest&{between}")),
            backwards,
            "{list}"
        );
        let wrong = get(node.address, &format!("{list}?after=x"), &[]).refusal();
        assert_eq!(wrong, (400, "bad_query".to_owned()), "{list}");
    }
}

fn id(file: &Value) -> String {
    file["file_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_list_newest_first_is_the_list_oldest_first_read_backwards() {
    let (_dir, node) = start();
    // More than are read at once.
    let all: Vec<_> = (0..600_u16)
        .map(|n| {
            id(&uploaded(
                node.address,
                &format!("{}-{n}.txt", n % 3),
                &u16::to_le_bytes(n),
            ))
        })
        .collect();
    let backwards: Vec<_> = all.iter().rev().cloned().collect();
    for list in LISTS {
        for limit in [1000, 256, 7] {
            assert_eq!(ids(&node, list, "order=newest", limit), backwards, "{list}");
            assert_eq!(ids(&node, list, "order=oldest", limit), all, "{list}");
            assert_eq!(ids(&node, list, "", limit), all, "{list}");
        }
        // A row of the network is told apart by its content, too.
        let row = |n: u16| match list {
            "/api/p2p/files" => all[usize::from(n)].clone(),
            _ => format!("{}.{}", all[usize::from(n)], BlobHash::of(&n.to_le_bytes())),
        };
        let between = format!("before={}&after={}", row(500), row(10));
        let page = format!("{list}?{between}&limit=1000");
        let page = get(node.address, &page, &[]).json();
        let listed: Vec<_> = page["files"].as_array().unwrap().iter().map(id).collect();
        assert_eq!(listed, all[11..500], "{list}");
        assert_eq!(page["next"], Value::Null);
        let newest = format!("{list}?order=newest&{between}&limit=3");
        let newest = get(node.address, &newest, &[]).json();
        let listed: Vec<_> = newest["files"].as_array().unwrap().iter().map(id).collect();
        assert_eq!(listed, [499, 498, 497].map(|at| all[at].clone()), "{list}");
        let named: BTreeSet<_> = all.iter().step_by(3).cloned().collect();
        let found = get(
            node.address,
            &format!("{list}?order=newest&name=0-&limit=1000"),
            &[],
        )
        .json();
        let found: Vec<_> = found["files"].as_array().unwrap().iter().map(id).collect();
        assert!(found.is_sorted_by(|a, b| a > b), "{list}");
        assert!(named.is_subset(&found.iter().cloned().collect()), "{list}");
    }
    let newest = get(node.address, "/api/p2p/files?order=newest", &[]).json();
    assert_eq!(newest["total_files"], 600);
    assert_eq!(id(&newest["files"][0]), all[599]);
}

#[test]
fn what_others_hold_stands_in_its_place_newest_first() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, other) = neighbours(&dirs);
    let mut all = Vec::new();
    for n in 0..10u8 {
        let node = if n % 2 == 0 { &one } else { &other };
        all.push(id(&uploaded(node.address, &format!("{n}"), &[n])));
    }
    let names: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    until_sees(one.address, &names);
    all.sort_unstable();
    all.reverse();
    for limit in [1, 3, 100] {
        assert_eq!(ids(&one, "/api/p2p/network", "order=newest", limit), all);
    }
}

#[test]
fn wrong_values_are_refused_and_unknown_parameters_ignored() {
    let (_dir, node) = start();
    uploaded(node.address, "a", b"a");
    for list in LISTS {
        for query in [
            "order=",
            "order=new",
            "order=Newest",
            "order=newest&order=newest",
            "before=",
            "before=x",
            "before=1",
            "after=x",
            "limit=0",
            "limit=x",
        ] {
            let refused = get(node.address, &format!("{list}?{query}"), &[]);
            assert_eq!(
                refused.refusal(),
                (400, "bad_query".to_owned()),
                "{list}?{query}"
            );
        }
        let plain = get(node.address, list, &[]).json();
        for query in ["sort=newest&zip=1", "_=1732617600", "x&y=&=z"] {
            let same = get(node.address, &format!("{list}?{query}"), &[]).json();
            assert_eq!(same, plain, "{list}?{query}");
        }
    }
}
