//! Checking everything stored: journal, lookup database and blobs against each other.

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::directory::{Directory, DirectoryError};
use super::layout::VERSION;
use super::local::{OpenError, Options};
use super::strays::strays;
use super::trash;
use super::unwritable::unwritable;
use super::upgrade::was_cut;
use super::version::version;
use super::workshop::Workshop;
use crate::blob::local::{LocalBlobs, problems_of_packs};
use crate::blob::{BlobBackend, BlobError};
use crate::blocking;
use crate::causes::with_causes;
use crate::frozen_disk::FrozenDisk;
use crate::hash::BlobHash;
use crate::index::Totals;
use crate::index::local::{self as index, Journaled};
#[cfg(feature = "shared")]
use crate::index::postgres::Bereft;
use crate::place::Place;
use crate::record::{FileId, FileRecord};

/// One thing that is not as it should be.
#[derive(Debug)]
pub enum Finding {
    /// Between journal and lookup database.
    Index(index::IndexFinding),
    /// A file needs this blob and it is not there.
    BlobMissing(BlobHash),
    /// The blob's bytes do not have its hash.
    BlobDamaged(BlobHash),
    /// The outboard of a blob was damaged, and removed where that is not
    /// [unwritable]: it is derived when it is needed.
    OutboardDamaged(BlobHash),
    /// So many outboards were left of blobs that are gone, and removed where those are not
    /// [unwritable].
    OutboardsLeft(u64),
    /// No file needs this blob (size in bytes). The node collects it by itself after a crash.
    Orphan(BlobHash, u64),
    /// The journal tells of no file that needs this blob (size in bytes), but it is damaged or
    /// has lost changes, so the node keeps it.
    Unclaimed(BlobHash, u64),
    /// The journal has lost so many changes for good, which nobody has settled yet.
    ChangesLost(u64),
    /// Something could not be checked, for this reason; the check went on with the rest.
    Unchecked(String),
    /// What is wrong with a file that is neither content nor of the index.
    File(PathBuf, String),
    /// A file needs this blob, and the database knows its place as one that may be collected.
    #[cfg(feature = "shared")]
    NotLive(BlobHash),
    /// An object in the bucket, by its key, that no row of the database knows (size in bytes). One
    /// of the nodes removes it in time.
    #[cfg(feature = "shared")]
    Unknown(String, u64),
    /// A file whose content was told before: it is damaged or missing.
    FileConcerned {
        /// Which.
        id: FileId,
        /// What it is called.
        name: String,
        /// Its content.
        hash: BlobHash,
    },
    /// A file whose content is not to be had; where there is no row of it that is a problem of its
    /// own, and otherwise it was told with the content.
    #[cfg(feature = "shared")]
    Bereft(Bereft),
    /// Something in the storage directory, among the blobs or outboards or in the spool, that is
    /// none of larder's.
    Stray(PathBuf),
}

/// What a finding counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Something is damaged or missing, or could not be looked at.
    Problem,
    /// It is only something that nobody needs: nothing is damaged or missing by it.
    LeftOver,
    /// It follows from what was told before.
    Consequence,
}

impl Finding {
    /// What it counts as.
    pub fn weight(&self) -> Weight {
        match self {
            Self::OutboardsLeft(_) | Self::Orphan(..) | Self::Unclaimed(..) | Self::Stray(_) => {
                Weight::LeftOver
            }
            Self::FileConcerned { .. } => Weight::Consequence,
            #[cfg(feature = "shared")]
            Self::Unknown(..) => Weight::LeftOver,
            #[cfg(feature = "shared")]
            Self::Bereft(file) if !file.is_lost => Weight::Consequence,
            _ => Weight::Problem,
        }
    }
}

/// Who keeps more files in a storage directory than the store knows of.
#[derive(Debug, Clone, Copy)]
pub struct Others {
    /// What is found wrong with them. It blocks.
    pub problems: fn(&Path) -> Vec<(PathBuf, String)>,
    /// What those are called that are in no directory of their own.
    pub names: &'static [&'static str],
    /// Which files without content are notes of whoever has the store, and are not counted; None
    /// where none are.
    pub is_note: Option<fn(&FileRecord) -> bool>,
}

