//! Requests to the node.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::connection::Connection;
use super::failure::Failure;
use crate::base_url::BaseUrl;
use crate::peer::tls::{self, Authorities};

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may pause: a node may wait for its peers.
const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// The REST interface of a node.
pub(super) struct Api {
    http: reqwest::Client,
    node: BaseUrl,
    token: Option<String>,
}

/// What the node says of why it refuses.
#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
}

impl Api {
    pub(super) fn new(connection: &Connection) -> Result<Self, Failure> {
        let authorities = authorities(connection)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&authorities)?)
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build();
        Ok(Self {
            http: http.map_err(Failure::Answer)?,
            node: connection.node.clone(),
            token: connection.token.clone(),
        })
    }

    /// The node that is asked.
    pub(super) fn node(&self) -> &BaseUrl {
        &self.node
    }

    /// A request; the path begins with a slash.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.node));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; the answer is one of success.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => {
                return Err(Failure::NoNode(self.node.clone(), error));
            }
            Err(error) => return Err(Failure::Cut(error)),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let refusal = answer.json().await.unwrap_or(Refusal {
            code: String::new(),
            message: status.to_string(),
        });
        Err(match refusal.code.as_str() {
            "no_token" | "wrong_token" | "read_only_token" => Failure::Token(refusal.message),
            _ => Failure::Refused(status, refusal.message),
        })
    }

    /// Sends a request and reads its JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Failure> {
        self.send(request)
            .await?
            .json()
            .await
            .map_err(Failure::Answer)
    }

    /// Reads the JSON at a path.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        self.json(self.request(Method::GET, path).query(query))
            .await
    }
}

fn authorities(connection: &Connection) -> Result<Authorities, Failure> {
    let Some(file) = &connection.ca else {
        // Without https nobody has to vouch for anything.
        let over_tls = connection
            .node
            .origin()
            .ascii_serialization()
            .starts_with("https:");
        return Ok(if over_tls {
            Authorities::of_system()
        } else {
            Authorities::default()
        });
    };
    let mut authorities = Authorities::of_system();
    authorities.add_file(file)?;
    Ok(authorities)
}
