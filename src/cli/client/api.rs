//! Requests to the node.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use indicatif::ProgressBar;
use parking_lot::Mutex;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{timeout, timeout_at};
use url::Host;

use super::connection::Target;
use super::failure::Failure;
use super::output;
use super::proxy::Between;
use crate::base_url::BaseUrl;
use crate::config::WrongSetting;
use crate::peer::lookup::of_loopback;
use crate::peer::tls::{self, Authorities};
use crate::peer::tls_failure::{is_no_http, tls_failure};

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a node may say nothing, neither the beginning of an answer nor any more of it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The longest answer that is read whole, in bytes: a page of files with the longest names and
/// descriptions, all of it in escapes.
const LONGEST_ANSWER: usize = 256 << 20;
/// The longest refusal that is read, in bytes.
const LONGEST_REFUSAL: usize = 64 << 10;

/// The REST interface of a node.
pub(super) struct Api {
    http: reqwest::Client,
    node: BaseUrl,
    token: Option<String>,
    proxy: Option<String>,
    /// The file of its certificate, where that is known.
    own_certificate: Option<PathBuf>,
    /// When the node was last heard of, or first asked.
    heard: Mutex<Instant>,
    /// Whether it has answered anything yet.
    has_answered: AtomicBool,
    /// Why something was last said to be tried again.
    told: Mutex<String>,
}

/// What the node says of why it refuses.
#[derive(Deserialize)]
struct ErrorAnswer {
    code: String,
    message: String,
}

