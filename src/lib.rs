//! larder: a content-addressed file store and peer-to-peer node.
//!
//! ARCHITECTURE.md tells how the modules stand on each other: each imports only
//! from floors below its own.

// Floor 0: words
pub mod access;
pub mod base_url;
mod blocking;
pub mod client_key;
pub mod hash;
pub mod health;
pub mod metrics;
pub mod outboard;
pub mod peer_id;
pub mod record;
pub mod revision;
mod text_form;
pub mod unavailable;
// Floor 1: backends
pub mod anchored_disk;
pub mod append_file;
pub mod blob;
pub mod disk;
pub mod index;
pub mod owner;
pub mod secret_file;
pub mod small_state;
pub mod state_file;
pub mod stored_file;
pub mod timed_disk;
pub mod watched_disk;
// Floor 2: the store
pub mod store;
// Floor 3: peers
pub mod peer;
// Floor 4: what others hold, and what comes in over several requests
pub mod fetch;
pub mod resumable;
// Floor 5: the protocol of surfaces
pub mod web;
// Floor 6: the node
pub mod node;
// Floor 7: surfaces
pub mod bootstrap;
pub mod http;
// Floor 8: commands and settings
pub mod cli;
pub mod config;
