//! The files that commands have sent which did not end, or of which something failed: typed again,
//! they send none of them twice.
//!
//! All are in one list, which grows by one write for each file, and loses all that a command has
//! sent by one rename when it has ended. So whenever a process is killed, either everything that it
//! has sent counts for the next one or, behind its end, nothing.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::cli::state::{open_state, state_directory};
use crate::hash::BlobHash;
use crate::record::FileId;

/// The length of a line, in bytes: key, id and hash, each with one more byte behind it.
const LINE: usize = 64 + 1 + 36 + 1 + 64 + 1;
/// The longest list, in bytes: of some 200,000 files. Then the older half is forgotten.
const LONGEST: usize = 32 << 20;
/// For how long a list is kept to which nothing is added.
const OLDEST: Duration = Duration::from_hours(30 * 24);

/// What was sent before, and what this command has sent.
#[derive(Default)]
pub(super) struct Ended {
    /// None where nothing can be remembered.
    list: Option<List>,
    before: HashMap<String, (FileId, BlobHash)>,
    /// The keys of all that this command counts as sent.
    own: Mutex<HashSet<String>>,
}

/// Where the list is.
struct List {
    path: PathBuf,
    /// What is locked while the list changes: the list itself is replaced.
    lock: PathBuf,
}

impl Ended {
    /// What commands before this one have left. Blocks.
    pub(super) fn read() -> Self {
        state_directory().map_or_else(Self::default, |dir| Self::in_directory(&dir))
    }

    fn in_directory(dir: &Path) -> Self {
        let list = List {
            path: dir.join("sent"),
            lock: dir.join("sent.lock"),
        };
        let before = list.read().unwrap_or_default();
        let before = lines(&before).filter_map(|line| {
            let mut words = line.split(' ');
            let (key, id, hash) = (words.next()?, words.next()?, words.next()?);
            Some((key.to_owned(), (id.parse().ok()?, hash.parse().ok()?)))
        });
        Self {
            before: before.collect(),
            list: Some(list),
            own: Mutex::default(),
        }
    }

    /// What an earlier command has made of what has this key.
    pub(super) fn recall(&self, key: &str) -> Option<(FileId, BlobHash)> {
        self.before.get(key).copied()
    }

    /// Remembers what this command has made of what has this key. Blocks.
    pub(super) fn note(&self, key: &str, id: FileId, hash: BlobHash) {
        let is_new = self.own.lock().insert(key.to_owned());
        if let Some(list) = &self.list
            && (is_new && self.recall(key) != Some((id, hash)))
        {
            // What cannot be remembered is sent once more, should it come to that.
            let _ = list.add(&format!("{key} {id} {hash}\n"));
        }
    }

    /// Forgets all that this command has noted: it has ended well. Blocks.
    pub(super) fn close(&self) {
        if let Some(list) = &self.list {
            let own = self.own.lock();
            let _ = list.keep(|line| !own.contains(key_of(line)));
        }
    }
}

impl List {
    /// All of it. A list of long ago is none.
    fn read(&self) -> io::Result<Vec<u8>> {
        let _turn = self.turn()?;
        let about = self.path.symlink_metadata()?;
        let age = SystemTime::now().duration_since(about.modified()?);
        if age.unwrap_or_default() > OLDEST {
            fs::remove_file(&self.path)?;
        }
        self.content()
    }

    /// Whoever has this is the only one who changes the list.
    fn turn(&self) -> io::Result<File> {
        let lock = open_state(&self.lock)?;
        lock.lock()?;
        Ok(lock)
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = open_state(&self.path)?;
        file.take(LONGEST as u64).read_to_end(&mut content)?;
        Ok(content)
    }

    fn add(&self, line: &str) -> io::Result<()> {
        let _turn = self.turn()?;
        let mut list = open_state(&self.path)?;
        let mut length = list.metadata()?.len();
        if length + line.len() as u64 > LONGEST as u64 {
            let content = self.content()?;
            let newer = lines(&content).skip(content.len() / LINE / 2);
            self.replace(newer)?;
            list = open_state(&self.path)?;
            length = list.metadata()?.len();
        }
        // A line that a full disk has cut would make all behind it unreadable.
        list.seek(SeekFrom::Start(length - length % LINE as u64))?;
        list.write_all(line.as_bytes())
    }

    /// Leaves of the list only some lines.
    fn keep(&self, is_kept: impl Fn(&str) -> bool) -> io::Result<()> {
        let _turn = self.turn()?;
        let content = self.content()?;
        let mut kept = lines(&content).filter(|line| is_kept(line)).peekable();
        if kept.peek().is_none() {
            return fs::remove_file(&self.path);
        }
        self.replace(kept)
    }

    /// Puts another list in the place of this one, at once.
    fn replace<'a>(&self, lines: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut text = String::new();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        let mut file = open_state(&new)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        fs::rename(new, &self.path)
    }
}

/// The whole lines of a list, without their ends.
fn lines(content: &[u8]) -> impl Iterator<Item = &str> {
    let lines = content.chunks_exact(LINE);
    lines.filter_map(|it| std::str::from_utf8(it).ok()?.strip_suffix('\n'))
}

fn key_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> String {
        blake3::hash(&number.to_le_bytes()).to_hex().to_string()
    }

    fn made(number: usize) -> (FileId, BlobHash) {
        let id = format!("01a2084d-affd-7067-974a-{number:012x}");
        (id.parse().unwrap(), BlobHash::of(&number.to_le_bytes()))
    }

    fn noted(ended: &Ended, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let (id, hash) = made(number);
            ended.note(&key(number), id, hash);
        }
    }

    #[test]
    fn what_was_sent_is_known_until_a_command_that_counts_it_as_sent_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let first = Ended::in_directory(dir.path());
        noted(&first, 0..3);
        let second = Ended::in_directory(dir.path());
        assert_eq!(second.recall(&key(2)), Some(made(2)));
        assert_eq!(second.recall(&key(3)), None);
        noted(&second, 1..2);
        noted(&second, 3..4);
        second.close();
        let third = Ended::in_directory(dir.path());
        let known = (0..4).filter(|&it| third.recall(&key(it)).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [0, 2]);
        first.close();
        assert!(!dir.path().join("sent").exists());
    }

    #[test]
    fn a_line_that_was_cut_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        noted(&Ended::in_directory(dir.path()), 0..2);
        let path = dir.path().join("sent");
        let list = File::options().write(true).open(&path).unwrap();
        list.set_len(path.metadata().unwrap().len() - 10).unwrap();
        noted(&Ended::in_directory(dir.path()), 2..3);
        let ended = Ended::in_directory(dir.path());
        let known = (0..3).filter(|&it| ended.recall(&key(it)) == Some(made(it)));
        assert_eq!(known.collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn the_list_is_never_longer_than_its_limit_and_forgets_the_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sent");
        let lines = (0..LONGEST / LINE).map(|it| format!("{it:064} {} {}\n", made(0).0, made(0).1));
        fs::write(&path, lines.collect::<String>()).unwrap();
        noted(&Ended::in_directory(dir.path()), 1..2);
        assert!(path.metadata().unwrap().len() <= LONGEST as u64);
        let ended = Ended::in_directory(dir.path());
        assert_eq!(ended.recall(&key(1)), Some(made(1)));
        assert_eq!(ended.recall(&format!("{:064}", 0)), None);
        let last = LONGEST / LINE - 1;
        assert!(ended.recall(&format!("{last:064}")).is_some());
    }
}