impl Api {
    /// An interface that asks `target`: through the proxy of the environment only where
    /// one is named.
    pub(super) fn new(target: &Target, proxy: Option<&Between>) -> Result<Self, Failure> {
        let token = target.token()?.map(str::to_owned);
        let authorities = authorities(target)?;
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&authorities)?)
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            // A node never sends on, and the token is for it alone.
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy();
        if let Some(Host::Domain(name)) = target.node.host()
            && target.node.is_loopback()
        {
            http = http.resolve_to_addrs(name, &of_loopback());
        }
        if let Some(proxy) = proxy {
            http = http.proxy(proxy.for_client().map_err(Failure::Answer)?);
        }
        Ok(Self {
            http: http.build().map_err(Failure::Answer)?,
            node: target.node.clone(),
            token,
            proxy: proxy.map(Between::told),
            own_certificate: target.own_certificate.clone(),
            heard: Mutex::new(Instant::now()),
            has_answered: AtomicBool::new(false),
            told: Mutex::default(),
        })
    }

    /// The node that is asked.
    pub(super) fn node(&self) -> &BaseUrl {
        &self.node
    }

    /// The proxy that it is asked through.
    pub(super) fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// A request; the path begins with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.node));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; the answer is one of success, and begins soon.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let began = Instant::now();
        self.send_while(request, || began).await
    }

    /// Sends a request with a long body; the answer begins soon after `moved` says that the node
    /// has taken the last of it.
    pub(super) async fn send_while(
        &self,
        request: RequestBuilder,
        moved: impl Fn() -> Instant,
    ) -> Result<Response, Failure> {
        let mut answer = pin!(self.answered(request));
        loop {
            let until = moved() + ANSWER_WITHIN;
            match timeout_at(until.into(), &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if moved() + ANSWER_WITHIN > until => {}
                Err(_) => return Err(self.silent()),
            }
        }
    }

    /// The failure for a node that says nothing.
    pub(super) fn silent(&self) -> Failure {
        Failure::Silent(self.node.clone(), ANSWER_WITHIN.as_secs())
    }

    /// Whether it is no use to try again what has failed so: the node was not heard of for so long
    /// that it does not answer.
    pub(super) fn is_lost(&self, failure: &Failure) -> bool {
        let failed = matches!(
            failure,
            Failure::NoNode(..) | Failure::Silent(..) | Failure::Cut(_)
        );
        failed && self.heard.lock().elapsed() >= ANSWER_WITHIN
    }

    /// Tells why something is tried once more, unless that is what was told last: of several files
    /// that wait for the same it is told once.
    pub(super) fn tell_again(
        &self,
        bar: &ProgressBar,
        why: String,
        pause: Duration,
        tries: (u32, u32),
    ) {
        let mut told = self.told.lock();
        if *told != why {
            output::tell_again(bar, &why, pause, tries);
            *told = why;
        }
    }

    /// The next piece of a body, which comes soon; None behind the last.
    pub(super) async fn piece(
        &self,
        pieces: &mut (impl Stream<Item = reqwest::Result<Bytes>> + Unpin),
    ) -> Result<Option<Bytes>, Failure> {
        let piece = timeout(ANSWER_WITHIN, pieces.next()).await;
        let piece = piece.map_err(|_| self.silent())?.transpose();
        let piece = piece.map_err(Failure::Cut)?;
        self.hear();
        Ok(piece)
    }

    fn hear(&self) {
        *self.heard.lock() = Instant::now();
    }

    /// The body of an answer, which has at most `longest` bytes.
    async fn read(&self, answer: Response, longest: usize) -> Result<Vec<u8>, Failure> {
        let (mut body, mut pieces) = (Vec::new(), answer.bytes_stream());
        while let Some(piece) = self.piece(&mut pieces).await? {
            if body.len() + piece.len() > longest {
                return Err(Failure::Nonsense("it is too long"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The answer to a request, whenever it comes; one of success.
    async fn answered(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.unanswered(error)),
        };
        self.hear();
        let status = answer.status();
        if status.is_success() {
            self.has_answered.store(true, Ordering::Relaxed);
            return Ok(answer);
        }
        if let Some(target) = answer.headers().get(header::LOCATION)
            && status.is_redirection()
        {
            let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
            return Err(Failure::Elsewhere(target));
        }
        let refusal = self.read(answer, LONGEST_REFUSAL).await.ok();
        let refusal = refusal.and_then(|it| serde_json::from_slice(&it).ok());
        Err(refused(status, refusal, &self.node))
    }

    /// Why there is no answer.
    fn unanswered(&self, error: reqwest::Error) -> Failure {
        if let Some(mut cause) = tls_failure(&error, "--ca") {
            if let Some(file) = &self.own_certificate {
                cause = format!(
                    "{cause}; it does not show the certificate in {}, where that is a new one \
                     `kill -HUP` has it read that",
                    file.display()
                );
            }
            return Failure::NotSecure(self.node.clone(), cause);
        }
        if is_no_http(&error) {
            return Failure::Nonsense(
                "it is no HTTP; if this is a port of HTTPS, its address begins with https://",
            );
        }
        if error.is_connect() {
            return Failure::NoNode(self.node.clone(), error);
        }
        Failure::Cut(error)
    }

    /// Sends a request and reads its JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Failure> {
        Ok(self.measured(request).await?.0)
    }

    /// The same, and how many bytes the answer has.
    pub(super) async fn measured<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(T, usize), Failure> {
        let answer = self.read(self.send(request).await?, LONGEST_ANSWER).await?;
        let json = serde_json::from_slice(&answer);
        let json = json.map_err(|_| Failure::Nonsense("it is other JSON, or none"))?;
        Ok((json, answer.len()))
    }

    /// Whether it has answered anything yet.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }
}

/// What a refusal means, with what it says if that is one of larder's.
fn refused(status: StatusCode, refusal: Option<ErrorAnswer>, node: &BaseUrl) -> Failure {
    let refusal = refusal.or_else(|| unsaid(status, node));
    let ErrorAnswer { code, message } = refusal.unwrap_or_else(|| ErrorAnswer {
        code: String::new(),
        message: status.to_string(),
    });
    match code.as_str() {
        // A larder is there, and not at the path of the URL.
        "unknown_path" if node.has_path() => Failure::Refused {
            status,
            code,
            message: format!("{message}: larder answers at {node}, perhaps at another path"),
        },
        "no_token" => Failure::Token("the node wants a token for this"),
        "wrong_token" => Failure::Token("the node does not know this token"),
        "read_only_token" => Failure::Token("this token gives no right to change anything"),
        _ => Failure::Refused {
            status,
            code,
            message,
        },
    }
}

/// What a status means that comes without a word of larder's, and so of what stands before it.
fn unsaid(status: StatusCode, node: &BaseUrl) -> Option<ErrorAnswer> {
    let elsewhere = format!(
        "not in larder's words: what answers at {node} is something else, or larder has another \
         path there"
    );
    let message = match status {
        StatusCode::NOT_FOUND => &*elsewhere,
        StatusCode::PAYLOAD_TOO_LARGE => {
            "from a proxy before it, which takes no request as long as this file (nginx: \
             client_max_body_size)"
        }
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            "from a proxy before it, which does not reach it"
        }
        _ => return None,
    };
    Some(ErrorAnswer {
        code: String::new(),
        message: format!("{status}, {message}"),
    })
}

/// Who is believed to vouch for the node: those that this system knows, those of --ca, and the
/// certificate of the node itself where the settings here name that.
pub(super) fn authorities(target: &Target) -> Result<Authorities, Failure> {
    if !target.node.is_https() && target.ca.is_none() {
        // Without https nobody has to vouch for anything.
        return Ok(Authorities::default());
    }
    let mut authorities = Authorities::of_system();
    if let Some(file) = &target.ca {
        let added = authorities.add_file(file);
        added.map_err(|it| WrongSetting::of("ca", &it))?;
    }
    if let Some(file) = &target.own_certificate {
        let believed = authorities.believe_own(file);
        believed.map_err(|it| WrongSetting::of("tls-cert", &it))?;
    }
    Ok(authorities)
}
