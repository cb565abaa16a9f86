//! The bootstrap server: introduces peers to each other and holds no blobs.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::base_url::BaseUrl;
use crate::blocking;
use crate::disk::DiskError;
use crate::peer::client::WANTED;
use crate::peer::lookup::Names;
use crate::peer::prefix::narrow_of;
use crate::peer::registration::{Absurd, MAX_BYTES, Registration};
use crate::state_file::StateFile;
use crate::web::clients::ClientAddress;
use crate::web::error::ApiError;
use crate::web::json;
use crate::web::limited::limit_rate;
use crate::web::origin::Guard;
use crate::web::query;
use crate::web::rate_limit::RateLimit;

mod error;
mod pool;
mod table;

use error::BootstrapError;
use pool::Pool;
use table::Table;

/// How long a registration may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most peers in one answer.
const MAX_SAMPLE: usize = 1000;
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 512 << 10;
/// How often the table is written down if it changed.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// How a bootstrap server is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that keeps the table.
    pub dir: PathBuf,
    /// How long a registration lives.
    pub ttl: Duration,
    /// The most peers at once; one takes some 1.5 KiB of memory at most.
    pub max_peers: usize,
    /// How many requests a second are taken from one address.
    pub rate: Option<NonZeroU32>,
}

/// A bootstrap server.
pub struct Bootstrap {
    table: Mutex<Table>,
    pool: Mutex<Pool>,
    names: Names,
    file: StateFile,
    limit: Arc<RateLimit>,
}

async fn refuse_pages(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Result<Response, BootstrapError> {
    guard.check(&request).map_err(|error| match error {
        ApiError::Host => BootstrapError::Host,
        other => other.into(),
    })?;
    Ok(next.run(request).await)
}

#[derive(Deserialize)]
struct PeersQuery {
    #[serde(default, deserialize_with = "query::number")]
    limit: Option<usize>,
}

impl Bootstrap {
    /// Takes up the table kept in the directory, which is made if it does not exist. Blocks.
    pub fn open(options: &Options) -> std::io::Result<Self> {
        std::fs::create_dir_all(&options.dir)?;
        let mut table = Table::new(options.max_peers, options.ttl);
        let file = StateFile::new(options.dir.join("registered"), "larder-registered 1");
        for registered in kept(&file)? {
            // Whoever is gone by now will not renew it.
            if let Ok(checked) = registered.check() {
                table.register(&checked, None, Instant::now());
            }
        }
        Ok(Self {
            table: Mutex::new(table),
            pool: Mutex::default(),
            names: Names::default(),
            file,
            limit: Arc::new(RateLimit::new(options.rate)),
        })
    }

    /// Its routes, where it listens at `address`, perhaps behind a gateway that passes on whatever
    /// host clients name.
    pub fn router(self: Arc<Self>, address: BaseUrl, behind_gateway: bool) -> Router {
        // Peers are no pages: one that a browser shows could register addresses of this machine.
        let guard = Guard {
            on_loopback: address.is_loopback() && !behind_gateway,
            base_url: address,
            allowed: Vec::new(),
            over_tls: false,
        };
        Router::new()
            .route("/register", post(register))
            .route("/peers", get(peers))
            .route_layer(from_fn_with_state(Arc::clone(&self.limit), limit_rate))
            .route("/health", get(health))
            .fallback(|| async { ApiError::UnknownPath })
            .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
            .layer(from_fn_with_state(Arc::new(guard), refuse_pages))
            .with_state(self)
    }

    /// Some of those who are registered, as [`Table::peers`] says. Where there are many it costs
    /// nothing more that there are: they are those of the last second.
    fn some(&self, limit: usize) -> Vec<Arc<str>> {
        let (limit, now) = (limit.min(MAX_SAMPLE), Instant::now());
        let alive = {
            let table = self.table.lock();
            if table.is_small() {
                return table.peers(limit, now);
            }
            let mut pool = self.pool.lock();
            if let Some(some) = pool.some(limit, now) {
                return some;
            }
            pool.begin(now);
            table.alive(now)
        };
        // Others may register while those are put in order.
        let ordered = alive.in_order();
        let some = ordered.some(limit);
        self.pool.lock().fill(ordered);
        some
    }

    /// Writes the table down every few seconds, for ever.
    pub async fn save_regularly(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SAVE_EVERY).await;
            let this = Arc::clone(&self);
            blocking::run(move || this.save()).await;
        }
    }

    /// Writes the table down. Blocks.
    pub fn save(&self) {
        let content = {
            let mut table = self.table.lock();
            table.expire(Instant::now());
            table.all()
        };
        let content = format!("[{}]", content.join(","));
        if let Err(error) = self.file.save(content.as_bytes()) {
            tracing::error!(%error, "the table was not written");
        }
    }
}

