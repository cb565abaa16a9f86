//! What anybody on the network answers by multicast DNS takes no more memory than is stated.
//!
//! One test in a process of its own, since the memory of a process is measured.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use larder::peer::mdns::{Mdns, Options};
use larder::peer_id::PeerId;

const SERVICE: [&str; 3] = ["_larder", "_tcp", "local"];
/// The id that tells when all was read.
const LAST: &str = "11111111-1111-4111-8111-111111111111";
/// How many packets are sent before it is asked whether all were read, as many as a socket holds.
const TOGETHER: u32 = 50;
/// How often that is done: 550,000 records, which would take hundreds of megabytes.
const ROUNDS: u32 = 2000;
/// What all that may take of two nodes, in bytes: the records that README tells of, what has come
/// until they are counted, and what the allocator keeps.
const MOST: usize = 96 << 20;
/// How long anything may take that is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

const PTR: u16 = 12;
const SRV: u16 = 33;
const A: u16 = 1;

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let (_, resident) = status.split_once("VmRSS:").unwrap();
    let kib = resident.split_whitespace().next().unwrap();
    kib.parse::<usize>().unwrap() << 10
}

fn name(labels: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn record(labels: &[&str], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = name(labels);
    bytes.extend(kind.to_be_bytes());
    // All but the first kind say that whatever was told before of the name is no longer so.
    let class: u16 = if kind == PTR { 1 } else { 0x8001 };
    bytes.extend(class.to_be_bytes());
    bytes.extend(4500_u32.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

fn answer(records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap();
    let head = [0, 0x8400, 0, count, 0, 0];
    let head = head.into_iter().flat_map(u16::to_be_bytes);
    head.chain(records.concat()).collect()
}

/// All that a node tells, which is at this address.
fn node(instance: &str, ip: [u8; 4], port: u16) -> Vec<Vec<u8>> {
    let own = [instance, SERVICE[0], SERVICE[1], SERVICE[2]];
    let host = [instance, "local"];
    let place = [&[0; 4][..], &port.to_be_bytes(), &name(&host)].concat();
    vec![
        record(&SERVICE, PTR, &name(&own)),
        record(&own, SRV, &place),
        record(&host, A, &ip),
    ]
}

/// An answer about nodes that there are not, at an address where none listens; and one that holds
/// nothing but addresses.
fn forged(number: u32) -> Vec<u8> {
    let instance = format!("{number:08x}-0000-4000-8000-000000000000");
    if number.is_multiple_of(2) {
        return answer(&node(&instance, [10, 0, 0, 1], 5004));
    }
    let host = |at: u32| record(&[&format!("{at}.{instance}"), "local"], A, &[10, 0, 0, 1]);
    answer(&(0..8).map(host).collect::<Vec<_>>())
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} came in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn sees(mdns: &Mdns, address: &str) -> bool {
    let neighbours = mdns.neighbours().into_iter();
    let mut addresses = neighbours.flat_map(|it| it.addresses);
    addresses.any(|it| it.to_string() == address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_answers_take_no_more_memory_than_is_stated() {
    // A free port of its own, where nobody else answers.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let group = format!("224.0.0.251:{port}");
    drop(socket);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = |number, listen: &str| {
        let listen = listen.parse().unwrap();
        Mdns::start(
            PeerId::of_public_key(&[number; 32]),
            Options { listen, port },
        )
        .unwrap()
    };
    let mdns = start(1, "127.0.0.1:5004");
    // A second node, from the middle on, hears all that the first one does.
    let mut _other = None;
    let before = resident();
    let mut most = 0;
    for round in 0..ROUNDS {
        for number in 0..TOGETHER {
            let packet = forged(round * TOGETHER + number);
            sender.send_to(&packet, &group).unwrap();
        }
        // All were read when this one is found, which is repeated in case that it was lost.
        let port = 10_000 + u16::try_from(round).unwrap();
        let packet = answer(&node(LAST, [127, 0, 0, 1], port));
        let last = format!("http://127.0.0.1:{port}");
        let mut sent = None::<Instant>;
        until("the last answer", || {
            if sent.is_none_or(|at| at.elapsed() > Duration::from_millis(50)) {
                sender.send_to(&packet, &group).unwrap();
                sent = Some(Instant::now());
            }
            sees(&mdns, &last)
        });
        most = most.max(resident().saturating_sub(before));
        if round == ROUNDS / 2 {
            _other = Some(start(2, "127.0.0.1:5005"));
        }
    }
    println!("{} packets took {most} bytes", ROUNDS * TOGETHER);
    assert!(most < MOST, "{most} bytes");
}
