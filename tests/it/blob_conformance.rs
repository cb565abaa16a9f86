//! What every blob backend promises, held against each there is.

use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use larder::blob::local::{self, LocalBlobs};
use larder::blob::memory::MemoryBlobs;
use larder::blob::{
    BlobBackend, BlobError, FoundPartial, Limit, OpenBlob, Partial, PartialId, Proven, Purpose,
    Received,
};
use larder::disk::Durability;
use larder::hash::BlobHash;
use larder::health::{Findings, Health};
use larder::place::Place;

use crate::common::content::content;
use crate::common::received::{self, write};

/// Around every limit on the way: memory or file, pieces, nothing at all.
const LENGTHS: [usize; 9] = [
    0, 1, 65_535, 65_536, 65_537, 524_287, 524_288, 524_289, 3_000_000,
];

/// A backend in which each content has a place, which is not always named for it.
struct ByHash {
    backend: Box<dyn BlobBackend>,
    place_of: fn(&BlobHash) -> Place,
}

impl ByHash {
    async fn open(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        self.backend.open(hash, (self.place_of)(hash)).await
    }

    async fn size(&self, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
        self.backend.size((self.place_of)(hash)).await
    }

    async fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        self.backend.delete((self.place_of)(hash)).await
    }
}

impl Deref for ByHash {
    type Target = dyn BlobBackend;

    fn deref(&self) -> &Self::Target {
        &*self.backend
    }
}

async fn received(blobs: &ByHash, bytes: &[u8]) -> Result<Box<dyn Received>, BlobError> {
    received::received(&*blobs.backend, bytes).await
}

async fn kept(blobs: &ByHash, content: Box<dyn Received>) -> Result<BlobHash, BlobError> {
    let hash = content.hash();
    content.keep((blobs.place_of)(&hash)).await?;
    Ok(hash)
}

async fn keep(blobs: &ByHash, bytes: &[u8]) -> Result<BlobHash, BlobError> {
    kept(blobs, received(blobs, bytes).await?).await
}

async fn try_read(
    blobs: &ByHash,
    hash: &BlobHash,
    range: Range<u64>,
) -> Result<Vec<u8>, BlobError> {
    let blob = blobs.open(hash).await?.unwrap();
    let pieces: Vec<_> = blob.read(range).try_collect().await?;
    assert!(pieces.iter().all(|piece| piece.len() <= 1 << 20));
    Ok(pieces.concat())
}

async fn whole(blobs: &ByHash, bytes: &[u8]) -> bool {
    let (hash, size) = (BlobHash::of(bytes), bytes.len() as u64);
    blobs.size(&hash).await.unwrap() == Some(size)
        && try_read(blobs, &hash, 0..size).await.unwrap() == bytes
}

async fn absent(blobs: &ByHash, bytes: &[u8]) -> bool {
    let hash = BlobHash::of(bytes);
    blobs.size(&hash).await.unwrap().is_none() && blobs.open(&hash).await.unwrap().is_none()
}

/// What is listed, in order.
async fn listed(blobs: &ByHash) -> Vec<(Place, u64)> {
    let mut listed: Vec<_> = blobs.list().try_collect().await.unwrap();
    listed.sort_unstable();
    listed
}

/// The whole suite, on a backend that is empty.
async fn conforms(blobs: &ByHash) {
    what_is_kept_is_there(blobs).await;
    ranges_are_exact(blobs).await;
    deletion_is_complete(blobs).await;
    racing_uploads_make_one_blob(blobs).await;
    pieces_of_any_length_make_up_the_content(blobs).await;
    what_is_dropped_leaves_nothing(blobs).await;
    content_up_to_the_limit_is_taken_and_not_a_byte_more(blobs).await;
    for purpose in [Purpose::Uploads, Purpose::Copies] {
        partial_content_goes_on_where_it_is_proven(blobs, purpose).await;
        partial_content_that_is_not_what_it_was_is_told(blobs, purpose).await;
        partial_content_is_cut_listed_and_removed(blobs, purpose).await;
        partial_content_becomes_a_blob(blobs, purpose).await;
    }
    purposes_are_apart(blobs).await;
    what_is_missed_is_counted_and_reported(blobs).await;
    assert!(blobs.room().await > 0);
    blobs.check_room(1).await.unwrap();
    blobs.try_to_write().await.unwrap();
    blobs.sync().await.unwrap();
    assert_eq!(blobs.refusal(), None);
}

