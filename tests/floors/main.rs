//! The floors of the crate, checked: each file imports only from floors below its own.
//!
//! Larger code bases of this field have knots of modules that import each other, and
//! each knot began with one misplaced import. So a file under `src/` may import
//! - files of lower floors,
//! - files of its own module,
//! - a module beside it on its floor where [`SIBLINGS`] says so,
//!
//! and no chain of imports may lead back to where it began. Re-exporting a child
//! (`pub use child::Name`, also under another name, or all that it has) is no import: the name
//! counts as the child's. A module that gets another name in a file is what it was.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod imports;
#[path = "../rust_files/mod.rs"]
mod rust_files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use imports::{Import, Source, source};

/// The modules of each floor, from the lowest up. `lib` is `lib.rs` itself.
const FLOORS: &[&[&str]] = &[
    &[
        "access",
        "hash",
        "health",
        "care_rows",
        "keep_rows",
        "revision",
        "unavailable",
        "base_url",
        "blocking",
        "causes",
        "client_key",
        "file_line",
        "metrics",
        "name_form",
        "open_files",
        "outboard",
        "pack_rows",
        "record",
        "peer_id",
        "peer_rows",
        "place",
        "placement",
        "room",
        "safe_name",
        "seen_twice",
        "text_form",
        "turn",
        "upload_rows",
    ],
    &[
        "anchored_disk",
        "append_file",
        "disk",
        "frozen_disk",
        "given_file",
        "blob",
        "index",
        "owner",
        "secret_file",
        "small_state",
        "state_file",
        "stored_file",
        "timed_disk",
        "watched_disk",
    ],
    &["store", "backup"],
    &["peer"],
    &["fetch", "resumable"],
    &["web"],
    &["node"],
    &["http", "bootstrap"],
    &["cli", "config", "main", "lib"],
];

/// Who may import whom on one floor.
const SIBLINGS: &[(&str, &str)] = &[
    ("backup", "store"),
    ("file_line", "hash"),
    ("file_line", "record"),
    ("outboard", "hash"),
    ("health", "place"),
    ("place", "hash"),
    ("placement", "hash"),
    ("placement", "peer_id"),
    ("place", "text_form"),
    ("record", "hash"),
    ("record", "name_form"),
    ("base_url", "text_form"),
    ("hash", "text_form"),
    ("peer_id", "text_form"),
    ("care_rows", "unavailable"),
    ("keep_rows", "hash"),
    ("keep_rows", "record"),
    ("keep_rows", "turn"),
    ("keep_rows", "unavailable"),
    ("peer_rows", "peer_id"),
    ("peer_rows", "unavailable"),
    ("pack_rows", "hash"),
    ("pack_rows", "place"),
    ("pack_rows", "unavailable"),
    ("upload_rows", "hash"),
    ("upload_rows", "record"),
    ("upload_rows", "turn"),
    ("upload_rows", "unavailable"),
    ("record", "text_form"),
    ("anchored_disk", "stored_file"),
    ("append_file", "disk"),
    ("blob", "append_file"),
    ("index", "append_file"),
    ("blob", "disk"),
    ("index", "disk"),
    ("blob", "stored_file"),
    ("index", "stored_file"),
    ("index", "state_file"),
    ("blob", "watched_disk"),
    ("disk", "stored_file"),
    ("small_state", "disk"),
    ("small_state", "state_file"),
    ("small_state", "stored_file"),
    ("state_file", "stored_file"),
    ("state_file", "disk"),
    ("anchored_disk", "disk"),
    ("frozen_disk", "disk"),
    ("frozen_disk", "stored_file"),
    ("timed_disk", "disk"),
    ("watched_disk", "disk"),
    ("cli", "config"),
    ("main", "cli"),
    ("main", "config"),
];

/// What each file names and defines, by its module path: `blob/mod.rs` is `blob`,
/// `blob/spool.rs` is `blob::spool`.
type Files = BTreeMap<String, Source>;
/// Which files each file imports from.
type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

#[test]
fn every_import_leads_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Files::new();
    for path in rust_files::files_under(&root) {
        let text = std::fs::read_to_string(&path).unwrap();
        let module = module_path(path.strip_prefix(&root).unwrap());
        files.insert(module, source(&text));
    }
    assert!(
        files.contains_key("blob::local::spool"),
        "{:?}",
        files.keys()
    );
    assert_eq!(complaints(&files), Vec::<String>::new());
}

