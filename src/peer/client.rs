//! Asking other nodes, within limits of time, size and address.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE};
use reqwest::redirect::Policy as Redirects;
use reqwest::{ClientBuilder, Method, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::challenge::{Challenge, HEADER};
use super::compact::{self, Malformed};
use super::kept::Kept;
use super::lookup::Resolver;
use super::membership::{Channel, ChannelError, ToMembers};
use super::reach::Reach;
use super::reply::{Cut, Reply};
use super::tls::{self, Authorities};
use crate::base_url::BaseUrl;
use crate::open_files;
use crate::peer_id::PeerId;
use crate::record::Timestamp;
use crate::safe_name::is_unsafe;

/// The header of a registration that tells how many peers the answer shall have; an older server
/// takes no heed of it.
pub const WANTED: &str = "larder-peers";
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection for content is kept for a next request: long enough for those of one
/// transfer or burst. [`Kept`] has those for what is asked again and again.
const IDLE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long an answer may pause.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a whole JSON exchange may take.
const JSON_TIMEOUT: Duration = Duration::from_mins(1);
/// The longest JSON answer read, in bytes.
pub const MAX_JSON_BYTES: usize = 16 << 20;
/// The longest that counts as short, in bytes.
const SHORT: usize = 512 << 10;
/// The longest refusal read, and the longest reason told of it, in bytes.
const MAX_REFUSAL: usize = 4 << 10;
const MAX_WHY: usize = 300;
/// How many longer ones are held in memory at once, by whomever they are sent.
const LONG_AT_ONCE: usize = 2;

/// Asks other nodes. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    kept: Arc<Kept>,
    reach: Arc<Reach>,
    long: Arc<Semaphore>,
}

/// The JSON that a node has answered, or a compact listing, to be read as what it should be.
pub struct Json {
    bytes: Vec<u8>,
    /// While a long answer lives, another one may have to wait.
    _room: Option<OwnedSemaphorePermit>,
}

/// What a refusal says, of which other keys mean nothing here.
#[derive(Deserialize)]
struct Told {
    code: String,
    message: String,
}

/// Why another node gave no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none that this node asks.
    #[error("{0} is no address that this node asks")]
    Address(BaseUrl),
    /// The request failed on its way, or took too long.
    #[error("the request failed")]
    Http(#[from] reqwest::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The node cannot be a member.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The answer is a refusal, perhaps of what this node tells of itself, with the reason.
    #[error("the answer has status {0}")]
    Status(StatusCode, Option<String>),
    /// The answer is too long.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer is not the JSON it should be.
    #[error("the answer is not that of a node")]
    Json(#[from] serde_json::Error),
    /// The answer is not the compact listing it should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A listing does not go forward.
    #[error("the listing is not in the order of its ids")]
    Disorder,
    /// Nothing of the peer is kept.
    #[error("there is no room for this peer")]
    NoRoom,
    /// Whoever sends the answer is a member of the network no longer.
    #[error("it is a member of the network no longer")]
    Ended,
    /// Another node answers at the address of the one that was asked.
    #[error("another peer answers there")]
    OtherPeer,
    /// The answer does not prove that it comes from the peer that was asked.
    #[error("the answer does not prove that the peer has sent it")]
    Unproven,
}

impl From<Cut> for ClientError {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Http(error) => Self::Http(error),
            Cut::Ended => Self::Ended,
        }
    }
}

impl ClientError {
    /// A refusal of which only the status matters.
    pub(crate) fn status(status: StatusCode) -> Self {
        Self::Status(status, None)
    }
}

impl Client {
    /// A client that asks only whom `reach` allows, and over TLS only whom one of the
    /// `authorities` vouches for.
    pub fn new(reach: Reach, authorities: &Authorities) -> Result<Self, ClientError> {
        let tls = match &reach.members {
            Some(channel) => channel.client(),
            None => tls::config(authorities)?,
        };
        let resolver = Arc::new(Resolver::new(&reach));
        let members = reach.members.clone();
        let build = move || builder(&tls, members.as_ref(), Arc::clone(&resolver));
        let http = build()
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(open_files::shares().idle_of_a_peer())
            .build()?;
        let kept = Kept::new(Box::new(build), reach.members.clone())?;
        Ok(Self {
            http,
            kept: Arc::new(kept),
            reach: Arc::new(reach),
            long: Arc::new(Semaphore::new(LONG_AT_ONCE)),
        })
    }

