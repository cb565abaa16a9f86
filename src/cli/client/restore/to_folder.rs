//! Files of a backup in a folder, by their names.

use std::io::Write;
use std::path::Path;

use futures_util::StreamExt;
use indicatif::ProgressBar;

use super::bytes::{is_of_content, open};
use super::chosen::Names;
use super::outcome::{LACKS, Restored};
use crate::backup::{Backups, Moment};
use crate::blocking;
use crate::cli::client::failure::Failure;
use crate::cli::client::landing::{Landing, is_same, replaced, tidy};
use crate::cli::client::local_name::path;
use crate::cli::client::target::{Target, Targets};
use crate::file_line::FileLine;

/// Writes these files into `folder`; one that is there already with these very bytes stays, and
/// nothing else is replaced.
pub(super) async fn restore(
    backups: &Backups,
    moment: &Moment,
    names: &Names,
    folder: &Path,
    bar: &ProgressBar,
) -> Result<Restored, Failure> {
    let (mut targets, mut restored) = (Targets::default(), Restored::default());
    let mut lists = backups.files(moment);
    while let Some(files) = lists.next().await {
        let files = restored.of_piece(files)?;
        for file in files.into_iter().filter(|it| names.mean(it)) {
            bar.inc(file.size);
            let target = Target::new(folder.to_owned(), path(&file.name));
            let Some(target) = targets.take(&target, &file.hash.to_string()) else {
                // Another file of the backup with this name has the same content.
                restored.files += 1;
                continue;
            };
            if file.lacks {
                restored.lose(&file, LACKS);
                continue;
            }
            match write(backups, &file, &target).await {
                Ok(()) => {
                    restored.files += 1;
                    restored.bytes += file.size;
                }
                Err(failure) if is_of_content(&failure) => restored.lose(&file, &failure.told()),
                Err(Failure::Exists(path)) => restored.fail(&file, &Failure::Occupied(path)),
                Err(failure) if failure.is_of_target() || failure.is_of_path() => {
                    restored.fail(&file, &failure);
                }
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(restored)
}

async fn write(backups: &Backups, file: &FileLine, target: &Target) -> Result<(), Failure> {
    let (to, size, hash) = (target.clone(), file.size, file.hash);
    let landing = blocking::run(move || {
        let at = to.path();
        to.make_folders()?;
        match replaced(&at, false) {
            Err(Failure::Exists(_)) if is_same(&at, size, Some(hash)) => {
                // A run that was killed may have left its second name.
                tidy(&at, &hash.to_string());
                Ok(None)
            }
            Err(failure) => Err(failure),
            Ok(_) => Landing::open(&at, &hash.to_string()).map(Some),
        }
    });
    let Some(landing) = landing.await? else {
        return Ok(());
    };
    let name = file.name.clone();
    match fill(backups, file, target, &landing).await {
        Ok(()) => blocking::run(move || landing.publish(size, Some(hash), &name, false)).await,
        Err(failure) => {
            // The next run takes nothing of it for written.
            blocking::run(move || landing.discard()).await;
            Err(failure)
        }
    }
}

/// Writes the content of a file to where it lands.
async fn fill(
    backups: &Backups,
    file: &FileLine,
    target: &Target,
    landing: &Landing,
) -> Result<(), Failure> {
    let mut content = open(backups, file).await?;
    let mut writer = landing.writer(0)?;
    while let Some(piece) = content.next().await? {
        let at = target.path();
        writer = blocking::run(move || {
            let written = writer.write_all(&piece);
            Failure::of_file(&at, written).map(|()| writer)
        })
        .await?;
    }
    Ok(())
}
