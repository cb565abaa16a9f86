//! What `larder bench` tells is what the node did, and what is wrong is told as such.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use larder::hash::BlobHash;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::commands::{command, done, failed, json as lines};
use crate::common::metrics::Metrics;
use crate::common::process::{Node, larder, signal, start, until};
use crate::common::raw_http::get;

fn files(node: SocketAddr) -> u64 {
    let status = get(node, "/api/p2p/status", &[]).json();
    status["local_files"].as_u64().unwrap()
}

/// How many uploads the node itself says that it has answered well.
fn uploads(node: SocketAddr) -> u64 {
    let metrics = Metrics::of(node);
    let of = |route, method| metrics.requests(route, method, "2xx").unwrap_or(0.0);
    let sum = of("/api/p2p/upload/{*name}", "PUT") + of("/api/p2p/upload", "POST");
    sum.to_string().parse().unwrap()
}

fn of<'a>(told: &'a [Value], operation: &str) -> &'a Value {
    let found = told.iter().find(|it| it["operation"] == operation);
    found.unwrap_or_else(|| panic!("{operation} in {told:?}"))
}

/// A bench that has uploaded some files.
fn begun(here: &TempDir, node: &Node, arguments: &[&str]) -> Child {
    let mut bench = command(here.path(), &node.url(""), arguments);
    let bench = bench.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    until("some files", || (files(node.address) > 20).then_some(()));
    bench.unwrap()
}

#[test]
fn what_is_told_was_done_and_nothing_of_it_stays() {
    let (dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    for form in [&[][..], &["--form"]] {
        let before = uploads(node.address);
        let wanted = [
            "bench",
            "--mix=get=4,put=3,delete=2,list=1",
            "--size=0,1,4KiB,200KiB",
        ];
        let length = ["--files=20", "--connections=4", "--seconds=1s"];
        let told = lines(
            here.path(),
            &node.url(""),
            &[&wanted, &length, form].concat(),
        );
        for operation in ["get", "put", "delete", "list"] {
            let told = of(&told, operation);
            assert!(told["count"].as_u64().unwrap() > 0, "{told}");
            assert_eq!(
                (&told["failed"], &told["wrong"]),
                (&json!({}), &json!(0)),
                "{told}"
            );
            let [p50, p99, longest] =
                ["p50_ms", "p99_ms", "longest_ms"].map(|it| told[it].as_f64().unwrap());
            assert!(0.0 < p50 && p50 <= p99 && p99 <= longest, "{told}");
        }
        let came = uploads(node.address) - before;
        assert_eq!(came, 20 + of(&told, "put")["count"].as_u64().unwrap());
        assert_eq!(files(node.address), 0);
    }
    drop(dir);
}

#[test]
fn what_is_to_stay_is_named_and_can_be_removed() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let arguments = [
        "bench",
        "--mix=get",
        "--files=7",
        "--seconds=1s",
        "--keep",
        "-c2",
    ];
    let ended = command(here.path(), &node.url(""), &arguments)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(files(node.address), 7);
    let said = String::from_utf8(ended.stderr).unwrap();
    let (_, folder) = said.trim_end().split_once("7 files in ").unwrap();
    done(
        here.path(),
        &node.url(""),
        &["rm", "--yes", &format!("{folder}/")],
    );
    assert_eq!(files(node.address), 0);
}

#[test]
fn a_run_that_is_interrupted_tells_what_it_has_and_leaves_nothing() {
    for by in [Signal::INT, Signal::TERM] {
        let (_dir, node) = start();
        let here = tempfile::tempdir().unwrap();
        let arguments = ["bench", "--mix=put", "--seconds=1h", "--json"];
        let bench = begun(&here, &node, &arguments);
        signal(&bench, by);
        let ended = bench.wait_with_output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert!(told["count"].as_u64().unwrap() > 20, "{told}");
        assert_eq!(files(node.address), 0);
    }
}

