//! Asking other nodes, within limits of time, size and address.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy as Redirects;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::{Policy, Resolver};
use super::tls::{self, Authorities};
use crate::base_url::BaseUrl;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is kept for a next request: long enough for those of one transfer
/// or burst. Between periods it would only be one of as many as there are peers.
const IDLE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long an answer may pause.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a whole JSON exchange may take.
const JSON_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest JSON answer read, in bytes.
const MAX_JSON_BYTES: usize = 16 << 20;

/// Asks other nodes. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    policy: Policy,
}

/// Why another node gave no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none that this node asks.
    #[error("{0} is no address that peers may have")]
    Address(BaseUrl),
    /// The request failed on its way, or took too long.
    #[error("the request failed")]
    Http(#[from] reqwest::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The answer is a refusal.
    #[error("the answer has status {0}")]
    Status(StatusCode),
    /// The answer is too long.
    #[error("the answer is longer than {MAX_JSON_BYTES} bytes")]
    TooLong,
    /// The answer is not the JSON it should be.
    #[error("the answer cannot be read")]
    Json(#[from] serde_json::Error),
    /// Another node answers at the address of the one that was asked.
    #[error("another peer answers there")]
    OtherPeer,
}

impl Client {
    /// A client that asks only where `policy` allows it, and over TLS only whom one of the
    /// `authorities` vouches for.
    pub fn new(policy: Policy, authorities: &Authorities) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(authorities)?)
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Resolver(policy.clone())))
            .redirect(Redirects::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()?;
        Ok(Self { http, policy })
    }

    /// A request to another node; the path begins with a slash.
    pub fn request(
        &self,
        method: Method,
        node: &BaseUrl,
        path: &str,
    ) -> Result<RequestBuilder, ClientError> {
        if !self.policy.allows_url(node) {
            return Err(ClientError::Address(node.clone()));
        }
        Ok(self.http.request(method, format!("{node}{path}")))
    }

    /// The JSON at a path of another node.
    pub async fn get<T: DeserializeOwned>(
        &self,
        node: &BaseUrl,
        path: &str,
    ) -> Result<T, ClientError> {
        read_json(self.request(Method::GET, node, path)?).await
    }

    /// Sends JSON to a path of another node and reads the answer.
    pub async fn post<T: DeserializeOwned>(
        &self,
        node: &BaseUrl,
        path: &str,
        message: &impl Serialize,
    ) -> Result<T, ClientError> {
        read_json(self.request(Method::POST, node, path)?.json(message)).await
    }
}

async fn read_json<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ClientError> {
    let response = request.timeout(JSON_TIMEOUT).send().await?;
    if !response.status().is_success() {
        return Err(ClientError::Status(response.status()));
    }
    Ok(serde_json::from_slice(&read(response).await?)?)
}

async fn read(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > MAX_JSON_BYTES {
            return Err(ClientError::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
