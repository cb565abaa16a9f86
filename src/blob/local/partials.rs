//! Partial content: each in a file of its own, which is hashed again when it is gone on with.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::{
    BlobError, Filling, FoundPartial, Limit, Partial, PartialId, Partials, Proven, Purpose,
};
use super::filling::{GROUPS, LocalFilling};
use super::receiving::{Incoming, Keeping};
use super::spool::{self, Spool};
use super::stored::check_place;
use crate::blocking::{self, Wanted};
use crate::disk::{Disk, RealDisk, SYNC, is_shortage, open_own, open_stored, remove_leftover};
use crate::hash::BlobHash;
use crate::stored_file;
use crate::watched_disk::Writes;

/// The directory of uploads that come in parts, in the storage directory.
const UPLOADING_DIR: &str = "uploading";
/// The directory of copies that are fetched, in the storage directory.
const KEEPING_DIR: &str = "keeping";
/// The directory of content that is repaired, in the storage directory.
const REPAIRING_DIR: &str = "repairing";

/// The files of partial content of one purpose, in a directory of their own.
#[derive(Debug, Clone)]
pub struct PartialFiles {
    dir: PathBuf,
}

/// The partial content of one purpose.
pub(super) struct LocalPartials {
    purpose: Purpose,
    files: PartialFiles,
    spool: spool::Scratch,
    writes: Arc<Writes>,
    keeping: Keeping,
}

impl PartialFiles {
    /// Those in a storage directory. Nothing is touched yet.
    pub fn at(storage: &Path, purpose: Purpose) -> Self {
        let dir = storage.join(match purpose {
            Purpose::Uploads => UPLOADING_DIR,
            Purpose::Copies => KEEPING_DIR,
            Purpose::Repairs => REPAIRING_DIR,
        });
        Self { dir }
    }

    /// Where one is.
    pub fn path(&self, id: &PartialId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// How many bytes of one are there. Blocks.
    pub fn len_of(&self, id: &PartialId) -> io::Result<u64> {
        len(&RealDisk, &self.path(id))
    }

    /// Whether one has this beginning. Blocks as long as that takes to read.
    pub fn begins_with(&self, id: &PartialId, beginning: Proven) -> io::Result<bool> {
        if beginning.len == 0 {
            return Ok(beginning.hash == BlobHash::of(b""));
        }
        let longest = longest(&RealDisk, &self.path(id), &[beginning], &Wanted::default());
        Ok(longest?.is_some())
    }
}

impl LocalPartials {
    pub(super) fn new(
        purpose: Purpose,
        spool: spool::Scratch,
        writes: Arc<Writes>,
        keeping: Keeping,
    ) -> Self {
        let storage = spool.dir.parent().unwrap_or(&spool.dir);
        Self {
            purpose,
            files: PartialFiles::at(storage, purpose),
            spool,
            writes,
            keeping,
        }
    }

    fn path(&self, id: &PartialId) -> PathBuf {
        self.files.path(id)
    }

    /// Where is what is known of one whose pieces come in any order.
    fn groups(&self, id: &PartialId) -> PathBuf {
        self.files.dir.join(format!("{id}{GROUPS}"))
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.spool.disk)
    }
}

#[async_trait]
impl Partials for LocalPartials {
    async fn prepare(&self) -> Result<Vec<FoundPartial>, BlobError> {
        let (dir, disk) = (self.files.dir.clone(), self.disk());
        let found = blocking::run(move || {
            let found = prepare(&dir, &*disk);
            found.map_err(|e| BlobError::io("look through", dir, e))
        });
        let found = found.await?;
        if self.purpose == Purpose::Uploads {
            // Only from now on must it be there.
            self.writes.add_place_of_uploads(self.files.dir.clone());
        }
        Ok(found)
    }

    async fn resume(
        &self,
        id: &PartialId,
        size: u64,
        proven: Option<Proven>,
        limit: Limit,
    ) -> Result<Box<dyn Partial>, BlobError> {
        let (options, path) = (self.spool.clone(), self.path(id));
        let spool = Spool::resume(options, path, size, proven, limit).await?;
        Ok(Box::new(Incoming::new(spool, self.keeping.clone())))
    }

    async fn fill(
        &self,
        id: &PartialId,
        size: u64,
        limit: Limit,
    ) -> Result<Arc<dyn Filling>, BlobError> {
        limit.check(size)?;
        let (options, path, groups) = (self.spool.clone(), self.path(id), self.groups(id));
        let open = move || LocalFilling::open(options, path, groups, size);
        Ok(Arc::new(blocking::run(open).await?))
    }

    async fn longest(
        &self,
        id: &PartialId,
        beginnings: Vec<Proven>,
    ) -> Result<Option<Proven>, BlobError> {
        let (path, disk) = (self.path(id), self.disk());
        blocking::run_while_wanted(move |wanted| {
            let longest = longest(&*disk, &path, &beginnings, wanted);
            let longest = longest.map_err(|e| BlobError::io("read", &path, e))?;
            if longest.is_none() {
                check_there(&*disk, &path)?;
            }
            if longest.is_some() {
                let file = disk.open(&path);
                let file = file.map_err(|e| BlobError::io("open", &path, e))?;
                file.sync().map_err(|e| BlobError::io(SYNC, path, e))?;
            }
            Ok(longest)
        })
        .await
    }

