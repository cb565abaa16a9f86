//! How much content a node keeps at most, whatever comes in at once.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use tempfile::TempDir;

use crate::common::commands;
use crate::common::content::content;
use crate::common::forms::{file, form, upload};
use crate::common::peers::keep;
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::tus;

/// One of these is spooled in memory, the other in a file.
const LENGTHS: [usize; 2] = [10_000, 200_000];

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

fn put(address: SocketAddr, bytes: &[u8]) -> Answer {
    upload(address, &form(&[file("a", bytes)]))
}

fn kept(address: SocketAddr) -> u64 {
    let status = get(address, "/api/p2p/status", &[]).json();
    status["blob_bytes"].as_u64().unwrap()
}

#[test]
fn uploads_at_once_never_exceed_it_together() {
    for length in LENGTHS {
        let quota = (10 * length).to_string();
        let (_dir, node) = start(&["--quota", &quota]);
        let address = node.address;
        let answers: Vec<Answer> = thread::scope(|scope| {
            let uploads = (0..32).map(|n| scope.spawn(move || put(address, &content(n, length))));
            let uploads: Vec<_> = uploads.collect();
            uploads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 200);
        assert_eq!((taken.len(), kept(address)), (10, 10 * length as u64));
        for answer in refused {
            assert_eq!(answer.refusal(), (507, "over_quota".to_owned()));
        }
        // Nothing of the others is left.
        assert_eq!(node.content_files().len(), 10);
    }
}

#[test]
fn the_same_content_brought_by_many_at_once_takes_its_room_once() {
    for length in LENGTHS {
        for round in 0..8 {
            let quota = length.to_string();
            let (_dir, node) = start(&["--quota", &quota]);
            let (address, start) = (node.address, Barrier::new(16));
            let answers: Vec<u16> = thread::scope(|scope| {
                let upload = |n: u32| {
                    // One of four brings something else, for which there is no room beside.
                    let bytes = content(if n % 4 == 3 { n } else { 0 }, length);
                    start.wait();
                    put(address, &bytes).status
                };
                let uploads = (0..16).map(|n| scope.spawn(move || upload(n)));
                let uploads: Vec<_> = uploads.collect();
                uploads.into_iter().map(|it| it.join().unwrap()).collect()
            });
            let taken = |is: fn(usize) -> bool| {
                let of_kind = answers.iter().enumerate().filter(|(n, _)| is(*n));
                of_kind.filter(|(_, status)| **status == 200).count()
            };
            let (same, others) = (taken(|n| n % 4 != 3), taken(|n| n % 4 == 3));
            assert!(
                (same, others) == (12, 0) || (same, others) == (0, 1),
                "round {round}: {answers:?}"
            );
            assert_eq!(kept(address), length as u64);
        }
    }
}

#[test]
fn known_content_costs_nothing_and_removed_content_is_given_back() {
    for length in LENGTHS {
        let quota = (2 * length).to_string();
        let (dir, node) = start(&["--quota", &quota]);
        let first = put(node.address, &content(1, length)).json();
        assert_eq!(put(node.address, &content(2, length)).status, 200);
        assert_eq!(put(node.address, &content(3, length)).status, 507);
        assert_eq!(put(node.address, &content(2, length)).status, 200);
        node.stop();
        let node = Node::start(&dir, &["--quota", &quota]);
        assert_eq!(put(node.address, &content(3, length)).status, 507);
        let id = first["file"]["file_id"].as_str().unwrap();
        let remove = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
        let ready = get(node.address, "/ready", &[]);
        assert_eq!(ready.refusal(), (503, "over_quota".to_owned()));
        assert_eq!(send(node.address, &remove).status, 200);
        assert_eq!(get(node.address, "/ready", &[]).status, 200);
        assert_eq!(put(node.address, &content(3, length)).status, 200);
        assert_eq!(kept(node.address), 2 * length as u64);
    }
}

/// The answer to the head of an upload of so many bytes, which are never sent.
fn announce(address: SocketAddr, length: usize) -> Answer {
    let length = format!("Content-Length: {length}");
    let kind = "Content-Type: multipart/form-data; boundary=b";
    let request = head(
        "POST",
        "/api/p2p/upload",
        &[kind, &length, "Expect: 100-continue"],
    );
    send(address, &request)
}

#[test]
fn what_can_never_fit_is_over_quota_and_what_is_longer_than_a_file_may_be_is_too_large() {
    let over_quota = || (507, "over_quota".to_owned());
    let too_large = || (413, "too_large".to_owned());
    let (_dir, node) = start(&["--quota", "100kB"]);
    let create = |node: &Node, length| tus::create(node.address, length, &[]);
    let never = || {
        [
            put(node.address, &content(1, 100_001)),
            announce(node.address, 3_000_000),
            create(&node, 100_001),
        ]
    };
    let assert_never = |answer: Answer| {
        assert_eq!(answer.refusal(), over_quota());
        // However long somebody waits.
        assert_eq!(answer.header("retry-after"), "", "{answer:?}");
        let told = answer.json()["message"].to_string();
        assert!(
            told.contains("longer than all that the node may keep"),
            "{told}"
        );
    };
    never().into_iter().for_each(assert_never);
    assert_eq!(put(node.address, &content(1, 100_000)).status, 200);
    // Also where nothing else is free.
    never().into_iter().for_each(assert_never);
    let later = put(node.address, &content(2, 50_000));
    assert_eq!(later.refusal(), over_quota());
    assert_eq!(later.header("retry-after"), "30");
    let most = send(node.address, &tus::request("OPTIONS", tus::TUS, &[], b""));
    assert_eq!(most.header("tus-max-size"), "100000");
    let (_dir, node) = start(&["--quota", "100kB", "--max-upload", "50kB"]);
    for length in [50_001, 100_001] {
        assert_eq!(
            put(node.address, &content(1, length)).refusal(),
            too_large()
        );
        assert_eq!(create(&node, length).refusal(), too_large());
    }
    assert_eq!(announce(node.address, 3_000_000).refusal(), too_large());
    assert_eq!(put(node.address, &content(1, 50_000)).status, 200);
}

#[test]
fn however_many_requests_fail_alike_few_lines_of_the_log_stand_out() {
    let (_dir, node) = start(&["--quota", "100kB"]);
    for _ in 0..100 {
        let created = tus::create(node.address, 100_001, &[]);
        assert_eq!(created.refusal(), (507, "over_quota".to_owned()));
    }
    let lines = until("each has its line", || {
        let log = node.log();
        let lines = log.lines().filter(|it| it.contains("status=507"));
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        (lines.len() == 100).then_some(lines)
    });
    let stand_out = lines.iter().filter(|it| it.contains(" WARN ")).count();
    // Even where one minute ends and another begins.
    assert!((1..=60).contains(&stand_out), "{stand_out}");
}

/// What a person is told of the refusal of so many bytes.
fn told(node: &Node, length: usize) -> String {
    let answer = put(node.address, &content(9, length)).json();
    answer["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_refusal_for_want_of_room_tells_how_much_there_is_and_who_can_make_more() {
    let (_dir, node) = start(&["--quota", "200KiB", "--max-upload", "1MiB"]);
    assert_eq!(put(node.address, &content(1, 150 << 10)).status, 200);
    for (length, told_of_it) in [
        (
            60 << 10,
            "of 200.00 KiB that it may keep (--quota), 50.00 KiB are free; remove files",
        ),
        (
            300 << 10,
            "longer than all that the node may keep, 200.00 KiB (--quota)",
        ),
        (
            2 << 20,
            "has at most 1048576 bytes (1.00 MiB), as --max-upload says",
        ),
    ] {
        let told = told(&node, length);
        assert!(told.contains(told_of_it), "{told}");
    }
    let (_dir, node) = start(&["--min-free", "1000TiB"]);
    let told = told(&node, 1000);
    assert!(
        told.contains("0 B are free beside 1000.00 TiB that stay so (--min-free)"),
        "{told}"
    );
}

#[test]
fn an_upload_in_parts_that_brings_all_at_its_creation_is_told_why_it_is_not_kept() {
    let (_dir, node) = start(&["--quota", "100kB"]);
    assert_eq!(put(node.address, &content(1, 60_000)).status, 200);
    // Which may be what is kept, until all of it is here.
    let new = tus::request(
        "POST",
        tus::TUS,
        &["Upload-Length: 60000", tus::PART],
        &content(2, 60_000),
    );
    let refused = send(node.address, &new);
    assert_eq!(refused.refusal(), (507, "over_quota".to_owned()));
    assert_eq!(kept(node.address), 60_000);
}

/// Has a node keep content of another one, and tells what became of it.
fn kept_copy(address: SocketAddr, hash: &str) -> String {
    keep(address, hash);
    until("it was tried", || {
        let keep = get(address, &format!("/api/p2p/keep/{hash}"), &[]).json();
        let keep = &keep["keep"];
        let state = keep["state"].as_str().unwrap();
        let tried = state != "fetching" && !(state == "waiting" && keep["error"].is_null());
        tried.then(|| format!("{}: {}", keep["state"].as_str().unwrap(), keep["error"]))
    })
}

#[test]
fn nothing_is_fetched_to_be_kept_for_which_there_is_no_room() {
    let (_dir, holder) = start(&[]);
    let (_other_dir, node) = start(&[
        "--quota",
        "100kB",
        "--discover-every",
        "1",
        "--peer",
        &holder.url(""),
    ]);
    let hash = |bytes: &[u8]| {
        let answer = put(holder.address, bytes).json();
        answer["file"]["hash"].as_str().unwrap().to_owned()
    };
    let never = kept_copy(node.address, &hash(&content(1, 100_001)));
    assert!(never.starts_with("failed: "), "{never}");
    assert_eq!(put(node.address, &content(2, 50_000)).status, 200);
    let waits = kept_copy(node.address, &hash(&content(3, 90_000)));
    assert!(waits.starts_with("waiting: "), "{waits}");
    assert_eq!(kept(node.address), 50_000);
}

#[test]
fn a_resumable_upload_is_refused_before_it_begins_or_when_it_ends() {
    let (_dir, node) = start(&["--quota", "100kB"]);
    let create = |length| tus::create(node.address, length, &[]);
    assert_eq!(create(100_001).refusal(), (507, "over_quota".to_owned()));
    let upload = tus::created(node.address, 60_000);
    assert_eq!(put(node.address, &content(1, 60_000)).status, 200);
    // Nothing that is kept is so long, so that it is sure to be new.
    assert_eq!(create(60_001).refusal(), (507, "over_quota".to_owned()));
    let ended = tus::patch(node.address, &upload, 0, &content(2, 60_000));
    assert_eq!(ended.refusal(), (507, "over_quota".to_owned()));
    assert_eq!(kept(node.address), 60_000);
}

#[test]
fn free_space_below_the_floor_refuses_content_and_nothing_else() {
    let (_dir, node) = start(&["--min-free", "1000TB"]);
    for length in LENGTHS {
        let answer = put(node.address, &content(1, length));
        assert_eq!(answer.refusal(), (507, "disk_full".to_owned()), "{length}");
    }
    let ready = get(node.address, "/ready", &[]);
    assert_eq!(ready.refusal(), (503, "disk_full".to_owned()));
    assert_eq!(kept(node.address), 0);
    assert!(node.content_files().is_empty());
}

/// Uploads content in one way, and tells the code of the refusal, if it was refused.
fn by_tus(address: SocketAddr, bytes: &[u8]) -> Result<(), (u16, String)> {
    let created = tus::create(address, bytes.len(), &[]);
    if created.status != 201 {
        return Err(created.refusal());
    }
    let path = &tus::path_of(&created);
    let ended = tus::patch(address, path, 0, bytes);
    if ended.status == 204 {
        Ok(())
    } else {
        Err(ended.refusal())
    }
}

fn by_form(address: SocketAddr, bytes: &[u8]) -> Result<(), (u16, String)> {
    let answer = put(address, bytes);
    if answer.status == 200 {
        Ok(())
    } else {
        Err(answer.refusal())
    }
}

fn by_command(node: &Node, bytes: &[u8]) -> Result<(), (u16, String)> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), bytes).unwrap();
    let output = commands::run(dir.path(), &node.url(""), &["put", "file"]);
    let told = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        Ok(())
    } else {
        let is_told = ["has too little room: of ", "longer than all that"];
        assert!(is_told.iter().any(|it| told.contains(it)), "{told}");
        assert!(told.contains("--quota"), "{told}");
        Err((507, "over_quota".to_owned()))
    }
}

