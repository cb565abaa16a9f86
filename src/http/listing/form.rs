//! What a listing looks like: JSON, or the compact form, which nodes ask each other for.

use axum::BoxError;
use axum::http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use super::Listing;
use crate::http::file_view::FileView;
use crate::peer::compact::{self, MAX_PAGE_BYTES, Writer};
use crate::record::{FileId, FileRecord};
use crate::store::StoreError;
use crate::web::file_type;
use crate::web::list::Piece;

/// One of the two.
pub(in crate::http) enum Form {
    Json,
    Compact {
        writer: Writer,
        /// How many bytes of it were written.
        written: usize,
    },
}

/// Whether a parameter says that a form is not taken (RFC 9110, section 12.4.2).
fn is_refusal(parameter: &str) -> bool {
    let weight = parameter
        .split_once('=')
        .filter(|(name, _)| name.eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, it)| it.parse::<f64>().is_ok_and(|it| it <= 0.0))
}

impl Form {
    /// The one that is asked for: compact only where that is named.
    pub(in crate::http) fn wanted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).into_iter();
        let kinds = values.filter_map(|it| it.to_str().ok());
        let mut kinds = kinds.flat_map(|it| it.split(','));
        let is_compact = |it: &str| {
            let mut parts = it.split(';').map(str::trim);
            parts.next() == Some(compact::TYPE) && !parts.any(is_refusal)
        };
        if !kinds.any(is_compact) {
            return Self::Json;
        }
        Self::Compact {
            writer: Writer::default(),
            written: 0,
        }
    }

    /// What it is sent as.
    pub(in crate::http) fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Compact { .. } => compact::TYPE,
        })
    }

    pub(super) fn note_written(&mut self, bytes: usize) {
        if let Self::Compact { written, .. } = self {
            *written += bytes;
        }
    }

    /// Whether a page is as long as it may be, with so many bytes that were not noted yet.
    pub(super) fn is_full(&self, unnoted: usize) -> bool {
        matches!(self, Self::Compact { written, .. } if written + unnoted >= MAX_PAGE_BYTES)
    }

    /// What stands at the end where no proof does.
    pub(super) fn unproven_end(&self) -> &'static [u8] {
        match self {
            Self::Json => b"}",
            Self::Compact { .. } => b"",
        }
    }
}

impl Listing {
    /// What stands before the files.
    pub(super) fn opening(&self) -> Vec<u8> {
        let peer = self.node.peer_id();
        match self.form {
            Form::Json => {
                format!(r#"{{"status":"success","peer_id":"{peer}","files":["#).into_bytes()
            }
            Form::Compact { .. } => {
                let listed_at = self.is_followed().then_some(self.listed_at);
                let version = self.version.filter(|_| self.is_followed());
                Writer::begin(peer, listed_at, version)
            }
        }
    }

    pub(super) async fn write_file(
        &mut self,
        record: &FileRecord,
        piece: &mut Piece,
    ) -> Result<(), BoxError> {
        if let Form::Compact { writer, .. } = &mut self.form {
            let file = &record.file;
            let content_type = file_type::of(file.content_type.as_deref(), &file.name);
            writer.file(&mut piece.text, record, content_type.as_deref());
            return Ok(());
        }
        let view = self.view(record).await?;
        piece.push(&view, self.listed == 0)
    }

    /// A file as it is told. To peers, who know where its copies are, these are not.
    async fn view<'a>(&self, record: &'a FileRecord) -> Result<FileView<'a>, StoreError> {
        match self.prover {
            Some(_) => Ok(FileView::new(&self.node, record)),
            None => FileView::with_copies(&self.node, record).await,
        }
    }

    /// Writes what stands behind the files, but for a proof and what stands in its place.
    pub(super) fn write_closing(
        &self,
        next: Option<FileId>,
        piece: &mut Piece,
    ) -> Result<(), BoxError> {
        let total_files = self.node.store().totals().files;
        if let Form::Compact { .. } = self.form {
            let removed = self.filter.removed_since.and_then(|it| self.removed(it));
            for id in removed.into_iter().flatten() {
                Writer::removed(&mut piece.text, id);
            }
            Writer::end(&mut piece.text, total_files, next);
            return Ok(());
        }
        let mut end = json!({
            "file_count": self.listed,
            "total_files": total_files,
            "next": next.map(|id| id.to_string()),
        });
        self.tell_peers(&mut end);
        piece.text.extend_from_slice(b"],");
        let end = serde_json::to_vec(&end)?;
        let end = end.strip_prefix(b"{").unwrap_or(&end);
        let end = end.strip_suffix(b"}").unwrap_or(end);
        piece.text.extend_from_slice(end);
        Ok(())
    }

    /// Adds what only those that follow this node's changes ask for: when the listing was made,
    /// and what was removed. To others two answers of the same files are the same.
    fn tell_peers(&self, end: &mut Value) {
        if self.is_followed() {
            end["listed_at"] = json!(self.listed_at);
            if let Some(version) = self.version {
                end["version"] = json!(version);
            }
        }
        if let Some(moment) = self.filter.removed_since {
            let removed: Option<Vec<_>> = self
                .removed(moment)
                .map(|ids| ids.iter().map(ToString::to_string).collect());
            end["removed"] = json!(removed);
        }
    }

    /// Whether whoever asks follows this node's changes.
    fn is_followed(&self) -> bool {
        self.prover.is_some() || self.filter.removed_since.is_some()
    }

    /// What was removed since then; None where that is not remembered.
    fn removed(&self, moment: u64) -> Option<Vec<FileId>> {
        self.node.network().removals.since(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compact_form_is_for_those_alone_who_ask_for_it() {
        let wanted = |accept: &'static str| {
            let value = HeaderValue::from_static(accept);
            let headers = HeaderMap::from_iter([(header::ACCEPT, value)]);
            matches!(Form::wanted(&headers), Form::Compact { .. })
        };
        for accept in [
            "application/vnd.larder.listing",
            "application/json;q=0.5, application/vnd.larder.listing ; q=0.9",
            "application/vnd.larder.listing;q=1.000",
        ] {
            assert!(wanted(accept), "{accept}");
        }
        for accept in [
            "*/*",
            "application/json",
            "application/vnd.larder.listing;q=0",
            "application/json, application/vnd.larder.listing; Q=0.000",
        ] {
            assert!(!wanted(accept), "{accept}");
        }
    }
}