/// The module that a file under `src/` holds.
fn module_path(file: &Path) -> String {
    let path = file.with_extension("");
    let mut parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.pop_if(|last| last == "mod");
    parts.join("::")
}

/// Everything that is wrong with the imports of `files`.
fn complaints(files: &Files) -> Vec<String> {
    let graph: Graph = files
        .iter()
        .map(|(name, source)| (name.as_str(), targets(files, name, &source.imports)))
        .collect();
    let mut found = Vec::new();
    for (file, imported) in &graph {
        if floor(file).is_none() {
            found.push(format!("{file} has no floor"));
        }
        for target in imported {
            found.extend(misplaced(file, target));
        }
    }
    found.extend(cycle(&graph).map(|files| format!("a cycle: {}", files.join(" -> "))));
    found
}

/// The files that a file imports from, itself left out.
fn targets<'a>(files: &'a Files, name: &str, imports: &[Import]) -> BTreeSet<&'a str> {
    imports
        .iter()
        .filter(|import| !import.reexport)
        // What only gets another name is not used yet.
        .filter(|import| !(import.path.is_empty() && import.name.is_some()))
        .flat_map(|import| reached(files, &absolute(name, import), import.is_glob))
        .filter(|target| *target != name)
        .collect()
}

/// The files that define what `path` names, or all that has a name there.
fn reached<'a>(files: &'a Files, path: &[String], is_glob: bool) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::from_iter(target(files, path));
    if is_glob && let Some((file, source)) = files.get_key_value(&join(path)) {
        let handed_on = source.imports.iter().filter(|import| import.reexport);
        for import in handed_on.filter(|import| !import.path.is_empty()) {
            let path = absolute(file, import);
            reached.extend(self::reached(files, &path, import.is_glob));
        }
    }
    reached
}

/// The segments of an import, counted from the root of the crate.
fn absolute(file: &str, import: &Import) -> Vec<String> {
    let own: Vec<_> = segments(file).map(str::to_owned).collect();
    let kept = import.up.map_or(0, |up| own.len().saturating_sub(up));
    [&own[..kept], &import.path].concat()
}

/// The file that defines what `path` names; a name that is handed on is followed.
fn target<'a>(files: &'a Files, path: &[String]) -> Option<&'a str> {
    let depth = (0..=path.len())
        .rev()
        .find(|depth| files.contains_key(&join(&path[..*depth])))?;
    let (file, source) = files.get_key_value(&join(&path[..depth]))?;
    let handed_on = path
        .get(depth)
        .and_then(|name| handed_on(files, file, source, name));
    match handed_on {
        Some(begin) => target(files, &[&begin[..], &path[depth + 1..]].concat()),
        None => Some(file),
    }
}

/// From where a file hands on what has this name, if it does.
fn handed_on(files: &Files, file: &str, source: &Source, name: &str) -> Option<Vec<String>> {
    let reexports = source.imports.iter().filter(|import| import.reexport);
    let mut named = reexports.clone();
    if let Some(import) = named.find(|import| import.name.as_deref() == Some(name)) {
        return Some(absolute(file, import));
    }
    if source.defines.contains(name) {
        return None;
    }
    let all = reexports.filter(|import| import.is_glob && !import.path.is_empty());
    let mut modules = all.filter_map(|import| files.get_key_value(&join(&absolute(file, import))));
    let of = |(module, source): (&String, &Source)| {
        if source.defines.contains(name) {
            let module = segments(module).map(str::to_owned);
            return Some(module.chain([name.to_owned()]).collect());
        }
        handed_on(files, module, source, name)
    };
    modules.find_map(of)
}

/// The segments of a module path; `lib`, the root, has none.
fn segments(module: &str) -> impl Iterator<Item = &str> {
    module.split("::").filter(|segment| *segment != "lib")
}

fn join(path: &[String]) -> String {
    if path.is_empty() {
        "lib".to_owned()
    } else {
        path.join("::")
    }
}

/// The top-level module of a file.
fn module(file: &str) -> &str {
    file.split("::").next().unwrap_or(file)
}

fn floor(file: &str) -> Option<usize> {
    FLOORS
        .iter()
        .position(|modules| modules.contains(&module(file)))
}

/// Why `file` must not import `target`, if so.
fn misplaced(file: &str, target: &str) -> Option<String> {
    let (own, other) = (floor(file)?, floor(target)?);
    if other > own {
        return Some(format!("{file} imports {target}, which is above it"));
    }
    let (from, to) = (module(file), module(target));
    (own == other && from != to && !SIBLINGS.contains(&(from, to)))
        .then(|| format!("{file} imports {target}, which stands beside it"))
}

