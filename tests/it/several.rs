//! Commands that are asked for several things: by name, id, hash, beginning, folder or pattern,
//! of which one that fails stops no other.

use std::fs;
use std::path::Path;

use larder::hash::BlobHash;
use serde_json::Value;

use crate::common::canned::{Canned, Reply};
use crate::common::commands::{command, done, failed, json, names, run};
use crate::common::forms::uploaded;
use crate::common::peers::held;
use crate::common::process::{Node, start};
use crate::common::raw_http::get;

/// All that is in a folder: the paths of files and what is in them, sorted.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                files.push((name.to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// The names of a node's files, sorted.
fn held_names(node: &Node) -> Vec<String> {
    let files = held(node.address);
    let names = files.iter().map(|it| it["original_name"].as_str().unwrap());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_folder_comes_back_as_it_went() {
    let (_dir, node) = start();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, url) = (here.path(), node.url(""));
    let photos = here.join("photos");
    fs::create_dir_all(photos.join("2026/jan")).unwrap();
    for (name, content) in [
        ("a.jpg", "a"),
        ("2026/b.jpg", "b"),
        ("2026/jan/c d.jpg", "c"),
        ("2026/jan/empty", ""),
    ] {
        fs::write(photos.join(name), content).unwrap();
    }
    done(here, &url, &["put", "photos"]);
    uploaded(node.address, "photos2", b"of another name");
    for (arguments, below) in [
        (&["get", "photos"][..], "photos"),
        (&["get", "photos/"], "photos"),
        (&["get", "photos", "-o", "new/er"], "new/er/photos"),
        (&["get", "phot*s/", "-o", "x"], "x/photos"),
        (&["get", "photos/**", "-o", "y/"], "y/photos"),
    ] {
        let told = done(there.path(), &url, arguments);
        assert_eq!(told.lines().count(), 4, "{told}");
        assert_eq!(
            tree(&there.path().join(below)),
            tree(&photos),
            "{arguments:?}"
        );
    }
    // Once more, there is nothing to do; what differs is told, and the rest comes.
    done(there.path(), &url, &["get", "photos"]);
    fs::write(there.path().join("photos/a.jpg"), "mine").unwrap();
    fs::remove_file(there.path().join("photos/2026/b.jpg")).unwrap();
    let output = run(there.path(), &url, &["get", "photos"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("photos/a.jpg is there already"), "{told}");
    assert!(told.contains("not got, 1 of 4: photos/a.jpg"), "{told}");
    assert_eq!(
        fs::read(there.path().join("photos/a.jpg")).unwrap(),
        b"mine"
    );
    assert_eq!(
        fs::read(there.path().join("photos/2026/b.jpg")).unwrap(),
        b"b"
    );
    // One file of it goes by the last part of its name.
    done(
        there.path(),
        &url,
        &["get", "photos/2026/b.jpg", "-o", "one/"],
    );
    assert_eq!(names(&there.path().join("one")), ["b.jpg"]);
    let inner = done(there.path(), &url, &["rm", "photos/2026"]);
    assert_eq!(inner.lines().count(), 3, "{inner}");
    assert_eq!(held_names(&node), ["photos/a.jpg", "photos2"]);
}

#[test]
fn one_of_several_that_fails_stops_no_other() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    for name in ["a", "b", "c"] {
        uploaded(node.address, name, name.as_bytes());
    }
    uploaded(node.address, "two", b"one");
    uploaded(node.address, "two", b"other");
    for (verb, done) in [("keep", "kept"), ("get", "got"), ("rm", "removed")] {
        let output = run(here, &url, &[verb, "a", "none", "b", "two", "c"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{verb}: {told}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.lines().count(), 3, "{verb}: {printed}");
        assert!(
            told.contains("no file has the id, hash or name none"),
            "{told}"
        );
        assert!(told.contains("two means several files"), "{told}");
        let last = told.lines().last().unwrap();
        assert_eq!(last, format!("larder: not {done}, 2 of 5: none, two"));
        if verb == "get" {
            assert_eq!(names(here), ["a", "b", "c"]);
        }
    }
    assert_eq!(held_names(&node), ["two", "two"]);
    // Where nothing can go better, nothing else is tried.
    let nobody = "http://localhost:1";
    for verb in ["get", "keep", "rm", "info"] {
        let (status, told) = failed(here, nobody, &[verb, "a", "b", "c"]);
        assert_eq!(
            (status, told.matches("no node answers").count()),
            (5, 1),
            "{told}"
        );
    }
}

#[test]
fn several_go_to_a_folder_or_one_after_another_to_standard_output() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    for name in ["a1", "a2", "b"] {
        uploaded(node.address, name, name.as_bytes());
    }
    assert_eq!(
        done(here, &url, &["get", "a1", "a2", "b", "-o", "-"]),
        "a1a2b"
    );
    done(here, &url, &["get", "a1", "b", "-o", "made"]);
    assert_eq!(names(&here.join("made")), ["a1", "b"]);
    done(here, &url, &["get", "a2", "-o", "deep/er/"]);
    assert_eq!(names(&here.join("deep/er")), ["a2"]);
    done(here, &url, &["get", "a*"]);
    assert_eq!(names(here), ["a1", "a2", "deep", "made"]);
    let (status, told) = failed(here, &url, &["get", "a1", "b", "-o", "a1"]);
    assert_eq!(
        (status, told.contains("a1 is no folder")),
        (1, true),
        "{told}"
    );
    assert_eq!(fs::read(here.join("a1")).unwrap(), b"a1");
}

