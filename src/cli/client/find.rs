//! Files of the network, found by what people call them.

use glob::{MatchOptions, Pattern};
use reqwest::{Method, header};
use serde::Deserialize;

use super::api::Api;
use super::failure::Failure;
use super::listed::{File, Where};
use super::pages::{Limits, Pages};
use crate::hash::BlobHash;
use crate::name_form;
use crate::record::FileId;

/// The shortest beginning of an id or a hash that means something, in digits.
const SHORTEST: usize = 4;
/// As shells match: a star ends at a slash, two do not.
const AS_SHELLS_DO: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

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
        if let Ok(id) = wanted.parse::<FileId>() {
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
        let is_pattern = wanted.contains(['*', '?', '[']);
        let composed = name_form::composed(wanted.trim_end_matches('/'));
        if let Some(pattern) = Pattern::new(&composed).ok().filter(|_| is_pattern) {
            let matches = |it: &File| matches(&pattern, &it.original_name);
            let files = self.all(list, literal(wanted), matches).await?;
            return Ok((By::Pattern, files));
        }
        let digits = wanted.to_ascii_lowercase();
        let is_beginning = digits.len() >= SHORTEST
            && digits
                .bytes()
                .all(|it| it.is_ascii_hexdigit() || it == b'-');
        let files = if is_beginning {
            self.all(list, None, |it| it.begins(&digits)).await?
        } else {
            Vec::new()
        };
        Ok((By::Beginning, files))
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

/// A hash, however it is written.
fn hash_of(text: &str) -> Option<String> {
    let hash = text.to_ascii_lowercase().parse::<BlobHash>().ok()?;
    Some(hash.to_string())
}

/// Whether a name is one of those in a folder.
fn is_in(name: &str, folder: &str) -> bool {
    let (name, folder) = (name_form::composed(name), name_form::composed(folder));
    let below = name.strip_prefix(&*folder);
    below.is_some_and(|it| it.starts_with('/'))
}

/// The longest text that every name has which matches a pattern, if that is easily told.
fn literal(pattern: &str) -> Option<&str> {
    let before_set = pattern.split('[').next().unwrap_or_default();
    let parts = before_set.split(['*', '?']);
    let longest = parts.max_by_key(|it| it.len())?;
    // Of a folder that matches, names go on with a slash; a pattern may end with one.
    let longest = longest.trim_end_matches('/');
    Some(longest).filter(|it| !it.is_empty())
}

/// Whether a name matches, or a folder that it is in.
fn matches(pattern: &Pattern, name: &str) -> bool {
    let name = name_form::composed(name);
    let folders = name.match_indices('/').map(|(at, _)| name.split_at(at).0);
    let mut all = folders.chain([&*name]);
    all.any(|it| pattern.matches_with(it, AS_SHELLS_DO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_shells_do() {
        for (pattern, name, matched) in [
            ("a*", "a.txt", true),
            ("a*", "b/a.txt", false),
            ("a*", "all/b.txt", true),
            ("*", "d/e/f", true),
            ("d/*", "d/e/f", true),
            ("d/*.jpg", "d/e/f.jpg", false),
            ("d/**/*.jpg", "d/e/f.jpg", true),
            ("?.t", "a.t", true),
            ("[ab].t", "c.t", false),
            ("[!ab].t", "c.t", true),
            ("caf\u{e9}*", "cafe\u{301}.txt", true),
        ] {
            let composed = name_form::composed(pattern);
            let found = matches(&Pattern::new(&composed).unwrap(), name);
            assert_eq!(found, matched, "{pattern} {name}");
            let literal = literal(pattern).map(name_form::folded);
            assert!(
                !matched || literal.is_none_or(|it| name_form::holds(name, &it)),
                "{pattern} {name}"
            );
        }
    }

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
