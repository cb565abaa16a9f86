//! A backup that is being made.

use std::collections::HashSet;

use super::moments::List;
use super::{BackupError, Backups, Moment, lists};
use crate::disk::DiskError;
use crate::file_line::FileLine;
use crate::hash::BlobHash;

/// A backup that is being made, piece by piece of its list.
pub struct Writing<'a> {
    backups: &'a Backups,
    /// The pieces of lists of the backups that there are.
    known: HashSet<BlobHash>,
    lists: Vec<List>,
    files: u64,
    bytes: u64,
    lacking: u64,
}

impl Backups {
    /// Begins a backup.
    pub async fn begin(&self) -> Result<Writing<'_>, BackupError> {
        let moments = self.on_disk(|it| {
            it.note_unfinished()?;
            it.all()
        });
        let moments = moments.await?.into_iter().filter_map(|it| it.moment.ok());
        // Where something is known to be damaged, all is looked at, so that it comes anew.
        let trusted = self.broken.is_empty();
        let lists = moments.filter(|_| trusted).flat_map(|it| it.lists);
        Ok(Writing {
            backups: self,
            known: lists.map(|it| it.hash).collect(),
            lists: Vec::new(),
            files: 0,
            bytes: 0,
            lacking: 0,
        })
    }

    /// Whether a backup was begun of which something may be left that none needs.
    pub async fn has_unfinished(&self) -> Result<bool, BackupError> {
        self.on_disk(|it| Ok(it.has_unfinished())).await
    }
}

impl Writing<'_> {
    /// Whether a backup that there is has this very piece of the list, and the contents of these
    /// files are there still. Nothing of them is read.
    pub async fn knows(&self, files: &[FileLine]) -> Result<bool, BackupError> {
        let written = lists::written(files);
        if !written.is_ok_and(|it| self.known.contains(&BlobHash::of(&it))) {
            return Ok(false);
        }
        let contents = files.iter().map(|it| (it.hash, it.size)).collect();
        Ok(self.backups.contents.has_all(contents).await?)
    }

    /// Adds a piece of the list, whose contents are there.
    pub async fn add(&mut self, files: &[FileLine]) -> Result<(), BackupError> {
        let text = lists::written(files);
        let failed = |e: serde_json::Error| DiskError::new("write", self.backups.dir(), e.into());
        let text = text.map_err(failed)?;
        let (hash, size) = (BlobHash::of(&text), text.len() as u64);
        if !self.backups.has(&hash, size).await? {
            let mut receiving = self.backups.receive().await?;
            receiving.write(text.into()).await?;
            self.backups.keep(receiving.finish().await?).await?;
        }
        self.lists.push(List { hash, size });
        self.files += files.len() as u64;
        self.bytes += files.iter().map(|it| it.size).sum::<u64>();
        self.lacking += files.iter().filter(|it| it.lacks).count() as u64;
        Ok(())
    }

    /// Writes the backup down, of the node `peer_id` as it was at `at`, in milliseconds since
    /// 1970. Ok means that it is durable, and whole.
    pub async fn end(self, peer_id: String, at: i64) -> Result<Moment, BackupError> {
        let moment = Moment {
            number: 0,
            peer_id,
            at,
            files: self.files,
            bytes: self.bytes,
            lacking: self.lacking,
            lists: self.lists,
        };
        self.backups
            .on_disk(move |it| {
                let number = it.add(&moment)?;
                Ok(Moment { number, ..moment })
            })
            .await
    }
}