#[test]
fn beginnings_of_ids_and_hashes_mean_what_they_begin_if_that_is_one() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let first = uploaded(node.address, "first", b"first");
    let second = uploaded(node.address, "second", b"second");
    let hash = BlobHash::of(b"first").to_string();
    assert_eq!(text(&first["hash"]), hash);
    let (id, other) = (text(&first["file_id"]), text(&second["file_id"]));
    let differs = id
        .bytes()
        .zip(other.bytes())
        .position(|(a, b)| a != b)
        .unwrap();
    for wanted in [
        &hash[..8],
        &hash[..4],
        &hash.to_uppercase(),
        &hash.to_uppercase()[..20],
        &id[..=differs.max(4)],
        &id.to_uppercase(),
        &id.replace('-', "")[..30],
    ] {
        assert_eq!(
            done(here, &url, &["get", wanted, "-o", "-"]),
            "first",
            "{wanted}"
        );
        done(here, &url, &["info", wanted]);
        done(here, &url, &["keep", wanted]);
    }
    let common = &id[..differs];
    for verb in ["get", "keep", "rm"] {
        let (status, told) = failed(here, &url, &[verb, common]);
        assert_eq!(status, 4, "{told}");
        assert!(told.contains(id) && told.contains(other), "{told}");
    }
    for (wanted, status) in [("zzzz", 3), (&hash[..3], 3), ("01", 3), ("", 2), ("/", 3)] {
        assert_eq!(failed(here, &url, &["get", wanted]).0, status, "{wanted}");
    }
    // A name goes before what only begins so.
    uploaded(node.address, &hash[..8], b"by name");
    assert_eq!(done(here, &url, &["get", &hash[..8], "-o", "-"]), "by name");
    done(here, &url, &["rm", &hash[..16].to_uppercase()]);
    assert_eq!(held_names(&node), [&hash[..8], "second"]);
}

