//! Single steps of the store and the index, timed inside one process:
//! `cargo bench --bench micro [name]`.

#![allow(clippy::unwrap_used)] // A benchmark fails by panicking.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use futures_util::future::join_all;
use futures_util::{FutureExt, TryStreamExt};
use larder::blob::local::LocalBlobs;
use larder::blob::{BlobBackend, BlobError, ByteStream, Limit, OpenBlob, Received};
use larder::disk::Durability;
use larder::hash::BlobHash;
use larder::index::IndexBackend;
use larder::index::local::LocalIndex;
use larder::outboard::{Encoder, Source, Tree, TreeHasher, Verifier};
use larder::place::Place;
use larder::record::{FileRecord, NewFile};
use larder::store::local::Options;
use tokio::runtime::Runtime;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// How long a piece of an upload is, as a connection hands it on.
const PIECE: usize = 64 * KIB;
/// How many requests wait together for one sync.
const TOGETHER: usize = 64;
/// How many records the index holds while it is read.
const RECORDS: usize = 100_000;
const DURABILITIES: [Durability; 2] = [Durability::Always, Durability::Relaxed];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// Holds everything that is written; removed when all is done.
static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

fn main() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    DIRECTORY.set(directory.path().to_owned()).unwrap();
    divan::main();
}

/// The settings of an empty storage directory.
fn options(durability: Durability) -> Options {
    let dir = tempfile::tempdir_in(DIRECTORY.get().unwrap()).unwrap();
    Options {
        durability,
        ..Options::new(dir.keep())
    }
}

/// Content that differs from call to call.
fn content(len: usize) -> Bytes {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let mut bytes = vec![7; len];
    let call = CALLS.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    bytes.splice(..call.len(), call);
    bytes.into()
}

async fn received(blobs: &LocalBlobs, content: Bytes) -> Box<dyn Received> {
    let mut receiving = blobs.receive(Limit::default()).await.unwrap();
    for start in (0..content.len()).step_by(PIECE) {
        let piece = content.slice(start..content.len().min(start + PIECE));
        receiving.write(piece).await.unwrap();
    }
    receiving.finish().await.unwrap()
}

/// The lengths of pieces that connections hand on.
const PIECES: [usize; 3] = [1460, PIECE, MIB];

/// What [`outboard`] is measured against: the hash alone.
#[divan::bench(args = PIECES)]
fn hash_alone(bencher: Bencher<'_, '_>, piece: usize) {
    let content = content(64 * MIB);
    bencher.counter(BytesCount::new(content.len())).bench(|| {
        let mut hasher = blake3::Hasher::new();
        for piece in content.chunks(piece) {
            hasher.update(piece);
        }
        hasher.finalize()
    });
}

/// Hash and outboard in one pass.
#[divan::bench(args = PIECES)]
fn outboard(bencher: Bencher<'_, '_>, piece: usize) {
    let content = content(64 * MIB);
    bencher
        .counter(BytesCount::new(content.len()))
        .bench(|| with_outboard(&content, piece));
}

fn with_outboard(content: &[u8], piece: usize) -> (BlobHash, Vec<u8>) {
    let (mut hasher, mut outboard) = (TreeHasher::new(), Vec::new());
    for piece in content.chunks(piece) {
        hasher.update(piece, &mut outboard);
    }
    (hasher.finish(&mut outboard), outboard)
}

/// A blob with its outboard, in memory.
struct InMemory(Bytes, Vec<u8>);

impl Source for InMemory {
    fn read_blob(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(self.0.get(offset..offset + buffer.len()).unwrap());
        Ok(())
    }

    fn read_outboard(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(self.1.get(offset..offset + buffer.len()).unwrap());
        Ok(())
    }
}

/// Checking what another node answers.
#[divan::bench(args = PIECES)]
fn verify(bencher: Bencher<'_, '_>, piece: usize) {
    let content = content(64 * MIB);
    let (hash, outboard) = with_outboard(&content, PIECE);
    let tree = Tree::new(content.len() as u64);
    let all = 0..tree.size();
    let (mut answer, source) = (Vec::new(), InMemory(content, outboard));
    let mut encoder = Encoder::new(hash, tree, &all);
    encoder.read_on(&source, &mut answer, usize::MAX).unwrap();
    let answer = Bytes::from(answer);
    bencher.counter(BytesCount::new(answer.len())).bench(|| {
        let mut verifier = Verifier::new(hash, tree, all.clone());
        let (mut rest, mut proven) = (answer.clone(), Vec::new());
        while !rest.is_empty() {
            let piece = rest.split_to(piece.min(rest.len()));
            verifier.push(piece, &mut proven).unwrap();
            proven.clear();
        }
        verifier.finish().unwrap();
    });
}

#[divan::bench(args = [4 * KIB, 64 * KIB, MIB, 64 * MIB])]
fn hash_and_spool(bencher: Bencher<'_, '_>, len: usize) {
    let options = options(Durability::Relaxed);
    let blobs = LocalBlobs::open(options.blobs()).unwrap();
    bencher
        .counter(BytesCount::new(len))
        .with_inputs(|| content(len))
        .bench_values(|content| RUNTIME.block_on(received(&blobs, content)));
}

