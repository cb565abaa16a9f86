//! Connections to a server, which are made again when they are lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Socket, Statement};

use super::failure::{Failure, away};
use super::rows;
use super::tls::{Stream, Tls};
use crate::index::IndexError;
use crate::metrics::servers::{DatabaseRequests, Outcome};

/// How long a connection may take to be there, the first words included.
const CONNECTING: Duration = Duration::from_secs(3);
/// How long any answer may take: longer than the server lets statements take, so that it says why
/// as a rule.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long after a try that failed nobody tries again unless another connection was made since,
/// so that what waits fails at once.
const AGAIN: Duration = Duration::from_millis(200);
/// What is said on each connection first. A server that hears nothing of a node any more, whose
/// host has lost power or whose packets a firewall has begun to drop, finds that out within a
/// minute, and would otherwise keep its connections for hours. Whoever stops within a transaction
/// is thrown out before those whom it keeps waiting give up. All statements are for indexes: a plan
/// that was made while the tables were empty is kept for long, and would read all of them each
/// time.
const FIRST_WORDS: &str = "SET search_path = larder; \
     SET tcp_keepalives_idle = 15; \
     SET tcp_keepalives_interval = 5; \
     SET tcp_keepalives_count = 3; \
     SET tcp_user_timeout = '30s'; \
     SET default_transaction_isolation = 'read committed'; \
     SET lock_timeout = '5s'; \
     SET statement_timeout = '8s'; \
     SET idle_in_transaction_session_timeout = '3s'; \
     SET enable_seqscan = off; \
     SET plan_cache_mode = force_generic_plan; \
     SET jit = off";
/// A server that follows another one has what that had a while ago: removed files, and none that
/// are new.
const FOLLOWS: &str = "SELECT pg_is_in_recovery() AS follows";

/// Values of a statement.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Where a server is, and how to speak with it.
pub(super) struct Server {
    pub(super) config: Config,
    /// None where nothing is secret on the way.
    pub(super) tls: Option<Tls>,
    /// How it is called in what is told of it.
    pub(super) name: Arc<str>,
    pub(super) requests: Arc<DatabaseRequests>,
    /// How many connections were made: what one has found, all that share this know.
    pub(super) connected: AtomicU64,
}

/// What carries a connection's messages until its end.
type Carrying = tokio_postgres::Connection<Socket, Stream<Socket>>;

impl Server {
    async fn connect(&self) -> Result<(Client, JoinHandle<()>), Failure> {
        if let Some(tls) = &self.tls {
            let (client, connection): (_, Carrying) = self.config.connect(tls.clone()).await?;
            return Ok((client, tokio::spawn(to_its_end(connection))));
        }
        let (client, connection) = self.config.connect(NoTls).await?;
        Ok((client, tokio::spawn(to_its_end(connection))))
    }
}

async fn to_its_end(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the database was lost");
    }
}

/// A connection. Nothing else ends one within a transaction but its end, which dropping it is.
pub(super) struct Session {
    pub(super) client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    carrying: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

impl Session {
    /// Connects to a server.
    pub(super) async fn open(server: &Server) -> Result<Self, Failure> {
        let opening = async {
            let (client, carrying) = server.connect().await?;
            let session = Self {
                client,
                statements: Mutex::default(),
                carrying,
            };
            session.client.batch_execute(FIRST_WORDS).await?;
            let told = session.client.query_one(FOLLOWS, &[]).await?;
            if rows::value(&told, "follows")? {
                return Err(Failure::Standby);
            }
            Ok(session)
        };
        let under_way = server.requests.connect.begin();
        let opened = timeout(CONNECTING, opening).await;
        let opened = opened.unwrap_or(Err(Failure::Silent));
        // Whoever looks after the server may mend it, whatever it is.
        let failed = opened.is_err();
        under_way.end(if failed {
            Outcome::Unavailable
        } else {
            Outcome::Done
        });
        opened
    }