async fn what_is_kept_is_there(blobs: &ByHash) {
    assert_eq!(listed(blobs).await, []);
    let mut expected = Vec::new();
    for len in LENGTHS {
        let bytes = content(0, len);
        let received = received(blobs, &bytes).await.unwrap();
        let (hash, size) = (received.hash(), received.size());
        assert_eq!((hash, size), (BlobHash::of(&bytes), len as u64));
        assert!(absent(blobs, &bytes).await);
        kept(blobs, received).await.unwrap();
        assert!(whole(blobs, &bytes).await);
        assert_eq!(keep(blobs, &bytes).await.unwrap(), hash);
        assert!(whole(blobs, &bytes).await);
        expected.push(((blobs.place_of)(&hash), size));
    }
    expected.sort_unstable();
    assert_eq!(listed(blobs).await, expected);
}

async fn ranges_are_exact(blobs: &ByHash) {
    let bytes = content(1, 2_000_000);
    let hash = BlobHash::of(&bytes);
    keep(blobs, &bytes).await.unwrap();
    for range in [
        0..0,
        0..1,
        1_999_999..2_000_000,
        2_000_000..2_000_000,
        65_535..65_537,
        524_288..1_048_576,
        7..1_999_993,
    ] {
        let read = try_read(blobs, &hash, range.start as u64..range.end as u64).await;
        assert!(read.unwrap() == bytes[range.clone()], "{range:?}");
    }
    for range in [0..2_000_001, 1_999_999..4_000_000] {
        let read = try_read(blobs, &hash, range).await;
        assert!(matches!(read, Err(BlobError::Damaged { hash: h, .. }) if h == hash));
    }
}

async fn deletion_is_complete(blobs: &ByHash) {
    let bytes = content(2, 1_500_000);
    let hash = BlobHash::of(&bytes);
    keep(blobs, &bytes).await.unwrap();
    let open = blobs.open(&hash).await.unwrap().unwrap();
    let mut reading = open.read(0..open.size());
    let first = reading.try_next().await.unwrap().unwrap();
    blobs.delete(&hash).await.unwrap();
    assert!(absent(blobs, &bytes).await);
    assert!(
        listed(blobs)
            .await
            .iter()
            .all(|(listed, _)| *listed != (blobs.place_of)(&hash))
    );
    // Its end is reached, or it is told that it is not.
    if let Ok(rest) = reading.try_collect::<Vec<_>>().await {
        assert!([first.as_ref(), &rest.concat()].concat() == bytes);
    }
    blobs.delete(&hash).await.unwrap();
    keep(blobs, &bytes).await.unwrap();
    assert!(whole(blobs, &bytes).await);
}

async fn racing_uploads_make_one_blob(blobs: &ByHash) {
    for len in [30_000, 300_000] {
        let bytes = content(3, len);
        let before = listed(blobs).await.len();
        for kept in join_all((0..16).map(|_| keep(blobs, &bytes))).await {
            kept.unwrap();
        }
        assert!(whole(blobs, &bytes).await);
        assert_eq!(listed(blobs).await.len(), before + 1);
    }
}

