//! A disk that is full: uploads are refused, nothing is lost, and once there is
//! room again all goes on.
//!
//! The disk is a tmpfs that the test mounts, which takes root.

use serde_json::Value;

use crate::common::content::content;
use crate::common::forms::{BOUNDARY, file, form, upload, uploaded};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};
use crate::common::tus::{create, created, offset, patch, patched};
use crate::small_disk::{SmallDisk, free, storage};

/// What a node leaves free where nothing is said.
const RESERVE: u64 = 16 << 20;
/// A file that goes through several looks at the free space.
const HUGE: usize = 40 << 20;
const MEDIUM: usize = 4 << 20;
const FULL: (u16, &str) = (507, "disk_full");

/// A node and what it should hold.
struct Scenario {
    node: Node,
    /// Id and content of every file that was taken.
    kept: Vec<(String, Vec<u8>)>,
}

impl Scenario {
    fn start(disk: &SmallDisk) -> Self {
        // How far a scrub is would be written down meanwhile.
        Self {
            node: Node::start(&disk.dir, &["--scrub-every", "off"]),
            kept: Vec::new(),
        }
    }

    fn upload(&mut self, seed: u32, len: usize) {
        let bytes = content(seed, len);
        let taken = uploaded(self.node.address, "file", &bytes);
        self.kept.push((text(&taken["file_id"]), bytes));
    }

    /// Uploads until the disk is full; nothing is left of the last one.
    fn upload_until_full(&mut self) {
        for seed in 0.. {
            let bytes = content(seed, MEDIUM);
            let answer = upload(self.node.address, &form(&[file("file", &bytes)]));
            if answer.status != 200 {
                assert_full(&answer);
                break;
            }
            let id = text(&answer.json()["file"]["file_id"]);
            self.kept.push((id, bytes));
            assert!(
                self.kept.len() < 12,
                "more than the disk can hold was taken"
            );
        }
        assert!(self.kept.len() > 4, "only {} were taken", self.kept.len());
        self.check();
    }

