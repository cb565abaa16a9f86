//! What is still right of content that is not whole: each chunk group that the outboard proves, or,
//! where that is not right, one that is derived of what is there, corrected by what others prove.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::{BlobError, Salvage};
use super::checker::pieces;
use super::outboards::Outboards;
use super::spool::SpoolFile;
use super::stored::{Shelf, Stored};
use crate::blocking::{self, Wanted};
use crate::hash::BlobHash;
use crate::outboard::{GROUP_BYTES, Mismatch, PIECE_BYTES, PlacedPair, Prover, Tree};

/// How much is put in the place of what is not there at once, in bytes.
static ZEROS: [u8; 4096] = [0; 4096];

/// The file of a blob that is damaged, and what may prove parts of it.
pub(super) struct DamagedFile(Arc<Files>);

struct Files {
    hash: BlobHash,
    tree: Tree,
    blob: Arc<File>,
    outboard: Outboard,
}

enum Outboard {
    /// That of the blob, which is right.
    Stored(File),
    /// One that was derived from what is there, since that of the blob is not right: it proves
    /// nothing but below pairs that others have brought.
    Derived { spooled: SpoolFile, opened: File },
}

impl DamagedFile {
    /// What lies at `path` of the content with this hash, which has `size` bytes; None where there
    /// is nothing that could be right.
    pub(super) async fn open(
        hash: BlobHash,
        size: u64,
        path: PathBuf,
        shelf: &Arc<Shelf>,
    ) -> Option<Self> {
        let shelf = Arc::clone(shelf);
        blocking::run_while_wanted(move |wanted| {
            let blob = Stored::open(hash, path, &shelf).ok()??;
            let tree = Tree::new(size);
            let outboard = match shelf.outboards.sound(hash, size) {
                Some(stored) => Outboard::Stored(stored),
                None => derive(&shelf.outboards, &blob.file, size, wanted).ok()?,
            };
            Some(Self(Arc::new(Files {
                hash,
                tree,
                blob: Arc::clone(&blob.file),
                outboard,
            })))
        })
        .await
    }
}

/// The outboard that content of `size` bytes would have which is what is there. Blocks.
fn derive(
    outboards: &Outboards,
    blob: &File,
    size: u64,
    wanted: &Wanted,
) -> Result<Outboard, BlobError> {
    let mut writer = outboards.write_one(size)?;
    let mut here = writer.update_from(blob, "a damaged blob".as_ref(), 0..size, wanted)?;
    while here < size {
        let len = usize::try_from(size - here).unwrap_or(ZEROS.len());
        let zeros = ZEROS.get(..len.min(ZEROS.len())).unwrap_or_default();
        writer.update(zeros)?;
        here += zeros.len() as u64;
    }
    let (_, spooled) = writer.finish()?;
    let opened = File::open(spooled.path());
    let opened = opened.map_err(|e| BlobError::io("open", spooled.path(), e))?;
    Ok(Outboard::Derived { spooled, opened })
}

#[async_trait]
impl Salvage for DamagedFile {
    async fn read(&self, range: Range<u64>) -> Result<Vec<(u64, Bytes)>, BlobError> {
        let files = Arc::clone(&self.0);
        let found = blocking::run_while_wanted(move |wanted| {
            let mut found = Vec::new();
            for piece in pieces(range) {
                wanted.check()?;
                files.read_piece(&piece, &mut found);
            }
            Ok(found)
        });
        found.await.map_err(|e| self.failed(e))
    }

    async fn unproven(&self, from: u64) -> Result<Option<u64>, BlobError> {
        let files = Arc::clone(&self.0);
        let found = blocking::run_while_wanted(move |wanted| files.unproven(from, wanted));
        found.await.map_err(|e| self.failed(e))
    }

    async fn prove_by(&self, pairs: Vec<PlacedPair>) -> Result<(), BlobError> {
        let files = Arc::clone(&self.0);
        blocking::run(move || match &files.outboard {
            Outboard::Stored(_) => Ok(()),
            Outboard::Derived { spooled, .. } => {
                let mut pairs = pairs.iter();
                pairs.try_for_each(|(at, pair)| spooled.write_all_at(pair, *at))
            }
        })
        .await
    }
}

impl DamagedFile {
    fn failed(&self, error: io::Error) -> BlobError {
        BlobError::io("read", self.0.hash.to_string(), error)
    }
}

impl Files {
    /// Reads a piece, or else what is right of it. Blocks.
    fn read_piece(&self, piece: &Range<u64>, found: &mut Vec<(u64, Bytes)>) {
        if let Some(whole) = self.prove(piece, PIECE_BYTES) {
            found.push((piece.start, whole));
            return;
        }
        let step = usize::try_from(GROUP_BYTES).unwrap_or(usize::MAX);
        for start in piece.clone().step_by(step) {
            let group = start..piece.end.min(start + GROUP_BYTES);
            found.extend(self.prove(&group, GROUP_BYTES).map(|it| (start, it)));
        }
    }

    fn outboard(&self) -> &File {
        match &self.outboard {
            Outboard::Stored(file) | Outboard::Derived { opened: file, .. } => file,
        }
    }

    /// Where the first pair is wrong of those above what is behind `from`. Blocks.
    fn unproven(&self, from: u64, wanted: &Wanted) -> io::Result<Option<u64>> {
        if let Outboard::Stored(_) = self.outboard {
            return Ok(None);
        }
        let size = self.tree.size();
        let mut prover = Prover::new(self.hash, self.tree, &(from..size));
        let read = |buffer: &mut [u8], at| self.outboard().read_exact_at(buffer, at);
        loop {
            wanted.check()?;
            match prover.next_leaf(GROUP_BYTES, read) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) => {
                    let source = error.get_ref().and_then(|it| it.downcast_ref::<Mismatch>());
                    return source.map(|it| Some(it.offset)).ok_or(error);
                }
            }
        }
    }

    /// These bytes, where they are there and the outboard proves them. What cannot be read is not
    /// there: it comes from others then, and goes where the disk takes it. Blocks.
    fn prove(&self, bytes: &Range<u64>, most: u64) -> Option<Bytes> {
        let mut prover = Prover::new(self.hash, self.tree, bytes);
        let read = |buffer: &mut [u8], at| self.outboard().read_exact_at(buffer, at);
        let leaf = prover.next_leaf(most, read).ok()??;
        if leaf.bytes() != *bytes {
            return None;
        }
        let mut read = vec![0; usize::try_from(bytes.end - bytes.start).ok()?];
        self.blob.read_exact_at(&mut read, bytes.start).ok()?;
        leaf.check(&read).ok()?;
        Some(read.into())
    }
}
