//! The listing of the local files, written while the index is read.
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
use utoipa::ToSchema;

use super::gate::ClientShare;
use crate::name_form;
use crate::node::Node;
use crate::node::turns::Claimant;
use crate::peer::challenge::Prover;
use crate::record::{FileId, FileRecord, Order};
use crate::store::StoreError;
use crate::text_form;
use crate::web::list::Piece;

mod form;

pub(super) use form::Form;

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
    form: Form,
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
        (prover, form): (Option<Prover>, Form),
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
            form,
        };
        listing.read_page(PAGE).await?;
        Ok(listing)
    }

    /// Its bytes, piece by piece. An error ends them half-way.
    pub(super) fn into_pieces(
        mut self,
    ) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + use<> {
        let opening = self.opening();
        self.form.note_written(opening.len());
        self.prove(&opening);
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
            for record in page {
                if self.has_enough(piece.text.len()) {
                    let next = self.at;
                    return self.write_end(next, piece).await;
                }
                self.at = Some(record.id);
                self.looked += 1;
                if self.filter.takes(&record) {
                    self.write_file(&record, &mut piece).await?;
                    self.listed += 1;
                }
                if piece.is_full() {
                    break;
                }
            }
        }
        self.form.note_written(piece.text.len());
        self.prove(&piece.text);
        Ok((piece.end(), Some(self)))
    }

    /// Whether the answer goes no further, although there are more files; it has so many bytes
    /// that were not noted yet.
    fn has_enough(&self, unnoted: usize) -> bool {
        let limit = self.filter.limit;
        let has_looked_enough = self.filter.name.is_some() && self.looked >= LOOK;
        limit == Some(self.listed)
            || limit.is_some() && has_looked_enough
            || self.form.is_full(unnoted)
    }

    /// Closes the list; `next` is where to go on, if there is more than was asked for.
    async fn write_end(
        mut self,
        next: Option<FileId>,
        mut piece: Piece,
    ) -> Result<(Bytes, Option<Self>), BoxError> {
        self.node.store().catch_up().await;
        self.write_closing(next, &mut piece)?;
        self.prove(&piece.text);
        match self.prover {
            Some(prover) => {
                let proof = self.node.network().prove(prover);
                piece.text.extend_from_slice(proof.as_bytes());
            }
            None => piece.text.extend_from_slice(self.form.unproven_end()),
        }
        Ok((piece.end(), None))
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
