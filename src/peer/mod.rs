//! Peers: other nodes, and who this one is among them.

pub mod identity;
pub mod mdns;
