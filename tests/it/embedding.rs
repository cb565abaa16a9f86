//! What pages of other sites have a browser fetch: they do not learn what a node has, and people go
//! where links lead.

use std::net::TcpListener;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::browser::{script_at, succeeds};
use crate::common::forms::{file, form, upload};
use crate::common::process::Node;
use crate::common::raw_http::{Answer, get, head, send};

/// One pixel (Portable Network Graphics, second edition).
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\
    \0\0\0\x0cIDATx\x9cc8\x11 \x02\0\x03\x10\x01-t\xfdg\xa7\0\0\0\0IEND\xaeB`\x82";

fn started(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

/// What the node tells of a file that it is given.
fn stored(node: &Node, name: &str, bytes: &[u8]) -> Value {
    let answer = upload(node.address, &form(&[file(name, bytes)]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["file"].clone()
}

/// Where a file is found, by its hash.
fn by_hash(file: &Value) -> String {
    format!("/api/p2p/blob/{}?inline=1", file["hash"].as_str().unwrap())
}

/// The same of content that is nowhere.
fn nowhere() -> String {
    format!("/api/p2p/blob/{}?inline=1", "0".repeat(64))
}

/// What a browser tells of what it fetches for a page.
fn fetched(site: &str, mode: &str, dest: &str) -> [String; 3] {
    [("Site", site), ("Mode", mode), ("Dest", dest)]
        .map(|(name, value)| format!("Sec-Fetch-{name}: {value}"))
}

fn ask(node: &Node, target: &str, lines: &[String], more: &[&str]) -> Answer {
    let lines = lines.iter().map(String::as_str);
    let lines: Vec<_> = lines.chain(more.iter().copied()).collect();
    get(node.address, target, &lines)
}

#[test]
fn what_a_page_of_another_site_fetches_is_refused_alike_whatever_it_is() {
    let (_dir, node) = started(&[]);
    let file = stored(&node, "a.png", PICTURE);
    let id = file["file_id"].as_str().unwrap();
    let targets = [
        &*format!("/api/p2p/file/{id}"),
        &*by_hash(&file),
        &*nowhere(),
        "/api/p2p/files",
        "/api/p2p/network?name=a",
        "/api/p2p/status",
        "/api/p2p/zip?id=x",
        "/api/docs",
        "/health",
        "/ready",
        "/metrics",
        "/",
        "/page/app.js",
        "/nothing",
    ];
    for target in targets {
        for (mode, dest) in [
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("no-cors", "empty"),
            ("no-cors", "audio"),
            ("navigate", "iframe"),
            ("navigate", "object"),
        ] {
            let lines = fetched("cross-site", mode, dest);
            for more in [&[][..], &["Referer: https://evil.example/"]] {
                let answer = ask(&node, target, &lines, more);
                let refusal = (403, "origin_not_allowed".to_owned());
                assert_eq!(answer.refusal(), refusal, "{target} {mode} {dest}");
                assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
            }
        }
        let visit = fetched("cross-site", "navigate", "document");
        let own = fetched("same-origin", "no-cors", "image");
        let plain = get(node.address, target, &[]).status;
        assert_eq!(ask(&node, target, &visit, &[]).status, plain, "{target}");
        assert_eq!(ask(&node, target, &own, &[]).status, plain, "{target}");
    }
}

#[test]
fn browsers_that_tell_nothing_are_told_to_keep_every_answer_from_other_sites() {
    let (_dir, node) = started(&[]);
    let file = stored(&node, "a.png", PICTURE);
    let held = by_hash(&file);
    let tag = format!("If-None-Match: \"{}\"", file["hash"].as_str().unwrap());
    for (target, lines, status) in [
        (&*held, &[][..], 200),
        (&held, &["Range: bytes=1-2"], 206),
        (&held, &[&*tag], 304),
        (&held, &["Range: bytes=999-"], 416),
        (&nowhere(), &[], 404),
        ("/api/p2p/file/x", &[], 404),
        ("/health", &[], 200),
        ("/metrics", &[], 200),
        ("/", &[], 200),
        ("/page/none", &[], 404),
    ] {
        for method in ["GET", "HEAD"] {
            // A range counts for GET alone.
            let is_ranged = lines.iter().any(|it| it.starts_with("Range"));
            if method == "HEAD" && is_ranged {
                continue;
            }
            let answer = send(node.address, &head(method, target, lines));
            assert_eq!(answer.status, status, "{method} {target}");
            let policy = answer.header("cross-origin-resource-policy");
            assert_eq!(policy, "same-origin", "{method} {target}");
        }
    }
}

#[test]
fn a_site_that_the_settings_name_embeds_what_it_likes_and_no_other() {
    let (_dir, node) = started(&["--cors-origin", "https://wiki.example"]);
    let held = by_hash(&stored(&node, "a.png", PICTURE));
    let image = fetched("cross-site", "no-cors", "image");
    for (page, policy) in [
        ("https://wiki.example/a?b", Some("cross-origin")),
        ("http://localhost:3000/", Some("cross-origin")),
        ("https://evil.example/", None),
        ("http://wiki.example/", None),
        ("https://wiki.example.evil.example/", None),
    ] {
        let referer = format!("Referer: {page}");
        let answer = ask(&node, &held, &image, &[&referer]);
        let status = if policy.is_some() { 200 } else { 403 };
        assert_eq!(answer.status, status, "{page}");
        let told = answer.header("cross-origin-resource-policy");
        assert_eq!(told, policy.unwrap_or("same-origin"), "{page}");
        // No cache takes what one page may have for what all may have.
        assert_eq!(answer.header("vary").contains("referer"), policy.is_some());
    }
    assert_eq!(ask(&node, &held, &image, &[]).status, 403);

    let (_other, open) = started(&["--cors-origin", "*"]);
    let held = by_hash(&stored(&open, "a.png", PICTURE));
    let answer = ask(&open, &held, &image, &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("cross-origin-resource-policy"),
        "cross-origin"
    );
}

/// A page at another site, in a browser for which all names ending in `.example` mean this machine.
fn visit(node: &Node, url: &str, port: u16, files: &[&str], kind: &str) {
    let port = port.to_string();
    let files = files.join(" ");
    let mut script = script_at("embedding.mjs", url, &[&port, &files, &nowhere(), &kind]);
    succeeds(script.env("NAME", "*.example"));
    assert_eq!(get(node.address, "/health", &[]).status, 200);
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A second of silence, of 8 bits 8000 times (RIFF, WAVE).
fn sound() -> Vec<u8> {
    let mut sound = b"RIFF\x64\x1f\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\
        \x01\0\x08\0data\x40\x1f\0\0"
        .to_vec();
    sound.resize(sound.len() + 8000, 0);
    sound
}

/// The paths of a picture, a sound and a text that a node is given.
fn files(node: &Node) -> [String; 3] {
    let sound = sound();
    let files: [(&str, &[u8]); 3] = [
        ("a.png", PICTURE),
        ("a.wav", &sound),
        ("a.txt", b"a greeting"),
    ];
    files.map(|(name, bytes)| {
        let file = stored(node, name, bytes);
        format!(
            "/api/p2p/file/{}?inline=1",
            file["file_id"].as_str().unwrap()
        )
    })
}

#[test]
fn a_page_in_a_browser_learns_nothing_of_a_node_on_this_machine_and_its_links_lead_there() {
    let (_dir, node) = started(&[]);
    let files = files(&node);
    let files = files.each_ref().map(String::as_str);
    visit(&node, &node.url(""), free_port(), &files, "stranger");
    // Nothing was loaded before somebody followed a link; of that a browser wants an icon, too.
    let log = node.log();
    let asked = log.lines().filter(|it| it.contains("method=GET"));
    let asked: Vec<_> = asked.filter(|it| !it.contains("/favicon.ico")).collect();
    let refused = |it: &&&str| it.contains("status=403");
    let end = asked.iter().rposition(|it| refused(&it)).unwrap() + 1;
    let (before, behind) = asked.split_at(end);
    assert!(before.len() > 20, "{before:?}");
    assert_eq!(before.iter().find(|it| !refused(it)), None);
    assert!(behind.iter().any(|it| it.contains("/api/p2p/file/")));
}

#[test]
fn a_page_in_a_browser_learns_nothing_of_a_node_of_which_browsers_tell_nothing() {
    let port = free_port();
    let url = format!("http://node.example:{port}");
    let (_dir, node) = started(&["--base-url", &url, "--port", &port.to_string()]);
    let files = files(&node);
    let files = files.each_ref().map(String::as_str);
    visit(&node, &url, free_port(), &files, "untold");
}

#[test]
fn a_page_in_a_browser_shows_pictures_of_a_node_that_names_it() {
    let port = free_port();
    let origin = format!("http://page.example:{port}");
    let (_dir, node) = started(&["--cors-origin", &origin]);
    let files = files(&node);
    let files = files.each_ref().map(String::as_str);
    visit(&node, &node.url(""), port, &files, "named");
}
