//! The accept loop: connections in, HTTP/1.1 over each, perhaps over TLS, and a graceful end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tower::ServiceExt;

use super::counted::{Connections, Counted};
use super::stall_guard::StallGuard;
use super::tls::Tls;

/// How long to wait after a failed accept: mostly the process has too many files
/// open, and only closing connections helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a server speaks, and its limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// What it needs to speak TLS; without it, it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// How long a client may take for a TLS handshake.
    pub handshake_timeout: Duration,
    /// The most connections held at once; more wait to be accepted.
    pub max_connections: usize,
    /// How long the head of a request may take to arrive, counted from the end of
    /// the answer before: so it bounds idle connections, too.
    pub head_timeout: Duration,
    /// How long a client may leave a waiting answer unread.
    pub stall_timeout: Duration,
    /// How long running requests may go on after the shutdown.
    pub shutdown_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            max_connections: 16_384,
            head_timeout: Duration::from_mins(1),
            stall_timeout: Duration::from_mins(1),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}

/// The address of the client; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub SocketAddr);

/// Serves `router` on `listener` until `shutdown`, then closes the listener and
/// lets running requests end within the grace. Counts its connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: &Options,
    counters: Arc<Connections>,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let options = Arc::new(options.clone());
    let slots = Arc::new(Semaphore::new(options.max_connections));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report_panic(ended),
            accepted = accept(&listener, &slots) => {
                let (stream, client, slot) = accepted;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%client, %error, "answers may be delayed");
                }
                let stream = Counted::new(stream, Arc::clone(&counters));
                let serving = Serving {
                    client,
                    router: router.clone(),
                    options: Arc::clone(&options),
                    watcher: graceful.watcher(),
                };
                connections.spawn(async move {
                    serving.run(stream).await;
                    drop(slot);
                });
            }
        }
    }
    drop(listener);
    let grace = options.shutdown_grace;
    if timeout(grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(?grace, "requests still running after the grace are cut off");
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // Nobody closes the semaphore, so there is always a permit.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, client)) => return (stream, client, slot),
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from its beginning to its end.
struct Serving {
    client: SocketAddr,
    router: Router,
    options: Arc<Options>,
    /// Waits for the shutdown, which in turn waits for it.
    watcher: Watcher,
}

impl Serving {
    async fn run(self, stream: Counted<TcpStream>) {
        let client = self.client;
        let Some(tls) = &self.options.tls else {
            return self.http(stream).await;
        };
        let handshake = tls.acceptor().accept(stream);
        match timeout(self.options.handshake_timeout, handshake).await {
            // Apart, so that connections without TLS do not take its memory.
            Ok(Ok(stream)) => Box::pin(self.http(stream)).await,
            Ok(Err(error)) => tracing::debug!(%client, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(%client, "the TLS handshake took too long"),
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let client = self.client;
        let connection = connection(stream, client, self.router, &self.options);
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%client, %error, "connection cut");
        }
    }
}

/// HTTP over one connection.
fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    client: SocketAddr,
    router: Router,
    options: &Options,
) -> impl GracefulConnection<Error = hyper::Error> + Send + use<S> {
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ClientAddress(client));
        request
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .serve_connection(
            TokioIo::new(StallGuard::new(stream, options.stall_timeout)),
            TowerToHyperService::new(service),
        )
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request failed by a panic");
    }
}
