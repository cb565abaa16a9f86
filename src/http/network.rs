//! `GET /api/p2p/network`: what the nodes hold, this one and the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::node::Node;
use crate::peer::directory::{FileKey, Held, NetworkFile};
use crate::record::{FileRecord, NewFile};

/// The most files on one page.
const MAX_LIMIT: usize = 1000;
/// How many files are held against a name at a time; the answer may have fewer files
/// than asked for and still a next page.
const LOOK: usize = 20_000;
/// How many own files are read at a time.
const OWN_PAGE: usize = 256;

/// Which files to list.
#[derive(Deserialize)]
pub(super) struct NetworkQuery {
    limit: Option<usize>,
    after: Option<String>,
    name: Option<String>,
}

#[derive(Serialize)]
struct HeldView {
    file_id: String,
    original_name: String,
    size: u64,
    hash: Option<String>,
    content_type: Option<String>,
    uploaded_at: String,
    peers: Vec<String>,
}

/// The answer of `GET /api/p2p/network`.
#[derive(Serialize)]
pub(super) struct NetworkAnswer {
    status: &'static str,
    file_count: usize,
    total_files: usize,
    files: Vec<HeldView>,
    next: Option<String>,
}

/// Lists one page of what all nodes hold, this one too.
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    query: Result<Query<NetworkQuery>, QueryRejection>,
) -> Result<Json<NetworkAnswer>, ApiError> {
    let Query(query) = query.map_err(|e| ApiError::Query(e.body_text()))?;
    let limit = query.limit.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
    if limit == 0 {
        return Err(ApiError::Query("limit must be at least 1".to_owned()));
    }
    let wanted = Wanted {
        after: query.after.as_deref().map(read_cursor).transpose()?,
        name: query.name.map(|name| name.to_lowercase()),
        limit,
    };
    let theirs = of_others(&node, &wanted);
    let ours = of_this_node(&node, &wanted).await?;
    let (files, next) = merge(theirs, ours, limit);
    let files = views(&node, files).await?;
    let own_files = usize::try_from(node.store().totals().files).unwrap_or(usize::MAX);
    Ok(Json(NetworkAnswer {
        status: "success",
        file_count: files.len(),
        total_files: node.network().directory.len() + own_files,
        files,
        next: next.map(write_cursor),
    }))
}

/// Which files make the next page.
struct Wanted {
    after: Option<FileKey>,
    /// In lower case.
    name: Option<String>,
    limit: usize,
}

impl Wanted {
    fn takes(&self, name: &str) -> bool {
        let wanted = self.name.as_ref();
        wanted.is_none_or(|part| name.to_lowercase().contains(part))
    }
}

/// Files in the order of their keys, and the key up to which there are no others; None
/// where there are none at all.
type Part = (Vec<Held>, Option<FileKey>);

fn of_others(node: &Node, wanted: &Wanted) -> Part {
    let Wanted { after, name, limit } = wanted;
    let directory = &node.network().directory;
    directory.page(*after, name.as_deref(), *limit, LOOK)
}

async fn of_this_node(node: &Node, wanted: &Wanted) -> Result<Part, ApiError> {
    // Another peer's file may have the very id of the cursor.
    let mut after = wanted.after.and_then(|(id, _)| id.before());
    let (mut files, mut looked, mut last) = (Vec::new(), 0, None);
    loop {
        let page = node.store().page(after, OWN_PAGE).await?;
        for record in &page {
            let key = (record.id, Some(record.file.hash));
            (after, last) = (Some(record.id), Some(key));
            if wanted.after.is_none_or(|after| key > after) && wanted.takes(&record.file.name) {
                files.push(own(node, record));
            }
            if files.len() == wanted.limit {
                return Ok((files, last));
            }
        }
        looked += page.len();
        if page.len() < OWN_PAGE {
            return Ok((files, None));
        }
        if looked >= LOOK {
            return Ok((files, last));
        }
    }
}

/// A file of this node as others know it.
fn own(node: &Node, record: &FileRecord) -> Held {
    let NewFile {
        name,
        content_type,
        size,
        hash,
        ..
    } = record.file.clone();
    let copies = node.network().directory.providers(&hash);
    let copies = copies.into_iter().map(|it| it.peer);
    Held {
        file: NetworkFile {
            id: record.id,
            hash: Some(hash),
            name,
            size,
            content_type,
            uploaded_at: record.uploaded_at.to_string(),
        },
        peers: copies.chain([node.peer_id()]).collect(),
    }
}

/// The first `limit` files of both, and where to go on, if there may be more.
fn merge(theirs: Part, ours: Part, limit: usize) -> Part {
    let mut files = BTreeMap::new();
    for held in theirs.0.into_iter().chain(ours.0) {
        files.insert((held.file.id, held.file.hash), held);
    }
    let ends = [theirs.1, ours.1].into_iter().flatten();
    let mut next = ends.min();
    // Behind this key one of the two was not looked at.
    files.retain(|key, _| next.is_none_or(|next| *key <= next));
    if let Some(surplus) = files.keys().nth(limit).copied() {
        files.split_off(&surplus);
        next = files.keys().next_back().copied();
    }
    (files.into_values().collect(), next)
}

/// The files as they are shown: this node counts among the peers of what it has a copy of.
async fn views(node: &Node, files: Vec<Held>) -> Result<Vec<HeldView>, ApiError> {
    let mut views = Vec::with_capacity(files.len());
    for mut held in files {
        if let Some(hash) = held.file.hash
            && !held.peers.contains(&node.peer_id())
            && node.store().holds(&hash).await?
        {
            held.peers.insert(node.peer_id());
        }
        views.push(HeldView::of(held));
    }
    Ok(views)
}

/// A cursor is the file id, and the hash where there is one.
fn write_cursor((id, hash): FileKey) -> String {
    hash.map_or_else(|| id.to_string(), |hash| format!("{id}.{hash}"))
}

fn read_cursor(text: &str) -> Result<FileKey, ApiError> {
    let wrong = || ApiError::Query("after is no cursor of an answer's next".to_owned());
    let (id, hash) = match text.split_once('.') {
        Some((id, hash)) => (id, Some(hash.parse().map_err(|_| wrong())?)),
        None => (text, None),
    };
    Ok((id.parse().map_err(|_| wrong())?, hash))
}

impl HeldView {
    fn of(Held { file, peers }: Held) -> Self {
        Self {
            file_id: file.id.to_string(),
            original_name: file.name,
            size: file.size,
            hash: file.hash.map(|hash| hash.to_string()),
            content_type: file.content_type,
            uploaded_at: file.uploaded_at,
            peers: peers.iter().map(ToString::to_string).collect(),
        }
    }
}
