//! Checking everything stored: journal, lookup database and blobs against each other.

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::directory::Directory;
use super::error::StoreError;
use super::local::{OpenError, Options};
use crate::blob::BlobBackend;
use crate::blob::local::{LocalBlobs, problems_of_packs};
use crate::blocking;
use crate::hash::BlobHash;
use crate::index::Totals;
use crate::index::local::{self as index, Journaled};

/// One thing that is not as it should be.
#[derive(Debug)]
pub enum Finding {
    /// Between journal and lookup database.
    Index(index::Finding),
    /// A file needs this blob and it is not there.
    BlobMissing(BlobHash),
    /// The blob's bytes do not have its hash.
    BlobDamaged(BlobHash),
    /// The outboard of a blob was damaged, and removed: it is derived when it is needed.
    OutboardDamaged(BlobHash),
    /// So many outboards were left of blobs that are gone, and removed.
    OutboardsLeft(u64),
    /// No file needs this blob (size in bytes). The node collects it by itself.
    Orphan(BlobHash, u64),
    /// What is wrong with a file that is neither content nor of the index.
    File(PathBuf, String),
    /// A file among the blobs or outboards that is none.
    Stray(PathBuf),
}

/// What whoever keeps more files in a storage directory finds wrong with them. It blocks.
pub type Others = fn(&Path) -> Vec<(PathBuf, String)>;

/// Checks a storage directory that no node uses; sends each finding as it comes
/// and returns how much there is. Takes as long as reading everything once. `others` is asked
/// for what is wrong with files that the store knows nothing of.
pub async fn verify(
    options: &Options,
    findings: mpsc::Sender<Finding>,
    others: Others,
) -> Result<Totals, OpenError> {
    let (opening, from_index) = (options.clone(), findings.clone());
    let opened = blocking::run(move || {
        let directory = Directory::open_existing(&opening.dir, &opening.disk)?;
        // Before the packs are opened, which mends files about them.
        let mut problems = problems_of_packs(&opening.dir)?;
        problems.extend(others(&opening.dir));
        for (path, problem) in problems {
            let _ = from_index.blocking_send(Finding::File(path, problem));
        }
        let blobs = LocalBlobs::open(opening.blobs())?;
        let mut report = |finding| {
            // Who no longer listens does not want to know.
            let _ = from_index.blocking_send(Finding::Index(finding));
        };
        let journaled = index::verify(&opening.index(), &mut report)?;
        Ok::<_, OpenError>((directory, blobs, journaled))
    });
    let (directory, blobs, journaled) = opened.await?;
    let totals = journaled.totals();
    verify_blobs(&blobs, journaled, &findings)
        .await
        .map_err(OpenError::Verification)?;
    drop(directory);
    Ok(totals)
}

/// Walks what is needed and what is stored side by side, both in the order of the hashes.
async fn verify_blobs(
    blobs: &LocalBlobs,
    journaled: Journaled,
    findings: &mpsc::Sender<Finding>,
) -> Result<(), StoreError> {
    let mut needed = needed(journaled).await?.into_iter().peekable();
    let mut stored = blobs.list();
    while let Some(blob) = stored.next().await {
        let (hash, size) = blob?;
        while let Some(missing) = needed.next_if(|next| *next < hash) {
            tell(findings, Finding::BlobMissing(missing)).await;
        }
        if needed.next_if_eq(&hash).is_none() {
            tell(findings, Finding::Orphan(hash, size)).await;
        }
        if !blobs.look_again(hash).await? {
            tell(findings, Finding::BlobDamaged(hash)).await;
        } else if !blobs.check_outboard(hash, size).await? {
            tell(findings, Finding::OutboardDamaged(hash)).await;
        }
    }
    for missing in needed {
        tell(findings, Finding::BlobMissing(missing)).await;
    }
    let swept = blobs.sweep().await?;
    if swept > 0 {
        tell(findings, Finding::OutboardsLeft(swept)).await;
    }
    let mut strays = blobs.strays();
    while let Some(stray) = strays.next().await {
        tell(findings, Finding::Stray(stray?)).await;
    }
    Ok(())
}

/// Every hash that files need, in order.
async fn needed(journaled: Journaled) -> Result<Vec<BlobHash>, StoreError> {
    Ok(blocking::run(move || journaled.hashes()).await?)
}

async fn tell(findings: &mpsc::Sender<Finding>, finding: Finding) {
    // Who no longer listens does not want to know.
    let _ = findings.send(finding).await;
}
