//! What an index promises of contents while they are kept, read or collected.

use crate::pack_rows::Gathered;
use crate::place::Place;
use crate::record::{FileId, FileRecord, Timestamp};
use crate::turn::Turn;

/// What is known of a content that files need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Where it is.
    pub place: Place,
    /// How many files need it.
    pub users: u32,
    /// When it was found whole the last time, as far as that is known.
    pub checked_at: Option<Timestamp>,
    /// Whether it is known to be damaged.
    pub is_damaged: bool,
    /// Whether the disk failed to give it when it was read last.
    pub is_unreadable: bool,
}

impl Content {
    /// Whether it is to be had, as far as is known.
    pub fn is_usable(&self) -> bool {
        !(self.is_damaged || self.is_unreadable)
    }
}

/// A file that was put.
#[derive(Debug)]
pub struct Put {
    /// The file.
    pub record: FileRecord,
    /// Whether its content was not to be had until then.
    pub mended: bool,
}

/// What a backend does until somebody is through with a content. Dropping it ends that.
pub trait Hold: Send + Sync + 'static {
    /// What it was taken for is done: nothing is left that somebody has to put in order.
    fn kept(&mut self) {}
}

/// Nothing is held.
impl Hold for () {}

/// The intention to make a file of a content. While it lives nothing of the content is garbage
/// that is there or is written for it; when it is dropped instead of put, what was written is.
#[must_use]
pub struct Intent {
    place: Place,
    content: Option<Box<Content>>,
    turn: Option<Box<Turn>>,
    given: Option<Box<Given>>,
    pack: Option<Box<Gathered>>,
    hold: Box<dyn Hold>,
}

/// The id and the time that a file has from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    pub(super) id: FileId,
    pub(super) uploaded_at: Timestamp,
    /// The file that comes before it, which has to be the last one then.
    behind: Option<FileId>,
}

impl Given {
    /// Those of these files, each behind the one before.
    pub(super) fn of<T>(files: &[(FileRecord, T)]) -> Vec<Self> {
        let before = files.iter().map(|(record, _)| Some(record.id));
        let before = std::iter::once(None).chain(before);
        let given = files.iter().zip(before).map(|((record, _), behind)| Self {
            id: record.id,
            uploaded_at: record.uploaded_at,
            behind,
        });
        given.collect()
    }

    /// Whether the file can be the next one behind the last id that was given out.
    pub(super) fn follows(&self, last: FileId) -> bool {
        self.id > last && self.behind.is_none_or(|it| it == last)
    }
}

/// A content that nobody collects while this lives.
#[must_use]
pub struct Held {
    /// What is known of it.
    pub content: Content,
    _hold: Box<dyn Hold>,
}

/// A place that no file needs, claimed by whoever has this: nobody else collects it, or counts
/// on what is there. When it is dropped instead of told to be collected, nothing has changed.
#[must_use]
pub struct Garbage {
    place: Place,
    hold: Box<dyn Hold>,
}

impl Intent {
    /// The intention where this is known of the content already, which is to be written to `place`
    /// unless it is there.
    pub fn new(place: Place, content: Option<Content>, hold: impl Hold) -> Self {
        let (content, hold) = (content.map(Box::new), Box::new(hold));
        Self {
            place,
            content,
            turn: None,
            given: None,
            pack: None,
            hold,
        }
    }

    /// The same where the content was kept together with others, which is its place then.
    pub fn gathered(self, kept: Gathered) -> Self {
        Self {
            place: kept.place,
            pack: Some(Box::new(kept)),
            ..self
        }
    }

    /// How long the pack is that was written for it and others, in bytes.
    pub fn pack_bytes(&self) -> Option<u64> {
        self.pack.as_ref().map(|it| it.pack_bytes)
    }

    /// The same where the file ends an upload or a copy: it is made only by whoever has the turn at
    /// that.
    pub fn ending(self, turn: Option<Turn>) -> Self {
        let turn = turn.map(Box::new);
        Self { turn, ..self }
    }

    /// The same where the file has its id and its time from elsewhere.
    pub fn giving(self, given: Given) -> Self {
        let given = Some(Box::new(given));
        Self { given, ..self }
    }

    /// The id and the time that the file has from elsewhere.
    pub fn given(&self) -> Option<Given> {
        self.given.as_deref().copied()
    }

    /// The turn at what the file ends.
    pub fn turn(&self) -> Option<Turn> {
        self.turn.as_deref().copied()
    }

    /// Where the content is, or is to be written.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether the content is there, and has only to be proven; it has to be written where not,
    /// as where what is there is damaged or cannot be read.
    pub fn is_there(&self) -> bool {
        self.content.as_ref().is_some_and(|it| it.is_usable())
    }

    /// Whether putting the file mends what was known to be damaged, or could not be read.
    pub fn mends(&self) -> bool {
        self.content.as_ref().is_some_and(|it| !it.is_usable())
    }

    /// Whether the totals count the content already.
    pub fn is_counted(&self) -> bool {
        self.content.is_some()
    }

    /// Ends it where a file has been made.
    pub fn kept(mut self) {
        self.hold.kept();
        if let Some(pack) = &self.pack {
            pack.lease.kept();
        }
    }
}

impl Held {
    /// A content of which this is known.
    pub fn new(content: Content, hold: impl Hold) -> Self {
        let hold = Box::new(hold);
        Self {
            content,
            _hold: hold,
        }
    }
}

impl Garbage {
    /// A place that no file needs.
    pub fn new(place: Place, hold: impl Hold) -> Self {
        let hold = Box::new(hold);
        Self { place, hold }
    }

    /// Which place it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Ends the claim where nothing is left in the place.
    pub fn collected(mut self) {
        self.hold.kept();
    }
}
