//! What tests share.
//!
//! The binary `it` is compiled with all of it, so that what no test uses any more is told there;
//! what only another binary uses is in that one's own directory.

pub(crate) mod all_members;
pub(crate) mod any_answer;
pub(crate) mod any_message;
pub(crate) mod any_range;
pub(crate) mod any_registration;
pub(crate) mod authority;
pub(crate) mod blob;
pub(crate) mod blob_promises;
pub(crate) mod browser;
pub(crate) mod by_hash;
pub(crate) mod canned;
pub(crate) mod clock;
pub(crate) mod commands;
pub(crate) mod content;
pub(crate) mod copies;
pub(crate) mod countdown_disk;
pub(crate) mod disk_quota;
pub(crate) mod encoded;
pub(crate) mod forms;
pub(crate) mod http_client;
pub(crate) mod in_memory;
pub(crate) mod index_promises;
pub(crate) mod indexing;
pub(crate) mod liar;
pub(crate) mod member_network;
pub(crate) mod metrics;
pub(crate) mod npm;
pub(crate) mod packs;
pub(crate) mod peers;
pub(crate) mod power_cut;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod random;
pub(crate) mod raw_http;
pub(crate) mod received;
pub(crate) mod recorder;
pub(crate) mod recording_disk;
pub(crate) mod relay;
pub(crate) mod rot;
pub(crate) mod stores;
pub(crate) mod traced;
pub(crate) mod tree;
pub(crate) mod tus;
pub(crate) mod venv;
