//! The commands that ask a running node, over its REST interface.
//!
//! How they end is [`EXIT_STATUS`].

mod api;
mod batch;
mod begun;
mod choice;
mod connection;
mod download;
mod ended;
mod failure;
mod find;
mod get;
mod info;
mod keep;
mod landing;
mod links;
mod listed;
mod local_name;
mod ls;
mod output;
mod pages;
mod pattern;
mod peers;
mod proxy;
mod put;
mod rm;
mod running;
mod send;
mod source;
mod state;
mod status;
mod target;
mod wanted;

/// What the exit status says, for the help of each command.
pub(super) const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  failed, for the reason that is told
  2  wrong command line or setting
  3  no such file, there or here
  4  the name means several files
  5  no node answers, or none that can be trusted
  6  the node wants a token, or another one
  7  damaged: the bytes of the file are not what they were, at the node, on the way, or here
     while they were sent";

pub(super) use get::Arguments as Get;
pub(super) use info::Arguments as Info;
pub(super) use keep::Arguments as Keep;
pub(super) use ls::Arguments as Ls;
pub(super) use output::{json, plain, say};
pub(super) use peers::Arguments as Peers;
pub(super) use put::Arguments as Put;
pub(super) use rm::Arguments as Rm;
pub(super) use status::Arguments as Status;
