//! Which of several files are meant that go by one name.

use std::collections::HashSet;

use super::api::Api;
use super::batch::Batch;
use super::failure::Failure;
use super::find::{By, Found};
use super::listed::{File, Where};
use super::output::field;
use crate::name_form;

/// What to do where a name means several files.
#[derive(clap::Args)]
pub(super) struct Choice {
    /// Of several files that go by one name, take the newest.
    #[arg(long, conflicts_with = "all")]
    newest: bool,

    /// Of several files that go by one name, take all.
    #[arg(long)]
    all: bool,
}

/// What is meant by one name: all of it, or why it is not clear.
pub(super) struct Chosen {
    /// What people call it.
    pub(super) called: String,
    /// The newest first; never none.
    pub(super) files: Result<Vec<File>, Failure>,
}

impl Choice {
    /// How `wanted` means files of the network, and which contents; None where it means none or
    /// nobody can tell, which is told.
    pub(super) async fn in_network(
        &self,
        api: &Api,
        batch: &mut Batch<'_>,
        wanted: &str,
    ) -> Option<(By, Vec<Chosen>)> {
        match api.find(Where::Network, wanted).await {
            Ok(found) => Some((found.by, self.contents(wanted, found))),
            Err(failure) => {
                batch.failed(&failure, wanted);
                None
            }
        }
    }

    /// The contents that are meant, each under each of its names: of those that are alike in both
    /// the newest file stands for all.
    fn contents(&self, wanted: &str, found: Found) -> Vec<Chosen> {
        let by = found.by;
        self.choose(wanted, found, |files| {
            let mut seen = HashSet::new();
            let (mut different, mut hashes) = (Vec::new(), HashSet::new());
            // The beginning of an id means files, and that of a hash a content, whatever its name.
            let mut means_files = false;
            for file in files {
                let content = file.hash.clone().unwrap_or_else(|| file.id.clone());
                let name = name_form::composed(&file.original_name).into_owned();
                means_files |= by == By::Beginning && file.has_id_that_begins(wanted.trim());
                hashes.insert(content.clone());
                if seen.insert((name, content)) {
                    different.push(file);
                }
            }
            let is_one = different.len() == 1 || hashes.len() == 1 && !means_files;
            if is_one && !self.all {
                different.truncate(1);
            }
            (different, is_one)
        })
    }

    /// The files that are meant. Such as differ in nothing that anybody sees are one to people.
    pub(super) fn files(&self, wanted: &str, found: Found) -> Vec<Chosen> {
        self.choose(wanted, found, |files| {
            let alike = |a: &File, b: &File| {
                let same_name = name_form::is_same(&a.original_name, &b.original_name);
                same_name && a.hash == b.hash && a.description == b.description
            };
            let is_one = files.windows(2).all(|two| match two {
                [a, b] => alike(a, b),
                _ => true,
            });
            (files, is_one)
        })
    }

    /// Chooses among those of each name, of which `sift` tells what may be chosen and whether
    /// that is one to people.
    fn choose(
        &self,
        wanted: &str,
        found: Found,
        sift: impl Fn(Vec<File>) -> (Vec<File>, bool),
    ) -> Vec<Chosen> {
        let by = found.by;
        let groups = groups(wanted, found).into_iter();
        let chosen = groups.map(|(called, mut files)| {
            files.reverse();
            let (mut files, is_one) = sift(files);
            let files = if is_one && !self.newest || self.all {
                Ok(files)
            } else if is_one || self.newest && by != By::Id {
                files.truncate(1);
                Ok(files)
            } else {
                files.reverse();
                Err(unclear(by, &called, &files))
            };
            let checked = files.and_then(|files| {
                files.iter().try_for_each(File::check)?;
                Ok(files)
            });
            Chosen {
                called,
                files: checked,
            }
        });
        chosen.collect()
    }
}

/// The files of each name, in the order in which the names are found; all of them together where
/// they were asked for by something else.
fn groups(wanted: &str, Found { by, files }: Found) -> Vec<(String, Vec<File>)> {
    if !matches!(by, By::Folder | By::Pattern) {
        return vec![(wanted.to_owned(), files)];
    }
    let mut groups: Vec<(String, Vec<File>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for file in files {
        let name = name_form::composed(&file.original_name).into_owned();
        let place = *places.entry(name).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, files)) => files.push(file),
            None => groups.push((file.original_name.clone(), vec![file])),
        }
    }
    groups
}

/// What was asked for means all of these.
fn unclear(by: By, wanted: &str, found: &[File]) -> Failure {
    if by == By::Id {
        // The holders do not agree which of these has this id.
        let line = |it: &File| {
            let hash = it.hash.as_deref().unwrap_or("without a hash");
            format!("{}  {}", field(hash), it.line())
        };
        return Failure::Disputed(wanted.to_owned(), found.iter().map(line).collect());
    }
    Failure::Ambiguous(wanted.to_owned(), found.iter().map(File::line).collect())
}
