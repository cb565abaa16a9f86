//! Content that was damaged on the disk: nothing of it is sent, it is remembered and told,
//! and the same content mends it, by whatever way it comes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::metrics::count;
use crate::common::peers::{post, until_held};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{get, head, send, until_the_end};
use crate::common::rot::{flip, set_len};
use crate::common::traced::TracedCalls;
use crate::common::tus;

/// Some pieces, and a part of a group.
const LONG: usize = 1_600_001;
/// The length of what is proven together at most.
const PIECE: usize = 256 * 1024;

/// A node with one file.
struct World {
    dir: TempDir,
    node: Node,
    bytes: Vec<u8>,
    hash: String,
    id: String,
}

/// What a node answers that found damage before it sent anything.
fn damaged() -> (u16, String) {
    (500, "damaged".to_owned())
}

impl World {
    fn new(size: usize) -> Self {
        Self::with(size, &[])
    }

    fn with(size: usize, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, arguments);
        let bytes = content(7, size);
        let file = uploaded(node.address, "a.bin", &bytes);
        let text = |key: &str| file[key].as_str().unwrap().to_owned();
        let (hash, id) = (text("hash"), text("file_id"));
        Self {
            dir,
            node,
            bytes,
            hash,
            id,
        }
    }

    fn in_shard(&self, dir: &str) -> PathBuf {
        let dir = self.dir.path().join("peer_storage").join(dir);
        dir.join(&self.hash[..2]).join(&self.hash)
    }

    fn blob(&self) -> PathBuf {
        self.in_shard("blobs")
    }

    fn by_id(&self) -> String {
        format!("/api/p2p/file/{}", self.id)
    }

    /// Every route that gives out this content.
    fn targets(&self) -> Vec<String> {
        let peers = get(self.node.address, "/api/peers", &[]).json();
        let me = peers["self"]["peer_id"].as_str().unwrap().to_owned();
        vec![
            self.by_id(),
            format!("/api/p2p/download/{me}/{}", self.id),
            format!("/api/p2p/download/{me}/a.bin"),
            format!("/api/p2p/blob/{}", self.hash),
            format!("/api/p2p/blob/{}/bao", self.hash),
        ]
    }

    fn assert_whole(&self, what: &str) {
        let answer = get(self.node.address, &self.by_id(), &[]);
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        assert!(answer.body == self.bytes, "{what}");
    }

    /// Fails unless the content is refused, by every route; of one that proves each group what is
    /// right may come before.
    fn assert_damaged(&self, what: &str) {
        for target in self.targets() {
            if target.ends_with("/bao") {
                let (status, body) = until_the_end(self.node.address, &target);
                let is_cut = status == 200 && body.len() < self.bytes.len();
                assert!(is_cut || status == 500, "{what}: {target}");
            } else {
                let answer = get(self.node.address, &target, &[]);
                assert_eq!(answer.refusal(), damaged(), "{what}: {target}");
            }
            let looked = send(self.node.address, &head("HEAD", &target, &[]));
            assert_eq!(looked.status, 500, "{what}: HEAD {target}");
        }
        assert_eq!(self.health()["damaged"], 1, "{what}");
    }

    /// Fails unless so many contents are told as damaged, and so many as unreadable.
    fn assert_found(&self, damaged: u64, unreadable: u64) {
        let health = self.health();
        let told = (&health["damaged"], &health["unreadable"]);
        assert_eq!(told, (&damaged.into(), &unreadable.into()), "{health}");
        let is_sound = damaged + unreadable == 0;
        let status = if is_sound { "healthy" } else { "degraded" };
        assert_eq!(health["status"], status, "{health}");
        assert_eq!(count(self.node.address, "larder_damaged_blobs"), damaged);
        assert_eq!(
            count(self.node.address, "larder_unreadable_blobs"),
            unreadable
        );
    }

    fn health(&self) -> Value {
        get(self.node.address, "/health", &[]).json()
    }

    /// The same storage directory under a new process.
    fn restarted(self) -> Self {
        self.node.stop();
        Self {
            node: Node::start(&self.dir, &[]),
            ..self
        }
    }
}

