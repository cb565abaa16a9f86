//! What is begun and not ended takes room of the quota, however it comes: all of it together is
//! no more than that and a stated bound, it gives its room back, and no client takes all of it.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, upload_request, uploaded};
use crate::common::peers::keep;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{Answer, connect, get, read_answer, send, until_read};
use crate::common::relay::Relay;
use crate::common::tus;

const QUOTA: u64 = 1_000_000;
/// What may come beyond the quota, as README tells.
const BEYOND: u64 = 64 << 20;
/// A quota for content that is so long that it comes to the disk before all of it is there.
const LARGE: u64 = 8 * MIB as u64;
const MIB: usize = 1 << 20;

fn start(dir: &TempDir, more: &[&str]) -> Node {
    start_with(dir, QUOTA, more)
}

fn start_with(dir: &TempDir, quota: u64, more: &[&str]) -> Node {
    let quota = quota.to_string();
    Node::start(dir, &[&["--quota", quota.as_str()], more].concat())
}

fn put(address: SocketAddr, bytes: &[u8]) -> Answer {
    upload(address, &form(&[file("a", bytes)]))
}

fn kept(address: SocketAddr) -> u64 {
    let status = get(address, "/api/p2p/status", &[]).json();
    status["blob_bytes"].as_u64().unwrap()
}

fn over_quota() -> (u16, String) {
    (507, "over_quota".to_owned())
}

/// How long each file of content is below a directory of the storage.
fn lengths_in(dir: &TempDir, below: &str) -> Vec<u64> {
    let files = fs::read_dir(dir.path().join("peer_storage").join(below)).unwrap();
    let files = files.filter_map(|it| it.ok()?.metadata().ok());
    // What tells of content is shorter, and a directory is no content.
    let long = files.filter(|it| it.is_file() && it.len() >= 10_000);
    long.map(|it| it.len()).collect()
}

fn stored_in(dir: &TempDir, below: &str) -> u64 {
    lengths_in(dir, below).into_iter().sum()
}

fn delete(address: SocketAddr, target: &str) -> u16 {
    send(address, &tus::request("DELETE", target, &[], b"")).status
}

/// A request of tus of which all but the last byte has been read, whose connection stays open.
fn under_way(address: SocketAddr, upload: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    let request = tus::patch_request(upload, 0, bytes, &[]);
    stream.write_all(&request[..request.len() - 1]).unwrap();
    until_read(&stream);
    stream
}

#[test]
fn unfinished_uploads_never_exceed_it_together_and_one_that_has_begun_comes_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = start(&dir, &[]);
    // None has the length of another, so that each is sure to be new.
    let bytes = |number: u32| content(number, 300_000 - usize::try_from(number).unwrap());
    let uploads = (0..20).map(|number| tus::created(node.address, bytes(number).len()));
    let uploads: Vec<_> = uploads.collect();
    let mut begun = Vec::new();
    for (number, upload) in (0..).zip(&uploads) {
        let first = &bytes(number)[..200_000];
        let answer = tus::patch(node.address, upload, 0, first);
        if answer.status == 204 {
            begun.push((number, upload));
        } else {
            assert_eq!(answer.refusal(), over_quota());
            assert!(!answer.header("retry-after").is_empty());
        }
    }
    // With the fourth is no room for all of a fifth.
    assert_eq!(begun.len(), 4, "{begun:?}");
    assert_eq!(stored_in(&dir, "uploading"), 800_000);
    for ends in [Node::stop, Node::kill] {
        let refused = put(node.address, &content(99, 200_001));
        assert_eq!(refused.refusal(), over_quota());
        ends(node);
        node = start(&dir, &[]);
    }
    // Before anybody asks for one of them.
    let refused = put(node.address, &content(99, 200_001));
    assert_eq!(refused.refusal(), over_quota());
    let ended = begun.iter().filter(|(number, upload)| {
        assert_eq!(tus::offset(node.address, upload), 200_000);
        let rest = &bytes(*number)[200_000..];
        let answer = tus::patch(node.address, upload, 200_000, rest);
        let total = kept(node.address) + stored_in(&dir, "uploading");
        assert!(total <= QUOTA, "{total}");
        answer.status == 204
    });
    assert_eq!(ended.count(), 2);
    for (_, upload) in &begun {
        assert_eq!(delete(node.address, upload), 204);
    }
    // What was given up takes nothing.
    let left = usize::try_from(QUOTA - kept(node.address)).unwrap();
    assert_eq!(put(node.address, &content(98, left)).status, 200);
    assert_eq!(kept(node.address), QUOTA);
}

