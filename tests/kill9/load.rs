//! The clients: uploads, removals and listings until the node is gone.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use larder::hash::BlobHash;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::common::encoded::verified;
use crate::common::random::Random;
use crate::ledger::{Content, Ledger, Listed};

/// With so many files, clients remove as often as they upload.
const MANY_FILES: usize = 1000;
/// How many contents the clients share.
const SHARED: u64 = 6;

/// One client of a node.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) random: Random,
}

impl Random {
    /// Another generator, for another task.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// So many bytes.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        words.take(len.div_ceil(8)).flatten().take(len).collect()
    }
}

impl Client {
    /// Sends requests, one after the other, until one is cut off.
    pub(crate) async fn run(mut self) {
        let error = loop {
            if let Err(error) = self.step().await {
                break error;
            }
        };
        if !error.is_connect() {
            self.ledger.lock().unwrap().cut_off += 1;
        }
    }

    async fn step(&mut self) -> reqwest::Result<()> {
        let many = self.ledger.lock().unwrap().count() > MANY_FILES;
        match self.random.below(100) {
            0..5 => drop(self.list("?limit=20").await?),
            5..45 if many => self.remove().await?,
            5..20 => self.remove().await?,
            _ => self.upload().await?,
        }
        Ok(())
    }

    async fn upload(&mut self) -> reqwest::Result<()> {
        let bytes = self.content();
        let content = Content {
            hash: BlobHash::of(&bytes),
            size: bytes.len() as u64,
        };
        let name = format!("{:016x}.bin", self.random.next());
        self.ledger.lock().unwrap().sends(&name, content);
        let form = Form::new().part("file", Part::bytes(bytes).file_name(name));
        let url = format!("{}/api/p2p/upload", self.base);
        let answer = self.http.post(url).multipart(form).send().await?;
        let answer: Value = answer.error_for_status().unwrap().json().await?;
        assert_eq!(answer["file"]["hash"], content.hash.to_string());
        let id = answer["file"]["file_id"].as_str().unwrap().to_owned();
        self.ledger.lock().unwrap().uploaded(id, content);
        Ok(())
    }

    /// Small and big contents, of one's own and shared.
    fn content(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0 => shared(self.random.below(SHARED)),
            1 => {
                let len = 65_537 + self.random.below(200_000);
                self.random.bytes(usize::try_from(len).unwrap())
            }
            _ => {
                let len = self.random.below(8192);
                self.random.bytes(usize::try_from(len).unwrap())
            }
        }
    }

    async fn remove(&mut self) -> reqwest::Result<()> {
        let id = {
            let mut ledger = self.ledger.lock().unwrap();
            let count = ledger.count().max(1) as u64;
            ledger.removes(usize::try_from(self.random.below(count)).unwrap())
        };
        let Some(id) = id else { return Ok(()) };
        let url = format!("{}/api/p2p/file/{id}", self.base);
        let answer = self.http.delete(url).send().await?;
        answer.error_for_status().unwrap().bytes().await?;
        self.ledger.lock().unwrap().removed(id);
        Ok(())
    }

    /// The files that the node lists.
    pub(crate) async fn list(&self, query: &str) -> reqwest::Result<Vec<Listed>> {
        let url = format!("{}/api/p2p/files{query}", self.base);
        let answer = self.http.get(url).send().await?;
        let answer: Value = answer.error_for_status().unwrap().json().await?;
        let files = answer["files"].as_array().unwrap();
        assert_eq!(answer["file_count"], files.len());
        Ok(files.iter().map(listed).collect())
    }

    /// The node's peer id.
    pub(crate) async fn peer_id(&self) -> reqwest::Result<String> {
        let url = format!("{}/api/p2p/status", self.base);
        let answer: Value = self.http.get(url).send().await?.json().await?;
        Ok(answer["peer"]["peer_id"].as_str().unwrap().to_owned())
    }

    /// Downloads a file, and as another node does, and holds its bytes against what was
    /// uploaded.
    pub(crate) async fn check(&self, id: &str, content: Content) -> reqwest::Result<()> {
        let Content { hash, size } = content;
        let bytes = self.get(&format!("file/{id}")).await?;
        assert_eq!(bytes.len() as u64, size, "{id}");
        assert_eq!(BlobHash::of(&bytes), hash, "{id}");
        let answer = self.get(&format!("blob/{hash}/bao")).await?;
        let (proven, ended) = verified(hash, size, 0..size, [answer]);
        assert_eq!(ended, Ok(()), "{id}");
        assert!(proven == bytes, "{id}");
        Ok(())
    }

    async fn get(&self, what: &str) -> reqwest::Result<Bytes> {
        let url = format!("{}/api/p2p/{what}", self.base);
        let answer = self.http.get(url).send().await?.error_for_status()?;
        answer.bytes().await
    }
}

/// The nth content that clients share; every second one is too long for memory.
fn shared(n: u64) -> Vec<u8> {
    let len = if n.is_multiple_of(2) { 2000 } else { 90_000 } + n;
    vec![b's'; usize::try_from(len).unwrap()]
}

fn listed(file: &Value) -> Listed {
    Listed {
        id: file["file_id"].as_str().unwrap().to_owned(),
        name: file["original_name"].as_str().unwrap().to_owned(),
        hash: file["hash"].as_str().unwrap().parse().unwrap(),
        size: file["size"].as_u64().unwrap(),
    }
}
