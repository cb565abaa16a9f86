//! The accept loop: connections in, HTTP/1.1 over each, perhaps over TLS, and a graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tower::ServiceExt;

use super::accepting::{Accepted, Accepting};
use super::bad_heads::{Asked, WithReasons};
use super::clients::Gateways;
use super::counted::{Connections, Counted};
use super::framing;
use super::handshake::{self, Spoken};
use super::last_words;
use super::late_failure::LateFailure;
use super::presence::{self, Socket};
use super::resting::{self, Signs, Unread};
use super::seats::{Running, Seat, Seats, Taken};
use super::stall_guard::guarded;
use super::tls::Tls;
use super::transfers::{Asker, Transfers};
use super::watched_body::{Watch, WatchedBody};
use crate::open_files::Shares;
use crate::peer::membership::{Channel, Member};

/// The longest head of a request, in bytes, as nginx has it; of at most 100 fields.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// How long a request whose head is on its way at the shutdown has to arrive.
const LAST_HEADS: Duration = Duration::from_millis(200);

/// How a server speaks, and its limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// What it needs to speak TLS; without it, it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// By what members of a network are known on the same port, if the node is one.
    pub members: Option<Arc<Channel>>,
    /// How long a client may take for a TLS handshake.
    pub handshake_timeout: Duration,
    /// The most connections held at once, a quarter of them of one address; where there are
    /// more, those give way on which no request runs. And the most files, and connections to
    /// peers, behind all requests together that send or receive long content, a quarter of them
    /// of one client.
    pub files: Shares,
    /// The gateways in front, which have no share, and are believed who their clients are.
    pub gateways: Gateways,
    /// How long the head of a request may take to arrive, counted from the end of
    /// the answer before: so it bounds idle connections, too.
    pub head_timeout: Duration,
    /// How long a client may leave a waiting answer unread.
    pub stall_timeout: Duration,
    /// How long running requests may go on after the shutdown.
    pub shutdown_grace: Duration,
    /// Told where the grace shall end at once.
    pub hurry: Arc<Notify>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: None,
            members: None,
            handshake_timeout: Duration::from_secs(10),
            files: Shares::default(),
            gateways: Gateways::default(),
            head_timeout: Duration::from_mins(1),
            stall_timeout: Duration::from_mins(1),
            shutdown_grace: Duration::from_secs(30),
            hurry: Arc::default(),
        }
    }
}

/// Serves `router` on `listener` until `shutdown`, then closes the listener and
/// lets running requests end within the grace. Counts its connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: &Options,
    counters: Arc<Connections>,
    shutdown: impl Future<Output = ()>,
) {
    let stopping = watch::Sender::new(false);
    let options = Arc::new(options.clone());
    let seats = Seats::new(options.files.connections);
    let refusals = Seats::new(options.files.refusals);
    let transfers = Transfers::new(options.files.transfers);
    let mut accepting = Accepting::on(listener);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report_panic(ended),
            Accepted { stream, client, is_last } = accepting.next(&seats) => {
                let holder = options.gateways.holder(client.ip());
                let taken = if is_last { None } else { seats.take(holder) };
                let Some(taken) = taken else {
                    counters.refused.count();
                    if let Some(place) = refusals.take(holder) {
                        let tls = options.tls.clone();
                        connections.spawn(last_words::refuse(stream, client, is_last, tls, place));
                    }
                    continue;
                };
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%client, %error, "answers may be delayed");
                }
                let seat = Arc::clone(&taken.0);
                let socket = Socket::of(stream);
                let counted = Arc::clone(&counters);
                let stream = Counted::new(socket.clone(), counted, Arc::clone(&seat));
                let serving = Serving {
                    client,
                    socket: socket.clone(),
                    counters: Arc::clone(&counters),
                    seat,
                    transfers: Arc::clone(&transfers),
                    router: router.clone(),
                    options: Arc::clone(&options),
                    stopping: stopping.subscribe(),
                };
                connections.spawn(serving.run(stream, socket, taken));
            }
        }
    }
    drop(accepting);
    stopping.send_replace(true);
    end(&mut connections, &options).await;
    connections.shutdown().await;
}

/// Waits for requests that are running, as long as they may run.
async fn end(connections: &mut JoinSet<()>, options: &Options) {
    let grace = options.shutdown_grace;
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report_panic(ended);
        }
    };
    tokio::select! {
        ended = timeout(grace, all) => {
            if ended.is_err() {
                tracing::warn!(?grace, "requests still running after the grace are cut off");
            }
        }
        () = options.hurry.notified() => {
            tracing::warn!("requests still running are cut off, as a second signal asks");
        }
    }
}

/// One connection, from its beginning to its end.
struct Serving {
    client: SocketAddr,
    socket: Socket,
    counters: Arc<Connections>,
    seat: Arc<Seat>,
    transfers: Arc<Transfers>,
    router: Router,
    options: Arc<Options>,
    /// Tells of the shutdown, which in turn waits for it.
    stopping: watch::Receiver<bool>,
}