async fn pieces_of_any_length_make_up_the_content(blobs: &ByHash) {
    for piece in [1, 999, 65_536, 600_000, 700_000] {
        let bytes = content(u32::try_from(piece).unwrap(), 700_000);
        let mut receiving = blobs.receive(Limit::default()).await.unwrap();
        receiving.write(Bytes::new()).await.unwrap();
        for piece in bytes.chunks(piece) {
            let piece = Bytes::copy_from_slice(piece);
            receiving.write(piece).await.unwrap();
        }
        kept(blobs, receiving.finish().await.unwrap())
            .await
            .unwrap();
        assert!(whole(blobs, &bytes).await, "in pieces of {piece}");
    }
}

async fn what_is_dropped_leaves_nothing(blobs: &ByHash) {
    let before = listed(blobs).await;
    for len in [10, 700_000] {
        let bytes = content(4, len);
        let mut receiving = blobs.receive(Limit::default()).await.unwrap();
        write(&mut *receiving, &bytes).await.unwrap();
        drop(receiving);
        drop(received(blobs, &bytes).await.unwrap());
        assert!(absent(blobs, &bytes).await);
    }
    assert_eq!(listed(blobs).await, before);
}

async fn content_up_to_the_limit_is_taken_and_not_a_byte_more(blobs: &ByHash) {
    for len in [0, 10, 65_536, 700_000] {
        let bytes = content(5, len + 1);
        let most = Some(len as u64);
        let longest = Limit {
            longest: most,
            quota: None,
        };
        let quota = Limit {
            longest: None,
            quota: most,
        };
        for limit in [longest, quota] {
            let mut receiving = blobs.receive(limit).await.unwrap();
            write(&mut *receiving, &bytes[..len]).await.unwrap();
            assert_eq!(receiving.finish().await.unwrap().size(), len as u64);
            let mut receiving = blobs.receive(limit).await.unwrap();
            let refused = write(&mut *receiving, &bytes).await;
            assert!(match refused {
                Err(BlobError::TooLarge(bytes)) => limit.longest == Some(bytes),
                Err(BlobError::OverQuota(bytes)) => limit.quota == Some(bytes),
                _ => false,
            });
            assert!(receiving.write(Bytes::new()).await.is_err());
            assert!(receiving.finish().await.is_err());
        }
        assert!(absent(blobs, &bytes).await);
    }
}

fn proven(bytes: &[u8]) -> Proven {
    Proven {
        len: bytes.len() as u64,
        hash: BlobHash::of(bytes),
    }
}

async fn resume(
    blobs: &ByHash,
    purpose: Purpose,
    id: &PartialId,
    proven: Option<Proven>,
) -> Result<Box<dyn Partial>, BlobError> {
    let partials = blobs.partials(purpose);
    partials
        .resume(id, 1_000_000, proven, Limit::default())
        .await
}

/// Lengths and ids of the partial content that is there.
async fn found(blobs: &ByHash, purpose: Purpose) -> Vec<(PartialId, u64)> {
    let found = blobs.partials(purpose).prepare().await.unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|FoundPartial { id, len, .. }| (id, len))
        .collect();
    found.sort_unstable();
    found
}

async fn partial_content_goes_on_where_it_is_proven(blobs: &ByHash, purpose: Purpose) {
    assert_eq!(found(blobs, purpose).await, []);
    let (id, bytes) = (PartialId::of(&[1; 16]), content(6, 500_000));
    let mut partial = resume(blobs, purpose, &id, Some(proven(b"")))
        .await
        .unwrap();
    write(&mut *partial, &bytes[..100_000]).await.unwrap();
    let durable = partial.sync().await.unwrap();
    assert_eq!(durable, proven(&bytes[..100_000]));
    write(&mut *partial, &bytes[100_000..300_000])
        .await
        .unwrap();
    assert_eq!(partial.received(), 300_000);
    let written = partial.written().await.unwrap();
    let len = usize::try_from(written.len).unwrap();
    assert_eq!(written, proven(&bytes[..len]));
    drop(partial);
    // All but what was proven is forgotten.
    let partial = resume(blobs, purpose, &id, Some(durable)).await.unwrap();
    assert_eq!(partial.received(), 100_000);
    drop(partial);
    assert_eq!(found(blobs, purpose).await, [(id.clone(), 100_000)]);
    // Where nothing is, all counts that is there.
    let mut partial = resume(blobs, purpose, &id, None).await.unwrap();
    assert_eq!(partial.received(), 100_000);
    write(&mut *partial, &bytes[100_000..]).await.unwrap();
    assert_eq!(partial.sync().await.unwrap(), proven(&bytes));
    blobs.partials(purpose).remove(&id).await.unwrap();
}

