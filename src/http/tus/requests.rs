//! Which request means what.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};
use axum::response::{IntoResponse, Response};

use super::headers::{
    self, METHOD_OVERRIDE, TUS_CHECKSUM_ALGORITHM, TUS_EXTENSION, TUS_MAX_SIZE, TUS_RESUMABLE,
    TUS_VERSION, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_METADATA, VERSION,
};
use super::{append, checksum, create};
use crate::http::gate::ClientShare;
use crate::node::Node;
use crate::resumable::{UploadError, UploadId};
use crate::web::error::{ApiError, TusError};
use crate::web::to_its_end::to_its_end;
use crate::web::transfers::TransferShare;

/// The extensions there are.
const EXTENSIONS: HeaderValue = HeaderValue::from_static(
    "creation,creation-with-upload,creation-defer-length,expiration,termination,checksum,\
     concatenation",
);

/// Requests where uploads are created.
pub(in crate::http) async fn uploads(State(node): State<Arc<Node>>, request: Request) -> Response {
    let answer = |mut head: request::Parts, body| async move {
        match head.method {
            Method::POST => {
                let ClientShare(client) = head.extensions.remove().unwrap_or_default();
                let share = TransferShare::of(&head.extensions);
                create::create(
                    &node,
                    (client, &share),
                    head.uri.path(),
                    &head.headers,
                    body,
                )
                .await
            }
            Method::OPTIONS => Ok(options(&node)),
            _ => Err(ApiError::MethodNotAllowed),
        }
    };
    answer_by(answer, request).await
}

/// Requests to one upload.
pub(in crate::http) async fn upload(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let answer = |head: request::Parts, body| async move {
        if head.method == Method::OPTIONS {
            return Ok(options(&node));
        }
        let id = id.ok().and_then(|Path(id)| id.parse().ok());
        let id = id.ok_or(UploadError::Unknown)?;
        match head.method {
            Method::HEAD => look(&node, id).await,
            Method::PATCH => {
                let visit = node.uploads().visit(id).await?;
                let share = TransferShare::of(&head.extensions);
                append::append(visit, &head.headers, &share, body).await
            }
            Method::DELETE => remove(&node, id).await,
            _ => Err(ApiError::MethodNotAllowed),
        }
    };
    answer_by(answer, request).await
}

/// A request by a method that means nothing here.
pub(in crate::http) async fn wrong_method() -> Response {
    let mut response = ApiError::MethodNotAllowed.into_response();
    response.headers_mut().insert(TUS_RESUMABLE, VERSION);
    response
}

/// Answers a request of a client that speaks this version, as the method that it means.
///
/// That goes on when the client leaves. Any request, a look too, may find an upload whole and make
/// a file of it, and the turn at an upload must not end before what was begun in it: whoever had
/// the next one would not find the file, and make another. So what has come is kept, too.
async fn answer_by<Answer, Answering>(answer: Answer, request: Request) -> Response
where
    Answer: FnOnce(request::Parts, Body) -> Answering,
    Answering: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let (mut head, body) = request.into_parts();
    let speaks = head.headers.get(TUS_RESUMABLE) == Some(&VERSION);
    let mut response = if speaks || head.method == Method::OPTIONS {
        head.method = meant_method(&head.method, &head.headers);
        to_its_end(answer(head, body)).await.into_response()
    } else {
        let mut response = ApiError::from(TusError::Version).into_response();
        response.headers_mut().insert(TUS_VERSION, VERSION);
        response
    };
    response.headers_mut().insert(TUS_RESUMABLE, VERSION);
    response
}

/// The method that a client means. Only POST may stand for another one: whether a client may
/// write was decided by the method that it sent.
fn meant_method(method: &Method, headers: &HeaderMap) -> Method {
    let meant = headers
        .get(METHOD_OVERRIDE)
        .filter(|_| method == Method::POST);
    let meant = meant.and_then(|it| Method::from_bytes(it.as_bytes()).ok());
    meant.unwrap_or_else(|| method.clone())
}

/// What the node can do.
fn options(node: &Node) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(TUS_VERSION, VERSION);
    headers.insert(TUS_EXTENSION, EXTENSIONS);
    let algorithms = HeaderValue::from_static(checksum::ALGORITHMS);
    headers.insert(TUS_CHECKSUM_ALGORITHM, algorithms);
    if let Some(max) = node.store().longest() {
        headers.insert(TUS_MAX_SIZE, max.into());
    }
    response
}

/// How far an upload is.
async fn look(node: &Arc<Node>, id: UploadId) -> Result<Response, ApiError> {
    let mut visit = node.uploads().visit(id).await?;
    let progress = visit.progress().await?;
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers::put_progress(headers, &progress)?;
    match progress.length {
        Some(length) => headers.insert(UPLOAD_LENGTH, length.into()),
        None => headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    if let Some(metadata) = progress.metadata {
        headers.insert(UPLOAD_METADATA, HeaderValue::try_from(metadata)?);
    }
    if let Some(concat) = progress.concat {
        headers.insert(UPLOAD_CONCAT, HeaderValue::try_from(concat.to_string())?);
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

async fn remove(node: &Arc<Node>, id: UploadId) -> Result<Response, ApiError> {
    node.uploads().visit(id).await?.remove().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}