impl Serving {
    /// Serves until the connection ends, its place is taken away, its client has left, or the
    /// server stops and no request runs.
    async fn run(self, stream: Counted, socket: Socket, taken: Taken) {
        let client = self.client;
        let stopping = self.stopping.clone();
        tokio::select! {
            () = self.serve(stream) => {}
            () = idle_at_the_end(stopping, &taken.0) => {
                tracing::debug!(%client, "a connection without a request ends");
            }
            () = presence::left(&taken.0, &socket) => {
                tracing::debug!(%client, "a client has left before it had all of its answer");
            }
            () = taken.0.gone() => tracing::debug!(%client, "a connection gives way to others"),
        }
    }

    async fn serve(self, stream: Counted) {
        let client = self.client;
        let Options { tls, members, .. } = &*self.options;
        if tls.is_none() && members.is_none() {
            return self.http(stream, None).await;
        }
        let handshake = handshake::begin(stream, tls.as_ref(), members.as_deref());
        match timeout(self.options.handshake_timeout, Box::pin(handshake)).await {
            Ok(Ok(Spoken::Plain(stream))) => self.http(stream, None).await,
            // Apart, so that connections without TLS do not take its memory.
            Ok(Ok(Spoken::Tls(stream, member))) => Box::pin(self.over_tls(*stream, member)).await,
            Ok(Err(error)) => tracing::debug!(%client, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(%client, "the TLS handshake took too long"),
        }
    }

    /// The connection of a member ends when it is one no longer, whatever is under way: the next
    /// handshake says why.
    async fn over_tls<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        member: Option<Member>,
    ) {
        let Some(other) = member.clone() else {
            return self.http(stream, None).await;
        };
        tokio::select! {
            () = self.http(stream, member) => {}
            () = other.ended() => {
                tracing::debug!(member = %other, "a connection ends of who is no member any more");
            }
        }
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        member: Option<Member>,
    ) {
        let Self {
            client,
            socket,
            counters,
            seat,
            transfers,
            router,
            options,
            stopping,
        } = self;
        let signs = Signs {
            socket,
            seat: Arc::clone(&seat),
            unread: Unread::default(),
            connections: counters,
            stopping,
        };
        let own = Asked::default();
        let stream = WithReasons::over(stream, Arc::clone(&seat), own.clone());
        let stream = guarded(stream, options.stall_timeout);
        let head_timeout = options.head_timeout;
        let answering = Answering {
            client: (client, member),
            seat,
            transfers,
            router,
            options,
            own,
            unread: signs.unread.clone(),
        };
        let service = service_fn(move |request| answering.answer(request));
        let served = resting::serve(http1_builder, (stream, service), signs, head_timeout);
        if let Err(error) = served.await {
            tracing::debug!(%client, %error, "connection cut");
        }
    }
}

/// Returns at the shutdown if no request runs on the connection, not even after what may have
/// been on its way: half of a head, or of a TLS handshake, is nothing to wait for.
async fn idle_at_the_end(mut stopping: watch::Receiver<bool>, seat: &Seat) {
    if stopping.wait_for(|it| *it).await.is_ok() && !seat.is_busy() {
        tokio::time::sleep(LAST_HEADS).await;
        if !seat.is_busy() {
            return;
        }
    }
    // Whatever runs ends the connection.
    std::future::pending::<()>().await;
}

/// What is answered, and with which a request ends.
type AnswerBody = LateFailure<WatchedBody<Running>>;

/// What answers the requests of one connection.
struct Answering {
    client: (SocketAddr, Option<Member>),
    seat: Arc<Seat>,
    transfers: Arc<Transfers>,
    router: Router,
    options: Arc<Options>,
    own: Asked,
    unread: Unread,
}

impl Answering {
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + use<> {
        self.own.note();
        let mut request = request.map(|body| self.unread.follow(body));
        let running = self.seat.run(request.method().is_safe());
        let (client, member) = &self.client;
        let address = self.options.gateways.client(*client, request.headers());
        let asker = Asker {
            transfers: Arc::clone(&self.transfers),
            seat: Arc::clone(&self.seat),
            client: address.share,
        };
        request.extensions_mut().insert(address);
        request.extensions_mut().insert(asker);
        if let Some(member) = member {
            request.extensions_mut().insert(member.clone());
        }
        let refusal = framing::refusal(&request);
        let answer = self.router.clone().oneshot(request);
        async move {
            let response = match refusal {
                Some(refusal) => refusal,
                None => answer.await?,
            };
            let watched = |body| LateFailure::of(WatchedBody::of(body, running));
            Ok(response.map(watched))
        }
    }
}

/// What serves HTTP on a connection whose next head has so long to come.
fn http1_builder(head_timeout: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Whoever has sent a whole request may go, or send no more: what it asked for is done, and
        // answered as far as anybody listens. A body that ends too early is an error all the same.
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_header_size(MAX_HEAD_BYTES);
    builder
}

/// A request runs until the body of its answer is gone.
impl Watch for Running {}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request failed by a panic");
    }
}
