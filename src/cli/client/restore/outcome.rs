//! What has come of a restoring.

use crate::backup::BackupError;
use crate::cli::client::failure::Failure;
use crate::cli::client::output::{self, plain};
use crate::file_line::FileLine;

/// What has come of a restoring.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Files whose content the backup lacks, or is damaged in it, or that have no place here.
    pub(super) lost: u64,
    /// Pieces of the list of files that are damaged, so that nobody knows what they name.
    pub(super) lost_lists: u64,
    /// The exit status: the highest of theirs.
    pub(super) status: u8,
}

impl Restored {
    /// A file cannot be restored.
    pub(super) fn lose(&mut self, file: &FileLine, why: &str) {
        self.lost += 1;
        self.status = self.status.max(7);
        tell(file, why);
    }

    /// A file has no place where it is to be written; the others have.
    pub(super) fn fail(&mut self, file: &FileLine, failure: &Failure) {
        self.lost += 1;
        self.status = self.status.max(failure.status());
        tell(file, &failure.told());
    }

    /// The files of a piece of the list; none where it is damaged, which is told.
    pub(super) fn of_piece(
        &mut self,
        files: Result<Vec<FileLine>, BackupError>,
    ) -> Result<Vec<FileLine>, Failure> {
        match files {
            Err(error) if error.is_damage() => {
                self.lost_lists += 1;
                self.status = self.status.max(7);
                output::say(&format!(
                    "a piece of the list of files is damaged in this backup, and what it names is \
                     not restored: {}; another backup may have it (`--backup NUMBER`)",
                    plain(&error.to_string())
                ));
                Ok(Vec::new())
            }
            files => Ok(files?),
        }
    }
}

fn tell(file: &FileLine, why: &str) {
    let (name, why) = (plain(&file.name), plain(why));
    output::say(&format!("{name} ({}) is not restored: {why}", file.id));
}

/// Why a file cannot be restored that the backup lacks.
pub(super) const LACKS: &str = "nobody had its content whole when the backup was made";
