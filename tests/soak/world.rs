//! What all clients share: where the nodes are, what is known of their files, and what was counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::common::http_client::http_client;
use crate::contents::Content;
use crate::model::{Files, Listed};

pub(crate) const NODES: usize = 3;
/// How long anybody waits for an answer that does not come; nothing is said by that.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many files are asked for at once.
const PAGE: usize = 40;

pub(crate) struct World {
    pub(crate) http: reqwest::Client,
    pub(crate) nodes: Mutex<[Option<SocketAddr>; NODES]>,
    pub(crate) files: [Mutex<Files>; NODES],
    /// Whether a bit was flipped on a node, so that it may refuse what it has.
    pub(crate) flipped: [AtomicBool; NODES],
    /// Whether the clients have to end.
    pub(crate) ends: AtomicBool,
    names: AtomicU64,
    pub(crate) counts: Mutex<BTreeMap<&'static str, u64>>,
}

/// What has come of a download.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// All of it, as it was asked for.
    Whole,
    /// It ended early, or never began, without a status.
    Cut,
    /// It was refused.
    Refused(StatusCode, String),
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            http: http_client(),
            nodes: Mutex::default(),
            files: Default::default(),
            flipped: Default::default(),
            ends: AtomicBool::new(false),
            names: AtomicU64::new(0),
            counts: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.counts.lock().entry(what).or_default() += 1;
    }

    pub(crate) fn has_flips(&self, node: usize) -> bool {
        self.flipped[node].load(Ordering::SeqCst)
    }

    /// A name that no other file has.
    /// A name that no file had yet, which tells how it comes to be there.
    pub(crate) fn name(&self, how: &str) -> String {
        format!("{how}-{}.bin", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A URL of a node; None while it is off.
    pub(crate) fn url(&self, node: usize, path: &str) -> Option<String> {
        let address = self.nodes.lock()[node]?;
        Some(format!("http://{address}{path}"))
    }

    /// The answer, as far as there is one.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Option<Response> {
        let answer = request.timeout(PATIENCE).send().await.ok();
        if answer.as_ref().is_none_or(|it| !it.status().is_success()) {
            self.count("requests that failed");
        }
        answer
    }

    /// What an answer says, whole; None where it is cut off, or a refusal.
    pub(crate) async fn told(&self, request: RequestBuilder) -> Option<Value> {
        let answer = self.ask(request).await?;
        if !answer.status().is_success() {
            return None;
        }
        answer.json().await.ok()
    }

    /// Downloads bytes `from` to `to` of a content, and compares them as they come.
    pub(crate) async fn read(&self, url: &str, content: Content, from: u64, to: u64) -> Read {
        let is_part = (from, to) != (0, content.size);
        let mut request = self.http.get(url);
        if is_part {
            request = request.header("Range", format!("bytes={from}-{}", to - 1));
        }
        let Some(mut answer) = self.ask(request).await else {
            return Read::Cut;
        };
        let status = answer.status();
        let expected = if is_part { 206 } else { 200 };
        if status != expected {
            assert!(!status.is_success(), "{url}: {status}");
            let why = answer.text().await.unwrap_or_default();
            return Read::Refused(status, why);
        }
        let mut at = from;
        loop {
            match answer.chunk().await {
                Ok(Some(piece)) => {
                    assert!(content.has(at, &piece), "wrong bytes at {at} of {url}");
                    at += piece.len() as u64;
                }
                Ok(None) => break,
                Err(_) => return Read::Cut,
            }
        }
        assert_eq!(at, to, "{url} ended early, as if it were whole");
        self.count("downloads compared");
        Read::Whole
    }

    /// All that a node lists, page by page; None where an answer does not come.
    pub(crate) async fn list(&self, node: usize) -> Option<Vec<Listed>> {
        let mut all = Vec::<Listed>::new();
        loop {
            let after = all.last().map(|it| format!("&after={}", it.id));
            let after = after.unwrap_or_default();
            let url = self.url(node, &format!("/api/p2p/files?limit={PAGE}{after}"))?;
            let page = self.told(self.http.get(url)).await?;
            let page = page["files"].as_array().unwrap();
            all.extend(page.iter().map(Listed::of));
            if page.is_empty() {
                self.count("listings");
                return Some(all);
            }
        }
    }
}