#[divan::bench(args = DURABILITIES, consts = [4 * KIB, MIB], sample_count = 200)]
fn commit<const LEN: usize>(bencher: Bencher<'_, '_>, durability: Durability) {
    let options = options(durability);
    let blobs = LocalBlobs::open(options.blobs()).unwrap();
    bencher
        .counter(BytesCount::new(LEN))
        .with_inputs(|| RUNTIME.block_on(received(&blobs, content(LEN))))
        .bench_values(|content| RUNTIME.block_on(keep(content)).unwrap());
}

fn new_file() -> NewFile {
    let content = content(8);
    NewFile {
        name: "a file of a usual name.pdf".into(),
        content_type: Some("application/pdf".into()),
        description: String::new(),
        size: content.len() as u64,
        hash: BlobHash::of(&content),
    }
}

/// Keeps content in the place that is named for it.
async fn keep(content: Box<dyn Received>) -> Result<(), BlobError> {
    let place = Place::of(&content.hash());
    content.keep(place).await
}

async fn put(index: &LocalIndex, file: NewFile) -> FileRecord {
    let intent = index.intend(&file.hash, file.size).await.unwrap();
    index.put(file, intent).await.unwrap().record
}

/// Puts so many files at once.
async fn put_together(index: &Arc<LocalIndex>, count: usize) -> Vec<FileRecord> {
    let puts = (0..count).map(|_| {
        let index = Arc::clone(index);
        tokio::spawn(async move { put(&index, new_file()).await }).map(Result::unwrap)
    });
    join_all(puts).await
}

#[divan::bench(args = DURABILITIES, consts = [1, TOGETHER], sample_count = 200)]
fn index_put<const COUNT: usize>(bencher: Bencher<'_, '_>, durability: Durability) {
    let index = LocalIndex::open(&options(durability).index())
        .unwrap()
        .index;
    let index = Arc::new(index);
    bencher
        .counter(ItemsCount::new(COUNT))
        .bench(|| RUNTIME.block_on(put_together(&index, COUNT)));
}

/// An index with many records, and those records.
fn full_index() -> &'static (Arc<LocalIndex>, Vec<FileRecord>) {
    static FULL: LazyLock<(Arc<LocalIndex>, Vec<FileRecord>)> = LazyLock::new(|| {
        let index = LocalIndex::open(&options(Durability::Relaxed).index()).unwrap();
        let index = Arc::new(index.index);
        let mut records = Vec::new();
        while records.len() < RECORDS {
            records.extend(RUNTIME.block_on(put_together(&index, 1000)));
        }
        records.sort_by_key(|record| record.id);
        (index, records)
    });
    &FULL
}

/// Records far apart, one after the other.
fn scattered<'a>(records: &'a [FileRecord]) -> impl FnMut() -> &'a FileRecord {
    let mut ids = records.iter().step_by(997).cycle();
    move || ids.next().unwrap()
}

#[divan::bench]
fn index_get(bencher: Bencher<'_, '_>) {
    let (index, records) = full_index();
    bencher
        .with_inputs(scattered(records))
        .bench_local_values(|record| RUNTIME.block_on(index.get(record.id)).unwrap().unwrap());
}

#[divan::bench]
fn index_page_of_100(bencher: Bencher<'_, '_>) {
    let (index, records) = full_index();
    bencher
        .counter(ItemsCount::new(100_usize))
        .with_inputs(scattered(records))
        .bench_local_values(|record| RUNTIME.block_on(index.page(Some(record.id), 100)).unwrap());
}

/// Counts the bytes of pieces, as a response hands them on.
async fn count(pieces: ByteStream) -> usize {
    let count = pieces.try_fold(0, async |sum, piece| Ok(sum + piece.len()));
    count.await.unwrap()
}

/// Opens a long blob and does something with a range of it, over and over.
fn ranged(
    bencher: Bencher<'_, '_>,
    len: usize,
    read: impl Fn(&dyn OpenBlob, Range<u64>) -> ByteStream,
) {
    const BLOB: usize = 128 * MIB;
    let options = options(Durability::Relaxed);
    let blobs = LocalBlobs::open(options.blobs()).unwrap();
    let hash = RUNTIME.block_on(async {
        let content = received(&blobs, content(BLOB)).await;
        let hash = content.hash();
        keep(content).await.unwrap();
        hash
    });
    // In steps of a prime, so that ranges lie at all distances from page borders.
    let mut starts = (0..BLOB - len).step_by(999_983).cycle();
    bencher
        .counter(BytesCount::new(len))
        .with_inputs(|| starts.next().unwrap() as u64)
        .bench_local_values(|start| {
            RUNTIME.block_on(async {
                let blob = blobs.open(&hash, Place::of(&hash)).await.unwrap().unwrap();
                let count = count(read(&*blob, start..start + len as u64)).await;
                assert!(count >= len);
            });
        });
}

/// The lengths of ranges that are read.
const RANGES: [usize; 3] = [4 * KIB, MIB, 64 * MIB];

#[divan::bench(args = RANGES)]
fn ranged_read(bencher: Bencher<'_, '_>, len: usize) {
    ranged(bencher, len, |blob, range| blob.read(range));
}

/// A range with what proves it.
#[divan::bench(args = RANGES)]
fn ranged_encoding(bencher: Bencher<'_, '_>, len: usize) {
    ranged(bencher, len, |blob, range| blob.encoded(range));
}
