//! What answers say of what they carry: types, dates, lifetimes, codings and lengths.

use std::process::Command;

use larder::hash::BlobHash;
use serde_json::Value;

use crate::common::content::content;
use crate::common::forms::{file, form, part, upload, uploaded};
use crate::common::process::{Node, start};
use crate::common::raw_http::{Answer, get, head, send};

fn path_of(file: &Value) -> String {
    format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
}

/// Uploads a file with a content type, and returns its path.
fn typed(node: &Node, name: &str, content_type: &str) -> String {
    let head = format!(
        "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: {content_type}"
    );
    let answer = upload(node.address, &form(&[part(&head, b"content")]));
    path_of(&answer.json()["file"])
}

#[test]
fn the_name_tells_the_type_where_the_client_does_not() {
    let (_dir, node) = start();
    for (name, content_type) in [
        ("a.mp4", "video/mp4"),
        ("a.JPG", "image/jpeg"),
        ("a.pdf", "application/pdf"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a", "application/octet-stream"),
    ] {
        let untyped = uploaded(node.address, name, name.as_bytes());
        let octets = typed(&node, name, "application/octet-stream");
        let own = &untyped["peer_id"];
        let by_name = format!("/api/p2p/download/{}/{name}", own.as_str().unwrap());
        let by_hash = format!(
            "/api/p2p/blob/{}?name={name}",
            untyped["hash"].as_str().unwrap()
        );
        for path in [path_of(&untyped), octets, by_name, by_hash] {
            let answer = get(node.address, &path, &[]);
            assert_eq!(answer.header("content-type"), content_type, "{path}");
            let saved = format!("attachment; filename=\"{name}\"");
            assert_eq!(answer.header("content-disposition"), saved, "{path}");
        }
        if content_type != "application/octet-stream" {
            assert_eq!(untyped["content_type"], content_type);
        }
    }
    let file = uploaded(node.address, "a", b"a");
    let hash = file["hash"].as_str().unwrap();
    for none in ["", ".", ".."] {
        let answer = get(
            node.address,
            &format!("/api/p2p/blob/{hash}?name={none}"),
            &[],
        );
        let saved = format!("attachment; filename=\"{hash}\"");
        assert_eq!(answer.header("content-disposition"), saved, "{none}");
    }
    let told = typed(&node, "a.mp4", "text/x-own");
    let answer = get(node.address, &told, &[]);
    assert_eq!(answer.header("content-type"), "text/x-own");
}

#[test]
fn only_what_runs_nothing_is_shown_in_the_tab_and_that_in_a_sandbox() {
    let (_dir, node) = start();
    for (name, content_type, shown) in [
        ("a.png", "image/png", Some("image/png")),
        ("a.mp4", "video/mp4", Some("video/mp4")),
        ("a.flac", "audio/flac", Some("audio/flac")),
        ("a.pdf", "application/pdf", Some("application/pdf")),
        ("a.html", "text/html", Some("text/plain; charset=utf-8")),
        ("a.js", "text/javascript", Some("text/plain; charset=utf-8")),
        (
            "a.json",
            "application/json",
            Some("text/plain; charset=utf-8"),
        ),
        ("a.svg", "image/svg+xml", None),
        ("a.xhtml", "application/xhtml+xml", None),
        ("a.zip", "application/zip", None),
        ("a.html", "multipart/related", None),
    ] {
        let path = typed(&node, name, content_type);
        for plain in [path.clone(), format!("{path}?inline=0")] {
            let answer = get(node.address, &plain, &[]);
            let disposition = answer.header("content-disposition");
            assert!(
                disposition.starts_with("attachment;"),
                "{plain}: {disposition}"
            );
            assert_eq!(answer.header("content-type"), content_type);
        }
        for lines in [&[][..], &["Range: bytes=1-2"]] {
            let answer = get(node.address, &format!("{path}?inline=1"), lines);
            let (disposition, policy) = (
                answer.header("content-disposition"),
                answer.header("content-security-policy"),
            );
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("content-type"), shown.unwrap_or(content_type));
            assert_eq!(
                disposition.starts_with("inline;"),
                shown.is_some(),
                "{name}"
            );
            assert_eq!(policy.starts_with("default-src 'none'"), shown.is_some());
            // The viewer of PDFs does not run in one, and runs nothing of this origin.
            let boxed = shown.is_some_and(|it| it != "application/pdf");
            assert_eq!(policy.contains("; sandbox"), boxed, "{name}");
            assert!(!policy.contains("allow-scripts"), "{policy}");
        }
    }
    for wrong in ["", "2", "yes"] {
        let path = typed(&node, "a.png", "image/png");
        let refused = get(node.address, &format!("{path}?inline={wrong}"), &[]);
        assert_eq!(refused.refusal(), (400, "bad_query".to_owned()), "{wrong}");
    }
}

