//! Bodies that fail no earlier than what came before has gone out: the HTTP library drops what it
//! has not written yet of an answer whose body fails, and be it all of it, with the head.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

/// A body whose failure is told when the connection has taken what it takes of what came before.
pub(super) struct LateFailure<B: Body> {
    body: B,
    failure: Option<B::Error>,
}

impl<B: Body> LateFailure<B> {
    /// The same body.
    pub(super) fn of(body: B) -> Self {
        Self {
            body,
            failure: None,
        }
    }
}

impl<B: Body + Unpin> Body for LateFailure<B>
where
    B::Error: Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(failure))) = polled {
            self.failure = Some(failure);
            // Whoever waits for a body writes meanwhile.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use axum::body;
    use axum::http::{Request, Response};
    use bytes::Bytes;
    use futures_util::stream;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_comes_before_a_failure_is_sent() {
        let (mut client, server) = duplex(4096);
        let service = service_fn(|_: Request<Incoming>| async {
            let failure = Err(io::Error::other("the rest is damaged"));
            let pieces = stream::iter([Ok(Bytes::from_static(b"a proven piece")), failure]);
            let body = LateFailure::of(body::Body::from_stream(pieces));
            Ok::<_, Infallible>(Response::new(body))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let connection = tokio::spawn(connection);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        let all = String::from_utf8(all).unwrap();
        assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
        // Not as an end, which the last chunk would be.
        assert!(all.ends_with("a proven piece\r\n"), "{all}");
        assert!(connection.await.unwrap().is_err());
    }
}
