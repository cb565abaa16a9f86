//! One client: requests of every kind, one after the other, to any node, until it has to end.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::common::random::Random;
use crate::contents::Content;
use crate::world::{NODES, Read, World};

/// With so many files a node has more removed than uploaded.
const MANY_FILES: usize = 120;
const PIECE: usize = 40_000;

pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) random: Random,
}

impl Client {
    pub(crate) async fn run(mut self) {
        while !self.world.ends.load(Ordering::SeqCst) {
            let node = usize::try_from(self.random.below(NODES as u64)).unwrap();
            if self.step(node).await.is_none() {
                // The node is off, or nothing came of it.
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    async fn step(&mut self, node: usize) -> Option<()> {
        let many = self.world.files[node].lock().there.len() > MANY_FILES;
        match self.random.below(100) {
            0..30 if many => self.remove(node).await,
            0..8 => self.upload_form(node).await,
            8..24 => self.upload_raw(node).await,
            24..30 => self.break_off(node).await,
            30..38 => self.upload_in_parts(node).await,
            38..54 => self.read(node).await,
            54..60 => self.read_by_hash(node).await,
            60..70 => self.read_elsewhere(node).await,
            70..80 => self.remove(node).await,
            80..88 => self.keep(node).await,
            88..93 => self.ask_after_copy(node).await,
            _ => self.walk(node).await,
        }
    }

    /// A name and a content that are about to be uploaded.
    pub(crate) fn asks(&mut self, node: usize, how: &str, whole: bool) -> (String, Content) {
        let (name, content) = (self.world.name(how), Content::any(&mut self.random));
        self.world.files[node].lock().asks(&name, content, whole);
        (name, content)
    }

    /// Sends an upload of which all bytes go, and notes what is answered.
    async fn uploads(&self, node: usize, request: RequestBuilder, name: &str) -> Option<()> {
        let told = self.world.told(request).await?;
        let file = &told["file"];
        assert_eq!(file["original_name"], name);
        let mut files = self.world.files[node].lock();
        files.knows(&crate::model::Listed::of(file));
        files.came(name, file["file_id"].as_str().unwrap());
        drop(files);
        self.world.count("uploads acknowledged");
        Some(())
    }

    async fn upload_form(&mut self, node: usize) -> Option<()> {
        let url = self.world.url(node, "/api/p2p/upload")?;
        let (name, content) = self.asks(node, "form", true);
        let part = Part::bytes(content.bytes()).file_name(name.clone());
        let form = Form::new().part("file", part);
        let request = self.world.http.post(url).multipart(form);
        self.uploads(node, request, &name).await
    }

    /// The bytes alone, with their length or without.
    async fn upload_raw(&mut self, node: usize) -> Option<()> {
        let url = self.world.url(node, "/api/p2p/upload/")?;
        let (name, content) = self.asks(node, "raw", true);
        let bytes = content.bytes();
        let body = if self.random.below(2) == 0 {
            Body::from(bytes)
        } else {
            let pieces: Vec<_> = bytes.chunks(PIECE).map(Bytes::copy_from_slice).collect();
            Body::wrap_stream(stream::iter(pieces.into_iter().map(io::Result::Ok)))
        };
        let request = self.world.http.put(format!("{url}{name}")).body(body);
        self.uploads(node, request, &name).await
    }

    /// An upload that the client gives up in the middle: no file may come of it.
    async fn break_off(&mut self, node: usize) -> Option<()> {
        let url = self.world.url(node, "/api/p2p/upload/")?;
        let (name, content) = self.asks(node, "broken", false);
        let bytes = content.bytes();
        let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
        let pieces = [Ok(half), Err(io::Error::other("given up"))];
        let request = self.world.http.put(format!("{url}{name}"));
        let request = request.body(Body::wrap_stream(stream::iter(pieces)));
        let answer = self.world.ask(request).await;
        assert!(answer.is_none_or(|it| !it.status().is_success()), "{name}");
        self.world.count("uploads given up");
        Some(())
    }

    /// A file of the node's own, or a range of it, by its id.
    async fn read(&mut self, node: usize) -> Option<()> {
        let (id, content) = self.world.files[node].lock().any(&mut self.random)?;
        let url = self.world.url(node, &format!("/api/p2p/file/{id}"))?;
        let (from, to) = self.range(content);
        let read = self.world.read(&url, content, from, to).await;
        let is_there = self.world.files[node].lock().there.contains_key(&id);
        if let Read::Refused(status, why) = read
            && matches!(status.as_u16(), 404 | 500)
            && is_there
        {
            assert!(self.world.has_flips(node), "{url}: {status} {why}");
            self.world.count("downloads refused for a flipped bit");
        }
        Some(())
    }

    fn range(&mut self, content: Content) -> (u64, u64) {
        if content.size == 0 || self.random.below(2) == 0 {
            return (0, content.size);
        }
        let from = self.random.below(content.size);
        (from, from + 1 + self.random.below(content.size - from))
    }

    /// A content of a node by its hash, which other nodes fetch from there.
    async fn read_by_hash(&mut self, node: usize) -> Option<()> {
        let (_, content) = self.world.files[node].lock().any(&mut self.random)?;
        let by = usize::try_from(self.random.below(NODES as u64)).unwrap();
        let url = format!("/api/p2p/blob/{}", content.hash);
        let url = self.world.url(by, &url)?;
        let (from, to) = self.range(content);
        self.world.read(&url, content, from, to).await;
        Some(())
    }

    /// A file of a node by another one, which may not know of it or not reach it.
    async fn read_elsewhere(&mut self, node: usize) -> Option<()> {
        let (id, content) = self.world.files[node].lock().any(&mut self.random)?;
        let by = usize::try_from(self.random.below(NODES as u64)).unwrap();
        let url = self.world.url(by, &format!("/api/p2p/file/{id}"))?;
        let (from, to) = self.range(content);
        self.world.read(&url, content, from, to).await;
        Some(())
    }

    async fn remove(&mut self, node: usize) -> Option<()> {
        let id = self.world.files[node].lock().removes(&mut self.random)?;
        let url = self.world.url(node, &format!("/api/p2p/file/{id}"))?;
        let answer = self.world.ask(self.world.http.delete(url)).await?;
        if answer.status() == 200 {
            self.world.files[node].lock().removed(&id);
            self.world.count("removals acknowledged");
        } else if answer.status() == 404 {
            assert!(self.world.has_flips(node), "{id} is lost");
        }
        Some(())
    }

    /// Has a node keep a copy of what another one has.
    async fn keep(&mut self, node: usize) -> Option<()> {
        let from = usize::try_from(self.random.below(NODES as u64)).unwrap();
        let (_, content) = self.world.files[from].lock().any(&mut self.random)?;
        let url = self.world.url(node, "/api/p2p/keep")?;
        let name = self.world.name("kept");
        self.world.files[node].lock().asks(&name, content, true);
        let wanted = json!({ "hash": content.hash.to_string(), "original_name": name });
        let told = self.world.told(self.world.http.post(url).json(&wanted));
        self.kept(node, content, &told.await?["keep"]);
        self.world.count("copies asked for");
        Some(())
    }

    async fn ask_after_copy(&mut self, node: usize) -> Option<()> {
        let from = usize::try_from(self.random.below(NODES as u64)).unwrap();
        let (_, content) = self.world.files[from].lock().any(&mut self.random)?;
        let url = self
            .world
            .url(node, &format!("/api/p2p/keep/{}", content.hash))?;
        let told = self.world.told(self.world.http.get(url)).await?;
        self.kept(node, content, &told["keep"]);
        Some(())
    }

    /// Notes a copy that is there by now.
    fn kept(&self, node: usize, content: Content, keep: &Value) {
        assert_eq!(keep["hash"], content.hash.to_string());
        if keep["state"] == "kept"
            && let Some(id) = keep["file_id"].as_str()
        {
            let name = keep["original_name"].as_str().unwrap();
            self.world.files[node].lock().came(name, id);
            self.world.count("copies told to be there");
        }
    }

    /// Goes along the whole list while it changes: what was there before, and is still, is met.
    async fn walk(&mut self, node: usize) -> Option<()> {
        let before: BTreeSet<_> = self.world.files[node]
            .lock()
            .there
            .keys()
            .cloned()
            .collect();
        let gone: BTreeSet<_> = {
            let files = self.world.files[node].lock();
            files.removed_ids().cloned().collect()
        };
        let listed = self.world.list(node).await?;
        let met: BTreeSet<_> = listed.iter().map(|it| it.id.clone()).collect();
        let files = self.world.files[node].lock();
        for file in &listed {
            files.knows(file);
        }
        let is_missing = |id: &&String| files.there.contains_key(*id) && !met.contains(*id);
        let missing: Vec<_> = before.iter().filter(is_missing).collect();
        let back: Vec<_> = met.intersection(&gone).collect();
        if !missing.is_empty() || !back.is_empty() {
            assert!(self.world.has_flips(node), "{missing:?} {back:?}");
        }
        Some(())
    }
}