#[test]
fn a_request_under_way_has_room_for_all_of_its_upload_and_gives_back_what_did_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir, &[]);
    let [slow, other] = [(); 2].map(|()| tus::created(node.address, 600_000));
    let bytes = content(1, 600_000);
    let first = under_way(node.address, &slow, &bytes[..100_000]);
    // Of the request; the upload is longer.
    let refused = put(node.address, &content(2, 400_001));
    assert_eq!(refused.refusal(), over_quota());
    let refused = tus::patch(node.address, &other, 0, &bytes[..1]);
    assert_eq!(refused.refusal(), over_quota());
    drop(first);
    until("what did not come is given back", || {
        (put(node.address, &content(2, 400_001)).status == 200).then_some(())
    });
    assert_eq!(tus::offset(node.address, &slow), 99_999);
    assert_eq!(
        tus::patch(node.address, &slow, 99_999, &bytes[99_999..]).refusal(),
        over_quota()
    );
    // Which has lost nothing of it.
    assert_eq!(tus::offset(node.address, &slow), 99_999);
}

#[test]
fn uploads_that_fill_it_at_once_all_come_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir, &[]);
    let address = node.address;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let uploads = (0..4).map(|number| {
            scope.spawn(move || {
                let path = tus::created(address, 250_000);
                tus::patch(address, &path, 0, &content(number, 250_000)).status
            })
        });
        let uploads: Vec<_> = uploads.collect();
        uploads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!((statuses, kept(address)), (vec![204; 4], QUOTA));
}

#[test]
fn a_crash_gives_no_room_away_and_what_is_cut_off_behind_it_takes_none() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(&dir, LARGE, &[]);
    let upload = tus::created(node.address, 6 * MIB);
    let bytes = content(1, 6 * MIB);
    tus::patched(node.address, &upload, 0, &bytes[..200_000]);
    let mut stream = connect(node.address);
    let request = tus::patch_request(&upload, 200_000, &bytes[200_000..], &[]);
    stream.write_all(&request[..request.len() - 1]).unwrap();
    until("much of it is on the disk", || {
        (stored_in(&dir, "uploading") > 3 * MIB as u64).then_some(())
    });
    node.kill();
    let there = stored_in(&dir, "uploading");
    let node = start_with(&dir, LARGE, &[]);
    let beside = usize::try_from(LARGE - there).unwrap();
    let refused = put(node.address, &content(2, beside + 1));
    assert_eq!(refused.refusal(), over_quota());
    let here = tus::offset(node.address, &upload);
    let beside = usize::try_from(LARGE).unwrap() - here;
    let taken = put(node.address, &content(2, beside));
    assert_eq!(taken.status, 200, "{here} of {there}: {taken:?}");
    assert_eq!(stored_in(&dir, "uploading"), here as u64);
}

#[test]
fn an_expired_upload_gives_its_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--upload-expiry", "1"];
    let node = start(&dir, &arguments);
    let upload = tus::created(node.address, 900_000);
    tus::patched(node.address, &upload, 0, &content(1, 800_000));
    node.stop();
    for entry in fs::read_dir(dir.path().join("peer_storage/uploading")).unwrap() {
        let time = SystemTime::now() - Duration::from_hours(2);
        let file = File::open(entry.unwrap().path()).unwrap();
        file.set_modified(time).unwrap();
    }
    let node = start(&dir, &arguments);
    until("it is gone", || {
        (put(node.address, &content(2, 1_000_000)).status == 200).then_some(())
    });
    assert_eq!(stored_in(&dir, "uploading"), 0);
}

/// It is taken beyond the quota, since it might be what is kept.
#[test]
fn what_has_the_length_of_something_kept_and_is_new_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir, &[]);
    let length = usize::try_from(QUOTA).unwrap();
    let known = content(1, length);
    assert_eq!(put(node.address, &known).status, 200);
    for number in 2..5 {
        let upload = tus::created(node.address, length);
        let answer = tus::patch(node.address, &upload, 0, &content(number, length));
        assert_eq!(answer.refusal(), over_quota());
        assert_eq!(stored_in(&dir, "uploading"), 0);
        assert_eq!(tus::look(node.address, &upload).status, 404);
    }
    let upload = tus::created(node.address, length);
    tus::patched(node.address, &upload, 0, &known);
    assert_eq!(put(node.address, &known).status, 200);
    assert_eq!(kept(node.address), QUOTA);
}

#[test]
fn forms_at_once_are_no_more_than_the_bound_beyond_it_and_give_it_back() {
    const FORM: usize = 7 * MIB;
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(&dir, LARGE, &[]);
    let mut held = Vec::new();
    let mut refused = 0;
    for number in 0..12 {
        let request = upload_request(&form(&[file("a", &content(number, FORM))]), &[]);
        let mut stream = connect(node.address);
        // All but the end of the form; who is refused may be cut off before that.
        let sent = stream.write_all(&request[..request.len() - 10]);
        let is_held = sent.is_ok()
            && until("it is spooled or refused", || {
                let answered = answer_begins(&stream);
                let spooled = lengths_in(&dir, "spool");
                assert!(spooled.iter().sum::<u64>() <= LARGE + BEYOND, "{spooled:?}");
                let long = spooled.iter().filter(|it| **it >= 3 * MIB as u64).count();
                (answered || long > held.len()).then_some(!answered)
            });
        if is_held {
            held.push(stream);
        } else {
            refused += 1;
        }
    }
    assert_eq!((held.len(), refused), (10, 2));
    // What has room of the quota, or is short, comes beside them.
    let path = tus::created(node.address, 300_000);
    tus::patched(node.address, &path, 0, &content(200, 300_000));
    assert_eq!(put(node.address, &content(201, 10_000)).status, 200);
    let other = content(202, 3 * MIB);
    assert_eq!(put(node.address, &other).refusal(), over_quota());
    drop(held);
    until("what they took is given back", || {
        (put(node.address, &other).status == 200).then_some(())
    });
    until("nothing of them is left", || {
        (stored_in(&dir, "spool") == 0).then_some(())
    });
}

