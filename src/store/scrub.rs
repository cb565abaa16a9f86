//! Reading all content again, so that damage shows while others still have what mends it: what is
//! stored from one end to the other, and then whether anything is missing that files need.
//!
//! What is found goes the way of all damage: whoever reads the blob remembers and reports it.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::blob::{BlobError, InOrder, Medium, Next, Position, Rereading};
use crate::causes::with_causes;
use crate::hash::BlobHash;
use crate::health::Health;
use crate::place::Place;
use crate::record::FileId;

/// For how many files it is looked at once whether their content is there.
const FILES: usize = 64;

/// How many contents that are not whole are looked at for a page.
const UNSOUND: usize = 1000;

/// How much was read of content that is behind.
const ALL: u64 = u64::MAX;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// What is stored is read.
    Contents(Position),
    /// It is looked whether the content of files is there: of those behind this one.
    Files(Option<FileId>),
    /// It is looked through what is stored beside contents.
    Beside,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Contents(Position::START)
    }
}

/// What has come of a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Contents that are whole.
    pub whole: u64,
    /// How much was read of what is whole so far, in bytes.
    pub bytes: u64,
    /// What could not be looked at, for a reason that is in the log.
    pub unchecked: u64,
    /// Files beside the contents that are damaged.
    pub problems: u64,
}

impl Step {
    /// Counts what has come of another part, too.
    pub fn add(&mut self, other: Self) {
        self.whole += other.whole;
        self.bytes += other.bytes;
        self.unchecked += other.unchecked;
        self.problems += other.problems;
    }

    /// Of whole content, so many bytes.
    fn whole(bytes: u64) -> Self {
        Self {
            whole: 1,
            bytes,
            ..Self::default()
        }
    }
}

/// Contents that are not whole.
#[derive(Debug)]
pub struct Unsound {
    /// Which, and how they are.
    pub contents: Vec<(BlobHash, Health)>,
    /// Behind which one there may be more.
    pub next: Option<BlobHash>,
}

/// All content, as it is read again.
pub struct Scrubbing {
    store: Store,
    stage: Stage,
    contents: Box<dyn InOrder>,
    /// Long content that is read now.
    open: Option<Box<dyn Rereading>>,
    has_ended: bool,
    /// Whether the log was told that something could not be looked at: where a disk is gone, that
    /// is so of all that was on it.
    has_told: AtomicBool,
    /// What is wrong with files beside the contents.
    problems: Vec<String>,
}

impl Store {
    /// Whether what is stored is on a medium that can be read again, and not in memory alone.
    pub fn can_be_scrubbed(&self) -> bool {
        self.medium().is_some()
    }

    /// What keeps the contents; None where they are in memory alone.
    pub(super) fn medium(&self) -> Option<&dyn Medium> {
        self.medium.as_deref().or_else(|| self.blobs.medium())
    }

    /// A page of the contents that files need and that are not whole, as far as has shown, in
    /// order, from the first behind `after`; and behind which the next one begins, if any does.
    pub async fn unsound(&self, after: Option<BlobHash>) -> Result<Unsound, StoreError> {
        // With those that no file needs any more.
        let found = match self.medium() {
            Some(medium) => medium.not_whole(after, UNSOUND).await,
            None => Ok(Vec::new()),
        };
        let found = found.map_err(BlobError::from)?;
        let last = found.last().map(|(hash, _)| *hash);
        let mut page = Unsound {
            next: last.filter(|_| found.len() == UNSOUND),
            contents: Vec::new(),
        };
        for (hash, health) in found {
            if self.is_needed(&hash).await? {
                page.contents.push((hash, health));
            }
        }
        Ok(page)
    }

    /// Reads all content again that files need, from its medium; None where there is none.
    pub fn scrub(&self, stage: Stage) -> Option<Scrubbing> {
        let from = match stage {
            Stage::Contents(from) => from,
            Stage::Files(_) | Stage::Beside => Position::START,
        };
        let contents = self.medium()?.in_order_from(from);
        Some(Scrubbing {
            store: self.clone(),
            stage,
            contents,
            open: None,
            has_ended: false,
            has_told: AtomicBool::new(false),
            problems: Vec::new(),
        })
    }
}

impl Scrubbing {
    /// How far it is; another one can go on from there.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Reads about `most` bytes more; None at the end.
    pub async fn next(&mut self, most: u64) -> Option<Step> {
        if self.has_ended {
            return None;
        }
        let done = match self.stage {
            Stage::Contents(at) => self.next_content(at, most).await,
            Stage::Files(after) => self.next_files(after).await,
            Stage::Beside => self.look_beside().await,
        };
        Some(done.unwrap_or_else(|error| self.failed(&error)))
    }

