//! Files of a backup in a storage directory of their own.
//!
//! They come in the order of their ids, each with its content. So what is there is always the
//! beginning, and a run that was cut off goes on behind the last file; until the end no node
//! serves the directory.

use std::fs;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::bytes::{is_of_content, open};
use super::chosen::Names;
use super::outcome::{LACKS, Restored};
use crate::backup::{Backups, Moment};
use crate::blob::Received;
use crate::causes::with_causes;
use crate::cli::client::failure::Failure;
use crate::cli::storage::{BESIDE_NODE, unchecked};
use crate::file_line::FileLine;
use crate::record::{FileId, FileRecord};
use crate::small_state::SmallState;
use crate::store::local::{LocalStore, OpenError, Options};
use crate::store::{
    self, DirectoryError, MOVING_IN, Store, StoreError, has_backups, is_storage_directory,
};

/// How many files are brought together.
const FILES: usize = 128;
/// How many contents are on their way at once.
const AT_ONCE: usize = 16;

/// Why a file is not there behind which others are.
const LEFT_BEHIND: &str = "an earlier run could not read its content in the backup, and others \
                           behind it are there; a new directory gets it, if it can be read by now";

/// Restores these files into `dir`, in which nothing is yet, or what an earlier run has brought.
pub(super) async fn restore(
    backups: &Backups,
    moment: &Moment,
    names: &Names,
    dir: &Path,
    bar: &ProgressBar,
) -> Result<Restored, Failure> {
    check(dir)?;
    let local = LocalStore::open(Options::new(dir)).await;
    let local = local.map_err(|error| not_opened(error, dir))?;
    begin(&local, moment, names, dir).await?;
    let mut restoring = Restoring {
        backups,
        store: &local.store,
        bar,
        last: last(&local.store).await?,
        restored: Restored::default(),
    };
    let mut lists = backups.files(moment);
    while let Some(files) = lists.next().await {
        let files = restoring.restored.of_piece(files)?;
        let files = files.into_iter().filter(|it| names.mean(it));
        restoring.all(files.collect()).await?;
    }
    let removed = local.state.remove(&MOVING_IN).await;
    removed.map_err(|it| not_written(&with_causes(&it)))?;
    local.store.close().await.map_err(of_store)?;
    Ok(restoring.restored)
}

/// Why a storage directory cannot be restored to, with what helps.
fn not_opened(error: OpenError, dir: &Path) -> Failure {
    let is_used = matches!(error, OpenError::Directory(DirectoryError::Locked { .. }));
    let why = format!("{:#}", unchecked(error, dir));
    if is_used {
        return Failure::NotRestored(format!("{why}; {BESIDE_NODE} [storage_in_use]"));
    }
    Failure::NotRestored(why)
}

/// Fails where something else is in the directory.
fn check(dir: &Path) -> Result<(), Failure> {
    let told = dir.display();
    if has_backups(dir) {
        let told = format!("{told} is a directory of backups; name one for the node");
        return Err(Failure::NotRestored(told));
    }
    let is_empty = fs::read_dir(dir).map_or(!dir.exists(), |mut it| it.next().is_none());
    if is_empty || is_storage_directory(dir) {
        return Ok(());
    }
    Err(Failure::NotRestored(format!("something else is in {told}")))
}

