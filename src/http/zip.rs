//! Several files as one archive, which is made while it is sent.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use url::form_urlencoded;
use utoipa::IntoParams;

use super::gate::ClientShare;
use super::remote;
use crate::blob::BlobError;
use crate::hash::BlobHash;
use crate::name_form;
use crate::node::Node;
use crate::node::turns::Claimant;
use crate::node::view::{NetworkPage, Selection};
use crate::peer::directory::{FileKey, NetworkFile};
use crate::record::{FileId, Order, PAGE_BYTES};
use crate::web::content::Content;
use crate::web::disposition;
use crate::web::error::ApiError;
use crate::web::transfers::{self, PASSING_ON, SENDING, Transfer, TransferShare};
use crate::web::zip::{Archive, Member};

/// How many files are taken at once of those in a folder, and looked at for them.
const PAGE: usize = 1000;
const LOOK: usize = 20_000;

/// Which files an archive shall have.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct IdsQuery {
    /// The ids of the files.
    #[param(min_items = 1, pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    id: Vec<String>,
}

/// How an archive shall be called.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NameQuery {
    /// Under which name to save the archive, with or without its ending.
    name: Option<String>,
}

fn read(query: Option<String>) -> (IdsQuery, NameQuery) {
    let (mut ids, mut named) = (IdsQuery { id: Vec::new() }, NameQuery { name: None });
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*key {
            "id" => ids.id.push(value.into_owned()),
            "name" => named.name = Some(value.into_owned()).filter(|it| is_name(it)),
            _ => {}
        }
    }
    (ids, named)
}

/// Whether an archive can be called so, with or without its ending.
fn is_name(name: &str) -> bool {
    disposition::is_name(name.strip_suffix(".zip").unwrap_or(name))
}

/// By what the content of a file is found.
struct Source {
    hash: BlobHash,
    /// What this node says itself of its length, in bytes.
    size: Option<u64>,
}

/// `GET /api/p2p/zip`
pub(super) async fn chosen(
    State(node): State<Arc<Node>>,
    Extension(ClientShare(client)): Extension<ClientShare>,
    RawQuery(query): RawQuery,
    share: TransferShare,
    method: Method,
) -> Result<Response, ApiError> {
    let (IdsQuery { id }, NameQuery { name }) = read(query);
    if id.is_empty() {
        let message = "name the files by their ids, as in ?id=ID&id=ID";
        return Err(ApiError::Query(message.to_owned()));
    }
    let claimant = Claimant {
        turns: node.choices(),
        client: client.as_ref(),
    };
    let planned = Planned::of(of_ids(&node, id), claimant, &share).await?;
    let name = name.as_deref().unwrap_or("files");
    send(node, planned, name, &method, &share).await
}

/// `GET /api/p2p/zip/{*folder}`: all files whose names begin with that of the folder and a slash.
pub(super) async fn folder(
    State(node): State<Arc<Node>>,
    Extension(ClientShare(client)): Extension<ClientShare>,
    folder: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    share: TransferShare,
    method: Method,
) -> Result<Response, ApiError> {
    let Path(folder) = folder.map_err(|_| ApiError::UnknownFolder)?;
    let folder = folder.trim_end_matches('/');
    let at = |turns| Claimant {
        turns,
        client: client.as_ref(),
    };
    let archive = of_folder(&node, folder, at(node.searches()));
    let planned = Planned::of(archive, at(node.folders()), &share).await?;
    let (_, NameQuery { name }) = read(query);
    let last = folder.rsplit('/').next().unwrap_or(folder);
    send(
        node,
        planned,
        name.as_deref().unwrap_or(last),
        &method,
        &share,
    )
    .await
}

/// An archive of which all is known but the contents.
struct Planned {
    archive: Archive<Source>,
    memory: Option<Transfer>,
}

impl Planned {
    /// What `archive` comes to, which is begun when it is the client's turn: the names of its files
    /// are counted once they are all there.
    async fn of(
        archive: impl Future<Output = Result<Archive<Source>, ApiError>>,
        claimant: Claimant<'_>,
        share: &TransferShare,
    ) -> Result<Self, ApiError> {
        let _turn = claimant.turn().await;
        let archive = archive.await?;
        let memory = share.take_memory(archive.bytes())?;
        Ok(Self { archive, memory })
    }
}

