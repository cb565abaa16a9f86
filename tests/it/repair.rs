//! What is stored and not whole comes again from whoever else has it, by itself, and clients notice
//! nothing of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::metrics::count;
use crate::common::peers::{post, until_held};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;
use crate::common::rot::{flip, set_len};

const GROUP: usize = 16 * 1024;
/// Some windows of a fetch, and a part of a group.
const LONG: usize = 4_000_001;
const SHORT: usize = 5_000;

/// Two nodes' directories, of which both have the same contents.
struct World {
    dirs: [TempDir; 2],
    /// Of each its bytes and its hash.
    contents: Vec<(Vec<u8>, String)>,
}

impl World {
    fn new(lengths: &[usize]) -> Self {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut contents = Vec::new();
        for dir in &dirs {
            let node = Node::start(dir, &["--scrub-every", "off"]);
            contents.clear();
            for (number, length) in (0..).zip(lengths) {
                let bytes = content(number, *length);
                let file = uploaded(node.address, &number.to_string(), &bytes);
                contents.push((bytes, file["hash"].as_str().unwrap().to_owned()));
            }
            node.stop();
        }
        Self { dirs, contents }
    }

    fn storage(&self) -> PathBuf {
        self.dirs[0].path().join("peer_storage")
    }

    fn in_shard(&self, dir: &str, number: usize) -> PathBuf {
        let hash = &self.contents[number].1;
        self.storage().join(dir).join(&hash[..2]).join(hash)
    }

    fn blob(&self, number: usize) -> PathBuf {
        self.in_shard("blobs", number)
    }

    /// The node that nothing happens to.
    fn holder(&self) -> Node {
        let often = ["--discover-every", "1", "--scrub-every", "off"];
        Node::start(&self.dirs[1], &often)
    }

    /// The node whose files are damaged.
    fn damaged(&self, holder: &Node, scrub_every: &str) -> Node {
        let peer = holder.url("");
        let arguments = ["--discover-every", "1", "--peer", &peer];
        let scrub = ["--scrub-every", scrub_every];
        Node::start(&self.dirs[0], &[&arguments[..], &scrub].concat())
    }

    /// The same, which reads all that is there at once.
    fn scrubbed(&self, holder: &Node) -> Node {
        let node = self.damaged(holder, "off");
        assert_eq!(post(node.address, "/api/p2p/scrub", "").status, 202);
        node
    }

    /// Waits until all is whole again, and looks whether it is.
    fn until_whole(&self, node: &Node, repaired: u64) {
        until("it is repaired", || {
            let count = count(node.address, "larder_repaired_blobs_total");
            assert!(count <= repaired, "{count} were repaired");
            (count == repaired && health(node)["damaged"] == 0).then_some(())
        });
        assert_eq!(health(node)["status"], "healthy");
        for (bytes, hash) in &self.contents {
            let answer = get(node.address, &format!("/api/p2p/blob/{hash}"), &[]);
            assert!(answer.status == 200 && answer.body == *bytes, "{hash}");
        }
    }
}

fn health(node: &Node) -> Value {
    get(node.address, "/health", &[]).json()
}

#[test]
fn what_a_scrub_finds_damaged_is_repaired_group_by_group_from_a_peer() {
    let world = World::new(&[LONG, LONG, SHORT]);
    let (first, last) = (3 * GROUP + 7, LONG - 1);
    flip(&world.blob(0), first);
    flip(&world.blob(0), 2_000_000);
    flip(&world.blob(0), last);
    flip(&world.storage().join("packs/0000000001.pack"), 32 + 44 + 9);
    let holder = world.holder();
    let node = world.scrubbed(&holder);
    world.until_whole(&node, 2);
    assert!(fs::read(world.blob(0)).unwrap() == world.contents[0].0);
    let groups = 2 * GROUP + LONG % GROUP;
    let fetched = count(node.address, "larder_repair_fetched_bytes_total");
    assert_eq!(usize::try_from(fetched).unwrap(), groups + SHORT);
    assert_eq!(count(node.address, "larder_repair_failures_total"), 0);
    let status = get(node.address, "/api/p2p/status", &[]).json();
    let repair = &status["repair"];
    assert_eq!(repair["repaired"], 2, "{repair}");
    assert_eq!(repair["unobtainable"], 0, "{repair}");
    for number in [0, 2] {
        let told = format!(
            "content is repaired from peers hash={}",
            world.contents[number].1
        );
        assert_eq!(node.log().matches(&told).count(), 1);
    }
    let left = fs::read_dir(world.storage().join("repairing")).unwrap();
    assert_eq!(left.count(), 0, "nothing is left of it");
    // It lasts.
    node.stop();
    let node = Node::start(&world.dirs[0], &["--scrub-every", "off"]);
    assert_eq!(health(&node)["damaged"], 0);
}

