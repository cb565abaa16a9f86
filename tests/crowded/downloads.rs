//! Many downloads at once through a node that holds nothing: they take a stated amount of memory,
//! and what they read is shared among those that hold it.

use std::thread;

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::until_held;
use crate::common::process::Node;
use crate::common::raw_http::get;
use crate::common::relay::Relay;

const MIB: usize = 1 << 20;
/// The windows of all downloads, and what is between the sockets of each, in KiB.
const ROOM: u64 = (128 + 64) << 10;

/// Holders of the same content behind cables that carry so much on each connection, and a node that
/// knows them.
struct Holders {
    cables: Vec<Relay>,
    node: Node,
    target: String,
    bytes: Vec<u8>,
    _others: Vec<(TempDir, Node)>,
    _dir: TempDir,
}

impl Holders {
    fn start(many: usize, pace: u32, bytes: Vec<u8>) -> Self {
        let cables: Vec<_> = (0..many).map(|_| Relay::new()).collect();
        let mut hash = None;
        let others = cables.iter().map(|cable| {
            let dir = tempfile::tempdir().unwrap();
            let node = Node::start(&dir, &["--base-url", &cable.url()]);
            cable.connect(node.address);
            hash = Some(uploaded(node.address, "same", &bytes)["hash"].clone());
            (dir, node)
        });
        let others: Vec<_> = others.collect();
        let hash = hash.unwrap();
        let urls: Vec<_> = cables.iter().map(Relay::url).collect();
        let dir = tempfile::tempdir().unwrap();
        let usual = ["--discover-every", "1", "--peer-stall", "3600"];
        let node = Node::start(&dir, &[&usual[..], &["--peer", &urls.join(",")]].concat());
        until_held(node.address, &hash, many);
        for cable in &cables {
            cable.slow_to(pace);
        }
        Self {
            cables,
            node,
            target: format!("/api/p2p/blob/{}", hash.as_str().unwrap()),
            bytes,
            _others: others,
            _dir: dir,
        }
    }

    /// So many clients read all of it at once, as often.
    fn read(&self, clients: usize, times: usize) {
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    for _ in 0..times {
                        let answer = get(self.node.address, &self.target, &[]);
                        assert_eq!((answer.status, answer.body == self.bytes), (200, true));
                    }
                });
            }
        });
    }
}

#[test]
fn a_hundred_downloads_through_a_node_take_no_more_memory_than_is_set_aside() {
    let holders = Holders::start(3, 1_000_000, content(1, 4 * MIB));
    holders.read(1, 1);
    let before = holders.node.resident_memory();
    holders.read(100, 1);
    let most = holders.node.peak_memory() - before;
    println!("{most} KiB");
    assert!(most < ROOM, "{most} KiB");
}

#[test]
fn of_five_holders_none_is_read_twice_as_much_as_the_others_by_twenty_readers() {
    let holders = Holders::start(5, 4_000_000, content(2, MIB));
    let before: Vec<_> = holders.cables.iter().map(Relay::carried).collect();
    holders.read(20, 4);
    let carried = holders.cables.iter().map(Relay::carried);
    let carried: Vec<_> = carried.zip(before).map(|(now, it)| now - it).collect();
    let mean = carried.iter().sum::<u64>() / 5;
    println!("{carried:?}");
    assert!(carried.iter().all(|it| *it <= 2 * mean), "{carried:?}");
}
