//! Connections between nodes that ask each other every period: they are made once.

use crate::common::all_members::are_all_members;
use crate::common::member_network::{Network, dirs};
use crate::common::peers::{neighbours, until_knows};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;

/// What a node has counted under a name with its labels; 0 before anything was.
fn counted(node: &Node, name: &str) -> u64 {
    let page = String::from_utf8(get(node.address, "/metrics", &[]).body).unwrap();
    let mut lines = page.lines().filter_map(|it| it.strip_prefix(name));
    lines.next().map_or(0, |it| it.trim().parse().unwrap())
}

/// How many requests of a route a node has answered.
fn answered(node: &Node, method: &str, route: &str) -> u64 {
    let labels = format!("{{route=\"{route}\",method=\"{method}\",status=\"2xx\"}}");
    counted(node, &format!("larder_http_requests_total{labels}"))
}

/// How often a node was asked whether it knows the same peers.
fn times_asked(node: &Node) -> u64 {
    answered(node, "POST", "/api/p2p/exchange")
}

/// Waits until both nodes know each other and then so many periods.
fn pass(periods: u64, nodes: [&Node; 2]) {
    let before = nodes.map(times_asked);
    until("periods pass", || {
        let asked = nodes.map(times_asked);
        let mut both = asked.iter().zip(&before);
        both.all(|(now, before)| now - before >= periods)
            .then_some(())
    });
}

#[test]
fn members_that_ask_each_other_each_period_shake_hands_once() {
    let (network, dirs) = (Network::new(), dirs::<2>());
    let one = network.member(&dirs[0], &[], &[]);
    let two = network.member(&dirs[1], &[&one.url("")], &[]);
    for node in [&one, &two] {
        until_knows(node.address, 1);
    }
    pass(2, [&one, &two]);
    let handshakes = |node: &Node, side| {
        let labels = format!("{{side=\"{side}\",outcome=\"member\"}}");
        counted(node, &format!("larder_member_handshakes_total{labels}"))
    };
    let all = |it: &Node| handshakes(it, "incoming") + handshakes(it, "outgoing");
    // Two questions at once want two connections, of which one is kept; both sides count it.
    few_more(4, [&one, &two], all);
}

#[test]
fn nodes_that_ask_each_other_each_period_connect_once() {
    if are_all_members() {
        return;
    }
    let dirs = dirs::<2>();
    let (one, two) = neighbours(&dirs);
    pass(2, [&one, &two]);
    // Each look at what is counted is a connection of its own, and a request.
    few_more(2, [&one, &two], |node| {
        let accepted = counted(node, "larder_connections_accepted_total");
        accepted - answered(node, "GET", "/metrics") + 1
    });
}

/// What both count together grows by no more than that in eight periods.
fn few_more(most: u64, nodes: [&Node; 2], count: impl Fn(&Node) -> u64) {
    let all = || nodes.into_iter().map(&count).sum::<u64>();
    let before = all();
    pass(8, nodes);
    let more = all() - before;
    println!("{more} more than {before}");
    assert!(more <= most, "{more} more than {before}");
}
