//! `GET /api/p2p/moment`: all files as they are at one moment, a line of JSON each.

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::switch::Switch;
use crate::file_line::{Beginning, End, FileLine, Line, VERSION};
use crate::node::Node;
use crate::record::Timestamp;
use crate::store::{Moment, Told};
use crate::web::error::ApiError;
use crate::web::list::Piece;

/// How often an empty line is sent to whoever has read all.
const EMPTY_LINE_EVERY: Duration = Duration::from_secs(5);

/// Whether to hold what is told.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MomentQuery {
    /// `1` to have the contents of files that are removed after the moment held, to be got by their
    /// hashes, until the client ends the answer, which has empty lines behind its end then.
    #[param(inline)]
    hold: Option<Switch>,
}

/// The list while it is told.
struct Telling {
    node: Arc<Node>,
    moment: Moment,
    /// What comes next.
    some: std::vec::IntoIter<Told>,
    /// How many files were told.
    told: u64,
    stage: Stage,
    /// Whether contents are to be held behind the end.
    holds: bool,
    /// Whether the node stops, which would wait for the answer.
    stopping: watch::Receiver<bool>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Beginning,
    Telling,
    /// All is told, and contents are held for whoever has read it.
    Holding,
}

/// Tells all files, and where that is asked for holds their contents then until the client goes: an
/// empty line now and then shows whether it is there. Where it fails the answer is cut.
pub(super) async fn moment(
    State(node): State<Arc<Node>>,
    query: Result<Query<MomentQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(MomentQuery { hold }) = query?;
    let mut moment = node.store().moment();
    // An error in the first page can still be told as such.
    let some = moment.next().await?.unwrap_or_default().into_iter();
    let telling = Telling {
        stopping: node.shutting_down(),
        node,
        moment,
        some,
        told: 0,
        stage: Stage::Beginning,
        holds: hold == Some(Switch::On),
    };
    let pieces = stream::try_unfold(Some(telling), |telling| async {
        match telling {
            Some(telling) => telling.piece().await.map(Some),
            None => Ok(None),
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

impl Telling {
    /// The next piece; after the last one there is nothing left to tell.
    async fn piece(mut self) -> Result<(Bytes, Option<Self>), BoxError> {
        if self.stage == Stage::Holding {
            return Ok(self.hold().await);
        }
        let mut piece = Piece::begin();
        if self.stage == Stage::Beginning {
            self.stage = Stage::Telling;
            push(&mut piece, &self.beginning())?;
        }
        while !piece.is_full() {
            match self.some.next() {
                Some(told) => push(&mut piece, &self.line(told))?,
                None if self.go_on().await? => {}
                None => {
                    push(&mut piece, &self.end())?;
                    if !self.holds {
                        return Ok((piece.end(), None));
                    }
                    self.stage = Stage::Holding;
                    break;
                }
            }
        }
        Ok((piece.end(), Some(self)))
    }

    /// An empty line after a while; the end where the node stops.
    async fn hold(mut self) -> (Bytes, Option<Self>) {
        let waiting = timeout(EMPTY_LINE_EVERY, self.stopping.wait_for(|it| *it));
        let goes_on = waiting.await.is_err();
        let goes_on = goes_on.then_some(self);
        (Bytes::from_static(b"\n"), goes_on)
    }

    /// Reads what is told next; false where that is nothing.
    async fn go_on(&mut self) -> Result<bool, BoxError> {
        let some = self.moment.next().await?;
        let missed = "too much has changed while the list was read";
        self.some = some.ok_or(missed)?.into_iter();
        Ok(self.some.len() > 0)
    }

    fn beginning(&self) -> Line {
        Line::Moment(Beginning {
            version: VERSION,
            peer_id: self.node.peer_id().to_string(),
        })
    }

    fn line(&mut self, told: Told) -> Line {
        match told {
            Told::File(record) => {
                self.told += 1;
                Line::File(FileLine::from(Arc::unwrap_or_clone(record)))
            }
            Told::Gone(id) => Line::Gone(id),
        }
    }

    fn end(&self) -> Line {
        Line::End(End {
            told: self.told,
            at: Timestamp::now().0,
        })
    }
}

fn push(piece: &mut Piece, line: &Line) -> Result<(), BoxError> {
    serde_json::to_writer(&mut piece.text, line)?;
    piece.text.push(b'\n');
    Ok(())
}