    async fn cut(&self, id: &PartialId, counts: u64) -> Result<u64, BlobError> {
        let (path, disk) = (self.path(id), self.disk());
        blocking::run(move || {
            let len = len(&*disk, &path).map_err(|e| BlobError::io("look at", &path, e))?;
            if len == 0 {
                check_there(&*disk, &path)?;
            }
            if counts < len {
                let cut = open_own(&*disk, &path).and_then(|file| file.set_len(counts));
                cut.map_err(|e| BlobError::io("cut", path, e))?;
            }
            Ok(counts.min(len))
        })
        .await
    }

    async fn read(&self, id: &PartialId, offset: u64, len: usize) -> Result<Bytes, BlobError> {
        let (path, disk) = (self.path(id), self.disk());
        blocking::run(move || {
            let piece = match open_stored(&*disk, &path) {
                Err(e) if stored_file::is_no_file(&e) => {
                    check_there(&*disk, &path)?;
                    Ok(Vec::new())
                }
                file => file.and_then(|it| stored_file::read_at(&it, offset, len)),
            };
            Ok(piece.map_err(|e| BlobError::io("read", path, e))?.into())
        })
        .await
    }

    async fn rename(&self, from: &PartialId, to: &PartialId) -> Result<(), BlobError> {
        let (dir, disk) = (self.files.dir.clone(), self.disk());
        let (from, to) = (self.path(from), self.path(to));
        blocking::run(move || {
            let opened = disk.open_dir(&dir);
            let opened = opened.map_err(|e| BlobError::io("open", &dir, e))?;
            match disk.rename(&from, &to) {
                // That was done before.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return check_there(&*disk, &from);
                }
                renamed => renamed.map_err(|e| BlobError::io("rename to", to, e))?,
            }
            let synced = opened.sync();
            synced.map_err(|e| BlobError::io("sync", dir, e))
        })
        .await
    }

    async fn remove(&self, id: &PartialId) -> Result<(), BlobError> {
        let (disk, paths) = (self.disk(), [self.path(id), self.groups(id)]);
        blocking::run(move || {
            let mut paths = paths.iter();
            paths.try_for_each(|path| {
                let removed = spool::clear_away(&*disk, path);
                removed.map_err(|e| BlobError::io("remove", path, e))
            })
        })
        .await
    }
}

/// Makes the directory, and finds what is there; whatever is called otherwise is somebody else's.
fn prepare(dir: &Path, disk: &dyn Disk) -> io::Result<Vec<FoundPartial>> {
    RealDisk.create_dir(dir)?;
    RealDisk.sync_dir(dir.parent().unwrap_or(dir))?;
    let mut found = Vec::new();
    for name in disk.names(dir)? {
        let path = dir.join(&name);
        let name = name.to_string_lossy();
        if let Ok(id) = name.parse() {
            let (len, age) = look(disk, &path)?;
            found.push(FoundPartial { id, len, age });
        }
        // A crash may have left what was known of content that is a blob now.
        let of = name.strip_suffix(GROUPS);
        let of = of.filter(|of| of.parse::<PartialId>().is_ok());
        if of.is_some_and(|of| !dir.join(of).exists()) {
            remove_leftover(disk, &path)?;
        }
    }
    Ok(found)
}

/// How many bytes of one are there, and how long ago it was written. What stands in the place of
/// one file, such as a link that leads nowhere, keeps nobody from all the others.
fn look(disk: &dyn Disk, path: &Path) -> io::Result<(u64, Duration)> {
    let looked = len(disk, path).and_then(|len| Ok((len, stored_file::age(path)?)));
    match looked {
        Err(error) if !is_shortage(&error) => {
            tracing::warn!(path = %path.display(), %error, "nothing is known of its content");
            Ok((0, Duration::ZERO))
        }
        looked => looked,
    }
}

/// Fails where the directory of a file is not to be seen now, as [`check_place`] does.
fn check_there(disk: &dyn Disk, path: &Path) -> Result<(), BlobError> {
    check_place(disk, path.parent().unwrap_or(path))
}

/// How many bytes are there; none where something else than a file is.
fn len(disk: &dyn Disk, path: &Path) -> io::Result<u64> {
    match open_stored(disk, path) {
        Err(e) if stored_file::is_no_file(&e) => Ok(0),
        file => Ok(file?.metadata()?.len()),
    }
}

/// The longest of `beginnings`, which are in order, that a file has; none where there is no file.
fn longest(
    disk: &dyn Disk,
    path: &Path,
    beginnings: &[Proven],
    wanted: &Wanted,
) -> io::Result<Option<Proven>> {
    let file = match open_stored(disk, path) {
        Err(e) if stored_file::is_no_file(&e) => return Ok(None),
        file => file?,
    };
    let (mut hasher, mut longest, mut here) = (blake3::Hasher::new(), None, 0);
    for beginning in beginnings {
        let rest = (&file).take(beginning.len.saturating_sub(here));
        hasher.update_reader(wanted.reading(rest))?;
        here = hasher.count();
        // Whatever is not what it was makes all that are longer something else, too.
        if here != beginning.len || BlobHash::from(hasher.finalize()) != beginning.hash {
            break;
        }
        longest = Some(*beginning);
    }
    Ok(longest)
}
