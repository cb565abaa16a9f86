//! Uploads in one request: a form, or the bytes alone -> content -> blob -> record.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::file_view::FileView;
use super::gate::ClientShare;
use super::wish::{Wish, wish};
use crate::blob::{BlobError, Received, Receiving};
use crate::client_key::ClientKey;
use crate::node::Node;
use crate::record::{MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES};
use crate::store::{About, Store};
use crate::web::body::RequestBody;
use crate::web::conditions::allow_change;
use crate::web::error::ApiError;
use crate::web::form::Form;
use crate::web::part_head::{PartHead, sendable_type};
use crate::web::transfers::{RECEIVING, Transfer, TransferShare, WITHOUT_FILES};

/// Where forms are sent; names are below it.
pub(super) const PATH: &str = "/api/p2p/upload";
/// What a form may hold beside the file: boundaries, heads, other fields.
const MAX_FORM_BYTES: u64 = 1 << 20;
/// The most text in a field with a number.
const MAX_NUMBER_BYTES: usize = 64;
/// The most text in a field called as the file, which nobody reads.
const MAX_TEXT_BYTES: usize = 64 << 10;

#[derive(Serialize, ToSchema)]
pub(super) struct Uploaded<'a> {
    status: &'static str,
    message: &'static str,
    file: FileView<'a>,
}

/// What is told of a file whose bytes are sent alone.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BytesQuery {
    /// The name of the file, where the body is not a form.
    name: Option<String>,
    /// Its description, likewise.
    description: Option<String>,
    /// On how many members of the node's network the file is to be, this node among them; as it is
    /// set for all files without it.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 16)]
    copies: Option<String>,
}

/// The same, where nothing else names the file.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NamedQuery {
    /// The name of the file.
    #[param(required, min_length = 1)]
    name: Option<String>,
    /// Its description.
    description: Option<String>,
    /// On how many members of the node's network the file is to be, this node among them; as it is
    /// set for all files without it.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 16)]
    copies: Option<String>,
}

/// Its description, where the path names the file.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DescriptionQuery {
    /// The description of the file.
    description: Option<String>,
    /// On how many members of the node's network the file is to be, this node among them; as it is
    /// set for all files without it.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 16)]
    copies: Option<String>,
}

/// `POST /api/p2p/upload`: keeps the file of the form, or with a name in the query the body.
/// Whatever was received is gone when the handler ends before the store has taken it in.
pub(super) async fn upload(
    State(node): State<Arc<Node>>,
    query: Result<Query<BytesQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    if Form::is_announced(request.headers()) {
        // A query that cannot be read is not meant for it.
        let copies = query.ok().and_then(|Query(query)| query.copies);
        return of_form(&node, copies.as_deref(), request).await;
    }
    let Query(query) = query?;
    let wish = wish(&node, query.copies.as_deref())?;
    let name = query.name.ok_or(ApiError::NoForm)?;
    of_bytes(&node, (name, query.description), wish, request).await
}

/// `PUT /api/p2p/upload`: keeps the body under the name in the query.
pub(super) async fn put(
    State(node): State<Arc<Node>>,
    query: Result<Query<NamedQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let wish = wish(&node, query.copies.as_deref())?;
    let name = query.name.unwrap_or_default();
    of_bytes(&node, (name, query.description), wish, request).await
}

/// `PUT` and `POST /api/p2p/upload/{name}`: keeps the body under the name in the path, in which
/// what is not UTF-8 is replaced, as in forms.
pub(super) async fn put_named(
    State(node): State<Arc<Node>>,
    query: Result<Query<DescriptionQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let path = request.uri().path().strip_prefix(PATH).unwrap_or_default();
    let name = percent_decode_str(path.trim_start_matches('/'));
    let name = name.decode_utf8_lossy().into_owned();
    let wish = wish(&node, query.copies.as_deref())?;
    of_bytes(&node, (name, query.description), wish, request).await
}

