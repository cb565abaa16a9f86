//! Neighbours by multicast DNS while somebody on the same network makes others up: the real binary
//! in network namespaces.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::process::{Node, until};
use crate::lan::Lan;

/// Answers of nodes that there are not, each at an address of this network where nobody is, until
/// its input ends, and 100,000 at least; prints how many.
const FLOOD: &str = r#"
import select, socket, struct, sys, time, uuid
def name(*labels):
    return b"".join(bytes([len(it)]) + it.encode() for it in labels) + b"\0"
def record(labels, kind, data):
    kind_and_class = (kind, 1 if kind == 12 else 0x8001)
    return name(*labels) + struct.pack(">HHIH", *kind_and_class, 4500, len(data)) + data
service = ("_larder", "_tcp", "local")
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent = 0
while sent < 100_000 or not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(100):
        instance = str(uuid.uuid4())
        own, host = (instance, *service), (instance, "local")
        place = struct.pack(">HHH", 0, 0, 1024 + sent % 60_000) + name(*host)
        ip = bytes([10, 77, 0, 100 + sent % 150])
        records = record(service, 12, name(*own)) + record(own, 33, place) + record(host, 1, ip)
        out.sendto(struct.pack(">HHHHHH", 0, 0x8400, 0, 3, 0, 0) + records, ("224.0.0.251", 5353))
        sent += 1
    if sent == 10_000:
        print("begun", flush=True)
    time.sleep(0.002)
print(sent, flush=True)
"#;

/// The script, killed on drop.
struct Flood(Child);

impl Flood {
    /// Begins, as one of the nodes, and waits until much was sent.
    fn start(lan: &Lan, node: u8) -> Self {
        let mut command = lan.command(node, "python3");
        let command = command.args(["-c", FLOOD]).stdin(Stdio::piped());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut out = BufReader::with_capacity(1, process.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        assert_eq!(said, "begun\n");
        process.stdout = Some(out.into_inner());
        Self(process)
    }

    /// Ends it; how many answers were made up.
    fn end(mut self) -> u32 {
        drop(self.0.stdin.take());
        let mut said = String::new();
        let mut out = self.0.stdout.take().unwrap();
        out.read_to_string(&mut said).unwrap();
        said.trim().parse().unwrap()
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(lan: &Lan, node: u8) -> (Node, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--listen", "0.0.0.0:5004", "--open"];
    let node = lan.start(
        node,
        &dir,
        &[&arguments[..], &["--discover-every", "1"]].concat(),
    );
    (node, dir)
}

/// Whether one node is reached by another, as that one says.
fn reaches(lan: &Lan, by: u8, node: u8) -> bool {
    let peers = lan.json(by, "/api/peers");
    let mut peers = peers["peers"].as_array().unwrap().iter();
    let is_it = |it: &Value| it["address"] == Lan::url(node, "") && it["reachable"] == true;
    peers.any(is_it)
}

fn until_both_reach(lan: &Lan, one: u8, other: u8) {
    until("they reach each other", || {
        (reaches(lan, one, other) && reaches(lan, other, one)).then_some(())
    });
}

#[test]
fn a_neighbour_that_comes_in_a_flood_of_made_up_ones_is_found_once_that_ends_and_none_is_lost() {
    let Some(lan) = Lan::of(4) else { return };
    let ((_one, _first), (_two, two)) = (start(&lan, 1), start(&lan, 2));
    until_both_reach(&lan, 1, 2);
    let flood = Flood::start(&lan, 3);
    let (_four, _dir) = start(&lan, 4);
    // Whoever was known before is heard as ever.
    let path = two.path().join("file");
    std::fs::write(&path, b"content").unwrap();
    let file = lan.upload(2, &path);
    lan.until_held(1, &file["hash"], 1);
    assert!(reaches(&lan, 1, 2) && reaches(&lan, 2, 1));
    let made_up = flood.end();
    assert!(made_up >= 100_000, "{made_up}");
    for known in [1, 2] {
        until_both_reach(&lan, known, 4);
    }
    assert!(reaches(&lan, 1, 2) && reaches(&lan, 2, 1));
    lan.until_held(4, &file["hash"], 1);
}