/// Checks a storage directory that no node uses; sends each finding as it comes
/// and returns how much there is. Takes as long as reading everything once. `others` is asked
/// for what is wrong with files that the store knows nothing of.
///
/// Where the directory is [unwritable], it stays as it is, byte for byte: the lookup database,
/// which is changed by being opened, is copied into the system's directory for temporary files.
/// There it takes up to 1 KiB for each file.
pub async fn verify(
    options: &Options,
    findings: mpsc::Sender<Finding>,
    others: Others,
) -> Result<Totals, OpenError> {
    let (opening, from_index) = (options.clone(), findings.clone());
    let opened = blocking::run(move || open(&opening, &from_index, others));
    let Opened {
        directory,
        blobs,
        journaled,
        keeps_orphans,
        workshop,
    } = opened.await?;
    let journaled = journaled.map(Arc::new);
    let totals = match &journaled {
        Some(journaled) => totals_without_notes(journaled, others).await?,
        None => Totals::default(),
    };
    if let Some(blobs) = blobs {
        let checking = Checking {
            blobs: &blobs,
            findings: &findings,
            keeps_orphans,
            knows_needs: journaled.is_some(),
            broken: Mutex::default(),
        };
        checking.check(needed(journaled.clone()).await?).await;
        checking.tell_files(journaled).await?;
    } else {
        drop(journaled);
    }
    drop((directory, workshop));
    Ok(totals)
}

/// Checks contents that something other than a storage directory needs, each with its size in
/// bytes, in the order of their hashes: reads all that is stored, and tells what is damaged,
/// missing or left over. Returns what is damaged or missing. What nobody needs is an orphan only
/// where that is known.
#[cfg(feature = "node")]
pub(crate) async fn check_contents(
    blobs: &LocalBlobs,
    findings: &mpsc::Sender<Finding>,
    needed: Vec<(BlobHash, u64)>,
    knows_needs: bool,
) -> HashSet<BlobHash> {
    let checking = Checking {
        blobs,
        findings,
        keeps_orphans: false,
        knows_needs,
        broken: Mutex::default(),
    };
    checking.check(needed).await;
    checking.broken.into_inner()
}

/// A storage directory as it is checked.
struct Opened {
    directory: Directory,
    /// None where they cannot be opened, which is told.
    blobs: Option<LocalBlobs>,
    /// None where the index cannot be read at all, which is told.
    journaled: Option<Journaled>,
    /// Whether content stays that no file needs, since a record may be lost that needs it.
    keeps_orphans: bool,
    /// Where the lookup database is copied to, if nothing can be written into the directory.
    workshop: Option<Workshop>,
}

/// Opens what can be opened and tells what cannot. Blocks for long.
fn open(
    options: &Options,
    findings: &mpsc::Sender<Finding>,
    others: Others,
) -> Result<Opened, OpenError> {
    // Who no longer listens does not want to know.
    let tell = |finding| drop(findings.blocking_send(finding));
    let unchecked = |error: &dyn Error| tell(Finding::Unchecked(with_causes(error)));
    let (directory, workshop, options) = enter(options)?;
    // Before the packs are opened, which mends files about them.
    match problems_of_packs(&options.dir) {
        Ok(problems) => told_each(problems, &tell),
        Err(error) => unchecked(&error),
    }
    told_each((others.problems)(&options.dir), &tell);
    match trash::problem(&options.dir) {
        Ok(problem) => told_each(problem.into_iter().collect(), &tell),
        Err(error) => unchecked(&error),
    }
    match strays(&options.dir, others.names) {
        Ok(strays) => strays.into_iter().for_each(|it| tell(Finding::Stray(it))),
        Err(error) => unchecked(&error),
    }
    let blobs = LocalBlobs::open(options.blobs());
    let blobs = blobs.inspect_err(|error| unchecked(error)).ok();
    let lost = index::lost_changes(&options.dir);
    if let Some(changes) = lost {
        tell(Finding::ChangesLost(changes));
    }
    let mut keeps_orphans = lost.is_some();
    let is_older = is_older(&options)?;
    let mut report = |finding| {
        if is_older && is_of_older(&finding) {
            return;
        }
        keeps_orphans |=
            matches!(&finding, index::IndexFinding::Journal(damage) if damage.gives_up);
        tell(Finding::Index(finding));
    };
    let indexing = index::Options {
        elsewhere: workshop.as_ref().map(|it| it.path().to_owned()),
        ..options.index()
    };
    let journaled = index::verify(&indexing, &mut report);
    let journaled = journaled.inspect_err(|error| unchecked(error)).ok();
    keeps_orphans |= journaled.is_none();
    Ok(Opened {
        directory,
        blobs,
        journaled,
        keeps_orphans,
        workshop,
    })
}

