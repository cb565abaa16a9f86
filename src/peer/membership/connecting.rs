//! Connections that a node makes to members: none is used before the other side has shown that it
//! is one, so that nothing is asked of anybody else.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::http::Extensions;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioIo;
use reqwest::tls::TlsInfo;
use tower::{Layer, Service};

use super::Channel;

/// Has each new connection of a client be one to a member.
#[derive(Clone)]
pub(in crate::peer) struct ToMembers(pub(in crate::peer) Arc<Channel>);

/// What connects to members by what connects to anybody.
#[derive(Clone)]
pub(in crate::peer) struct Connecting<Inner> {
    inner: Inner,
    channel: Arc<Channel>,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl<Inner> Layer<Inner> for ToMembers {
    type Service = Connecting<Inner>;

    fn layer(&self, inner: Inner) -> Connecting<Inner> {
        Connecting {
            inner,
            channel: Arc::clone(&self.0),
        }
    }
}

impl<Inner, Target> Service<Target> for Connecting<Inner>
where
    Inner: Service<Target, Error = BoxError>,
    Inner::Response: Connection + Read + Write + Unpin + Send,
    Inner::Future: Send + 'static,
{
    type Response = Inner::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Inner::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let connecting = self.inner.call(target);
        let channel = Arc::clone(&self.channel);
        Box::pin(async move {
            let connection = connecting.await?;
            let mut about = Extensions::new();
            connection.connected().get_extras(&mut about);
            let shown = about.get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
            let mut stream = TokioIo::new(connection);
            channel.greet(&mut stream, shown).await?;
            Ok(stream.into_inner())
        })
    }
}