/// What can become of a blob's file, at once or before the first byte is sent.
type Damage = (&'static str, fn(&Path));

const WHOLE_FILE: [Damage; 13] = [
    ("first byte", |blob| flip(blob, 0)),
    ("first piece", |blob| flip(blob, PIECE - 1)),
    ("cut by one", |blob| set_len(blob, LONG - 1)),
    ("cut to a piece", |blob| set_len(blob, PIECE)),
    ("cut to a short one", |blob| set_len(blob, 65_536)),
    ("cut to nothing", |blob| set_len(blob, 0)),
    ("longer by one", |blob| set_len(blob, LONG + 1)),
    ("longer by a piece", |blob| set_len(blob, LONG + PIECE)),
    ("other content of this length", |blob| {
        fs::write(blob, content(8, LONG)).unwrap();
    }),
    ("gone", |blob| fs::remove_file(blob).unwrap()),
    ("a directory", |blob| {
        fs::remove_file(blob).unwrap();
        fs::create_dir(blob).unwrap();
        fs::write(blob.join("note"), "x").unwrap();
    }),
    ("a link to the content", |blob| {
        let aside = blob.with_extension("aside");
        fs::rename(blob, &aside).unwrap();
        symlink(&aside, blob).unwrap();
    }),
    ("a pipe", |blob| {
        fs::remove_file(blob).unwrap();
        let made = Command::new("mkfifo").arg(blob).status().unwrap();
        assert!(made.success());
    }),
];

#[test]
fn damage_before_the_first_byte_is_told_remembered_and_mended_by_an_upload() {
    for (what, damage) in WHOLE_FILE {
        let world = World::new(LONG);
        world.assert_whole(what);
        assert_eq!(world.health()["damaged"], 0);
        damage(&world.blob());
        world.assert_damaged(what);
        assert_eq!(
            count(world.node.address, "larder_damaged_blobs"),
            1,
            "{what}"
        );
        assert!(count(world.node.address, "larder_blob_damage_found_total") >= 1);
        let told = format!("content is damaged hash={}", world.hash);
        assert_eq!(world.node.log().matches(&told).count(), 1, "{what}");
        let world = world.restarted();
        assert_eq!(world.health()["damaged"], 1, "{what}");
        world.assert_damaged(what);
        assert_eq!(world.node.log().matches(&told).count(), 1, "{what}");
        let again = uploaded(world.node.address, "b.bin", &world.bytes);
        assert_eq!(again["hash"], world.hash);
        world.assert_whole(what);
        assert_eq!(world.health()["damaged"], 0, "{what}");
        assert_eq!(
            count(world.node.address, "larder_damaged_blobs"),
            0,
            "{what}"
        );
        let world = world.restarted();
        world.assert_whole(what);
        assert_eq!(world.health()["damaged"], 0, "{what}");
    }
}

/// The upload is what meets the damage: nobody has read the content since.
#[test]
fn an_acknowledged_upload_can_be_read_back_whatever_was_on_the_disk() {
    let ways: [fn(&World); 3] = [
        |world| drop(uploaded(world.node.address, "b.bin", &world.bytes)),
        |world| {
            let upload = tus::created(world.node.address, LONG);
            tus::patched(world.node.address, &upload, 0, &world.bytes);
        },
        |world| {
            let file = world.dir.path().join("c.bin");
            fs::write(&file, &world.bytes).unwrap();
            let mut put = larder(world.dir.path());
            put.env("LARDER_NODE", world.node.url(""));
            let put = put.arg("put").arg(&file).output().unwrap();
            assert!(put.status.success(), "{put:?}");
        },
    ];
    let last: Damage = ("last byte", |blob| flip(blob, LONG - 1));
    for (what, damage) in WHOLE_FILE.into_iter().chain([last]) {
        for (way, upload) in ways.iter().enumerate() {
            let world = World::new(LONG);
            damage(&world.blob());
            upload(&world);
            world.assert_whole(&format!("{what}, way {way}"));
            let world = world.restarted();
            world.assert_whole(&format!("{what}, way {way}, after a restart"));
            assert_eq!(world.health()["damaged"], 0, "{what}");
        }
    }
}

#[test]
fn damage_behind_the_first_byte_cuts_the_answer_before_anything_wrong() {
    for at in [PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE, LONG - 1] {
        let world = World::new(LONG);
        flip(&world.blob(), at);
        let (status, body) = until_the_end(world.node.address, &world.by_id());
        assert_eq!(status, 200, "{at}");
        assert!(body.len() <= at, "{at}");
        assert!(world.bytes.starts_with(&body), "{at}");
        until("it is remembered", || {
            (world.health()["damaged"] == 1).then_some(())
        });
        world.assert_damaged("then");
    }
}

#[test]
fn a_range_is_proven_and_damage_beside_it_does_not_matter() {
    let world = World::new(LONG);
    flip(&world.blob(), PIECE + 5);
    let range = |range: &str| {
        let range = format!("Range: bytes={range}");
        get(world.node.address, &world.by_id(), &[&range])
    };
    for (asked, part) in [
        ("0-0", 0..1),
        ("16383-16385", 16_383..16_386),
        ("100-262143", 100..PIECE),
        ("524288-", 2 * PIECE..LONG),
        ("-1", LONG - 1..LONG),
    ] {
        let answer = range(asked);
        assert_eq!(answer.status, 206, "{asked}");
        assert!(answer.body == world.bytes[part], "{asked}");
    }
    let several = range("0-9,524288-524289");
    assert_eq!(several.status, 206);
    // One of the group in which it is, though none of these bytes are wrong.
    assert_eq!(range("262156-262157,0-0").refusal(), damaged());
    assert_eq!(range("0-0").refusal(), damaged());
    let etag = format!("If-Range: \"{}\"", world.hash);
    let answer = get(
        world.node.address,
        &world.by_id(),
        &["Range: bytes=0-0", &etag],
    );
    assert_eq!(answer.refusal(), damaged());
}

#[test]
fn what_was_proven_moments_ago_is_proven_again_once_the_file_has_changed() {
    let world = World::new(LONG);
    // Old enough that what is proven of it is remembered.
    std::thread::sleep(std::time::Duration::from_millis(300));
    world.assert_whole("once");
    world.assert_whole("again");
    let blob = world.blob();
    let before = fs::metadata(&blob).unwrap().modified().unwrap();
    flip(&blob, 5);
    File::open(&blob).unwrap().set_modified(before).unwrap();
    world.assert_damaged("with the time of before");
    // Mended where it lies, as from a backup.
    flip(&blob, 5);
    world.assert_whole("mended");
    assert_eq!(world.health()["damaged"], 0);
}

#[test]
fn an_outboard_that_is_lost_or_damaged_stops_no_download() {
    let world = World::new(LONG);
    let outboard = world.in_shard("outboards");
    let sound = fs::read(&outboard).unwrap();
    let damages: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&outboard).unwrap(),
        &|| fs::write(&outboard, b"").unwrap(),
        &|| flip(&outboard, 0),
        &|| flip(&outboard, sound.len() - 1),
    ];
    for damage in damages {
        damage();
        world.assert_whole("without its outboard");
        let proof = format!("/api/p2p/blob/{}/bao", world.hash);
        assert_eq!(get(world.node.address, &proof, &[]).status, 200);
        assert!(fs::read(&outboard).unwrap() == sound);
    }
    assert_eq!(world.health()["damaged"], 0);
    // Nor one that cannot be made anew, as where no room is left: here something is in its
    // place.
    fs::remove_file(&outboard).unwrap();
    fs::create_dir(&outboard).unwrap();
    let answer = get(
        world.node.address,
        &world.by_id(),
        &["Range: bytes=5-900000"],
    );
    assert!(answer.body == world.bytes[5..=900_000]);
    world.assert_whole("without a place for an outboard");
    flip(&world.blob(), PIECE);
    let range = &["Range: bytes=0-9"];
    let answer = get(world.node.address, &world.by_id(), range);
    assert_eq!(answer.refusal(), damaged());
}

