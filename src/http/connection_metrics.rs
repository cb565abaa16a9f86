//! What the metrics tell of connections.

use crate::metrics::page::MetricsPage;
use crate::node::Node;

/// Writes how many there are and were, and what has gone over them.
pub(super) fn write(page: &mut MetricsPage, node: &Node) {
    let connections = node.connections();
    page.gauges("larder_connections", "Open connections of clients.")
        .value(&[], connections.open.get());
    page.gauges("larder_connections_resting", "Those between two requests.")
        .value(&[], connections.resting.get());
    for (name, help, counter) in [
        (
            "larder_connections_accepted_total",
            "Connections of clients so far.",
            &connections.accepted,
        ),
        (
            "larder_connections_refused_total",
            "Those of them that found no place.",
            &connections.refused,
        ),
        (
            "larder_received_bytes_total",
            "Bytes that came over them, heads and TLS included.",
            &connections.received,
        ),
        (
            "larder_sent_bytes_total",
            "Bytes that went over them, heads and TLS included.",
            &connections.sent,
        ),
    ] {
        page.counters(name, help).value(&[], counter.get());
    }
}
