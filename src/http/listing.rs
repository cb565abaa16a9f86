//! The listing of the local files, written as JSON while the index is read.
//!
//! One page of records is in memory at a time, and only while a piece is written, however many
//! files there are and however slowly they are read.

use std::future::ready;
use std::str::FromStr;
use std::sync::Arc;

use axum::BoxError;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::file_view::FileView;
use super::gate::ClientShare;
use crate::name_form;
use crate::node::Node;
use crate::node::turns::Claimant;
use crate::peer::challenge::Prover;
use crate::record::{FileId, FileRecord, Order};
use crate::store::StoreError;
use crate::text_form;
use crate::web::list::Piece;

mod compact;

pub(super) use compact::is_wanted as is_compact_wanted;

/// How many records are read at once, at most.
const PAGE: usize = 256;
/// About how many names are held against a text for one answer with a limit; it may have fewer
/// files than asked for and still a next page.
const LOOK: usize = 20 * PAGE;
/// How long a file is at least where it is told of, in bytes.
const SHORTEST: usize = 400;

/// A listing under way.
pub(super) struct Listing {
    node: Arc<Node>,
    filter: Filter,
    /// Whose turn it has to be where names are looked at.
    share: ClientShare,
    /// The last file that was looked at.
    at: Option<FileId>,
    /// The records that come next.
    page: Vec<FileRecord>,
    listed: u64,
    /// How many were held against the name.
    looked: usize,
    /// When it began, by this node's clock; what came later may be missing.
    listed_at: u64,
    /// By which change the node held what is listed, or more.
    version: Option<u64>,
    /// Proves who answers, if that is asked for.
    prover: Option<Prover>,
    /// How many bytes of it were written, where it is in the compact form.
    written: usize,
}

/// An order by its name.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum OrderName {
    /// From the first one on.
    Oldest,
    /// From the last one back.
    Newest,
}

impl FromStr for OrderName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "oldest" => Ok(Self::Oldest),
            "newest" => Ok(Self::Newest),
            _ => Err("has to be oldest or newest"),
        }
    }
}

impl<'de> Deserialize<'de> for OrderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_form::read(deserializer)
    }
}

impl From<OrderName> for Order {
    fn from(name: OrderName) -> Self {
        match name {
            OrderName::Oldest => Self::OldestFirst,
            OrderName::Newest => Self::NewestFirst,
        }
    }
}

/// Which files to list.
pub(super) struct Filter {
    /// From which end on.
    pub order: Order,
    /// Those behind this one.
    pub after: Option<FileId>,
    /// Those before this one.
    pub before: Option<FileId>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Those whose names hold this text, whatever the case.
    pub name: Option<String>,
    /// Tell besides which files were removed since this moment.
    pub removed_since: Option<u64>,
}

impl Listing {
    /// Begins with the first file that is wanted. What keeps a listing from being made mostly
    /// shows here, while the client can still be told.
    pub(super) async fn start(
        node: Arc<Node>,
        filter: Filter,
        share: ClientShare,
        prover: Option<Prover>,
    ) -> Result<Self, StoreError> {
        let name = filter.name.map(|name| name_form::folded(&name));
        let version = node.network().told_version();
        let listed_at = node.network().removals.moment();
        let at = match filter.order {
            Order::OldestFirst => filter.after,
            Order::NewestFirst => filter.before,
        };
        let mut listing = Self {
            node,
            filter: Filter { name, ..filter },
            share,
            at,
            page: Vec::new(),
            listed: 0,
            looked: 0,
            listed_at,
            version,
            prover,
            written: 0,
        };
        listing.read_page(PAGE).await?;
        Ok(listing)
    }

