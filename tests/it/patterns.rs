//! Patterns mean to commands what they mean to bash: a table of them, beside bash itself, over the
//! same files.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::commands::{done, failed, run};
use crate::common::forms::uploaded;
use crate::common::peers::held;
use crate::common::process::{Node, start};

const NAMES: [&str; 24] = [
    "a.txt",
    "b.txt",
    "A.txt",
    "ab.txt",
    "1.txt",
    "caf\u{e9}.txt",
    ".hidden",
    ".config/dot",
    "read.me",
    "a*b",
    "a[b",
    "a?b",
    "axb",
    "-",
    "d/a.txt",
    "d/.hidden",
    "d/read.me",
    "d/e/a.txt",
    "d/e/read.me",
    "d/e/f/g.jpg",
    "d/.git/config",
    "d.old/a.txt",
    "x y/z.txt",
    "end]",
];

const PATTERNS: [&str; 56] = [
    "*",
    "**",
    "***",
    "*.txt",
    "?.txt",
    "??.txt",
    "[ab].txt",
    "[!a].txt",
    "[^a].txt",
    "[^ab]*",
    "[a-c].txt",
    "[!a-c].txt",
    "[]]",
    "*[]]",
    "[!]]*",
    "[[:upper:]].txt",
    "[[:lower:]].txt",
    "[[:digit:]].txt",
    "[^[:digit:]]*",
    "[[:nothing:]].txt",
    "[b-a].txt",
    "caf?.txt",
    "*\u{e9}*",
    ".*",
    ".h*",
    "?hidden",
    "[.]hidden",
    "**/.hidden",
    "d/*",
    "d/.*",
    "d/?hidden",
    "*/*",
    "*/.*/*",
    ".*/*",
    "d/**",
    "d/**/*",
    "d/**/*.txt",
    "d/*/*.txt",
    "d/**/read.me",
    "**/read.me",
    "**/*.me",
    "**/r*.me",
    "**/?ead.me",
    "**/e/read.me",
    "**/e/**/g.jpg",
    "d**/a.txt",
    "**d/a.txt",
    "d*/a.txt",
    r"a\*b",
    r"a\?b",
    r"a\[b",
    r"\a.t*",
    r"a[*]b",
    r"[\*x]",
    "a[b*",
    "x*/z.txt",
];

/// Patterns that mean folders.
const FOLDERS: [&str; 16] = [
    "*/",
    "**/",
    "***/",
    "d/**/",
    "d/e/**/",
    "d/**/**/",
    "d/**/e/",
    "d/**/e/**/",
    "**/e/",
    "**/**/e/",
    "d*/",
    "d**/",
    "d/*/",
    "d/.*/",
    "[!a-w]*/",
    "**/.git/",
];

/// The files that bash finds.
fn of_bash(dir: &Path, pattern: &str) -> Vec<String> {
    in_bash(dir, pattern, "[ -f \"$it\" ] && printf '%s\\n' \"$it\"")
}

/// The files in the folders that bash finds.
fn in_folders_of_bash(dir: &Path, pattern: &str) -> Vec<String> {
    in_bash(dir, pattern, "[ -d \"$it\" ] && find \"$it\" -type f")
}

/// What bash prints that does this with each `it` that matches, every line once.
fn in_bash(dir: &Path, pattern: &str, with_each: &str) -> Vec<String> {
    let script = format!("shopt -s globstar; for it in {pattern}; do {with_each}; done");
    let mut bash = Command::new("/bin/bash");
    bash.env_clear().env("LC_ALL", "C.UTF-8").current_dir(dir);
    let output = bash.args(["-c", &script]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<_> = told.lines().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// The files that a command finds.
fn of_larder(here: &Path, url: &str, verb: &str, pattern: &str) -> Vec<String> {
    let output = run(here, url, &[verb, "--json", "--", pattern]);
    let told = String::from_utf8(output.stdout).unwrap();
    let names = told.lines().map(|line| {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        told["original_name"].as_str().unwrap().to_owned()
    });
    let mut names: Vec<_> = names.collect();
    let status = if names.is_empty() { 3 } else { 0 };
    assert_eq!(output.status.code(), Some(status), "{pattern}: {names:?}");
    names.sort();
    names
}

/// A node and a folder with the same files.
fn files() -> (tempfile::TempDir, Node, tempfile::TempDir) {
    let (dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    for name in NAMES {
        let path = here.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        uploaded(node.address, name, name.as_bytes());
    }
    (dir, node, here)
}

#[test]
fn every_pattern_means_the_files_or_folders_that_it_means_to_bash() {
    let (_dir, node, there) = files();
    let here = tempfile::tempdir().unwrap();
    let url = node.url("");
    let mut different = Vec::new();
    let files = PATTERNS.map(|it| (it, of_bash(there.path(), it)));
    let folders = FOLDERS.map(|it| (it, in_folders_of_bash(there.path(), it)));
    for (pattern, bash) in files.into_iter().chain(folders) {
        for verb in ["info", "ls"] {
            let larder = of_larder(here.path(), &url, verb, pattern);
            if bash != larder {
                different.push(format!(
                    "{verb} {pattern}: {bash:?} in bash, {larder:?} here"
                ));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn a_pattern_removes_no_file_of_a_folder_that_it_does_not_name() {
    let (_dir, node, _there) = files();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let removed = done(here, &url, &["rm", "d/*"]);
    assert_eq!(removed.lines().count(), 2, "{removed}");
    // What only folders match is told, and what is in them is meant by a slash.
    let (status, told) = failed(here, &url, &["rm", "d.*"]);
    assert_eq!(status, 3, "{told}");
    assert!(
        told.contains("no file matches d.*, and folders do"),
        "{told}"
    );
    assert_eq!(held(node.address).len(), NAMES.len() - 2);
    let removed = done(here, &url, &["rm", "d.*/"]);
    assert!(removed.starts_with("removed d.old/a.txt ("), "{removed}");
    assert_eq!(held(node.address).len(), NAMES.len() - 3);
}

#[test]
fn nothing_is_removed_of_what_is_not_all_clear() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    for (name, content) in [
        ("d/a", "first of all"),
        ("d/two", "one"),
        ("d/two", "other"),
        ("x", "x"),
    ] {
        uploaded(node.address, name, content.as_bytes());
    }
    for wanted in ["d/*", "d"] {
        let (status, told) = failed(here, &url, &["rm", wanted]);
        assert_eq!(status, 4, "{told}");
        assert!(told.contains("d/two means several files"), "{told}");
        let all = format!("nothing of what {wanted} means is removed before all of it is clear");
        assert!(told.contains(&all), "{told}");
        assert!(!told.contains("not removed, "), "{told}");
        assert_eq!(held(node.address).len(), 4, "{told}");
    }
    // Another that is clear is another matter.
    let output = run(here, &url, &["rm", "d", "x"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("removed x ("), "{printed}");
    assert_eq!(output.status.code(), Some(4));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.ends_with("not removed, 1 of 2: d\n"), "{told}");
    assert_eq!(held(node.address).len(), 3);
    let removed = done(here, &url, &["rm", "d", "--newest"]);
    assert_eq!(removed.lines().count(), 2, "{removed}");
}
