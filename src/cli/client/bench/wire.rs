//! Connections to the node that are kept, with as little between them and the node as there can be:
//! what measures is not to be what takes the time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::Host;

use super::content::Content;
use crate::cli::client::api::authorities;
use crate::cli::client::connection::Target;
use crate::cli::client::failure::Failure;
use crate::config::WrongSetting;
use crate::peer::lookup::of_loopback;
use crate::peer::tls;

/// How long a connection may take to stand, an answer to begin, and one to come to its end.
const PATIENCE: Duration = Duration::from_secs(30);
/// For so many bytes of a request or an answer it may take a second longer.
const A_SECOND_FOR: u64 = 1 << 20;
/// What it is called where an answer does not come, or is one that no larder gives.
pub(super) const NO_ANSWER: &str = "no_answer";
pub(super) const OTHER_ANSWER: &str = "other_answer";
/// The longest answer that is read whole, in bytes.
const LONGEST: usize = 1 << 20;

/// Where the node is, and how it is asked.
pub(super) struct Wire {
    addresses: Vec<SocketAddr>,
    host: HeaderValue,
    /// What its paths begin with.
    prefix: String,
    token: Option<HeaderValue>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why a request came to nothing: a word for it, which is the node's own where it gave one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The node refuses.
    Refused(String),
    /// There is no connection, or not any more.
    Cut(&'static str),
    /// The bytes are other ones.
    Wrong,
}

impl Trouble {
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Refused(code) => code,
            Self::Cut(word) => word,
            Self::Wrong => "wrong_bytes",
        }
    }
}

/// What a refusal says.
#[derive(Deserialize)]
struct Refusal {
    code: String,
}

/// A connection, on which one request follows the other.
pub(super) type Line = SendRequest<Content>;

impl Wire {
    /// The way to a node.
    pub(super) async fn to(target: &Target) -> Result<Self, Failure> {
        let node = &target.node;
        let token = target.token()?.map(|it| {
            let value = HeaderValue::from_str(&format!("Bearer {it}"));
            value.map_err(|_| Failure::Nonsense("its token is no header"))
        });
        let url = node.to_string();
        let url: Uri = url.parse().map_err(|_| unreadable())?;
        let host = url.authority().ok_or_else(unreadable)?.as_str();
        let host = HeaderValue::from_str(host).map_err(|_| unreadable())?;
        let tls = if node.is_https() {
            let config = tls::config(&authorities(target)?)?;
            let name = server_name(&node.host().ok_or_else(unreadable)?)?;
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        Ok(Self {
            addresses: addresses(target).await?,
            host,
            prefix: url.path().trim_end_matches('/').to_owned(),
            token: token.transpose()?,
            tls,
        })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Line, Trouble> {
        let line = timeout(PATIENCE, self.connected()).await;
        let line = line.map_err(|_| Trouble::Cut("no_connection"))?;
        line.map_err(|_| Trouble::Cut("no_connection"))
    }

    async fn connected(&self) -> io::Result<Line> {
        let stream = TcpStream::connect(self.addresses.as_slice()).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => line(stream).await,
            Some((connector, name)) => line(connector.connect(name.clone(), stream).await?).await,
        }
    }

    /// A request; the path begins with a slash.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        kind: Option<&HeaderValue>,
        body: Content,
    ) -> Result<Request<Content>, Trouble> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, &self.host)
            .header(
                USER_AGENT,
                concat!("larder-bench/", env!("CARGO_PKG_VERSION")),
            );
        let headers = [(AUTHORIZATION, self.token.as_ref()), (CONTENT_TYPE, kind)];
        let request = headers
            .into_iter()
            .fold(request, |request, (name, value)| match value {
                Some(value) => request.header(name, value),
                None => request,
            });
        request.body(body).map_err(|_| Trouble::Cut("no_request"))
    }
}

fn unreadable() -> Failure {
    Failure::Nonsense("its address cannot be read")
}

fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, Failure> {
    Ok(match host {
        Host::Domain(name) => {
            let name = ServerName::try_from((*name).to_owned());
            name.map_err(|_| unreadable())?
        }
        Host::Ipv4(ip) => ServerName::from(IpAddr::from(*ip)),
        Host::Ipv6(ip) => ServerName::from(IpAddr::from(*ip)),
    })
}

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, Failure> {
    let port = target.node.port().ok_or_else(unreadable)?;
    Ok(match target.node.host().ok_or_else(unreadable)? {
        Host::Ipv4(ip) => vec![(ip, port).into()],
        Host::Ipv6(ip) => vec![(ip, port).into()],
        Host::Domain(_) if target.node.is_loopback() => {
            let both = of_loopback().map(|it| SocketAddr::from((it.ip(), port)));
            both.to_vec()
        }
        Host::Domain(name) => {
            let found = lookup_host((name, port)).await;
            found
                .map_err(|error| WrongSetting::of("node", &error))?
                .collect()
        }
    })
}

async fn line(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<Line> {
    let (line, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // Why it ends shows at the request that it ends.
    tokio::spawn(connection);
    Ok(line)
}

/// Sends a request; the answer is one of success.
pub(super) async fn ask(
    line: &mut Line,
    request: Request<Content>,
) -> Result<Response<Incoming>, Trouble> {
    let bytes = request.body().size_hint().exact().unwrap_or(0);
    let answer = timeout_at(end_of(bytes), async {
        line.ready().await?;
        line.send_request(request).await
    });
    let answer = answer.await.map_err(|_| Trouble::Cut(NO_ANSWER))?;
    let answer = answer.map_err(|_| Trouble::Cut("connection_cut"))?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    Err(Trouble::Refused(refusal(status, &read(answer).await?)))
}

/// The code of a refusal, or its status where nothing says more.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let is_word = |it: &String| it.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let said = serde_json::from_slice(body).map(|Refusal { code }| code);
    let said = said
        .ok()
        .filter(|it| (1..=64).contains(&it.len()) && is_word(it));
    said.unwrap_or_else(|| format!("http_{}", status.as_u16()))
}

/// By when so many bytes are to have gone or come from now on.
pub(super) fn end_of(bytes: u64) -> Instant {
    Instant::now() + PATIENCE + Duration::from_secs(bytes / A_SECOND_FOR)
}

/// The next bytes of an answer, all of which are to be there by `end`; None behind the last.
pub(super) async fn piece(
    answer: &mut Response<Incoming>,
    end: Instant,
) -> Result<Option<Bytes>, Trouble> {
    loop {
        let frame = timeout_at(end, answer.body_mut().frame()).await;
        match frame.map_err(|_| Trouble::Cut(NO_ANSWER))? {
            None => return Ok(None),
            Some(Err(_)) => return Err(Trouble::Cut("connection_cut")),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// An answer that is not long.
pub(super) async fn read(mut answer: Response<Incoming>) -> Result<Bytes, Trouble> {
    let (mut all, end) = (BytesMut::new(), end_of(0));
    while let Some(piece) = piece(&mut answer, end).await? {
        if all.len() + piece.len() > LONGEST {
            return Err(Trouble::Cut("endless_answer"));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}
