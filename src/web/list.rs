//! Lists as answers, in JSON, written piece by piece as fast as they are read.
//!
//! Each piece takes its room of the memory that the pieces of all answers share, so that lists take
//! no more than is stated however long they are, how many are asked for, and how slowly they are
//! read. Where little room is left the pieces are short.

use std::future::ready;
use std::iter;

use axum::BoxError;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use serde::Serialize;

use crate::room::Room;

/// About how long a list is at most whose length is told before, in bytes.
const WITH_LENGTH: u64 = 512 << 10;
/// About how long a piece of a longer one is at most, in bytes.
const PIECE: u64 = 128 << 10;
/// How many elements are taken at once.
const AT_ONCE: usize = 8;

/// A piece being written.
pub(crate) struct Piece {
    room: Room,
    pub(crate) text: Vec<u8>,
}

impl Piece {
    /// An empty one.
    pub(crate) fn begin() -> Self {
        Self {
            room: Room::take(PIECE),
            text: Vec::new(),
        }
    }

    /// How much room it has left, in bytes.
    pub(crate) fn left(&self) -> usize {
        self.room.bytes().saturating_sub(self.text.len())
    }

    /// Whether it has no room left.
    pub(crate) fn is_full(&self) -> bool {
        self.left() == 0
    }

    /// Adds an element of a list.
    pub(crate) fn push(
        &mut self,
        element: &impl Serialize,
        is_first: bool,
    ) -> Result<(), BoxError> {
        if !is_first {
            self.text.push(b',');
        }
        Ok(serde_json::to_writer(&mut self.text, element)?)
    }

    /// What was written.
    pub(crate) fn end(self) -> Bytes {
        held(self.room, self.text)
    }
}

/// The answer that is made of these pieces, with its length where it is short: some gateways and
/// clients need that.
pub(crate) async fn answer(
    pieces: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
) -> Response {
    answer_as(HeaderValue::from_static("application/json"), pieces).await
}

/// The same, of another type.
pub(crate) async fn answer_as(
    content_type: HeaderValue,
    pieces: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
) -> Response {
    let mut response = Response::new(body_of(pieces).await);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

async fn body_of(pieces: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
    let mut pieces = Box::pin(pieces);
    let room = Room::take(WITH_LENGTH);
    let mut begun = Vec::new();
    while begun.len() < room.bytes() {
        match pieces.next().await {
            None => return held(room, begun).into(),
            Some(Ok(piece)) => begun.extend_from_slice(&piece),
            Some(Err(error)) => {
                let cut = stream::iter([Ok(held(room, begun)), Err(error)]);
                return Body::from_stream(cut);
            }
        }
    }
    let begun = stream::once(ready(Ok(held(room, begun))));
    let pieces = begun.chain(pieces).map_ok(in_parts).try_flatten();
    Body::from_stream(pieces)
}

/// The same piece in parts as long as a piece may be now: one element may be far longer, and what
/// sends them takes so many ahead, however long each is.
fn in_parts(mut piece: Bytes) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    let longest = Room::take(PIECE).bytes();
    let parts = iter::from_fn(move || {
        let part = piece.split_to(longest.min(piece.len()));
        (!part.is_empty()).then_some(Ok(part))
    });
    stream::iter(parts)
}

/// The pieces of an answer that lists what `some` gives, at most so many at a time, until that is
/// nothing. `around` is the answer around so many elements: the list, which is left empty, is the
/// first one in it.
pub(crate) fn pieces<A: Serialize, T: Serialize + Send + 'static>(
    around: impl Fn(usize) -> A + Send + 'static,
    mut some: impl FnMut(usize) -> Vec<T> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    let some = iter::from_fn(move || Some(some(AT_ONCE)).filter(|it| !it.is_empty()));
    pieces_of(around, stream::iter(some.map(Ok)))
}

/// The same of what comes some at a time, and may fail to.
pub(crate) fn pieces_of<A: Serialize, T: Serialize + Send + 'static>(
    around: impl Fn(usize) -> A + Send + 'static,
    some: impl Stream<Item = Result<Vec<T>, BoxError>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    let opening = parted(&around(0)).map(|(opening, _)| Bytes::from(opening));
    let left = Left {
        around,
        count: 0,
        some: some.boxed(),
    };
    let elements = stream::try_unfold(Some(left), |left| async {
        match left {
            Some(left) => left.piece().await,
            None => Ok(None),
        }
    });
    stream::once(ready(opening)).chain(elements)
}

/// What is left of a list to be written.
struct Left<F, T> {
    around: F,
    /// How many elements are written.
    count: usize,
    some: BoxStream<'static, Result<Vec<T>, BoxError>>,
}

impl<A: Serialize, F: Fn(usize) -> A, T: Serialize> Left<F, T> {
    /// The next piece, and what is left then.
    async fn piece(mut self) -> Result<Option<(Bytes, Option<Self>)>, BoxError> {
        let mut piece = Piece::begin();
        while !piece.is_full() {
            let Some(elements) = self.some.try_next().await? else {
                let (_, end) = parted(&(self.around)(self.count))?;
                piece.text.extend_from_slice(&end);
                return Ok(Some((piece.end(), None)));
            };
            for element in elements {
                piece.push(&element, self.count == 0)?;
                self.count += 1;
            }
        }
        Ok(Some((piece.end(), Some(self))))
    }
}

/// What stands before the elements of the first list in this answer, and behind them.
fn parted(around: &impl Serialize) -> Result<(Vec<u8>, Vec<u8>), BoxError> {
    let mut opening = serde_json::to_vec(around)?;
    let list = opening.windows(2).position(|it| it == b"[]");
    let end = opening.split_off(list.ok_or("an answer without a list")? + 1);
    Ok((opening, end))
}

/// An answer that is written at once, in this room.
pub(crate) fn whole(room: Room, answer: &impl Serialize) -> Response {
    // Values under names that are texts, which cannot fail to be written.
    let text = serde_json::to_vec(answer).unwrap_or_default();
    json(held(room, text).into())
}

/// An answer in this room that was written before.
pub(crate) fn written(room: Room, text: Vec<u8>) -> Response {
    json(held(room, text).into())
}

fn held(room: Room, mut text: Vec<u8>) -> Bytes {
    // Nobody counts what it has beyond its length.
    text.shrink_to_fit();
    room.hold(text)
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Around {
        numbers: Vec<String>,
        count: usize,
        others: Vec<u8>,
    }

    #[tokio::test]
    async fn a_list_is_what_it_would_be_written_at_once() {
        for many in [0, 1, AT_ONCE, 10_000] {
            let around = |count| Around {
                numbers: Vec::new(),
                count,
                others: Vec::new(),
            };
            let number = |it: usize| format!("{it:0>100}");
            let mut all = (0..many).map(number);
            let some = move |limit| all.by_ref().take(limit).collect::<Vec<_>>();
            let pieces: Vec<_> = pieces(around, some).try_collect().await.unwrap();
            let longest = pieces.iter().map(Bytes::len).max().unwrap();
            assert!(longest < 2 * usize::try_from(PIECE).unwrap(), "{longest}");
            let expected = Around {
                numbers: (0..many).map(number).collect(),
                ..around(many)
            };
            let expected = serde_json::to_vec(&expected).unwrap();
            assert!(pieces.concat() == expected, "{many}");
        }
    }
}
