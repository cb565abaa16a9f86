//! The page's files as the node serves them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::process::Node;
use crate::common::raw_http::get;

/// The libraries of the page, and where their packages have them.
const VENDORED: [(&str, &str); 2] = [
    ("lean-qr.mjs", "lean-qr/nano.mjs"),
    ("tus.min.js", "tus-js-client/dist/tus.min.js"),
];

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("page")
}

/// The names of the page's files, but for licences.
fn names() -> BTreeSet<String> {
    let vendored = VENDORED.map(|(name, _)| page().join("vendor").join(name));
    let own = std::fs::read_dir(page())
        .unwrap()
        .map(|it| it.unwrap().path());
    let files = own.filter(|path| path.is_file()).chain(vendored);
    files
        .map(|path| {
            path.strip_prefix(page())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn every_file_is_served_with_what_keeps_a_browser_safe() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    for name in names() {
        let path = match name.as_str() {
            "index.html" => "/".to_owned(),
            name => format!("/page/{name}"),
        };
        let answer = get(node.address, &path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.body == std::fs::read(page().join(&name)).unwrap(),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        // A gateway that packs the answer makes the tag a weak one.
        let known = format!("If-None-Match: \"x\", W/{}", answer.header("etag"));
        let again = get(node.address, &path, &[&known]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    for path in [
        "/page/",
        "/page/none.js",
        "/page/../Cargo.toml",
        "/page/%2e%2e/Cargo.toml",
        "/page/%ff",
    ] {
        let refused = get(node.address, path, &[]).refusal();
        assert_eq!(refused, (404, "unknown_path".to_owned()), "{path}");
    }
}

#[test]
fn the_page_is_there_where_reading_needs_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--token", "0123456789abcdef", "--private"]);
    for path in ["/", "/page/app.js"] {
        assert_eq!(get(node.address, path, &[]).status, 200, "{path}");
    }
    assert_eq!(get(node.address, "/api/p2p/status", &[]).status, 401);
}

#[test]
fn no_text_becomes_markup_and_nothing_comes_from_elsewhere() {
    const FORBIDDEN: [&str; 11] = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "setTimeout('",
        "https://",
        "@import",
        // The node may be below a path of another server.
        "'/api",
        "`/api",
        "\"/page",
    ];
    for name in names().iter().filter(|name| !name.starts_with("vendor/")) {
        let text = std::fs::read_to_string(page().join(name)).unwrap();
        for forbidden in FORBIDDEN {
            assert!(!text.contains(forbidden), "{name} has {forbidden}");
        }
    }
}

#[test]
fn the_libraries_are_the_published_ones() {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm/node_modules");
    for (name, published) in VENDORED {
        let library = std::fs::read(page().join("vendor").join(name)).unwrap();
        let published = std::fs::read(packages.join(published)).expect("tests/run installs it");
        assert!(library == published, "{name}");
    }
}
