//! Whoever is a member no longer gets nothing more, nor brings it, not even what is under way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::member_network::{Network, dirs, member};
use crate::common::peers::{until_knows, until_sees};
use crate::common::process::until;
use crate::common::raw_http::head;
use crate::common::relay::Relay;

/// How long the content is, and how much of it comes in a second: it takes half a minute.
const LONG: usize = 60_000_000;
const PACE: u32 = 2_000_000;
/// How much may be on its way in the cable and the kernel when it is cut.
const ON_ITS_WAY: usize = 24_000_000;

/// Reads a content of another through a node, to whatever end: how many bytes came, and when the
/// last one did.
fn read(node: SocketAddr, hash: &str) -> JoinHandle<(usize, Instant)> {
    let request = head("GET", &format!("/api/p2p/blob/{hash}"), &[]);
    thread::spawn(move || {
        let mut stream = TcpStream::connect(node).unwrap();
        stream.write_all(&request).unwrap();
        let (mut all, mut piece) = (0, vec![0; 64 << 10]);
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            all += read;
        }
        (all, Instant::now())
    })
}

/// Waits until the answer is under way.
fn until_comes(cable: &Relay) {
    let before = cable.carried();
    until("it comes", || {
        (cable.carried() > before + 2_000_000).then_some(())
    });
}

#[test]
fn a_running_answer_ends_when_who_gets_it_is_revoked() {
    let (network, dirs, cable) = (Network::new(), dirs::<2>(), Relay::new());
    let settings = ["--base-url", &cable.url(), "--network-key", &network.key()];
    let holding = network.member(&dirs[0], &[], &settings);
    cable.connect(holding.address);
    let asking = network.member(&dirs[1], &[&cable.url()], &[]);
    let file = uploaded(holding.address, "long", &content(1, LONG));
    until_sees(asking.address, &["long"]);
    cable.slow_to(PACE);
    let reading = read(asking.address, file["hash"].as_str().unwrap());
    until_comes(&cable);
    network.revoke(&dirs[1]);
    let before = cable.carried();
    let (came, _) = reading.join().unwrap();
    assert!(came < LONG, "{came}");
    let more = usize::try_from(cable.carried() - before).unwrap();
    assert!(more < ON_ITS_WAY, "{more}");
    assert!(holding.log().contains("of who is no member any more"));
}

#[test]
fn a_running_answer_ends_when_who_brings_it_is_revoked() {
    let (network, dirs, cable) = (Network::new(), dirs::<2>(), Relay::new());
    let bringing = network.member(&dirs[0], &[], &["--base-url", &cable.url()]);
    cable.connect(bringing.address);
    let asking = network.member(
        &dirs[1],
        &[&cable.url()],
        &["--network-key", &network.key()],
    );
    let file = uploaded(bringing.address, "long", &content(2, LONG));
    until_sees(asking.address, &["long"]);
    cable.slow_to(PACE);
    let reading = read(asking.address, file["hash"].as_str().unwrap());
    until_comes(&cable);
    network.revoke(&dirs[0]);
    let revoked = until("it is heard", || {
        let log = asking.log();
        let is_heard = log.contains("a member of the network was revoked");
        is_heard.then(Instant::now)
    });
    let (came, ended) = reading.join().unwrap();
    assert!(came < LONG, "{came}");
    let took = ended.saturating_duration_since(revoked);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_running_answer_ends_with_the_certificate_of_who_gets_it_and_not_with_one_that_was_renewed() {
    let (network, dirs, cable) = (Network::new(), dirs::<3>(), Relay::new());
    let settings = ["--base-url", &cable.url(), "--network-key", &network.key()];
    let holding = network.member(&dirs[0], &[], &settings);
    cable.connect(holding.address);
    let file = uploaded(holding.address, "long", &content(3, LONG));
    network.join_by(&dirs[1], &["--for", "12s", "--once"]);
    network.join_by(&dirs[2], &["--for", "12s"]);
    let [once, renewed] = [1, 2].map(|it| member(&dirs[it], &[&cable.url()], &[]));
    for node in [&once, &renewed] {
        until_sees(node.address, &["long"]);
    }
    until_knows(holding.address, 2);
    cable.slow_to(PACE);
    let hash = file["hash"].as_str().unwrap();
    let [ends, goes_on] = [&once, &renewed].map(|it| read(it.address, hash));
    let (came, _) = ends.join().unwrap();
    assert!(came < LONG, "{came}");
    let (came, _) = goes_on.join().unwrap();
    assert!(came > LONG, "all of it, and a head: {came}");
}