#[test]
fn a_node_that_is_killed_makes_it_fail() {
    let (dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let arguments = ["bench", "--mix=put", "--seconds=5s", "--json"];
    let bench = begun(&here, &node, &arguments);
    node.kill();
    let ended = bench.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let failed = told["failed"].as_object().unwrap();
    assert!(failed.contains_key("no_connection"), "{told}");
    let said = String::from_utf8(ended.stderr).unwrap();
    let acknowledged = told["count"].as_u64().unwrap();
    assert!(
        said.contains("came to nothing") && said.contains("left there"),
        "{said}"
    );
    // What was acknowledged is there, and at most what was on its way besides.
    let node = Node::start(&dir, &[]);
    let there = files(node.address);
    assert!(
        (acknowledged..=acknowledged + 16).contains(&there),
        "{there} of {acknowledged}"
    );
}

#[test]
fn other_bytes_are_found() {
    for (lies, operation) in [(Lies::OfHash, "put"), (Lies::OfBytes, "get")] {
        let liar = liar(lies);
        let here = tempfile::tempdir().unwrap();
        let arguments = ["bench", "--files=2", "--seconds=1s", "-c1", "--json"];
        let mix = format!("--mix={operation}");
        let url = format!("http://{liar}");
        let ended = command(here.path(), &url, &[&arguments[..], &[&mix]].concat());
        let ended = { ended }.output().unwrap();
        assert_eq!(ended.status.code(), Some(7), "{ended:?}");
        let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(
            (&told["operation"], &told["count"]),
            (&json!(operation), &json!(0))
        );
        assert!(told["wrong"].as_u64().unwrap() > 0, "{told}");
    }
}

#[test]
fn other_bytes_are_found_before_anything_is_measured() {
    let liar = liar(Lies::OfHash);
    let here = tempfile::tempdir().unwrap();
    let arguments = ["bench", "--mix=get", "--files=2", "--seconds=1s", "-c1"];
    let (status, said) = failed(here.path(), &format!("http://{liar}"), &arguments);
    assert_eq!(status, 7, "{said}");
    assert!(said.contains("other bytes than it was given"), "{said}");
}

#[test]
fn an_answer_without_an_end_is_a_wrong_one_and_keeps_nobody_waiting() {
    let liar = liar(Lies::WithoutEnd);
    let here = tempfile::tempdir().unwrap();
    let arguments = [
        "bench",
        "--mix=get",
        "--files=2",
        "--seconds=1s",
        "-c1",
        "--json",
    ];
    let ended = command(here.path(), &format!("http://{liar}"), &arguments).output();
    let ended = ended.unwrap();
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(told["wrong"].as_u64().unwrap() > 0, "{told}");
}

#[test]
fn what_is_no_answer_of_a_larder_is_counted_as_none() {
    for (lies, operation) in [
        (Lies::OfList("<html></html>"), "list"),
        (Lies::OfList(r#"{"files":[]}"#), "list"),
        (Lies::OfRange, "get"),
    ] {
        let liar = liar(lies);
        let here = tempfile::tempdir().unwrap();
        let arguments = ["bench", "--files=2", "--seconds=1s", "-c1", "--json"];
        // With downloads, so that there are files.
        let arguments = [&arguments[..], &["--mix=get,list"]].concat();
        let output = command(here.path(), &format!("http://{liar}"), &arguments).output();
        let told = String::from_utf8(output.unwrap().stdout).unwrap();
        let told = told.lines().map(|it| serde_json::from_str(it).unwrap());
        let told: Vec<Value> = told.collect();
        let of_it = of(&told, operation);
        assert!(
            of_it["failed"]["other_answer"].as_u64().unwrap() > 0,
            "{told:?}"
        );
        assert_eq!(of_it["count"], 0, "{told:?}");
    }
}

#[test]
fn a_node_that_stands_still_ends_it_soon_after_its_time() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let arguments = ["bench", "--mix=put", "--seconds=2s", "--json"];
    let bench = begun(&here, &node, &arguments);
    node.signal(Signal::STOP);
    let began = Instant::now();
    let ended = bench.wait_with_output().unwrap();
    // Its time, ten seconds for what is under way, and thirty for a removal that comes to nothing.
    assert!(began.elapsed() < Duration::from_mins(1), "{ended:?}");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(told["failed"]["no_answer"], 16, "{told}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("left there"), "{said}");
    node.signal(Signal::CONT);
}

#[test]
fn who_ends_it_twice_waits_for_nothing() {
    for first in [Signal::INT, Signal::TERM] {
        let (_dir, node) = start();
        let here = tempfile::tempdir().unwrap();
        let bench = begun(&here, &node, &["bench", "--mix=put", "--seconds=1h"]);
        node.signal(Signal::STOP);
        let began = Instant::now();
        signal(&bench, first);
        // What is under way is given up, then what is to be removed is not.
        let mut bench = bench;
        until("it has ended", || {
            signal(&bench, Signal::INT);
            bench.try_wait().unwrap()
        });
        assert!(began.elapsed() < Duration::from_secs(10));
        node.signal(Signal::CONT);
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let here = tempfile::tempdir().unwrap();
    for wrong in [
        "--mix=got",
        "--mix=get=0",
        "--size=many",
        "--seconds=0",
        "--connections=0",
    ] {
        let (status, said) = failed(here.path(), "http://127.0.0.1:9", &["bench", wrong]);
        assert_eq!(status, 2, "{wrong}: {said}");
    }
    let (status, said) = failed(here.path(), "http://127.0.0.1:9", &["bench"]);
    assert_eq!(status, 5, "{said}");
    let dir = tempfile::tempdir().unwrap();
    let mut wants_a_token = larder(dir.path());
    wants_a_token.env("LARDER_TOKEN", "b3f1c6d2a4e5978812345678abcdef00");
    let node = Node::spawn(&dir, wants_a_token);
    let (status, said) = failed(here.path(), &node.url(""), &["bench", "--seconds=1"]);
    assert_eq!(status, 6, "{said}");
}

/// What a node lies about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lies {
    OfHash,
    OfBytes,
    WithoutEnd,
    OfList(&'static str),
    OfRange,
}

/// A node that keeps what it is sent in memory, and lies about it.
fn liar(lies: Lies) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kept = Arc::<Mutex<HashMap<String, Vec<u8>>>>::default();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = Arc::clone(&kept);
            thread::spawn(move || serve(stream.unwrap(), lies, &kept));
        }
    });
    address
}