/// A form; `copies` is what the query says, which counts before the form.
async fn of_form(
    node: &Node,
    copies: Option<&str>,
    request: Request,
) -> Result<Response, ApiError> {
    let of_query = wish(node, copies)?;
    let (head, body) = request.into_parts();
    check_conditions(&head.headers)?;
    check_room(node, &head.headers, MAX_FORM_BYTES).await?;
    let _transfer = transfer_of(&head)?;
    let longest = node.store().limit().longest;
    let max_bytes = longest.map_or(u64::MAX, |max| max.saturating_add(MAX_FORM_BYTES));
    let mut form = Form::new(&head.headers, RequestBody::new(body, max_bytes))?;
    let client = client_of(&head.extensions);
    let FormFile {
        content,
        about,
        wish,
    } = receive(node, &mut form, client).await?;
    keep(node, content, about, of_query.or(wish)).await
}

async fn of_bytes(
    node: &Node,
    (name, description): (String, Option<String>),
    wish: Wish<'_>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    check_conditions(&head.headers)?;
    check_whole_bytes(&head.headers)?;
    check_name(&name)?;
    let description = description.unwrap_or_default();
    if description.len() > MAX_DESCRIPTION_BYTES {
        return Err(ApiError::DescriptionTooLong);
    }
    check_room(node, &head.headers, 0).await?;
    let _transfer = transfer_of(&head)?;
    let about = About {
        name,
        content_type: type_of_bytes(&head.headers),
        description,
    };
    let client = client_of(&head.extensions);
    let content = receive_bytes(node.store(), body, client).await?;
    keep(node, content, about, wish).await
}

/// Refuses what shall change a file: each upload makes a new one.
fn check_conditions(headers: &HeaderMap) -> Result<(), ApiError> {
    allow_change(headers, None)
        .then_some(())
        .ok_or(ApiError::Precondition)
}

/// Refuses what is not the bytes of a whole file.
fn check_whole_bytes(headers: &HeaderMap) -> Result<(), ApiError> {
    if Form::is_announced(headers) {
        return Err(ApiError::FormByPut);
    }
    // RFC 9110, section 14.5.
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(ApiError::PartialPut);
    }
    // Without either a request has no body, and its sender mostly has forgotten that.
    let sized = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let has_body = sized.iter().any(|name| headers.contains_key(name));
    has_body.then_some(()).ok_or(ApiError::NoLength)
}

fn check_name(name: &str) -> Result<(), ApiError> {
    match name.len() {
        0 => Err(ApiError::NoFileName),
        1..=MAX_NAME_BYTES => Ok(()),
        _ => Err(ApiError::FileNameTooLong),
    }
}

/// Refuses, before the body is received, what is sure not to fit. A body may have so many bytes
/// beside the file.
async fn check_room(node: &Node, headers: &HeaderMap, beside: u64) -> Result<(), ApiError> {
    if let Some(reason) = node.store().refusal() {
        return Err(ApiError::unwritten(BlobError::Refused(reason)));
    }
    let at_least = announced_bytes(headers).saturating_sub(beside);
    let checked = node.store().check_length(at_least);
    checked.map_err(ApiError::unwritten)?;
    let room = node.store().check_room_ahead(at_least).await;
    room.map_err(ApiError::unwritten)
}

/// The transfer of a body, if files are open while it comes and anybody counts those.
fn transfer_of(head: &Parts) -> Result<Option<Transfer>, ApiError> {
    let is_told = head.headers.contains_key(header::CONTENT_LENGTH);
    if is_told && announced_bytes(&head.headers) <= WITHOUT_FILES {
        return Ok(None);
    }
    TransferShare::of(&head.extensions).take(RECEIVING)
}

/// Who sends it, as far as that is told from others.
fn client_of(extensions: &Extensions) -> Option<ClientKey> {
    let share = extensions.get::<ClientShare>();
    share.and_then(|ClientShare(client)| client.clone())
}