/// Takes a storage directory for the check, which changes nothing there where nothing can be
/// changed. Blocks.
fn enter(options: &Options) -> Result<(Directory, Option<Workshop>, Options), OpenError> {
    let mut options = options.clone();
    // A check brings no older directory up. What is none the opening tells.
    let is_older = is_older(&options).unwrap_or(false);
    if unwritable(&options.dir).is_none() && !is_older {
        let directory = Directory::open_existing(&options.dir, &options.disk)?;
        return Ok((directory, None, options));
    }
    options.disk = Arc::new(FrozenDisk);
    let directory = Directory::open_frozen(&options.dir)?;
    Ok((directory, Some(Workshop::name()), options))
}

/// Whether an older larder has written the storage directory, which a start brings up. Blocks.
fn is_older(options: &Options) -> Result<bool, OpenError> {
    let found = version(&options.dir).map_err(DirectoryError::from)?;
    let has_older_lookup = || index::has_older_lookup(&options.index());
    let is_older = found.is_some_and(|it| it < VERSION) || was_cut(&options.dir);
    Ok(is_older || has_older_lookup()?)
}

/// Whether something is found that an older larder did in another way, or not at all, and that is
/// no problem of what is stored.
fn is_of_older(finding: &index::IndexFinding) -> bool {
    match finding {
        index::IndexFinding::Unusable(_) => true,
        index::IndexFinding::Journal(damage) => !damage.gives_up && !damage.path.exists(),
        _ => false,
    }
}

fn told_each(problems: Vec<(PathBuf, String)>, tell: &dyn Fn(Finding)) {
    for (path, problem) in problems {
        tell(Finding::File(path, problem));
    }
}

/// The check of all content.
struct Checking<'a> {
    blobs: &'a LocalBlobs,
    findings: &'a mpsc::Sender<Finding>,
    keeps_orphans: bool,
    /// Whether the journal has told what files need: nothing is an orphan where it was not read.
    knows_needs: bool,
    /// What is damaged or missing: 32 bytes of memory for each.
    broken: Mutex<HashSet<BlobHash>>,
}

