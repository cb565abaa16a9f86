//! What a power cut leaves: a file system in memory that knows what was synced.
//!
//! It promises no more than POSIX does: a sync of a file makes its bytes durable, but
//! not its name; a sync of a directory makes the names in it durable. A rename that
//! was not synced may have left the new name, the old one, or both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::tree::Tree;

/// What survives of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Nothing.
    DropUnsynced,
    /// Everything: as after `kill -9`.
    KeepAll,
    /// Everything, but of each file's last write only the first half.
    TornLast,
    /// The names; bytes only as far as they were synced.
    NamesWithoutData,
    /// The names and the lengths; where bytes were not synced there are zeros.
    ZerosForData,
    /// The bytes; names only as far as they were synced.
    DataWithoutNames,
}

impl Variant {
    pub(crate) const ALL: [Self; 6] = [
        Self::KeepAll,
        Self::DropUnsynced,
        Self::TornLast,
        Self::NamesWithoutData,
        Self::ZerosForData,
        Self::DataWithoutNames,
    ];

    fn keeps_names(self) -> bool {
        !matches!(self, Self::DropUnsynced | Self::DataWithoutNames)
    }
}

/// What power cuts leave behind each of these operations, with the number of that: as one variant
/// has it, the next each time, or all of them in the long version.
pub(crate) fn cuts(
    operations: &[Operation],
) -> impl Iterator<Item = (usize, Variant, Tree)> + use<'_> {
    let is_whole = std::env::var_os("LARDER_SOAK").is_some();
    // Among the many directories that are created at once none is special.
    let creates_dir = |at| matches!(operations.get(at), Some(Operation::CreateDir(_)));
    let mut now = Simulated::default();
    let moments = operations
        .iter()
        .enumerate()
        .filter_map(move |(done, operation)| {
            now.apply(operation);
            let is_one_of_many = creates_dir(done) && creates_dir(done + 1);
            (!is_one_of_many).then(|| (done, now.clone()))
        });
    moments.flat_map(move |(done, now)| {
        let turn = done % Variant::ALL.len();
        let variants = Variant::ALL.into_iter().enumerate();
        let chosen = variants.filter(move |(number, _)| is_whole || *number == turn);
        chosen.map(move |(_, variant)| (done, variant, now.cut_power(variant)))
    })
}

/// The number of a file, whatever its name is at the moment.
pub(crate) type FileNumber = usize;

/// A change of the file system. Paths are relative to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Create(PathBuf, FileNumber),
    CreateDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
    SyncFileSystem,
    Write(FileNumber, u64, Vec<u8>),
    SetLen(FileNumber, u64),
    Sync(FileNumber),
}

/// The file system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Simulated {
    files: Vec<FileState>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(FileNumber),
}

#[derive(Debug, Clone, Default)]
struct FileState {
    durable: Vec<u8>,
    /// Changes since the last sync.
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Simulated {
    /// A file system that holds these files, all durable.
    pub(crate) fn holding(tree: &Tree) -> Self {
        let mut simulated = Self::default();
        for (path, bytes) in &tree.0 {
            let Some(bytes) = bytes else {
                simulated.apply(&Operation::CreateDir(path.clone()));
                continue;
            };
            let number = simulated.next_number();
            simulated.apply(&Operation::Create(path.clone(), number));
            simulated.apply(&Operation::Write(number, 0, bytes.clone()));
        }
        simulated.apply(&Operation::SyncFileSystem);
        simulated
    }

    /// The number of the file with this name.
    pub(crate) fn number_of(&self, path: &Path) -> FileNumber {
        match self.names.get(path) {
            Some(Node::File(number)) => *number,
            other => panic!("{} is {other:?}", path.display()),
        }
    }

    /// The number that the next file gets.
    pub(crate) fn next_number(&self) -> FileNumber {
        self.files.len()
    }

    /// Lets an operation happen.
    pub(crate) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create(path, number) => {
                assert_eq!(*number, self.files.len());
                self.files.push(FileState::default());
                self.names.insert(path.clone(), Node::File(*number));
            }
            Operation::CreateDir(path) => drop(self.names.insert(path.clone(), Node::Dir)),
            Operation::Rename(from, to) => {
                let node = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), node);
            }
            Operation::Link(from, to) => {
                let number = self.number_of(from);
                self.names.insert(to.clone(), Node::File(number));
            }
            Operation::Remove(path) => drop(self.names.remove(path)),
            Operation::SyncDir(dir) => {
                let is_in = |path: &Path| path.parent() == Some(dir);
                self.durable_names.retain(|path, _| !is_in(path));
                let now = self.names.iter().filter(|(path, _)| is_in(path));
                self.durable_names
                    .extend(now.map(|(path, node)| (path.clone(), *node)));
            }
            Operation::SyncFileSystem => {
                self.durable_names = self.names.clone();
                self.files.iter_mut().for_each(FileState::sync);
            }
            Operation::Write(number, offset, bytes) => {
                let offset = usize::try_from(*offset).unwrap();
                let change = Change::Write(offset, bytes.clone());
                self.files[*number].unsynced.push(change);
            }
            Operation::SetLen(number, len) => {
                let change = Change::SetLen(usize::try_from(*len).unwrap());
                self.files[*number].unsynced.push(change);
            }
            Operation::Sync(number) => self.files[*number].sync(),
        }
    }

    /// What a power cut now may leave.
    pub(crate) fn cut_power(&self, variant: Variant) -> Tree {
        let names = if variant.keeps_names() {
            &self.names
        } else {
            &self.durable_names
        };
        self.tree_of(names, &|_| variant)
    }

    /// The same, where all names survive, and of the files that are `kept` all bytes, of others
    /// as far as they were synced: nothing tells in which order files get to the disk.
    pub(crate) fn cut_power_keeping(&self, kept: impl Fn(&Path) -> bool) -> Tree {
        self.tree_of(&self.names, &|path| {
            if kept(path) {
                Variant::KeepAll
            } else {
                Variant::NamesWithoutData
            }
        })
    }

    fn tree_of(&self, names: &BTreeMap<PathBuf, Node>, variant: &dyn Fn(&Path) -> Variant) -> Tree {
        let mut tree = Tree::default();
        for (path, node) in names {
            let bytes = match node {
                Node::Dir => None,
                Node::File(number) => Some(self.files[*number].after(variant(path))),
            };
            // A directory whose own name is lost takes what is in it along.
            let parent = path.parent().unwrap();
            if parent == Path::new("") || tree.0.get(parent) == Some(&None) {
                tree.0.insert(path.clone(), bytes);
            }
        }
        tree
    }
}

impl FileState {
    fn sync(&mut self) {
        self.durable = self.after(Variant::KeepAll);
        self.unsynced.clear();
    }

    fn after(&self, variant: Variant) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        if matches!(variant, Variant::DropUnsynced | Variant::NamesWithoutData) {
            return bytes;
        }
        for (at, change) in self.unsynced.iter().enumerate() {
            match change {
                Change::SetLen(len) => bytes.resize(*len, 0),
                Change::Write(offset, written) => {
                    let is_last = at + 1 == self.unsynced.len();
                    let len = match variant {
                        Variant::TornLast if is_last => written.len() / 2,
                        _ => written.len(),
                    };
                    bytes.resize(bytes.len().max(offset + len), 0);
                    let place = &mut bytes[*offset..offset + len];
                    if variant == Variant::ZerosForData {
                        place.fill(0);
                    } else {
                        place.copy_from_slice(&written[..len]);
                    }
                }
            }
        }
        bytes
    }
}