async fn partial_content_that_is_not_what_it_was_is_told(blobs: &ByHash, purpose: Purpose) {
    let (id, bytes) = (PartialId::of(&[2; 32]), content(7, 200_000));
    let mut partial = resume(blobs, purpose, &id, None).await.unwrap();
    write(&mut *partial, &bytes).await.unwrap();
    partial.sync().await.unwrap();
    drop(partial);
    let other = proven(&content(8, 100_000));
    let longer = proven(&content(7, 200_001));
    for wrong in [other, longer] {
        let resumed = resume(blobs, purpose, &id, Some(wrong)).await;
        let hash = wrong.hash;
        assert!(matches!(resumed.err(), Some(BlobError::Damaged { hash: it, .. }) if it == hash));
    }
    // Nothing of it was lost by that.
    let partials = blobs.partials(purpose);
    let beginnings = [10, 70_000, 150_000].map(|len| proven(&bytes[..len]));
    let longest = partials.longest(&id, beginnings.to_vec()).await.unwrap();
    assert_eq!(longest, Some(beginnings[2]));
    let mut with_other = beginnings.to_vec();
    with_other.push(longer);
    let longest = partials.longest(&id, with_other).await.unwrap();
    assert_eq!(longest, Some(beginnings[2]));
    assert_eq!(partials.longest(&id, vec![other]).await.unwrap(), None);
    let absent = PartialId::of(&[9; 16]);
    let longest = partials
        .longest(&absent, beginnings.to_vec())
        .await
        .unwrap();
    assert_eq!(longest, None);
    partials.remove(&id).await.unwrap();
}

async fn partial_content_is_cut_listed_and_removed(blobs: &ByHash, purpose: Purpose) {
    let partials = blobs.partials(purpose);
    let ids = [PartialId::of(&[3; 16]), PartialId::of(&[4; 32])];
    for id in &ids {
        assert_eq!(partials.cut(id, 7).await.unwrap(), 0);
        let mut partial = resume(blobs, purpose, id, None).await.unwrap();
        write(&mut *partial, &content(9, 90_000)).await.unwrap();
        partial.sync().await.unwrap();
    }
    assert_eq!(partials.cut(&ids[0], 100_000).await.unwrap(), 90_000);
    assert_eq!(partials.cut(&ids[0], 70_000).await.unwrap(), 70_000);
    let expected = [(ids[0].clone(), 70_000), (ids[1].clone(), 90_000)];
    assert_eq!(found(blobs, purpose).await, expected);
    for id in &ids {
        partials.remove(id).await.unwrap();
        partials.remove(id).await.unwrap();
    }
    assert_eq!(found(blobs, purpose).await, []);
}

async fn partial_content_becomes_a_blob(blobs: &ByHash, purpose: Purpose) {
    let id = PartialId::of(&[5; 16]);
    for len in [10_000, 400_000] {
        let bytes = content(10, len);
        let mut partial = resume(blobs, purpose, &id, None).await.unwrap();
        write(&mut *partial, &bytes).await.unwrap();
        partial.sync().await.unwrap();
        // A copy is kept, and what came stays for who has to do it again.
        let copy = partial.finish_copy().await.unwrap();
        assert_eq!(
            (copy.hash(), copy.size()),
            (BlobHash::of(&bytes), len as u64)
        );
        kept(blobs, copy).await.unwrap();
        assert!(whole(blobs, &bytes).await);
        assert_eq!(found(blobs, purpose).await, [(id.clone(), len as u64)]);
        blobs.delete(&BlobHash::of(&bytes)).await.unwrap();
        // It stays where it is finished and not kept, too.
        let partial = resume(blobs, purpose, &id, Some(proven(&bytes)))
            .await
            .unwrap();
        drop(partial.finish().await.unwrap());
        assert_eq!(found(blobs, purpose).await, [(id.clone(), len as u64)]);
        let partial = resume(blobs, purpose, &id, Some(proven(&bytes)))
            .await
            .unwrap();
        kept(blobs, partial.finish().await.unwrap()).await.unwrap();
        assert!(whole(blobs, &bytes).await);
        assert_eq!(found(blobs, purpose).await, []);
        blobs.delete(&BlobHash::of(&bytes)).await.unwrap();
    }
}

