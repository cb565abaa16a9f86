//! Files of the network, found by what people call them.

use std::cell::Cell;
use std::collections::HashSet;

use reqwest::{Method, header};
use serde::Deserialize;

use super::api::Api;
use super::failure::Failure;
use super::listed::{File, Where};
use super::output::field;
use super::pages::{Limits, Pages};
use super::pattern::{Match, Pattern, literal};
use crate::hash::BlobHash;
use crate::name_form;
use crate::record::FileId;

/// The shortest beginning of an id or a hash that means something, in digits.
const SHORTEST: usize = 4;
/// From how many digits on nobody makes a content whose hash begins with given ones.
const UNFORGEABLE: usize = 16;

/// The beginning of a list of the node.
#[derive(Deserialize)]
struct Beginning {
    files: Vec<File>,
}

/// How a text means files.
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

/// What a text means that is a pattern, or the beginning of an id or a hash; perhaps nothing.
struct Matching {
    found: Found,
    /// Whether no other node can have made it mean this.
    is_certain: bool,
    /// Whether it matches nothing but folders.
    only_folders: bool,
}

impl Found {
    fn of(by: By, files: Vec<File>) -> Self {
        Self { by, files }
    }

    /// Whether all that it has another has, too.
    fn is_within(&self, other: &Self) -> bool {
        let has = |file: &File| other.files.iter().any(|it| it.id == file.id);
        self.files.iter().all(has)
    }
}

impl Matching {
    fn of(by: By, files: Vec<File>) -> Self {
        Self {
            found: Found::of(by, files),
            is_certain: false,
            only_folders: false,
        }
    }
}

impl By {
    /// Whether what is found so keeps its folders.
    pub(super) fn has_paths(self) -> bool {
        matches!(self, Self::Folder | Self::Pattern)
    }
}

impl Api {
    /// The files that `wanted` means: by its id or its hash, or else by what this node calls its
    /// own files and folders, or else by anything else that is clear. Whoever gives a file of
    /// another node its name does not decide what a text means that may be something else.
    pub(super) async fn find(&self, list: Where, wanted: &str) -> Result<Found, Failure> {
        if let Some(found) = self.exactly(list, wanted).await? {
            return Ok(found);
        }
        let (named, inside) = self.named(list, wanted).await?;
        let (by_name, by_folder) = (Found::of(By::Name, named), Found::of(By::Folder, inside));
        let is_own = |it: &Found| list == Where::Here || it.files.iter().any(File::is_own);
        if is_own(&by_name) && !by_name.files.is_empty() {
            return Ok(by_name);
        }
        if is_own(&by_folder) && !by_folder.files.is_empty() {
            return Ok(by_folder);
        }
        let of_others = [by_name, by_folder];
        if is_exact(wanted) {
            return Err(match all_of(of_others) {
                files if files.is_empty() => Failure::NotFound(wanted.to_owned()),
                files => Failure::OnlyCalledSo(wanted.to_owned(), told(&files)),
            });
        }
        let matching = self.matching(list, wanted).await?;
        if matching.is_certain && !matching.found.files.is_empty() {
            return Ok(matching.found);
        }
        let [by_name, by_folder] = of_others;
        let is_pattern = matching.found.by == By::Pattern;
        match clear(wanted, vec![matching.found, by_name, by_folder]) {
            Err(Failure::NotFound(wanted)) if matching.only_folders => {
                Err(Failure::OnlyFolders(wanted))
            }
            Err(Failure::NotFound(wanted)) if is_pattern => Err(Failure::NoMatch(wanted)),
            found => found,
        }
    }

