//! Telling a storage directory whose journal is gone from a new one.

use super::options::Options;
use super::seal;
use crate::index::IndexError;
use crate::index::journal::{self, Damage};

/// That the journal is gone, where the directory shows that there was one. A start that a crash
/// cut off has begun the journal before it makes anything that counts here. Blocks.
pub(super) fn of_journal(options: &Options) -> Result<Option<Damage>, IndexError> {
    let dir = options.journal().dir;
    if journal::last_number(&dir)? > 0 {
        return Ok(None);
    }
    let holds_content = || options.contents.iter().any(|it| (it.holds_any)(&it.dir));
    let shown_by = if journal::has_copy_of_last(&dir) {
        "the copy of its last batch is".to_owned()
    } else if seal::read(options) != seal::Found::Absent {
        "index.seal is".to_owned()
    } else if let Some(note) = journal::tells_of_journal(&options.journal()) {
        format!("{} is", note.display())
    } else if holds_content() {
        "content is".to_owned()
    } else {
        return Ok(None);
    };
    Ok(Some(gone(options, &shown_by)))
}

/// That no segment of the journal is there, as something else shows.
pub(super) fn gone(options: &Options, shown_by: &str) -> Damage {
    Damage {
        path: options.journal().dir,
        offset: 0,
        detail: format!(
            "its segments (0000000001.journal and so on) are missing, and {shown_by} there"
        ),
        gives_up: true,
    }
}