/// What has this length and is not known is refused, whatever way it comes; what is known is
/// taken, after a restart too, with a quota that has become smaller than it alone.
#[test]
fn known_content_is_taken_in_every_way_where_no_other_of_its_length_fits() {
    for length in LENGTHS {
        let full = length.to_string();
        let smaller = (length / 2).to_string();
        let (dir, node) = start(&["--quota", &full]);
        assert_eq!(by_tus(node.address, &content(1, length)), Ok(()));
        assert_known_is_taken(&node, length, &full);
        node.stop();
        for quota in [full, smaller] {
            let node = Node::start(&dir, &["--quota", &quota]);
            assert_known_is_taken(&node, length, &quota);
            node.stop();
        }
    }
}

fn assert_known_is_taken(node: &Node, length: usize, quota: &str) {
    let files = || {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        status["local_files"].as_u64().unwrap()
    };
    let before = files();
    let over_quota = Err((507, "over_quota".to_owned()));
    for (bytes, wanted) in [
        (content(1, length), Ok(())),
        (content(2, length), over_quota),
    ] {
        for (way, came) in [
            ("form", by_form(node.address, &bytes)),
            ("tus", by_tus(node.address, &bytes)),
            ("put", by_command(node, &bytes)),
        ] {
            assert_eq!(came, wanted, "{length} {quota} {way}");
        }
    }
    assert_eq!(kept(node.address), length as u64);
    assert_eq!(files() - before, 3);
}

#[test]
fn what_a_full_node_has_already_is_kept_at_once() {
    for length in LENGTHS {
        let (_dir, holder) = start(&[]);
        let answer = put(holder.address, &content(1, length)).json();
        let hash = answer["file"]["hash"].as_str().unwrap();
        let full = length.to_string();
        let peer = holder.url("");
        let (dir, node) = start(&["--quota", &full]);
        assert_eq!(put(node.address, &content(1, length)).status, 200);
        node.stop();
        let smaller = (length / 2).to_string();
        for quota in [full, smaller] {
            let arguments = ["--quota", &quota, "--discover-every", "1", "--peer", &peer];
            let node = Node::start(&dir, &arguments);
            let came = kept_copy(node.address, hash);
            assert!(came.starts_with("kept: "), "{came}");
            assert_eq!(kept(node.address), length as u64);
            node.stop();
        }
    }
}
