//! Checking backups: all that is there is read and proven, and all that they name has to be there.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use tokio::sync::mpsc;

use super::directory::{CONTENTS, problem};
use super::moments::MOMENTS;
use super::{BackupError, Backups, Moment};
use crate::blob::local::problems_of_packs;
use crate::blocking;
use crate::hash::BlobHash;
use crate::index::Totals;
use crate::record::FileId;
use crate::store::{Finding, check_contents};

/// Checks a directory of backups that nobody uses; sends each finding as it comes, and returns how
/// much there is: files of the newest backup, and contents of all. Takes as long as reading
/// everything once. Where nothing can be written, nothing is changed there.
pub async fn verify(dir: &Path, findings: mpsc::Sender<Finding>) -> Result<Totals, BackupError> {
    let (at, telling) = (dir.to_owned(), findings.clone());
    let backups = blocking::run(move || {
        if let Some((path, problem)) = problem(&at) {
            let _ = telling.blocking_send(Finding::File(path, problem.to_owned()));
        }
        // Before they are opened, which mends files about packs.
        for (path, problem) in problems_of_packs(&at.join(CONTENTS))? {
            // Who no longer listens does not want to know.
            let _ = telling.blocking_send(Finding::File(path, problem));
        }
        Backups::open_existing(&at)
    });
    let backups = backups.await?;
    let checking = Checking {
        backups: &backups,
        findings: &findings,
    };
    checking.check().await
}

struct Checking<'a> {
    backups: &'a Backups,
    findings: &'a mpsc::Sender<Finding>,
}

impl Checking<'_> {
    async fn check(&self) -> Result<Totals, BackupError> {
        let (mut moments, mut knows_needs) = (Vec::new(), true);
        for found in self.backups.moments().await? {
            match found.moment {
                Ok(moment) => moments.push(moment),
                Err(error) => {
                    knows_needs = false;
                    self.tell_damaged(error).await;
                }
            }
        }
        let mut needed = BTreeMap::new();
        for list in moments.iter().flat_map(|it| &it.lists) {
            if needed.insert(list.hash, list.size).is_some() {
                continue;
            }
            match self.backups.files_of(*list).await {
                Ok(files) => {
                    let there = files.iter().filter(|it| !it.lacks);
                    needed.extend(there.map(|it| (it.hash, it.size)));
                }
                Err(error) => {
                    knows_needs = false;
                    // Of one that is damaged it is told below which.
                    if !error.is_damage() {
                        self.tell(Finding::Unchecked(error.to_string())).await;
                    }
                }
            }
        }
        let newest = moments.last();
        if newest.is_none() && knows_needs {
            let path = self.backups.files.dir.join(MOMENTS);
            let problem = "there is no backup in it".to_owned();
            self.tell(Finding::File(path, problem)).await;
        }
        if let Some(lacking) = newest.filter(|it| it.lacking > 0) {
            let path = self.backups.files.path_of(lacking.number);
            let problem = format!(
                "the newest backup lacks the content of {} of its {} files, which nobody had whole",
                lacking.lacking, lacking.files
            );
            self.tell(Finding::File(path, problem)).await;
        }
        let totals = Totals {
            files: newest.map_or(0, |it| it.files),
            bytes: newest.map_or(0, |it| it.bytes),
            blobs: needed.len() as u64,
            blob_bytes: needed.values().sum(),
            ..Totals::default()
        };
        let needed = needed.into_iter().collect();
        let contents = &self.backups.contents;
        let broken = check_contents(contents, self.findings, needed, knows_needs).await;
        if !broken.is_empty() {
            self.tell_files(&moments, &broken).await;
        }
        Ok(totals)
    }

    /// Tells which files have a content that is damaged or missing, each once.
    async fn tell_files(&self, moments: &[Moment], broken: &HashSet<BlobHash>) {
        let (mut seen, mut told) = (HashSet::new(), HashSet::<FileId>::new());
        for moment in moments {
            for list in moment.lists.iter().filter(|it| seen.insert(it.hash)) {
                let Ok(files) = self.backups.files_of(*list).await else {
                    let path = self.backups.files.path_of(moment.number);
                    let problem = format!(
                        "a piece of its list of files is lost ({}): a later backup has it where the \
                         node has the same files still; --keep gives this one up",
                        list.hash
                    );
                    self.tell(Finding::File(path, problem)).await;
                    continue;
                };
                for file in files {
                    if broken.contains(&file.hash) && !file.lacks && told.insert(file.id) {
                        let (id, name, hash) = (file.id, file.name, file.hash);
                        self.tell(Finding::FileConcerned { id, name, hash }).await;
                    }
                }
            }
        }
    }

    async fn tell_damaged(&self, error: BackupError) {
        self.tell(match error {
            BackupError::Damaged { path, detail } => {
                Finding::File(path, format!("damaged: {detail}"))
            }
            error => Finding::Unchecked(error.to_string()),
        })
        .await;
    }

    async fn tell(&self, finding: Finding) {
        // Who no longer listens does not want to know.
        let _ = self.findings.send(finding).await;
    }
}