/// What can become of the file of a blob.
type Damage = fn(&World, usize, &Path);

const DAMAGES: [Damage; 9] = [
    |_, _, blob| set_len(blob, LONG - 1),
    |_, _, blob| set_len(blob, 0),
    |_, _, blob| set_len(blob, LONG + 300_000),
    |_, _, blob| fs::write(blob, content(1000, LONG)).unwrap(),
    |_, _, blob| fs::remove_file(blob).unwrap(),
    |_, _, blob| {
        fs::remove_file(blob).unwrap();
        fs::create_dir(blob).unwrap();
    },
    |_, _, blob| {
        fs::remove_file(blob).unwrap();
        symlink("/dev/zero", blob).unwrap();
    },
    |world, number, blob| {
        flip(blob, 2_000_000);
        fs::remove_file(world.in_shard("outboards", number)).unwrap();
    },
    |world, number, blob| {
        flip(blob, 2_000_000);
        flip(&world.in_shard("outboards", number), 20);
    },
];

#[test]
fn whatever_becomes_of_a_file_it_is_put_in_its_place_again() {
    let world = World::new(&[LONG; DAMAGES.len()]);
    for (number, damage) in DAMAGES.iter().enumerate() {
        damage(&world, number, &world.blob(number));
    }
    let holder = world.holder();
    let node = world.scrubbed(&holder);
    world.until_whole(&node, DAMAGES.len() as u64);
    for (number, (bytes, _)) in world.contents.iter().enumerate() {
        assert!(fs::read(world.blob(number)).unwrap() == *bytes, "{number}");
    }
}

/// What is right is found out by what a few groups of a peer prove.
#[test]
fn a_lost_or_wrong_outboard_does_not_have_all_of_a_content_fetched() {
    // 367 groups: a tree of nine levels.
    let world = World::new(&[6_000_001, 6_000_001]);
    for number in [0, 1] {
        flip(&world.blob(number), 5_000_000);
    }
    fs::remove_file(world.in_shard("outboards", 0)).unwrap();
    flip(&world.in_shard("outboards", 1), 77);
    let holder = world.holder();
    let node = world.scrubbed(&holder);
    world.until_whole(&node, 2);
    let fetched = count(node.address, "larder_repair_fetched_bytes_total");
    let of_each = usize::try_from(fetched).unwrap() / 2;
    assert!((GROUP..=10 * GROUP).contains(&of_each), "{of_each}");
}

#[test]
fn another_name_of_a_damaged_file_is_left_as_it_is() {
    let world = World::new(&[LONG]);
    let (blob, other) = (world.blob(0), world.dirs[0].path().join("other"));
    flip(&blob, 9);
    let damaged = fs::read(&blob).unwrap();
    fs::hard_link(&blob, &other).unwrap();
    let holder = world.holder();
    let node = world.scrubbed(&holder);
    world.until_whole(&node, 1);
    assert!(fs::read(&other).unwrap() == damaged);
}

#[test]
fn a_client_gets_the_right_bytes_wherever_damage_is_met() {
    // Too long for anybody to wait for its repair.
    const FAR: usize = 6_000_000;
    let world = World::new(&[FAR, SHORT]);
    let holder = world.holder();
    let node = world.damaged(&holder, "off");
    let (bytes, hash) = &world.contents[0];
    until_held(node.address, &Value::from(hash.as_str()), 2);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let mut ids = files["files"].as_array().unwrap().iter();
    let id = ids.find(|it| it["hash"] == *hash).unwrap()["file_id"].clone();
    let id = id.as_str().unwrap();
    let by_id = format!("/api/p2p/file/{id}");
    let ranges = [(0, FAR), (1_999_999, 2_000_001), (100, FAR - 100)];
    for (round, (from, to)) in ranges.into_iter().enumerate() {
        // Unknown until it is read: the head of the answer is on its way by then.
        flip(&world.blob(0), 2_000_000);
        flip(&world.blob(0), 5_999_999);
        let range = format!("Range: bytes={from}-{}", to - 1);
        let answer = get(node.address, &by_id, &[&range]);
        assert_eq!(answer.status, 206, "{answer:?}");
        assert!(answer.body == bytes[from..to], "{range}");
        world.until_whole(&node, round as u64 + 1);
    }
    flip(&world.blob(0), 2_000_000);
    let archive = get(node.address, &format!("/api/p2p/zip?id={id}"), &[]);
    assert_eq!(archive.status, 200);
    let has = |part: &[u8]| archive.body.windows(part.len()).any(|it| it == part);
    assert!(has(&bytes[1_990_000..1_990_100]) && has(&bytes[FAR - 100..]));
    world.until_whole(&node, 4);
}

