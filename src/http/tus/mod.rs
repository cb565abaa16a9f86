//! Resumable uploads by tus 1.0.0 (<https://tus.io/protocols/resumable-upload>), with its
//! extensions creation, creation-with-upload, creation-defer-length, expiration, termination,
//! checksum and concatenation.

mod append;
mod checksum;
mod create;
mod headers;
mod metadata;
mod requests;

pub(super) use headers::EXPOSED;
pub(super) use requests::{upload, uploads, wrong_method};

/// Where uploads are created; each is below it.
pub(super) const PATH: &str = "/api/p2p/tus";
