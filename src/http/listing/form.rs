//! The same listing in the compact form, which nodes ask each other for.

use axum::BoxError;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::stream::{self, Stream};

use super::{Listing, SHORTEST};
use crate::peer::compact::{self, MAX_PAGE_BYTES, Writer};
use crate::record::FileId;
use crate::web::file_type;
use crate::web::list::Piece;

/// Whether the compact form is asked for by name.
pub(in crate::http) fn is_wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).into_iter();
    let kinds = values.filter_map(|it| it.to_str().ok());
    let mut kinds = kinds.flat_map(|it| it.split(','));
    kinds.any(|it| {
        it.split(';')
            .next()
            .is_some_and(|it| it.trim() == compact::TYPE)
    })
}

/// What is still to be written.
enum Left {
    Beginning(Listing),
    Files(Listing, Writer),
    Nothing,
}

impl Listing {
    /// The bytes, piece by piece. An error ends them half-way.
    pub(in crate::http) fn into_compact(
        self,
    ) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + use<> {
        stream::try_unfold(Left::Beginning(self), |left| async {
            match left {
                Left::Beginning(listing) => {
                    let is_told =
                        listing.prover.is_some() || listing.filter.removed_since.is_some();
                    let told = is_told.then_some(listing.listed_at);
                    let version = listing.version.filter(|_| is_told);
                    let peer = listing.node.peer_id();
                    let mut piece = Piece::begin();
                    piece.text = Writer::begin(peer, told, version);
                    Ok(Some(listing.piece(piece, Writer::default()).await?))
                }
                Left::Files(listing, writer) => {
                    Ok(Some(listing.piece(Piece::begin(), writer).await?))
                }
                Left::Nothing => Ok(None),
            }
        })
    }

    /// Fills a piece with the next files, and what stands behind the last one.
    async fn piece(
        mut self,
        mut piece: Piece,
        mut writer: Writer,
    ) -> Result<(Bytes, Left), BoxError> {
        while !piece.is_full() {
            if self.page.is_empty() {
                self.read_page(piece.left() / SHORTEST + 1).await?;
            }
            let page = std::mem::take(&mut self.page);
            if page.is_empty() {
                return self.end_compact(None, piece).await;
            }
            for record in page {
                let is_full = self.written + piece.text.len() >= MAX_PAGE_BYTES;
                let is_enough = Some(self.listed) == self.filter.limit;
                if is_full || is_enough || self.has_looked_enough() {
                    let next = self.at;
                    return self.end_compact(next, piece).await;
                }
                self.at = Some(record.id);
                self.looked += 1;
                if self.filter.takes(&record) {
                    let file = &record.file;
                    let content_type = file_type::of(file.content_type.as_deref(), &file.name);
                    writer.file(&mut piece.text, &record, content_type.as_deref());
                    self.listed += 1;
                }
                if piece.is_full() {
                    break;
                }
            }
        }
        self.prove(&piece.text);
        self.written += piece.text.len();
        Ok((piece.end(), Left::Files(self, writer)))
    }

    async fn end_compact(
        mut self,
        next: Option<FileId>,
        mut piece: Piece,
    ) -> Result<(Bytes, Left), BoxError> {
        self.node.store().catch_up().await;
        let removed = self.filter.removed_since;
        let removed = removed.and_then(|it| self.node.network().removals.since(it));
        for id in removed.into_iter().flatten() {
            Writer::removed(&mut piece.text, id);
        }
        let total_files = self.node.store().totals().files;
        Writer::end(&mut piece.text, total_files, next);
        self.prove(&piece.text);
        if let Some(prover) = self.prover {
            let proof = self.node.network().prove(prover);
            piece.text.extend_from_slice(proof.as_bytes());
        }
        Ok((piece.end(), Left::Nothing))
    }
}
