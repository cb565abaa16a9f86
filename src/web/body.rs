//! Request bodies, with limits on length and slowness.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use super::error::ApiError;
use super::parameters::Parameters;

/// A client must send [`ENOUGH_BYTES`] each time the node has waited this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many bytes show that an upload goes on.
const ENOUGH_BYTES: usize = 1024;

/// A body being received.
pub(crate) struct RequestBody {
    body: Body,
    max_bytes: u64,
    received: u64,
    /// How much longer the node waits for the next [`ENOUGH_BYTES`]. The time in
    /// which it does not ask, since its own disk is behind, does not count.
    patience: Duration,
    /// The bytes that came since the patience was renewed.
    recent: usize,
}

impl RequestBody {
    /// A body that is refused when it is longer than `max_bytes`.
    pub(crate) fn new(body: Body, max_bytes: u64) -> Self {
        Self {
            body,
            max_bytes,
            received: 0,
            patience: PATIENCE,
            recent: 0,
        }
    }

    /// The body of a request that must say that it is JSON: a page of another origin
    /// cannot say so without being asked first.
    pub(crate) fn of_json(request: Request, max_bytes: u64) -> Result<Self, ApiError> {
        Self::of_type(request, "application/json", max_bytes)
    }

    /// The body of a request, which has to be of this type.
    pub(crate) fn of_type(
        request: Request,
        wanted: &'static str,
        max_bytes: u64,
    ) -> Result<Self, ApiError> {
        let wrong = || ApiError::WrongContentType(wanted);
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.ok_or_else(wrong)?;
        if Parameters::parse(content_type.as_bytes()).value != wanted {
            return Err(wrong());
        }
        Ok(Self::new(request.into_body(), max_bytes))
    }

    /// The next piece; None at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let asked = Instant::now();
            let frame = timeout(self.patience, self.body.frame()).await;
            let frame = match frame.map_err(|_| ApiError::BodyTooSlow)? {
                None => return Ok(None),
                Some(frame) => frame.map_err(ApiError::BodyCut)?,
            };
            self.patience = self.patience.saturating_sub(asked.elapsed());
            // Trailers mean nothing here.
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.count(piece.len())?;
            return Ok(Some(piece));
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.received += bytes as u64;
        if self.received > self.max_bytes {
            return Err(ApiError::BodyTooLong(self.max_bytes));
        }
        self.recent += bytes;
        if self.recent >= ENOUGH_BYTES {
            self.recent = 0;
            self.patience = PATIENCE;
        }
        Ok(())
    }

    /// All of the body at once, for short ones.
    pub(crate) async fn read_all(mut self) -> Result<Vec<u8>, ApiError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    /// A body of so many bytes at a time, so far apart.
    fn drip(bytes: usize, pause: Duration) -> Body {
        let pieces = stream::unfold((), move |()| async move {
            tokio::time::sleep(pause).await;
            Some((Ok::<_, Infallible>(vec![0; bytes]), ()))
        });
        Body::from_stream(pieces)
    }

    async fn receive(body: Body, max_bytes: u64) -> (u64, ApiError) {
        let mut body = RequestBody::new(body, max_bytes);
        loop {
            if let Err(error) = body.next().await {
                return (body.received, error);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_too_slow() {
        let body = drip(ENOUGH_BYTES / 10, PATIENCE / 9);
        let (received, error) = receive(body, u64::MAX).await;
        assert!(matches!(error, ApiError::BodyTooSlow), "{error:?}");
        assert!(received < ENOUGH_BYTES as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_just_fast_enough_goes_on() {
        let body = drip(ENOUGH_BYTES / 8, PATIENCE / 9);
        let (received, error) = receive(body, 1 << 20).await;
        assert!(matches!(error, ApiError::BodyTooLong(_)), "{error:?}");
        assert!(received > 1 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn only_waiting_for_the_client_counts() {
        let mut body = RequestBody::new(drip(1, Duration::ZERO), u64::MAX);
        for _ in 0..ENOUGH_BYTES {
            tokio::time::sleep(PATIENCE).await;
            assert!(body.next().await.unwrap().is_some());
        }
    }
}