    /// With whom this node talks.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// A request for content to another node; the path begins with a slash. Everything that a node
    /// asks or tells others is made here.
    pub fn request(
        &self,
        method: Method,
        node: &BaseUrl,
        path: &str,
    ) -> Result<RequestBuilder, ClientError> {
        self.request_by(&self.http, method, node, path)
    }

    /// Sends a request to another node; the answer has its head then.
    pub async fn send(&self, request: RequestBuilder) -> Result<Reply, ClientError> {
        Ok(self.reply(request.send().await?))
    }

    fn reply(&self, response: Response) -> Reply {
        Reply::of(response, self.reach.members.as_deref())
    }

    /// One of those that are made again and again, over a connection that is kept.
    fn repeated(
        &self,
        method: Method,
        node: &BaseUrl,
        path: &str,
    ) -> Result<RequestBuilder, ClientError> {
        let kept = self.kept.client_for(node);
        self.request_by(kept.as_ref().unwrap_or(&self.http), method, node, path)
    }

    fn request_by(
        &self,
        http: &reqwest::Client,
        method: Method,
        node: &BaseUrl,
        path: &str,
    ) -> Result<RequestBuilder, ClientError> {
        if !self.reach.may_ask(node) {
            return Err(ClientError::Address(node.clone()));
        }
        // Members speak TLS wherever they are.
        let node = match self.reach.members {
            Some(_) => &node.over_tls(),
            None => node,
        };
        Ok(http.request(method, format!("{node}{path}")))
    }

    /// The JSON at a path of another node, of at most `max_bytes` bytes.
    pub async fn get(
        &self,
        node: &BaseUrl,
        path: &str,
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        let request = self.repeated(Method::GET, node, path)?;
        self.read_json(request, max_bytes).await
    }

    /// The JSON at a path of another node, which `peer` must have sent in answer to this
    /// question, if its id belongs to a key. Of one without a key anybody can answer.
    pub async fn get_from(
        &self,
        peer: PeerId,
        node: &BaseUrl,
        path: &str,
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        let request = self.repeated(Method::GET, node, path)?;
        self.read_proven(peer, request, path, max_bytes).await
    }

    /// The same of a listing, which the node may send in the compact form.
    pub(super) async fn listing_from(
        &self,
        peer: PeerId,
        node: &BaseUrl,
        path: &str,
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        let either = format!("{}, application/json", compact::TYPE);
        let request = self.repeated(Method::GET, node, path)?;
        let request = request.header(ACCEPT, either);
        self.read_proven(peer, request, path, max_bytes).await
    }

    /// Sends JSON to a path of another node and reads the answer, of at most `max_bytes`
    /// bytes.
    pub async fn post(
        &self,
        node: &BaseUrl,
        path: &str,
        message: &impl Serialize,
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        let request = self.repeated(Method::POST, node, path)?.json(message);
        self.read_json(request, max_bytes).await
    }