#[test]
fn a_file_has_the_date_of_its_upload() {
    let (_dir, node) = start();
    let file = uploaded(node.address, "a.bin", &content(1, 100_000));
    let path = path_of(&file);
    let answer = get(node.address, &path, &[]);
    let modified = answer.header("last-modified").to_owned();
    let time = httpdate::parse_http_date(&modified).unwrap();
    let uploaded_at: larder::record::Timestamp =
        file["uploaded_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(Some(time), uploaded_at.to_system_time());
    let before = httpdate::fmt_http_date(time - std::time::Duration::from_secs(1));
    for (lines, status) in [
        (vec![format!("If-Modified-Since: {modified}")], 304),
        (vec![format!("If-Modified-Since: {before}")], 200),
        (vec!["If-Modified-Since: yesterday".to_owned()], 200),
        (
            vec![
                format!("If-Modified-Since: {modified}"),
                "If-None-Match: \"x\"".to_owned(),
            ],
            200,
        ),
        (vec![format!("If-Unmodified-Since: {modified}")], 200),
        (vec![format!("If-Unmodified-Since: {before}")], 412),
        (
            vec![
                "Range: bytes=5-".to_owned(),
                format!("If-Range: {modified}"),
            ],
            206,
        ),
        (
            vec!["Range: bytes=5-".to_owned(), format!("If-Range: {before}")],
            200,
        ),
    ] {
        let borrowed: Vec<_> = lines.iter().map(String::as_str).collect();
        let answer = get(node.address, &path, &borrowed);
        assert_eq!(answer.status, status, "{lines:?}");
        if status == 304 {
            assert_eq!(answer.header("last-modified"), modified);
            assert_eq!(
                answer.header("etag"),
                format!("\"{}\"", file["hash"].as_str().unwrap())
            );
        }
    }
}

#[test]
fn curl_fetches_only_what_is_newer() {
    let (dir, node) = start();
    let url = node.url(&path_of(&uploaded(node.address, "a.txt", b"hello\n")));
    let fetch = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "-R",
            "--noproxy",
            "*",
            "-o",
            "copy",
            "-w",
            "%{http_code}",
        ]);
        let output = curl
            .args(more)
            .arg(&url)
            .current_dir(dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(fetch(&[]), "200");
    // Which compares with the date that the copy has got.
    assert_eq!(fetch(&["-z", "copy"]), "304");
    let copy = std::fs::read(dir.path().join("copy")).unwrap();
    assert_eq!(copy, b"hello\n");
}

#[test]
fn only_content_by_its_hash_may_be_kept_without_asking() {
    let (_dir, node) = start();
    let file = uploaded(node.address, "a.txt", b"hello\n");
    let hash = BlobHash::of(b"hello\n");
    let own = file["peer_id"].as_str().unwrap();
    let etag = format!("If-None-Match: \"{hash}\"");
    for path in [
        format!("/api/p2p/blob/{hash}"),
        format!("/api/p2p/blob/{hash}/bao"),
    ] {
        let answer = get(node.address, &path, &[]);
        assert_eq!(
            answer.header("cache-control"),
            "max-age=31536000, immutable",
            "{path}"
        );
    }
    let unchanged = get(node.address, &format!("/api/p2p/blob/{hash}"), &[&etag]);
    assert_eq!(unchanged.status, 304);
    assert_eq!(
        unchanged.header("cache-control"),
        "max-age=31536000, immutable"
    );
    for path in [
        path_of(&file),
        format!("/api/p2p/download/{own}/a.txt"),
        "/api/p2p/files".to_owned(),
        "/api/p2p/status".to_owned(),
        "/api/p2p/file/none".to_owned(),
        "/none".to_owned(),
    ] {
        let answer = get(node.address, &path, &[]);
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
    }
    // Another file of the name may come at any moment.
    let named = get(node.address, &format!("/api/p2p/download/{own}/a.txt"), &[]);
    assert_eq!(named.header("last-modified"), "");
}

/// What Python makes of a body that is coded so.
fn decoded(node: &Node, path: &str, coding: &str) -> (Answer, Vec<u8>) {
    let line = format!("Accept-Encoding: {coding}");
    let answer = get(node.address, path, &[&line]);
    assert_eq!(answer.header("content-encoding"), coding, "{path}");
    let vary = answer.header("vary").to_ascii_lowercase();
    assert!(vary.split(", ").any(|it| it == "accept-encoding"), "{vary}");
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "--noproxy",
        "*",
        "--compressed",
        "-H",
        &line,
        &node.url(path),
    ]);
    (answer, curl.output().unwrap().stdout)
}

#[test]
fn texts_of_the_node_are_compressed_for_clients_that_take_that() {
    let (_dir, node) = start();
    for number in 0..30 {
        uploaded(
            node.address,
            &format!("file-{number}.txt"),
            &content(number, 10),
        );
    }
    for path in [
        "/api/openapi.json",
        "/api/docs",
        "/api/p2p/files",
        "/api/p2p/network",
        "/metrics",
    ] {
        let plain = get(node.address, path, &[]);
        assert_eq!(plain.header("content-encoding"), "", "{path}");
        assert_eq!(plain.header("content-length"), plain.body.len().to_string());
        let (answer, text) = decoded(&node, path, "gzip");
        assert!(answer.body.len() * 3 < plain.body.len() * 2, "{path}");
        // What is measured changes meanwhile.
        assert!(text == plain.body || path == "/metrics", "{path}");
        let zstd = get(node.address, path, &["Accept-Encoding: zstd"]);
        assert_eq!(zstd.header("content-encoding"), "zstd", "{path}");
        assert!(zstd.body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "{path}");
    }
    let short = get(
        node.address,
        "/api/p2p/files?limit=1",
        &["Accept-Encoding: gzip"],
    );
    assert_eq!(short.header("content-encoding"), "");
    assert_eq!(short.header("content-length"), short.body.len().to_string());
}

#[test]
fn files_are_sent_as_they_are_whatever_coding_a_client_takes() {
    let (_dir, node) = start();
    let text = "{\"a\": 1}".repeat(10_000);
    let answer = upload(node.address, &form(&[file("a.json", text.as_bytes())]));
    let file = &answer.json()["file"];
    let hash = file["hash"].as_str().unwrap();
    for path in [path_of(file), format!("/api/p2p/blob/{hash}?name=a.json")] {
        for method in ["GET", "HEAD"] {
            let line = ["Accept-Encoding: gzip, zstd, br"];
            let answer = send(node.address, &head(method, &path, &line));
            assert_eq!(answer.header("content-encoding"), "", "{path}");
            assert_eq!(answer.header("content-length"), text.len().to_string());
        }
    }
}
