//! The REST interface: the only place that knows paths and status codes.

pub mod access;
mod announce;
mod bao;
mod body;
mod byteranges;
mod conditions;
mod content;
mod disposition;
mod download;
mod error;
mod events;
mod file_view;
mod files;
mod form;
mod gate;
mod keep;
mod linger;
mod listing;
mod metrics;
mod multipart;
mod network;
pub mod origin;
mod page;
mod parameters;
mod part_head;
mod peers;
mod remote;
mod representation;
mod request_log;
mod router;
mod status;
mod traffic;
mod tus;
mod upload;

pub use router::{Options, router};
