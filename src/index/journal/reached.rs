//! How far the journal has come, noted outside of its directory: beside it, and with the contents
//! that its records need.
//!
//! A journal that was put back from an earlier time is whole in itself, and so is the copy of its
//! last batch, which comes back with it; that of another store is whole, too. So notes outside of
//! its directory tell whose the journal is and up to which entry it was durable once. One in each
//! directory of contents goes wherever those go, so that whatever parts of a store are put back
//! together, contents that are younger than the journal, or another store's, show. They are
//! written after each batch, with contents where it has records of some that came there, and never
//! synced: after a power cut one may be of an earlier moment, or damaged. None ever says more than
//! what was durable.

use std::io;
use std::path::{Path, PathBuf};

use super::damage::Damage;
use super::note::{ContentDir, Kind, Note, Reached, read};
use super::options::Options;
use super::segment::Segment;
use crate::index::IndexError;
use crate::index::codec::Entry;
use crate::stored_file::is_no_file;

/// The notes of a journal that is open.
pub(super) struct ReachedNotes {
    journal: [u8; 16],
    beside: Option<Note>,
    with_contents: Vec<NoteWithContents>,
    /// What that beside the journal tells besides, and those with contents.
    kinds: [Kind; 2],
}

struct NoteWithContents {
    note: Note,
    /// The number after the newest record of content there of which it does not tell yet.
    due: Option<u64>,
}

impl ReachedNotes {
    /// Opens the notes of the journal with this id, or makes some, and notes that its entries
    /// before `next_seq` are durable and no others ever were; and whether contents are kept that no
    /// record needs. What is in the place of one stays there, and then nothing is noted.
    pub(super) fn open(
        options: &Options,
        journal: &[u8; 16],
        next_seq: u64,
        keeps: bool,
    ) -> Result<Self, IndexError> {
        let (disk, journal) = (&*options.disk, *journal);
        let reached = |kind| Reached {
            kind,
            journal,
            next_seq,
        };
        let of_contents = if keeps { Kind::OfKept } else { Kind::Plain };
        let mut with_contents = Vec::new();
        // Before the one that says that they are there.
        for contents in &options.contents {
            let note = or_none(contents.note(), contents.open(disk, reached(of_contents)))?;
            with_contents.extend(note.map(|note| NoteWithContents { note, due: None }));
        }
        let is_of_all = !with_contents.is_empty() && with_contents.len() == options.contents.len();
        let path = path(&options.dir);
        let of_journal = if is_of_all { Kind::OfAll } else { Kind::Plain };
        let beside = or_none(&path, Note::beside(disk, &path, reached(of_journal)))?;
        Ok(Self {
            journal,
            beside,
            with_contents,
            kinds: [of_journal, of_contents],
        })
    }

    /// Takes in which contents have come with the entries from number `seq` on.
    pub(super) fn take(&mut self, seq: u64, entries: &[Entry]) {
        for (seq, entry) in (seq + 1..).zip(entries) {
            let Entry::Added(record) = entry else {
                continue;
            };
            for NoteWithContents { note, due } in &mut self.with_contents {
                if note.sizes.contains(&record.file.size) {
                    *due = Some(seq);
                }
            }
        }
    }

    /// Notes that the entries before `next_seq` are durable.
    pub(super) fn note(&mut self, options: &Options, next_seq: u64) {
        let [of_journal, of_contents] = self.kinds;
        let reached = |kind| Reached {
            kind,
            journal: self.journal,
            next_seq,
        };
        let write = |note: &mut Note, reached| {
            if let Err(error) = note.write(&*options.disk, reached) {
                let path = note.path.display();
                tracing::debug!(%path, %error, "how far the journal has come is not noted");
            }
        };
        if let Some(note) = &mut self.beside {
            write(note, reached(of_journal));
        }
        for NoteWithContents { note, due } in &mut self.with_contents {
            if due.take_if(|due| *due <= next_seq).is_some() {
                write(note, reached(of_contents));
            }
        }
    }
}