/// The length that the client says the body has, or zero.
pub(super) fn announced_bytes(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// The content type, if the client meant one.
fn type_of_bytes(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    // curl --data-binary says so of everything.
    let meant = content_type.filter(|it| *it != b"application/x-www-form-urlencoded");
    sendable_type(meant?)
}

async fn receive_bytes(
    store: &Store,
    body: Body,
    client: Option<ClientKey>,
) -> Result<Box<dyn Received>, ApiError> {
    let longest = store.limit().longest.unwrap_or(u64::MAX);
    let mut body = RequestBody::new(body, longest);
    let receiving = store.receive_of(client).await;
    let mut receiving = receiving.map_err(ApiError::unwritten)?;
    while let Some(data) = body.next().await? {
        receiving.write(data).await.map_err(ApiError::unwritten)?;
    }
    receiving.finish().await.map_err(ApiError::unwritten)
}

async fn keep(
    node: &Node,
    content: Box<dyn Received>,
    about: About,
    wish: Wish<'_>,
) -> Result<Response, ApiError> {
    // Nobody is told of the file before it is known how often it is to be.
    let _unseen = match wish {
        Some((copies, _)) => Some(copies.hide_newer().await?),
        None => None,
    };
    let record = node.store().ingest(content, about).await;
    let record = record.map_err(ApiError::unwritten)?;
    if let Some((copies, number)) = wish {
        let wished = copies.wish(record.id, number).await;
        wished.map_err(ApiError::unwritten)?;
    }
    let uploaded = Uploaded {
        status: "success",
        message: "File uploaded successfully",
        file: FileView::new(node, &record),
    };
    Ok(Json(uploaded).into_response())
}

/// What a form has brought.
struct FormFile<'a> {
    content: Box<dyn Received>,
    about: About,
    wish: Wish<'a>,
}

/// Receives the whole form: one file, and before or behind it a description, and on how many
/// members it is to be.
async fn receive<'a>(
    node: &'a Node,
    form: &mut Form,
    client: Option<ClientKey>,
) -> Result<FormFile<'a>, ApiError> {
    let (store, mut file) = (node.store(), None);
    let (mut description, mut wished) = (None, None);
    let mut missing = ApiError::NoFile;
    while let Some(part) = form.next_part().await? {
        match (part.name.as_deref(), &part.file_name) {
            (Some("file"), Some(_)) if file.is_some() => return Err(ApiError::SecondFile),
            (Some("file"), Some(_)) => {
                file = Some(receive_file(store, form, part, client.clone()).await?);
            }
            // Some have a text field of that name beside the file.
            (Some("file"), None) => {
                let text = form.text(part.charset, MAX_TEXT_BYTES).await?;
                missing = ApiError::NoFileName;
                if file.is_none() && text.is_none() {
                    return Err(missing);
                }
            }
            (Some("description"), None) if description.is_none() => {
                let text = form.text(part.charset, MAX_DESCRIPTION_BYTES).await?;
                description = Some(text.ok_or(ApiError::DescriptionTooLong)?);
            }
            // Browsers send a field that nobody has filled in, too.
            (Some("copies"), None) if wished.is_none() => {
                let text = form.text(part.charset, MAX_NUMBER_BYTES).await?;
                let text = text.unwrap_or_else(|| "too long".to_owned());
                wished = wish(node, Some(text.trim()).filter(|it| !it.is_empty()))?;
            }
            _ => {}
        }
    }
    let (receiving, about) = file.ok_or(missing)?;
    let about = About {
        description: description.unwrap_or_default(),
        ..about
    };
    let content = receiving.finish().await.map_err(ApiError::unwritten)?;
    Ok(FormFile {
        content,
        about,
        wish: wished,
    })
}

async fn receive_file(
    store: &Store,
    form: &mut Form,
    part: PartHead,
    client: Option<ClientKey>,
) -> Result<(Box<dyn Receiving>, About), ApiError> {
    let name = part.file_name.unwrap_or_default();
    check_name(&name)?;
    let receiving = store.receive_of(client).await;
    let mut receiving = receiving.map_err(ApiError::unwritten)?;
    while let Some(data) = form.next_data().await? {
        receiving.write(data).await.map_err(ApiError::unwritten)?;
    }
    let about = About {
        name,
        content_type: part.content_type,
        description: String::new(),
    };
    Ok((receiving, about))
}
