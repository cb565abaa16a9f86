//! A file as the REST contract shows it.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::fetch::copies::Spread;
use crate::node::Node;
use crate::record::FileRecord;
use crate::store::StoreError;
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
    /// On how many members of the network it is; told by lists of a node whose files are to be on
    /// several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SpreadView>)]
    copies: Option<SpreadView>,
}

/// On how many members of the network a file is.
#[derive(Serialize, ToSchema)]
pub(super) struct SpreadView {
    /// On how many it is to be, this node among them.
    wanted: u8,
    /// On how many it is, of those that are there.
    there: u64,
}

impl SpreadView {
    /// On so many of so many.
    pub(super) fn new(wanted: u8, there: usize) -> Self {
        let there = there as u64;
        Self { wanted, there }
    }

    pub(super) fn of(spread: &Spread) -> Self {
        Self {
            wanted: spread.wanted,
            there: 1 + spread.others.len() as u64,
        }
    }
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
            copies: None,
        }
    }

    /// The same, with on how many members it is, where it is to be on several.
    pub(super) async fn with_copies(
        node: &Node,
        record: &'a FileRecord,
    ) -> Result<Self, StoreError> {
        let spread = match node.copies() {
            Some(copies) => Some(copies.spread_of(record.id, &record.file.hash).await?),
            None => None,
        };
        Ok(Self {
            copies: spread.as_ref().map(SpreadView::of),
            ..Self::new(node, record)
        })
    }
}