async fn purposes_are_apart(blobs: &ByHash) {
    let id = PartialId::of(&[6; 16]);
    let mut partial = resume(blobs, Purpose::Uploads, &id, None).await.unwrap();
    write(&mut *partial, b"some bytes").await.unwrap();
    partial.sync().await.unwrap();
    assert_eq!(found(blobs, Purpose::Copies).await, []);
    blobs.partials(Purpose::Copies).remove(&id).await.unwrap();
    assert_eq!(found(blobs, Purpose::Uploads).await, [(id.clone(), 10)]);
    blobs.partials(Purpose::Uploads).remove(&id).await.unwrap();
}

/// What a backend has reported.
#[derive(Default)]
struct Heard(Mutex<Vec<(Place, Health)>>);

impl Findings for Heard {
    fn found(&self, place: Place, health: Health) {
        self.0.lock().unwrap().push((place, health));
    }
}

async fn what_is_missed_is_counted_and_reported(blobs: &ByHash) {
    let heard = Arc::new(Heard::default());
    blobs.report_to(Arc::clone(&heard) as Arc<dyn Findings>);

    // What was known before is told first.
    heard.0.lock().unwrap().clear();
    let (hash, before) = (BlobHash::of(b"missed"), blobs.damage_found());
    let place = (blobs.place_of)(&hash);
    blobs.note_missing(place).await.unwrap();
    let told = heard.0.lock().unwrap().clone();
    assert_eq!(told, [(place, Health::Damaged)]);
    assert_eq!(blobs.damage_found(), before + 1);

    // What mends it is reported, too: the same content, and that nothing is left of it.
    heard.0.lock().unwrap().clear();
    assert_eq!(keep(blobs, b"missed").await.unwrap(), hash);
    blobs.note_missing(place).await.unwrap();
    blobs.delete(&hash).await.unwrap();
    let told = heard.0.lock().unwrap().clone();
    let told: Vec<_> = told
        .chunk_by(|one, other| one == other)
        .map(|it| it[0])
        .collect();
    let (whole, damaged) = ((place, Health::Whole), (place, Health::Damaged));
    assert_eq!(told, [whole, damaged, whole]);
}

#[tokio::test]
async fn memory() {
    let blobs = MemoryBlobs::default();
    conforms(&ByHash {
        backend: Box::new(blobs),
        place_of: |hash| {
            let (first, _) = hash.as_bytes().split_first_chunk().unwrap();
            Place::numbered(!u128::from_be_bytes(*first))
        },
    })
    .await;
}

async fn local(dir: &Path, durability: Durability) {
    let options = local::Options {
        durability,
        ..local::Options::new(dir)
    };
    let blobs = LocalBlobs::open(options).unwrap();
    conforms(&ByHash {
        backend: Box::new(blobs),
        place_of: Place::of,
    })
    .await;
}

#[tokio::test]
async fn local_always() {
    let dir = tempfile::tempdir().unwrap();
    local(dir.path(), Durability::Always).await;
}

#[tokio::test]
async fn local_relaxed() {
    let dir = tempfile::tempdir().unwrap();
    local(dir.path(), Durability::Relaxed).await;
}
