//! Where `larder get` writes: each file to a path of its own, nothing outside of the folder that
//! was named, and nothing that nobody is told of.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::canned::{Canned, Reply};
use crate::common::commands::{command, done, failed, json, names, run};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::start;
use larder::hash::BlobHash;

/// The id of what was uploaded.
fn id(told: &serde_json::Value) -> String {
    told["file_id"].as_str().unwrap().to_owned()
}

#[test]
fn the_beginning_of_every_id_is_found_also_of_a_file_that_is_there_twice() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let ids = [(); 2].map(|()| id(&uploaded(node.address, "twice", b"same")));
    for id in &ids {
        for length in [36, 35] {
            let short = &id[..length];
            done(here, &url, &["get", short, "-o", "-"]);
            assert_eq!(json(here, &url, &["info", short]).len(), 1, "{short}");
            done(here, &url, &["keep", short]);
        }
    }
    done(here, &url, &["rm", &ids[1][..35]]);
    assert_eq!(done(here, &url, &["get", &ids[0][..35], "-o", "-"]), "same");
}

#[test]
fn all_that_a_beginning_means_is_told_and_comes_each_by_its_own_name() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let files = [("d/one", "same"), ("d/two", "same"), ("three", "other")];
    let ids = files.map(|(name, bytes)| id(&uploaded(node.address, name, bytes.as_bytes())));
    let beginning = &ids[0][..4];
    let (status, told) = failed(here, &url, &["get", beginning]);
    assert_eq!(status, 4, "{told}");
    for id in &ids {
        assert!(told.contains(id), "{told}");
    }
    done(here, &url, &["get", beginning, "--all", "-o", "out/"]);
    assert_eq!(names(&here.join("out")), ["one", "three", "two"]);
    // The beginning of a hash means a content, whatever its names.
    let hash = BlobHash::of(b"same").to_string();
    done(here, &url, &["get", &hash[..12], "-o", "content/"]);
    assert_eq!(names(&here.join("content")), ["two"]);
}

#[test]
fn names_that_differ_only_in_what_is_replaced_here_go_to_two_files() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    uploaded(node.address, "a\u{202e}b", b"one");
    uploaded(node.address, "a\u{202d}b", b"two");
    for _ in 0..2 {
        let output = run(here.path(), &node.url(""), &["get", "a*", "-o", "out/"]);
        assert!(output.status.success(), "{output:?}");
        let out = here.path().join("out");
        assert_eq!(names(&out), ["a\u{fffd}b", "a\u{fffd}b.1"]);
        assert_eq!(fs::read(out.join("a\u{fffd}b")).unwrap(), b"one");
        assert_eq!(fs::read(out.join("a\u{fffd}b.1")).unwrap(), b"two");
    }
}

#[test]
fn a_name_with_a_backslash_comes_back_as_it_is() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::create_dir_all(here.join(r"in\d")).unwrap();
    for name in [r"a\b", r"in\d/c:\x", r"in\d/\"] {
        fs::write(here.join(name), name).unwrap();
        done(here, &url, &["put", name, "--name", name]);
    }
    for (wanted, path) in [
        (r"a\b", r"a\b"),
        (r"a\\b", r"a\b"),
        (r"in\d/c:\x", r"c:\x"),
        (r"in\d", r"in\d/c:\x"),
        (r"in\d", r"in\d/\"),
        (r"in\\d/*", r"in\d/c:\x"),
    ] {
        let out = tempfile::tempdir().unwrap();
        done(out.path(), &url, &["get", wanted]);
        let got = fs::read_to_string(out.path().join(path)).unwrap();
        assert!(got.ends_with(path), "{wanted}: {got}");
    }
}

