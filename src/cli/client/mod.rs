//! The commands that ask a running node, over its REST interface.
//!
//! Exit status: 0 done, 1 failed, 2 wrong command line, 3 no such file, 4 the name means
//! several files, 5 no node answers, 6 the node wants another token, 7 wrong bytes came.

mod api;
mod begun;
mod connection;
mod download;
mod failure;
mod find;
mod get;
mod keep;
mod landing;
mod listed;
mod ls;
mod output;
mod pages;
mod peers;
mod proxy;
mod put;
mod rm;
mod running;
mod send;
mod source;
mod status;

pub(super) use get::Arguments as Get;
pub(super) use keep::Arguments as Keep;
pub(super) use ls::Arguments as Ls;
pub(super) use output::{json, plain};
pub(super) use peers::Arguments as Peers;
pub(super) use put::Arguments as Put;
pub(super) use rm::Arguments as Rm;
pub(super) use status::Arguments as Status;
