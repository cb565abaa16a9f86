//! A power cut of a machine on which a real node runs: what was synced is there afterwards, and of
//! the rest whatever a disk may have come to.
//!
//! A library that the node is started with keeps a copy of each file, and the list of each
//! directory, as they are when they are synced. The start after a kill syncs the whole file system
//! by a system call that it does not see, so there the test itself says that all is durable.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::random::Random;

/// What fills the disk.
pub(crate) const FILLER: &str = "filler";
const PAGE: usize = 4096;
const SOURCE: &str = include_str!("power.c");

/// What is durable of one file system, and the library that tells it.
pub(crate) struct Power {
    library: PathBuf,
    durable: TempDir,
}

/// What is below a directory, by path from there: a file's bytes; a directory has none.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What becomes of the bytes of a file that were not synced.
#[derive(Clone, Copy)]
enum Unsynced {
    Lost,
    Kept,
    /// Some pages are on the disk, and others are not.
    SomePages,
    /// The file has its length, and zeros where it was not written.
    Zeros,
}

const UNSYNCED: [Unsynced; 4] = [
    Unsynced::Lost,
    Unsynced::Kept,
    Unsynced::SomePages,
    Unsynced::Zeros,
];

impl Power {
    pub(crate) fn new(dir: &TempDir) -> Self {
        let (source, library) = (dir.path().join("power.c"), dir.path().join("power.so"));
        fs::write(&source, SOURCE).unwrap();
        let mut made = Command::new("cc");
        made.args(["-O1", "-shared", "-fPIC", "-o"]);
        let made = made.arg(&library).arg(&source).stdout(Stdio::null());
        assert!(made.status().unwrap().success());
        let durable = tempfile::tempdir_in("/dev/shm").unwrap();
        Self { library, durable }
    }

    /// Has what a command's process syncs be noted; other libraries that it is started with stay.
    pub(crate) fn watches(&self, command: &mut Command) {
        let before = command.get_envs().find(|(name, _)| *name == "LD_PRELOAD");
        let mut libraries = before.and_then(|it| it.1).unwrap_or_default().to_owned();
        libraries.push(" ");
        libraries.push(&self.library);
        command.env("LD_PRELOAD", libraries);
        command.env("DURABLE", self.durable.path());
    }

    /// All that is there is durable from now on.
    pub(crate) fn all_is_durable(&self, root: &Path) {
        for entry in fs::read_dir(self.durable.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        self.make_durable(root);
    }

    /// What is below it, or the bytes of it, is durable from now on.
    pub(crate) fn make_durable(&self, path: &Path) {
        let number = self.durable.path().join(number_of(path));
        if path.is_file() {
            fs::copy(path, number).unwrap();
            return;
        }
        let mut list = String::new();
        for path in own_files(path) {
            let kind = if path.is_dir() { 'd' } else { 'f' };
            let name = path.file_name().unwrap().to_str().unwrap();
            writeln!(list, "{kind} {} {name}", number_of(&path)).unwrap();
            self.make_durable(&path);
        }
        fs::write(number, list).unwrap();
    }

    /// Leaves below `root`, where nobody writes any more, what a power cut may have left.
    pub(crate) fn cut(&self, root: &Path, random: &mut Random) {
        let mut now = Now::default();
        now.read(root, Path::new(""));
        let unsynced = match random.below(6) {
            it @ 0..4 => Some(UNSYNCED[usize::try_from(it).unwrap()]),
            _ => None,
        };
        let of_file = |number: &str, random: &mut Random| {
            let any = UNSYNCED[usize::try_from(random.below(4)).unwrap()];
            let durable = fs::read(self.durable.path().join(number)).unwrap_or_default();
            match now.files.get(number) {
                Some(now) => left(durable, now, unsynced.unwrap_or(any), random),
                None => durable,
            }
        };
        let mut tree = Tree::new();
        if random.below(2) == 0 {
            for (path, number) in &now.names {
                let bytes = number.as_ref().map(|it| of_file(it, random));
                tree.insert(path.clone(), bytes);
            }
        } else {
            let mut lists = vec![(PathBuf::new(), number_of(root))];
            while let Some((dir, number)) = lists.pop() {
                // A directory that was never synced has nothing in it.
                let list = fs::read_to_string(self.durable.path().join(number)).unwrap_or_default();
                for line in list.lines() {
                    let mut parts = line.splitn(3, ' ');
                    let [kind, number, name] = [(); 3].map(|()| parts.next().unwrap());
                    let path = dir.join(name);
                    if name == FILLER {
                        continue;
                    }
                    if kind == "d" {
                        tree.insert(path.clone(), None);
                        lists.push((path, number.to_owned()));
                    } else {
                        tree.insert(path, Some(of_file(number, random)));
                    }
                }
            }
        }
        replace(root, &tree);
        self.all_is_durable(root);
    }
}

/// What a process has left.
#[derive(Default)]
struct Now {
    /// The number of each file; a directory has none here.
    names: BTreeMap<PathBuf, Option<String>>,
    files: HashMap<String, Vec<u8>>,
}

impl Now {
    fn read(&mut self, root: &Path, dir: &Path) {
        for path in own_files(&root.join(dir)) {
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                self.names.insert(name.clone(), None);
                self.read(root, &name);
                continue;
            }
            let number = number_of(&path);
            self.files.insert(number.clone(), fs::read(&path).unwrap());
            self.names.insert(name, Some(number));
        }
    }
}

/// What is in a directory, but for what fills the disk, which is none of the node's.
fn own_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let paths = entries.map(|it| it.unwrap().path());
    paths.filter(|it| !it.ends_with(FILLER)).collect()
}

/// What stands for a file, whatever it is called: the library calls it so, too.
fn number_of(path: &Path) -> String {
    let of = fs::symlink_metadata(path).unwrap();
    format!("{:x}-{:x}", of.dev(), of.ino())
}

/// What is left of a file that was `durable` so far.
fn left(durable: Vec<u8>, now: &[u8], unsynced: Unsynced, random: &mut Random) -> Vec<u8> {
    match unsynced {
        Unsynced::Lost => durable,
        Unsynced::Kept => now.to_vec(),
        Unsynced::Zeros => {
            let mut bytes = durable;
            bytes.resize(now.len().max(bytes.len()), 0);
            bytes
        }
        Unsynced::SomePages => {
            let (short, long) = (durable.len().min(now.len()), durable.len().max(now.len()));
            let beyond = random.below((long - short + 1) as u64);
            let mut bytes = durable;
            bytes.resize(short + usize::try_from(beyond).unwrap(), 0);
            for (at, page) in bytes.chunks_mut(PAGE).enumerate() {
                let from = at * PAGE;
                let to = now.len().min(from + page.len());
                if from < to && random.below(2) == 0 {
                    page[..to - from].copy_from_slice(&now[from..to]);
                }
            }
            bytes
        }
    }
}

/// Has a directory have exactly this in it.
fn replace(root: &Path, tree: &Tree) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, bytes) in tree {
        let path = root.join(path);
        let mode = match bytes {
            None => {
                fs::create_dir(&path).unwrap();
                0o700
            }
            Some(bytes) => {
                fs::write(&path, bytes).unwrap();
                0o600
            }
        };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}
