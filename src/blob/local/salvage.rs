//! What is still right of content that is not whole: each chunk group that the outboard proves.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::{BlobError, Salvage};
use super::checker::pieces;
use super::stored::{Shelf, Stored};
use crate::blocking;
use crate::hash::BlobHash;
use crate::outboard::{GROUP_BYTES, PIECE_BYTES, Prover, Tree};

/// The file of a blob that is damaged, and the outboard beside it.
pub(super) struct DamagedFile(Arc<Files>);

struct Files {
    hash: BlobHash,
    tree: Tree,
    blob: Arc<File>,
    outboard: File,
}

impl DamagedFile {
    /// What lies at `path` of the content with this hash, which has `size` bytes; None where there
    /// is nothing of it that could be proven.
    pub(super) async fn open(
        hash: BlobHash,
        size: u64,
        path: PathBuf,
        shelf: &Arc<Shelf>,
    ) -> Option<Self> {
        let shelf = Arc::clone(shelf);
        blocking::run(move || {
            let blob = Stored::open(hash, path, &shelf).ok()??;
            let outboard = shelf.outboards.open(&hash).ok()?;
            Some(Self(Arc::new(Files {
                hash,
                tree: Tree::new(size),
                blob: Arc::clone(&blob.file),
                outboard,
            })))
        })
        .await
    }
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
        let failed = |e| BlobError::io("read", self.0.hash.to_string(), e);
        found.await.map_err(failed)
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

    /// These bytes, where they are there and the outboard proves them. What cannot be read is not
    /// there: it comes from others then, and goes where the disk takes it. Blocks.
    fn prove(&self, bytes: &Range<u64>, most: u64) -> Option<Bytes> {
        let mut prover = Prover::new(self.hash, self.tree, bytes);
        let read = |buffer: &mut [u8], at| self.outboard.read_exact_at(buffer, at);
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
