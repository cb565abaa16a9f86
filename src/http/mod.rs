//! The REST interface: which paths there are, and what answers there.

mod access;
mod announce;
mod app;
mod bao;
mod connection_metrics;
mod copies;
mod copies_of;
mod copies_under;
mod download;
mod events;
mod exchange;
mod file_view;
mod files;
mod gate;
mod keep;
mod listing;
mod members;
mod metrics;
mod moment;
mod network;
mod openapi;
mod page;
mod peers;
mod remote;
mod repair;
mod router;
mod routes;
mod scrub;
mod status;
mod switch;
mod trash;
mod tus;
mod upload;
mod wish;
mod zip;

pub use router::{Options, router};