#[test]
fn short_content_is_proven_in_packs_and_mended_too() {
    let world = World::new(5_000);
    let packs = world.dir.path().join("peer_storage/packs");
    let pack = packs.join("0000000001.pack");
    // Behind the heads of the pack and of the entry.
    flip(&pack, 32 + 44 + 2_500);
    world.assert_damaged("in a pack");
    let world = world.restarted();
    assert_eq!(world.health()["damaged"], 1);
    world.assert_damaged("in a pack, after a restart");
    uploaded(world.node.address, "b.bin", &world.bytes);
    world.assert_whole("in a pack");
    assert_eq!(world.health()["damaged"], 0);
    let world = world.restarted();
    world.assert_whole("in a pack");
    assert_eq!(world.health()["damaged"], 0);
}

#[test]
fn damaged_content_of_a_file_that_is_removed_is_forgotten() {
    let world = World::new(LONG);
    flip(&world.blob(), 0);
    world.assert_damaged("before");
    let removed = send(world.node.address, &head("DELETE", &world.by_id(), &[]));
    assert_eq!(removed.status, 200);
    assert_eq!(world.health()["damaged"], 0);
    assert!(!world.blob().exists());
    let left = fs::read_dir(world.dir.path().join("peer_storage/damaged"));
    assert_eq!(left.unwrap().count(), 0);
}

