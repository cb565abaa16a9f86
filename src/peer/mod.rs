//! Peers: other nodes, and who this one is among them.

pub mod directory;
pub mod identity;
pub mod registration;
pub mod registry;
pub mod signature;
