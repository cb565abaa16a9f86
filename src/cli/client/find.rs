//! Files of the network, found by what people call them.

use std::cell::Cell;
use std::collections::HashSet;

use reqwest::{Method, header};
use serde::Deserialize;

use super::api::Api;
use super::failure::Failure;
use super::listed::{File, Where};
use super::pages::{Limits, Pages};
use super::pattern::{Match, Pattern, literal};
use crate::hash::BlobHash;
use crate::name_form;
use crate::record::FileId;

/// The shortest beginning of an id or a hash that means something, in digits.
const SHORTEST: usize = 4;
/// The beginning of a list of the node.
#[derive(Deserialize)]
struct Beginning {
    files: Vec<File>,
}

/// How a text means files; the first of these by which it means any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Id,
    Hash,
    /// The whole name.
    Name,
    /// The path of all that is in a folder.
    Folder,
    /// A pattern that names match, or folders.
    Pattern,
    /// The beginning of an id or a hash.
    Beginning,
}

/// What a text means, the oldest first; never nothing.
pub(super) struct Found {
    pub(super) by: By,
    pub(super) files: Vec<File>,
}

impl By {
    /// Whether what is found so keeps its folders.
    pub(super) fn has_paths(self) -> bool {
        matches!(self, Self::Folder | Self::Pattern)
    }
}

impl Api {
    /// The files that `wanted` means.
    pub(super) async fn find(&self, list: Where, wanted: &str) -> Result<Found, Failure> {
        let found = |by, files: Vec<File>| (!files.is_empty()).then_some(Found { by, files });
        if let Ok(id) = spelled(wanted).parse::<FileId>() {
            let mut files = self.with_id(list, id).await?;
            // Older nodes list of files that are one to people the first only.
            if files.is_empty() && list == Where::Network {
                files = self.with_id(Where::Here, id).await?;
            }
            if let Some(found) = found(By::Id, files) {
                return Ok(found);
            }
        } else if let Some(hash) = hash_of(wanted) {
            let files = self.with_hash(list, &hash).await?;
            if let Some(found) = found(By::Hash, files) {
                return Ok(found);
            }
        }
        // A name may look like an id, a hash or a pattern.
        let (named, inside) = self.named(list, wanted).await?;
        let found = found(By::Name, named).or_else(|| found(By::Folder, inside));
        if let Some(found) = found {
            return Ok(found);
        }
        let (by, files) = self.matching(list, wanted).await?;
        if files.is_empty() {
            return Err(Failure::NotFound(wanted.to_owned()));
        }
        Ok(Found { by, files })
    }

    async fn with_hash(&self, list: Where, hash: &str) -> Result<Vec<File>, Failure> {
        match list {
            Where::Here => self.find_listed(list, hash).await,
            // Whose list may be long; but anybody's content is asked for by its hash.
            Where::Network => Ok(self.content(hash).await?.into_iter().collect()),
        }
    }

    /// The files with this name, and those in the folder with this name.
    async fn named(&self, list: Where, wanted: &str) -> Result<(Vec<File>, Vec<File>), Failure> {
        let folder = wanted.trim_end_matches('/');
        if folder.is_empty() {
            return Ok(<_>::default());
        }
        let is_named = |it: &File| name_form::is_same(&it.original_name, wanted);
        let is_wanted = |it: &File| is_named(it) || is_in(&it.original_name, folder);
        let files = self.all(list, Some(folder), is_wanted).await?;
        Ok(files.into_iter().partition(is_named))
    }

    /// The files that match a pattern, or else those whose id or hash begins so.
    async fn matching(&self, list: Where, wanted: &str) -> Result<(By, Vec<File>), Failure> {
        if let Some(pattern) = Pattern::of(wanted) {
            let folder_matches = Cell::new(false);
            let matches = |it: &File| {
                let look = pattern.look(&it.original_name);
                folder_matches.set(folder_matches.get() || look == Match::FolderAlone);
                look == Match::Yes
            };
            let files = self.all(list, literal(wanted), matches).await?;
            if files.is_empty() && folder_matches.get() {
                return Err(Failure::OnlyFolders(wanted.to_owned()));
            }
            return Ok((By::Pattern, files));
        }
        let digits = wanted.trim().to_ascii_lowercase();
        let is_beginning = digits.len() >= SHORTEST
            && digits
                .bytes()
                .all(|it| it.is_ascii_hexdigit() || it == b'-');
        let files = if is_beginning {
            self.that_begin(list, &digits).await?
        } else {
            Vec::new()
        };
        Ok((By::Beginning, files))
    }

    /// The files whose id or hash begins with these digits.
    async fn that_begin(&self, list: Where, digits: &str) -> Result<Vec<File>, Failure> {
        let mut files = self.all(list, None, |it| it.begins(digits)).await?;
        if list == Where::Network {
            // Of files that are one to people that list has only one, and this node's list all.
            let own = self.all(Where::Here, None, |it| it.begins(digits)).await?;
            let known: HashSet<_> = files.iter().map(|it| it.id.clone()).collect();
            files.extend(own.into_iter().filter(|it| !known.contains(&it.id)));
            files.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ok(files)
    }

    /// The files of a list that have this hash.
    pub(super) async fn find_listed(&self, list: Where, hash: &str) -> Result<Vec<File>, Failure> {
        let hash = hash_of(hash);
        self.all(list, None, |it| it.hash == hash).await
    }

    pub(super) async fn with_id(&self, list: Where, id: FileId) -> Result<Vec<File>, Failure> {
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
            content_type: None,
            description: None,
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

/// The id or the hash in a text that people copy: in the URL of a file, behind the name of the hash
/// function, or with blanks around it.
fn spelled(text: &str) -> &str {
    let text = text.trim();
    if text.starts_with("http://") || text.starts_with("https://") {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let is_route = ["/file/", "/blob/", "/download/"]
            .iter()
            .any(|it| path.contains(&format!("/api/p2p{it}")));
        return match path.rsplit_once('/') {
            Some((_, last)) if is_route => last,
            _ => text,
        };
    }
    text.strip_prefix("blake3:").map_or(text, str::trim)
}

/// A hash, however it is written.
fn hash_of(text: &str) -> Option<String> {
    let hash = spelled(text)
        .to_ascii_lowercase()
        .parse::<BlobHash>()
        .ok()?;
    Some(hash.to_string())
}

/// Whether a name is one of those in a folder.
fn is_in(name: &str, folder: &str) -> bool {
    let (name, folder) = (name_form::composed(name), name_form::composed(folder));
    let below = name.strip_prefix(&*folder);
    below.is_some_and(|it| it.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_what_stands_below_it() {
        for (name, folder, inside) in [
            ("d/a", "d", true),
            ("d/e/a", "d/e", true),
            ("da", "d", false),
            ("d", "d", false),
            ("x/d/a", "d", false),
            ("cafe\u{301}/a", "caf\u{e9}", true),
        ] {
            assert_eq!(is_in(name, folder), inside, "{name} {folder}");
        }
    }
}