#[test]
fn with_verified_reads_off_only_the_length_is_looked_at() {
    let off = ["--verify-reads", "off"];
    let world = World::with(LONG, &off);
    assert_eq!(world.health()["verify_reads"], false);
    flip(&world.blob(), 5);
    let answer = get(world.node.address, &world.by_id(), &[]);
    assert!(answer.status == 200 && answer.body != world.bytes);
    set_len(&world.blob(), LONG - 1);
    let answer = get(world.node.address, &world.by_id(), &[]);
    assert_eq!(answer.refusal(), damaged());
    // An upload is acknowledged all the same only for what can be read back.
    uploaded(world.node.address, "b.bin", &world.bytes);
    world.assert_whole("mended");
    flip(&world.blob(), 5);
    uploaded(world.node.address, "c.bin", &world.bytes);
    world.assert_whole("mended");
    let mut config = larder(world.dir.path());
    let told = config.arg("config").args(off).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("verify-reads = \"off\""), "{told}");
}

/// Reads of one file that fail in a running node until this is dropped.
fn unreadable(node: &Node, path: &Path) -> TracedCalls {
    TracedCalls::of_reads(node, path, "error=EIO")
}

#[test]
fn what_the_disk_does_not_give_is_out_of_reach_until_it_does_again_or_is_written_anew() {
    let of_pack = |world: &World| world.dir.path().join("peer_storage/packs/0000000001.pack");
    is_out_of_reach_until_it_is_mended(&World::new(LONG), World::blob);
    is_out_of_reach_until_it_is_mended(&World::new(5_000).restarted(), of_pack);
}

#[test]
fn what_was_unreadable_and_is_removed_meanwhile_is_forgotten_once_the_disk_gives_it() {
    let world = World::new(5_000).restarted();
    let pack = world.dir.path().join("peer_storage/packs/0000000001.pack");
    let failing = unreadable(&world.node, &fs::canonicalize(pack).unwrap());
    let answer = get(world.node.address, &world.by_id(), &[]);
    assert_eq!(answer.status, 503);
    world.assert_found(0, 1);
    let removed = send(world.node.address, &head("DELETE", &world.by_id(), &[]));
    assert_eq!(removed.status, 200);
    world.assert_found(0, 1);
    drop(failing);
    until("it is forgotten, and nothing else changes", || {
        (world.health()["unreadable"] == 0).then_some(())
    });
}

#[test]
fn uploads_to_a_disk_that_gives_nothing_back_leave_no_packs() {
    let world = World::new(5_000);
    let packs = world.dir.path().join("peer_storage/packs");
    let packs = fs::canonicalize(packs).unwrap();
    let names = || {
        let files = fs::read_dir(&packs).unwrap();
        let names = files.map(|it| it.unwrap().file_name());
        names.collect::<BTreeSet<_>>()
    };
    let before = names();
    let all = [1, 2, 3].map(|number| packs.join(format!("{number:010}.pack")));
    let failing =
        TracedCalls::of_all_reads(&world.node, &all.each_ref().map(|it| &**it), "error=EIO");
    for name in ["one", "two", "three"] {
        let form = form(&[file(name, name.as_bytes())]);
        assert_eq!(upload(world.node.address, &form).status, 503, "{name}");
        assert_eq!(names(), before, "{name}");
    }
    drop(failing);
    uploaded(world.node.address, "again", b"again");
}

fn is_out_of_reach_until_it_is_mended(world: &World, at: impl Fn(&World) -> PathBuf) {
    let blob = fs::canonicalize(at(world)).unwrap();
    let failing = unreadable(&world.node, &blob);
    for target in world.targets() {
        let answer = get(world.node.address, &target, &[]);
        assert_eq!(answer.refusal(), (503, "unreadable".to_owned()), "{target}");
        assert_eq!(answer.header("retry-after"), "5", "{target}");
        let looked = send(world.node.address, &head("HEAD", &target, &[]));
        assert_eq!(looked.status, 503, "HEAD {target}");
    }
    // A disk that fails proves nothing of what is on it.
    world.assert_found(0, 1);
    assert!(count(world.node.address, "larder_blob_read_errors_total") >= 1);
    let marks = fs::read_dir(world.dir.path().join("peer_storage/damaged"));
    assert_eq!(marks.map_or(0, Iterator::count), 0);
    let told = format!("content cannot be read from the disk hash={}", world.hash);
    let log = world.node.log();
    let lines: Vec<_> = log.lines().filter(|it| it.contains(&told)).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let path = at(world);
    let path = path.strip_prefix(world.dir.path()).unwrap();
    assert!(lines[0].contains(path.to_str().unwrap()), "{lines:?}");
    drop(failing);
    world.assert_whole("readable again");
    world.assert_found(0, 0);
    let failing = unreadable(&world.node, &blob);
    uploaded(world.node.address, "b.bin", &world.bytes);
    drop(failing);
    // Nobody says of what cannot be read what it is.
    let complaints = world.node.complaints();
    assert!(!complaints.contains("damaged"), "{complaints}");
    world.assert_whole("written anew");
    world.assert_found(0, 0);
}

