//! What tests of a running node share.

// Not every test needs all of it.
#![allow(dead_code)]

pub(crate) mod content;
pub(crate) mod countdown_disk;
pub(crate) mod encoded;
pub(crate) mod forms;
pub(crate) mod packs;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod raw_http;