#[test]
fn of_several_files_of_one_name_those_are_taken_that_are_asked_for() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    for content in ["old", "old", "new"] {
        uploaded(node.address, "k", content.as_bytes());
    }
    for verb in ["get", "keep", "rm"] {
        let (status, told) = failed(here, &url, &[verb, "k"]);
        assert_eq!((status, told.contains("--newest")), (4, true), "{told}");
    }
    assert_eq!(
        done(here, &url, &["get", "k", "--newest", "-o", "-"]),
        "new"
    );
    assert_eq!(
        done(here, &url, &["get", "k", "--all", "-o", "-"]),
        "newold"
    );
    for _ in 0..2 {
        done(here, &url, &["get", "k", "--all"]);
        assert_eq!(names(here), ["k", "k.1"]);
        assert_eq!(fs::read(here.join("k")).unwrap(), b"new");
        assert_eq!(fs::read(here.join("k.1")).unwrap(), b"old");
    }
    done(here, &url, &["keep", "k", "--newest"]);
    assert_eq!(done(here, &url, &["keep", "k", "--all"]).lines().count(), 2);
    let all = get(node.address, "/api/p2p/files", &[]).json();
    let newest = all["files"][2]["file_id"].clone();
    let told = done(here, &url, &["rm", "k", "--newest"]);
    assert_eq!(told, format!("removed k ({})\n", text(&newest)));
    // What differs in nothing is one to people.
    assert_eq!(done(here, &url, &["rm", "k"]).lines().count(), 2);
    for content in ["old", "new"] {
        uploaded(node.address, "k", content.as_bytes());
    }
    assert_eq!(done(here, &url, &["rm", "k", "--all"]).lines().count(), 2);
    assert_eq!(held_names(&node), Vec::<String>::new());
    let (status, told) = failed(here, &url, &["rm", "k", "--all", "--newest"]);
    assert_eq!(status, 2, "{told}");
}

#[test]
fn a_name_is_found_however_its_letters_were_typed() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let (composed, apart) = ("caf\u{e9}.txt", "cafe\u{301}.txt");
    fs::create_dir(here.join("d\u{e9}")).unwrap();
    for (stored, typed) in [(composed, apart), (apart, composed)] {
        fs::write(here.join(stored), stored).unwrap();
        let sent = json(here, &url, &["put", stored]).remove(0);
        assert_eq!(sent["original_name"], stored, "stored as it came");
        let got = done(here, &url, &["get", typed, "-o", "-"]);
        assert_eq!(got, stored);
        assert_eq!(json(here, &url, &["ls", &typed.to_uppercase()]).len(), 1);
        let network = json(here, &url, &["ls", "--network", typed]);
        assert_eq!(network[0]["original_name"], stored);
        done(here, &url, &["keep", typed]);
        assert!(done(here, &url, &["info", typed]).contains(stored));
        done(here, &url, &["rm", typed]);
        fs::write(here.join("d\u{e9}").join(stored), stored).unwrap();
    }
    done(here, &url, &["put", "d\u{e9}"]);
    let (status, _) = failed(here, &url, &["get", "de\u{301}/caf\u{e9}.txt", "-o", "-"]);
    assert_eq!(status, 4, "two contents go by this name");
    assert_eq!(
        done(here, &url, &["rm", "de\u{301}/c*", "--all"])
            .lines()
            .count(),
        2
    );
}

#[test]
fn names_that_are_too_long_or_mislead_are_saved_under_others() {
    let (_dir, node) = start();
    let url = node.url("");
    for (name, like) in [
        ("\u{3042}".repeat(90) + ".txt", ".txt"),
        ("n".repeat(300), ""),
        ("n".repeat(236) + ".txt", ".txt"),
        ("n".repeat(255), ""),
        ("a\u{202e}gpj.exe".to_owned(), ".exe"),
    ] {
        let here = tempfile::tempdir().unwrap();
        let file = uploaded(node.address, &name, name.as_bytes());
        for (number, arguments) in [
            &["get", &name][..],
            &["get", text(&file["file_id"]), "-o", "d/"],
            &["get", text(&file["hash"]), "-o", "e/"],
        ]
        .into_iter()
        .enumerate()
        {
            let output = run(here.path(), &url, arguments);
            assert!(output.status.success(), "{output:?}");
            let [told, noted] =
                [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
            assert!(
                !told.contains('\u{202e}') && !noted.contains('\u{202e}'),
                "{told}{noted}"
            );
            let below = [".", "d", "e"][number];
            let saved = names(&here.path().join(below));
            let saved = saved
                .iter()
                .find(|it| !["d", "e"].contains(&&***it))
                .unwrap();
            assert!(
                saved.ends_with(like) && !saved.contains('\u{202e}'),
                "{saved}"
            );
            let is_as_it_came = name.len() <= 255 && !name.contains('\u{202e}');
            assert_eq!(*saved == name, is_as_it_came, "{saved}");
            let is_noted = noted.contains("saved under another name than its own");
            assert_eq!(is_noted, !is_as_it_came, "{noted}");
            let there = fs::read(here.path().join(below).join(saved)).unwrap();
            assert_eq!(there, name.as_bytes());
        }
        let (status, told) = failed(here.path(), &url, &["get", &name, "-o", &"x".repeat(300)]);
        assert_eq!(
            (status, told.contains("File name too long")),
            (1, true),
            "{told}"
        );
    }
}

#[test]
fn a_name_that_is_no_utf_8_is_found_as_it_was_sent() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    let name = OsStr::from_bytes(b"caf\xe9.txt");
    fs::write(here.join(name), "content").unwrap();
    for verb in ["put", "info", "keep", "get", "rm"] {
        let mut command = command(here, &url, &[verb]);
        if verb == "get" {
            command.args(["-o", "back"]);
        }
        let output = command.arg(name).output().unwrap();
        assert!(output.status.success(), "{verb}: {output:?}");
    }
    assert_eq!(fs::read(here.join("back")).unwrap(), b"content");
    assert_eq!(held_names(&node), Vec::<String>::new());
}

