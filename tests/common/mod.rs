//! What tests of a running node share.

// Not every test needs all of it.
#![allow(dead_code)]

pub(crate) mod authority;
pub(crate) mod blob;
pub(crate) mod canned;
pub(crate) mod clock;
pub(crate) mod commands;
pub(crate) mod content;
pub(crate) mod countdown_disk;
pub(crate) mod crowd;
pub(crate) mod encoded;
pub(crate) mod forms;
pub(crate) mod http_client;
pub(crate) mod lan;
pub(crate) mod liar;
pub(crate) mod lossy_switch;
pub(crate) mod npm;
pub(crate) mod packs;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod random;
pub(crate) mod raw_http;
pub(crate) mod recorder;
pub(crate) mod relay;
pub(crate) mod silent;
pub(crate) mod small_disk;
pub(crate) mod tree;
pub(crate) mod tus;
pub(crate) mod venv;
