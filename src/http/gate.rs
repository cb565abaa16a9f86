//! What every request passes before its route.
//!
//! One layer rather than five: the router copies each layer for every request.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;

use super::access::{READERS, Rules};
use super::{access, tus};
use crate::access::CurrentAccess;
use crate::client_key::ClientKey;
use crate::node::Node;
use crate::peer::membership::Member;
use crate::web::clients::ClientAddress;
use crate::web::error::ApiError;
use crate::web::linger::linger;
use crate::web::origin::{self, Embedder, Guard};
use crate::web::request_log::{self, FailureLines};
use crate::web::traffic::Traffic;

/// To whose share a request counts, if to anybody's; an extension of every request.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientShare(pub Option<ClientKey>);

/// How long requests that only read have to be answered once the node stops.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// What an answer depends on beside its address.
const VARIES: HeaderValue = HeaderValue::from_static("origin, access-control-request-headers");
/// The policy of answers that no page of another site may have (Fetch, section 3.7).
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Of whatever has no lifetime of its own: nobody may show it later without asking.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// Decides which requests come through.
pub(super) struct Gate {
    node: Arc<Node>,
    guard: Guard,
    access: CurrentAccess,
    rules: Rules,
    cors: CorsLayer,
    traffic: Arc<Traffic>,
    failures: Arc<FailureLines>,
}

impl Gate {
    pub(super) fn new(
        node: Arc<Node>,
        guard: Guard,
        access: CurrentAccess,
        rules: Rules,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            node,
            guard,
            access,
            rules,
            cors: origin::cors(tus::EXPOSED),
            traffic,
            failures: Arc::default(),
        }
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        self.guard.check(request)?;
        // Connections stay open a little longer than the node wants to work.
        if self.node.is_shutting_down() {
            return Err(ApiError::ShuttingDown);
        }
        // Coded bytes would be kept as if they were the file (RFC 9110, section 8.4).
        if !request.method().is_safe() && is_coded(request.headers()) {
            return Err(ApiError::ContentEncoding);
        }
        Ok(())
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        if let Err(error) = self.check(&request) {
            return error.into_response();
        }
        if request.headers().contains_key(header::ORIGIN) {
            // Pages may read refusals from here on.
            let admit = service_fn(|request| self.admit(request, next.clone()).map(Ok));
            let Ok::<_, Infallible>(response) = self.cors.layer(admit).oneshot(request).await;
            return response;
        }
        let mut response = self.admit(request, next).await;
        response.headers_mut().append(header::VARY, VARIES);
        response
    }

    fn share(&self, request: &Request) -> ClientShare {
        let access = self.access.now();
        let bearer = access::bearer(&access, request.headers());
        let address = request.extensions().get::<ClientAddress>();
        let address = || address?.share.map(ClientKey::Address);
        ClientShare(
            bearer
                .map(|it| ClientKey::Token(it.into()))
                .or_else(address),
        )
    }

    /// The answer to a request that only reads: one that has not begun soon after the node was told
    /// to stop would hold that up, and may as well be asked for again.
    async fn unless_it_stops(&self, answer: impl Future<Output = Response>) -> Response {
        let mut stopping = self.node.shutting_down();
        let too_late = async {
            // Never an error while there is a node.
            let _ = stopping.wait_for(|it| *it).await;
            sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            // What has its answer at once waits for nothing, and costs nothing here.
            biased;
            answer = answer => answer,
            () = too_late => ApiError::ShuttingDown.into_response(),
        }
    }

    /// Whether whoever sends it may: a member of this node's network what readers may, and others
    /// what their token allows. What nodes tell each other a member takes from members alone.
    fn check_rights(&self, request: &Request) -> Result<(), ApiError> {
        let needs = self.rules.of_request(request);
        let is_told = needs == READERS && !request.method().is_safe();
        match request.extensions().get::<Member>() {
            Some(member) if !member.is_valid_now() => Err(ApiError::MembersOnly),
            Some(_) if needs <= READERS => Ok(()),
            None if is_told && self.node.network().client.reach().members.is_some() => {
                Err(ApiError::MembersOnly)
            }
            _ => access::check(&self.access.now(), request.headers(), needs),
        }
    }

    /// Refuses who has no right to it, before anything of the body is read.
    async fn admit(&self, mut request: Request, next: Next) -> Response {
        match self.check_rights(&request) {
            Ok(()) => {
                let share = self.share(&request);
                request.extensions_mut().insert(share);
                let only_reads = request.method().is_safe();
                let answer = next.run(request);
                if only_reads {
                    self.unless_it_stops(answer).await
                } else {
                    answer.await
                }
            }
            Err(error) => error.into_response(),
        }
    }
}

/// Whether a body is coded.
fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.any(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Counts and logs a request, and answers it if it may come through.
pub(super) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let counting = gate.traffic.begin(&request);
    let embedder = gate.guard.embedding(request.headers());
    let answer = |request| linger(request, |request| gate.answer(request, next));
    let mut response = request_log::log(request, &gate.failures, answer).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(ASK_AGAIN);
    keep_from_pages(headers, embedder);
    in_one_line(headers, &header::VARY);
    counting.answered(response.status());
    if response.status() == StatusCode::NOT_MODIFIED {
        without_length(response)
    } else {
        response
    }
}

/// Has browsers keep an answer from all pages but the node's own and those that may embed it.
fn keep_from_pages(headers: &mut HeaderMap, embedder: Option<Embedder>) {
    let policy = match embedder {
        None => "same-origin",
        Some(_) => "cross-origin",
    };
    headers.insert(CORP, HeaderValue::from_static(policy));
    if embedder == Some(Embedder::Referer) {
        headers.append(header::VARY, HeaderValue::from_static("referer"));
    }
}

/// The same without a word on the length of the body: it would be that of the content (RFC 9110,
/// section 8.6).
fn without_length(response: Response) -> Response {
    let mut response = response.map(|_| Body::from_stream(stream::empty::<io::Result<Bytes>>()));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

/// Puts what several layers say into one line, for clients that read only one.
fn in_one_line(headers: &mut HeaderMap, name: &HeaderName) {
    if headers.get_all(name).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(line) = HeaderValue::from_bytes(&lines.join(&b", "[..])) {
        headers.insert(name, line);
    }
}
