//! Files of the network, found by what people call them.

use reqwest::{Method, header};
use serde::Deserialize;

use super::api::Api;
use super::failure::Failure;
use super::listed::{File, Where};
use super::output::field;
use super::pages::{Limits, Pages};
use crate::hash::BlobHash;
use crate::record::FileId;

/// The beginning of a list of the node.
#[derive(Deserialize)]
struct Beginning {
    files: Vec<File>,
}

/// What was asked for means all of these.
pub(super) fn several(wanted: &str, found: &[File]) -> Failure {
    Failure::Ambiguous(wanted.to_owned(), found.iter().map(File::line).collect())
}

/// The holders do not agree which of these has this id.
fn disputed(wanted: &str, found: &[File]) -> Failure {
    let line = |it: &File| {
        let hash = it.hash.as_deref().unwrap_or("without a hash");
        format!("{}  {}", field(hash), it.line())
    };
    Failure::Disputed(wanted.to_owned(), found.iter().map(line).collect())
}

impl Api {
    /// The files that `wanted` means, an id, a hash or a whole name.
    pub(super) async fn find(&self, list: Where, wanted: &str) -> Result<Vec<File>, Failure> {
        let mut found = Vec::new();
        if let Ok(id) = wanted.parse::<FileId>() {
            found = self.with_id(list, id).await?;
            // Older nodes list of files that are one to people the first only.
            if found.is_empty() && list == Where::Network {
                found = self.with_id(Where::Here, id).await?;
            }
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
        if found.len() > 1 && found.iter().all(|it| it.has_id(wanted)) {
            return Err(disputed(wanted, &found));
        }
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
        let (before, id) = (id.before().map(|it| it.to_string()), id.to_string());
        let mut query = vec![("limit", "10")];
        if list == Where::Network {
            query.push(("id", &id));
        }
        // Lists are in the order of their ids; older nodes find one of the network by that alone.
        query.extend(before.as_deref().map(|it| ("after", it)));
        let page: Beginning = self.get(list.path(), &query).await?;
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
            reachable: None,
            damaged: None,
        }))
    }

    /// What content is called: as the first of its files is in the list of the network, or by
    /// its hash where that is not among what is listed soon.
    pub(super) async fn name_of(&self, hash: &str) -> Result<String, Failure> {
        let mut pages = Pages::of(self, Where::Network, None, Limits::NAMING);
        loop {
            match pages.next().await {
                Ok(Some(files)) => {
                    let mut files = files.into_iter();
                    if let Some(file) = files.find(|it| it.hash.as_deref() == Some(hash)) {
                        return Ok(file.original_name);
                    }
                }
                Ok(None) | Err(Failure::Endless(..)) => return Ok(hash.to_owned()),
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn all(
        &self,
        list: Where,
        name: Option<&str>,
        is_wanted: impl Fn(&File) -> bool,
    ) -> Result<Vec<File>, Failure> {
        let mut pages = Pages::of(self, list, name, Limits::LOOKING);
        let mut found = Vec::new();
        while let Some(files) = pages.next().await? {
            found.extend(files.into_iter().filter(&is_wanted));
        }
        Ok(found)
    }
}