fn kept(file: &StateFile) -> std::io::Result<Vec<Registration>> {
    let content = file.load().map_err(|error| {
        let kind = error.kind();
        std::io::Error::new(kind, DiskError::new("read", file.path(), error))
    })?;
    let content = content.unwrap_or_else(|| b"[]".to_vec());
    Ok(serde_json::from_slice(&content).unwrap_or_default())
}

/// `POST /register`
async fn register(
    State(server): State<Arc<Bootstrap>>,
    request: Request,
) -> Result<Response, BootstrapError> {
    // Older nodes ask for peers apart.
    let wanted = request.headers().get(WANTED);
    let wanted = wanted.and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    let from = request.extensions().get::<ClientAddress>();
    let near = from.is_none_or(|it| it.ip.is_loopback());
    let from = from.map(|it| narrow_of(it.ip));
    let body = timeout(PATIENCE, to_bytes(request.into_body(), MAX_BYTES)).await;
    let body = body.map_err(|_| ApiError::BodyTooSlow)?;
    let body = body.map_err(|_| BootstrapError::Body(MAX_BYTES))?;
    let registration = json::read_registration(&body)?;
    let checked = registration.check();
    let checked = checked.and_then(|it| {
        // Nobody elsewhere reaches what is on this machine alone.
        let is_reached = near || !it.address.is_loopback();
        is_reached.then_some(it).ok_or(Absurd::Reserved)
    });
    let wrong = |e: Absurd| ApiError::Registration(e.to_string());
    let checked = checked.map_err(wrong)?;
    if checked.registration.leaving {
        server.table.lock().left(&checked);
        return Ok(Json(json!({ "status": "left" })).into_response());
    }
    // Whoever is on this machine may have a name for it.
    let is_looked_at = near || server.table.lock().has(&checked, Instant::now());
    if !is_looked_at && !server.names.may_lead_to_a_peer(&checked.address).await {
        return Err(wrong(Absurd::Reserved).into());
    }
    let now = Instant::now();
    let also_at = server.table.lock().register(&checked, from, now);
    tracing::debug!(id = %checked.id, "registered");
    let mut body = String::from(r#"{"status":"registered""#);
    if let Some(also_at) = also_at {
        body.push_str(r#","also_at":"#);
        body.push_str(&also_at);
    }
    if let Some(limit) = wanted {
        body.push(',');
        body.push_str(&list_of(&server.some(limit)));
    }
    body.push('}');
    Ok(json_of(body))
}

/// A key and a list of peers, cut where it would be too long.
fn list_of(peers: &[Arc<str>]) -> String {
    let mut list = String::from("\"peers\":[");
    for (number, peer) in peers.iter().enumerate() {
        if list.len() + peer.len() > MAX_ANSWER {
            break;
        }
        list.push_str(if number == 0 { "" } else { "," });
        list.push_str(peer);
    }
    list.push(']');
    list
}

fn json_of(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `GET /peers`: some of them, shared out among those who registered, however many there are.
async fn peers(
    State(server): State<Arc<Bootstrap>>,
    query: Result<Query<PeersQuery>, QueryRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Query(query) = query?;
    let peers = server.some(query.limit.unwrap_or(MAX_SAMPLE));
    Ok(json_of(format!("{{{}}}", list_of(&peers))))
}

/// `GET /health`
async fn health(State(server): State<Arc<Bootstrap>>) -> Json<Value> {
    let peers = server.table.lock().len(Instant::now());
    Json(json!({ "status": "healthy", "version": env!("CARGO_PKG_VERSION"), "peers": peers }))
}