/// The note that was opened at `path`. None where it cannot be written: the journal is as good as
/// ever without it.
fn or_none(path: &Path, opened: io::Result<Note>) -> Result<Option<Note>, IndexError> {
    match opened {
        Err(error) if !path.is_file() && is_no_file(&error) => {
            tracing::warn!(path = %path.display(), %error,
                "how far the journal has come cannot be noted, so that a journal of an earlier \
                 time would not show; move away what is there");
            Ok(None)
        }
        opened => Ok(Some(opened.map_err(|e| IndexError::io("open", path, e))?)),
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.with_extension("reached")
}

/// What all notes tell, that beside the journal first.
fn told(options: &Options) -> impl Iterator<Item = (PathBuf, Reached)> {
    let path = path(&options.dir);
    let beside = read(&path).ok().flatten();
    let with_contents = options.contents.iter().filter_map(|it| it.read().ok());
    let beside = beside.map(|it| (path, it)).into_iter();
    beside.chain(with_contents.flatten())
}

/// The number after the last entry of a journal of these segments that is known to have been
/// durable once; 0 where nothing tells. Blocks.
pub(in crate::index) fn reached(options: &Options, segments: &[Segment]) -> u64 {
    let id = segments.first().map(|first| first.header.journal);
    let own = told(options).filter(|(_, it)| id.is_none_or(|id| it.journal == id));
    own.map(|(_, it)| it.next_seq).max().unwrap_or(0)
}

/// A note that tells of a journal, whichever. Blocks.
pub(in crate::index) fn tells_of_journal(options: &Options) -> Option<PathBuf> {
    told(options).next().map(|(path, _)| path)
}

/// That these segments are of another journal than the one that was there last, or than the one
/// whose contents are there. Blocks.
pub(in crate::index) fn stranger(options: &Options, segments: &[Segment]) -> Option<Damage> {
    let first = segments.first()?;
    let (note, _) = told(options).find(|(_, it)| it.journal != first.header.journal)?;
    let contents = options.contents.iter().find(|it| note.starts_with(&it.dir));
    let told = match contents {
        None => "that was here".to_owned(),
        Some(it) => format!("whose contents are in {}", it.dir.display()),
    };
    Some(Damage {
        path: first.path.clone(),
        offset: 0,
        detail: format!(
            "it is of another store's journal than the one {told}, as {} says: put back what \
             belongs together, or, where this journal is right, have `larder rebuild-index \
             --skip-damage` take it, which keeps all contents",
            note.display()
        ),
        gives_up: true,
    })
}

/// That no note is with contents with which there was one: they were put there from elsewhere, or
/// somebody has removed it, so that nothing says which records may need them. Blocks.
pub(in crate::index) fn unnoted(options: &Options) -> Option<Damage> {
    let contents = unnoted_contents(options).find(|it| it.note.is_some())?;
    Some(Damage {
        path: contents.note().to_owned(),
        offset: 0,
        detail: "it is not there, so nothing says whose the contents beside it are (the node \
                 keeps what no file needs)"
            .into(),
        gives_up: true,
    })
}

fn unnoted_contents(options: &Options) -> impl Iterator<Item = &ContentDir> {
    let beside = read(&path(&options.dir)).ok().flatten();
    let had_notes = beside.is_some_and(|it| it.kind == Kind::OfAll);
    let contents = options.contents.iter().filter(move |_| had_notes);
    contents.filter(|it| it.read().is_ok_and(|it| it.is_empty()) && (it.holds_any)(&it.dir))
}

/// A note that says that contents are kept that no record needs, until somebody settles that.
/// Blocks.
pub(in crate::index) fn tells_of_kept(options: &Options) -> Option<PathBuf> {
    let kept = told(options).find(|(_, it)| it.kind == Kind::OfKept);
    kept.map(|(path, _)| path)
}

/// Has the notes say no longer that contents are kept that no record needs. Blocks.
pub(in crate::index) fn settle_kept(options: &Options) -> io::Result<()> {
    for contents in &options.contents {
        let told = contents.read().unwrap_or_default().into_iter();
        let kept = told.map(|(_, it)| it).find(|it| it.kind == Kind::OfKept);
        if let Some(kept) = kept {
            let kind = Kind::Plain;
            contents.open(&*options.disk, Reached { kind, ..kept })?;
        }
    }
    Ok(())
}

/// Whether a note that was with contents says nothing now: it is damaged, or was an empty
/// directory, which some clear away, and others do not copy. Blocks.
pub(in crate::index) fn has_silent_note(options: &Options) -> bool {
    let mut notes = options.contents.iter().map(ContentDir::read);
    notes.any(|it| it.is_err()) || unnoted_contents(options).any(|it| it.note.is_none())
}

/// What is wrong with the notes, for who looks before they are made anew. Blocks.
pub(in crate::index) fn damage_of_reached(options: &Options) -> Vec<Damage> {
    let path = path(&options.dir);
    let beside = read(&path).err().map(|detail| (path, detail));
    let with_contents = options.contents.iter();
    let with_contents =
        with_contents.filter_map(|it| Some((it.note().to_owned(), it.read().err()?)));
    let damaged = beside.into_iter().chain(with_contents);
    let damaged = damaged.map(|(path, detail)| Damage {
        path,
        offset: 0,
        detail: format!("{detail} (the node makes it anew)"),
        gives_up: false,
    });
    damaged.chain(unnoted(options)).collect()
}

/// Removes the notes that are files, and what the others tell, where the journal becomes another
/// one on purpose. Blocks.
pub(in crate::index) fn forget_reached(options: &Options) -> io::Result<()> {
    // That which says that others are there goes first.
    let files = options.contents.iter().filter_map(|it| it.note.clone());
    for path in [path(&options.dir)].into_iter().chain(files) {
        match options.disk.remove_file(&path) {
            // What is no file tells nothing.
            Err(_) if path.is_dir() => {}
            removed => removed?,
        }
    }
    let named = options.contents.iter().filter(|it| it.note.is_none());
    for (path, _) in named.filter_map(|it| it.read().ok()).flatten() {
        std::fs::remove_dir(&path)?;
    }
    Ok(())
}
