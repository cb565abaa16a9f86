//! Several nodes over one database and one bucket.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::common::process::Node;
use crate::nodes::start_with;
use crate::postgres::{Server, connect, number};
use crate::s3_store::S3Store;

/// Three nodes, each of which may be killed.
pub(crate) struct Fleet {
    pub(crate) nodes: [Option<Node>; 3],
    pub(crate) store: S3Store,
    /// Looks at what is in the database.
    pub(crate) client: Client,
    pub(crate) dirs: [TempDir; 3],
    url: String,
    _database: Server,
}

impl Fleet {
    /// All with these settings.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let (database, store) = (Server::start(), S3Store::start().await);
        let url = database.database("one").await;
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let start = |dir| Some(start_with(dir, &url, &store, settings));
        let nodes = dirs.each_ref().map(start);
        Self {
            nodes,
            client: connect(&url).await,
            store,
            dirs,
            url,
            _database: database,
        }
    }

    pub(crate) fn node(&self, node: usize) -> &Node {
        self.nodes[node].as_ref().unwrap()
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        [0, 1, 2].map(|it| self.node(it).address)
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].take().unwrap().kill();
    }

    /// Starts one again, with other settings.
    pub(crate) fn start_again(&mut self, node: usize, settings: &[&str]) {
        let started = start_with(&self.dirs[node], &self.url, &self.store, settings);
        self.nodes[node] = Some(started);
    }

    /// Of the database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many rows there are.
    pub(crate) async fn count(&self, of: &str) -> i64 {
        number(&self.client, &format!("SELECT count(*) FROM larder.{of}")).await
    }

    pub(crate) fn stop(self) {
        self.nodes.into_iter().flatten().for_each(Node::stop);
    }
}
