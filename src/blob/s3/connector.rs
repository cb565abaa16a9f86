//! Requests to the store on their way out: what is put there goes with its MD5, the one checksum
//! that every store compares before it acknowledges.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use md5::{Digest, Md5};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::options::StoreError;
use super::silence::Silence;
use super::{bounded, counted};
use crate::blocking;
use crate::metrics::servers::{BucketRequests, Outcome};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses, and how many: what a peak has left is no use.
const IDLE: Duration = Duration::from_secs(10);
const MOST_IDLE: usize = 64;

/// Makes the client of a store.
#[derive(Debug)]
pub(super) struct Connector(Checked);

/// Sends requests with what they are checked by, and counts them.
#[derive(Debug, Clone)]
struct Checked {
    client: reqwest::Client,
    requests: Arc<BucketRequests>,
    silence: Arc<Silence>,
}

impl Connector {
    /// One whose clients speak by `client`, which waits so long for an answer, and count in
    /// `requests`.
    pub(super) fn new(
        client: reqwest::Client,
        timeout: Duration,
        requests: Arc<BucketRequests>,
    ) -> Self {
        let silence = Arc::new(Silence::new(timeout));
        Self(Checked {
            client,
            requests,
            silence,
        })
    }
}

/// Why a request is not even made.
#[derive(Debug, thiserror::Error)]
#[error("the store has not answered the requests before")]
struct NotHeard;

/// What speaks HTTP to a store: by `tls` or as this system does, and waiting so long for an answer.
/// Blocks.
pub(super) fn client(
    timeout: Duration,
    tls: Option<&ClientConfig>,
) -> Result<reqwest::Client, StoreError> {
    let tls = match tls {
        Some(tls) => tls.clone(),
        None => of_system().map_err(|error| StoreError::Client(error.into()))?,
    };
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .connect_timeout(CONNECT.min(timeout))
        .timeout(timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MOST_IDLE)
        .build()
        .map_err(|error| StoreError::Client(error.into()))
}

/// TLS that believes whom this system believes. Blocks.
fn of_system() -> Result<ClientConfig, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let provider = ring::default_provider().into();
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(tls?.with_root_certificates(roots).with_no_client_auth())
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

#[async_trait]
impl HttpService for Checked {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if request.method() == "PUT" {
            let digest = md5_of(request.body().clone()).await?;
            let digest = STANDARD.encode(digest).parse();
            let digest = digest.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            request.headers_mut().insert("content-md5", digest);
        }
        let silent = || HttpError::new(HttpErrorKind::Timeout, NotHeard);
        let waiting = self.silence.ask().ok_or_else(silent)?;
        let under_way = counted::kind(&self.requests, &request).begin();
        let range = bounded::range(request.headers());
        let answer = HttpService::call(&self.client, request).await;
        match &answer {
            Err(error) if matches!(error.kind(), HttpErrorKind::Timeout) => {
                self.silence.wait_in_vain(&waiting);
            }
            _ => self.silence.hear(),
        }
        under_way.end(match &answer {
            Ok(answer) => counted::outcome(answer.status()),
            Err(_) => Outcome::Unavailable,
        });
        let answer = answer?;
        bounded::within(bounded::most(range, answer.status()), answer)
    }
}

async fn md5_of(mut body: HttpRequestBody) -> Result<[u8; 16], HttpError> {
    let mut pieces: Vec<Bytes> = Vec::new();
    while let Some(frame) = body.frame().await {
        pieces.extend(frame?.into_data().ok());
    }
    // Megabytes take milliseconds.
    let digest = blocking::run(move || {
        let mut hasher = Md5::new();
        for piece in pieces {
            hasher.update(&piece);
        }
        hasher.finalize()
    });
    Ok(digest.await.into())
}