    /// The rows that a statement gives.
    pub(super) async fn query(
        &self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, Failure> {
        self.in_time(async {
            let statement = self.statement(sql).await?;
            Ok(self.client.query(&statement, values).await?)
        })
        .await
    }

    /// How many rows a statement changes.
    pub(super) async fn execute(
        &self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<u64, Failure> {
        self.in_time(async {
            let statement = self.statement(sql).await?;
            Ok(self.client.execute(&statement, values).await?)
        })
        .await
    }

    /// Statements without values.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.in_time(async { Ok(self.client.batch_execute(sql).await?) })
            .await
    }

    /// Has the server know these statements, so that they can be sent together.
    pub(super) async fn prepare(&self, all: &[&'static str]) -> Result<(), Failure> {
        self.in_time(async {
            for sql in all {
                self.statement(sql).await?;
            }
            Ok(())
        })
        .await
    }

    /// Ends it, whatever it is in the middle of.
    pub(super) fn end(&self) {
        self.carrying.abort();
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let done = timeout(PATIENCE, work).await;
        done.unwrap_or_else(|_| {
            // Answers come in order, so none that waits here can come any more.
            self.end();
            Err(Failure::Silent)
        })
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(known) = self.statements.lock().get(sql) {
            return Ok(known.clone());
        }
        let made = self.client.prepare(sql).await?;
        self.statements.lock().insert(sql, made.clone());
        Ok(made)
    }

    pub(super) fn is_over(&self) -> bool {
        self.client.is_closed() || self.carrying.is_finished()
    }
}

/// A connection as long as there is one, and a new one then.
pub(super) struct Link {
    server: Arc<Server>,
    current: tokio::sync::Mutex<Current>,
}

#[derive(Default)]
struct Current {
    session: Option<Arc<Session>>,
    failed: Option<Failed>,
}

/// A try that came to nothing.
struct Failed {
    at: Instant,
    /// How many connections had been made when it began.
    connected: u64,
    error: IndexError,
}

impl Link {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            current: tokio::sync::Mutex::default(),
        }
    }

    /// What is told of a failure.
    pub(super) fn told(&self, failure: Failure) -> IndexError {
        failure.of(&self.server.name)
    }

    /// What is asked of its server.
    pub(super) fn requests(&self) -> &DatabaseRequests {
        &self.server.requests
    }

    /// The connection, made anew where it is lost.
    pub(super) async fn session(&self) -> Result<Arc<Session>, IndexError> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.session.as_ref().filter(|it| !it.is_over()) {
            return Ok(Arc::clone(session));
        }
        current.session = None;
        let connected = self.server.connected.load(Ordering::Relaxed);
        if let Some(failed) = &current.failed
            && failed.at.elapsed() < AGAIN
            && failed.connected == connected
        {
            return Err(failed.error.clone());
        }
        match Session::open(&self.server).await {
            Ok(session) => {
                self.server.connected.fetch_add(1, Ordering::Relaxed);
                let session = Arc::new(session);
                current.session = Some(Arc::clone(&session));
                current.failed = None;
                Ok(session)
            }
            Err(failure) => {
                // Whatever it is: whoever looks after the server may mend it.
                let error = IndexError::from(away(&self.server.name, failure));
                current.failed = Some(Failed {
                    at: Instant::now(),
                    connected,
                    error: error.clone(),
                });
                Err(error)
            }
        }
    }

    /// The rows that a statement gives, which changes nothing that may not be changed twice: where
    /// the connection is lost over it it is made on the next one.
    pub(super) async fn query(
        &self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, IndexError> {
        let mut is_second = false;
        loop {
            let session = self.session().await?;
            match session.query(sql, values).await {
                Err(failure) if failure.may_pass() && !is_second => {
                    is_second = true;
                    if failure.is_of_connection() {
                        session.end();
                        self.forget(&session).await;
                    }
                }
                Err(failure) => return Err(self.told(failure)),
                Ok(rows) => return Ok(rows),
            }
        }
    }

    /// Gives a connection up over which something has failed: nobody knows in the middle of what it
    /// is.
    pub(super) async fn failed(&self, session: &Arc<Session>, failure: Failure) -> IndexError {
        session.end();
        self.forget(session).await;
        self.told(failure)
    }

    /// Has the next one who asks make a new connection in the place of this one.
    async fn forget(&self, session: &Arc<Session>) {
        let mut current = self.current.lock().await;
        current.session.take_if(|it| Arc::ptr_eq(it, session));
    }
}

/// What an answer counts as.
pub(super) fn outcome<T>(answer: &Result<T, IndexError>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Done,
        Err(error) if error.is_shortage() => Outcome::Unavailable,
        Err(_) => Outcome::Refused,
    }
}

/// A few connections, of which whoever asks has the next: a long answer holds up only those behind
/// it on the same one.
pub(super) struct Links {
    each: Vec<Link>,
    next: AtomicUsize,
    server: Arc<Server>,
}

impl Links {
    /// What is told of a failure of any of them.
    pub(super) fn told(&self, failure: Failure) -> IndexError {
        failure.of(&self.server.name)
    }

    pub(super) fn new(count: usize, server: &Arc<Server>) -> Self {
        let link = || Link::new(Arc::clone(server));
        Self {
            each: std::iter::repeat_with(link).take(count).collect(),
            next: AtomicUsize::new(0),
            server: Arc::clone(server),
        }
    }

    pub(super) async fn query(
        &self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, IndexError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.each.len();
        let link = self.each.get(turn).ok_or(IndexError::Closed)?;
        let under_way = self.server.requests.query.begin();
        let rows = link.query(sql, values).await;
        under_way.end(outcome(&rows));
        rows
    }
}