/// What is damaged counts already, so its own content fits where nothing else does.
#[test]
fn damaged_content_is_mended_also_where_the_quota_is_used_up() {
    for size in [5_000, LONG] {
        let quota = (size + 10).to_string();
        let world = World::with(size, &["--quota", &quota]);
        if size == LONG {
            flip(&world.blob(), 9);
        } else {
            let pack = world.dir.path().join("peer_storage/packs/0000000001.pack");
            flip(&pack, 32 + 44 + 9);
        }
        uploaded(world.node.address, "b.bin", &world.bytes);
        world.assert_whole("mended");
    }
}

/// Another node has the content, too.
#[test]
fn what_is_damaged_here_comes_from_a_peer_and_a_keep_mends_it_without_a_second_file() {
    let often = ["--discover-every", "1"];
    let world = World::with(LONG, &often);
    let dir = tempfile::tempdir().unwrap();
    let url = world.node.url("");
    let holder = Node::start(&dir, &[&often[..], &["--peer", &url]].concat());
    let file = uploaded(holder.address, "theirs.bin", &world.bytes);
    until_held(world.node.address, &file["hash"], 2);
    for (what, is_noticed) in [("unnoticed", false), ("noticed", true)] {
        flip(&world.blob(), 9);
        if is_noticed {
            let by_hash = format!("/api/p2p/blob/{}", world.hash);
            for target in [world.by_id(), by_hash] {
                let answer = get(world.node.address, &target, &[]);
                assert!(
                    answer.status == 200 && answer.body == world.bytes,
                    "{target}"
                );
            }
        }
        let wanted = format!("{{\"hash\":\"{}\"}}", world.hash);
        let asked = post(world.node.address, "/api/p2p/keep", &wanted);
        assert_eq!(asked.status, 202, "{asked:?}");
        let target = format!("/api/p2p/keep/{}", world.hash);
        until("it is kept", || {
            let keep = get(world.node.address, &target, &[]).json();
            (keep["keep"]["state"] == "kept").then_some(())
        });
        world.assert_whole(what);
        assert_eq!(world.health()["damaged"], 0, "{what}");
        let files = get(world.node.address, "/api/p2p/files", &[]).json();
        assert_eq!(files["files"].as_array().unwrap().len(), 1, "{what}");
        send(world.node.address, &head("DELETE", &target, &[]));
    }
}

#[test]
fn a_hash_that_only_begins_as_a_content_is_nobodys() {
    for size in [10, LONG] {
        let World {
            dir, node, hash, ..
        } = World::new(size);
        for at in [1, 10, 20, 32, 63] {
            let mut other = hash.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            let other = String::from_utf8(other).unwrap();
            for path in [
                format!("/api/p2p/blob/{other}"),
                format!("/api/p2p/blob/{other}/bao"),
            ] {
                assert_eq!(get(node.address, &path, &[]).status, 404, "{size} {at}");
            }
            let wanted = format!("{{\"hash\":\"{other}\",\"original_name\":\"x\"}}");
            let asked = post(node.address, "/api/p2p/keep", &wanted);
            assert_ne!(asked.json()["state"], "kept", "{size} {at}");
        }
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(health["damaged"], 0, "{health}");
        let marks = fs::read_dir(dir.path().join("peer_storage/damaged"));
        assert_eq!(marks.map_or(0, Iterator::count), 0);
        let own = get(node.address, &format!("/api/p2p/blob/{hash}"), &[]);
        assert_eq!(own.status, 200);
    }
}

#[test]
fn whoever_asks_is_told_whether_content_is_damaged_or_missing() {
    let mut world = World::new(LONG);
    let told = |world: &World| {
        let answer = get(world.node.address, &world.by_id(), &[]);
        assert_eq!(answer.refusal(), damaged());
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    flip(&world.blob(), 5);
    assert!(told(&world).ends_with("is damaged"));
    fs::remove_file(world.blob()).unwrap();
    for _ in 0..2 {
        for _ in 0..2 {
            assert!(told(&world).ends_with("is missing"));
        }
        world.node.stop();
        world.node = Node::start(&world.dir, &[]);
    }
}
