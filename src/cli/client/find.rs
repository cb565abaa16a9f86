//! Files of the network, found by what people call them.

use reqwest::{Method, header};
use serde::{Deserialize, Serialize};

use super::api::Api;
use super::failure::Failure;
use super::output::{field, plain, size};
use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// How many files are asked for at once; the most that a node tells.
const PAGE: &str = "1000";

/// A file as the node tells of it, with the keys that it uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct File {
    #[serde(rename = "file_id")]
    pub(super) id: String,
    pub(super) original_name: String,
    pub(super) size: u64,
    pub(super) hash: Option<String>,
    pub(super) uploaded_at: String,
    /// Who holds it, in lists of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) peers: Vec<String>,
    /// Those of them that answer now; older nodes do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reachable_peers: Option<Vec<String>>,
}

/// A page of a list of the node.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) files: Vec<File>,
    pub(super) next: Option<String>,
}

/// Which list of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// What the node itself holds.
    Here,
    /// What everybody holds.
    Network,
}

impl Where {
    fn path(self) -> &'static str {
        match self {
            Self::Here => "/api/p2p/files",
            Self::Network => "/api/p2p/network",
        }
    }
}

impl File {
    /// Its hash, where it has one.
    pub(super) fn hash(&self) -> Option<BlobHash> {
        self.hash.as_deref()?.parse().ok()
    }

    /// Fails unless its ids and its hash are such: they become parts of paths.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let is_hash = |it: &String| it.parse::<BlobHash>().is_ok();
        let is_id = |it: &String| it.parse::<PeerId>().is_ok();
        let has_id =
            self.id.parse::<FileId>().is_ok() || (self.id.is_empty() && self.hash.is_some());
        if has_id && self.hash.iter().all(is_hash) && self.peers.iter().all(is_id) {
            return Ok(());
        }
        Err(Failure::Nonsense("an id or a hash is none"))
    }

    /// What tells it from others of its name.
    fn line(&self) -> String {
        let (id, at, name) = (&self.id, &self.uploaded_at, &self.original_name);
        let (id, at, name) = (field(id), field(at), plain(name));
        format!("{id}  {}  {at}  {name}", size(self.size))
    }
}

/// What was asked for means all of these.
pub(super) fn several(wanted: &str, found: &[File]) -> Failure {
    Failure::Ambiguous(wanted.to_owned(), found.iter().map(File::line).collect())
}

impl Api {
    /// One page of a list, behind `after`; of files whose names hold `name`.
    pub(super) async fn page(
        &self,
        list: Where,
        name: Option<&str>,
        after: Option<&str>,
    ) -> Result<Page, Failure> {
        let mut query = vec![("limit", PAGE)];
        query.extend(name.map(|name| ("name", name)));
        query.extend(after.map(|after| ("after", after)));
        let page: Page = self.get(list.path(), &query).await?;
        match &page.next {
            // Pages would never end. One without files only says where to look on.
            Some(next) if Some(next.as_str()) == after => {
                Err(Failure::Nonsense("a page leads to itself"))
            }
            _ => Ok(page),
        }
    }

    /// The files that `wanted` means, an id, a hash or a whole name.
    pub(super) async fn find(&self, list: Where, wanted: &str) -> Result<Vec<File>, Failure> {
        let mut found = Vec::new();
        if let Ok(id) = wanted.parse::<FileId>() {
            found = self.with_id(list, id).await?;
        } else if wanted.parse::<BlobHash>().is_ok() {
            found = match list {
                Where::Here => {
                    self.all(list, None, |it| it.hash.as_deref() == Some(wanted))
                        .await?
                }
                // Whose list may be long; but anybody's content is asked for by its hash.
                Where::Network => self.content(wanted).await?.into_iter().collect(),
            };
        }
        // A name may look like an id or a hash.
        if found.is_empty() {
            found = self
                .all(list, Some(wanted), |it| it.original_name == wanted)
                .await?;
        }
        if found.is_empty() {
            return Err(Failure::NotFound(wanted.to_owned()));
        }
        Ok(found)
    }

    /// The one content that `wanted` means, as the newest of its files.
    pub(super) async fn find_one(&self, list: Where, wanted: &str) -> Result<File, Failure> {
        let mut found = self.find(list, wanted).await?;
        let differ = found.windows(2).any(|two| match two {
            [a, b] => a.hash.is_none() || a.hash != b.hash,
            _ => false,
        });
        if differ {
            return Err(several(wanted, &found));
        }
        let file = found.pop();
        let file = file.ok_or_else(|| Failure::NotFound(wanted.to_owned()))?;
        file.check()?;
        Ok(file)
    }

    async fn with_id(&self, list: Where, id: FileId) -> Result<Vec<File>, Failure> {
        // Lists are in the order of their ids.
        let before = id.before().map(|it| it.to_string());
        let query = [("limit", "10")];
        let after = before.as_deref().map(|it| ("after", it));
        let query: Vec<_> = query.into_iter().chain(after).collect();
        let page: Page = self.get(list.path(), &query).await?;
        let id = id.to_string();
        Ok(page.files.into_iter().filter(|it| it.id == id).collect())
    }

    /// Content that somebody holds, called by its hash.
    async fn content(&self, hash: &str) -> Result<Option<File>, Failure> {
        let path = format!("/api/p2p/blob/{hash}");
        let answer = match self.send(self.request(Method::HEAD, &path)).await {
            Ok(answer) => answer,
            Err(failure) if failure.is_gone() => return Ok(None),
            // The answer to a HEAD has no body that would tell why.
            Err(_) => self.send(self.request(Method::GET, &path)).await?,
        };
        let length = answer.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|it| it.to_str().ok()?.parse().ok());
        Ok(Some(File {
            id: String::new(),
            original_name: hash.to_owned(),
            size: length.unwrap_or(0),
            hash: Some(hash.to_owned()),
            uploaded_at: String::new(),
            peers: Vec::new(),
            reachable_peers: None,
        }))
    }

    async fn all(
        &self,
        list: Where,
        name: Option<&str>,
        is_wanted: impl Fn(&File) -> bool,
    ) -> Result<Vec<File>, Failure> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(list, name, after.as_deref()).await?;
            found.extend(page.files.into_iter().filter(&is_wanted));
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }
}