#[test]
fn names_that_are_no_utf_8_stay_apart_and_come_back_as_they_were() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let (_dir, node) = start();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, url) = (here.path(), node.url(""));
    let name = |bytes: &'static [u8]| OsStr::from_bytes(bytes);
    let folder = here.join(name(b"d\xfe"));
    fs::create_dir_all(folder.join(name(b"e\xff"))).unwrap();
    let paths = [
        name(b"a\xe8.txt"),
        name(b"a\xe9.txt"),
        name("a\u{fffd}.txt".as_bytes()),
        name("a\u{fffd}E9.txt".as_bytes()),
        name("a\u{e9}.txt".as_bytes()),
        name(b"e\xff/a"),
    ];
    for (number, path) in paths.iter().enumerate() {
        fs::write(folder.join(path), number.to_string()).unwrap();
    }
    let put = |path: &OsStr| {
        let output = command(here, &url, &["put", "--"])
            .arg(path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    put(folder.file_name().unwrap());
    let held: std::collections::BTreeSet<_> = held_names(&node).into_iter().collect();
    assert_eq!(held.len(), paths.len(), "{held:?}");
    let mut get = command(there.path(), &url, &["get"]);
    let output = get.arg(folder.file_name().unwrap()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for (number, path) in paths.iter().enumerate() {
        let back = fs::read(there.path().join(name(b"d\xfe")).join(path));
        assert_eq!(back.unwrap(), number.to_string().as_bytes(), "{path:?}");
    }
    // Each is found by its own name alone, and by the text that a list shows, which goes before a
    // name that looks like it.
    for (number, path) in paths.iter().enumerate().filter(|it| it.0 != 3) {
        put(folder.join(path).strip_prefix(here).unwrap().as_os_str());
        let last = Path::new(path).file_name().unwrap();
        let mut get = command(there.path(), &url, &["get", "--newest", "-o", "-"]);
        let output = get.arg(last).output().unwrap();
        assert_eq!(output.stdout, number.to_string().as_bytes(), "{output:?}");
    }
    for listed in held {
        let told = done(there.path(), &url, &["get", &listed, "-o", "-"]);
        assert_eq!(told.len(), 1, "{listed}");
    }
}

#[test]
fn a_listing_begins_with_the_newest_and_ends_where_it_is_told_to() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), node.url(""));
    for number in 0..5 {
        uploaded(node.address, &number.to_string(), &[number]);
    }
    let listed = |arguments: &[&str]| -> String {
        let files = json(here, &url, &[&["ls"], arguments].concat());
        files
            .iter()
            .map(|it| text(&it["original_name"]).to_owned())
            .collect()
    };
    for (arguments, order) in [
        (&[][..], "43210"),
        (&["--newest"], "43210"),
        (&["--oldest"], "01234"),
        (&["--limit", "2"], "43"),
        (&["-n", "2", "--oldest"], "01"),
        (&["--network", "--newest", "--limit=1"], "4"),
        (&["--limit", "9"], "43210"),
    ] {
        assert_eq!(listed(arguments), order, "{arguments:?}");
    }
    assert_eq!(failed(here, &url, &["ls", "--limit", "0"]).0, 2);
    fs::write(here.join("said"), "said").unwrap();
    done(here, &url, &["put", "said", "--description", "what it is"]);
    let long = done(here, &url, &["ls", "-l", "said"]);
    for part in [&BlobHash::of(b"said").to_string(), "what it is", " 4  "] {
        assert!(long.contains(part), "{part}: {long}");
    }
    let info = done(here, &url, &["info", "said"]);
    for part in [
        "name         said",
        "size         4 bytes",
        "description  what it is",
        &BlobHash::of(b"said").to_string(),
        &node.url("/api/p2p/file/"),
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
    let told = json(here, &url, &["info", "said", "0"]);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["description"], "what it is");
    assert!(text(&told[0]["download_url"]).starts_with(&node.url("/api/p2p/file/")));
}