    /// The files with this id or this hash, if `wanted` is one.
    async fn exactly(&self, list: Where, wanted: &str) -> Result<Option<Found>, Failure> {
        let found = if let Ok(id) = spelled(wanted).parse::<FileId>() {
            let mut files = self.with_id(list, id).await?;
            // Older nodes list of files that are one to people the first only.
            if files.is_empty() && list == Where::Network {
                files = self.with_id(Where::Here, id).await?;
            }
            Found::of(By::Id, files)
        } else if let Some(hash) = hash_of(wanted) {
            Found::of(By::Hash, self.with_hash(list, &hash).await?)
        } else {
            return Ok(None);
        };
        Ok(Some(found).filter(|it| !it.files.is_empty()))
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
    async fn matching(&self, list: Where, wanted: &str) -> Result<Matching, Failure> {
        if let Some(pattern) = Pattern::of(wanted) {
            let folder_matches = Cell::new(false);
            let matches = |it: &File| {
                let look = pattern.look(&it.original_name);
                folder_matches.set(folder_matches.get() || look == Match::FolderAlone);
                look == Match::Yes
            };
            let files = self.all(list, literal(wanted), matches).await?;
            return Ok(Matching {
                only_folders: files.is_empty() && folder_matches.get(),
                ..Matching::of(By::Pattern, files)
            });
        }
        let digits = wanted.trim().to_ascii_lowercase();
        let is_beginning = digits.len() >= SHORTEST
            && digits
                .bytes()
                .all(|it| it.is_ascii_hexdigit() || it == b'-');
        if !is_beginning {
            return Ok(Matching::of(By::Beginning, Vec::new()));
        }
        self.that_begin(list, &digits).await
    }

    /// The files whose id or hash begins with these digits.
    async fn that_begin(&self, list: Where, digits: &str) -> Result<Matching, Failure> {
        let mut files = self.all(list, None, |it| it.begins(digits)).await?;
        let mut is_certain = true;
        if list == Where::Network {
            // Of files that are one to people that list has only one, and this node's list all.
            let own = self.all(Where::Here, None, |it| it.begins(digits)).await?;
            let is_hash = |it: &File| !it.has_id_that_begins(digits);
            is_certain =
                !own.is_empty() || digits.len() >= UNFORGEABLE && files.iter().all(is_hash);
            let known: HashSet<_> = files.iter().map(|it| it.id.clone()).collect();
            files.extend(own.into_iter().filter(|it| !known.contains(&it.id)));
            files.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ok(Matching {
            is_certain,
            ..Matching::of(By::Beginning, files)
        })
    }

    /// These files of the network, and those that the node holds itself beside them: of files that
    /// are one to people, since name and content are the same, the network's list has only one.
    pub(super) async fn with_own_alike(&self, files: Vec<File>) -> Result<Vec<File>, Failure> {
        let look = |it: &File| {
            let name = name_form::composed(&it.original_name).into_owned();
            Some((it.hash.clone()?, name))
        };
        let looks: HashSet<_> = files.iter().filter_map(look).collect();
        let is_alike = |it: &File| look(it).is_some_and(|look| looks.contains(&look));
        // Of one name the node finds the files itself, and no long list has to be read.
        let mut names = looks.iter().map(|(_, name)| name.as_str());
        let name = names.next().filter(|first| names.all(|it| it == *first));
        let own = self.all(Where::Here, name, is_alike).await?;
        let known: HashSet<_> = files.iter().map(|it| it.id.clone()).collect();
        let more = own.into_iter().filter(|it| !known.contains(&it.id));
        let mut files: Vec<_> = files.into_iter().chain(more).collect();
        files.sort_by(|a, b| a.id.cmp(&b.id));
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
            owners: None,
            reachable_peers: None,
            reachable: None,
            damaged: None,
            own: None,
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

/// What is meant where that is clear: by one of these, of which the others have a part or nothing.
fn clear(wanted: &str, ways: Vec<Found>) -> Result<Found, Failure> {
    let has_all = |way: &Found| ways.iter().all(|other| other.is_within(way));
    let Some(meant) = ways.iter().position(has_all) else {
        return Err(Failure::Unclear(wanted.to_owned(), told(&all_of(ways))));
    };
    let meant = ways.into_iter().nth(meant);
    let meant = meant.filter(|it| !it.files.is_empty());
    meant.ok_or_else(|| Failure::NotFound(wanted.to_owned()))
}

/// All files that are meant in one way or the other, each once.
fn all_of(ways: impl IntoIterator<Item = Found>) -> Vec<File> {
    let mut seen = HashSet::new();
    let files = ways.into_iter().flat_map(|it| it.files);
    files.filter(|it| seen.insert(it.id.clone())).collect()
}

/// What tells files apart that are meant by one text: the hash of each, too.
fn told(files: &[File]) -> Vec<String> {
    let line = |it: &File| {
        let hash = it.hash.as_deref().unwrap_or("without a hash");
        format!("{}  {}", it.line(), field(hash))
    };
    files.iter().map(line).collect()
}

/// Whether a text is a whole id or a whole hash, and so never the name of a file of another node.
fn is_exact(wanted: &str) -> bool {
    spelled(wanted).parse::<FileId>().is_ok() || hash_of(wanted).is_some()
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