impl Checking<'_> {
    /// Walks what is needed and what is stored side by side, both in the order of the hashes.
    async fn check(&self, needed: Vec<(BlobHash, u64)>) {
        let mut needed = needed.into_iter().peekable();
        let mut stored = self.blobs.in_order();
        while let Some(blob) = stored.next().await {
            let Some((hash, size)) = self.or_unchecked(blob).await else {
                continue;
            };
            while let Some((missing, size)) = needed.next_if(|(next, _)| *next < hash) {
                self.tell_missing(missing, size).await;
            }
            if let Some((_, needed)) = needed.next_if(|(next, _)| *next == hash) {
                self.check_content(hash, size, needed).await;
            } else if self.knows_needs && !self.keeps_orphans {
                // How long it should be nobody knows, and nobody needs it.
                self.tell(Finding::Orphan(hash, size)).await;
            } else {
                if self.knows_needs {
                    self.tell(Finding::Unclaimed(hash, size)).await;
                }
                self.check_content(hash, size, size).await;
            }
        }
        for (missing, size) in needed {
            self.tell_missing(missing, size).await;
        }
        let swept = self.blobs.sweep().await;
        let swept = self.or_unchecked(swept).await.unwrap_or(0);
        if swept > 0 {
            self.tell(Finding::OutboardsLeft(swept)).await;
        }
        let mut strays = self.blobs.strays();
        while let Some(stray) = strays.next().await {
            if let Some(stray) = self.or_unchecked(stray).await {
                self.tell(Finding::Stray(stray)).await;
            }
        }
    }

    /// Checks content of which files need `needed` bytes, and `size` are stored. Of what has become
    /// longer nothing is read: it may have no end.
    async fn check_content(&self, hash: BlobHash, size: u64, needed: u64) {
        if size > needed {
            let is_longer = self.blobs.is_longer(hash, needed).await;
            match self.or_unchecked(is_longer).await {
                Some(true) => return self.tell(Finding::BlobDamaged(hash)).await,
                Some(false) => {}
                None => return,
            }
        }
        let looked = self.blobs.look_again(hash).await;
        match self.or_unchecked(looked).await {
            Some(true) => {}
            Some(false) => return self.tell(Finding::BlobDamaged(hash)).await,
            None => return,
        }
        let checked = self.blobs.check_outboard(hash, size).await;
        if self.or_unchecked(checked).await == Some(false) {
            self.tell(Finding::OutboardDamaged(hash)).await;
        }
    }

    /// Tells of content that is not there. What is in a shard that could not be listed may be.
    async fn tell_missing(&self, hash: BlobHash, needed: u64) {
        let size = self.blobs.size(Place::of(&hash)).await;
        match self.or_unchecked(size).await {
            Some(None) => {
                // So that a start knows of it, and does not wait for it to come back.
                let noted = self.blobs.note_missing(Place::of(&hash)).await;
                self.or_unchecked(noted).await;
                self.tell(Finding::BlobMissing(hash)).await;
            }
            Some(Some(size)) => self.check_content(hash, size, needed).await,
            None => {}
        }
    }

    /// What was found, or None where that failed, which is told.
    async fn or_unchecked<T>(&self, found: Result<T, BlobError>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                let why = with_causes(&error);
                self.tell(Finding::Unchecked(why)).await;
                None
            }
        }
    }

    /// Tells which files have a content that is damaged or missing.
    async fn tell_files(&self, journaled: Option<Arc<Journaled>>) -> Result<(), OpenError> {
        let broken = std::mem::take(&mut *self.broken.lock());
        let Some(journaled) = journaled.filter(|_| !broken.is_empty()) else {
            return Ok(());
        };
        let findings = self.findings.clone();
        let told = blocking::run(move || {
            journaled.files_of(&broken, &mut |FileRecord { id, file, .. }| {
                let (name, hash) = (file.name, file.hash);
                // Who no longer listens does not want to know.
                let _ = findings.blocking_send(Finding::FileConcerned { id, name, hash });
            })
        });
        let told = told.await;
        told.map_err(|error| OpenError::Verification(error.into()))
    }

    async fn tell(&self, finding: Finding) {
        if let Finding::BlobMissing(hash) | Finding::BlobDamaged(hash) = &finding {
            self.broken.lock().insert(*hash);
        }
        // Who no longer listens does not want to know.
        let _ = self.findings.send(finding).await;
    }
}

/// How much the files are, those left out that are notes.
async fn totals_without_notes(
    journaled: &Arc<Journaled>,
    others: Others,
) -> Result<Totals, OpenError> {
    let mut totals = journaled.totals();
    let Some(is_note) = others.is_note else {
        return Ok(totals);
    };
    let journaled = Arc::clone(journaled);
    let counted = blocking::run(move || {
        let (mut notes, nothing) = (0, HashSet::from([BlobHash::of(b"")]));
        let counted = journaled.files_of(&nothing, &mut |it| notes += u64::from(is_note(&it)));
        counted.map(|()| notes)
    });
    let notes = counted.await;
    let notes = notes.map_err(|error| OpenError::Verification(error.into()))?;
    totals.files = totals.files.saturating_sub(notes);
    totals.blobs = totals.blobs.saturating_sub(u64::from(notes > 0));
    Ok(totals)
}

/// The hash of every content that files need, in order, and its length in bytes.
async fn needed(journaled: Option<Arc<Journaled>>) -> Result<Vec<(BlobHash, u64)>, OpenError> {
    let Some(journaled) = journaled else {
        return Ok(Vec::new());
    };
    let contents = blocking::run(move || journaled.contents()).await;
    contents.map_err(|error| OpenError::Verification(error.into()))
}
