//! Peers: other nodes, and who this one is among them.

pub mod address;
pub mod announcement;
pub mod announcing;
mod asking;
pub mod challenge;
pub mod client;
pub mod directory;
pub mod discovery;
mod elements;
pub mod greeting;
mod heard;
pub mod identity;
pub mod introductions;
pub mod listing;
pub mod mdns;
pub mod network;
pub mod prefix;
pub mod reach;
pub mod reachability;
pub mod registration;
pub mod registry;
pub mod removals;
pub mod sample;
pub mod signature;
pub mod sync;
pub mod tls;
pub mod turns;