/// How much of a repair is done when the node is killed: so many hundredths are gathered, or it is
/// in its place.
#[test]
fn a_node_killed_in_a_repair_has_the_damaged_content_or_the_whole_one_and_goes_on() {
    let world = World::new(&[5 * LONG]);
    let (bytes, hash) = &world.contents[0];
    let holder = world.holder();
    let gathered = world.storage().join("repairing").join(hash);
    let told = world.storage().join("damaged").join(hash);
    for hundredths in [0, 40, 99, 100] {
        flip(&world.blob(0), 9);
        flip(&world.blob(0), 15_000_000);
        let damaged = fs::read(world.blob(0)).unwrap();
        let node = world.scrubbed(&holder);
        until("so much is gathered", || {
            let is_there = fs::metadata(&gathered).is_ok_and(|it| {
                it.len() >= bytes.len() as u64 * hundredths / 100 && hundredths < 100
            });
            let is_gone = || count(node.address, "larder_repaired_blobs_total") == 1;
            (is_there || is_gone()).then_some(())
        });
        node.kill();
        let stored = fs::read(world.blob(0)).unwrap();
        if stored == damaged {
            assert!(told.exists(), "it is known at {hundredths}");
        } else {
            assert!(stored == *bytes, "at {hundredths}");
        }
        let is_mended = stored == *bytes;
        let node = world.scrubbed(&holder);
        world.until_whole(&node, u64::from(!is_mended));
        node.stop();
        assert!(!gathered.exists() && !told.exists());
    }
}

#[test]
fn what_no_node_has_is_listed_with_its_files_and_repaired_once_one_comes_that_has_it() {
    let world = World::new(&[LONG, SHORT]);
    flip(&world.blob(0), 2_000_000);
    let node = Node::start(
        &world.dirs[0],
        &["--scrub-every", "1s", "--discover-every", "1"],
    );
    let told = until("nobody has it", || {
        let health = health(&node);
        (health["unobtainable"] == 1).then_some(health)
    });
    assert_eq!(told["damaged"], 1, "{told}");
    assert_eq!(count(node.address, "larder_unobtainable_blobs"), 1);
    assert!(node.log().contains("no node that is known here has them"));
    let hash = &world.contents[0].1;
    let listed = get(node.address, "/api/p2p/scrub?files=1", &[]).json();
    let unsound = &listed["unsound"];
    assert_eq!(unsound.as_array().unwrap().len(), 1);
    assert_eq!(
        (&unsound[0]["hash"], &unsound[0]["repairable"]),
        (&json!(hash), &json!(false))
    );
    assert_eq!(unsound[0]["files"][0]["original_name"], "0");
    let verify = |arguments: &[&str]| {
        let verified = larder(world.dirs[0].path())
            .arg("verify")
            .args(arguments)
            .output();
        String::from_utf8(verified.unwrap().stdout).unwrap()
    };
    let concerned = format!("(0): its content {hash} is not whole");
    let of_node = verify(&["--node", &node.url("")]);
    assert!(of_node.contains(&concerned), "{of_node}");
    // It comes, and is found as others are.
    let peer = node.url("");
    let holder = Node::start(&world.dirs[1], &["--discover-every", "1", "--peer", &peer]);
    world.until_whole(&node, 1);
    until("it is told", || {
        (health(&node)["unobtainable"] == 0).then_some(())
    });
    holder.stop();
    node.stop();
    flip(&world.blob(0), 2_000_000);
    let offline = verify(&[]);
    assert!(offline.contains(&concerned), "{offline}");
}

#[test]
fn two_nodes_that_each_have_another_part_damaged_repair_each_other() {
    let world = World::new(&[LONG]);
    let hash = &world.contents[0].1;
    let other = world.dirs[1].path().join("peer_storage/blobs");
    flip(&world.blob(0), 9);
    flip(&other.join(&hash[..2]).join(hash), 3_000_000);
    let often = ["--discover-every", "1", "--scrub-every", "1s"];
    let holder = Node::start(&world.dirs[1], &often);
    until("its damage shows", || {
        (health(&holder)["damaged"] == 1).then_some(())
    });
    let node = world.scrubbed(&holder);
    for node in [&node, &holder] {
        world.until_whole(node, 1);
        assert_eq!(
            count(node.address, "larder_repair_fetched_bytes_total"),
            GROUP as u64
        );
    }
}
