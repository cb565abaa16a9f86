//! A `multipart/form-data` body, part by part (RFC 7578).

use axum::http::{HeaderMap, header};
use bytes::Bytes;

use super::body::RequestBody;
use super::error::ApiError;
use super::multipart::{Event, MultipartError, Parser};
use super::parameters::{Charset, Parameters};
use super::part_head::PartHead;

/// How much may follow the closing boundary.
const MAX_EPILOGUE_BYTES: usize = 64 * 1024;

/// A form being received.
pub(crate) struct Form {
    body: RequestBody,
    parser: Parser,
}

impl Form {
    /// Whether a form comes behind these headers.
    pub(crate) fn is_announced(headers: &HeaderMap) -> bool {
        announced(headers).is_some()
    }

    /// The form in `body`, as the headers of the request announce it.
    pub(crate) fn new(headers: &HeaderMap, body: RequestBody) -> Result<Self, ApiError> {
        let announced = announced(headers).ok_or(ApiError::NoForm)?;
        let boundary = announced.get("boundary");
        let parser = Parser::new(boundary.ok_or(MultipartError::Boundary)?)?;
        Ok(Self { body, parser })
    }

    /// The next part, skipping what was not read of the one before; None after the last.
    pub(crate) async fn next_part(&mut self) -> Result<Option<PartHead>, ApiError> {
        loop {
            match self.next_event().await? {
                Event::Head(lines) => return Ok(Some(PartHead::parse(&lines))),
                Event::Data(_) | Event::PartEnd => {}
                Event::End => {
                    self.skip_epilogue().await?;
                    return Ok(None);
                }
            }
        }
    }

    /// The next piece of the part's content; None at its end.
    pub(crate) async fn next_data(&mut self) -> Result<Option<Bytes>, ApiError> {
        match self.next_event().await? {
            Event::Data(data) => Ok(Some(data)),
            Event::Head(_) | Event::PartEnd | Event::End => Ok(None),
        }
    }

    /// The part's content as text in this charset, what is none replaced; None if it is longer
    /// than `max_bytes`.
    pub(crate) async fn text(
        &mut self,
        charset: Charset,
        max_bytes: usize,
    ) -> Result<Option<String>, ApiError> {
        let mut bytes = Vec::new();
        while let Some(data) = self.next_data().await? {
            if bytes.len() + data.len() > max_bytes {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
        let text = charset.decode(&bytes);
        // In UTF-8 it may be longer than it was.
        Ok((text.len() <= max_bytes).then_some(text))
    }

    async fn next_event(&mut self) -> Result<Event, ApiError> {
        loop {
            if let Some(event) = self.parser.next()? {
                return Ok(event);
            }
            match self.body.next().await? {
                Some(input) => self.parser.feed(input),
                None => return Err(MultipartError::Truncated.into()),
            }
        }
    }

    /// Receives the body to its end, so that the connection can serve on.
    async fn skip_epilogue(&mut self) -> Result<(), ApiError> {
        let mut skipped = 0;
        while let Some(input) = self.body.next().await? {
            skipped += input.len();
            if skipped > MAX_EPILOGUE_BYTES {
                break;
            }
        }
        Ok(())
    }
}

/// The content type of a form, if that is what the headers announce.
fn announced(headers: &HeaderMap) -> Option<Parameters> {
    let content_type = headers.get(header::CONTENT_TYPE)?;
    let content_type = Parameters::parse(content_type.as_bytes());
    (content_type.value == "multipart/form-data").then_some(content_type)
}
