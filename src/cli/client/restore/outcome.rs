//! What has come of a restoring.

use crate::cli::client::output::{self, plain};
use crate::file_line::FileLine;

/// What has come of a restoring.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Files whose content the backup lacks, or is damaged in it.
    pub(super) lost: u64,
}

impl Restored {
    /// A file cannot be restored.
    pub(super) fn lose(&mut self, file: &FileLine, why: &str) {
        self.lost += 1;
        let (name, why) = (plain(&file.name), plain(why));
        output::say(&format!("{name} ({}) is not restored: {why}", file.id));
    }
}

/// Why a file cannot be restored that the backup lacks.
pub(super) const LACKS: &str = "nobody had its content whole when the backup was made";
