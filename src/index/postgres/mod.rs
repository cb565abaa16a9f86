//! The index in a database of `PostgreSQL` that many nodes share.
//!
//! The database decides: ids are given out, contents gain and lose files, and garbage becomes
//! garbage in transactions under the lock of one row (`heads`), one batch of a node after the
//! other, so that ids grow in the order in which they become visible. No place is given out twice,
//! so whoever deletes late, a node that was stopped meanwhile, hits nothing that others have
//! written. What somebody writes has a lease, what was needed a time of grace, and each step of a
//! place is one update of its row.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::Row;

use super::page::page_of;
use super::{
    Alike, ChangedFiles, Content, Elsewhere, Garbage, Held, IndexBackend, IndexError, Intent, Put,
    Totals,
};
use crate::care_rows::CareRows;
use crate::hash::BlobHash;
use crate::health::Health;
use crate::keep_rows::KeepRows;
use crate::metrics::servers::DatabaseRequests;
use crate::pack_rows::PackRows;
use crate::peer_rows::PeerRows;
use crate::place::Place;
use crate::record::{FileId, FileRecord, NewFile};
use crate::upload_rows::UploadRows;

mod asked;
mod batch;
mod care;
mod failure;
mod fleet_key;
mod holds;
mod intents;
mod keep_statements;
mod keeps;
mod link;
mod look;
mod moment;
mod moved;
mod options;
mod packs;
mod peers;
mod places;
mod plan;
mod restoring;
mod rollout;
mod rows;
mod schema;
mod seen;
mod shared;
mod sweeps;
mod tls;
mod together;
mod uploads;
mod walk;
mod writer;

pub(crate) use asked::unavailable;
use holds::Holds;
use link::{Link, Links, Server, Session, Values};
pub use moved::MoveBegun;
pub use options::{InvalidDatabase, Options};
use places::Places;
use rollout::Rollout;
use rows::{Heads, content_columns, heads_columns, most, record_columns};
use seen::{CURRENT, Seen};
use shared::Shared;
pub use walk::{Bereft, ContentRow};
use writer::{Request, Writer};

/// How many connections a node has beside the one that changes files.
const CONNECTIONS: usize = 4;
/// The least id that there can be, and the greatest.
const FIRST: FileId = FileId::from_bytes([0; 16]);
const LAST: FileId = FileId::from_bytes([u8::MAX; 16]);
/// Among how many files of a name an earlier one is looked for.
macro_rules! among {
    () => {
        "64"
    };
}

const HEADS: &str = concat!("SELECT ", heads_columns!(), " FROM heads");
/// Places that are no longer written to are those of contents, or of none.
const HAS_LENGTH: &str = "SELECT 1 WHERE EXISTS (SELECT FROM blobs WHERE size = $1) \
     OR EXISTS (SELECT FROM places WHERE state = 'w' AND size = $1)";
const GET: &str = concat!("SELECT ", record_columns!(), " FROM files WHERE id = $1");
const NEWEST_NAMED: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM files WHERE name_key = $1 ORDER BY id DESC LIMIT 1"
);
const EARLIER: &str = concat!(
    "SELECT it.number, found.id FROM unnest($1::uuid[], $2::bytea[], $3::uuid[], $4::bigint[]) \
     WITH ORDINALITY AS it(name_key, hash, than, known, number) \
     JOIN blobs ON blobs.hash = it.hash AND blobs.users > it.known \
     CROSS JOIN LATERAL (SELECT id FROM ( \
         SELECT id, hash FROM files WHERE files.name_key = it.name_key ORDER BY id LIMIT ",
    among!(),
    ") AS named WHERE named.hash = it.hash AND id < it.than ORDER BY id LIMIT 1) AS found"
);
const PAGE: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM files WHERE id > $1 ORDER BY id LIMIT $2"
);
const PAGE_BACK: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM files WHERE id < $1 ORDER BY id DESC LIMIT $2"
);
const LOCATE: &str = concat!("SELECT ", content_columns!(), " FROM blobs WHERE hash = $1");
/// Nobody has lost the answer of this one, and it goes with the others.
const TRY: &str = "INSERT INTO batches (id) VALUES (gen_random_uuid())";

