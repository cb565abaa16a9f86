//! The protocol: what every surface needs that speaks HTTP, and nothing of what it says.
//!
//! Connections and their shares, TLS, bodies, forms, conditions, ranges, representations, lists,
//! archives, refusals, and the log and the counters of requests. It knows no route and no node.

mod accepting;
mod bad_heads;
pub(crate) mod body;
pub mod byte_range;
mod byteranges;
pub mod clients;
pub(crate) mod code;
pub(crate) mod conditions;
pub(crate) mod content;
mod counted;
pub(crate) mod description;
pub(crate) mod disposition;
pub(crate) mod error;
pub(crate) mod error_body;
pub(crate) mod file_type;
pub(crate) mod form;
mod framing;
mod handshake;
pub(crate) mod json;
mod last_words;
mod late_failure;
pub(crate) mod limited;
pub(crate) mod linger;
pub(crate) mod list;
mod multipart;
pub mod origin;
pub(crate) mod own_content;
mod parameters;
pub(crate) mod part_head;
mod presence;
pub(crate) mod query;
pub mod rate_limit;
mod refusal;
pub(crate) mod representation;
pub(crate) mod request_log;
mod resting;
mod seats;
pub mod server;
mod stall_guard;
pub mod tls;
pub(crate) mod to_its_end;
pub(crate) mod traffic;
pub(crate) mod transfers;
mod watched_body;
pub(crate) mod zip;

pub use counted::Connections;
