//! Which files of a backup are meant.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::client::failure::Failure;
use crate::cli::client::pattern::{Match, Pattern};
use crate::cli::client::wanted::Wanted;
use crate::file_line::FileLine;
use crate::hash::BlobHash;
use crate::name_form;

/// The files that are meant; all where none are named.
pub(super) struct Names(Vec<Name>);

struct Name {
    text: String,
    pattern: Option<Pattern>,
    /// Whether it has meant any file.
    is_there: AtomicBool,
}

impl Names {
    pub(super) fn of(wanted: &[Wanted]) -> Self {
        let names = wanted.iter().map(|it| Name {
            text: it.to_string(),
            pattern: Pattern::of(it),
            is_there: AtomicBool::new(false),
        });
        Self(names.collect())
    }

    /// By what others are told from them; None where all are meant.
    pub(super) fn hash(&self) -> Option<BlobHash> {
        let texts: Vec<_> = self.0.iter().map(|it| it.text.as_str()).collect();
        (!texts.is_empty()).then(|| BlobHash::of(texts.join("\0").as_bytes()))
    }

    /// Whether this file is meant.
    pub(super) fn mean(&self, file: &FileLine) -> bool {
        // All of them are asked, so that each knows that it has meant something.
        let means = self.0.iter().filter(|it| it.means(file)).count();
        self.0.is_empty() || means > 0
    }

    /// Fails where one of them has meant no file.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let nowhere = self
            .0
            .iter()
            .find(|it| !it.is_there.load(Ordering::Relaxed));
        match nowhere {
            None => Ok(()),
            Some(name) => Err(Failure::NotListed(format!(
                "no file of the backup has the id or the name {}, or matches it",
                name.text
            ))),
        }
    }
}

impl Name {
    fn means(&self, file: &FileLine) -> bool {
        let text = &self.text;
        let is_in_folder = || {
            let folder = name_form::composed(text.trim_end_matches('/'));
            let name = name_form::composed(&file.name);
            let below = name.strip_prefix(&*folder);
            below.is_some_and(|it| it.starts_with('/'))
        };
        let matches = |it: &Pattern| it.look(&file.name) == Match::Yes;
        let means = file.id.to_string() == text.to_ascii_lowercase()
            || name_form::is_same(&file.name, text)
            || is_in_folder()
            || self.pattern.as_ref().is_some_and(matches);
        if means {
            self.is_there.store(true, Ordering::Relaxed);
        }
        means
    }
}