/// An index in a database that others may have open, too.
pub struct PostgresIndex {
    shared: Arc<Shared>,
    places: Arc<Places>,
    counted: Arc<DatabaseRequests>,
    requests: mpsc::Sender<Request>,
    intents: mpsc::Sender<intents::Asked>,
    /// Empty once it is closed.
    tasks: Mutex<JoinSet<()>>,
}

impl PostgresIndex {
    /// Opens the index in a database, and makes it there the first time.
    pub async fn open(options: &Options) -> Result<Self, IndexError> {
        Self::open_or_make(options, true).await
    }

    async fn open_or_make(options: &Options, makes: bool) -> Result<Self, IndexError> {
        let server = Arc::new(options.server());
        let heads = Self::first_look(&server, makes).await;
        let heads = heads.map_err(|it| it.of(&server.name))?;
        let shared = Arc::new(Shared {
            seen: Seen::new(heads),
            holds: Arc::new(Holds::default()),
            rollout: Rollout::new(options.lease),
            links: Links::new(CONNECTIONS, &server),
            lease: options.lease,
            grace: options.grace,
            quota: options.quota,
            is_relaxed: options.is_relaxed,
        });
        let counted = Arc::clone(&server.requests);
        let (requests, asked) = mpsc::channel(writer::GROUP);
        let writer = Writer {
            link: Link::new(server),
            shared: Arc::clone(&shared),
            pruning: look::Pruning::default(),
        };
        let (intents, intended) = mpsc::channel(intents::GROUP);
        let places = Arc::new(Places::new(Arc::clone(&shared)));
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(asked));
        tasks.spawn(intents::run(Arc::clone(&shared), intended));
        tasks.spawn(Arc::clone(&places).keep());
        let index = Self {
            shared,
            places,
            counted,
            requests,
            intents,
            tasks: Mutex::new(tasks),
        };
        index.tell_all().await?;
        match index.refusal() {
            Some(reason) => Err(IndexError::Refused(reason)),
            None => Ok(index),
        }
    }

    /// The secret key that all nodes over this database have: that of the first one that has
    /// offered one, which `made` is where there is none.
    pub async fn fleet_key(&self, made: [u8; 32]) -> Result<[u8; 32], IndexError> {
        fleet_key::first(&self.shared.links, made).await
    }

    /// What all nodes know of uploads in parts.
    pub fn uploads(&self) -> Arc<dyn UploadRows> {
        Arc::new(uploads::Uploads(Arc::clone(&self.shared)))
    }

    /// The copies that all nodes are to have.
    pub fn keeps(&self) -> Arc<dyn KeepRows> {
        Arc::new(keeps::Keeps(Arc::clone(&self.shared)))
    }

    /// The peers that all nodes know.
    pub fn peers(&self) -> Arc<dyn PeerRows> {
        Arc::new(peers::Peers(Arc::clone(&self.shared)))
    }

    /// What one of the nodes does for all.
    pub fn care(&self) -> Arc<dyn CareRows> {
        Arc::new(care::Cares(Arc::clone(&self.shared)))
    }

    /// What all nodes know of packs.
    pub fn packs(&self) -> Arc<dyn PackRows> {
        Arc::new(packs::Packs(Arc::clone(&self.shared)))
    }

    /// What was asked of the database.
    pub fn requests(&self) -> Arc<DatabaseRequests> {
        Arc::clone(&self.counted)
    }

    async fn first_look(server: &Server, makes: bool) -> Result<Heads, failure::Failure> {
        let mut session = Session::open(server).await?;
        if !makes {
            schema::check_there(&session.client).await?;
        }
        schema::bring_up(&mut session.client).await?;
        let heads = session.query(HEADS, &[]).await?;
        let heads = heads.first().map(Heads::of).transpose()?;
        heads.ok_or_else(|| failure::Failure::Odd("the heads are gone".to_owned()))
    }

    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, IndexError>>) -> Request,
    ) -> Result<T, IndexError> {
        let (answer, answered) = oneshot::channel();
        let asked = self.requests.send(request(answer)).await;
        asked.map_err(|_| IndexError::Closed)?;
        answered.await.map_err(|_| IndexError::Closed)?
    }

    /// Has all others know what this node has found, and this node what they have changed.
    async fn tell_all(&self) -> Result<(), IndexError> {
        self.request(|answer| Request::Tell { answer }).await
    }

    /// Fails where it is closed. What this node has found is known to the server then.
    async fn told(&self) -> Result<(), IndexError> {
        if self.requests.is_closed() {
            return Err(IndexError::Closed);
        }
        if self.shared.seen.has_news() {
            self.tell_all().await?;
        }
        Ok(())
    }

    /// The intention to make a file of content, which has the place `own` unless it is there.
    async fn intend_own(
        &self,
        hash: &BlobHash,
        size: u64,
        own: Place,
        is_gathered: bool,
    ) -> Result<Intent, IndexError> {
        self.told().await?;
        let (answer, answered) = oneshot::channel();
        let asked = self.intents.send(intents::Asked {
            own,
            hash: *hash,
            size,
            is_gathered,
            answer,
        });
        asked.await.map_err(|_| IndexError::Closed)?;
        answered.await.map_err(|_| IndexError::Closed)?
    }

    /// What `read` makes of each row.
    async fn rows<T>(
        &self,
        sql: &'static str,
        values: Values<'_>,
        read: fn(&tokio_postgres::Row) -> Result<T, failure::Failure>,
    ) -> Result<Vec<T>, IndexError> {
        if self.requests.is_closed() {
            return Err(IndexError::Closed);
        }
        let links = &self.shared.links;
        let rows = links.query(sql, values).await?;
        let read: Result<Vec<T>, _> = rows.iter().map(read).collect();
        read.map_err(|it| links.told(it))
    }

    async fn content(&self, hash: &BlobHash) -> Result<Option<Content>, IndexError> {
        self.told().await?;
        let bytes = &hash.as_bytes()[..];
        let content = self.rows(LOCATE, &[&bytes], rows::content).await?.pop();
        if let Some(it) = content {
            self.shared.seen.know(it.place, *hash, it.is_damaged);
        }
        Ok(content)
    }
}

