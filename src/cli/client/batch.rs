//! Several things that one command is to do: what fails of them is told, the others go on, and
//! what is missing at the end is named there once more.

use std::path::Path;

use super::failure::Failure;
use super::output::{plain, say};
use super::running::tell;

/// How many of those that failed are named at the end.
const MOST_NAMED: usize = 20;

/// What has come of them so far.
pub(super) struct Batch<'a> {
    proxy: Option<&'a str>,
    /// What becomes of each, such as "sent".
    done: &'static str,
    tried: usize,
    failed: usize,
    /// The first of those that failed.
    named: Vec<String>,
    /// How many were saved under other names than theirs.
    renamed: usize,
    /// The first of those, with the paths that they have.
    renamed_named: Vec<String>,
    /// The highest status so far.
    worst: u8,
    hopeless: bool,
    cut: bool,
}

impl<'a> Batch<'a> {
    /// Nothing yet; each is to be `done`.
    pub(super) fn new(done: &'static str, proxy: Option<&'a str>) -> Self {
        Self {
            proxy,
            done,
            tried: 0,
            failed: 0,
            named: Vec::new(),
            renamed: 0,
            renamed_named: Vec::new(),
            worst: 0,
            hopeless: false,
            cut: false,
        }
    }

    /// One went well.
    pub(super) fn succeeded(&mut self) {
        self.tried += 1;
    }

    /// One did not: it is told, with what it is called unless the failure says that itself.
    pub(super) fn failed(&mut self, failure: &Failure, called: &str) {
        // What keeps all from going well is told once.
        if !(self.hopeless && failure.is_of_every_file()) {
            tell(failure, Some(Path::new(called)), self.proxy);
        }
        self.hopeless |= failure.is_of_every_file();
        if failure.status() == 0 {
            return;
        }
        self.worst = self.worst.max(failure.status());
        self.tried += 1;
        self.failed += 1;
        if self.named.len() < MOST_NAMED {
            self.named.push(plain(called));
        }
    }

    /// What stands in the way of one, which is told to have failed by itself.
    pub(super) fn hindered(&mut self, failure: &Failure, called: &str) {
        tell(failure, Some(Path::new(called)), self.proxy);
        self.worst = self.worst.max(failure.status());
    }

    /// One went well and is here under another name than its own, which cannot be had.
    pub(super) fn renamed(&mut self, name: &str, path: &Path) {
        self.renamed += 1;
        if self.renamed_named.len() < MOST_NAMED {
            let path = plain(&path.to_string_lossy());
            self.renamed_named
                .push(format!("{} is {path}", plain(name)));
        }
    }

    /// Whether another, which there is, is to be tried: none where no other could fare better.
    pub(super) fn goes_on(&mut self) -> bool {
        self.cut |= self.hopeless;
        !self.hopeless
    }

    /// Whether no other could fare better.
    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// Whether nothing was there to do.
    pub(super) fn is_empty(&self) -> bool {
        self.tried == 0
    }

    /// The end of all.
    pub(super) fn end(self) -> Result<(), Failure> {
        if self.renamed > 0 {
            let (renamed, tried) = (self.renamed, self.tried);
            let named = first_of(&self.renamed_named, renamed);
            say(&format!(
                "saved under another name than its own, {renamed} of {tried}: {named}"
            ));
        }
        if self.failed > 0 && self.tried > 1 {
            let named = first_of(&self.named, self.failed);
            let (failed, tried, done) = (self.failed, self.tried, self.done);
            say(&format!("not {done}, {failed} of {tried}: {named}"));
        }
        if self.cut {
            say(&format!("the files after these are not {}", self.done));
        }
        match self.worst {
            0 => Ok(()),
            worst => Err(Failure::Told(worst)),
        }
    }
}

/// The first of so many.
fn first_of(named: &[String], all: usize) -> String {
    let first = named.join(", ");
    match all.checked_sub(named.len()) {
        Some(more @ 1..) => format!("{first} and {more} more"),
        _ => first,
    }
}
