//! What a text means that a command is given: no name that another node gives its files makes it
//! mean other bytes than it would without that.

use std::fs;
use std::path::Path;

use larder::hash::BlobHash;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::commands::{done, failed, json, names};
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::get;

const OWN: &[u8] = b"own bytes";
const FRIENDS: &[u8] = b"bytes of a friend";
const OTHER: &[u8] = b"other bytes";

/// A node that holds files of these names and contents.
fn holder(files: &[(&str, &[u8])]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "1"]);
    for (name, bytes) in files {
        uploaded(node.address, name, bytes);
    }
    (dir, node)
}

/// A node of these own files that knows of all that the others hold.
fn asking(files: &[(&str, &[u8])], others: &[&Node]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let mut arguments = vec!["--discover-every".to_owned(), "1".to_owned()];
    for other in others {
        arguments.extend(["--peer".to_owned(), other.url("")]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let node = Node::start(&dir, &arguments);
    for (name, bytes) in files {
        uploaded(node.address, name, bytes);
    }
    for other in others {
        for file in own_files(other) {
            let id = text(&file["file_id"]).to_owned();
            until("its files are known", || {
                let target = format!("/api/p2p/network?id={id}");
                let told = get(node.address, &target, &[]).json();
                (told["file_count"] == 1).then_some(())
            });
        }
    }
    (dir, node)
}

fn own_files(node: &Node) -> Vec<Value> {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    files["files"].as_array().unwrap().clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Fails unless each command refuses a text, with the ids of these files.
fn assert_unclear(node: &Node, wanted: &str, candidates: &[String]) {
    let here = tempfile::tempdir().unwrap();
    let before = own_files(node).len();
    for verb in ["get", "info", "keep"] {
        for choice in [&[][..], &["--newest"], &["--all"]] {
            if verb == "info" && !choice.is_empty() {
                continue;
            }
            let arguments = [&[verb, wanted], choice].concat();
            let (status, told) = failed(here.path(), &node.url(""), &arguments);
            assert_eq!(status, 4, "{arguments:?}: {told}");
            for id in candidates {
                assert!(told.contains(id), "{arguments:?}: {told}");
            }
        }
    }
    assert_eq!(names(here.path()), Vec::<String>::new());
    assert_eq!(own_files(node).len(), before);
}

/// Fails unless there is nothing to be removed by a text, since only others hold it.
fn assert_not_here(node: &Node, wanted: &str) {
    let here = tempfile::tempdir().unwrap();
    let (status, told) = failed(here.path(), &node.url(""), &["rm", wanted]);
    assert_eq!(status, 3, "{told}");
    assert!(told.contains("this node does not hold"), "{told}");
}

/// Fails unless each command that reads takes a text for this content.
fn assert_means(node: &Node, wanted: &str, bytes: &[u8]) {
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let got = done(here, &url, &["get", wanted, "-o", "-"]);
    assert_eq!(got.as_bytes(), bytes, "{wanted}");
    let hash = BlobHash::of(bytes).to_string();
    for told in json(here, &url, &["info", wanted]) {
        assert_eq!(told["hash"], hash, "{wanted}: {told}");
    }
    for told in json(here, &url, &["keep", wanted]) {
        assert_eq!(told["hash"], hash, "{wanted}: {told}");
    }
}

/// The ids of the files that a node holds with one of these contents.
fn ids(nodes: &[&Node], contents: &[&[u8]]) -> Vec<String> {
    let hashes = contents.iter().map(|it| BlobHash::of(it).to_string());
    let hashes: Vec<_> = hashes.collect();
    let files = nodes.iter().flat_map(|it| own_files(it));
    let ids = files.filter(|it| hashes.iter().any(|hash| it["hash"] == *hash));
    ids.map(|it| text(&it["file_id"]).to_owned()).collect()
}

#[test]
fn no_name_of_another_node_stands_for_an_id_or_a_hash_of_this_one() {
    let (_own_dir, own) = holder(&[("own.txt", OWN)]);
    let file = own_files(&own).remove(0);
    let (id, hash) = (text(&file["file_id"]), text(&file["hash"]));
    let bare = id.replace('-', "");
    let wanted = [
        &hash[..4],
        &hash[..8],
        &hash[..12],
        &hash[..63],
        hash,
        id,
        &id[..20],
        &bare,
        &bare[..31],
    ];
    for inside in ["", "/inside"] {
        let names = wanted.map(|it| format!("{it}{inside}"));
        let files: Vec<_> = names.iter().map(|it| (it.as_str(), OTHER)).collect();
        let (_dir, stranger) = holder(&files);
        // As it is seen by the node that holds it.
        let own_url = own.url("");
        let (_asking_dir, node) = asking(&[("own.txt", OWN)], &[&stranger]);
        let here = tempfile::tempdir().unwrap();
        let same = own_files(&node).remove(0);
        let (own_id, bare) = (
            text(&same["file_id"]),
            text(&same["file_id"]).replace('-', ""),
        );
        for it in [&hash[..4], &hash[..8], &hash[..12], &hash[..63], hash] {
            assert_means(&node, it, OWN);
        }
        for it in [own_id, &bare] {
            assert_means(&node, it, OWN);
        }
        done(here.path(), &own_url, &["get", id, "-o", "-"]);
        assert_eq!(own_files(&node).len(), 1);
    }
}

#[test]
fn a_beginning_of_what_others_hold_that_is_a_name_of_theirs_too_is_refused_with_both() {
    let (_friend_dir, friend) = holder(&[("f.txt", FRIENDS)]);
    let hash = BlobHash::of(FRIENDS).to_string();
    let (name, folder) = (&hash[..8], format!("{}/inside", &hash[..12]));
    let long = &hash[..16];
    let (_dir, stranger) = holder(&[
        (name, OTHER),
        (&folder, OTHER),
        (long, OTHER),
        (&hash, OTHER),
    ]);
    let (_asking_dir, node) = asking(&[], &[&friend, &stranger]);
    let candidates = ids(&[&friend], &[FRIENDS]);
    for wanted in [name, &hash[..12]] {
        assert_unclear(&node, wanted, &candidates);
        assert_not_here(&node, wanted);
    }
    // So long a beginning, or all of it, nobody makes for a content of his own.
    for wanted in [long, &hash[..40], &hash] {
        assert_means(&node, wanted, FRIENDS);
    }
}

#[test]
fn an_id_or_a_hash_that_nobody_has_means_no_name_of_another_node() {
    let hash = BlobHash::of(b"that nobody has").to_string();
    let id = "01a2084d-affd-7067-974a-3661a9d8efaf";
    let (_dir, stranger) = holder(&[(&hash, OTHER), (id, OTHER)]);
    let (_asking_dir, node) = asking(&[], &[&stranger]);
    let candidates = ids(&[&stranger], &[OTHER]);
    for (wanted, candidate) in [(&*hash, &candidates[0]), (id, &candidates[1])] {
        assert_unclear(&node, wanted, std::slice::from_ref(candidate));
        assert_not_here(&node, wanted);
        uploaded(node.address, wanted, OWN);
        let here = tempfile::tempdir().unwrap();
        // This node's own names count; where another content is called so, too, that is told.
        let (status, told) = failed(here.path(), &node.url(""), &["get", wanted]);
        assert_eq!((status, told.contains(candidate)), (4, true), "{told}");
        done(here.path(), &node.url(""), &["rm", wanted]);
    }
}

#[test]
fn a_name_that_only_looks_like_a_beginning_is_found_wherever_it_is() {
    let (_dir, friend) = holder(&[("2026", FRIENDS), ("cafe/a", FRIENDS)]);
    let (_asking_dir, node) = asking(&[("beef", OWN)], &[&friend]);
    for (wanted, bytes) in [("2026", FRIENDS), ("cafe", FRIENDS), ("beef", OWN)] {
        let here = tempfile::tempdir().unwrap();
        let got = done(here.path(), &node.url(""), &["get", wanted, "-o", "-"]);
        assert_eq!(got.as_bytes(), bytes, "{wanted}");
    }
}

#[test]
fn a_folder_or_a_pattern_of_ones_own_is_no_name_that_others_give() {
    let (_dir, stranger) = holder(&[("photos", OTHER), ("[ab]", OTHER), ("a*", OTHER)]);
    let own: &[(&str, &[u8])] = &[("photos/x", OWN), ("photos/y", FRIENDS)];
    let (_asking_dir, node) = asking(own, &[&stranger]);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let is = |path: &str, bytes: &[u8]| assert_eq!(fs::read(here.join(path)).unwrap(), bytes);
    done(here, &url, &["get", "photos"]);
    is("photos/x", OWN);
    is("photos/y", FRIENDS);
    // Where nothing else matches, a name is a name though it looks like a pattern.
    done(here, &url, &["get", "[ab]", "-o", "named"]);
    is("named", OTHER);
    // What a pattern matches is what it means, the names that look like it among them.
    uploaded(node.address, "a1", OWN);
    done(here, &url, &["get", "a*", "-o", "matched"]);
    assert_eq!(names(&here.join("matched")), ["a*", "a1"]);
    uploaded(node.address, "a", OWN);
    assert_unclear(&node, "[ab]", &ids(&[&stranger], &[OTHER])[1..2]);
    uploaded(node.address, "[ab]", OTHER);
    done(here, &url, &["get", "[ab]", "-o", "own"]);
    is("own", OTHER);
    assert!(Path::new(here).join("own").is_file());
}

#[test]
fn what_is_removed_is_found_among_this_nodes_own_files_alone() {
    let hash = BlobHash::of(OWN).to_string();
    let (_dir, stranger) = holder(&[(&hash[..8], OTHER), (&hash, OTHER)]);
    let (_asking_dir, node) = asking(&[("own.txt", OWN), ("left", FRIENDS)], &[&stranger]);
    let here = tempfile::tempdir().unwrap();
    let told = done(here.path(), &node.url(""), &["rm", &hash[..8]]);
    assert!(told.starts_with("removed own.txt ("), "{told}");
    let left = own_files(&node);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["original_name"], "left");
    for wanted in [&hash[..8], &hash] {
        assert_not_here(&node, wanted);
    }
}