    fn delete(&mut self) {
        let (id, _) = self.kept.remove(0);
        let request = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
        let answer = send(self.node.address, &request);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// What `GET /ready` says: the status and what it is called.
    fn ready(&self) -> (u16, String) {
        let answer = get(self.node.address, "/ready", &[]);
        match answer.status {
            200 => (200, text(&answer.json()["status"])),
            _ => answer.refusal(),
        }
    }

    /// Every file that was taken is there, whole, and nothing else.
    fn check(&self) {
        let list = get(self.node.address, "/api/p2p/files", &[]).json();
        let listed = list["files"].as_array().unwrap().iter();
        let mut listed: Vec<_> = listed.map(|file| text(&file["file_id"])).collect();
        let mut kept: Vec<_> = self.kept.iter().map(|(id, _)| id.clone()).collect();
        listed.sort();
        kept.sort();
        assert_eq!(listed, kept);
        for (id, bytes) in &self.kept {
            let answer = get(self.node.address, &format!("/api/p2p/file/{id}"), &[]);
            assert_eq!(answer.status, 200);
            assert!(answer.body == *bytes, "{id} is not what was uploaded");
        }
        until("nothing is left of what was refused", || {
            (self.node.content_files().len() == kept.len()).then_some(())
        });
        let long = self.kept.iter().filter(|(_, it)| it.len() >= MEDIUM);
        assert_eq!(self.node.outboard_files().len(), long.count());
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn assert_full(answer: &crate::common::raw_http::Answer) {
    let (status, code) = answer.refusal();
    assert_eq!((status, code.as_str()), FULL);
}

#[test]
fn a_full_disk_loses_nothing_and_takes_files_again_when_there_is_room() {
    let disk = SmallDisk::mount();
    let mut scenario = Scenario::start(&disk);
    scenario.upload(100, 10);
    assert_eq!(scenario.ready(), (200, "ready".to_owned()));
    scenario.upload_until_full();
    let filler = disk.fill_to(RESERVE);
    assert_eq!(scenario.ready(), (503, "disk_full".to_owned()));
    let before = free(&storage(&disk.dir));
    for len in [10, HUGE] {
        let body = form(&[file("file", &content(101, len))]);
        assert_full(&upload(scenario.node.address, &body));
        scenario.check();
    }
    assert!(free(&storage(&disk.dir)) >= before, "room was lost");
    scenario.delete();
    scenario.delete();
    std::fs::remove_file(filler).unwrap();
    assert_eq!(scenario.ready(), (200, "ready".to_owned()));
    scenario.upload(102, MEDIUM);
    scenario.check();
    scenario.node.stop();
    scenario.node = Node::start(&disk.dir, &[]);
    scenario.check();
}

#[test]
fn a_huge_upload_ends_in_the_middle_and_leaves_nothing() {
    let disk = SmallDisk::mount();
    let mut scenario = Scenario::start(&disk);
    scenario.upload(1, MEDIUM);
    let body = form(&[file("file", &content(2, HUGE))]);
    assert_full(&upload(scenario.node.address, &body));
    scenario.check();
    scenario.upload(3, MEDIUM);
    scenario.check();
}

#[test]
fn a_form_leaves_as_much_room_as_is_to_be_left() {
    let disk = SmallDisk::mount();
    let mut scenario = Scenario::start(&disk);
    scenario.upload(1, 10);
    // Less than is free, and more than may be taken.
    let body = form(&[file("file", &content(2, 36 << 20))]);
    let content_type = format!("Content-Type: multipart/form-data; boundary={BOUNDARY}");
    // Asked first, nothing of it is sent.
    let length = format!("Content-Length: {}", body.len());
    let lines = [&content_type, "Expect: 100-continue", &length];
    assert_full(&send(
        scenario.node.address,
        &head("POST", "/api/p2p/upload", &lines),
    ));
    // Nobody knows how long it will be.
    let lines = [&content_type, "Transfer-Encoding: chunked"];
    let mut request = head("POST", "/api/p2p/upload", &lines);
    request.extend(format!("{:x}\r\n", body.len()).into_bytes());
    request.extend([&body[..], b"\r\n0\r\n\r\n"].concat());
    assert_full(&send(scenario.node.address, &request));
    assert!(free(&storage(&disk.dir)) >= RESERVE);
    assert_eq!(scenario.ready(), (200, "ready".to_owned()));
    scenario.upload(3, MEDIUM);
    scenario.check();
}

#[test]
fn a_disk_that_others_have_filled_loses_nothing() {
    let disk = SmallDisk::mount();
    let mut scenario = Scenario::start(&disk);
    scenario.upload(1, 10);
    scenario.upload(2, MEDIUM);
    let filler = disk.fill();
    for len in [10, MEDIUM] {
        let body = form(&[file("file", &content(3, len))]);
        assert_full(&upload(scenario.node.address, &body));
    }
    scenario.check();
    scenario.node.kill();
    std::fs::remove_file(filler).unwrap();
    scenario.node = Node::start(&disk.dir, &[]);
    scenario.check();
    scenario.upload(4, MEDIUM);
    scenario.delete();
    scenario.check();
}

#[test]
fn an_upload_in_parts_waits_until_there_is_room_again() {
    let disk = SmallDisk::mount();
    let mut scenario = Scenario::start(&disk);
    let address = scenario.node.address;
    let bytes = content(1, 5 * MEDIUM);
    let upload = created(address, bytes.len());
    patched(address, &upload, 0, &bytes[..MEDIUM]);
    let filler = disk.fill();
    assert_full(&create(address, MEDIUM, &[]));
    assert_full(&patch(address, &upload, MEDIUM, &bytes[MEDIUM..]));
    assert_eq!(offset(address, &upload), MEDIUM);
    std::fs::remove_file(filler).unwrap();
    let last = patched(address, &upload, MEDIUM, &bytes[MEDIUM..]);
    let id = last.header("larder-file-id").to_owned();
    scenario.kept.push((id, bytes));
    scenario.check();
}