    /// Sends a body of this type to a path of another node and reads the answer, of at most
    /// `max_bytes` bytes.
    pub(super) async fn post_bytes(
        &self,
        node: &BaseUrl,
        path: &str,
        (content_type, body): (&'static str, Vec<u8>),
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        let request = self.repeated(Method::POST, node, path)?;
        let request = request.header(CONTENT_TYPE, content_type).body(body);
        self.read_json(request, max_bytes).await
    }

    /// Sends JSON, of which `peer` must have sent the answer, if its id belongs to a key.
    pub async fn post_to(
        &self,
        peer: PeerId,
        node: &BaseUrl,
        path: &str,
        message: &impl Serialize,
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        let request = self.repeated(Method::POST, node, path)?.json(message);
        self.read_proven(peer, request, path, max_bytes).await
    }

    /// Sends JSON, and tells how far this machine's clock is ahead of the other's, in
    /// milliseconds, as far as the answer tells, which may be a refusal.
    pub async fn post_and_compare_clocks(
        &self,
        node: &BaseUrl,
        path: &str,
        message: (&impl Serialize, Option<usize>),
        max_bytes: usize,
    ) -> (Option<i64>, Result<Json, ClientError>) {
        let request = self.repeated(Method::POST, node, path);
        let sent = match request {
            Ok(request) => {
                let (message, wanted) = message;
                let request = match wanted {
                    Some(wanted) => request.header(WANTED, wanted),
                    None => request,
                };
                request.json(message).timeout(JSON_TIMEOUT).send().await
            }
            Err(error) => return (None, Err(error)),
        };
        match sent {
            Ok(response) => {
                let ahead = ahead_of(&response);
                let answer = self.reply(response);
                (ahead, self.read_answer(answer, max_bytes).await)
            }
            Err(error) => (None, Err(error.into())),
        }
    }

    /// The answer to a request at this path, which `peer` must have sent if its id belongs to a
    /// key.
    async fn read_proven(
        &self,
        peer: PeerId,
        request: RequestBuilder,
        path: &str,
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        if !peer.belongs_to_a_key() {
            return self.read_json(request, max_bytes).await;
        }
        let challenge = Challenge::random();
        let request = request.header(HEADER, challenge.as_str());
        let answer = self.read_json(request, max_bytes).await?;
        if challenge.is_met(path, peer, &answer.bytes) {
            Ok(answer)
        } else {
            Err(ClientError::Unproven)
        }
    }

    async fn read_json(
        &self,
        request: RequestBuilder,
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        let answer = self.send(request.timeout(JSON_TIMEOUT)).await?;
        self.read_answer(answer, max_bytes).await
    }

    async fn read_answer(
        &self,
        mut response: Reply,
        max_bytes: usize,
    ) -> Result<Json, ClientError> {
        if !response.status().is_success() {
            let (status, why) = (response.status(), why_refused(&mut response).await);
            return Err(ClientError::Status(status, why));
        }
        let (mut bytes, mut room) = (Vec::new(), None);
        while let Some(piece) = response.chunk().await? {
            let length = bytes.len() + piece.len();
            if length > max_bytes {
                return Err(ClientError::TooLong(max_bytes));
            }
            if length > SHORT && room.is_none() {
                // Nobody closes the semaphore, so there is always a permit.
                room = Arc::clone(&self.long).acquire_owned().await.ok();
                // At once, since growing takes the memory of both sizes.
                bytes.reserve_exact(max_bytes - bytes.len());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Json { bytes, _room: room })
    }
}

/// Clients that differ in nothing but how they keep connections.
fn builder(
    tls: &rustls::ClientConfig,
    members: Option<&Arc<Channel>>,
    resolver: Arc<Resolver>,
) -> ClientBuilder {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls.clone());
    let builder = match members {
        Some(channel) => builder
            .tls_info(true)
            .connector_layer(ToMembers(Arc::clone(channel))),
        None => builder,
    };
    builder
        .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(resolver)
        .redirect(Redirects::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
}

/// Why a registration is refused, in the words of whoever refuses it, as far as they can be told.
async fn why_refused(response: &mut Reply) -> Option<String> {
    if response.status() != StatusCode::BAD_REQUEST {
        return None;
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.ok()? {
        if bytes.len() + piece.len() > MAX_REFUSAL {
            return None;
        }
        bytes.extend_from_slice(&piece);
    }
    let told: Told = serde_json::from_slice(&bytes).ok()?;
    let is_told = told.code == "bad_registration" && told.message.len() <= MAX_WHY;
    let safe = is_told && !told.message.chars().any(is_unsafe);
    safe.then_some(told.message)
}

/// How far the clock here is ahead of that of whoever answers (RFC 9110, section 6.6.1).
fn ahead_of(response: &Response) -> Option<i64> {
    let date = response.headers().get(DATE)?.to_str().ok()?;
    let there = chrono::DateTime::parse_from_rfc2822(date).ok()?;
    Some(Timestamp::now().0.saturating_sub(there.timestamp_millis()))
}

impl Json {
    /// The bytes, which are no JSON where a listing was asked for and is compact.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What the answer says.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ClientError> {
        Ok(serde_json::from_slice(&self.bytes)?)
    }
}