#[async_trait]
impl IndexBackend for PostgresIndex {
    async fn intend(&self, hash: &BlobHash, size: u64) -> Result<Intent, IndexError> {
        self.intend_own(hash, size, Place::random(), false).await
    }

    async fn intend_at(&self, hash: &BlobHash, size: u64, at: Place) -> Result<Intent, IndexError> {
        self.intend_own(hash, size, at, false).await
    }

    async fn intend_gathered(&self, hash: &BlobHash, size: u64) -> Result<Intent, IndexError> {
        self.intend_own(hash, size, Place::random(), true).await
    }

    async fn put(&self, file: NewFile, intent: Intent) -> Result<Put, IndexError> {
        if file.is_too_long() {
            return Err(IndexError::TooLong);
        }
        self.told().await?;
        let intent = Box::new(intent);
        self.request(|answer| Request::Put {
            file,
            intent,
            answer,
        })
        .await
    }

    async fn restore(&self, files: Vec<(FileRecord, Intent)>) -> Result<(), IndexError> {
        self.restore_all(files).await
    }

    async fn mend(&self, hash: &BlobHash, intent: Intent) -> Result<bool, IndexError> {
        self.mend_elsewhere(*hash, intent).await
    }

    async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        self.told().await?;
        self.request(|answer| Request::Remove { id, answer }).await
    }

    async fn get(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        let found = self.rows(GET, &[&rows::uuid(id)], rows::record).await?;
        Ok(found.into_iter().next())
    }

    async fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError> {
        let key = rows::name_key(name);
        let found = self.rows(NEWEST_NAMED, &[&key], rows::record).await?;
        Ok(found.into_iter().find(|it| it.file.is_named(name)))
    }

    async fn earlier(&self, all: &[Alike<'_>]) -> Result<Vec<Option<FileId>>, IndexError> {
        let keys: Vec<_> = all.iter().map(|it| rows::name_key(it.name)).collect();
        let hashes: Vec<_> = all.iter().map(|it| &it.hash.as_bytes()[..]).collect();
        let thans: Vec<_> = all.iter().map(|it| rows::uuid(it.than)).collect();
        let known: Vec<_> = all.iter().map(|it| i64::from(it.known)).collect();
        let values: Values<'_> = &[&keys, &hashes, &thans, &known];
        let read = |row: &Row| {
            let number = rows::count(rows::value(row, "number")?);
            Ok((number, rows::id(rows::value(row, "id")?)))
        };
        let found = self.rows(EARLIER, values, read).await?;
        let found: HashMap<_, _> = found.into_iter().collect();
        // Rows are counted from 1.
        let numbers = (1..).zip(all).map(|(number, _)| number);
        Ok(numbers.map(|it| found.get(&it).copied()).collect())
    }

    async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let after = rows::uuid(after.unwrap_or(FIRST));
        let files = self
            .rows(PAGE, &[&after, &most(limit)], rows::record)
            .await?;
        page_of(files.into_iter().map(Ok), limit)
    }

    async fn changed_since(
        &self,
        mark: u64,
        last: Option<FileId>,
    ) -> Result<Option<ChangedFiles>, IndexError> {
        self.changed(mark, last).await
    }

    async fn page_back(
        &self,
        before: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let before = rows::uuid(before.unwrap_or(LAST));
        let files = self
            .rows(PAGE_BACK, &[&before, &most(limit)], rows::record)
            .await?;
        page_of(files.into_iter().map(Ok), limit)
    }

    async fn locate(&self, hash: &BlobHash) -> Result<Option<Content>, IndexError> {
        self.content(hash).await
    }

    async fn hold(&self, hash: &BlobHash) -> Result<Option<Held>, IndexError> {
        let content = self.content(hash).await?;
        Ok(content.map(|it| Held::new(it, self.shared.holds.hold(it.place))))
    }

    async fn garbage(&self, limit: usize) -> Result<Vec<Garbage>, IndexError> {
        self.told().await?;
        self.places.garbage(limit).await
    }

    async fn collected(&self, garbage: Vec<Garbage>) -> Result<(), IndexError> {
        self.places.collected(garbage).await
    }

    async fn sift(&self, stored: &[Place]) -> Result<(), IndexError> {
        self.places.sift(stored).await
    }

    fn health(&self, place: Place, found: Health) -> Option<BlobHash> {
        match found {
            // That is of the disk of one node, and of no concern to all others.
            Health::Unreadable => None,
            _ => self.shared.seen.find(place, found),
        }
    }

    fn totals(&self) -> Totals {
        self.shared.seen.totals()
    }

    async fn mark(&self) -> Result<u64, IndexError> {
        self.told().await?;
        Ok(rows::count(self.shared.seen.heads().changes))
    }

    async fn sync(&self, _mark: u64) -> Result<(), IndexError> {
        // What the server has acknowledged is as durable as it gets.
        if self.requests.is_closed() {
            return Err(IndexError::Closed);
        }
        Ok(())
    }

    fn refusal(&self) -> Option<String> {
        self.shared.seen.refusal()
    }

    async fn try_to_write(&self) -> Result<(), IndexError> {
        self.told().await?;
        self.shared.links.query(TRY, &[]).await.map(drop)
    }

    async fn may_have_length(&self, bytes: u64) -> Result<bool, IndexError> {
        let bytes = rows::bytes(bytes);
        let found = self.rows(HAS_LENGTH, &[&bytes], |_| Ok(())).await?;
        Ok(!found.is_empty())
    }

    async fn catch_up(&self) {
        // A server that is away is not waited for by each who asks.
        if self.is_current() {
            let _ = timeout(CURRENT, self.tell_all()).await;
        }
    }

    fn tell_to(&self, elsewhere: Arc<dyn Elsewhere>) {
        self.shared.seen.tell_to(elsewhere);
    }

    fn is_current(&self) -> bool {
        self.shared.seen.is_current()
    }

    async fn close(&self) -> Result<(), IndexError> {
        self.request(|answer| Request::Close { answer }).await?;
        // What it was about ends by itself where that fails.
        if let Err(error) = self.places.tell().await {
            tracing::debug!(%error, "leases were not ended");
        }
        *self.tasks.lock() = JoinSet::new();
        Ok(())
    }
}