/// One chain of imports that leads back to its beginning, if there is any.
fn cycle<'a>(graph: &Graph<'a>) -> Option<Vec<&'a str>> {
    let mut done = BTreeSet::new();
    graph
        .keys()
        .find_map(|file| cycle_behind(graph, file, &mut Vec::new(), &mut done))
}

fn cycle_behind<'a>(
    graph: &Graph<'a>,
    file: &'a str,
    chain: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    let start = chain.iter().position(|seen| *seen == file);
    chain.push(file);
    if let Some(start) = start {
        return Some(chain[start..].to_vec());
    }
    if done.insert(file) {
        for target in graph.get(file).into_iter().flatten() {
            if let Some(found) = cycle_behind(graph, target, chain, done) {
                return Some(found);
            }
        }
    }
    chain.pop();
    None
}

/// The complaints about made-up files, each given as module path and text.
fn complaints_about(files: &[(&str, &str)]) -> Vec<String> {
    let files = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), source(text)))
        .collect();
    complaints(&files)
}

#[test]
fn imports_of_lower_floors_and_of_the_own_module_are_fine() {
    let found = complaints_about(&[
        (
            "lib",
            "pub mod hash; pub mod blob; pub mod disk; pub mod http;",
        ),
        ("hash", "pub struct BlobHash;"),
        ("disk", "pub trait Disk {}"),
        (
            "blob",
            "pub mod spool; pub use spool::Spool; use crate::hash::BlobHash; pub struct BlobError;",
        ),
        (
            "blob::spool",
            "use super::BlobError; use crate::disk::Disk;",
        ),
        ("http", "use crate::blob::{Spool, BlobError};"),
        ("main", "fn main() { larder::http::run() }"),
    ]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_upward_import_is_found_wherever_it_hides() {
    for text in [
        "use crate::http::Router;",
        "use crate::{hash::BlobHash, http::{self, error::Error}};",
        "fn f() { crate::http::run(); }",
        "fn f() { println!(\"{}\", crate::http::LIMIT); }",
        "mod tests { use super::super::super::http::Router; }",
        "pub(crate) use crate::http::Router;",
    ] {
        let found = complaints_about(&[("hash", ""), ("store::gc", text), ("http", "")]);
        assert_eq!(
            found,
            ["store::gc imports http, which is above it"],
            "{text}"
        );
    }
}

#[test]
fn what_comments_and_strings_say_is_no_import() {
    let text = "//! See [`crate::http`].\n// use crate::http::X;\nconst S: &str = \"crate::http\";";
    let found = complaints_about(&[("store", text), ("http", "")]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn backends_never_import_each_other() {
    let found = complaints_about(&[("blob::local", "use crate::index::Index;"), ("index", "")]);
    assert_eq!(found, ["blob::local imports index, which stands beside it"]);
}

#[test]
fn what_lib_rs_defines_is_above_everybody() {
    let found = complaints_about(&[
        ("lib", "pub mod hash; pub fn version() {}"),
        ("hash", "use crate::version;"),
    ]);
    assert_eq!(found, ["hash imports lib, which is above it"]);
}

#[test]
fn a_new_module_needs_a_floor() {
    assert_eq!(complaints_about(&[("util", "")]), ["util has no floor"]);
}

#[test]
fn a_cycle_inside_a_module_is_found() {
    let found = complaints_about(&[
        ("http", "mod a; mod b; mod c;"),
        ("http::a", "use super::b::X;"),
        ("http::b", "use crate::http::c::X;"),
        ("http::c", "fn f() { super::a::f() }"),
    ]);
    let [found] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(found, "a cycle: http::a -> http::b -> http::c -> http::a");
}

#[test]
fn a_cycle_through_a_reexport_is_found() {
    let found = complaints_about(&[
        ("http", "mod a; mod b; pub use b::Name;"),
        ("http::a", "use super::Name;"),
        ("http::b", "use super::a::f; pub struct Name;"),
    ]);
    assert_eq!(found, ["a cycle: http::a -> http::b -> http::a"]);
}

#[test]
fn a_parent_that_uses_its_child_must_not_be_used_by_it() {
    let found = complaints_about(&[
        ("http", "mod a; fn f() { a::g() }"),
        ("http::a", "pub fn g() { super::f() }"),
    ]);
    assert_eq!(found, ["a cycle: http -> http::a -> http"]);
}

/// The cycle that there is between a file and its sibling, whose name their parent hands on.
const CYCLE: &str = "a cycle: http::a -> http::b -> http::a";

#[test]
fn a_cycle_through_a_reexport_is_found_however_that_is_written() {
    for (parent, user) in [
        ("pub use b::Name as Other;", "use super::Other;"),
        ("pub use b::Name as Other;", "use super::Other as Name;"),
        (
            "pub use self::b::{self as c, Name as Other};",
            "use super::{Other};",
        ),
        ("pub use b as c;", "use super::c::Name;"),
        ("pub use b::{self as c};", "fn f() { super::c::f() }"),
        ("pub(crate) use b::*;", "use super::Name;"),
        ("pub use b::*; pub struct Own;", "fn f(_: super::Name) {}"),
        ("pub use b::{*};", "use super::Name;"),
        ("pub use b::*;", "use super::*;"),
        ("pub use b::Name;", "use super::*;"),
        (
            "pub use b::Name as _; pub use b::*;",
            "use crate::http::{Name, *};",
        ),
    ] {
        let parent = format!("mod a; mod b; {parent}");
        let found = complaints_about(&[
            ("lib", "mod http;"),
            ("http", &parent),
            ("http::a", user),
            ("http::b", "use super::a::f; pub struct Name; pub fn f() {}"),
        ]);
        assert_eq!(found, [CYCLE], "{parent} {user}");
    }
}

#[test]
fn a_name_that_is_handed_on_from_farther_down_is_followed_to_its_end() {
    for (parent, child) in [
        ("pub use b::*;", "mod deep; pub use deep::*;"),
        ("pub use b::*;", "mod deep; pub use deep::Inner as Name;"),
        ("pub use b::Name;", "mod deep; pub use deep::*;"),
    ] {
        let parent = format!("mod a; mod b; {parent}");
        let found = complaints_about(&[
            ("http", &parent),
            ("http::a", "use super::Name;"),
            ("http::b", child),
            (
                "http::b::deep",
                "use crate::http::a::f; pub struct Name; pub struct Inner;",
            ),
        ]);
        let expected = "a cycle: http::a -> http::b::deep -> http::a";
        assert_eq!(found, [expected], "{parent} {child}");
    }
}

#[test]
fn what_a_file_defines_itself_is_no_name_that_it_hands_on() {
    let found = complaints_about(&[
        ("http", "mod a; mod b; pub use b::*; pub struct Own;"),
        ("http::a", "use super::Own;"),
        ("http::b", "use super::a::f; pub struct Name;"),
    ]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_module_under_another_name_is_what_it_was() {
    for text in [
        "use crate as x; fn f() { x::http::run() }",
        "use crate as x; use x::http as h; fn f(_: h::Router) {}",
        "use crate::{self as x}; use x::http::Router;",
        "extern crate self as x; use x::http::Router;",
        "use super::super as up; use up::http::Router;",
        "use {crate as x, std::fmt}; use x::http::Router;",
        "use ::larder::http::Router;",
        "use larder as x; type R = x::http::Router;",
    ] {
        let found = complaints_about(&[("lib", ""), ("store::gc", text), ("http", "")]);
        let expected = "store::gc imports http, which is above it";
        assert_eq!(found, [expected], "{text}");
    }
}

#[test]
fn what_a_name_of_a_use_leads_to_is_imported() {
    for text in [
        "use super::b; fn f() { b::c::f() }",
        "use super::b as other; fn f() { other::c::f() }",
        "use super as up; fn f() { up::b::c::f() }",
        "use crate::http; fn f() { http::b::c::f() }",
    ] {
        let found = complaints_about(&[
            ("http", ""),
            ("http::a", text),
            ("http::b", "pub mod c;"),
            ("http::b::c", "use crate::http::a::f;"),
        ]);
        let expected = "a cycle: http::a -> http::b::c -> http::a";
        assert_eq!(found, [expected], "{text}");
    }
}

#[test]
fn what_only_looks_like_another_name_is_none() {
    for text in [
        "fn f() -> u64 { super::N as u64 }",
        "use std as x; fn f() { x::http::run() }",
        "fn f<T: Into<u8>>(t: T) { T::into(t); } // http",
        "use crate::hash as h; fn f() { h::http() }",
        "pub(in crate::http) struct S;",
    ] {
        let found = complaints_about(&[
            ("store", "pub const N: u32 = 1;"),
            ("store::gc", text),
            ("hash", ""),
            ("http", ""),
        ]);
        assert_eq!(found, Vec::<String>::new(), "{text}");
    }
}