/// Whether an answer has come, or the end of the connection.
fn answer_begins(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn copies_under_way_take_room_and_what_has_come_of_one_keeps_it_until_it_is_given_up() {
    const QUOTA: u64 = 40 << 20;
    let holder_dir = tempfile::tempdir().unwrap();
    let relay = Relay::new();
    let holder = Node::start(&holder_dir, &["--base-url", &relay.url()]);
    relay.connect(holder.address);
    let bytes = content(1, 32 * MIB);
    let told = uploaded(holder.address, "a", &bytes);
    let hash = told["hash"].as_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let url = relay.url();
    let arguments = ["--discover-every", "1", "--peer", &url];
    let node = start_with(&dir, QUOTA, &arguments);
    until("the content is known", || {
        let listed = get(node.address, "/api/p2p/network", &[]);
        String::from_utf8_lossy(&listed.body)
            .contains(&hash)
            .then_some(())
    });
    relay.stall_after(20 * MIB as u64);
    keep(node.address, &hash);
    until("much of it has come", || {
        (stored_in(&dir, "keeping") > 2 * MIB as u64).then_some(())
    });
    let refused = put(node.address, &content(2, 8 * MIB + 1));
    assert_eq!(refused.refusal(), over_quota());
    node.kill();
    let there = stored_in(&dir, "keeping");
    let node = start_with(&dir, QUOTA, &arguments);
    let beside = usize::try_from(QUOTA - there).unwrap();
    let refused = put(node.address, &content(2, beside + 1));
    assert_eq!(refused.refusal(), over_quota());
    assert_eq!(delete(node.address, &format!("/api/p2p/keep/{hash}")), 200);
    until("it is given up", || {
        (put(node.address, &content(2, 40 * MIB)).status == 200).then_some(())
    });
    assert_eq!(stored_in(&dir, "keeping"), 0);
}

/// Makes tokens of two clients, and returns the lines that send them.
fn two_clients(dir: &TempDir) -> [String; 2] {
    ["one", "other"].map(|name| {
        let arguments = ["token", name, "--rights", "write", "--tokens", "tokens"];
        let output = larder(dir.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let token = String::from_utf8(output.stdout).unwrap();
        format!("Authorization: Bearer {}", token.trim())
    })
}

/// Begins an upload of a client, with so many of its bytes.
fn begin(node: &Node, token: &str, length: usize, bytes: &[u8]) -> Answer {
    let created = tus::create(node.address, length, &[token]);
    if created.status != 201 {
        return created;
    }
    let path = tus::path_of(&created);
    let request = tus::patch_request(&path, 0, bytes, &[token]);
    send(node.address, &request)
}

#[test]
fn one_client_leaves_others_room_however_many_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = two_clients(&dir);
    let node = start(&dir, &["--tokens", "tokens"]);
    let bytes = content(1, 500_000);
    let answers = [(); 20].map(|()| begin(&node, &one, 100_000, &bytes[..99_999]));
    let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 204);
    assert_eq!(taken.len(), 5);
    for answer in refused {
        assert_eq!(answer.refusal(), over_quota());
        assert!(!answer.header("retry-after").is_empty());
    }
    let answer = begin(&node, &other, 500_000, &bytes);
    assert_eq!(answer.status, 204, "{answer:?}");
}

#[test]
fn one_content_of_a_client_may_take_all_that_is_free_and_no_more_of_it_than_half_before_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = two_clients(&dir);
    let node = start(&dir, &["--tokens", "tokens"]);
    let bytes = content(1, 990_000);
    let created = tus::create(node.address, bytes.len(), &[&one]);
    let mut stream = connect(node.address);
    let path = tus::path_of(&created);
    let request = tus::patch_request(&path, 0, &bytes, &[&one]);
    stream
        .write_all(&request[..request.len() - 900_000])
        .unwrap();
    until_read(&stream);
    let answer = begin(&node, &other, 400_000, &bytes[..100]);
    assert_eq!(answer.status, 204, "{answer:?}");
    stream
        .write_all(&request[request.len() - 900_000..])
        .unwrap();
    let ended = read_answer(&mut stream, false);
    assert_eq!(ended.status, 204, "{ended:?}");
}
