//! Blobs read from their files.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::{TryStreamExt, stream::iter};

use super::super::open_bytes::OpenBytes;
use super::super::{BlobError, ByteStream, OpenBlob, Rereading, other_size};
use super::checker::{Checker, Trouble, pieces};
use super::encoding::Encoding;
use super::reader::Reader;
use super::rereading::LongReread;
use super::stored::{Absent, Shelf, Stored};
use crate::blocking::{self, Wanted};
use crate::hash::BlobHash;
use crate::outboard::PIECE_BYTES;

/// A blob of at most this many bytes is read when it is opened, which spares it a second
/// turn on a blocking thread.
const SMALL: u64 = 64 * 1024;
/// How many bytes are proven in one turn on a blocking thread.
const WINDOW: u64 = 32 * PIECE_BYTES;
/// How many such turns are taken at once.
const WINDOWS: usize = 2;

/// Opens a blob's file; None if there is none. What was found damaged before, and has
/// changed since, is proven first, and so is what could not be read.
pub(super) async fn open(
    hash: BlobHash,
    path: PathBuf,
    shelf: &Arc<Shelf>,
) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
    let opening = Arc::clone(shelf);
    let opened = blocking::run(move || {
        let Some(stored) = Stored::open(hash, path, &opening)? else {
            return match opening.damage.get(&hash) {
                Some(_) => Err(BlobError::missing(hash)),
                None => Ok(None),
            };
        };
        let is_doubted = stored.known()?.is_some() || opening.damage.is_unusable(&hash);
        Ok(Some((load(stored)?, is_doubted)))
    });
    let Some((blob, is_doubted)) = opened.await? else {
        return Ok(None);
    };
    if is_doubted {
        blob.prove().await?;
        let damage = Arc::clone(&shelf.damage);
        blocking::run(move || damage.forget(&hash)).await;
    }
    Ok(Some(blob))
}

/// Opens a blob's file whatever is known of it, if it is so long that it is read piece by piece.
pub(super) async fn open_in_part(
    hash: BlobHash,
    path: PathBuf,
    shelf: &Arc<Shelf>,
) -> Option<Arc<dyn OpenBlob>> {
    let shelf = Arc::clone(shelf);
    blocking::run(move || {
        let stored = Stored::open(hash, path, &shelf).ok()??;
        let is_long = stored.size > SMALL;
        is_long.then(|| Arc::new(LongBlob(Arc::new(stored))) as Arc<dyn OpenBlob>)
    })
    .await
}

fn load(stored: Stored) -> Result<Arc<dyn OpenBlob>, BlobError> {
    if stored.size > SMALL {
        return Ok(Arc::new(LongBlob(Arc::new(stored))));
    }
    let (mut bytes, size) = (Vec::new(), usize::try_from(stored.size).unwrap_or_default());
    // Twice, so that a fault of memory or of a cable is not taken for damage.
    for _ in 0..2 {
        stored.read(&mut bytes, size, 0, Absent::Await)?;
        if BlobHash::of(&bytes) == stored.hash {
            return Ok(small(stored.hash, bytes.into()));
        }
    }
    Err(stored.damaged("its bytes have another hash"))
}

/// A blob that was read whole, and checked.
pub(super) fn small(hash: BlobHash, bytes: Bytes) -> Arc<dyn OpenBlob> {
    Arc::new(OpenBytes { hash, bytes })
}

/// A blob read piece by piece.
struct LongBlob(Arc<Stored>);

#[async_trait]
impl OpenBlob for LongBlob {
    fn size(&self) -> u64 {
        self.0.size
    }

    fn read(&self, range: Range<u64>) -> ByteStream {
        Reader::new(Arc::clone(&self.0), range).into_stream()
    }

    fn encoded(&self, range: Range<u64>) -> ByteStream {
        Encoding::new(Arc::clone(&self.0), &range).into_stream()
    }

    async fn is_size_proven(&self) -> Result<bool, BlobError> {
        let end = self.0.size - 1..self.0.size;
        Encoding::new(Arc::clone(&self.0), &end)
            .prove_at_hand()
            .await
    }

    async fn prove_size(&self) -> Result<(), BlobError> {
        let mut end = self.encoded(self.0.size - 1..self.0.size);
        while end.try_next().await?.is_some() {}
        Ok(())
    }

    async fn refuse_size(&self, size: u64) -> BlobError {
        let stored = Arc::clone(&self.0);
        blocking::run(move || stored.damaged(&other_size(stored.size, size))).await
    }

    async fn prove(&self) -> Result<(), BlobError> {
        let step = usize::try_from(WINDOW).unwrap_or(usize::MAX);
        let size = self.0.size;
        let windows = (0..size).step_by(step).map(|start| {
            let window = start..size.min(start + WINDOW);
            prove(Checker::new(Arc::clone(&self.0)), window)
        });
        iter(windows)
            .buffered(WINDOWS)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    fn reread(&self, from: u64) -> Option<Box<dyn Rereading>> {
        Some(Box::new(LongReread::new(Arc::clone(&self.0), from)))
    }
}

/// Reads and checks the pieces of a range, but those that were proven lately.
async fn prove(checker: Checker, mut ahead: Range<u64>) -> Result<(), BlobError> {
    let mut checker = checker;
    loop {
        let turn = blocking::run_while_wanted(move |wanted| {
            let proved = prove_now(&mut checker, &mut ahead, wanted);
            match proved {
                Ok(()) => Ok((checker, ahead, None)),
                Err(Trouble::NoProof(error)) => Ok((checker, ahead, Some(error))),
                Err(Trouble::Blob(error)) => Err(error),
            }
        });
        let (proved, rest, no_proof) = turn.await?;
        let Some(error) = no_proof else {
            return Ok(());
        };
        checker = proved.with_other_proof(error).await?;
        ahead = rest;
    }
}

fn prove_now(
    checker: &mut Checker,
    ahead: &mut Range<u64>,
    wanted: &Wanted,
) -> Result<(), Trouble> {
    let mut buffer = Vec::new();
    for piece in pieces(ahead.clone()) {
        let blob = &checker.blob;
        blob.check(wanted)?;
        if blob
            .shelf
            .proven
            .holds(&blob.hash, blob.identity()?, piece.start)
        {
            checker.jump();
        } else {
            let rest = piece.start..ahead.end;
            checker.read(&rest, PIECE_BYTES, &mut buffer, Absent::Await)?;
        }
        ahead.start = piece.end;
    }
    Ok(())
}
