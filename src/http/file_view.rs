//! A file as the REST contract shows it.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::node::Node;
use crate::record::FileRecord;
use crate::web::file_type;

/// All that clients see of a file record.
#[derive(Serialize, ToSchema)]
pub(super) struct FileView<'a> {
    file_id: String,
    original_name: &'a str,
    saved_name: String,
    size: u64,
    description: &'a str,
    /// As which it is sent.
    content_type: Option<Cow<'a, str>>,
    hash: String,
    peer_id: String,
    uploaded_at: String,
    download_url: String,
}

impl<'a> FileView<'a> {
    /// A file that `node` keeps.
    pub(super) fn new(node: &Node, record: &'a FileRecord) -> Self {
        let file = &record.file;
        Self {
            file_id: record.id.to_string(),
            original_name: &file.name,
            saved_name: record.saved_name(),
            size: file.size,
            description: &file.description,
            content_type: file_type::of(file.content_type.as_deref(), &file.name),
            hash: file.hash.to_string(),
            peer_id: node.peer_id().to_string(),
            uploaded_at: record.uploaded_at.to_string(),
            download_url: format!("{}/api/p2p/file/{}", node.base_url(), record.id),
        }
    }
}