/// Notes which files of which backup are restored, so that only those go on and no node serves them
/// before their end; fails where other files are there.
async fn begin(
    local: &LocalStore,
    moment: &Moment,
    names: &Names,
    dir: &Path,
) -> Result<(), Failure> {
    let Moment {
        peer_id,
        at,
        number,
        ..
    } = moment;
    let some = names.hash().map(|it| format!(", files {it}"));
    let some = some.unwrap_or_default();
    let from = format!("backup {number} of {peer_id} at {at}{some}").into_bytes();
    let before = local.state.load(&MOVING_IN).await;
    match before.map_err(|it| not_written(&with_causes(&it)))? {
        Some(before) if before == from => return Ok(()),
        Some(_) if local.store.totals().files > 0 => {
            return Err(Failure::NotRestored(format!(
                "something else is restored into {} and is not at its end, to which the same \
                 command brings it; this needs a directory of its own",
                dir.display()
            )));
        }
        Some(_) => {}
        None if local.store.totals().files == 0 => {}
        _ => {
            return Err(Failure::NotRestored(format!(
                "files are in {} already: a backup is restored to a directory of its own",
                dir.display()
            )));
        }
    }
    let saved = local.state.save(&MOVING_IN, from).await;
    saved.map_err(|it| not_written(&with_causes(&it)))
}

async fn last(store: &Store) -> Result<Option<FileId>, Failure> {
    let last = store.page_back(None, 1).await.map_err(of_store)?;
    Ok(last.first().map(|it| it.id))
}

struct Restoring<'a> {
    backups: &'a Backups,
    store: &'a Store,
    bar: &'a ProgressBar,
    /// The last file that an earlier run has brought.
    last: Option<FileId>,
    restored: Restored,
}

impl Restoring<'_> {
    async fn all(&mut self, files: Vec<FileLine>) -> Result<(), Failure> {
        let mut files = files.into_iter().peekable();
        while files.peek().is_some() {
            let some = files.by_ref().take(FILES).collect();
            self.some(some).await?;
        }
        Ok(())
    }

    async fn some(&mut self, files: Vec<FileLine>) -> Result<(), Failure> {
        let mut coming = Vec::new();
        for file in files {
            self.bar.inc(file.size);
            if file.lacks {
                self.restored.lose(&file, LACKS);
            } else if self.last.is_none_or(|last| last < file.id) {
                coming.push(file);
            } else if self.store.get(file.id).await.map_err(of_store)?.is_some() {
                self.count(&file);
            } else {
                self.restored.lose(&file, LEFT_BEHIND);
            }
        }
        let (backups, store) = (self.backups, self.store);
        // A content that several of them have comes once for each, and is kept once.
        let bringing = stream::iter(coming).map(async |file| {
            let content = content(backups, store, &file).await;
            match content {
                Err(failure) if is_of_content(&failure) => Ok((file, Err(failure.told()))),
                Err(failure) => Err(failure),
                Ok(content) => Ok((file, Ok(content))),
            }
        });
        let brought: Vec<_> = bringing.buffered(AT_ONCE).try_collect().await?;
        let mut restored = Vec::with_capacity(brought.len());
        for (file, content) in brought {
            match content {
                Err(why) => self.restored.lose(&file, &why),
                Ok(content) => {
                    self.count(&file);
                    let record = FileRecord::from(file);
                    restored.push(store::Restored { record, content });
                }
            }
        }
        self.store.restore(restored).await.map_err(of_store)
    }

    fn count(&mut self, file: &FileLine) {
        self.restored.files += 1;
        self.restored.bytes += file.size;
    }
}

/// Reads the content of a file, which proves it; None where it is there already.
async fn content(
    backups: &Backups,
    store: &Store,
    file: &FileLine,
) -> Result<Option<Box<dyn Received>>, Failure> {
    if store.holds(&file.hash).await.map_err(of_store)? {
        return Ok(None);
    }
    let mut content = open(backups, file).await?;
    let mut receiving = store.receive().await.map_err(of_store)?;
    while let Some(piece) = content.next().await? {
        receiving.write(piece).await.map_err(of_store)?;
    }
    let received = receiving.finish().await;
    Ok(Some(received.map_err(of_store)?))
}

fn of_store(error: impl Into<StoreError>) -> Failure {
    not_written(&with_causes(&error.into()))
}

fn not_written(why: &str) -> Failure {
    Failure::NotWritten(format!(
        "not all is restored, and the next run goes on from here: {why}"
    ))
}