    /// The JSON text, piece by piece. An error ends it half-way.
    pub(super) fn into_pieces(
        mut self,
    ) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + use<> {
        let peer_id = self.node.peer_id();
        let opening = format!(r#"{{"status":"success","peer_id":"{peer_id}","files":["#);
        self.prove(opening.as_bytes());
        let opening = stream::once(ready(Ok(Bytes::from(opening))));
        let rest = stream::try_unfold(Some(self), |listing| async {
            match listing {
                Some(listing) => listing.write_piece().await.map(Some),
                None => Ok(None),
            }
        });
        opening.chain(rest)
    }

    /// Writes the next piece; after the last one, the end, and there is no listing left. No file is
    /// kept until the next one, which may be asked for late.
    async fn write_piece(mut self) -> Result<(Bytes, Option<Self>), BoxError> {
        let mut piece = Piece::begin();
        while !piece.is_full() {
            if self.page.is_empty() {
                self.read_page(piece.left() / SHORTEST + 1).await?;
            }
            let page = std::mem::take(&mut self.page);
            if page.is_empty() {
                return self.write_end(None, piece).await;
            }
            if self.has_looked_enough() {
                let next = self.at;
                return self.write_end(next, piece).await;
            }
            for record in page {
                if Some(self.listed) == self.filter.limit {
                    let next = self.at;
                    return self.write_end(next, piece).await;
                }
                self.at = Some(record.id);
                self.looked += 1;
                if self.filter.takes(&record) {
                    let view = self.view(&record).await?;
                    piece.push(&view, self.listed == 0)?;
                    self.listed += 1;
                }
                if piece.is_full() {
                    break;
                }
            }
        }
        self.prove(&piece.text);
        Ok((piece.end(), Some(self)))
    }

    /// A file as it is told. To peers, who know where its copies are, these are not.
    async fn view<'a>(&self, record: &'a FileRecord) -> Result<FileView<'a>, StoreError> {
        match self.prover {
            Some(_) => Ok(FileView::new(&self.node, record)),
            None => FileView::with_copies(&self.node, record).await,
        }
    }

    /// Whether an answer with a limit goes no further, although it has fewer files.
    fn has_looked_enough(&self) -> bool {
        self.filter.name.is_some() && self.filter.limit.is_some() && self.looked >= LOOK
    }

    /// Closes the list; `next` is where to go on, if there is more than was asked for.
    async fn write_end(
        mut self,
        next: Option<FileId>,
        mut piece: Piece,
    ) -> Result<(Bytes, Option<Self>), BoxError> {
        self.node.store().catch_up().await;
        let mut end = json!({
            "file_count": self.listed,
            "total_files": self.node.store().totals().files,
            "next": next.map(|id| id.to_string()),
        });
        self.tell_peers(&mut end);
        piece.text.extend_from_slice(b"],");
        let end = serde_json::to_vec(&end)?;
        let end = end.strip_prefix(b"{").unwrap_or(&end);
        let end = end.strip_suffix(b"}").unwrap_or(end);
        piece.text.extend_from_slice(end);
        self.prove(&piece.text);
        match self.prover {
            Some(prover) => {
                let proof = self.node.network().prove(prover);
                piece.text.extend_from_slice(proof.as_bytes());
            }
            None => piece.text.push(b'}'),
        }
        Ok((piece.end(), None))
    }

    /// Adds what only those that follow this node's changes ask for: when the listing was made,
    /// and what was removed. To others two answers of the same files are the same.
    fn tell_peers(&self, end: &mut Value) {
        if self.prover.is_some() || self.filter.removed_since.is_some() {
            end["listed_at"] = json!(self.listed_at);
            if let Some(version) = self.version {
                end["version"] = json!(version);
            }
        }
        if let Some(moment) = self.filter.removed_since {
            let removed = self.node.network().removals.since(moment);
            let removed: Option<Vec<_>> =
                removed.map(|ids| ids.iter().map(ToString::to_string).collect());
            end["removed"] = json!(removed);
        }
    }

    fn prove(&mut self, piece: &[u8]) {
        if let Some(prover) = &mut self.prover {
            prover.push(piece);
        }
    }

    /// Reads the next records: no more than `fit` where they are all listed.
    async fn read_page(&mut self, fit: usize) -> Result<(), StoreError> {
        // One more than is listed, to know whether there is more.
        let left = self
            .filter
            .limit
            .map(|limit| (limit - self.listed).saturating_add(1));
        let wanted = match &self.filter.name {
            Some(_) => PAGE,
            None => usize::try_from(left.unwrap_or(u64::MAX))
                .unwrap_or(usize::MAX)
                .min(fit)
                .min(PAGE),
        };
        let searcher = Claimant {
            turns: self.node.searches(),
            client: self.share.0.as_ref(),
        };
        // Without a name nothing is looked at in vain.
        let _turn = match self.filter.name {
            Some(_) => Some(searcher.turn().await),
            None => None,
        };
        let store = self.node.store();
        self.page = match self.filter.order {
            Order::OldestFirst => store.page(self.at, wanted).await?,
            Order::NewestFirst => store.page_back(self.at, wanted).await?,
        };
        let (after, before) = (self.filter.after, self.filter.before);
        let is_wanted = |id| Some(id) > after && before.is_none_or(|before| id < before);
        self.page.retain(|record| is_wanted(record.id));
        Ok(())
    }
}

impl Filter {
    fn takes(&self, record: &FileRecord) -> bool {
        let name = self.name.as_ref();
        name.is_none_or(|part| name_form::holds(&record.file.name, part))
    }
}