#[test]
fn each_file_that_is_saved_under_another_name_is_told_with_both_at_the_end() {
    let (_dir, node) = start();
    let url = node.url("");
    let long = format!("{}.txt", "n".repeat(300));
    let all = [
        "plain",
        "a\nb",
        "d/\u{202e}c",
        "e\u{9b}/f",
        "folder/",
        "z/..",
        &long,
    ];
    let here = tempfile::tempdir().unwrap();
    let ids = all.map(|name| {
        fs::write(here.path().join("f"), name).unwrap();
        id(&json(here.path(), &url, &["put", "f", "--name", name]).remove(0))
    });
    let out = tempfile::tempdir().unwrap();
    let got = |wanted: &[&str]| {
        let output = run(out.path(), &url, &[&["get"], wanted].concat());
        assert!(output.status.success(), "{output:?}");
        (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let by_id: Vec<_> = ids.iter().map(String::as_str).collect();
    let (listed, told) = got(&[&by_id[..], &["-o", "by-id/"]].concat());
    assert_eq!(listed.lines().count(), all.len());
    assert!(
        told.starts_with("larder: saved under another name than its own, 5 of 7: "),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    let text = |path: &str| fs::read_to_string(out.path().join(path)).unwrap();
    for (name, shown, path) in [
        ("a\nb", r"a\u{a}b", "by-id/a\u{fffd}b"),
        ("d/\u{202e}c", r"d/\u{202e}c", "by-id/\u{fffd}c"),
        ("folder/", "folder/", "by-id/folder"),
        ("z/..", "z/..", "by-id/z"),
    ] {
        assert!(told.contains(&format!("{shown} is {path}")), "{told}");
        assert_eq!(text(path), name);
    }
    assert!(told.contains(&format!("{long} is by-id/nnn")), "{told}");
    // With their folders, some of which cannot be called so either; and to programs.
    let (_, told) = got(&["**", "**/.*", "-o", "whole/"]);
    assert!(told.contains("6 of 7: "), "{told}");
    assert!(told.contains("folder/ is whole/folder/folder"), "{told}");
    assert_eq!(text("whole/e\u{fffd}/f"), "e\u{9b}/f");
    assert_eq!(text("whole/folder/folder"), "folder/");
    let (listed, _) = got(&["a\nb", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed["original_name"], &listed["path"]),
        (&"a\nb".into(), &"a\u{fffd}b".into())
    );
    // Who names the place is told nothing.
    assert_eq!(got(&["a\nb", "-o", "mine"]).1, "");
    assert_eq!(got(&["folder/", "-o", "-"]).1, "");
}

#[test]
fn a_download_that_finds_its_place_taken_leaves_no_hidden_file() {
    let (_dir, node) = start();
    uploaded(node.address, "p", &content(1, 3 << 20));
    uploaded(node.address, "p/child", b"child");
    for _ in 0..4 {
        let here = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let output = run(
                here.path(),
                &node.url(""),
                &["get", "p", "p/*", "-o", "out/"],
            );
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let out = names(&here.path().join("out"));
            assert!(out.iter().all(|it| it == "p"), "{out:?}");
        }
    }
}

#[test]
fn no_link_below_the_output_folder_leads_a_file_elsewhere() {
    let (_dir, node) = start();
    uploaded(node.address, "photos/a", b"a");
    uploaded(node.address, "photos/new/b", b"b");
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    fs::create_dir_all(here.join("elsewhere")).unwrap();
    fs::create_dir_all(here.join("o")).unwrap();
    symlink("../elsewhere", here.join("o/photos")).unwrap();
    for flags in [&[][..], &["--force"]] {
        let (status, told) = failed(here, &url, &[&["get", "photos", "-o", "o"], flags].concat());
        assert_eq!(status, 1, "{told}");
        assert!(told.contains("o/photos is a link"), "{told}");
        assert_eq!(names(&here.join("elsewhere")), [""; 0]);
    }
    // What is named is followed.
    symlink("elsewhere", here.join("named")).unwrap();
    done(here, &url, &["get", "photos", "-o", "named"]);
    assert_eq!(names(&here.join("elsewhere")), ["photos"]);
}

#[test]
fn a_damaged_beginning_of_the_right_length_is_got_anew() {
    let (_dir, node) = start();
    let bytes = content(2, 300_000);
    uploaded(node.address, "f", &bytes);
    for length in [bytes.len(), 200_000] {
        let here = tempfile::tempdir().unwrap();
        let hash = BlobHash::of(&bytes).to_string();
        let partial = here.path().join(format!(".f.{}.part", &hash[..12]));
        fs::write(&partial, vec![7; length]).unwrap();
        let output = run(here.path(), &node.url(""), &["get", "f"]);
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("f begins anew"), "{told}");
        assert!(fs::read(here.path().join("f")).unwrap() == bytes);
        assert_eq!(names(here.path()), ["f"]);
    }
}

#[test]
fn devices_and_the_pipes_of_a_shell_take_files() {
    let (_dir, node) = start();
    uploaded(node.address, "f", b"bytes");
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    done(here, &url, &["get", "f", "-o", "/dev/null"]);
    assert_eq!(
        done(here, &url, &["get", "f", "-o", "/dev/stdout"]),
        "bytes"
    );
    let into = File::create(here.join("into")).unwrap();
    let mut get = command(here, &url, &["get", "f", "-o", "/dev/stdout"]);
    assert!(get.stdout(into).status().unwrap().success());
    assert_eq!(fs::read(here.join("into")).unwrap(), b"bytes");
    let script = "exec \"$0\" get f f -o >(cat)";
    let mut bash = command(here, &url, &[]);
    let larder = bash.get_program().to_owned();
    let envs: Vec<_> = bash
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.unwrap().to_owned()))
        .collect();
    bash = std::process::Command::new("/bin/bash");
    bash.current_dir(here).env_clear().envs(envs);
    bash.env("PATH", "/usr/bin:/bin");
    let output = bash.args(["-c", script]).arg(larder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"bytesbytes");
}

#[test]
fn what_nobody_can_check_is_told() {
    const ID: &str = "01a2084d-affd-7067-974a-3661a9d8efaf";
    const PEER: &str = "5a5c3a41-d40a-89a4-8a4c-0def11341bf5";
    let node = Canned::start(|_, line| {
        let file = format!(
            r#"{{"file_id":"{ID}","original_name":"f","size":5,"hash":null,
            "uploaded_at":"2026-11-23T12:07:18","peers":["{PEER}"]}}"#
        );
        if line.contains("/network") {
            return Reply::Json(format!(r#"{{"files":[{file}],"next":null}}"#));
        }
        Reply::Whole(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes".to_vec())
    });
    let here = tempfile::tempdir().unwrap();
    for arguments in [&["get", "f"][..], &["get", "f", "-o", "-"]] {
        let output = run(here.path(), &node.url(), arguments);
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("f is not checked"), "{told}");
    }
    assert_eq!(fs::read(here.path().join("f")).unwrap(), b"bytes");
}

#[test]
fn ids_and_hashes_are_taken_as_people_copy_them() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    fs::write(here.join("f"), "bytes").unwrap();
    let told = done(here, &url, &["put", "f"]);
    let words: Vec<_> = told.split_whitespace().collect();
    let hash = BlobHash::of(b"bytes").to_string();
    for wanted in [
        words[2].to_owned(),
        format!("{}?inline=1", words[2]),
        format!("{url}/api/p2p/blob/{hash}?name=x"),
        format!("blake3:{hash}"),
        format!("  {} ", words[0]),
        format!("{hash}\n"),
    ] {
        done(here, &url, &["get", &wanted, "-o", "got", "--force"]);
        assert_eq!(text(&here.join("got")), "bytes", "{wanted}");
    }
}