async fn of_ids(node: &Node, mut ids: Vec<String>) -> Result<Archive<Source>, ApiError> {
    let mut archive = Archive::default();
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    for id in ids {
        let id: FileId = id.parse().map_err(|_| ApiError::NoId)?;
        let file = match node.store().get(id).await? {
            Some(own) => own.into(),
            None => remote::with_id(node, id)?.file,
        };
        archive.add(member(node, file).await?)?;
    }
    Ok(archive)
}

async fn of_folder(
    node: &Node,
    folder: &str,
    searcher: Claimant<'_>,
) -> Result<Archive<Source>, ApiError> {
    let begins = name_form::composed(&format!("{folder}/")).into_owned();
    let wanted = name_form::folded(&begins);
    let mut archive = Archive::default();
    let mut before = None;
    loop {
        let page = page(node, &wanted, before, searcher).await?;
        let NetworkPage { files, next, .. } = page;
        for held in files {
            if !name_form::composed(&held.file.name).starts_with(&begins) {
                continue;
            }
            let id = held.file.id;
            match member(node, held.file).await {
                // It was removed since it was listed.
                Err(ApiError::Unobtainable(_)) if node.view().with_id(id).await?.is_empty() => {}
                member => archive.add(member?)?,
            }
        }
        before = next;
        if before.is_none() {
            break;
        }
    }
    if archive.is_empty() {
        return Err(ApiError::UnknownFolder);
    }
    Ok(archive)
}

/// Of several that are called alike the newest comes first, and has the name as it is.
async fn page(
    node: &Node,
    name: &str,
    before: Option<FileKey>,
    searcher: Claimant<'_>,
) -> Result<NetworkPage, ApiError> {
    let wanted = Selection {
        order: Order::NewestFirst,
        after: None,
        before,
        name: Some(name),
        limit: PAGE,
        bytes: PAGE_BYTES,
        look: LOOK,
        searcher: Some(searcher),
    };
    Ok(node.view().page(wanted).await?)
}

/// A file of an archive, if its bytes can be had and proven, as far as is known before.
async fn member(node: &Node, file: NetworkFile) -> Result<Member<Source>, ApiError> {
    let unobtainable = || ApiError::Unobtainable(file.name.clone());
    let hash = file.hash.ok_or_else(unobtainable)?;
    if !node.store().holds(&hash).await? && !node.fetcher().is_held(&hash) {
        // Whether what could not be read is to be had by now, or else why not, only trying tells.
        node.store().open(&hash).await?.ok_or_else(unobtainable)?;
    }
    // What others say of a length is proven only when it is opened.
    let own = node.store().get(file.id).await?;
    let size = own.map(|it| it.file.size);
    Ok(Member {
        name: file.name,
        size,
        modified: file.uploaded_at.parse().ok(),
        source: Source { hash, size },
    })
}

async fn send(
    node: Arc<Node>,
    Planned { archive, memory }: Planned,
    name: &str,
    method: &Method,
    share: &TransferShare,
) -> Result<Response, ApiError> {
    // One content at a time, whose files are those of the archive.
    let length = archive.length();
    let is_own = length.is_some();
    let files = if is_own { SENDING } else { PASSING_ON };
    let transfer = share.take(files)?;
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let open = move |source| open(Arc::clone(&node), source);
        archive.into_body(open).await?
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let fixed = [
        (header::CONTENT_TYPE, "application/zip"),
        (header::ACCEPT_RANGES, "none"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Many write the ending, which is there anyway.
    let name = name.strip_suffix(".zip").unwrap_or(name);
    let disposition = disposition::attachment(&format!("{name}.zip"));
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(transfers::during(
        transfer,
        transfers::during(memory, response),
    ))
}

/// Opens a content when its turn has come; one that is longer or shorter than was promised has
/// no place in the archive.
async fn open(node: Arc<Node>, Source { hash, size }: Source) -> Result<Content, ApiError> {
    let (content, _) = remote::content(&node, hash, None, &TransferShare::default()).await?;
    let content = content.ok_or(ApiError::UnknownBlob)?;
    if size.is_some_and(|size| size != content.size()) {
        let detail = "its length is another than its record says".to_owned();
        return Err(BlobError::Damaged { hash, detail }.into());
    }
    Ok(content)
}