#[test]
fn the_newest_are_listed_page_by_page_also_of_a_node_that_begins_with_the_oldest() {
    let file = |number: u32| {
        serde_json::json!({ "file_id": format!("01a20831-60df-7192-a718-{number:012x}"),
            "size": 1, "original_name": number.to_string(), "hash": null, "uploaded_at": "" })
    };
    let page = move |numbers: &[u32], next: Option<u32>| {
        let files: Vec<_> = numbers.iter().map(|it| file(*it)).collect();
        let next = next.map(|it| file(it)["file_id"].clone());
        Reply::Json(serde_json::json!({ "files": files, "next": next }).to_string())
    };
    let newest_first = Canned::start(move |_, asked| {
        assert!(asked.contains("order=newest"), "{asked}");
        let before = asked
            .split("before=")
            .nth(1)
            .map(|it| it.split(['&', ' ']).next().unwrap());
        match before.map(|it| it.chars().last().unwrap()) {
            None => page(&[5, 4], Some(4)),
            Some('4') => page(&[3, 2], Some(2)),
            _ => page(&[1], None),
        }
    });
    let older = Canned::start(move |_, asked| {
        if asked.contains("after=") {
            page(&[4, 5], None)
        } else {
            page(&[1, 2, 3], Some(3))
        }
    });
    let here = tempfile::tempdir().unwrap();
    for node in [newest_first, older] {
        for (arguments, order) in [(&["ls"][..], "54321"), (&["ls", "-n", "3"], "543")] {
            let told = done(here.path(), &node.url(), arguments);
            let names = told.lines().map(|line| line.split("  ").last().unwrap());
            assert_eq!(names.collect::<String>(), order, "{arguments:?}");
        }
    }
}

#[test]
fn a_peer_path_and_a_search_know_a_name_however_its_letters_were_typed() {
    let (_dir, node) = start();
    let own = get(node.address, "/api/p2p/files", &[]).json()["peer_id"].clone();
    for (stored, typed) in [
        ("caf\u{e9}.txt", "cafe%CC%81.txt"),
        ("nai\u{308}ve.txt", "na%C3%AFve.txt"),
    ] {
        uploaded(node.address, stored, stored.as_bytes());
        let path = format!("/api/p2p/download/{}/{typed}", text(&own));
        let got = get(node.address, &path, &[]);
        assert_eq!((got.status, &*got.body), (200, stored.as_bytes()), "{path}");
        for list in ["files", "network"] {
            let path = format!("/api/p2p/{list}?name={typed}");
            let found = get(node.address, &path, &[]).json();
            assert_eq!(found["files"][0]["original_name"], stored, "{path}");
        }
    }
}

#[test]
fn a_folder_without_files_is_told() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    fs::create_dir_all(here.path().join("e/f")).unwrap();
    fs::write(here.path().join("k"), "k").unwrap();
    let output = run(here.path(), &node.url(""), &["put", "k", "e"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        told,
        "larder: e is a folder without files, and is left out\n"
    );
    assert_eq!(
        (output.status.code(), held_names(&node)),
        (Some(0), vec!["k".to_owned()])
    );
    let output = run(here.path(), &node.url(""), &["put", "e"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        told,
        "larder: e is a folder without files, and is left out\n\
         larder: nothing is sent: there is no file in what is to be sent\n"
    );
    assert_eq!(output.status.code(), Some(0));
}