fn serve(mut stream: TcpStream, lies: Lies, kept: &Mutex<HashMap<String, Vec<u8>>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(it) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = it.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = answer(&first, body, lies, kept);
        let is_get = first.starts_with("GET /api/p2p/file/");
        let head = match lies {
            Lies::WithoutEnd if is_get => "200 OK\r\nConnection: close".to_owned(),
            Lies::OfRange if is_get => format!("206 No\r\nContent-Length: {}", answer.len()),
            _ => format!("200 OK\r\nContent-Length: {}", answer.len()),
        };
        let head = format!("HTTP/1.1 {head}\r\n\r\n");
        let mut written = stream.write_all(&[head.as_bytes(), &answer].concat());
        while written.is_ok() && is_get && lies == Lies::WithoutEnd {
            written = stream.write_all(&[b'A'; 4096]);
        }
        if written.is_err() {
            return;
        }
    }
}

fn answer(
    first: &str,
    body: Vec<u8>,
    lies: Lies,
    kept: &Mutex<HashMap<String, Vec<u8>>>,
) -> Vec<u8> {
    let mut kept = kept.lock().unwrap();
    if first.starts_with("PUT") {
        let id = format!("01a22475-c7a4-759e-92c6-{:012x}", kept.len());
        let right = BlobHash::of(&body);
        let hash = if lies == Lies::OfHash {
            BlobHash::of(b"other")
        } else {
            right
        };
        kept.insert(id.clone(), body);
        let size = kept[&id].len();
        return json!({ "file": { "file_id": id, "hash": hash, "size": size } })
            .to_string()
            .into_bytes();
    }
    if let (Lies::OfList(list), true) = (lies, first.contains("/api/p2p/files")) {
        return list.as_bytes().to_vec();
    }
    let id = first.split(['/', ' ', '?']).find(|it| it.len() == 36);
    let Some(mut bytes) = id.and_then(|id| kept.get(id).cloned()) else {
        return b"{}".to_vec();
    };
    if matches!(lies, Lies::OfBytes | Lies::OfHash) {
        bytes[100] ^= 1;
    }
    bytes
}
