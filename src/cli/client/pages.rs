//! Lists of the node, page by page, to their end: whatever answers there, that is reached.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::time::timeout;

use super::api::Api;
use super::failure::Failure;
use super::listed::{File, Where};

/// How many files are asked for at once; the most that a node tells.
const PAGE: usize = 1000;
/// How long one page may take to come.
const PAGE_WITHIN: Duration = Duration::from_mins(2);
/// The most pages of one list.
const MAX_PAGES: u32 = 20_000;
/// How many pages of one list may hold less than half of what was asked for. Where names are
/// looked for, a page may tell only where to look on; a node looks at some 5,000 names for one.
const MAX_THIN_PAGES: u32 = 2000;
/// The most bytes of one list in which something is looked for: some two million files.
const MAX_BYTES: usize = 1 << 30;

/// A page of a list of the node.
#[derive(Deserialize)]
struct Page {
    files: Vec<File>,
    next: Option<String>,
}

/// A list that is being read.
pub(super) struct Pages<'a> {
    api: &'a Api,
    list: Where,
    name: Option<&'a str>,
    /// Whether the newest come first.
    backwards: bool,
    /// How many files are asked for at once.
    page: usize,
    /// Where the next page begins.
    after: Option<String>,
    ended: bool,
    read: u32,
    thin: u32,
    bytes: usize,
    /// How long the node was waited for.
    waited: Duration,
    limits: Limits,
}

/// How far a list is followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    bytes: usize,
    wait: Duration,
}

impl Limits {
    /// Of a list in which something is looked for.
    pub(super) const LOOKING: Self = Self {
        bytes: MAX_BYTES,
        wait: Duration::from_mins(10),
    };
    /// Of one in which a name is looked for that is worth no long wait.
    pub(super) const NAMING: Self = Self {
        bytes: MAX_BYTES,
        wait: Duration::from_secs(10),
    };
    /// Of one that is shown, of which nothing is kept.
    pub(super) const SHOWING: Self = Self {
        bytes: usize::MAX,
        wait: Duration::from_hours(1),
    };
}

impl<'a> Pages<'a> {
    /// A list from its beginning, of files whose names hold `name`.
    pub(super) fn of(api: &'a Api, list: Where, name: Option<&'a str>, limits: Limits) -> Self {
        Self {
            api,
            list,
            name,
            backwards: false,
            page: PAGE,
            after: None,
            ended: false,
            read: 0,
            thin: 0,
            bytes: 0,
            waited: Duration::ZERO,
            limits,
        }
    }

    /// A list from its end, so many of the newest files: older nodes begin with the oldest all the
    /// same.
    pub(super) fn newest(api: &'a Api, list: Where, name: Option<&'a str>, count: usize) -> Self {
        Self {
            backwards: true,
            // One file does not tell in which order it came.
            page: count.clamp(2, PAGE),
            ..Self::of(api, list, name, Limits::SHOWING)
        }
    }

    /// The files of the next page, which may be none; None behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<File>>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let limit = self.page.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(self.name.map(|name| ("name", name)));
        let behind = if self.backwards { "before" } else { "after" };
        query.extend(self.after.as_deref().map(|after| (behind, after)));
        if self.backwards {
            query.push(("order", "newest"));
        }
        let began = Instant::now();
        let asked = self.api.get_measured::<Page>(self.list.path(), &query);
        let asked = timeout(PAGE_WITHIN, asked).await;
        let (page, bytes) = asked.map_err(|_| Failure::Nonsense("it does not end"))??;
        self.waited += began.elapsed();
        self.bytes = self.bytes.saturating_add(bytes);
        self.read += 1;
        self.thin += u32::from(page.files.len() < self.page / 2);
        match page.next {
            None => self.ended = true,
            Some(next) => self.go_on(next)?,
        }
        Ok(Some(page.files))
    }

    /// Goes on behind `next`. Cursors are ids, and so in the order of their texts: a list that
    /// does not lead forward would never end, and one that does may be made up without end.
    fn go_on(&mut self, next: String) -> Result<(), Failure> {
        let leads_on = |after: &String| (next < *after) == self.backwards && next != *after;
        if !self.after.as_ref().is_none_or(leads_on) {
            return Err(Failure::Nonsense("a page does not lead forward"));
        }
        let endless = self.read >= MAX_PAGES
            || self.thin >= MAX_THIN_PAGES
            || self.bytes >= self.limits.bytes
            || self.waited >= self.limits.wait;
        if endless {
            return Err(Failure::Endless(self.read, self.bytes));
        }
        self.after = Some(next);
        Ok(())
    }
}