    /// What an error comes to. Of damage, and of what the disk does not give, whoever has met it
    /// has told.
    fn failed(&self, error: &StoreError) -> Step {
        let is_told = match error {
            StoreError::Blob(BlobError::Damaged { .. }) => true,
            StoreError::Blob(error) => error.is_unreadable(),
            _ => false,
        };
        if !is_told && !self.has_told.swap(true, Ordering::Relaxed) {
            let error = with_causes(error);
            tracing::warn!(
                error,
                "something stored, perhaps of much, cannot be read again"
            );
        }
        Step {
            unchecked: u64::from(!is_told),
            ..Step::default()
        }
    }

    async fn next_content(&mut self, at: Position, most: u64) -> Result<Step, StoreError> {
        if let Some(open) = self.open.take() {
            return self.next_part(at.place, open, most).await;
        }
        let next = self.contents.next(most).await?;
        let place = self.contents.position();
        if place != at.place {
            self.stage = Stage::Contents(Position { place, offset: 0 });
        }
        match next {
            None => {
                let medium = self.store.medium();
                self.stage = if medium.is_some_and(Medium::has_what_is_needed) {
                    Stage::Beside
                } else {
                    Stage::Files(None)
                };
                Ok(Step::default())
            }
            Some(Next::Short {
                whole,
                bytes,
                doubtful,
            }) => {
                let mut step = Step {
                    whole,
                    bytes,
                    ..Step::default()
                };
                for hash in doubtful {
                    step.add(self.look_again(&hash).await);
                }
                Ok(step)
            }
            Some(Next::Long(hash)) => match at {
                Position { offset: ALL, .. } if place == at.place => Ok(Step::default()),
                Position { offset, .. } if place == at.place => self.begin(hash, offset).await,
                _ => self.begin(hash, 0).await,
            },
        }
    }

    /// Begins with long content at this byte.
    async fn begin(&mut self, hash: BlobHash, from: u64) -> Result<Step, StoreError> {
        let store = &self.store;
        let Some(blob) = store.open_stored(&hash).await? else {
            return Ok(Step::default());
        };
        if !blob.is_size_proven().await? {
            store.check_size(&hash, &*blob).await?;
        }
        self.open = blob.reread(from);
        if self.open.is_some() {
            return Ok(Step::default());
        }
        let place = self.contents.position();
        self.stage = Stage::Contents(Position { place, offset: ALL });
        Ok(Step::whole(blob.size()))
    }

    async fn next_part(
        &mut self,
        place: Place,
        mut open: Box<dyn Rereading>,
        most: u64,
    ) -> Result<Step, StoreError> {
        let bytes = open.next(most).await?;
        let is_whole = bytes == 0;
        let offset = if is_whole { ALL } else { open.position() };
        self.stage = Stage::Contents(Position { place, offset });
        if !is_whole {
            self.open = Some(open);
        }
        Ok(Step {
            whole: u64::from(is_whole),
            bytes,
            ..Step::default()
        })
    }

    /// Looks at short content that seemed not to be whole, if files need it.
    async fn look_again(&self, hash: &BlobHash) -> Step {
        let looked = async {
            let Some(blob) = self.store.open_stored(hash).await? else {
                return Ok(Step::default());
            };
            blob.prove().await?;
            Ok(Step::whole(blob.size()))
        };
        looked.await.unwrap_or_else(|error| self.failed(&error))
    }

    /// What is wrong with files beside the contents, as far as they were looked through.
    pub fn problems(self) -> Vec<String> {
        self.problems
    }

    /// Looks through what is stored beside contents.
    async fn look_beside(&mut self) -> Result<Step, StoreError> {
        self.has_ended = true;
        self.problems = self.store.problems_beside().await?;
        for problem in &self.problems {
            tracing::error!(problem, "a file beside the contents is damaged");
        }
        Ok(Step {
            problems: self.problems.len() as u64,
            ..Step::default()
        })
    }

    /// Looks whether the content of the next files is there.
    async fn next_files(&mut self, after: Option<FileId>) -> Result<Step, StoreError> {
        // Where they cannot be listed, that will not be otherwise at once.
        self.has_ended = true;
        // With those in the trash, which may be brought back.
        let files = self.store.index.page(after, FILES).await?;
        let mut step = Step::default();
        self.has_ended = false;
        self.stage = match files.last() {
            Some(last) => Stage::Files(Some(last.id)),
            None => Stage::Beside,
        };
        for record in &files {
            if let Err(error) = self.look_for(&record.file.hash).await {
                step.add(self.failed(&error));
            }
        }
        Ok(step)
    }

    /// Finds out whether content is missing that files need.
    async fn look_for(&self, hash: &BlobHash) -> Result<(), StoreError> {
        let store = &self.store;
        let Some(content) = store.index.locate(hash).await? else {
            return Ok(());
        };
        match store.blobs.size(content.place).await {
            Ok(Some(_)) => return Ok(()),
            // What is known to be damaged or unreadable is not there to this question.
            Ok(None) if !content.is_usable() => return Ok(()),
            _ => {}
        }
        store.open_stored(hash).await.map(drop)
    }
}
